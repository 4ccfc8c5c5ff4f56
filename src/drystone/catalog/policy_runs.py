"""Runs of policies, one for each slot and disk."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, false, func, select, tuple_, update
from sqlalchemy import delete as delete_from
from sqlalchemy import insert as insert_into

from drystone.catalog.schema import VISIBLE_SNAPSHOT, snapshot
from drystone.catalog.schema_policies import OPEN_RUN, policy_run
from drystone.domain.ids import AccountId, DiskId, PolicyId, SnapshotId
from drystone.domain.policy import Run, RunReason, RunState

_COLUMNS = tuple(policy_run.c[field.name] for field in fields(Run))
_ANSWERED = policy_run.c.reason.in_([RunReason.UNCHANGED, RunReason.NOT_IN_USE])
"""There is no snapshot of the slot, and none is needed: the one that the run names answers for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSelection:
    """Runs of one account that meet every condition: each is a tuple of values, any of which will do."""

    account_id: AccountId
    policies: tuple[tuple[str, ...], ...] = ()
    disks: tuple[tuple[str, ...], ...] = ()
    states: tuple[tuple[RunState, ...], ...] = ()
    offset: int = 0
    limit: int = 20


def insert(conn: Connection, run: Run) -> None:
    """Add a run; one of the same policy, slot and disk is an `sqlalchemy.exc.IntegrityError` (S302)."""
    conn.execute(insert_into(policy_run).values(asdict(run)))


def get(conn: Connection, policy_id: PolicyId, slot: int, disk_id: DiskId) -> Run | None:
    """Return the run of this key, if there is one."""
    row = conn.execute(select(*_COLUMNS).where(_key(policy_id, slot, disk_id))).one_or_none()
    return None if row is None else _run(row)


def compare_and_set(conn: Connection, run: Run, values: Mapping[str, object]) -> bool:
    """Set columns of a run if it stands where `run` does; return whether it did, otherwise nothing has changed."""
    stands = (
        _key(run.policy_id, run.slot, run.disk_id),
        policy_run.c.state == run.state,
        policy_run.c.snapshot_id.is_not_distinct_from(run.snapshot_id),
    )
    return conn.execute(update(policy_run).where(*stands).values(dict(values))).rowcount == 1


def under_way(
    conn: Connection, *, policy_id: PolicyId | None = None, disk_ids: Collection[str] | None = None
) -> list[Run]:
    """Return the runs that have not ended, the oldest slot first: all, or those of a policy, or of some disks."""
    query = select(*_COLUMNS).where(OPEN_RUN)
    if policy_id is not None:
        query = query.where(policy_run.c.policy_id == policy_id)
    if disk_ids is not None:
        query = query.where(policy_run.c.disk_id.in_(list(disk_ids)))
    return _all(conn, query.order_by(policy_run.c.slot, policy_run.c.policy_id, policy_run.c.disk_id))


def of_slot(conn: Connection, policy_id: PolicyId, slot: int) -> list[Run]:
    """Return all runs of a slot of a policy."""
    query = select(*_COLUMNS).where(policy_run.c.policy_id == policy_id, policy_run.c.slot == slot)
    return _all(conn, query.order_by(policy_run.c.disk_id))


def find(conn: Connection, selection: RunSelection) -> tuple[list[Run], int]:
    """Return a page of the runs that meet a selection, the newest slot first, and the number of all that do."""
    wanted = [policy_run.c.account_id == selection.account_id]
    wanted += [policy_run.c.policy_id.in_(list(ids)) for ids in selection.policies]
    wanted += [policy_run.c.disk_id.in_(list(ids)) for ids in selection.disks]
    wanted += [policy_run.c.state.in_(list(states)) for states in selection.states]
    total: int = conn.execute(select(func.count()).select_from(policy_run).where(*wanted)).scalar_one()
    page = select(*_COLUMNS).where(*wanted)
    page = page.order_by(policy_run.c.slot.desc(), policy_run.c.policy_id, policy_run.c.disk_id)
    return _all(conn, page.offset(selection.offset).limit(selection.limit)), total


def newest(conn: Connection, policy_ids: Sequence[PolicyId]) -> dict[PolicyId, list[Run]]:
    """Return of each of these policies the runs of its newest slot that has any."""
    last = select(policy_run.c.policy_id, func.max(policy_run.c.slot).label("slot"))
    slots = last.where(policy_run.c.policy_id.in_(list(policy_ids))).group_by(policy_run.c.policy_id).subquery()
    same = and_(policy_run.c.policy_id == slots.c.policy_id, policy_run.c.slot == slots.c.slot)
    found: dict[PolicyId, list[Run]] = {policy_id: [] for policy_id in policy_ids}
    for run in _all(conn, select(*_COLUMNS).join(slots, same).order_by(policy_run.c.disk_id)):
        found[run.policy_id].append(run)
    return found


def answered_until(conn: Connection, account_id: AccountId | None = None) -> dict[DiskId, int]:
    """Return of each disk the newest slot that a snapshot from before answers for, of one account or of all."""
    query = select(policy_run.c.disk_id, func.max(policy_run.c.slot)).where(_ANSWERED)
    if account_id is not None:
        query = query.where(policy_run.c.account_id == account_id)
    return {row[0]: row[1] for row in conn.execute(query.group_by(policy_run.c.disk_id))}


def answers(conn: Connection, policy_id: PolicyId) -> dict[SnapshotId, int]:
    """Return the newest slot of a policy that each snapshot answers for without being of it."""
    query = select(policy_run.c.snapshot_id, func.max(policy_run.c.slot)).where(
        _ANSWERED, policy_run.c.policy_id == policy_id
    )
    return {row[0]: row[1] for row in conn.execute(query.group_by(policy_run.c.snapshot_id))}


def prune(conn: Connection, before: float, limit: int) -> int:
    """Remove up to `limit` runs that ended before this time; return how many.

    The last one that a snapshot answers for stays as long as that is there: its retention goes by it (S309).
    """
    keys = policy_run.c.policy_id, policy_run.c.slot, policy_run.c.disk_id
    there = exists(select(snapshot.c.id).where(VISIBLE_SNAPSHOT, snapshot.c.id == policy_run.c.snapshot_id))
    later = policy_run.alias("later")
    same = later.c.snapshot_id == policy_run.c.snapshot_id, later.c.policy_id == policy_run.c.policy_id
    last = ~exists(select(later.c.slot).where(*same, later.c.slot > policy_run.c.slot))
    kept = and_(func.coalesce(_ANSWERED, false()), there, last)
    old = select(*keys).where(policy_run.c.ended_at < before, ~kept).order_by(policy_run.c.ended_at).limit(limit)
    return conn.execute(delete_from(policy_run).where(tuple_(*keys).in_(old))).rowcount


def _key(policy_id: PolicyId, slot: int, disk_id: DiskId) -> ColumnElement[bool]:
    columns = policy_run.c
    return and_(columns.policy_id == policy_id, columns.slot == slot, columns.disk_id == disk_id)


def _all(conn: Connection, query: Select[Any]) -> list[Run]:
    return [_run(row) for row in conn.execute(query)]


def _run(row: Row[Any]) -> Run:
    return Run(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name

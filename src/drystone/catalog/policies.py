"""Snapshot policies and the disks that are bound to them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy import insert as insert_into

from drystone.catalog.rows import Rows
from drystone.catalog.schema_policies import policy, policy_cursor, policy_disk
from drystone.domain.ids import AccountId, DiskId, PolicyId
from drystone.domain.policy import Policy

_rows = Rows(policy, Policy)

get = _rows.get
get_many = _rows.get_many
compare_and_set = _rows.compare_and_set
remove = _rows.delete
"""Its bindings go with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySelection:
    """Policies of one account that meet every condition: each is a tuple of values, any of which will do."""

    account_id: AccountId
    ids: tuple[tuple[str, ...], ...] = ()
    names: tuple[tuple[str, ...], ...] = ()
    ascending: bool = False
    offset: int = 0
    limit: int = 20


def insert(conn: Connection, value: Policy, *, cursor: float) -> None:
    """Add a policy whose slots count from `cursor` on."""
    _rows.insert(conn, value)
    conn.execute(insert_into(policy_cursor).values(policy_id=value.id, at=cursor))


def find(conn: Connection, selection: PolicySelection) -> tuple[list[Policy], int]:
    """Return a page of the policies that meet a selection, newest first unless asked otherwise, and their number."""
    wanted = [policy.c.account_id == selection.account_id]
    wanted += [policy.c.id.in_(list(ids)) for ids in selection.ids]
    wanted += [policy.c.name.in_(list(names)) for names in selection.names]
    total: int = conn.execute(select(func.count()).select_from(policy).where(*wanted)).scalar_one()
    columns = policy.c.created_at, policy.c.id
    order = [column.asc() if selection.ascending else column.desc() for column in columns]
    page = select(policy).where(*wanted).order_by(*order)
    return _rows.all(conn, page.offset(selection.offset).limit(selection.limit)), total


def count(conn: Connection, account_id: AccountId) -> int:
    """Return how many policies an account has."""
    query = select(func.count()).select_from(policy).where(policy.c.account_id == account_id)
    counted: int = conn.execute(query).scalar_one()
    return counted


def owners(conn: Connection) -> list[AccountId]:
    """Return the accounts that have any policy."""
    return list(conn.execute(select(policy.c.account_id).distinct().order_by(policy.c.account_id)).scalars())


def active(conn: Connection) -> list[Policy]:
    """Return the policies of all accounts that are switched on, by id."""
    return _rows.all(conn, select(policy).where(policy.c.active).order_by(policy.c.id))


def cursors(conn: Connection) -> dict[PolicyId, float]:
    """Return up to which time the slots of each policy were looked at."""
    return {row.policy_id: row.at for row in conn.execute(select(policy_cursor))}


def set_cursor(conn: Connection, policy_id: PolicyId, at: float) -> None:
    """Say up to which time the slots of a policy were looked at."""
    conn.execute(update(policy_cursor).where(policy_cursor.c.policy_id == policy_id).values(at=at))


# --- disks ------------------------------------------------------------------------------------------------------------


def bind(conn: Connection, policy_id: PolicyId, disk_id: DiskId, at: float) -> None:
    """Bind a disk; one that is bound already is an `sqlalchemy.exc.IntegrityError`."""
    conn.execute(insert_into(policy_disk).values(policy_id=policy_id, disk_id=disk_id, bound_at=at))


def unbind(conn: Connection, policy_id: PolicyId, disk_ids: Collection[str]) -> None:
    """Take the bindings of these disks away; of others there is none."""
    conn.execute(
        delete(policy_disk).where(policy_disk.c.policy_id == policy_id, policy_disk.c.disk_id.in_(list(disk_ids)))
    )


def unbind_everywhere(conn: Connection, disk_id: DiskId) -> None:
    """Take all bindings of a disk away."""
    conn.execute(delete(policy_disk).where(policy_disk.c.disk_id == disk_id))


def disks_of(conn: Connection, policy_ids: Collection[str]) -> dict[PolicyId, list[DiskId]]:
    """Return the disks of each of these policies, in the order in which they were bound."""
    found: dict[PolicyId, list[DiskId]] = {PolicyId(policy_id): [] for policy_id in policy_ids}
    query = select(policy_disk).where(policy_disk.c.policy_id.in_(list(policy_ids)))
    for row in conn.execute(query.order_by(policy_disk.c.bound_at, policy_disk.c.disk_id)):
        found[row.policy_id].append(row.disk_id)
    return found


def of_disks(conn: Connection, disk_ids: Sequence[str]) -> dict[DiskId, list[PolicyId]]:
    """Return the policies of each of these disks, in the order in which it was bound to them."""
    found: dict[DiskId, list[PolicyId]] = {DiskId(disk_id): [] for disk_id in disk_ids}
    query = select(policy_disk).where(policy_disk.c.disk_id.in_(list(disk_ids)))
    for row in conn.execute(query.order_by(policy_disk.c.bound_at, policy_disk.c.policy_id)):
        found[row.disk_id].append(row.policy_id)
    return found


def bindings(conn: Connection, account_id: AccountId | None = None) -> dict[DiskId, dict[PolicyId, float]]:
    """Return since when each bound disk is bound to which policies, of one account or of all."""
    query = select(policy_disk).join(policy, policy.c.id == policy_disk.c.policy_id)
    if account_id is not None:
        query = query.where(policy.c.account_id == account_id)
    found: dict[DiskId, dict[PolicyId, float]] = {}
    for row in conn.execute(query.with_only_columns(*policy_disk.c)):
        found.setdefault(row.disk_id, {})[row.policy_id] = row.bound_at
    return found

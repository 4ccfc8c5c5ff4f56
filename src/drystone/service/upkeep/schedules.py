"""The round of snapshot policies: what is due becomes rows, rows become snapshots, and each says what came of it.

What a round decides is said by pure functions (`domain/schedule.py`, `domain/runs.py`). A run is a row: a server that
is killed at any moment goes on with it (S302). Two servers, or two rounds, may look at once: each step expects the row
where it stands.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, operations, policies, policy_runs, snapshots
from drystone.domain import runs as rules
from drystone.domain.clock import TOLERANCE_S
from drystone.domain.disk import Disk
from drystone.domain.errors import Refusal, RefusalError, UnavailableError
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.ids import DiskId, InstanceId, PolicyId
from drystone.domain.operation import OperationState
from drystone.domain.policy import Policy, Run, RunState
from drystone.domain.schedule import Due, due, next_trigger
from drystone.domain.snapshot import SnapshotState
from drystone.service.rounds import Bugs
from drystone.service.rows import events
from drystone.service.rows.runs import add, move, result_of
from drystone.service.transactions import Change, Transactions
from drystone.transfer.places import Places

log = structlog.get_logger()
FREEZES_MAX = 8
"""Batches of one account that are frozen at once: each waits for its guest most of the time."""
RESERVE = 8
"""Further places, one each for accounts that hold none."""
BATCHES_MAX = 128
"""Of one round: what is due meanwhile waits for it, and one that hangs takes 30 s."""
KEPT_S = 90 * 86_400.0
"""How long a run is shown that has ended; one that says for which slots a snapshot answers as long as that is there."""
PRUNED_MAX = 500


class Taker(Protocol):
    """Begins the snapshots of a batch."""

    async def take(self, policy: Policy, runs: Sequence[Run]) -> None:
        """Begin snapshots of waiting runs, at one instant if there are several; each run is moved in that transaction.

        Raises:
            RefusalError: They cannot be begun now; there are none, or they fail by themselves.
        """


@dataclass(slots=True, kw_only=True, eq=False)
class Schedules:
    """Has snapshots taken when policies say so."""

    transactions: Transactions
    taker: Taker
    bugs: Bugs
    counts: Counter[str] = field(default_factory=Counter)
    """Runs that have ended since the start, by result."""
    _places: Places = field(init=False, default_factory=lambda: Places(FREEZES_MAX, reserve=RESERVE))
    _next: dict[PolicyId, tuple[Policy, float, int | None]] = field(init=False, default_factory=dict)
    """When each policy is due, as long as it is the same and looked at up to the same time."""

    async def once(self) -> None:
        """Do a round: note what is due, end what must end, and begin what waits."""
        transactions = self.transactions
        now = transactions.steady()
        pending, there = await transactions.read(lambda conn: (self._pending(conn, now), _any_open(conn)))
        if pending or there:
            self._count(await transactions.change(lambda change: _advance(change, pending)))
            await self._begin_waiting()

    async def prune(self) -> int:
        """Let go of runs that ended long ago; return how many."""
        transactions = self.transactions
        before = transactions.steady() - KEPT_S
        return await transactions.change(lambda change: policy_runs.prune(change.conn, before, PRUNED_MAX))

    def _pending(self, conn: Connection, now: float) -> list[PolicyId]:
        """Return the policies of which a slot is due, or whose cursor lies ahead; each is looked at once for a slot."""
        cursors = policies.cursors(conn)
        found, known = [], {}
        for policy in policies.active(conn):
            cursor = cursors[policy.id]
            kept = self._next.get(policy.id)
            if kept is None or kept[:2] != (policy, cursor):
                kept = (policy, cursor, next_trigger(policy, max(cursor, policy.anchored_at)))
            known[policy.id] = kept
            ahead = cursor - now > TOLERANCE_S or policy.anchored_at - now > TOLERANCE_S
            if ahead or (kept[2] is not None and kept[2] <= now):
                found.append(policy.id)
        self._next = known
        return found

    async def _begin_waiting(self) -> None:
        batches = await self.transactions.read(self._waiting)
        async with asyncio.TaskGroup() as tasks:
            for policy, runs in batches[:BATCHES_MAX]:
                tasks.create_task(self._begin(policy, runs))

    def _waiting(self, conn: Connection) -> list[tuple[Policy, list[Run]]]:
        """Return the batches that are to be tried now, in the order in which their turn comes."""
        now = self.transactions.steady()
        ready = rules.fair_order(run for run in policy_runs.under_way(conn) if rules.ready(run, now))
        owners = policies.get_many(conn, {run.policy_id for run in ready})
        places = _instances(conn, [run.disk_id for run in ready])
        found: list[tuple[Policy, list[Run]]] = []
        seen: set[tuple[PolicyId, int, DiskId]] = set()
        for first in ready:
            policy = owners.get(first.policy_id)
            if policy is None or (first.policy_id, first.slot, first.disk_id) in seen:
                continue
            same = {run.disk_id: run for run in ready if (run.policy_id, run.slot) == (first.policy_id, first.slot)}
            for batch in rules.batches(policy, {disk_id: places.get(disk_id) for disk_id in same}):
                if first.disk_id in batch:
                    found.append((policy, [same[disk_id] for disk_id in batch]))
                    seen |= {(policy.id, first.slot, disk_id) for disk_id in batch}
        return found

    async def _begin(self, policy: Policy, runs: Sequence[Run]) -> None:
        refusal: Refusal | None = None
        async with self._places.hold(policy.account_id):
            try:
                await self.taker.take(policy, runs)
            except RefusalError as error:
                refusal, sentence = error.kind, error.message
            except UnavailableError as error:
                sentence = error.shown or "a part of the service did not answer"
            except Exception as error:  # noqa: BLE001 - noted: one disk must not keep the others (S135)
                self.bugs.note(error, "schedule.begin", policy_id=policy.id, disk_id=runs[0].disk_id)
                sentence = "the service failed on it; its log tells more"
            else:
                return
        log.warning("schedule.refused", policy_id=policy.id, disk_ids=[run.disk_id for run in runs], error=sentence)
        self._count(await self.transactions.change(lambda change: _thwart(change, runs, refusal, sentence)))

    def _count(self, ended: Sequence[Run]) -> None:
        for run in ended:
            self.counts[result_of(run)] += 1
            log.info(
                "schedule.ended", policy_id=run.policy_id, slot=run.slot, disk_id=run.disk_id, result=result_of(run),
                late_by_s=run.late_by_s, snapshot_id=run.snapshot_id,
            )  # fmt: skip


def _any_open(conn: Connection) -> bool:
    return bool(policy_runs.under_way(conn))


def _instances(conn: Connection, disk_ids: Sequence[DiskId]) -> Mapping[DiskId, InstanceId | None]:
    return {DiskId(name): disk.instance_id for name, disk in disks.get_many(conn, disk_ids).items()}


def _advance(change: Change, pending: Sequence[PolicyId]) -> list[Run]:
    """Note what has ended, then what is due; return the runs that have ended.

    In this order, since a snapshot that has ended holds up no slot; what is due may have to end at once.
    """
    ended = _review(change)
    for policy_id in pending:
        ended += _open(change, policy_id)
    return ended + (_review(change) if pending else [])


def _open(change: Change, policy_id: PolicyId) -> list[Run]:
    """Make the runs of the slot of a policy that is due, and move its cursor; return those that have ended by it."""
    conn, now = change.conn, change.steady
    policy, cursor = policies.get(conn, policy_id), policies.cursors(conn).get(policy_id)
    if policy is None or cursor is None:
        return []
    found = due(policy, cursor, now)
    if found.cursor != cursor:
        policies.set_cursor(conn, policy_id, found.cursor)
    _tell_of_time(change, policy, found)
    if found.slot is None:
        return []
    bound = policies.disks_of(conn, [policy_id])[policy_id]
    rows = disks.get_many(conn, bound)
    there = {disk_id: rows[disk_id].instance_id if disk_id in rows else None for disk_id in bound}
    known = [*policy_runs.under_way(conn, policy_id=policy_id), *policy_runs.of_slot(conn, policy_id, found.slot)]
    opening = rules.opened(policy, found, there, known, now)
    before = {(run.slot, run.disk_id): run for run in known}
    ended = [run for run in opening.ended if move(change, before[run.slot, run.disk_id], run)]
    for run in opening.opened:
        add(change, run)
    return ended + [run for run in opening.opened if not run.state.under_way]


def _tell_of_time(change: Change, policy: Policy, found: Due) -> None:
    if found.set_back_s:
        days = found.set_back_s / 86_400
        why = f"the clock was put back: times were looked at up to {days:.1f} days ahead, and are from now on again"
    elif found.missed:
        why = f"missed: {found.missed}; the run for the last one is {found.late_by_s:.0f} s late"
    else:
        return
    trouble = Trouble(kind=EventKind.RUNS_MISSED, account_id=policy.account_id, subject_id=policy.id)
    events.note(change, trouble, Facts(reason=why, at=None if found.slot is None else float(found.slot)))


def _review(change: Change) -> list[Run]:
    """Move the runs whose snapshot has ended, or that must not be tried any more; return those that have ended."""
    conn, now = change.conn, change.steady
    there = policy_runs.under_way(conn)
    owners = policies.get_many(conn, {run.policy_id for run in there})
    found = disks.get_many(conn, {run.disk_id for run in there})
    bound = policies.of_disks(conn, [*{run.disk_id for run in there}])
    ended = []
    for run in there:
        policy = owners.get(run.policy_id)
        after = _settled(conn, run, policy, now)
        if after is run:
            disk: Disk | None = found.get(run.disk_id)
            after = rules.reviewed(run, policy, disk, now, bound=run.policy_id in bound[run.disk_id])
        if after != run and move(change, run, after) and not after.state.under_way:
            ended.append(after)
    return ended


def _settled(conn: Connection, run: Run, policy: Policy | None, now: float) -> Run:
    """Return a run as its snapshot has left it: whoever ended that need not think of runs."""
    if run.state is not RunState.RUNNING:
        return run
    assert run.snapshot_id is not None
    snapshot = snapshots.get(conn, run.snapshot_id)
    if snapshot is not None and snapshot.state is not SnapshotState.CREATING:
        return rules.done(run, now)
    operation = operations.takes_snapshot(conn, run.snapshot_id)
    if operation is not None and operation.state is OperationState.RUNNING:
        return run
    if operation is None:
        return rules.thwarted(run, policy, None, "the snapshot is gone, and nobody knows why", now)
    refusal = Refusal(operation.error_code) if operation.error_code in set(Refusal) else None
    return rules.thwarted(run, policy, refusal, operation.error, now)


def _thwart(change: Change, runs: Sequence[Run], refusal: Refusal | None, sentence: str) -> list[Run]:
    """Note that runs could not be begun, and return those that failed by it; one that moved meanwhile is left alone."""
    ended = []
    for run in runs:
        policy = policies.get(change.conn, run.policy_id)
        after = rules.thwarted(run, policy, refusal, sentence, change.steady)
        if move(change, run, after) and not after.state.under_way:
            ended.append(after)
    return ended

"""The round of snapshot policies, on a machine whose clock is set: each run is taken once, or says why not."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from drystone.catalog import disks, events, operations, policies, policy_runs, snapshots
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal, RefusalError, UnavailableError
from drystone.domain.event import EventKind
from drystone.domain.ids import DiskId, InstanceId, PolicyId, SnapshotId
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.policy import Policy, Retention, Run, RunReason, RunState, Trigger
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.tracking import TrackingState
from drystone.service.caller import Caller
from drystone.service.calls.disk_records import owned_disk
from drystone.service.calls.scheduled import ScheduledSnapshots
from drystone.service.calls.snapshot_begin import Scheduled, new_snapshot
from drystone.service.rounds import Bugs
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import schedules
from drystone.service.upkeep.schedules import Schedules
from tests.domain.payloads import payload
from tests.service.machine import YEAR, Machine
from tests.service.records_world import NOW, OTHER, OWNER, World, run, with_accounts

DAILY = (Trigger(hours=(0,), interval_days=1),)
HOUR, DAY = 3600, 86_400
SLOT = 1_700_006_400
"""2023-11-15 00:00 UTC, the first slot after NOW."""
A, B, C = (DiskId(f"disk-{name}") for name in "abc")
POLICY = PolicyId("asp-1")


class KilledError(BaseException):
    """The process is gone."""


@dataclass
class Lifecycle:
    """Begins snapshots as rows alone, or refuses as it was told."""

    transactions: Transactions
    refuses: dict[DiskId, Exception] = field(default_factory=dict)
    marked: set[DiskId] = field(default_factory=set)
    taken: list[tuple[DiskId, ...]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    killed_after_begun: bool = False

    async def take_scheduled(self, caller: Caller, disk_ids: Any, *given: Any) -> None:
        ids: Sequence[DiskId] = [DiskId(disk_ids)] if isinstance(disk_ids, str) else disk_ids
        scheduled: Scheduled = given[-1]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1

        def begin(change: Change) -> bool:
            for disk_id in ids:
                if disk_id in self.refuses:
                    raise self.refuses[disk_id]
            found = [owned_disk(change.conn, caller.account_id, disk_id) for disk_id in ids]
            ask = scheduled.unchanged
            if ask is not None and ask(change, [(disk, disk.id in self.marked) for disk in found]):
                return False
            for disk in found:
                template = scheduled.record(change, new_snapshot(change, disk, change.ids.snapshot()))
                snapshots.insert(change.conn, template)
                change.begin(
                    OperationKind.SNAPSHOT, account_id=disk.account_id, disk_id=disk.id, snapshot_id=template.id,
                    request_id=caller.request_id, payload=payload(OperationKind.SNAPSHOT),
                )  # fmt: skip
            return True

        if await self.transactions.change(begin):
            self.taken.append(tuple(ids))
        if self.killed_after_begun:
            raise KilledError


class Server:
    """What takes snapshots by itself, begun anew by `start`."""

    def __init__(self, world: World) -> None:
        self.world, self.machine = world, Machine(world)
        self.counts: Counter[str] = Counter()
        self.start()

    def start(self) -> None:
        self.transactions = Transactions(
            db=self.world.db, clock=lambda: self.world.now, steady=lambda: self.machine.steady.now(),  # noqa: PLW0108 - a restart has another one
            rng=cast("Any", self.world.ids._rng),
        )  # fmt: skip
        self.lifecycle = Lifecycle(self.transactions)
        self.schedules = self.another()

    def another(self) -> Schedules:
        taker = ScheduledSnapshots(snapshots=cast("Any", self.lifecycle), groups=cast("Any", self.lifecycle))
        return Schedules(transactions=self.transactions, taker=taker, bugs=Bugs(), counts=self.counts)

    def policy(self, name: str = POLICY, disks_of: Sequence[DiskId] = (A,), **fields: Any) -> Policy:
        at = self.machine.steady.now()
        plain: dict[str, Any] = {
            "account_id": OWNER, "zone": "UTC", "triggers": DAILY, "created_at": at, "modified_at": at,
            "anchored_at": at,
        }  # fmt: skip
        value = Policy(id=PolicyId(name), **(plain | fields))

        def make(conn: Any) -> None:
            policies.insert(conn, value, cursor=at)
            for disk_id in disks_of:
                policies.bind(conn, value.id, disk_id, at)

        self.world.db.write_sync(make)
        return value

    def disk(self, disk_id: DiskId, **fields: Any) -> None:
        given = {"state": DiskState.ATTACHED, "instance_id": InstanceId("ins-1")} | fields
        self.world.disk(disk_id, **given)

    def goes(self, to: float) -> None:
        """Let time pass until then, and do a round."""
        self.machine.passes(to - self.machine.steady.now())
        self.round()

    def round(self) -> None:
        run(self.machine.steady.look())
        run(self.schedules.once())

    def ends(self, **values: Any) -> None:
        """End all snapshots that are being made, well or as it is told."""
        failed = values.get("state") is OperationState.FAILED

        def end(conn: Any) -> None:
            for one in operations.unfinished(conn):
                fields = {"state": OperationState.DONE, **values}
                operations.update(conn, one.id, updated_at=self.world.now, **fields)
                if failed:
                    snapshots.delete(conn, one.of_snapshot)
                else:
                    normal = {"state": SnapshotState.NORMAL}
                    snapshots.compare_and_set(conn, one.of_snapshot, expected={}, values=normal)

        self.world.db.write_sync(end)

    def runs(self) -> list[tuple[int, str, str, str | None]]:
        found = self.world.db.read_sync(lambda conn: policy_runs.find(conn, _everything()))[0]
        found += self.world.db.read_sync(lambda conn: policy_runs.find(conn, _everything(OTHER)))[0]
        return sorted((one.slot, one.disk_id, one.state.value, one.reason) for one in found)

    def row(self, slot: int = SLOT, disk_id: DiskId = A, policy: PolicyId = POLICY) -> Run:
        found = self.world.db.read_sync(lambda conn: policy_runs.get(conn, policy, slot, disk_id))
        assert found is not None
        return found

    def made(self) -> list[Snapshot]:
        return self.world.db.read_sync(lambda conn: snapshots.of_policy(conn, POLICY))

    def told(self) -> list[tuple[EventKind, str, str]]:
        found = self.world.db.read_sync(lambda conn: events.all_unresolved(conn, tuple(EventKind)))
        return [(one.kind, one.subject_id, one.facts.reason) for one in found]


def _everything(account: Any = OWNER) -> Any:
    return policy_runs.RunSelection(account_id=account, limit=10_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with with_accounts(tmp_path / "catalog.db") as world:
        world.instance("ins-1")
        yield Server(world)


def test_a_due_run_is_taken_once_with_what_its_policy_gives_it(server: Server) -> None:
    """S302."""
    server.disk(A)
    server.policy(zone="+08:00", triggers=(Trigger(hours=(8,), interval_days=1),), retention=Retention(days=3))
    server.goes(SLOT - 1)
    assert server.runs() == []
    server.goes(SLOT + 3)
    server.goes(SLOT + 5)
    (made,) = server.made()
    assert (made.name, made.slot, made.policy_order, made.permanent) == ("snap_20231115_08", SLOT, 1, False)
    assert made.deadline_at == SLOT + 3 + 3 * DAY
    assert server.runs() == [(SLOT, A, "running", None)]
    assert server.row().snapshot_id == made.id
    server.ends()
    server.round()
    assert server.runs() == [(SLOT, A, "done", None)]
    assert (server.row().late_by_s, server.row().attempts, server.counts["done"]) == (3.0, 1, 1)
    server.goes(SLOT + DAY)
    assert [one.policy_order for one in server.made()] == [2, 1]
    assert server.told() == []


def test_a_server_that_is_killed_between_due_and_begun_begins_it_once(server: Server) -> None:
    """S302."""
    server.disk(A)
    server.policy()
    server.machine.passes(SLOT + 1 - NOW)

    def killed(*_: object) -> Any:
        raise KilledError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Schedules, "_begin_waiting", killed)
        with pytest.raises(KilledError):
            server.round()
    assert server.runs() == [(SLOT, A, "waiting", None)]
    server.start()
    server.lifecycle.killed_after_begun = True
    with pytest.raises(BaseExceptionGroup):
        server.round()
    server.start()
    for _ in range(3):
        server.round()
    assert server.lifecycle.taken == []
    assert len(server.made()) == 1
    assert server.runs() == [(SLOT, A, "running", None)]


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after it"])
def test_a_server_that_dies_at_any_write_takes_each_slot_once(server: Server, *, committed: bool) -> None:
    """S302: two disks together, one alone, over two slots; the server dies at each write in turn and starts again."""
    for name in (A, B):
        server.disk(name)
    server.disk(C, instance_id=None)
    server.policy(disks_of=(A, B, C), group=True)
    cuts, writes, real = 0, 0, server.world.db.write

    async def write(fn: Any) -> Any:
        nonlocal writes
        writes -= 1
        if writes == 0 and not committed:
            raise KilledError
        result = await real(fn)
        if writes == 0:
            raise KilledError
        return result

    server.world.db.write = write  # type: ignore[method-assign]
    for slot in (SLOT, SLOT + DAY):
        server.machine.passes(slot + 1 - server.machine.steady.now())
        for cut in range(1, 9):
            writes = cut
            try:
                server.round()
            except KilledError:
                cuts += 1
            except BaseExceptionGroup as group:
                cuts += group.subgroup(KilledError) is not None
            writes = -1
            server.start()
        for _ in range(3):
            server.round()
        server.ends()
        server.round()
    assert cuts >= 6
    assert {state for _, _, state, _ in server.runs()} == {"done"}
    assert [(slot, disk_id) for slot, disk_id, *_ in server.runs()] == [
        (slot, name) for slot in (SLOT, SLOT + DAY) for name in (A, B, C)
    ]
    made = [(one.slot, one.disk_id) for one in server.made()]
    assert len(made) == len(set(made)) == 6


def test_two_rounds_at_once_take_one(server: Server) -> None:
    """S302."""
    server.disk(A)
    server.policy()
    server.machine.passes(SLOT + 1 - NOW)

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            for one in (server.another(), server.another(), server.another()):
                tasks.create_task(one.once())

    run(both())
    assert len(server.made()) == 1
    assert server.runs() == [(SLOT, A, "running", None)]


def test_what_is_busy_is_tried_again_until_half_the_gap_has_passed(server: Server) -> None:
    """S303."""
    server.disk(A)
    server.disk(B)
    server.policy(disks_of=(A, B))
    busy = RefusalError(Refusal.BUSY, "Disk disk-a is EXPANDING.")
    server.lifecycle.refuses[A] = busy
    server.goes(SLOT)
    assert (server.row().state, server.row().reason, server.row().detail) == (
        RunState.WAITING, RunReason.BUSY, "Disk disk-a is EXPANDING.",
    )  # fmt: skip
    assert server.row(disk_id=B).state is RunState.RUNNING
    server.ends()
    at = SLOT
    while server.row().state is RunState.WAITING and at < SLOT + DAY:
        at += 600
        server.goes(at)
    assert SLOT + DAY / 2 - 1200 <= at <= SLOT + DAY / 2 + 600
    assert server.runs() == [(SLOT, A, "failed", "busy"), (SLOT, B, "done", None)]
    assert server.counts == {"failed": 1, "done": 1}
    assert server.told() == [(EventKind.RUN_FAILED, A, "busy: Disk disk-a is EXPANDING.")]
    assert server.world.stored_disk(A).error_prompt == "policy asp-1: busy: Disk disk-a is EXPANDING."
    server.lifecycle.refuses.clear()
    server.goes(SLOT + DAY)
    server.ends()
    server.round()
    assert server.told() == []
    assert server.world.stored_disk(A).error_prompt == ""


def test_what_was_busy_for_a_minute_is_taken(server: Server) -> None:
    server.disk(A)
    server.policy()
    server.lifecycle.refuses[A] = UnavailableError("QMP timed out at /run/x", shown="The guest does not answer")
    server.goes(SLOT)
    assert server.row().detail == "The guest does not answer"
    server.lifecycle.refuses.clear()
    server.goes(SLOT + 60)
    assert [one.slot for one in server.made()] == [SLOT]


def test_a_snapshot_that_fails_is_tried_again(server: Server) -> None:
    """S303."""
    server.disk(A)
    server.policy()
    server.goes(SLOT)
    server.ends(state=OperationState.FAILED, error_code=Refusal.FULL, error="there is no space")
    server.round()
    assert (server.row().state, server.row().reason, server.row().snapshot_id) == (
        RunState.WAITING, RunReason.FULL, None,
    )  # fmt: skip
    server.goes(SLOT + 60)
    assert server.runs() == [(SLOT, A, "running", None)]
    assert server.row().attempts == 2


def test_a_snapshot_that_somebody_cancels_is_not_taken_again(server: Server) -> None:
    server.disk(A)
    server.policy()
    server.goes(SLOT)
    server.ends(state=OperationState.FAILED, error_code=Refusal.CANCELLED, error="cancelled")
    server.goes(SLOT + 60)
    assert server.runs() == [(SLOT, A, "failed", "cancelled")]


def test_a_run_that_takes_longer_than_the_gap_has_the_next_one_skipped_and_said(server: Server) -> None:
    """S302."""
    server.disk(A)
    server.policy()
    server.goes(SLOT)
    server.goes(SLOT + DAY)
    server.goes(SLOT + 2 * DAY)
    late = [(SLOT + day * DAY, A, "skipped", "overlap") for day in (1, 2)]
    assert server.runs() == [(SLOT, A, "running", None), *late]
    assert len(server.made()) == 1
    assert server.counts == {"overlap": 2}
    assert server.told() == [(EventKind.RUN_SKIPPED, A, "overlap")]
    server.ends()
    server.goes(SLOT + 3 * DAY)
    assert len(server.made()) == 2


@pytest.mark.parametrize("hours", [1, 24 * 400])
def test_a_machine_that_was_off_has_one_late_run(server: Server, hours: int) -> None:
    """S301."""
    server.disk(A)
    server.policy(triggers=(Trigger(hours=tuple(range(24)), interval_days=1),))
    server.machine.reboots(SLOT - NOW + hours * HOUR + 100)
    server.start()
    server.machine.confirm()
    for _ in range(3):
        server.round()
    (only,) = server.runs()
    assert only == (SLOT + hours * 3600, A, "running", None)
    assert len(server.made()) == 1
    assert server.row(only[0]).late_by_s == 100.0
    assert [kind for kind, *_ in server.told()] == [EventKind.RUNS_MISSED]


def test_a_clock_that_leaps_a_year_and_back_makes_no_storm_and_no_gap(server: Server) -> None:
    """S301."""
    server.disk(A)
    server.policy(triggers=(Trigger(hours=tuple(range(24)), interval_days=1),))
    server.goes(SLOT)
    server.ends()
    server.machine.leaps(YEAR)
    for _ in range(5):
        server.machine.passes(60)
        server.round()
    assert len(server.runs()) == 1
    # Somebody believes it: one late run, whatever lay between.
    server.machine.confirm()
    for _ in range(5):
        server.machine.passes(60)
        server.round()
        server.ends()
    assert len(server.runs()) == 2
    server.machine.leaps(-YEAR)
    server.machine.confirm()
    server.round()
    assert [kind for kind, *_ in server.told()] == [EventKind.RUNS_MISSED]
    server.goes(SLOT + HOUR)
    assert [slot for slot, *_ in server.runs()][:2] == [SLOT, SLOT + 3600]


def test_each_disk_says_its_reason_and_the_others_go_on(server: Server) -> None:
    names = [DiskId(f"disk-{number}") for number in range(6)]
    for name in names:
        server.disk(name)
    server.policy(disks_of=names)
    server.lifecycle.refuses = {
        names[0]: RefusalError(Refusal.DISK_UNFIT, "It is unfit."),
        names[1]: RefusalError(Refusal.SNAPSHOT_QUOTA, "It is full."),
        names[2]: AssertionError("a bug"),
    }
    going = {"state": DiskState.TORECYCLE}
    server.world.db.write_sync(lambda conn: disks.compare_and_set(conn, names[3], expected={}, values=going))
    with pytest.MonkeyPatch.context() as patched:
        # Between due and begun.
        patched.setattr(Schedules, "_begin_waiting", lambda _self: asyncio.sleep(0))
        server.goes(SLOT)
    server.world.db.write_sync(lambda conn: disks.delete(conn, names[4]))
    server.round()
    assert server.runs() == [
        (SLOT, names[0], "failed", "disk unfit"), (SLOT, names[1], "waiting", "quota"),
        (SLOT, names[2], "waiting", "busy"), (SLOT, names[3], "skipped", "recycled"),
        (SLOT, names[4], "skipped", "disk gone"), (SLOT, names[5], "running", None),
    ]  # fmt: skip
    assert server.schedules.bugs.counts == {"schedule.begin": 1}
    assert server.counts == {"failed": 1, "recycled": 1, "disk gone": 1}


@pytest.mark.parametrize(("how", "reason"), [
    ("deleted", "policy gone"), ("off", "switched off"), ("unbound", "unbound"),
])  # fmt: skip
def test_what_becomes_of_the_policy_ends_runs_that_wait_and_leaves_snapshots(
    server: Server, how: str, reason: str
) -> None:
    """S305."""
    server.disk(A)
    server.disk(B)
    server.policy(disks_of=(A, B))
    server.lifecycle.refuses[A] = RefusalError(Refusal.BUSY, "It is.")
    server.goes(SLOT)
    (made,) = server.made()

    def change(conn: Any) -> None:
        if how == "deleted":
            policies.remove(conn, POLICY)
        elif how == "off":
            policies.compare_and_set(conn, POLICY, expected={}, values={"active": False})
        else:
            policies.unbind(conn, POLICY, [A, B])

    server.world.db.write_sync(change)
    server.lifecycle.refuses.clear()
    server.goes(SLOT + 60)
    server.ends()
    server.goes(SLOT + 120)
    assert server.runs() == [(SLOT, A, "skipped", reason), (SLOT, B, "done", None)]
    assert server.made()[0].deadline_at == made.deadline_at
    assert server.told() == []


def test_a_policy_that_ends_in_the_middle_of_a_round_is_obeyed(server: Server) -> None:
    """S305: the transaction that begins a snapshot looks again."""
    server.disk(A)
    server.policy()
    taker = server.schedules.taker
    real = taker.take

    async def removed(policy: Policy, runs: Sequence[Run]) -> None:
        off = {"active": False}
        server.world.db.write_sync(lambda conn: policies.compare_and_set(conn, POLICY, expected={}, values=off))
        await real(policy, runs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ScheduledSnapshots, "take", lambda _self, policy, runs: removed(policy, runs))
        patched.setattr(schedules, "log", server)
        server.warning = lambda *_a, **_k: None  # type: ignore[attr-defined]
        server.info = lambda *_a, **_k: None  # type: ignore[attr-defined]
        server.goes(SLOT)
    assert server.made() == []
    server.round()
    assert [state for _, _, state, _ in server.runs()] == ["failed"]
    assert server.schedules.bugs.counts == {}


def test_disks_of_one_instance_are_taken_together_if_the_policy_says_so(server: Server) -> None:
    server.disk(A)
    server.disk(B)
    server.disk(C, state=DiskState.UNATTACHED, instance_id=None)
    server.policy(disks_of=(A, B, C), group=True)
    server.lifecycle.refuses[B] = RefusalError(Refusal.NOT_NOW, "It is being filled.")
    server.goes(SLOT)
    assert [state for _, _, state, _ in server.runs()] == ["waiting", "waiting", "running"]
    server.lifecycle.refuses.clear()
    server.goes(SLOT + 60)
    assert server.lifecycle.taken == [(C,), (A, B)]
    assert [state for _, _, state, _ in server.runs()] == ["running"] * 3


def unchanged_disk(server: Server, disk_id: DiskId, **fields: Any) -> None:
    """Have a disk show what its policy's newest snapshot does."""
    base = next(one.id for one in server.made() if one.disk_id == disk_id)
    values = {"base_snapshot_id": base, "tracking": TrackingState.LIVE, "bitmap": "b", **fields}
    server.world.db.write_sync(lambda conn: disks.compare_and_set(conn, disk_id, expected={}, values=values))


def test_an_unchanged_disk_is_skipped_and_says_which_snapshot_shows_it(server: Server) -> None:
    """S304."""
    server.disk(A)
    server.disk(B)
    server.policy(disks_of=(A, B), skip_unchanged=True)
    server.goes(SLOT)
    server.ends()
    unchanged_disk(server, A)
    unchanged_disk(server, B)
    server.lifecycle.marked = {B}
    server.goes(SLOT + DAY)
    assert server.runs()[2:] == [(SLOT + DAY, A, "skipped", "unchanged"), (SLOT + DAY, B, "running", None)]
    assert server.row(SLOT + DAY).snapshot_id == server.row(SLOT).snapshot_id
    assert server.told() == []


@pytest.mark.parametrize("why", ["lost", "carried", "not asked for", "of nobody"])
def test_what_may_have_changed_is_taken(server: Server, why: str) -> None:
    """S304."""
    server.disk(A)
    server.policy(skip_unchanged=why != "not asked for")
    server.goes(SLOT)
    server.ends()
    changed: dict[str, dict[str, Any]] = {
        "lost": {"tracking": TrackingState.LOST}, "carried": {"carry": frozenset({"maps/a"})},
        "of nobody": {"base_snapshot_id": None},
    }  # fmt: skip
    fields = changed.get(why, {})
    unchanged_disk(server, A, **fields)
    server.goes(SLOT + DAY)
    assert server.runs()[1] == (SLOT + DAY, A, "running", None)


def test_a_detached_disk_is_taken_once_and_then_left_alone(server: Server) -> None:
    """S304: as CBS takes none of a disk that is not in use; what was written last is not lost for that."""
    server.disk(A, state=DiskState.UNATTACHED, instance_id=None)
    server.policy()
    server.goes(SLOT)
    server.ends()
    unchanged_disk(server, A)
    server.goes(SLOT + DAY)
    assert server.runs() == [(SLOT, A, "done", None), (SLOT + DAY, A, "skipped", "not in use")]


def test_five_hundred_disks_at_once_are_all_taken_in_turn(server: Server) -> None:
    """S156: none is lost, and an account with few waits for none with many."""
    many = [DiskId(f"disk-m{number:03d}") for number in range(500)]
    for name in many:
        server.world.disk(name, state=DiskState.ATTACHED)
    few = [DiskId(f"disk-f{number}") for number in range(5)]
    for name in few:
        server.world.disk(name, account_id=OTHER, state=DiskState.ATTACHED)
    for number in range(0, 500, 200):
        server.policy(f"asp-{number}", many[number : number + 200])
    server.policy("asp-few", few, account_id=OTHER)
    server.machine.passes(SLOT - NOW)
    for _ in range(5):
        server.round()
    assert {state for _, _, state, _ in server.runs()} == {"running"}
    assert len(server.runs()) == 505
    order = [disk_id for (disk_id,) in server.lifecycle.taken]
    assert sorted(order) == sorted([*many, *few])
    assert max(order.index(name) for name in few) < 40
    assert 1 < server.lifecycle.most_at_once <= schedules.FREEZES_MAX + schedules.RESERVE


def test_old_runs_go(server: Server) -> None:
    server.disk(A)
    server.policy()
    server.goes(SLOT)
    server.ends()
    server.round()
    server.machine.passes(91 * DAY)
    assert run(server.schedules.prune()) == 1
    assert server.runs() == []


def test_a_name_that_is_taken_is_no_matter(server: Server) -> None:
    server.disk(A)
    server.world.snapshot("snap-old", name="snap_20231115_00", disk_id=A)
    server.policy()
    server.goes(SLOT)
    assert [one.name for one in server.made()] == ["snap_20231115_00"]
    assert SnapshotId("snap-old") not in [one.id for one in server.made()]
    assert replace(server.row(), snapshot_id=None).state is RunState.RUNNING

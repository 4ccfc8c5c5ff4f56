"""Events: one for each trouble, counted while it lasts, over when it ends, few, and seen by whom they are for."""

import functools
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drystone.catalog import disks, meta, operations, snapshots
from drystone.catalog import events as rows
from drystone.catalog.events import EventSelection
from drystone.domain.disk import DiskState
from drystone.domain.errors import DrystoneError, KeysRefusedError, Refusal, SpaceError, StoreUnavailableError
from drystone.domain.event import FLOOD_MAX, INSTALLATION, Event, EventKind, Facts, Trouble
from drystone.domain.ids import AccountId, DiskId, OperationId, SnapshotId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.snapshot import SnapshotRecord
from drystone.domain.tracking import TrackingState
from drystone.engine.layout import Layout
from drystone.engine.space import Space
from drystone.objects.measured import Tally
from drystone.service.calls.event_records import EventRecords
from drystone.service.jobs import snapshot_commit
from drystone.service.requests import EventQuery
from drystone.service.room import Room
from drystone.service.rows import endings, events, troubles
from drystone.service.rows.settling import end_failed_snapshot
from drystone.service.transactions import Change
from drystone.service.upkeep import observation, store_watch
from drystone.service.upkeep.backups import Backups
from drystone.service.upkeep.observation import ACCOUNT_MAX, ENOUGH_BYTES, KEPT_S, LOW_BYTES, Observation
from drystone.service.upkeep.store_watch import StoreWatch
from drystone.service.views import ClockView
from tests.service.parts import changed, transactions
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, refusal, run, with_accounts

pytestmark = pytest.mark.usefixtures("both_catalogs")
ADMIN = caller(OWNER, admin=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with with_accounts(tmp_path / "catalog.db") as made:
        yield made


def all_events(world: World) -> list[Event]:
    accounts = (OWNER, OTHER, INSTALLATION)
    found = world.db.read_sync(lambda conn: rows.find(conn, EventSelection(accounts=accounts, limit=10_000))[0])
    return sorted(found, key=lambda event: event.revision)


def told(world: World) -> list[tuple[EventKind, str, int]]:
    """Return what is not over."""
    return sorted((one.kind, one.subject_id, one.count) for one in all_events(world) if one.resolved_at is None)


def fail(world: World, operation: Operation, message: str = "no room", *, code: str = Refusal.FULL) -> None:
    changed(world.db, lambda change: endings.failed(change, operation, code=code, message=message), at=world.now)


# --- what happens (S220) ----------------------------------------------------------------------------------------------


def test_an_operation_that_fails_again_is_one_event_until_one_succeeds(world: World) -> None:
    world.disk("disk-a")
    for number in range(3):
        operation = world.operation(f"op-{number}", kind=OperationKind.RESIZE, disk_id="disk-a")
        fail(world, operation, f"no room {number}")
        fail(world, operation, "it has ended already")
    other = world.operation("op-other", kind=OperationKind.ATTACH, disk_id="disk-a")
    fail(world, other)
    assert told(world) == [(EventKind.OPERATION_FAILED, "disk-a", 1), (EventKind.OPERATION_FAILED, "disk-a", 3)]
    (resize,) = (one for one in all_events(world) if one.aspect == "resize")
    assert (resize.facts.reason, resize.facts.operation_id) == ("no room 2", "op-2")
    done = world.operation("op-done", kind=OperationKind.RESIZE, disk_id="disk-a")
    changed(world.db, lambda change: endings.done(change, done), at=NOW + 5)
    assert told(world) == [(EventKind.OPERATION_FAILED, "disk-a", 1)]
    fail(world, world.operation("op-9", kind=OperationKind.RESIZE, disk_id="disk-a"))
    assert len(all_events(world)) == 3
    assert told(world) == [(EventKind.OPERATION_FAILED, "disk-a", 1)] * 2


def test_what_nobody_needs_any_more_has_not_failed(world: World) -> None:
    fail(world, world.operation("op-1", kind=OperationKind.HYDRATE), code="")
    for kind in (OperationKind.SNAPSHOT, OperationKind.SNAPSHOT_GROUP, OperationKind.PROVE):
        fail(world, world.operation(f"op-{kind}", kind=kind))
    assert told(world) == []


def test_an_event_is_in_the_transaction_of_what_it_tells(world: World) -> None:
    """Planted: the transaction is taken back."""
    operation = world.operation("op-1", kind=OperationKind.RESIZE, disk_id="disk-a")

    def give_up(change: Change) -> None:
        endings.failed(change, operation, code=Refusal.FULL, message="no room")
        raise DrystoneError("taken back")

    with pytest.raises(DrystoneError, match="taken back"):
        changed(world.db, give_up)
    assert all_events(world) == []


def commit(world: World, *, asked: str | None, given: str, transcript: tuple[str, ...] = (), lies: int = 0) -> None:
    disk = world.db.read_sync(lambda conn: disks.get(conn, DiskId("disk-a")))
    record = SnapshotRecord(consistency_asked=asked, consistency=given, transcript=transcript)
    result: Any = SimpleNamespace(audit_lies=[[0, lies]] if lies else [], audit_lie_blocks=lies)
    assert disk is not None
    changed(
        world.db, lambda change: snapshot_commit._tell(change, disk, SnapshotId("snap-1"), record, result), at=world.now
    )


def test_a_failed_snapshot_is_told_until_the_next_is_good(world: World) -> None:
    world.disk("disk-a")
    for number in range(2):
        operation = world.operation(
            f"op-{number}", kind=OperationKind.SNAPSHOT, disk_id="disk-a", error_code="x", error="the view is gone"
        )
        changed(world.db, functools.partial(end_failed_snapshot, operation=operation))
    assert told(world) == [(EventKind.SNAPSHOT_FAILED, "disk-a", 2)]
    (event,) = all_events(world)
    assert (event.account_id, event.facts.reason, event.facts.operation_id) == (OWNER, "the view is gone", "op-1")
    commit(world, asked=None, given="crash")
    assert told(world) == []


def test_less_consistency_than_asked_is_told_until_a_snapshot_has_it(world: World) -> None:
    world.disk("disk-a")
    commit(world, asked=None, given="crash")
    assert told(world) == []
    lines = ("freeze filesystem /srv failed, 3.1 ms: it is not mounted", "held for 41.5 ms")
    for _ in range(2):
        commit(world, asked="filesystem", given="crash", transcript=lines)
    assert told(world) == [(EventKind.CONSISTENCY_REDUCED, "disk-a", 2)]
    (event,) = all_events(world)
    assert (event.facts.asked, event.facts.given, event.facts.reason) == ("filesystem", "crash", lines[0])
    commit(world, asked="filesystem", given="filesystem")
    assert told(world) == []


def test_what_an_audit_found_wrong_is_told_with_what_is_suspect(world: World) -> None:
    world.disk("disk-a")
    world.snapshot("snap-0", suspect=True)
    commit(world, asked=None, given="crash", lies=7)
    assert told(world) == [(EventKind.SNAPSHOT_SUSPECT, "snap-0", 1), (EventKind.TRACKING_WRONG, "disk-a", 1)]


# --- what lasts -------------------------------------------------------------------------------------------------------


class Around:
    """What is seen around the rows, as a test sets it."""

    def __init__(self, world: World) -> None:
        self.free_bytes = 1 << 40
        self.doubted_since: float | None = None
        self.fault: tuple[Trouble, Facts] | None = None
        self.backup: tuple[Trouble, Facts] | None = None
        self.round = Observation(
            transactions=transactions(world.db, clock=lambda: world.now), room=cast("Any", self),
            clock=cast("Any", self), store=cast("Any", SimpleNamespace(trouble=lambda: self.fault)),
            backups=cast("Any", SimpleNamespace(trouble=lambda: self.backup)),
        )  # fmt: skip

    def places(self) -> dict[str, Space]:
        return {"data": Space(total_bytes=1 << 41, free_bytes=self.free_bytes, floor_bytes=0)}

    def view(self) -> ClockView:
        return ClockView(machine_at=NOW + 500, steady_at=NOW, doubted_since=self.doubted_since, waits_s=60.0)


def test_what_rows_show_is_told_as_long_as_they_show_it(world: World) -> None:
    around = Around(world)
    world.disk("disk-new", tracking=TrackingState.LOST, tracking_reason="new")
    world.snapshot("snap-whole")
    run(around.round.once())
    assert told(world) == []
    world.disk("disk-lost", base_snapshot_id="snap-whole", tracking_reason="its daemon died", state=DiskState.ATTACHED)
    world.snapshot("snap-bad", damaged=True, suspect=True, created_at=NOW - 1)
    world.snapshot("snap-odd", suspect=True, created_at=NOW - 2)
    world.snapshot("snap-theirs", damaged=True, account_id=OTHER)
    world.operation("op-stuck", kind=OperationKind.ROLLBACK, error_code="x", error="no daemon", attempts=5)
    world.operation("op-waits", kind=OperationKind.ROLLBACK, error="waits", attempts=50)
    world.operation("op-begun", kind=OperationKind.ROLLBACK, error_code="x", error="no daemon", attempts=1)
    world.db.write_sync(lambda conn: meta.put(conn, troubles.HELD, "recovered"))
    run(around.round.once())
    there = [
        (EventKind.OPERATION_STUCK, "op-stuck", 1), (EventKind.SNAPSHOT_DAMAGED, "snap-bad", 1),
        (EventKind.SNAPSHOT_DAMAGED, "snap-theirs", 1), (EventKind.SNAPSHOT_SUSPECT, "snap-odd", 1),
        (EventKind.STORE_HELD, "", 1), (EventKind.TRACKING_LOST, "disk-lost", 1),
    ]  # fmt: skip
    assert told(world) == there
    newest = world.db.read_sync(rows.revision)
    run(around.round.once())
    assert world.db.read_sync(rows.revision) == newest, "nothing has changed, so nothing is written"
    values = {"damaged": False, "suspect": False}
    world.db.write_sync(lambda conn: snapshots.compare_and_set(conn, "snap-bad", expected={}, values=values))
    world.db.write_sync(lambda conn: snapshots.delete(conn, "snap-theirs"))
    world.db.write_sync(lambda conn: meta.remove(conn, troubles.HELD))
    run(around.round.once())
    gone = {"snap-bad", "snap-theirs", ""}
    assert told(world) == [one for one in there if one[1] not in gone]
    assert {one.resolved_at for one in all_events(world)} == {None, NOW}


@pytest.mark.parametrize("kind", [OperationKind.ROLLBACK, OperationKind.INITIALIZE])
def test_tracking_that_a_rollback_loses_is_no_trouble_until_it_has_ended(world: World, kind: OperationKind) -> None:
    around = Around(world)
    world.snapshot("snap-whole")
    world.disk("disk-back", base_snapshot_id="snap-whole", tracking_reason="rolling back", state=DiskState.ROLLBACKING)
    world.operation("op-back", kind=kind, disk_id="disk-back")
    run(around.round.once())
    assert told(world) == []
    # It ended, and tracking is lost for another reason.
    world.db.write_sync(
        lambda conn: operations.update(conn, OperationId("op-back"), updated_at=NOW, state=OperationState.DONE)
    )
    run(around.round.once())
    assert told(world) == [(EventKind.TRACKING_LOST, "disk-back", 1)]


def test_what_is_around_the_rows_is_told_as_long_as_it_lasts(world: World) -> None:
    around = Around(world)
    around.free_bytes = LOW_BYTES - 1
    around.doubted_since = NOW
    around.fault = Trouble(kind=EventKind.STORE_UNREACHABLE, subject_id="st-1"), Facts(reason="no route")
    around.backup = Trouble(kind=EventKind.BACKUP_FAILED), Facts(reason="full")
    run(around.round.once())
    assert told(world) == [
        (EventKind.BACKUP_FAILED, "", 1), (EventKind.CLOCK_DOUBTED, "", 1), (EventKind.SPACE_LOW, "data", 1),
        (EventKind.STORE_UNREACHABLE, "st-1", 1),
    ]  # fmt: skip
    around.free_bytes, around.doubted_since, around.backup = LOW_BYTES + 1, None, None
    around.fault = Trouble(kind=EventKind.STORE_REFUSED, subject_id="st-1"), Facts(reason="AccessDenied")
    run(around.round.once())
    # Space that is hardly enough is not told of again and again.
    assert told(world) == [(EventKind.SPACE_LOW, "data", 1), (EventKind.STORE_REFUSED, "st-1", 1)]
    around.free_bytes, around.fault = ENOUGH_BYTES, None
    run(around.round.once())
    assert told(world) == []
    assert len(all_events(world)) == 5


def test_events_of_disks_and_snapshots_that_are_gone_are_over(world: World) -> None:
    around = Around(world)
    for disk_id in ("disk-a", "disk-b"):
        world.disk(disk_id)
        fail(world, world.operation(f"op-{disk_id}", kind=OperationKind.RESIZE, disk_id=disk_id))
    fail(world, world.operation("op-create", kind=OperationKind.CREATE_DISK, disk_id="disk-never"))
    world.db.write_sync(lambda conn: disks.delete(conn, DiskId("disk-a")))
    run(around.round.once())
    assert told(world) == [
        (EventKind.OPERATION_FAILED, "disk-b", 1), (EventKind.OPERATION_FAILED, "op-create", 1)
    ]  # fmt: skip


# --- bounds (S221) ----------------------------------------------------------------------------------------------------


def test_a_flood_of_one_kind_is_one_event(world: World) -> None:
    around = Around(world)
    for number in range(FLOOD_MAX + 10):
        fail(world, world.operation(f"op-{number}", kind=OperationKind.CREATE_DISK, disk_id=f"disk-{number}"))
        world.snapshot(f"snap-{number}", damaged=True)
    fail(world, world.operation("op-theirs", kind=OperationKind.CREATE_DISK, account_id=OTHER))
    run(around.round.once())
    failed = [one for one in told(world) if one[0] is EventKind.OPERATION_FAILED]
    assert len(failed) == FLOOD_MAX + 2
    assert failed[0] == (EventKind.OPERATION_FAILED, "", 10)
    assert [one for one in told(world) if one[0] is EventKind.SNAPSHOT_DAMAGED] == [
        (EventKind.SNAPSHOT_DAMAGED, "", FLOOD_MAX + 10)
    ]
    world.snapshot("snap-more", damaged=True)
    run(around.round.once())
    assert (EventKind.SNAPSHOT_DAMAGED, "", FLOOD_MAX + 11) in told(world)


def test_old_events_go_and_one_account_never_pushes_out_anothers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "ACCOUNT_MAX", 5)
    around = Around(world)

    def happen(account_id: AccountId, subject_id: str, *, over: bool) -> None:
        trouble = Trouble(kind=EventKind.SNAPSHOT_FAILED, account_id=account_id, subject_id=subject_id)
        changed(world.db, lambda change: events.note(change, trouble), at=world.now)
        if over:
            changed(world.db, lambda change: events.end(change, trouble), at=world.now)

    happen(OTHER, "disk-theirs", over=True)
    happen(OWNER, "disk-first", over=False)
    for number in range(9):
        world.now += 1
        happen(OWNER, f"disk-{number}", over=True)
    assert run(around.round.prune()) == 5
    # What is not over stays, the newest of the others do.
    assert sorted(one.subject_id for one in all_events(world)) == [
        "disk-5", "disk-6", "disk-7", "disk-8", "disk-first", "disk-theirs"
    ]  # fmt: skip
    world.now += KEPT_S + 1
    assert run(around.round.prune()) == 5
    assert [one.subject_id for one in all_events(world)] == ["disk-first"]
    assert len(EventKind) * (FLOOD_MAX + 1) < ACCOUNT_MAX, "what is not over has room"


def test_a_reason_is_cut(world: World) -> None:
    fail(world, world.operation("op-1", kind=OperationKind.RESIZE, disk_id="disk-a"), "x" * 10_000)
    assert len(all_events(world)[0].facts.reason) == 500


# --- calls (S222) -----------------------------------------------------------------------------------------------------


def happened(world: World) -> EventRecords:
    for account_id in (OWNER, OTHER, INSTALLATION):
        kind = EventKind.OPERATION_FAILED if account_id else EventKind.SPACE_LOW
        trouble = Trouble(kind=kind, account_id=account_id, subject_id=f"of-{account_id}")
        changed(world.db, lambda change, trouble=trouble: events.note(change, trouble))  # type: ignore[misc]
    return EventRecords(transactions=transactions(world.db))


def test_accounts_see_their_own_and_administrators_the_installations_too(world: World) -> None:
    records = happened(world)

    def seen(who: Any, *filters: tuple[str, tuple[str, ...]]) -> set[str]:
        return {one.subject_id for one in run(records.describe(who, EventQuery(filters=filters))).items}

    assert seen(caller(OTHER)) == {f"of-{OTHER}"}
    assert seen(caller(OWNER)) == {f"of-{OWNER}"}
    assert seen(ADMIN) == {f"of-{OWNER}", "of-"}
    assert seen(ADMIN, ("severity", ("warning",))) == {"of-"}
    assert seen(ADMIN, ("kind", ("operation_failed", "space_low")), ("resolved", ("false",))) == {f"of-{OWNER}", "of-"}
    assert seen(ADMIN, ("subject-id", ("of-",))) == {"of-"}
    assert seen(ADMIN, ("acknowledged", ("true",))) == set()
    assert refusal(records.describe(ADMIN, EventQuery(filters=(("resolved", ("maybe",)),)))) == Refusal.BAD_VALUE
    assert refusal(records.describe(ADMIN, EventQuery(filters=(("state", ("x",)),)))) == Refusal.BAD_FILTER
    theirs, mine, house = (
        next(one.id for one in all_events(world) if one.account_id == account)
        for account in (OTHER, OWNER, INSTALLATION)
    )
    for who, event_ids in ((ADMIN, [mine, theirs]), (caller(OWNER), [mine, house]), (ADMIN, [mine, "evt-none"])):
        assert refusal(records.acknowledge(who, event_ids)) == Refusal.NO_SUCH_THING
    assert refusal(records.acknowledge(ADMIN, [])) == Refusal.BAD_VALUE
    assert all(one.acknowledged_at is None for one in all_events(world)), "a refusal changes nothing"
    run(records.acknowledge(ADMIN, [mine, house, mine]))
    by_id = {one.id: one for one in all_events(world)}
    assert (by_id[mine].acknowledged_by, by_id[mine].resolved_at) == (OWNER, NOW), "it has no end of its own"
    assert (by_id[house].acknowledged_at, by_id[house].resolved_at) == (NOW, None), "space is low still"
    assert seen(ADMIN, ("acknowledged", ("true",)), ("resolved", ("false",))) == {"of-"}


def test_who_follows_is_told_of_each_change_once_and_of_none_too_few(world: World) -> None:
    records = EventRecords(transactions=transactions(world.db))
    rng = random.Random(3)
    cursor = run(records.describe(ADMIN, EventQuery())).cursor
    copy: dict[str, Event] = {}
    for step in range(60):
        trouble = Trouble(kind=EventKind.SNAPSHOT_FAILED, account_id=OWNER, subject_id=f"disk-{rng.randrange(6)}")
        act = rng.choice([events.note, events.end])
        changed(world.db, lambda change, act=act, trouble=trouble: act(change, trouble))  # type: ignore[misc]
        if rng.random() < 0.3 or step == 59:
            while True:
                page = run(records.describe(ADMIN, EventQuery(after=cursor, limit=2)))
                assert all(one.revision > cursor for one in page.items)
                copy.update({one.id: one for one in page.items})
                cursor = page.cursor
                if len(page.items) == page.total:
                    break
            assert copy == {one.id: one for one in all_events(world)}


# --- what is looked at ------------------------------------------------------------------------------------------------


def test_a_store_that_does_not_answer_is_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    time, answers, asked = [0.0], [None], [0]

    def read_mark(_store: object) -> None:
        asked[0] += 1
        if answers[0] is not None:
            raise answers[0]

    monkeypatch.setattr(store_watch, "read_mark", read_mark)
    kept: Any = SimpleNamespace(
        proven=None, fault=StoreUnavailableError("no route"), store_id="st-1", place="a bucket", store=object(),
        claimed=SimpleNamespace(lost=""),
    )  # fmt: skip
    watch = StoreWatch(kept=kept, tally=Tally(), steady=lambda: NOW, monotonic=lambda: time[0])

    def kind() -> EventKind | None:
        run(watch.once())
        found = watch.trouble()
        return None if found is None else found[0].kind

    assert kind() is EventKind.STORE_UNREACHABLE
    kept.proven = object()
    assert (kind(), asked[0], watch.reached_at) == (None, 1, NOW)
    time[0] += store_watch.FAR_SECONDS - 1
    assert (kind(), asked[0]) == (None, 1)
    time[0] += 1
    answers[0] = KeysRefusedError("AccessDenied")  # type: ignore[call-overload]
    assert (kind(), asked[0]) == (EventKind.STORE_REFUSED, 2)
    time[0] += store_watch.AGAIN_SECONDS
    answers[0] = None
    assert (kind(), asked[0]) == (None, 3)
    kept.claimed.lost = "another catalog"
    assert kind() is EventKind.STORE_FOREIGN


def test_a_copy_of_the_catalog_that_fails_is_told_until_one_is_made(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.catalog.write_bytes(b"")
    time = [NOW]
    backups = Backups(
        room=Room(layout=layout, floor_bytes_max=1 << 62, floor_percent=100.0), steady=lambda: time[0],
        monotonic=lambda: time[0], minutes=60, kept=3,
    )  # fmt: skip
    assert backups.trouble() is None
    with pytest.raises(SpaceError):
        run(backups.due())
    found = backups.trouble()
    assert found is not None
    assert "near the floor" in found[1].reason
    layout.catalog.unlink()
    World.open(layout.catalog).db.close()
    object.__setattr__(backups.room, "floor_percent", 0.0)
    if not layout.catalog.exists():
        return  # In PostgreSQL: nothing is copied.
    run(backups.due())
    assert backups.trouble() is None
    time[0] += 3 * 3600.0 + 1
    late = backups.trouble()
    assert late is not None
    assert late[1].at == NOW

"""What is asked of the store, and how full it is, by day; and what is told of the store without asking it (S223)."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drystone.catalog import packs
from drystone.catalog import store_days as rows
from drystone.domain.errors import Refusal, StoreUnavailableError
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.ids import DiskId, PackId
from drystone.domain.store_days import SpaceOfDay, days_left
from drystone.objects.measured import Count, Tally
from drystone.service.calls.disk_space import DiskSpace
from drystone.service.calls.store_status import StoreStatus
from drystone.service.requests import DiskSpaceQuery
from drystone.service.rows import events
from drystone.service.upkeep.store_days import DAY_SECONDS, KEPT_DAYS, StoreDays, day_of
from drystone.service.views import DiskSpaceView, Page
from tests.service.parts import changed, transactions
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, refusal, run, with_accounts

pytestmark = pytest.mark.usefixtures("both_catalogs")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with with_accounts(tmp_path / "catalog.db") as made:
        yield made


def count(kind: str, requests: int, size: int = 0, errors: int = 0) -> Count:
    return Count(store="s3://b", kind=kind, requests=requests, bytes=size, errors=errors, seconds=0.5)


class Days:
    def __init__(self, world: World) -> None:
        self.world = world
        self.tally = Tally()
        self.free = 100
        self.begin()

    def begin(self) -> None:
        """Start anew, as the server does: the tally is empty, the rows are there."""
        self.tally = Tally()
        room: Any = SimpleNamespace(look=lambda: SimpleNamespace(above_floor_bytes=self.free))
        self.made = transactions(self.world.db, clock=lambda: self.world.now)
        self.round = StoreDays(transactions=self.made, tally=self.tally, room=room)

    def rows(self) -> list[tuple[str, str, int, int, int]]:
        found = self.world.db.read_sync(lambda conn: rows.traffic_since(conn, ""))
        return [(one.day, one.kind, one.requests, one.bytes, one.errors) for one in found]


def test_each_request_is_counted_once_on_its_day_also_across_restarts(world: World) -> None:
    days = Days(world)
    today, tomorrow = day_of(world.now), day_of(world.now + DAY_SECONDS)
    days.tally.add(count("put", 2, 50), count("list", 1))
    run(days.round.once())
    run(days.round.once())
    assert days.rows() == [(today, "list", 1, 0, 0), (today, "put", 2, 50, 0)]
    days.tally.add(count("put", 1, 7, errors=1))
    run(days.round.once())
    days.begin()
    days.tally.add(count("put", 1, 3))
    run(days.round.once())
    assert days.rows() == [(today, "list", 1, 0, 0), (today, "put", 4, 60, 1)]
    world.now += DAY_SECONDS
    days.tally.add(count("get", 5, 11))
    run(days.round.once())
    assert days.rows()[-1] == (tomorrow, "get", 5, 11, 0)


def test_what_could_not_be_kept_is_kept_by_the_next_round(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    days = Days(world)
    days.tally.add(count("put", 2, 50))
    with monkeypatch.context() as patched:
        patched.setattr(rows, "keep_space", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(days.round.once())
    run(days.round.once())
    assert days.rows() == [(day_of(world.now), "put", 2, 50, 0)]


def test_days_are_few(world: World) -> None:
    """S223: rows of over a year go."""
    days = Days(world)
    for _ in range(3):
        days.tally.add(count("put", 1))
        run(days.round.once())
        world.now += KEPT_DAYS * DAY_SECONDS / 2 + DAY_SECONDS
    assert len(days.rows()) == 2
    assert len(world.db.read_sync(lambda conn: rows.space_since(conn, ""))) == 2


def day_rows(world: World, *disk_ids: str) -> dict[str, list[tuple[str, int]]]:
    found = world.db.read_sync(lambda conn: rows.disks_since(conn, [DiskId(one) for one in disk_ids], ""))
    return {disk_id: [(one.day, one.bytes) for one in told] for disk_id, told in found.items()}


def test_a_day_of_a_disk_is_kept_where_another_amount_is_held(world: World) -> None:
    """S370: one row a day at most, and none while it rests."""
    days, first = Days(world), day_of(world.now)
    world.pack("p1", bytes=100, disk_id="disk-a")
    world.pack("p2", bytes=7, disk_id="disk-b")
    run(days.round.once())
    world.pack("p3", bytes=50, disk_id="disk-a")
    run(days.round.once())
    assert day_rows(world, "disk-a", "disk-b", "disk-c") == {
        "disk-a": [(first, 150)], "disk-b": [(first, 7)], "disk-c": [],
    }  # fmt: skip
    world.now += DAY_SECONDS
    run(days.round.once())
    assert day_rows(world, "disk-a")["disk-a"] == [(first, 150)]
    world.now += DAY_SECONDS
    world.db.write_sync(lambda conn: packs.delete(conn, PackId("p2")))
    run(days.round.once())
    assert day_rows(world, "disk-b")["disk-b"] == [(first, 7), (day_of(world.now), 0)]


def test_days_of_disks_are_few(world: World) -> None:
    """S370: over a year back what it was then stays, on one row; of what is gone nothing stays."""
    days = Days(world)
    world.pack("gone", bytes=9, disk_id="disk-gone")
    for number in range(3):
        world.pack(f"p{number}", bytes=10, disk_id="disk-a")
        run(days.round.once())
        world.now += DAY_SECONDS
    last = day_of(world.now - DAY_SECONDS)
    world.db.write_sync(lambda conn: packs.delete(conn, PackId("gone")))
    run(days.round.once())
    world.now += KEPT_DAYS * DAY_SECONDS + DAY_SECONDS
    run(days.round.once())
    assert day_rows(world, "disk-a", "disk-gone") == {"disk-a": [(last, 30)], "disk-gone": []}
    world.pack("late", bytes=1, disk_id="disk-a")
    run(days.round.once())
    assert day_rows(world, "disk-a")["disk-a"] == [(last, 30), (day_of(world.now), 31)]


def test_what_is_held_of_disks_is_told_to_whose_they_are(world: World) -> None:
    days, first = Days(world), day_of(world.now)
    made = DiskSpace(transactions=days.made)

    def told(*, admin: bool = False, **query: Any) -> Page[DiskSpaceView]:
        return run(made.describe(caller(OWNER, admin=admin), DiskSpaceQuery(**query)))

    for disk_id, account in (("disk-a", OWNER), ("disk-b", OWNER), ("disk-theirs", OTHER)):
        world.disk(disk_id, account_id=account)
        world.pack(f"of-{disk_id}", bytes=len(disk_id), disk_id=disk_id, account_id=account)
    world.disk("disk-new")
    world.pack("more", bytes=1, disk_id="disk-b")
    world.pack("left", bytes=500, disk_id="disk-gone")
    run(days.round.once())
    world.now += 40 * DAY_SECONDS
    world.pack("later", bytes=3, disk_id="disk-b")
    run(days.round.once())
    page = told()
    assert [(one.held.disk_id, one.held.held_bytes) for one in page.items] == [
        ("disk-b", 10), ("disk-a", 6), ("disk-new", 0),
    ]  # fmt: skip
    # The first is from before the days that were asked for: it holds from the first of them.
    assert [(one.day, one.bytes) for one in page.items[0].days] == [(first, 7), (day_of(world.now), 10)]
    assert [one.held.disk_id for one in told(disk_ids=("disk-a", "disk-theirs", "disk-gone")).items] == ["disk-a"]
    assert (told(offset=1, limit=1).items[0].held.disk_id, told(offset=1, limit=1).total) == ("disk-a", 3)
    all_of_them = told(admin=True, all_accounts=True).items
    assert [(one.held.disk_id, one.held.account_id) for one in all_of_them] == [
        ("disk-gone", None), ("disk-theirs", OTHER), ("disk-b", OWNER), ("disk-a", OWNER),
    ]  # fmt: skip
    for query, code in (
        ({"all_accounts": True}, Refusal.NOT_ALLOWED),
        ({"days": 0}, Refusal.BAD_VALUE),
        ({"days": 401}, Refusal.BAD_VALUE),
    ):  # fmt: skip
        assert refusal(made.describe(caller(OWNER), DiskSpaceQuery(**query))) == code
    both = DiskSpaceQuery(all_accounts=True, disk_ids=("disk-a",))
    assert refusal(made.describe(caller(OWNER, admin=True), both)) == Refusal.BAD_VALUE


def test_days_until_it_is_full() -> None:
    def points(*free: int) -> list[SpaceOfDay]:
        return [SpaceOfDay(day=str(number), stored_bytes=0, free_bytes=one) for number, one in enumerate(free)]

    assert days_left(points(100, 80, 60)) == 3.0
    assert days_left(points(100, 50, 100)) is None
    assert days_left(points(100, 110)) is None
    assert days_left(points(100, 0)) is None, "one day says nothing"
    assert days_left(points(100, 50, 0)) == 0.0


def test_the_status_of_the_store_is_told_without_asking_it(world: World) -> None:
    """S223: nothing of the store is there to be asked."""
    days = Days(world)
    days.tally.add(
        count("put", 2, 50), count("get_range", 3, 9), count("size", 1), count("list", 4), count("delete", 5)
    )
    run(days.round.once())
    fault: list[tuple[Trouble, Facts] | None] = [None]
    kept: Any = SimpleNamespace(store_id="st-1", place="s3://b")
    watch: Any = SimpleNamespace(trouble=lambda: fault[0], reached_at=NOW)
    status = StoreStatus(transactions=days.made, kept=kept, watch=watch)
    assert refusal(status.describe(caller(OWNER))) == Refusal.NOT_ALLOWED
    admin = caller(OWNER, admin=True)
    told = run(status.describe(admin))
    assert (told.state, told.place, told.place_kind, told.last_fault) == ("answers", "s3://b", "bucket", None)
    (day,) = told.days
    assert (day.writes, day.reads, day.lists, day.deletes) == (2, 4, 4, 5)
    assert (day.sent_bytes, day.received_bytes) == (50, 9)
    trouble = Trouble(kind=EventKind.STORE_REFUSED, subject_id="st-1")
    fault[0] = trouble, Facts(reason=str(StoreUnavailableError("AccessDenied")))
    changed(world.db, lambda change: events.note(change, trouble, Facts(reason="AccessDenied")), at=NOW + 5)
    told = run(status.describe(admin))
    assert (told.state, told.fault, told.fault_since) == ("refused", "AccessDenied", NOW + 5)
    changed(world.db, lambda change: events.end(change, trouble), at=NOW + 9)
    fault[0] = None
    told = run(status.describe(admin))
    assert told.last_fault is not None
    assert (told.state, told.fault_since, told.last_fault.resolved_at) == ("answers", None, NOW + 9)

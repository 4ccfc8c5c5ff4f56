"""What is asked of the store, and how full it is, by day; and what is told of the store without asking it (S223)."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drystone.catalog import store_days as rows
from drystone.domain.errors import Refusal, StoreUnavailableError
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.store_days import SpaceOfDay, days_left
from drystone.objects.measured import Count, Tally
from drystone.service.calls.store_status import StoreStatus
from drystone.service.rows import events
from drystone.service.upkeep.store_days import DAY_SECONDS, KEPT_DAYS, StoreDays, day_of
from tests.service.parts import changed, transactions
from tests.service.records_world import NOW, OWNER, World, caller, refusal, run, with_accounts

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

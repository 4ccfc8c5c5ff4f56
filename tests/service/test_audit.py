"""The trail: refused calls cannot fill it and hide no change, it is bounded, and each sees its own of it."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, case, event, func, select

from drystone.catalog import trail
from drystone.catalog.schema import audit as table
from drystone.catalog.schema import audit_usage
from drystone.catalog.trail import TrailSelection, TrailUsage
from drystone.domain.errors import Refusal, SpaceError
from drystone.domain.ids import AccountId
from drystone.domain.trail import TrailEntry
from drystone.service.calls.trail import (
    KEPT_S,
    KINDS_MAX,
    OTHER_KINDS,
    REFUSED_CHARS_MAX,
    REFUSED_PER_MINUTE,
    STEP,
    Audit,
)
from drystone.service.requests import AuditQuery, Filters
from tests.catalogs import sqlite_alone
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, refusal, run

pytestmark = pytest.mark.usefixtures("both_catalogs")

NOT_FOUND = Refusal.NO_SUCH_DISK
EVERYBODY = caller(AccountId("100000000009"), admin=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.open(tmp_path / "catalog.db")
    yield world
    world.db.close()


def kept(world: World, account_id: AccountId | None = None) -> list[TrailEntry]:
    """Return an account's entries, or all, the oldest first."""
    found, _ = world.db.read_sync(lambda conn: trail.find(conn, TrailSelection(account_id=account_id, limit=10_000)))
    return found[::-1]


def add(world: World, count: int, *, code: str = "OK", account_id: AccountId = OWNER, at: float = NOW) -> None:
    """Write entries past the limits of refused ones."""
    entries = [
        TrailEntry(
            at=at, account_id=account_id, secret_id="AKID", action="CreateDisks", request_id="r",
            resource=f"{code} {number}", code=code, source="127.0.0.1",
        )
        for number in range(count)
    ]  # fmt: skip
    world.db.write_sync(lambda conn: trail.append(conn, *entries))


def bounded(world: World, **most: int) -> Audit:
    clock = lambda: world.now  # noqa: E731 - short
    return Audit(db=world.db, clock=clock, steady=clock, most=TrailUsage(**({"entries": 10**9, "bytes": 10**9} | most)))


def test_refused_calls_are_cut_and_counted_and_changes_are_all_written(world: World) -> None:
    """S158, S180."""

    async def flood() -> None:
        for _ in range(3 * REFUSED_PER_MINUTE):
            await world.audit.record(caller(OWNER), "x" * 2000, NOT_FOUND)
        for number in range(5):
            await world.audit.record(caller(OWNER), f"disk-{number}", "OK")
        await world.audit.record(caller(OTHER), "disk-9", NOT_FOUND)
        await world.audit.tell()
        world.now += 60
        await world.audit.record(caller(OWNER), "disk-a", Refusal.BUSY)
        await world.audit.tell()

    run(flood())
    rows = kept(world, OWNER)
    assert Counter((row.code, row.calls) for row in rows) == {
        (NOT_FOUND, 1): REFUSED_PER_MINUTE, (NOT_FOUND, 2 * REFUSED_PER_MINUTE): 1, ("OK", 1): 5,
        (Refusal.BUSY, 1): 1,
    }  # fmt: skip
    assert max(len(row.resource) for row in rows) == REFUSED_CHARS_MAX
    (tally,) = [row for row in rows if row.calls > 1]
    assert (tally.action, tally.at, tally.resource) == ("CreateDisks", NOW, "")
    assert [row.resource for row in kept(world, OTHER)] == ["disk-9"]


def test_kinds_of_refused_calls_are_bounded_and_none_is_lost(world: World) -> None:
    """S180."""

    async def flood() -> None:
        for number in range(REFUSED_PER_MINUTE + 5 * KINDS_MAX):
            await world.audit.record(caller(OWNER), "", f"Code{number}")
        await world.audit.close()

    run(flood())
    tallies = kept(world)[REFUSED_PER_MINUTE:]
    assert len(tallies) == KINDS_MAX + 1
    assert sum(row.calls for row in tallies) == 5 * KINDS_MAX
    assert [row.calls for row in tallies if (row.action, row.code) == OTHER_KINDS] == [4 * KINDS_MAX]


def test_tallies_that_cannot_be_written_are_told_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S180: the disk is full for a while, and the service is stopped while it is."""

    async def full(_work: object) -> None:
        raise SpaceError("full")

    async def flood() -> None:
        for _ in range(REFUSED_PER_MINUTE + 7):
            await world.audit.record(caller(OWNER), "", NOT_FOUND)
        with monkeypatch.context() as broken:
            broken.setattr(world.db, "write", full)
            with pytest.raises(SpaceError):
                await world.audit.tell()
            await world.audit.record(caller(OWNER), "", NOT_FOUND)
            await world.audit.close()
        await world.audit.close()

    run(flood())
    assert [row.calls for row in kept(world)][REFUSED_PER_MINUTE:] == [8]


def test_refused_calls_go_before_changes_and_the_oldest_first(world: World) -> None:
    """S181."""
    add(world, 30)
    add(world, 50, code=NOT_FOUND)
    add(world, 20)
    trail = bounded(world, entries=60)
    assert run(trail.prune()) == 40
    assert [row.resource for row in kept(world)] == [
        *(f"OK {number}" for number in range(30)),
        *(f"{NOT_FOUND} {number}" for number in range(40, 50)),
        *(f"OK {number}" for number in range(20)),
    ]
    assert run(bounded(world, entries=35).prune()) == 25
    assert [row.resource for row in kept(world)] == [
        *(f"OK {number}" for number in range(15, 30)), *(f"OK {number}" for number in range(20)),
    ]  # fmt: skip
    assert run(bounded(world, entries=35).prune()) == 0


def test_bytes_are_bounded_too_and_no_account_takes_anothers_part(world: World) -> None:
    """S181."""
    for account in (OTHER, OWNER):
        add(world, 20, account_id=account)
        add(world, 20, account_id=account, code=NOT_FOUND)
    add(world, 400)
    other = sum(row.bytes for row in world.db.read_sync(lambda conn: conn.execute(select(table.c.bytes)
                                                        .where(table.c.account_id == OTHER)).all()))  # fmt: skip
    assert run(bounded(world, bytes=3 * other).prune()) > 300
    assert Counter(row.code for row in kept(world, OTHER)) == {"OK": 20}
    size = world.db.read_sync(trail.usage).bytes
    assert 2 * other < size <= 3 * other


def test_sums_are_those_of_the_entries_after_anything(world: World) -> None:
    """What is kept by triggers is what counting would give."""
    for account, code in itertools.product((OWNER, OTHER), ("OK", NOT_FOUND)):
        add(world, 25, account_id=account, code=code)
    run(bounded(world, entries=70, bytes=12_000).prune())

    def both(conn: Connection) -> tuple[list[object], list[object]]:
        refused = case((table.c.code != "OK", 1), else_=0)
        counted = select(
            table.c.account_id, func.count(), func.sum(table.c.bytes), func.sum(refused),
            func.sum(refused * table.c.bytes),
        ).group_by(table.c.account_id)  # fmt: skip
        return [*map(tuple, conn.execute(counted))], [*map(tuple, conn.execute(select(audit_usage)))]

    counted, sums = world.db.read_sync(both)
    assert set(sums) == set(counted)
    assert len(sums) == 2


def test_what_is_more_than_a_year_old_goes(world: World) -> None:
    add(world, 3, at=NOW - KEPT_S - 1)
    add(world, 2, at=NOW - KEPT_S + 1)
    assert run(bounded(world).prune()) == 3
    assert len(kept(world)) == 2


def test_pruning_works_in_short_steps_and_goes_on_after_a_restart(world: World) -> None:
    """S181: a flood before an upgrade, or a lower bound: nobody waits for it to go."""
    add(world, 12 * STEP)
    removed: list[int] = []

    def after(_conn: object, cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("DELETE"):
            removed.append(getattr(cursor, "rowcount", -1))

    event.listen(
        world.db._writer,  # type: ignore[attr-defined] # the same of each kind
        "after_cursor_execute",
        after,
    )

    async def cut_off() -> None:
        pruning = asyncio.ensure_future(bounded(world, entries=STEP).prune())
        while len(removed) < 3:
            await asyncio.sleep(0)
        pruning.cancel()

    run(cut_off())
    assert len(kept(world)) >= 7 * STEP
    assert run(bounded(world, entries=STEP).prune()) > 6 * STEP
    assert max(removed) == STEP
    assert len(kept(world)) == STEP


def found(world: World, who: object = None, *filters: tuple[str, str], **rest: object) -> list[TrailEntry]:
    """Return what a caller is shown."""
    named: Filters = tuple((name, (value,)) for name, value in filters)
    query = AuditQuery(filters=named, **rest)  # type: ignore[arg-type] # of the test's own
    page = run(world.trail.describe(who or EVERYBODY, query))  # type: ignore[arg-type] # as above
    assert page.total >= len(page.items)
    return list(page.items)


def test_an_account_sees_its_own_and_an_administrator_everybodys(world: World) -> None:
    """S182."""
    add(world, 3)
    add(world, 2, account_id=OTHER)
    assert len(found(world)) == 5
    assert [row.account_id for row in found(world, caller(OTHER))] == [OTHER, OTHER]
    assert len(found(world, None, ("account-id", OTHER))) == 2
    assert found(world, caller(OTHER), ("resource-id", "2")) == []
    for account in (OWNER, OTHER, "nobody"):
        query = AuditQuery(filters=(("account-id", (account,)),))
        assert refusal(world.trail.describe(caller(OTHER), query)) == Refusal.NOT_ALLOWED


def test_filters_and_pages_of_the_trail(world: World) -> None:
    add(world, 3, at=NOW)
    add(world, 4, code=NOT_FOUND, at=NOW + 10)
    run(world.audit.record(caller(), "disk-1 /srv/a b%.raw snap-1", "OK"))
    assert len(found(world, None, ("outcome", "REFUSED"))) == 4
    assert len(found(world, None, ("outcome", "OK"))) == 4
    assert len(found(world, None, ("code", NOT_FOUND))) == 4
    assert len(found(world, None, ("code", NOT_FOUND), ("outcome", "OK"))) == 0
    assert len(found(world, None, ("action", "CreateDisks"))) == 8
    assert len(found(world, None, ("action", "createdisks"))) == 0
    for name in ("disk-1", "snap-1", "/srv/a b%.raw"):
        assert len(found(world, None, ("resource-id", name))) == 1
    for name in ("disk", "disk-%", "nap-1", "%"):
        assert len(found(world, None, ("resource-id", name))) == 0
    at = "2023-11-14T22:13:{}+00:00"  # NOW is 20 s after that minute
    assert len(found(world, begin=at.format(30))) == 4
    assert len(found(world, end=at.format(30))) == 4
    assert len(found(world, begin="2023-11-15T06:13:20+08:00", end=at.format(21))) == 4

    numbers = []
    for offset in range(0, 10, 3):
        page = run(world.trail.describe(EVERYBODY, AuditQuery(offset=offset, limit=3)))
        assert page.total == 8
        numbers += [row.id or 0 for row in page.items]
    # A write that was taken back leaves a gap in PostgreSQL's numbers.
    assert (numbers, len(numbers)) == (sorted(set(numbers), reverse=True), 8)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (AuditQuery(filters=(("state", ("OK",)),)), Refusal.BAD_FILTER),
        (AuditQuery(filters=(("outcome", ("ok",)),)), Refusal.BAD_VALUE),
        (AuditQuery(begin="2023-11-14T22:13:20"), Refusal.BAD_VALUE),
        (AuditQuery(end="yesterday"), Refusal.BAD_VALUE),
        (AuditQuery(limit=101), Refusal.BAD_VALUE),
    ],
)
def test_questions_that_cannot_be_meant_are_refused(world: World, query: AuditQuery, code: str) -> None:
    assert refusal(world.trail.describe(EVERYBODY, query)) == code


@sqlite_alone
def test_the_whole_trail_is_counted_without_looking_at_it(world: World) -> None:
    """However long it is: a page of it, and how many there are, read that page alone."""
    add(world, 100)
    plans: list[str] = []

    def look(conn: Connection) -> None:
        @event.listens_for(conn, "before_cursor_execute")
        def _plan(_conn: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
            plans.extend(
                row[-1] for row in conn.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            )

        trail.find(conn, TrailSelection(account_id=OWNER, limit=3))
        trail.thin(conn, TrailUsage(entries=1000, bytes=1_000_000), 10)

    world.db.read_sync(look)
    assert len(plans) >= 3
    for plan in plans:
        assert "TEMP B-TREE" not in plan
        assert "SCAN audit" not in plan.replace("SCAN audit_usage", ""), plans

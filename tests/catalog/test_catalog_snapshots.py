import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Table, event

from drystone.catalog import accounts, disks, snapshots
from drystone.catalog.accounts import Usage
from drystone.catalog.database import Database
from drystone.catalog.schema import disk as disk_table
from drystone.catalog.schema import snapshot as snapshot_table
from drystone.catalog.selection import Selection
from drystone.catalog.snapshots import DiskTotals
from drystone.catalog.sqlite import SqliteDatabase
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.snapshot import SnapshotState
from tests.catalog.catalog_values import OTHER, OWNER, account, disk, snapshot

ONE, TWO = DiskId("disk-1"), DiskId("disk-2")
VISIBLE = (SnapshotState.CREATING, SnapshotState.NORMAL)
MANY = 100_000


def test_totals_follow_every_change_of_snapshots(db: Database) -> None:
    rng = random.Random(7)
    states = list(SnapshotState)

    def check(conn: Connection) -> None:
        rows = snapshots.everything(conn)
        for owner in (OWNER, OTHER):
            shown = [row for row in rows if row.account_id == owner and row.state in VISIBLE]
            normal = [row for row in shown if row.state is SnapshotState.NORMAL]
            assert accounts.usage(conn, owner) == Usage(snapshots=len(shown), normal_snapshots=len(normal))
        for name, found in snapshots.totals(conn, [ONE, TWO]).items():
            shown = [row for row in rows if row.disk_id == name and row.state in VISIBLE]
            stored = sum(row.stored_bytes for row in shown if row.state is SnapshotState.NORMAL)
            assert found == DiskTotals(count=len(shown), stored_bytes=stored)

    def step(conn: Connection, number: int) -> None:
        rows = snapshots.everything(conn)
        what = rng.randrange(4) if rows else 0
        if what <= 1:
            value = snapshot(
                f"snap-{number:08}",
                account_id=rng.choice([OWNER, OTHER]),
                disk_id=rng.choice([ONE, TWO]),
                state=rng.choice(states),
                stored_bytes=rng.randrange(100),
            )
            snapshots.insert(conn, value)
        elif what == 2:
            values: dict[str, object] = {"state": rng.choice(states), "stored_bytes": rng.randrange(100)}
            kept = dict(rng.sample(sorted(values.items()), rng.randint(1, 2)))
            snapshots.compare_and_set(conn, rng.choice(rows).id, expected={}, values={**kept, "name": "n"})
        else:
            snapshots.delete(conn, rng.choice(rows).id)
        check(conn)

    def run(conn: Connection) -> None:
        for number in range(150):
            step(conn, number)

    db.write_sync(run)


def test_totals_of_unknown_disks_are_zero(db: Database) -> None:
    names = [DiskId(f"disk-{n}") for n in range(1200)]
    found = db.read_sync(lambda conn: snapshots.totals(conn, names))
    assert list(found) == names
    assert set(found.values()) == {DiskTotals()}


def test_family_is_the_whole_tree_and_only_that(db: Database) -> None:
    parents = {"a": None, "b": "a", "c": "b", "d": "a", "e": "c", "x": None, "y": "x", "o": "gone", "p": "o"}
    rows = [
        snapshot(
            name,
            parent_id=parent and SnapshotId(parent),
            created_at=float(at),
            state=SnapshotState.GHOST if name in {"a", "b"} else SnapshotState.NORMAL,
        )
        for at, (name, parent) in enumerate(parents.items())
    ]
    db.write_sync(lambda conn: [snapshots.insert(conn, row) for row in reversed(rows)])

    def family(name: str) -> str:
        return "".join(row.id for row in db.read_sync(lambda conn: snapshots.family(conn, SnapshotId(name))))

    assert {family(name) for name in "abcde"} == {"abcde"}
    assert {family(name) for name in "xy"} == {"xy"}
    assert {family(name) for name in "op"} == {"op"}
    assert family("gone") == ""


def test_due_are_normal_and_not_permanent(db: Database) -> None:
    rows = [
        snapshot("late", deadline_at=20.0, permanent=False),
        snapshot("early", deadline_at=10.0, permanent=False),
        snapshot("future", deadline_at=31.0, permanent=False),
        snapshot("kept", deadline_at=5.0, permanent=True),
        snapshot("creating", deadline_at=5.0, permanent=False, state=SnapshotState.CREATING),
        snapshot("ghost", deadline_at=5.0, permanent=False, state=SnapshotState.GHOST),
        snapshot("for ever"),
    ]
    db.write_sync(lambda conn: [snapshots.insert(conn, row) for row in rows])

    def due(now: float, limit: int) -> list[str]:
        return [row.id for row in db.read_sync(lambda conn: snapshots.due(conn, OWNER, now, limit))]

    assert due(30.0, 10) == ["early", "late"]
    assert due(30.0, 1) == ["early"]
    assert due(9.9, 10) == []
    assert db.read_sync(lambda conn: snapshots.accounts_due(conn, 30.0)) == [OWNER]
    assert db.read_sync(lambda conn: snapshots.accounts_due(conn, 9.9)) == []


def test_snapshots_of_a_disk_and_in_states(db: Database) -> None:
    rows = [
        snapshot("b", disk_id=ONE, created_at=2.0),
        snapshot("a", disk_id=ONE, created_at=1.0, state=SnapshotState.GHOST),
        snapshot("c", disk_id=TWO, created_at=3.0, account_id=OTHER),
    ]
    db.write_sync(lambda conn: [snapshots.insert(conn, row) for row in rows])

    def read(conn: Connection) -> None:
        assert [r.id for r in snapshots.of_disk(conn, ONE, list(SnapshotState))] == ["a", "b"]
        assert [r.id for r in snapshots.of_disk(conn, ONE, VISIBLE)] == ["b"]
        assert [r.id for r in snapshots.in_states(conn, [SnapshotState.NORMAL])] == ["b", "c"]
        assert [r.id for r in snapshots.everything(conn)] == ["a", "b", "c"]
        assert snapshots.count_all(conn) == 2

    db.read_sync(read)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """100,000 snapshots of 2,000 disks of one account."""
    database = SqliteDatabase.open(tmp_path_factory.mktemp("crowded") / "catalog.db")

    def fill(conn: Connection) -> None:
        accounts.insert(conn, account(OWNER))
        disks.insert(conn, disk("disk-00000000", created_at=0.0))
        _multiply(conn, disk_table, 2000, id="printf('disk-%08d', n)", created_at="n")
        first = snapshot("snap-00000000", created_at=0.0, stored_bytes=3)
        snapshots.insert(conn, replace(first, name="name 0"))
        _multiply(
            conn,
            snapshot_table,
            MANY,
            id="printf('snap-%08d', n)",
            disk_id="printf('disk-%08d', n % 2000)",
            created_at="n",
            name="'name ' || n",
            parent_id="CASE WHEN n >= 2000 THEN printf('snap-%08d', n - 2000) END",
        )

    database.write_sync(fill)
    yield database
    database.close()


def _multiply(conn: Connection, table: Table, count: int, **changed: str) -> None:
    """Make `count` rows of the only one, in the database, which takes a tenth of the time of 100,000 values."""
    columns = [column.name for column in table.columns]
    values = ", ".join(changed.get(name, f'"{name}"') for name in columns)
    conn.exec_driver_sql(
        f"WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {count - 1}) "
        f'INSERT INTO "{table.name}" ({", ".join(columns)}) '
        f'SELECT {values} FROM "{table.name}", number'
    )


@contextmanager
def plans(conn: Connection) -> Iterator[list[str]]:
    """Collect the query plan of every statement that is run within."""
    collected: list[str] = []

    def explain(conn: Connection, cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if not statement.startswith("EXPLAIN"):
            rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            collected.extend(f"{row[3]}   in   {statement}" for row in rows)

    event.listen(conn, "before_cursor_execute", explain)
    try:
        yield collected
    finally:
        event.remove(conn, "before_cursor_execute", explain)


def selection(**fields: Any) -> Selection:
    return Selection(account_id=OWNER, **fields)


QUERIES: dict[str, Callable[[Connection], object]] = {
    "first page": lambda conn: snapshots.find(conn, selection()),
    "oldest first": lambda conn: snapshots.find(conn, selection(descending=False)),
    "ids": lambda conn: snapshots.find(conn, selection(any_of=(("id", ("snap-00000007", "snap-x")),))),
    "of disks": lambda conn: snapshots.find(conn, selection(any_of=(("disk_id", ("disk-00000007", "d")),))),
    "by name": lambda conn: snapshots.find(conn, selection(any_of=(("name", ("name 7",)),))),
    "creating": lambda conn: snapshots.find(conn, selection(snapshot_states=(((SnapshotState.CREATING, False),),))),
    "totals": lambda conn: snapshots.totals(conn, [DiskId(f"disk-{n:08}") for n in range(20)]),
    "disks": lambda conn: disks.find(conn, selection()),
    "bases": lambda conn: disks.with_base(conn, SnapshotId("snap-00000007")),
    "family": lambda conn: snapshots.family(conn, SnapshotId("snap-00000007")),
    "due": lambda conn: snapshots.due(conn, OWNER, 10.0, 100),
    "unfinished": lambda conn: snapshots.in_states(conn, [SnapshotState.CREATING, SnapshotState.DELETING]),
}


@pytest.mark.parametrize("name", QUERIES)
def test_queries_use_indexes(crowded: Database, name: str) -> None:
    def read(conn: Connection) -> list[str]:
        with plans(conn) as collected:
            QUERIES[name](conn)
        return collected

    steps = crowded.read_sync(read)
    assert any("INDEX" in step for step in steps)
    # A scan of the rows that a recursion has found so far is not one of the table.
    scans = [step for step in steps if step.startswith("SCAN") and not step.startswith(("SCAN up", "SCAN down"))]
    assert scans == []


def test_a_page_is_read_off_an_index_without_sorting(crowded: Database) -> None:
    for name in ("first page", "oldest first", "disks"):

        def read(conn: Connection, name: str = name) -> list[str]:
            with plans(conn) as collected:
                QUERIES[name](conn)
            return collected

        assert [step for step in crowded.read_sync(read) if "TEMP B-TREE" in step] == []


def test_a_page_of_100_000_snapshots_with_its_count_takes_milliseconds(crowded: Database) -> None:
    def read(conn: Connection) -> tuple[list[Any], int]:
        return snapshots.find(conn, selection(limit=20))

    found, total = crowded.read_sync(read)
    assert total == MANY
    assert [row.id for row in found] == [f"snap-{MANY - 1 - n:08}" for n in range(20)]
    times_ms = []
    for _ in range(40):
        began = time.perf_counter()
        crowded.read_sync(read)
        times_ms.append((time.perf_counter() - began) * 1000)
    print(f"page of 20 of {MANY}: median {statistics.median(times_ms):.2f} ms, best {min(times_ms):.2f} ms")
    # The best of many: the machine that runs this may be busy, a scan would be slow every time.
    assert min(times_ms) <= 5

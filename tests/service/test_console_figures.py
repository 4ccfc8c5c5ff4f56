"""What the console shows beyond single rows: the overview, figures over time, differences, own keys."""

import contextlib
import random
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine

from drystone.catalog import accounts, meta, snapshots
from drystone.catalog import history as history_rows
from drystone.catalog.migrations import upgrade
from drystone.catalog.sqlite import SqliteDatabase
from drystone.domain.account import Account
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal
from drystone.domain.history import HistoryPoint, thinned
from drystone.domain.ids import AccountId
from drystone.domain.snapshot import SnapshotRecord, SnapshotState
from drystone.service.calls import history as history_module
from drystone.service.calls.history import HOUR_S, History, figures
from drystone.snapstore.difference import difference
from tests.catalogs import sqlite_alone
from tests.memory_store import MemoryStore
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, refusal, run, with_accounts
from tests.snapstore.model_snapshots import new_store, take

pytestmark = pytest.mark.usefixtures("both_catalogs")

GIB = 1 << 30


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with with_accounts(tmp_path / "catalog.db") as made:
        yield made


def now_of(world: World, account: AccountId = OWNER) -> HistoryPoint:
    return world.db.read_sync(lambda conn: figures(conn, account, world.now))


def test_sums_follow_every_change_of_a_snapshot(world: World) -> None:
    rng = random.Random(7)
    states = [SnapshotState.CREATING, SnapshotState.NORMAL, SnapshotState.DELETING, SnapshotState.GHOST]
    for step in range(60):
        changed = rng.choice([None, rng.randrange(10**9)])
        values: dict[str, object] = {
            "state": rng.choice(states), "size_gib": rng.randrange(1, 50), "stored_bytes": rng.randrange(1000),
            "record": SnapshotRecord(changed_bytes=changed), "account_id": rng.choice([OWNER, OTHER]),
        }  # fmt: skip
        name = f"snap-{rng.randrange(8)}"
        present = world.db.read_sync(lambda conn, name=name: snapshots.get(conn, name))  # type: ignore[misc]
        if present is None:
            world.snapshot(name, **values)
        elif step % 5 == 0:
            world.db.write_sync(lambda conn, name=name: snapshots.delete(conn, name))  # type: ignore[misc]
        else:
            # One column at a time: each alone must move the sums.
            column = rng.choice(sorted(values))
            values = {column: values[column]}
            world.db.write_sync(
                lambda conn, name=name, values=values: snapshots.compare_and_set(  # type: ignore[misc]
                    conn, name, expected={}, values=values
                )
            )
        every = world.db.read_sync(snapshots.everything)
        for account in (OWNER, OTHER):
            normal = [row for row in every if row.account_id == account and row.state is SnapshotState.NORMAL]
            found = now_of(world, account)
            assert found.logical_bytes == sum(row.size_gib for row in normal) * GIB
            assert found.changed_bytes == sum(row.record.changed_bytes or 0 for row in normal)


def older_catalog(path: Path, revision: str, rows: Path) -> None:
    """Make a catalog of an older schema, with the rows of another one as far as it has their columns."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as conn:
        upgrade(conn, (), to=revision)
    engine.dispose()
    with contextlib.closing(sqlite3.connect(path)) as older, older:
        older.execute("ATTACH ? AS newer", (str(rows),))
        for table in ("account", "access_key", "disk", "snapshot", "audit"):
            old, new = (
                {row[1] for row in older.execute(f"PRAGMA {schema}.table_info({table})")}
                for schema in ("main", "newer")
            )
            columns = ", ".join(sorted(old & new))
            older.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")


@sqlite_alone
@pytest.mark.parametrize("revision", ["0007", "0009", "0012"])
def test_a_catalog_from_before_has_its_sums(world: World, tmp_path: Path, revision: str) -> None:
    world.snapshot("snap-1", size_gib=10, record=SnapshotRecord(changed_bytes=5))
    world.snapshot("snap-2", size_gib=7)
    world.snapshot("snap-3", size_gib=1, state=SnapshotState.GHOST)
    path = tmp_path / "older.db"
    older_catalog(path, revision, tmp_path / "catalog.db")
    again = World(db=SqliteDatabase.open(path))
    with contextlib.closing(again.db):
        ours, theirs = now_of(again), now_of(again, OTHER)
        assert (ours.logical_bytes, ours.changed_bytes) == (17 * GIB, 5)
        assert (theirs.logical_bytes, theirs.changed_bytes) == (0, 0)
        again.snapshot("snap-4", size_gib=2, record=SnapshotRecord(changed_bytes=1))
        assert (now_of(again).logical_bytes, now_of(again).changed_bytes) == (19 * GIB, 6)


def test_figures_are_kept_every_hour_and_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "ACCOUNTS_AT_ONCE", 1)  # Several transactions for two accounts.
    world.disk("disk-a", size_gib=10)
    world.disk("disk-hidden", state=DiskState.CREATING)
    world.snapshot("snap-1", size_gib=10, record=SnapshotRecord(changed_bytes=5), stored_bytes=3)
    history = History(db=world.db, clock=lambda: world.now, days=2)
    assert run(history.due()) == 2
    assert run(history.due()) == 0
    # Cut off before its end, it is done again and keeps what is there.
    world.db.write_sync(lambda conn: meta.remove(conn, history_module.KEPT))
    assert run(history.due()) == 0
    world.now += HOUR_S
    world.snapshot("snap-2", size_gib=10, record=SnapshotRecord(changed_bytes=1))
    assert run(history.due()) == 2
    points = run(history.describe(caller(OWNER), 24))
    assert [(point.snapshots, point.changed_bytes, point.logical_bytes) for point in points] == [
        (1, 5, 10 * GIB), (2, 6, 20 * GIB), (2, 6, 20 * GIB),
    ]  # fmt: skip
    assert [(point.disks, point.disks_bytes) for point in points] == [(1, 10 * GIB)] * 3
    assert [point.at for point in points] == [NOW // HOUR_S * HOUR_S, (NOW // HOUR_S + 1) * HOUR_S, world.now]
    assert all(point.disks == 0 for point in run(history.describe(caller(OTHER), 24)))
    for hours in (0, 49):
        assert refusal(history.describe(caller(OWNER), hours)) == Refusal.BAD_VALUE
    world.now += 3 * 24 * HOUR_S
    run(history.due())
    assert len(world.db.read_sync(lambda conn: history_rows.since(conn, OWNER, 0.0))) == 1
    # A clock that was set back neither fails nor writes a point twice; nor does the one that is ahead stop the others.
    world.now -= 3 * 24 * HOUR_S
    assert (run(history.due()), run(history.due())) == (2, 0)


def test_an_account_has_no_points_from_before_it_was_created(world: World) -> None:
    created_at = NOW // HOUR_S * HOUR_S + 1500.0
    newcomer = Account(id=AccountId("100000000009"), name="newcomer", admin=False, created_at=created_at)
    world.db.write_sync(lambda conn: accounts.insert(conn, newcomer))
    world.now = created_at + 10
    history = History(db=world.db, clock=lambda: world.now, days=2)
    run(history.due())
    world.db.write_sync(lambda conn: meta.remove(conn, history_module.KEPT))
    assert run(history.due()) == 0, "it is there already"
    world.now += HOUR_S
    run(history.due())
    points = [point.at for point in run(history.describe(caller(newcomer.id), 24))]
    assert points == [created_at, (NOW // HOUR_S + 1) * HOUR_S, world.now]


def test_points_are_thinned_evenly() -> None:
    point = HistoryPoint(
        account_id=OWNER, at=0.0, disks=0, disks_bytes=0, snapshots=0, stored_bytes=0, logical_bytes=0, changed_bytes=0
    )
    points = [replace(point, at=float(at)) for at in range(1001)]
    assert [one.at for one in thinned(points, 5)] == [0, 250, 500, 750, 1000]
    assert thinned(points[:5], 5) == tuple(points[:5])
    assert len(thinned(points, 500)) == len({one.at for one in thinned(points, 500)}) == 500


def test_own_keys(world: World) -> None:
    accounts = world.accounts
    first = run(accounts.create_own_key(caller(OWNER)))
    theirs = run(accounts.create_own_key(caller(OTHER)))
    assert [key.secret_id for key in run(accounts.describe_own_keys(caller(OWNER)))] == [first.secret_id]
    assert refusal(accounts.delete_own_key(caller(OWNER), first.secret_id, force=False)) == Refusal.IN_USE
    for force in (False, True):
        assert refusal(accounts.delete_own_key(caller(OWNER), theirs.secret_id, force=force)) == Refusal.NO_SUCH_THING
    second = run(accounts.create_own_key(caller(OWNER)))
    signed = caller(OWNER, secret_id=second.secret_id)
    assert refusal(accounts.delete_own_key(signed, second.secret_id, force=False)) == Refusal.IN_USE
    run(accounts.delete_own_key(caller(OWNER), first.secret_id, force=False))
    assert run(accounts.authenticate(second.secret_id)) is not None
    run(accounts.delete_own_key(signed, second.secret_id, force=True))
    assert run(accounts.authenticate(second.secret_id)) is None
    for _ in range(10):
        run(accounts.create_own_key(caller(OWNER)))
    assert refusal(accounts.create_own_key(caller(OWNER))) == Refusal.LIMIT


def changed_blocks(before: bytes, after: bytes) -> list[int]:
    longest = max(len(before), len(after)) // BLOCK_BYTES
    zero = bytes(BLOCK_BYTES)

    def block(disk: bytes, at: int) -> bytes:
        return disk[at * BLOCK_BYTES : (at + 1) * BLOCK_BYTES] or zero

    return [at for at in range(longest) if block(before, at) != block(after, at)]


@pytest.mark.parametrize("seed", range(4))
def test_differences_are_those_of_the_bytes(seed: int) -> None:
    rng = random.Random(seed)
    store = new_store(MemoryStore())
    blocks = 600
    disk = bytearray(blocks * BLOCK_BYTES)
    states: list[tuple[bytes, object]] = []
    base = None
    for number in range(4):
        if number == 2:  # It grew.
            disk += bytes(100 * BLOCK_BYTES)
        changed: list[tuple[int, int]] = []
        zeros: list[tuple[int, int]] = []
        for at in sorted(rng.sample(range(len(disk) // BLOCK_BYTES - 4), 20)):
            if (changed + zeros) and at < max(stop for _, stop in changed + zeros):
                continue
            stop = at + rng.randrange(1, 4)
            zeroed = rng.random() < 0.3
            disk[at * BLOCK_BYTES : stop * BLOCK_BYTES] = (
                bytes((stop - at) * BLOCK_BYTES) if zeroed else rng.randbytes((stop - at) * BLOCK_BYTES)
            )
            (zeros if zeroed else changed).append((at, stop))
        base = take(store, rng, f"snap-{number:08}", disk, changed, base, zeros=zeros)
        states.append((bytes(disk), base))
    for older, older_reader in states:
        for newer, newer_reader in states:
            found = difference(older_reader, newer_reader, 50)  # type: ignore[arg-type]
            wanted = np.bincount(
                np.array(changed_blocks(older, newer), dtype=np.int64) // found.bucket_blocks,
                minlength=len(found.buckets),
            ).tolist()
            assert list(found.buckets) == wanted
            assert len(found.buckets) <= 50
            assert found.bucket_blocks * len(found.buckets) >= found.size_blocks
    for state, reader in states:
        found = difference(None, reader, 7)  # type: ignore[arg-type]
        holds: Sequence[int] = changed_blocks(b"", state)
        wanted = np.bincount(
            np.array(holds, dtype=np.int64) // found.bucket_blocks, minlength=len(found.buckets)
        ).tolist()
        assert list(found.buckets) == wanted

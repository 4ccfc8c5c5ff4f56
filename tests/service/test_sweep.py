"""Sessions that have ended: what is left of them goes, and then they do."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from drystone.catalog import accounts, operations, packs, sessions, snapshots
from drystone.catalog.schema import snapshot
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import OperationId, PackId, SessionId, SnapshotId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.session import Session, SessionState
from drystone.engine.layout import Layout
from drystone.objects.address import DirectoryAddress
from drystone.objects.contract import ObjectEntry
from drystone.service.upkeep import epoch, sweep
from tests.claims import claim_on
from tests.memory_store import MemoryStore
from tests.service import parts
from tests.service.store_world import World
from tests.snapstore.model_snapshots import STORE_ID

pytestmark = pytest.mark.usefixtures("both_catalogs")

READER, WRITER, LATE = (SessionId(digit * 32) for digit in "def")


def add(conn: Connection, name: SessionId, *, ended: float, state: SessionState = SessionState.COMMITTED) -> None:
    sessions.open(conn, Session(id=name, kind="x", created_at=ended), [])
    sessions.end(conn, name, state, at=ended)


def left(conn: Connection) -> set[SessionId]:
    return {one.id for state in SessionState for one in sessions.in_state(conn, state)}


def test_sessions_of_which_nothing_is_left_are_forgotten_a_week_later(world: World) -> None:
    """S60."""
    made = world.open()
    now = made.clock()

    def fill(conn: Connection) -> None:
        add(conn, READER, ended=now - sweep.KEPT_SECONDS - 1)
        add(conn, WRITER, ended=now - sweep.KEPT_SECONDS - 1, state=SessionState.ADOPTED)
        add(conn, LATE, ended=now - sweep.KEPT_SECONDS + 1)

    world.db.write_sync(fill)
    before = world.db.read_sync(left)
    name = f"{STORE_ID}/maps/{WRITER}/{'0' * 32}"
    MemoryStore.put(world.objects, name, b"a map that something may name")
    assert asyncio.run(parts.sweep(made).forget_spent()) == 1
    assert world.db.read_sync(left) == before - {READER}, "snapshots and packs name the first three"
    MemoryStore.delete(world.objects, name)
    assert asyncio.run(parts.sweep(made).forget_spent()) == 1
    assert world.db.read_sync(left) == before - {READER, WRITER}
    assert asyncio.run(parts.sweep(made).forget_spent()) == 0
    world.close()


def test_a_session_stays_while_a_row_names_it(world: World) -> None:
    made = world.open()
    name = SnapshotId("snap-00000000")
    row = world.db.read_sync(lambda conn: snapshots.get(conn, name))
    assert row is not None
    assert row.session_id is not None
    writer = row.session_id
    for kept in [one for one in world.objects.content() if writer in one]:
        MemoryStore.delete(world.objects, kept)
    assert asyncio.run(parts.sweep(made).forget_spent()) == 0
    world.db.write_sync(lambda conn: snapshots.delete(conn, name))
    assert asyncio.run(parts.sweep(made).forget_spent()) == 0, "its packs have rows"
    found = world.db.read_sync(lambda conn: packs.of_session(conn, writer))
    world.db.write_sync(lambda conn: [packs.delete(conn, PackId(pack.id)) for pack in found])
    assert asyncio.run(parts.sweep(made).forget_spent()) == 0, "others list its map"
    world.db.write_sync(lambda conn: conn.execute(update(snapshot).values(maps=())))
    assert asyncio.run(parts.sweep(made).forget_spent()) == 1
    world.close()


def test_what_rows_name_is_not_swept_although_its_session_was_fenced(world: World) -> None:
    """A catalog that an earlier version reconciled has such rows (S61)."""
    made = world.open()
    name = SnapshotId("snap-00000001")

    def fenced(conn: Connection) -> None:
        row = snapshots.get(conn, name)
        assert row is not None
        assert row.session_id is not None
        for pack in packs.of_session(conn, row.session_id):
            packs.delete(conn, pack.id)
        sessions.delete(conn, row.session_id)
        add(conn, row.session_id, ended=made.clock(), state=SessionState.FENCED)
        add(conn, WRITER, ended=made.clock(), state=SessionState.FENCED)

    world.db.write_sync(fenced)
    asyncio.run(epoch.publish(made.transactions, made.kept))
    before = set(world.objects.content())
    MemoryStore.put(world.objects, f"{STORE_ID}/maps/{WRITER}/{'0' * 32}", b"what a fenced writer left")
    asyncio.run(parts.sweep(made).sweep())
    assert set(world.objects.content()) == before
    world.check()
    world.close()


def test_nothing_is_forgotten_by_a_catalog_that_may_not_delete(world: World) -> None:
    made = world.open()
    world.db.write_sync(lambda conn: add(conn, READER, ended=1.0))
    claim_on(made.store, 9, owner="ab" * 16)
    assert asyncio.run(parts.sweep(made).forget_spent()) == 0
    world.close()


def listed(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the prefixes that are listed from now on."""
    prefixes: list[str] = []
    real = MemoryStore.list

    def noted(store: MemoryStore, prefix: str) -> Iterator[ObjectEntry]:
        prefixes.append(prefix.removeprefix(f"{STORE_ID}/"))
        return real(store, prefix)

    monkeypatch.setattr(type(world.objects), "list", noted)
    return prefixes


def test_a_sweep_lists_what_the_fenced_session_may_have_written_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cost does not follow the number of snapshots (S137)."""
    made, prefixes, now = world.open(), listed(world, monkeypatch), [0.0]
    made = replace(made, transactions=parts.transactions(made.db, clock=lambda: now[0]))
    lost = SnapshotId("snap-lost")

    def fenced(conn: Connection) -> None:
        sessions.open(conn, Session(id=WRITER, kind="snapshot", created_at=0.0, snapshot_id=lost), [])
        sessions.fence(conn, WRITER, at=0.0)
        sessions.open(conn, Session(id=READER, kind="hydrate", created_at=0.0), [])
        sessions.fence(conn, READER, at=0.0)

    world.db.write_sync(fenced)
    manifest = f"{STORE_ID}/snapshots/{lost}/{WRITER}.manifest"
    MemoryStore.put(world.objects, manifest, b"of a writer that was paused")
    one = parts.sweep(made)
    asyncio.run(one.sweep())
    assert manifest not in world.objects.content()
    assert prefixes, "the store is asked"
    assert "snapshots/" not in prefixes
    assert {prefix for prefix in prefixes if prefix.startswith("snapshots/")} == {f"snapshots/{lost}/"}
    # Each is looked at again when it is twice as old: some times in its week, however often others fail.
    sweeps = 0
    for minute in range(0, 7 * 24 * 60 + 20, 10):
        now[0] = 60.0 * minute
        prefixes.clear()
        asyncio.run(one.sweep())
        sweeps += bool(prefixes)
    assert 8 <= sweeps <= 14, sweeps
    assert not {WRITER, READER} & world.db.read_sync(left), "and is dropped after it"
    world.close()


def test_a_session_of_an_unknown_snapshot_is_looked_for_everywhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, prefixes = world.open(), listed(world, monkeypatch)
    old = Session(id=WRITER, kind="snapshot", created_at=made.clock())
    world.db.write_sync(lambda conn: sessions.open(conn, old, []))
    world.db.write_sync(lambda conn: sessions.fence(conn, WRITER, at=made.clock()))
    manifest = f"{STORE_ID}/snapshots/snap-whose/{WRITER}.manifest"
    MemoryStore.put(world.objects, manifest, b"of an earlier version")
    asyncio.run(parts.sweep(made).sweep())
    assert manifest not in world.objects.content()
    assert "snapshots/" in prefixes
    world.close()


def test_workers_leave_the_same_floor_to_the_disks(world: World) -> None:
    made = world.open()
    room = replace(made.room, floor_bytes_max=12345, floor_percent=50)
    place = replace(made.kept, room=room).address().objects
    assert isinstance(place, DirectoryAddress)
    assert place.floor_bytes == room.look().floor_bytes == 12345
    world.close()


def test_operations_go_after_their_days_or_when_very_many_followed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S138."""
    made = world.open()
    now, day = made.clock(), 86400.0
    kept = sweep.OPERATIONS_KEPT_SECONDS / day
    ages = {"op-0": 0.5, "op-1": 2.0, "op-2": 3.0, "op-3": kept - 1, "op-4": kept + 1}
    account = world.db.read_sync(lambda conn: accounts.find(conn, offset=0, limit=1))[0][0].id

    def fill(conn: Connection) -> None:
        for name, days in ages.items():
            row = Operation(
                id=OperationId(name), kind=OperationKind.ATTACH, account_id=account, state=OperationState.DONE,
                created_at=now - days * day, updated_at=now - days * day,
            )  # fmt: skip
            operations.insert(conn, row)

    def there(conn: Connection) -> list[str]:
        return sorted(operations.get_many(conn, [OperationId(name) for name in ages]))

    world.db.write_sync(fill)
    asyncio.run(parts.sweep(made).tidy())
    assert world.db.read_sync(there) == ["op-0", "op-1", "op-2", "op-3"]
    monkeypatch.setattr(sweep, "OPERATIONS_KEPT_MAX", 1)
    asyncio.run(parts.sweep(made).tidy())
    assert world.db.read_sync(there) == ["op-0", "op-1"], "as old as the last that is kept"
    monkeypatch.setattr(sweep, "OPERATIONS_KEPT_MAX", 0)
    asyncio.run(parts.sweep(made).tidy())
    assert world.db.read_sync(there) == ["op-0"], "a day is kept, however many there are"
    world.close()


def test_two_sweeps_at_once_over_a_store_that_fails_end_like_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what could not be listed was not swept: the next sweep looks at it again."""
    made = world.open()
    lost = SnapshotId("snap-lost")
    session = Session(id=WRITER, kind="snapshot", created_at=made.clock(), snapshot_id=lost)
    world.db.write_sync(lambda conn: sessions.open(conn, session, []))
    world.db.write_sync(lambda conn: sessions.fence(conn, WRITER, at=made.clock()))

    one = parts.sweep(made)

    def failing(_store: object, _session: object) -> None:
        raise UnavailableError("the store is away")

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one.sweep())
            tasks.create_task(one.sweep())

    monkeypatch.setattr(sweep, "delete_session_objects", failing)
    asyncio.run(both())
    assert WRITER not in one._swept
    monkeypatch.setattr(sweep, "_shelves_of", failing)
    with pytest.raises(UnavailableError):
        asyncio.run(one.sweep())
    assert WRITER not in one._swept
    world.close()


def test_a_start_leaves_directories_of_scratch_alone(tmp_path: Path, world: World) -> None:
    """S24: a file system that is mounted there has `lost+found`."""
    made = replace(world.open(), layout=Layout(tmp_path))
    made.layout.scratch.mkdir()
    (made.layout.scratch / "lost+found").mkdir()
    (made.layout.scratch / "disk-gone.raw").touch()
    asyncio.run(sweep.clear_scratch(made.transactions, made.layout))
    assert [entry.name for entry in made.layout.scratch.iterdir()] == ["lost+found"]
    world.close()

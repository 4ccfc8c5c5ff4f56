"""Destroying the data key of an encrypted disk, cut off at each step, and what keeps it from that (S384)."""

import asyncio
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from drystone.catalog import accounts, destroyed_keys, disks, meta, operations, packs, sessions, snapshots
from drystone.domain.disk import DiskEncryption
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import DiskId, KeyId, SessionId, SnapshotId
from drystone.domain.operation import OperationKind
from drystone.domain.session import Pack, Session
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.tracking import TrackingState
from drystone.objects.contract import NotFoundError
from drystone.service.calls.snapshot_begin import begin_snapshot
from drystone.service.rows.destroying import begin_destroying, blockers
from drystone.service.transactions import Change
from drystone.service.upkeep import epoch
from drystone.service.upkeep.destroyed_keys import DestroyedKeys
from drystone.service.upkeep.recovered_snapshots import UNKNOWN
from drystone.snapstore.data_keys import list_wraps, tombstone_name
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.seals import snapshots_purpose
from tests.catalog.catalog_values import account, disk, snapshot
from tests.catalogs import open_catalog
from tests.claims import INCARNATION, NOBODY
from tests.memory_store import MemoryStore
from tests.sealed_stores import KEK, reopen
from tests.service import parts
from tests.service.parts import changed
from tests.service.store_world import BLOCKS, CutError, Power, World
from tests.snapstore.model_snapshots import ACCOUNT, DISK, STORE_ID, new_store, take

PURPOSE = snapshots_purpose(ACCOUNT, DISK, encrypted=True)
PLAIN = DiskId("disk-plain")
OWN = [SnapshotId(f"snap-own-{number}") for number in range(3)]


def build(path: Path) -> World:
    """Three snapshots of an encrypted disk, and one of a plain one."""
    rng, objects = random.Random(1), MemoryStore()
    store = new_store(objects)
    assert store.seals is not None
    store.seals.make_for(PURPOSE, KEK.key_id)
    content, truth = bytearray(rng.randbytes(BLOCKS * 4096)), {}
    taken: list[SnapshotReader] = []
    for name in OWN:
        base = taken[-1] if taken else None
        content[:4096] = rng.randbytes(4096)
        taken.append(take(store, rng, name, content, [(0, 1 if base else BLOCKS)], base, disk_id=DISK, encrypted=True))
        truth[name] = bytes(content)
    other = rng.randbytes(BLOCKS * 4096)
    taken.append(take(store, rng, "snap-plain", other, [(0, BLOCKS)], disk_id=PLAIN))
    truth[SnapshotId("snap-plain")] = other
    db = open_catalog(path)

    def fill(conn: Connection) -> None:
        accounts.insert(conn, replace(account(), admin=True))
        for key, value in (("store_id", STORE_ID), ("owner", NOBODY), (epoch.KEY, "0")):
            meta.put(conn, key, value)
        epoch.begin(conn, INCARNATION)
        for reader in taken:
            add(conn, reader)
        disks.insert(conn, disk(
            DISK, base_snapshot_id=OWN[-1], tracking=TrackingState.STOPPED,
            encryption=DiskEncryption(type="ENCRYPT_V1", kek=KEK.key_id, wrap="x"),
        ))  # fmt: skip

    db.write_sync(fill)
    db.close()
    return World(path=path, content=objects.content(), truth=truth)


def add(conn: Connection, reader: SnapshotReader) -> None:
    """The rows of a snapshot that was taken."""
    told = reader.manifest
    sessions.open(conn, Session(id=told.session, kind="snapshot", created_at=1.0, snapshot_id=told.snapshot), [])
    sessions.commit(conn, told.session, at=2.0)
    maps = tuple(part.object for part in told.maps)
    snapshots.insert(conn, snapshot(
        told.snapshot, disk_id=told.disk, parent_id=told.base, session_id=told.session, maps=maps, delta_map=maps[0],
        manifest=reader.store.manifest_name(told.snapshot, told.session), percent=100,
        encrypted=told.disk_attributes.encrypted,
    ))  # fmt: skip
    for one in told.packs:
        packs.insert(conn, Pack(
            id=one.pack, session_id=told.session, object=one.object, bytes=one.bytes, blocks=one.blocks,
            disk_id=told.disk, account_id=ACCOUNT,
        ))  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DRYSTONE_TEST_SEALED", "1")
    return build(tmp_path / "catalog.db")


def keys_of(world: World) -> list[KeyId]:
    store = reopen(world.objects, STORE_ID)
    assert store.seals is not None
    return store.seals.keys.all_of(PURPOSE)


def begin(world: World) -> list[KeyId]:
    keys = keys_of(world)
    changed(world.db, lambda change: begin_destroying(change, DISK, ACCOUNT, keys, request_id="r"))
    return keys


def work(made: parts.ServerParts) -> None:
    """What the server does from its start on."""

    async def all_of_it() -> None:
        for operation in await made.transactions.read(operations.unfinished):
            assert operation.kind is OperationKind.DELETE_SNAPSHOT
            await parts.delete_snapshot(made).run(operation)
        await DestroyedKeys(transactions=made.transactions, kept=made.kept).once()

    asyncio.run(all_of_it())


def is_over(world: World, key: KeyId, *, cut: bool = False) -> None:
    """Nothing of the disk is left, and all else is as it was."""
    content = world.objects.content()
    assert list_wraps(world.objects, STORE_ID, key) == {}
    assert f"{STORE_ID}/{tombstone_name(key)}" in content
    assert not any(name.endswith((".manifest", "attributes")) and "snap-own" in name for name in content)
    left = {row.id for row in world.db.read_sync(snapshots.everything)}
    assert left == {"snap-plain"}
    plain = world.row(SnapshotId("snap-plain")).session_id
    # Maps that were let go of when it was cut off go with the next daily listing of all (S205).
    kinds = ("/packs/",) if cut else ("/packs/", "/maps/")
    assert {name.split("/")[2] for name in content if any(kind in name for kind in kinds)} == {plain}
    assert not world.db.read_sync(lambda conn: destroyed_keys.is_pending(conn, DISK))
    world.check()


def test_a_destroyed_key_takes_all_that_it_sealed_along(world: World) -> None:
    made = world.open()
    (key,) = begin(world)
    row = world.db.read_sync(lambda conn: disks.get(conn, DISK))
    assert row is not None
    assert (row.base_snapshot_id, row.tracking, row.carry) == (None, TrackingState.LOST, frozenset())
    template = snapshot("snap-new", disk_id=DISK, state=SnapshotState.CREATING)
    with pytest.raises(RefusalError, match="is being destroyed"):
        changed(world.db, lambda change: begin_snapshot(change, row, template, request_id="r"))
    work(made)
    is_over(world, key)
    # The disk goes on, with another key.
    store = reopen(world.objects, STORE_ID)
    assert store.seals is not None
    assert store.seals.make_for(PURPOSE, KEK.key_id).key.key_id != key
    with pytest.raises(NotFoundError, match="destroyed"):
        store.seals.keys.get(key)
    world.close()


def test_its_own_snapshots_become_ghosts_first(world: World) -> None:
    """Until then the key opens: their deletion counts what dies with them, and may fail."""
    made = world.open()
    (key,) = begin(world)
    upkeep = DestroyedKeys(transactions=made.transactions, kept=made.kept)
    asyncio.run(upkeep.once())
    assert len(list_wraps(world.objects, STORE_ID, key)[key]) == 2
    assert world.db.read_sync(lambda conn: destroyed_keys.is_pending(conn, DISK))
    work(made)
    is_over(world, key)
    world.close()


def test_a_destruction_that_is_cut_off_anywhere_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its own snapshots are ghosts the key opens; after that each start goes on."""
    monkeypatch.setenv("DRYSTONE_TEST_SEALED", "1")
    first = build(tmp_path / "catalog.db")
    first.open()
    (key,) = begin(first)
    first.close()
    steps, cuts = 0, 0
    while True:
        path = tmp_path / f"{steps}.db"
        shutil.copy(first.path, path)
        world = replace(first, path=path, content=dict(first.content))
        made = world.open(Power(steps))
        try:
            work(made)
        except CutError:
            cuts += 1
        else:
            is_over(world, key)
            world.close()
            break
        rows = {row.state for row in world.db.read_sync(snapshots.everything) if row.disk_id == DISK}
        if rows & {SnapshotState.NORMAL, SnapshotState.DELETING}:
            assert len(list_wraps(world.objects, STORE_ID, key)[key]) == 2, "its own become ghosts first"
        world.close()
        made = world.open()
        work(made)
        is_over(world, key, cut=True)
        world.close()
        # Each second step: a cut before one is a cut behind the one before it.
        steps += 2
    assert cuts > 8


def test_a_wrap_that_lands_late_brings_nothing_back(world: World) -> None:
    """Nor does a tombstone of somebody else hide a key."""
    made = world.open()
    (key,) = keys_of(world)
    old = {name: raw for name, raw in world.objects.content().items() if f"/keys/{key}/" in name}
    assert len(old) == 2
    MemoryStore.replace(world.objects, f"{STORE_ID}/{tombstone_name(key)}", b'{"format":1}')
    assert keys_of(world) == [key]
    begin(world)
    work(made)
    for name, raw in old.items():
        MemoryStore.put(world.objects, name, raw)
    store = reopen(world.objects, STORE_ID)
    assert store.seals is not None
    assert store.seals.keys.of(PURPOSE) is None
    with pytest.raises(NotFoundError, match="destroyed"):
        store.seals.keys.get(key)
    # A start does not mend it, and upkeep deletes it.
    assert store.seals.keys.keep() is False
    work(made)
    is_over(world, key)
    world.close()


class TakenBackError(Exception):
    pass


NEEDING: list[tuple[str, Callable[[Connection], object]]] = [
    (
        "snapshot snap-c of disk disk-c may show its blocks",
        lambda conn: snapshots.insert(conn, other_snapshot("c", parent_id=OWN[0])),
    ),
    (
        "snapshot snap-c of disk disk-c may show its blocks",
        lambda conn: snapshots.insert(conn, other_snapshot("c", parent_id=UNKNOWN)),
    ),
    (
        "disk disk-c was made from a snapshot of it",
        lambda conn: disks.insert(conn, disk("disk-c", hydrating=True, source_snapshot_id=OWN[1])),
    ),
    (
        "disk disk-c was made from a snapshot of it",
        lambda conn: disks.insert(conn, disk("disk-c", base_snapshot_id=OWN[1])),
    ),
    (
        "disk disk-c counts on a map",
        lambda conn: disks.insert(conn, disk("disk-c", carry=frozenset(map_of(conn, OWN[1])))),
    ),
    (
        "snapshot snap-own-2 of it is being read",
        lambda conn: sessions.open(conn, Session(id=SessionId("e" * 32), kind="export", created_at=1.0), [OWN[2]]),
    ),
    (
        "the disk is rolled back to it",
        lambda conn: snapshots.compare_and_set(conn, OWN[0], expected={}, values={"rolling_back": True}),
    ),
]


def other_snapshot(name: str, **fields: Any) -> Snapshot:
    return snapshot(f"snap-{name}", disk_id=DiskId(f"disk-{name}"), encrypted=True, **fields)


def map_of(conn: Connection, name: SnapshotId) -> tuple[str, ...]:
    row = snapshots.get(conn, name)
    assert row is not None
    return row.maps


@pytest.mark.parametrize("words, need", NEEDING)  # noqa: PT006 - as one reads it
def test_what_needs_the_key_is_named(world: World, words: str, need: Callable[[Connection], object]) -> None:
    """G4: every snapshot, hydration and disk of another key that may show its blocks, and every reader."""
    world.open()
    before = world.db.read_sync(snapshots.everything)
    assert world.db.read_sync(lambda conn: list(blockers(conn, DISK))) == []

    def refused(change: Change) -> None:
        need(change.conn)
        begin_destroying(change, DISK, ACCOUNT, [KeyId("a" * 32)], request_id="r")

    with pytest.raises(RefusalError) as caught:
        changed(world.db, refused)
    assert caught.value.kind is Refusal.IN_USE
    assert words in caught.value.message
    assert world.db.read_sync(snapshots.everything) == before
    assert world.db.read_sync(destroyed_keys.everything) == []
    world.close()


def test_what_has_nothing_of_it_is_nobodys_concern(world: World) -> None:
    world.open()

    def told(change: Change) -> None:
        snapshots.insert(change.conn, other_snapshot("c"))
        snapshots.insert(change.conn, other_snapshot("d", parent_id=SnapshotId("snap-c")))
        assert list(blockers(change.conn, DISK)) == []
        raise TakenBackError

    with pytest.raises(TakenBackError):
        changed(world.db, told)
    world.close()

"""Deletion, compaction and space over a real catalog and a store in memory, cut off at every step."""

import asyncio
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection

from drystone.catalog import accounts, meta, operations, pack_rewrites, packs, sessions, snapshots
from drystone.catalog.database import Database
from drystone.domain.blocks import BLOCK_BYTES, from_blocks
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import IdSource, SessionId, SnapshotId
from drystone.domain.operation import Operation, OperationState
from drystone.domain.pack_rewrite import RewriteState
from drystone.domain.session import Pack, Session
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.engine.layout import Layout
from drystone.objects.memory import MemoryStore
from drystone.service import compaction, epoch
from drystone.service.installation import Installation
from drystone.service.jobs.compact import Compact
from drystone.service.jobs.delete_snapshot import DeleteSnapshot, mark_deleting
from drystone.service.operations import Operations
from drystone.service.store_space import StoreSpace
from drystone.snapstore import writer
from drystone.snapstore.packs import open_pack
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store, open_store
from drystone.transfer import worker
from drystone.transfer.jobs import Job
from tests.catalog.catalog_values import OWNER, account, snapshot
from tests.service.records_world import NOW, caller, refusal
from tests.snapstore.model_snapshots import STORE_ID, new_store, take

BLOCKS = 60
ADMIN = caller(OWNER, admin=True)


class CutError(Exception):
    """The power is gone."""


class Power:
    """Goes after so many changes of rows or objects; without a number it stays."""

    def __init__(self, steps: int | None = None) -> None:
        self.left = steps

    def needed(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            raise CutError


class CutStore(MemoryStore):
    """A store that hangs on the power."""

    power: Power

    def put(self, name: str, data: Any) -> None:
        self.power.needed()
        MemoryStore.put(self, name, data)

    def replace(self, name: str, data: Any) -> None:
        self.power.needed()
        MemoryStore.replace(self, name, data)

    def delete(self, name: str) -> None:
        self.power.needed()
        MemoryStore.delete(self, name)


class InlinePool:
    """Runs jobs at once, on the store in memory."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        self._store = store
        self._rng = rng

    async def run(self, job: Job, result: type[Any], _on_progress: object = None) -> Any:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(worker, "open_address", lambda _address: self._store)
            answer = worker.execute(job, lambda _done, _total: None, self._rng)  # type: ignore[arg-type]
        assert isinstance(answer, result)
        return answer


@dataclass
class World:
    """An installation whose rows are a file and whose objects are in memory."""

    path: Path
    content: dict[str, bytes]
    truth: dict[SnapshotId, bytes]
    starts: int = 0

    def open(self, power: Power | None = None) -> Installation:
        self.objects = CutStore(self.content)
        self.objects.power = self.power = power or Power()
        store = open_store(self.objects, STORE_ID)
        db = Database.open(self.path)
        real = db.write
        power_now = self.power

        async def write(fn: Callable[[Connection], Any]) -> Any:
            power_now.needed()
            return await real(fn)

        db.write = write  # type: ignore[method-assign]
        self.starts += 1
        rng = random.Random(self.starts)
        pool: Any = InlinePool(store, rng)
        self.db = db
        return Installation(
            db=db, clock=lambda: NOW, ids=IdSource(rng), layout=Layout(self.path.parent), store=store, workers=pool,
            operations=Operations(db=db, clock=lambda: NOW), environment={}, throttle=False, scratch_bytes_max=1,
            floor_bytes_max=0, floor_percent=0, hydration_bytes_per_s=0, background=pool, compaction_dead_percent=20,
        )  # fmt: skip

    def close(self) -> None:
        self.content = self.objects.content()
        self.db.close()

    def check(self) -> None:
        """Every living snapshot is what it was, by the objects that a power cut left."""
        store = open_store(MemoryStore(self.objects.content()), STORE_ID)
        rows = self.db.read_sync(lambda conn: snapshots.in_states(conn, [SnapshotState.NORMAL]))
        assert rows
        for row in rows:
            assert row.manifest is not None
            assert bool(SnapshotReader.open(store, row.manifest).read(0, BLOCKS * BLOCK_BYTES) == self.truth[row.id])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three snapshots in a chain, each of which overwrote half of what was there, at random."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(writer, "PACK_BYTES", 260_000)
        patched.setattr(writer, "FRAME_BLOCKS_MAX", 8)
        rng = random.Random(1)
        objects = MemoryStore()
        store = new_store(objects)
        disk = bytearray(rng.randbytes(BLOCKS * BLOCK_BYTES))
        taken = [take(store, rng, "snap-00000000", disk, [(0, BLOCKS)])]
        truth = {SnapshotId("snap-00000000"): bytes(disk)}
        for number in (1, 2):
            changed = sorted(rng.sample(range(BLOCKS), BLOCKS // 2))
            for block in changed:
                disk[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = rng.randbytes(BLOCK_BYTES)
            ranges = [(low, high) for low, high in from_blocks(np.array(changed)).tolist()]
            taken.append(take(store, rng, f"snap-{number:08d}", disk, ranges, taken[-1]))
            truth[SnapshotId(f"snap-{number:08d}")] = bytes(disk)
    path = tmp_path_factory.mktemp("catalog") / "catalog.db"
    db = Database.open(path)

    def fill(conn: Connection) -> None:
        accounts.insert(conn, replace(account(), admin=True))
        for key, value in (("store_id", STORE_ID), ("owner", "0" * 32), (epoch.KEY, "0")):
            meta.put(conn, key, value)
        for reader in taken:
            manifest = reader.manifest
            row = Session(id=manifest.session, kind="snapshot", created_at=1.0)
            sessions.open(conn, row, [])
            sessions.commit(conn, row.id, at=2.0)
            snapshots.insert(conn, _row(manifest.snapshot, manifest.base, reader))
            for pack in manifest.packs:
                packs.insert(conn, Pack(
                    id=pack.pack, session_id=manifest.session, object=pack.object, bytes=pack.bytes, blocks=pack.blocks
                ))  # fmt: skip

    db.write_sync(fill)
    db.close()
    return World(path=path, content=objects.content(), truth=truth)


def _row(name: SnapshotId, base: SnapshotId | None, reader: SnapshotReader) -> Snapshot:
    maps = tuple(part.object for part in reader.manifest.maps)
    manifest = reader.store.manifest_name(name, reader.manifest.session)
    return snapshot(
        name, parent_id=base, session_id=reader.manifest.session, manifest=manifest, delta_map=maps[0], maps=maps,
        percent=100,
    )  # fmt: skip


@pytest.fixture
def world(built: World, tmp_path: Path) -> World:
    shutil.copy(built.path, tmp_path / "catalog.db")
    return World(path=tmp_path / "catalog.db", content=dict(built.content), truth=built.truth)


def delete(made: Installation, name: str) -> None:
    """Delete a snapshot to the end; what it makes due is begun, and not run."""

    def mark(conn: Connection) -> Operation:
        row = snapshots.get(conn, SnapshotId(name))
        assert row is not None
        operation = mark_deleting(conn, made, row, request_id="r", at=NOW)
        assert operation is not None
        return operation

    asyncio.run(DeleteSnapshot(made).run(made.db.write_sync(mark)))


def compaction_of(db: Database) -> Operation:
    found = db.read_sync(compaction.running)
    assert found is not None
    return found


def packs_in_store(world: World) -> dict[str, int]:
    return {name: len(raw) for name, raw in world.objects.content().items() if "/packs/" in name}


def consistent(world: World) -> None:
    """Rows name what is there, nothing else is there, and nothing dead is in it."""
    rows = world.db.read_sync(packs.everything)
    assert {row.object: row.bytes for row in rows} == packs_in_store(world)
    store = open_store(MemoryStore(world.objects.content()), STORE_ID)
    for row in rows:
        assert row.dead_blocks == row.dead_bytes == 0
        assert row.blocks == int(np.count_nonzero(~open_pack(store, row.object).index.dead))


def test_a_deletion_begins_compaction_which_ends_with_nothing_dead(world: World) -> None:
    made = world.open()
    before = sum(packs_in_store(world).values())
    told = asyncio.run(StoreSpace(made).snapshots(ADMIN, ("snap-00000000", "snap-00000001")))
    delete(made, "snap-00000000")
    delete(made, "snap-00000001")
    world.check()
    store = asyncio.run(StoreSpace(made).store(ADMIN))
    removed = before - sum(packs_in_store(world).values())
    assert store.dead_bytes + removed == pytest.approx(told.dead_bytes, rel=0.01)
    assert told.reclaimable_bytes == told.dead_bytes  # half of each pack, and more
    asyncio.run(Compact(made).run(compaction_of(world.db)))
    world.check()
    consistent(world)
    assert before - sum(packs_in_store(world).values()) == pytest.approx(told.dead_bytes, rel=0.01)
    after = asyncio.run(StoreSpace(made).store(ADMIN))
    assert (after.dead_bytes, after.waiting_bytes) == (0, 0)
    assert after.reclaimed_bytes == before - sum(packs_in_store(world).values())
    assert after.live_bytes / after.stored_bytes >= 0.8
    assert asyncio.run(compaction.begin_if_due(made)) is None
    world.close()


def test_every_cut_of_a_compaction_loses_nothing_and_is_resumed(world: World, tmp_path: Path) -> None:
    made = world.open()
    delete(made, "snap-00000000")
    delete(made, "snap-00000001")
    world.close()
    base, content = world.path.read_bytes(), dict(world.content)
    for cut in range(200):
        path = tmp_path / str(cut) / "catalog.db"
        path.parent.mkdir()
        path.write_bytes(base)
        one = World(path=path, content=dict(content), truth=world.truth)
        made = one.open(Power(cut))
        operation = compaction_of(one.db)
        try:
            asyncio.run(Compact(made).run(operation))
            ended = True
        except CutError:
            ended = False
        one.check()
        one.close()
        made = one.open()
        if not ended:
            asyncio.run(Compact(made).run(operation))
        asyncio.run(compaction.look_after(made))
        one.check()
        consistent(one)
        found = one.db.read_sync(lambda conn, wanted=operation.id: operations.get(conn, wanted))  # type: ignore[misc]
        assert found is not None
        assert found.state is OperationState.DONE
        assert one.db.read_sync(lambda conn: pack_rewrites.in_state(conn, RewriteState.WRITING)) == []
        one.close()
        if ended:
            assert cut >= 8
            return
    pytest.fail("it never came to its end")


def test_what_a_reader_may_hold_is_kept_until_it_has_ended(world: World) -> None:
    made = world.open()
    delete(made, "snap-00000000")
    session = Session(id=SessionId("ee" * 16), kind="hydrate", created_at=NOW)
    world.db.write_sync(lambda conn: sessions.open(conn, session, [SnapshotId("snap-00000002")]))
    before = set(packs_in_store(world))
    asyncio.run(Compact(made).run(compaction_of(world.db)))
    rows = world.db.read_sync(lambda conn: pack_rewrites.in_state(conn, RewriteState.SWITCHED))
    assert rows
    assert {row.old_object for row in rows} <= set(packs_in_store(world)) & before
    told = asyncio.run(StoreSpace(made).store(ADMIN))
    assert told.waiting_bytes == sum(row.old_bytes for row in rows)
    pinned = asyncio.run(StoreSpace(made).snapshots(ADMIN, ("snap-00000002",)))
    assert pinned.dead_bytes > pinned.reclaimable_bytes == 0
    asyncio.run(compaction.look_after(made))
    assert {row.old_object for row in rows} <= set(packs_in_store(world))
    world.db.write_sync(lambda conn: sessions.commit(conn, session.id, at=NOW))
    asyncio.run(compaction.look_after(made))
    consistent(world)
    world.check()
    world.close()


def test_nothing_is_collected_from_a_store_that_holds_what_is_not_known(world: World) -> None:
    made = world.open()
    delete(made, "snap-00000000")
    before = packs_in_store(world)
    foreign = f"{STORE_ID}/snapshots/snap-ffffffff/{'f' * 32}.manifest"
    MemoryStore.put(world.objects, foreign, b"somebody's")
    operation = compaction_of(world.db)
    asyncio.run(Compact(made).run(operation))
    assert packs_in_store(world) == before
    ended = world.db.read_sync(lambda conn: operations.get(conn, operation.id))
    assert ended is not None
    assert foreign in str(ended.payload["result"])
    assert asyncio.run(compaction.begin_if_due(made)) is None
    world.close()


def test_a_pack_that_cannot_be_trusted_is_left_and_not_tried_for_ever(world: World) -> None:
    made = world.open()
    delete(made, "snap-00000000")
    victim = world.db.read_sync(lambda conn: packs.dying(conn, 0.2, 1))[0]
    raw = bytearray(world.objects.get(victim.object))
    raw[3000] ^= 1
    MemoryStore.replace(world.objects, victim.object, bytes(raw))
    asyncio.run(Compact(made).run(compaction_of(world.db)))
    assert victim.object in packs_in_store(world)
    assert list(made.faulty_packs) in ([victim.object], [])  # the flipped byte may be one that was dead
    assert asyncio.run(compaction.begin_if_due(made)) is None
    world.close()


def test_a_job_that_fails_is_tried_again_and_then_ended(world: World) -> None:
    made = world.open()
    delete(made, "snap-00000000")
    operation = compaction_of(world.db)

    async def refuse(*_: object) -> None:
        raise UnavailableError("no worker")

    made.background.run = refuse  # type: ignore[method-assign, assignment]

    async def attempts() -> None:
        with pytest.raises(UnavailableError):
            await Compact(made).run(operation)
        for attempt in range(5):
            await Compact(made).fail(replace(operation, attempts=attempt), "InternalError", "no worker")

    asyncio.run(attempts())
    ended = world.db.read_sync(lambda conn: operations.get(conn, operation.id))
    assert ended is not None
    assert ended.state is OperationState.FAILED
    assert asyncio.run(compaction.begin_if_due(made)) is None  # for a while
    assert world.db.read_sync(lambda conn: pack_rewrites.in_state(conn, RewriteState.WRITING)) == []
    world.check()
    world.close()


def test_collection_by_hand(world: World) -> None:
    made = world.open()
    space = StoreSpace(made)
    assert refusal(space.collect(caller(), dry_run=True, dead_percent=None)) == "UnauthorizedOperation"
    assert refusal(space.store(caller())) == "UnauthorizedOperation"
    assert refusal(space.collect(ADMIN, dry_run=True, dead_percent=101)) == "InvalidParameterValue"
    delete(made, "snap-00000000")
    due = compaction_of(world.db)
    thought = asyncio.run(space.collect(ADMIN, dry_run=True, dead_percent=None))
    assert thought.operation_id is None
    assert thought.packs > 0
    assert thought.dead_bytes > 0
    assert refusal(space.collect(ADMIN, dry_run=False, dead_percent=0)) == "ResourceBusy"
    assert asyncio.run(space.collect(ADMIN, dry_run=False, dead_percent=20)).operation_id == due.id
    assert refusal(space.snapshots(ADMIN, ("snap-00000000",))) == "InvalidSnapshotId.NotFound"
    assert refusal(space.snapshots(ADMIN, ())) == "InvalidParameterValue"
    world.close()

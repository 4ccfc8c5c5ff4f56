"""An installation over a real catalog and a store in memory, whose power can be cut at every change of either."""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection

from drystone.catalog import accounts, meta, packs, sessions, snapshots, verification
from drystone.catalog.database import Database
from drystone.domain.blocks import BLOCK_BYTES, from_blocks
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.session import Pack, Session
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.engine.layout import Layout
from drystone.objects.contract import Parts, parts_of
from drystone.service.upkeep import epoch
from drystone.snapstore import writer
from drystone.snapstore.claims import list_claims
from drystone.snapstore.packs import open_pack
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store
from drystone.transfer import worker
from drystone.transfer.jobs import Job
from tests.catalog.catalog_values import account, snapshot
from tests.catalogs import open_catalog
from tests.claims import INCARNATION, NOBODY
from tests.memory_store import MemoryStore
from tests.sealed_stores import reopen
from tests.service.parts import ServerParts, server_parts
from tests.service.records_world import NOW
from tests.snapstore.model_snapshots import STORE_ID, new_store, take

BLOCKS = 60
SUBSETS_OF = 6
"""Of more changes than this that are not durable, not every subset is looked at, but all, none, and all but one."""
Lazy = Callable[[str, str], bool]
"""Takes operation and name; tells whether that change is durable only later (a planted bug: no real store may)."""


class CutError(Exception):
    """The power is gone."""


class Power:
    """Goes after so many changes of rows or objects; without a number it stays."""

    def __init__(self, steps: int | None = None) -> None:
        self.left = steps

    @property
    def gone(self) -> bool:
        return self.left is not None and self.left < 0

    def needed(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            raise CutError


class CutStore(MemoryStore):
    """A store that hangs on the power. What it has answered is durable, but for what is planted `lazy`."""

    power: Power
    lazy: Lazy | None = None

    def put(self, name: str, data: Parts) -> str | None:
        self.power.needed()
        version = MemoryStore.put(self, name, data)
        self._note("put", name, b"".join(parts_of(data)))
        return version

    def replace(self, name: str, data: Parts) -> str | None:
        self.power.needed()
        version = MemoryStore.replace(self, name, data)
        self._note("replace", name, b"".join(parts_of(data)))
        return version

    def delete(self, name: str) -> None:
        self.power.needed()
        MemoryStore.delete(self, name)
        self._note("delete", name, None)

    def _note(self, call: str, name: str, raw: bytes | None) -> None:
        lazy = self.lazy is not None and self.lazy(call, name)
        self.__dict__.setdefault("journal", []).append((name, raw, lazy))

    def survivors(self, before: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
        """Yield every content that a cut may leave, of a store that began with `before`."""
        journal: list[tuple[str, bytes | None, bool]] = self.__dict__.get("journal", [])
        late = [at for at, (_, _, lazy) in enumerate(journal) if lazy]
        subsets = (
            list(itertools.product((False, True), repeat=len(late)))
            if len(late) <= SUBSETS_OF
            else [tuple(at != gone for at in range(len(late))) for gone in range(-1, len(late))]
            + [(False,) * len(late)]
        )
        for kept in subsets:
            lost = {at for at, stays in zip(late, kept, strict=True) if not stays}
            content = dict(before)
            for at, (name, raw, _) in enumerate(journal):
                if at in lost:
                    continue
                if raw is None:
                    content.pop(name, None)
                else:
                    content[name] = raw
            yield content


class InlinePool:
    """Runs jobs at once, on the store in memory."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        self._store = store
        self._rng = rng

    async def run(self, job: Job, result: type[Any], _on_progress: object = None, **_shares: object) -> Any:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(worker, "open_address", lambda *_given, **_named: self._store)
            answer = worker.execute(job, lambda _done, _total: None, self._rng, worker.Kept())  # type: ignore[arg-type]
        assert isinstance(answer, result)
        return answer


@dataclass
class World:
    """An installation whose rows are a file and whose objects are in memory."""

    path: Path
    content: dict[str, bytes]
    truth: dict[SnapshotId, bytes]
    starts: int = 0
    dead_percent: int = 20
    spool_bytes_max: int = 0
    lazy: Lazy | None = None

    def open(self, power: Power | None = None) -> ServerParts:
        self.objects = CutStore(self.content)
        self.objects.power = self.power = power or Power()
        self.objects.lazy = self.lazy
        store = reopen(self.objects, STORE_ID)
        db = self.database()
        self.starts += 1
        rng = random.Random(self.starts)
        pool: Any = InlinePool(store, rng)
        self.db = db
        made = server_parts(
            db, Layout(self.path.parent), clock=lambda: NOW, rng=rng, store=store, pool=pool,
            dead_percent=self.dead_percent, spool_bytes_max=self.spool_bytes_max,
        )  # fmt: skip
        # It goes on as the start that ran, unless a test begins another.
        running = db.read_sync(epoch.claimant).current
        held = [one.epoch for one in list_claims(store) if running is not None and one.incarnation == running.id]
        made.kept.claimed.epoch = max(held, default=-1)
        return made

    def database(self) -> Database:
        """Open the rows; writes need power."""
        db = open_catalog(self.path)
        real, power = db.write, self.power

        async def write(fn: Callable[[Connection], Any]) -> Any:
            power.needed()
            return await real(fn)

        db.write = write  # type: ignore[method-assign]
        return db

    def close(self) -> None:
        self.content = self.objects.content()
        self.db.close()

    def flip(self, name: str, *places: int) -> bytes:
        """Damage an object, or undo that; return what it was."""
        good = bytes(self.objects.get(name))
        bad = bytearray(good)
        for at in places:
            bad[at] ^= 1
        MemoryStore.replace(self.objects, name, bytes(bad))
        return good

    def row(self, name: SnapshotId) -> Snapshot:
        found = self.db.read_sync(lambda conn: snapshots.get(conn, name))
        assert found is not None
        return found

    def packs_of(self, name: SnapshotId) -> list[Pack]:
        """The packs that a snapshot wrote."""
        session = self.row(name).session_id
        assert session is not None
        return self.db.read_sync(lambda conn: packs.of_session(conn, session))

    def doubted(self) -> set[str]:
        """What a scrub is to look at although no day of it has come."""
        found = self.db.read_sync(lambda conn: verification.packs_due(conn, 0.0, NOW, 100))
        rows = self.db.read_sync(lambda conn: verification.snapshots_due(conn, 0.0, NOW, 100))
        return {pack.object for pack in found} | {one.id for one in rows}

    def check(self) -> None:
        """Every living snapshot is what it was, by the objects that a power cut left."""
        store = reopen(MemoryStore(self.objects.content()), STORE_ID)
        rows = self.db.read_sync(lambda conn: snapshots.in_states(conn, [SnapshotState.NORMAL]))
        assert rows
        for row in rows:
            assert row.manifest is not None
            assert bool(SnapshotReader.open(store, row.manifest).read(0, BLOCKS * BLOCK_BYTES) == self.truth[row.id])


def build_world(path: Path) -> World:
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
    db = open_catalog(path)

    def fill(conn: Connection) -> None:
        accounts.insert(conn, replace(account(), admin=True))
        for key, value in (("store_id", STORE_ID), ("owner", NOBODY), (epoch.KEY, "0")):
            meta.put(conn, key, value)
        epoch.begin(conn, INCARNATION)
        for reader in taken:
            manifest = reader.manifest
            row = Session(id=manifest.session, kind="snapshot", created_at=1.0)
            sessions.open(conn, row, [])
            sessions.commit(conn, row.id, at=2.0)
            snapshots.insert(conn, _row(manifest.snapshot, manifest.base, reader))
            for pack in manifest.packs:
                packs.insert(conn, Pack(
                    id=pack.pack, session_id=manifest.session, object=pack.object, bytes=pack.bytes, blocks=pack.blocks,
                    disk_id=DiskId("disk-00000001"), account_id=account().id,
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


def packs_in_store(world: World) -> dict[str, int]:
    return {name: len(raw) for name, raw in world.objects.content().items() if "/packs/" in name}


def consistent(world: World) -> None:
    """Rows name what is there, nothing else is there, and nothing dead is in it."""
    rows = world.db.read_sync(packs.everything)
    assert {row.object: row.bytes for row in rows} == packs_in_store(world)
    store = reopen(MemoryStore(world.objects.content()), STORE_ID)
    for row in rows:
        assert row.dead_blocks == row.dead_bytes == 0
        assert row.blocks == int(np.count_nonzero(~open_pack(store, row.object).index.dead))

"""The life of a whole store in one process, from a seed: `python -m tests.snapstore.simulate --seeds N [--first S]`.

Writers, deleters, compaction and readers are generators that yield between their steps; each step is one transaction or
one call of the store. A crash drops them all: rows and objects stay. Calls of the store fail, before or after they took
effect, by a hash of (seed, call), so that a seed replays exactly whatever threads do. What decides is the product's own
code; only the rows and the order of steps are a model of `service/`. Every planted bug is a change of one rule.
"""

import argparse
import contextlib
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from drystone.codec.manifest import ManifestMap
from drystone.codec.pack import PackIndex
from drystone.domain import lineage
from drystone.domain.blocks import BLOCK_BYTES, from_blocks, union
from drystone.domain.errors import DrystoneError, IntegrityError, UnavailableError
from drystone.domain.ids import PackId, SessionId, SnapshotId
from drystone.domain.lineage import Node, NodeState, SessionState
from drystone.domain.pack_rewrite import PackRewrite, RewriteState, doomed
from drystone.objects.contract import NotFoundError, ObjectEntry, Parts, StoreTime, parts_of
from drystone.snapstore import compaction, writer
from drystone.snapstore.deaths import dies
from drystone.snapstore.deletion import delete_manifest, delete_session_objects
from drystone.snapstore.layers import delta_addresses
from drystone.snapstore.living import Living
from drystone.snapstore.manifests import list_manifests, read_manifest, write_manifest
from drystone.snapstore.merge import apply_merge, merge_maps, plan_merge
from drystone.snapstore.packs import open_pack
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.space import Member, TreeSpace, tree_space
from drystone.snapstore.store import Store, hex128
from drystone.snapstore.writer import SnapshotWriter
from tests.blocks import to_blocks
from tests.memory_store import MemoryStore
from tests.nonces import recorded
from tests.snapstore import catalog_lives
from tests.snapstore.model_snapshots import manifest_of, new_store

BLOCKS = 96
SNAPSHOTS_MAX = 8
MAPS_MAX = 6
TOLD_EVERY = 50
Task = Generator[None, None, None]


class ViolationError(Exception):
    """A byte was lost or wrong, or something is left that nobody will ever remove."""


class Flaky:
    """A store whose calls fail now and then; what fails may have happened."""

    def __init__(self, inner: MemoryStore, seed: int, share: float) -> None:
        self._inner = inner
        self._seed = seed
        self._share = share
        self._calls: Counter[str] = Counter()
        self.late: list[tuple[str, bytes]] = []
        """Writes that were given up and made again: the first may still land, whatever became of the second."""
        self.landed: set[str] = set()

    def _luck(self, call: str) -> float:
        self._calls[call] += 1
        digest = hashlib.blake2b(f"{self._seed} {call} {self._calls[call]}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") / 2**64

    @contextlib.contextmanager
    def _change(self, call: str) -> Iterator[None]:
        luck = self._luck(call)
        if luck < self._share / 2:
            raise UnavailableError(f"{call}: not done")
        yield
        if luck < self._share:
            raise UnavailableError(f"{call}: done, but the answer is lost")

    def _read(self, call: str) -> None:
        if self._luck(call) < self._share / 4:
            raise UnavailableError(f"{call}: no answer")

    def put(self, name: str, data: Parts) -> None:
        if self._luck(f"late {name}") < self._share / 2:
            self.late.append((name, b"".join(parts_of(data))))
        with self._change(f"put {name}"):
            self._inner.put(name, data)

    def lands(self) -> bool:
        """Have one of them land, now and then."""
        if not self.late or self._luck("land") > 0.02:
            return False
        self.land(0)
        return True

    def land(self, at: int) -> None:
        """Have a write land that nobody waits for any more."""
        name, raw = self.late.pop(at)
        self.landed.add(name)
        with contextlib.suppress(IntegrityError):
            self._inner.put(name, raw)

    def replace(self, name: str, data: Parts) -> None:
        with self._change(f"replace {name}"):
            self._inner.replace(name, data)

    def delete(self, name: str) -> None:
        with self._change(f"delete {name}"):
            self._inner.delete(name)

    def get(self, name: str) -> bytes:
        self._read(f"get {name}")
        return self._inner.get(name)

    def get_range(self, name: str, start: int, stop: int) -> bytes:
        self._read(f"get {name}")
        return self._inner.get_range(name, start, stop)

    def size(self, name: str) -> int:
        return self._inner.size(name)

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        self._read(f"list {prefix}")
        return self._inner.list(prefix)

    def clock(self) -> StoreTime | None:
        return self._inner.clock()


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Every decision that a planted bug changes; the defaults are the product's."""

    doomed: Callable[[PackRewrite, frozenset[SessionId]], str | None] = doomed
    rewrite: Callable[..., int] = compaction.rewrite_pack
    mask: Callable[[Living, PackIndex], npt.NDArray[np.bool_]] = Living.mask
    near: Callable[..., frozenset[SnapshotId]] = lineage.near
    row_first: bool = True
    """The row of a rewriting is there before its object."""
    switch_first: bool = True
    """The pack's row names the new object before the old one goes."""
    compare: bool = True
    """The switch expects the object that was rewritten."""
    recount: bool = True
    """What dies is counted anew after a crash."""
    locked: bool = True
    """One thing at a time counts what is dead."""
    late: bool = True
    """What lands late of a session that committed is deleted again (S209)."""
    trees: bool = True
    """Packs are judged by the whole trees in which they were written (S205), not by who wrote them alone."""


@dataclass
class Row:
    id: SnapshotId
    parent: SnapshotId | None
    session: SessionId
    content: bytes
    state: NodeState = NodeState.CREATING
    manifest: str = ""
    maps: tuple[ManifestMap, ...] = ()
    delta_map: str | None = None
    dead: dict[PackId, tuple[int, float]] | None = None


@dataclass
class PackRow:
    id: PackId
    session: SessionId
    object: str
    blocks: int
    bytes: int
    dead_blocks: int = 0
    dead_bytes: float = 0.0
    deleting: bool = False


@dataclass
class Session:
    reads: frozenset[SnapshotId]
    state: SessionState = SessionState.OPEN


@dataclass
class Disk:
    content: bytearray
    base: SnapshotId | None = None
    dirty: set[int] = field(default_factory=set)
    lost: bool = False
    busy: bool = False


class World:
    """Rows, objects, and what runs."""

    def __init__(self, seed: int, rules: Rules, *, storms: bool) -> None:
        flaky = 0.25 if storms else 0.06
        self.storms = storms
        self.rng = random.Random(seed)
        self.rules = rules
        self.objects = MemoryStore()
        self.true: Store = new_store(self.objects)
        self.flaky = Flaky(self.objects, seed, flaky)
        self.store: Store = replace(self.true, objects=self.flaky)
        self.rows: dict[SnapshotId, Row] = {}
        self.packs: dict[PackId, PackRow] = {}
        self.rewrites: dict[str, PackRewrite] = {}
        self.sessions: dict[SessionId, Session] = {}
        self.disks = [Disk(content=bytearray(BLOCKS * BLOCK_BYTES)) for _ in range(2)]
        self.tasks: list[Task] = []
        self.readers: list[tuple[SessionId, SnapshotId, SnapshotReader]] = []
        self.locked = False
        self.count = 0
        self.events: Counter[str] = Counter()

    # --- small things ---

    def session(self, *reads: SnapshotId | None) -> SessionId:
        named = frozenset(one for one in reads if one is not None)
        assert all(self.rows[one].state is NodeState.NORMAL for one in named)
        made = SessionId(hex128(self.rng))
        self.sessions[made] = Session(reads=named)
        return made

    def pinned(self) -> set[SnapshotId]:
        return {one for each in self.sessions.values() if each.state is SessionState.OPEN for one in each.reads}

    def tree(self) -> lineage.Tree:
        pinned = self.pinned()
        return lineage.build(
            Node(id=row.id, parent=row.parent, state=row.state, pinned=row.id in pinned, delta_map=row.delta_map)
            for row in self.rows.values()
        )

    def living(self) -> list[Row]:
        return [row for row in self.rows.values() if row.state in {NodeState.NORMAL, NodeState.DELETING}]

    def around(self, packs: Sequence[PackRow]) -> list[str]:
        """The manifests of the living snapshots of the trees in which some packs were written."""
        writers = {row.session: row for row in self.rows.values()}
        start = [writers.get(pack.session) for pack in packs]
        if None in start:
            return [row.manifest for row in self.living()]
        found = {row.id for row in start if row is not None}
        while self.rules.trees:
            more = {row.id for row in self.rows.values() if row.parent in found or row.id in found}
            more |= {row.parent for row in self.rows.values() if row.id in found and row.parent is not None}
            if more <= found:
                break
            found |= more
        if any(one not in self.rows for one in found):
            return [row.manifest for row in self.living()]
        return [row.manifest for row in self.living() if row.id in found]

    def normal(self) -> list[Row]:
        return [row for row in self.rows.values() if row.state is NodeState.NORMAL]

    def hold(self) -> Task:
        """Wait for the lock of collection."""
        while self.rules.locked and self.locked:
            yield
        self.locked = True

    # --- guests ---

    def guest(self) -> None:
        disk = self.rng.choice(self.disks)
        for _ in range(self.rng.randrange(1, 4)):
            start = self.rng.randrange(BLOCKS)
            stop = min(BLOCKS, start + self.rng.choice((1, 1, 1, 3, 5, 20)))
            kind = self.rng.randrange(4)
            for block in range(start, stop):
                size = BLOCK_BYTES if kind < 2 else 16
                fill = bytes(BLOCK_BYTES) if kind == 3 else self.rng.randbytes(size) * (BLOCK_BYTES // size)
                disk.content[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = fill
                disk.dirty.add(block)

    def rollback_or_clone(self) -> None:
        idle = [disk for disk in self.disks if not disk.busy]
        if idle and self.normal():
            disk, row = self.rng.choice(idle), self.rng.choice(self.normal())
            disk.content, disk.base, disk.dirty, disk.lost = bytearray(row.content), row.id, set(), False

    # --- taking a snapshot ---

    def take(self) -> None:
        idle = [disk for disk in self.disks if not disk.busy]
        if idle and len(self.normal()) < SNAPSHOTS_MAX:
            # The instant is now; the rest follows.
            task = self._take(self.rng.choice(idle))
            next(task)
            self.tasks.append(task)

    def _take(self, disk: Disk) -> Task:
        disk.busy = True
        session = self.session(disk.base)
        self.count += 1
        row = Row(
            id=SnapshotId(f"snap-{self.count:08d}"), parent=disk.base, session=session, content=bytes(disk.content)
        )
        self.rows[row.id] = row
        changed, disk.dirty = disk.dirty, set()
        rescan, disk.lost = disk.lost and row.parent is not None, False
        base_row = None if row.parent is None else self.rows[row.parent]
        yield
        try:
            base = None if base_row is None else SnapshotReader.open(self.store, base_row.manifest)
            made = SnapshotWriter(store=self.store, session=session, rng=self.rng, base=base, compare=rescan, threads=1)
            try:
                blocks = range(BLOCKS) if base is None or rescan else sorted(changed)
                for start, stop in from_blocks(np.array(list(blocks), dtype=np.int64)).tolist():
                    made.write(start, row.content[start * BLOCK_BYTES : stop * BLOCK_BYTES])
                written = made.finish()
            finally:
                made.abort()
            yield
            manifest = manifest_of(
                self.store, snapshot=row.id, session=session, written=written, size_bytes=len(row.content), base=base
            )
            own, below = manifest.maps[0], manifest.maps[1:]
            part = plan_merge(below) if len(below) >= MAPS_MAX else ()
            if part:
                below = apply_merge(below, part, merge_maps(self.store, session, self.rng, part))
                self.events["maps merged"] += 1
            manifest = msgspec.structs.replace(manifest, maps=(own, *below))
            name = write_manifest(self.store, manifest)
            yield
        except UnavailableError:
            # A4: what was marked stays marked; the objects are garbage of a fenced session.
            self.sessions[session].state = SessionState.FENCED
            disk.dirty |= changed
            disk.busy, disk.lost = False, disk.lost or rescan
            del self.rows[row.id]
            self.events["snapshot failed"] += 1
            return
        assert self.sessions[session].state is SessionState.OPEN
        self.sessions[session].state = SessionState.COMMITTED
        row.state, row.manifest, row.maps, row.delta_map = NodeState.NORMAL, name, manifest.maps, own.object
        for pack in written.packs:
            self.packs[pack.pack] = PackRow(
                id=pack.pack, session=session, object=pack.object, blocks=pack.blocks, bytes=pack.bytes
            )
        disk.base, disk.busy = row.id, False
        self.events["taken"] += 1

    # --- deleting ---

    def delete(self) -> None:
        if self.normal():
            row = self.rng.choice(self.normal())
            move = lineage.base_after(self.tree(), row.id)
            row.state = NodeState.DELETING
            for disk in self.disks:
                if disk.base == row.id:
                    assert move.delta_maps is not None
                    parts = [delta_addresses(self.true, name) for name in sorted(move.delta_maps)]
                    disk.base = move.base
                    disk.dirty |= to_blocks(union(*parts))
            self.tasks.append(self._delete(row))

    def _delete(self, row: Row) -> Task:
        while row.state is NodeState.DELETING and row.id in self.pinned():
            yield
        yield from self._tidy(row)
        self.events["deleted"] += 1

    def _tidy(self, row: Row | None = None) -> Task:
        """Bury a snapshot, unless that was done, and collect: again until it was possible."""
        while True:
            yield from self.hold()
            try:
                if row is not None and row.state is NodeState.DELETING:
                    yield from self._bury(row)
                yield from self._collect()
            except (UnavailableError, NotFoundError):
                # Not found: the manifest of one that a crash left half deleted; it becomes a ghost when it is its turn.
                self.events["tried again"] += 1
            else:
                return
            finally:
                self.locked = False
            yield

    def _bury(self, row: Row) -> Task:
        # Counted anew while that is possible: others may have been deleted since it was counted first.
        gone = not list(list_manifests(self.store, row.id))
        if not (self.rules.recount and gone) and (self.rules.recount or row.dead is None):
            around = self.rules.near(self.tree(), row.id)
            mine = SnapshotReader.open(self.store, row.manifest)
            others = [SnapshotReader.open(self.store, self.rows[one].manifest) for one in sorted(around)]
            found = dies(mine, others, mine.data_ranges())
            row.dead = {ref.pack: (blocks, found.bytes[ref]) for ref, blocks in found.blocks.items()}
            yield
        assert row.dead is not None
        delete_manifest(self.store, row.id, row.session)
        yield
        row.state = NodeState.GHOST
        for name, (blocks, stored) in row.dead.items():
            pack = self.packs[name]
            pack.dead_blocks = min(pack.blocks, pack.dead_blocks + blocks)
            pack.dead_bytes += stored

    def _collect(self) -> Task:
        dying = [pack for pack in self.packs.values() if pack.dead_blocks >= pack.blocks and not pack.deleting]
        if dying:
            living = Living.open(self.store, self.around(dying))
            for pack in dying:
                index = open_pack(self.store, pack.object).index
                if not self.rules.mask(living, index).any():
                    pack.deleting = True
            yield
        for pack in [one for one in self.packs.values() if one.deleting]:
            others = [one for one in self.rewrites.values() if one.pack_id == pack.id]
            for name in {pack.object, *(one.old_object for one in others), *(one.new_object for one in others)}:
                self.store.objects.delete(name)
            yield
            del self.packs[pack.id]
            self.events["pack removed"] += 1
        referenced = {disk.base for disk in self.disks if disk.base} | self.pinned()
        written = {pack.session for pack in self.packs.values()}
        for name in lineage.prunable(self.tree(), referenced):
            if self.rows[name].session not in written:
                del self.rows[name]
        named = {part.object for row in self.living() for part in row.maps}
        named |= {row.delta_map for row in self.rows.values() if row.delta_map is not None}
        for entry in list(self.store.objects.list(self.store.name("maps", ""))):
            session = self.sessions[SessionId(entry.name.split("/")[-2])]
            if session.state is SessionState.COMMITTED and entry.name not in named:
                self.store.objects.delete(entry.name)
        yield

    # --- compaction ---

    def compact(self, dead_percent: int) -> None:
        self.tasks.append(self._compact(dead_percent))

    def _compact(self, dead_percent: int) -> Task:
        yield from self.hold()
        try:
            yield from self._round(dead_percent)
            yield from self._settle()
        except (UnavailableError, NotFoundError):
            self.abandon()
            self.events["compaction failed"] += 1
        finally:
            self.locked = False

    def _round(self, dead_percent: int) -> Task:
        due = [
            pack
            for pack in self.packs.values()
            if not pack.deleting and pack.dead_blocks and 100 * pack.dead_bytes >= dead_percent * pack.bytes
        ]
        rows = []
        for pack in due[:3]:
            attempt = hex128(self.rng)
            row = PackRewrite(
                id=attempt, pack_id=pack.id, old_object=pack.object, old_bytes=pack.bytes, created_at=0.0,
                new_object=self.store.pack_name(pack.session, pack.id, attempt),
            )  # fmt: skip
            rows.append((row, pack.object, pack.dead_blocks, pack.dead_bytes))
            if self.rules.row_first:
                self.rewrites[attempt] = row
        manifests = self.around(due[:3])
        yield
        living = Living.open(self.store, manifests)
        for row, name, dead_blocks, dead_bytes in rows:
            opened = open_pack(self.store, name)
            plan = compaction.plan_compaction(opened.index, self.rules.mask(living, opened.index))
            yield
            if plan.nothing_lives or not plan.blocks:
                self.rewrites.pop(row.id, None)
                continue
            size = self.rules.rewrite(self.store, opened, plan.dead, row.id, self.rng.randbytes(32))
            yield
            if not self.rules.row_first:
                self.rewrites[row.id] = row
            if not self.rules.switch_first:
                self.store.objects.delete(row.old_object)
                yield
            current = self.packs.get(row.pack_id)
            if current is None or current.deleting or (self.rules.compare and current.object != name):
                self.rewrites[row.id] = replace(row, state=RewriteState.ABANDONED)
                continue
            left = int(np.count_nonzero(~opened.index.dead)) - plan.blocks
            self.packs[row.pack_id] = replace(
                current, object=row.new_object, bytes=size, blocks=left,
                dead_blocks=current.dead_blocks - dead_blocks, dead_bytes=current.dead_bytes - dead_bytes,
            )  # fmt: skip
            waits = {key for key, each in self.sessions.items() if each.state is SessionState.OPEN and each.reads}
            self.rewrites[row.id] = replace(
                row, state=RewriteState.SWITCHED, waits_for=frozenset(waits), new_bytes=size
            )
            self.events["compacted"] += 1
            yield

    def _settle(self) -> Task:
        reading = frozenset(key for key, each in self.sessions.items() if each.state is SessionState.OPEN)
        for row in list(self.rewrites.values()):
            name = self.rules.doomed(row, reading)
            if name is not None:
                self.store.objects.delete(name)
                yield
                del self.rewrites[row.id]
                self.events[f"settled {row.state}"] += 1

    def abandon(self) -> None:
        for key, row in self.rewrites.items():
            if row.state is RewriteState.WRITING:
                self.rewrites[key] = replace(row, state=RewriteState.ABANDONED)

    # --- readers ---

    def read(self) -> None:
        """Open a reader, or read some of what an open one shows, or all of it and end."""
        luck = self.rng.random()
        if self.readers and luck < 0.75:
            at = self.rng.randrange(len(self.readers))
            session, name, reader = self.readers[at]
            low, high = sorted(self.rng.choices(range(BLOCKS + 1), k=2))
            self.same(reader, name, low, high)
            if luck < 0.25:
                self.same(reader, name, 0, BLOCKS)
                self.readers.pop(at)
                self.sessions[session].state = SessionState.COMMITTED
                self.events["read"] += 1
        elif self.normal() and len(self.readers) < 4:
            row = self.rng.choice(self.normal())
            reader = SnapshotReader.open(self.true, row.manifest)
            self.readers.append((self.session(row.id), row.id, reader))

    def same(self, reader: SnapshotReader, name: SnapshotId, low: int, high: int) -> None:
        start, stop = low * BLOCK_BYTES, high * BLOCK_BYTES
        try:
            found = reader.read(start, stop - start)
        except DrystoneError as error:
            raise ViolationError(f"{name} cannot be read: {error}") from error
        if found != self.rows[name].content[start:stop]:
            raise ViolationError(f"{name} shows other bytes between blocks {low} and {high}")

    # --- all of it ---

    def crash(self) -> None:
        """The process dies: rows and objects stay, and what ran begins again from its rows."""
        for task in self.tasks:
            task.close()
        self.tasks.clear()
        self.readers.clear()
        self.locked = False
        for each in self.sessions.values():
            if each.state is SessionState.OPEN:
                each.state = SessionState.FENCED
        for disk in self.disks:
            # The next snapshot compares all: tracking is lost.
            disk.busy = False
            disk.lost = True
        for row in list(self.rows.values()):
            if row.state is NodeState.CREATING:
                del self.rows[row.id]
            elif row.state is NodeState.DELETING:
                self.tasks.append(self._delete(row))
        self.abandon()
        # A deletion that had come to its end goes on with what it had found dead.
        self.tasks.append(self._tidy())
        self.events["crash"] += 1

    def sweep(self) -> None:
        with contextlib.suppress(UnavailableError):
            for entry in list(list_manifests(self.store)):
                if self.sessions[entry.session].state is SessionState.FENCED:
                    self.store.objects.delete(entry.object)
        for key, each in self.sessions.items():
            if each.state is SessionState.FENCED:
                with contextlib.suppress(UnavailableError):
                    delete_session_objects(self.store, key)
        if self.rules.late:
            with contextlib.suppress(UnavailableError):
                self.sweep_late()

    def sweep_late(self) -> None:
        """Delete again what came back of snapshots and packs that were deleted."""
        normal = {row.manifest for row in self.rows.values() if row.state is not NodeState.GHOST}
        for entry in list(list_manifests(self.store)):
            if self.sessions[entry.session].state is SessionState.COMMITTED and entry.object not in normal:
                self.store.objects.delete(entry.object)
                self.events["manifest came back"] += 1
        for key in self.sessions.keys() - self.in_use():
            if self.sessions[key].state is SessionState.COMMITTED:
                delete_session_objects(self.store, key)

    def in_use(self) -> set[SessionId]:
        """The sessions that a row is of."""
        rewritten = {SessionId(row.new_object.split("/")[-2]) for row in self.rewrites.values()}
        return {one.session for one in self.packs.values()} | {one.session for one in self.rows.values()} | rewritten

    def step(self) -> None:
        """One random thing."""
        if self.flaky.lands():
            self.events["landed late"] += 1
        for task in self.tasks[:]:
            if self.rng.random() < 0.6:
                self.advance(task)
        self.rng.choices(
            [self.guest, self.take, self.delete, lambda: self.compact(self.rng.choice((0, 20, 50))), self.read,
             self.rollback_or_clone, self.sweep, self.crash],
            weights=[20, 14, 8, 24, 4, 3, 2, 6] if self.storms else [30, 14, 7, 10, 16, 3, 2, 1],
        )[0]()  # fmt: skip

    def advance(self, task: Task) -> None:
        try:
            next(task)
        except StopIteration:
            self.tasks.remove(task)

    def check(self) -> None:
        """Everything that lives, read anew by a store that always answers; nothing changes meanwhile."""
        first: SnapshotReader | None = None
        for row in self.living():
            try:
                manifest = read_manifest(self.true, row.manifest)
            except NotFoundError:
                if row.state is NodeState.DELETING and row.dead is not None:
                    continue  # between the manifest's end and the row's
                raise ViolationError(f"the manifest of {row.id} is gone") from None
            reader = SnapshotReader(self.true, manifest)
            if first is None:
                first = reader
            # What one of them has read and verified, the next need not read again.
            reader._pages, reader._source, reader._frames = first._pages, first._source, first._frames
            self.same(reader, row.id, 0, BLOCKS)

    def space(self, chosen: Sequence[SnapshotId]) -> TreeSpace:
        """What the product says of all trees together."""
        return tree_space(self.true, [
            Member(id=row.id, parent=row.parent, delta_map=row.delta_map, living=row in self.living(),
                   chosen=row.id in chosen)
            for row in self.rows.values() if row.delta_map is not None
        ])  # fmt: skip

    def finish(self) -> None:
        """Good weather: everything that was begun ends, and then nothing dead and nothing unknown is left."""
        while self.flaky.late:
            self.flaky.land(0)
        self.store = self.true
        for session, _, _ in self.readers:
            self.sessions[session].state = SessionState.COMMITTED
        self.readers.clear()
        for _ in range(22):
            self.drain()
            if not self.rewrites and not any(pack.dead_blocks for pack in self.packs.values()):
                break
            self.compact(0)
        self.drain()
        self.sweep()
        self.check()
        living = Living.open(self.true, [row.manifest for row in self.living()])
        for pack in self.packs.values():
            index = open_pack(self.true, pack.object).index
            if not np.array_equal(living.mask(index), ~index.dead):
                raise ViolationError(f"dead blocks of {pack.object} were left, or living ones flagged")
            if pack.blocks != int(np.count_nonzero(~index.dead)) or pack.dead_blocks:
                raise ViolationError(f"the row of pack {pack.id} counts wrong: {pack}")
        known = {pack.object for pack in self.packs.values()}
        # What came back of a session of which something is left goes with the last of that.
        alive = tuple(self.true.name("packs", one, "") for one in self.in_use())
        left = {entry.name for entry in self.true.objects.list(self.true.name("packs", ""))} - known
        left -= {name for name in self.flaky.landed if name.startswith(alive)}
        left |= {entry.object for entry in list_manifests(self.true)} - {row.manifest for row in self.living()}
        if left or self.rewrites:
            raise ViolationError(f"nobody will ever remove {sorted(left)}, {self.rewrites}")

    def drain(self) -> None:
        for _ in range(10_000):
            if not self.tasks:
                return
            for task in self.tasks[:]:
                self.advance(task)
        raise ViolationError("something never ends")

    def digest(self) -> str:
        """What tells two runs apart."""
        content = "".join(f"{name} {hashlib.sha256(raw).hexdigest()}\n" for name, raw in
                          sorted(self.objects.content().items()))  # fmt: skip
        return hashlib.sha256((content + repr(sorted(self.events.items()))).encode()).hexdigest()


class AtOnce:
    """Takes the place of a pool of threads: a life is as deterministic as it can be, and a third shorter."""

    def __init__(self, *_given: object, **_named: object) -> None:
        pass

    def submit(self, call: Callable[..., Any], /, *given: Any) -> Future[Any]:
        ended: Future[Any] = Future()
        try:
            ended.set_result(call(*given))
        except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
            ended.set_exception(error)
        return ended

    def shutdown(self, **_named: object) -> None:
        pass


@contextlib.contextmanager
def small_packs() -> Iterator[None]:
    """Make packs of some frames, and frames of some blocks, of the few blocks that there are."""
    names = {"PACK_BYTES": 80_000, "FRAME_BLOCKS_MAX": 8, "ThreadPoolExecutor": AtOnce}
    before = {name: getattr(writer, name) for name in names}
    for name, value in names.items():
        setattr(writer, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(writer, name, value)


def run(seed: int, rules: Rules = Rules(), *, steps: int = 160, storms: bool = False) -> World:
    """Live one life; in `storms`, crashes and lost answers are as usual as anything else.

    Raises:
        ViolationError: Something was lost, wrong, or left behind.
    """
    with small_packs():
        world = World(seed, rules, storms=storms)
        for number in range(steps):
            world.step()
            if number % 40 == 39:
                world.check()
        world.finish()
        return world


def live(seed: int, steps: int) -> Counter[str]:
    """Live one life of one catalog."""
    return run(seed, steps=steps, storms=seed % 3 == 2).events


def live_with_catalogs(seed: int, steps: int) -> Counter[str]:
    """Live one life of several catalogs."""
    with small_packs():
        return catalog_lives.run(seed, steps=steps).events


def hunt(first: int, seeds: int) -> int:
    """Plant each bug of several catalogs, and tell which seed shows it; return how many none does."""
    missed = 0
    with small_packs():
        for name, rules in catalog_lives.PLANTED.items():
            found = catalog_lives.find(rules, range(first, first + seeds))
            missed += found is None
            print(
                f"planted, {name}: {'NOT FOUND' if found is None else f'seed {found[0]}, {found[1][:100]}'}", flush=True
            )
    return missed


def main(arguments: Sequence[str] | None = None) -> int:
    """Live many lives, and print the seed of each that goes wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.snapstore.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--catalogs", action="store_true", help="lives of several catalogs of one store")
    parser.add_argument("--planted", action="store_true", help="hunt bugs that are planted in those")
    options = parser.parse_args(arguments)
    if options.planted:
        return 1 if hunt(options.first, options.seeds) else 0
    once = live_with_catalogs if options.catalogs else live
    begun, spent, wrong, events = time.monotonic(), time.process_time(), 0, Counter[str]()
    for seed in range(options.first, options.first + options.seeds):
        try:
            # In sealed stores no nonce is used twice with a key (S240).
            with recorded():
                events += once(seed, options.steps)
        except Exception as error:  # noqa: BLE001 - any failure of a seed is told, and the next one is run
            wrong += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
        if (seed - options.first) % TOLD_EVERY == TOLD_EVERY - 1:
            print(f"to seed {seed}: {wrong} wrong, {time.monotonic() - begun:.0f} s", flush=True)
    seconds = time.monotonic() - begun
    each = (time.process_time() - spent) / options.seeds
    print(f"{options.seeds} seeds, {wrong} wrong, {seconds:.0f} s, {each:.3f} CPU s each; " + ", ".join(
        f"{name} {count}" for name, count in sorted(events.items())))  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

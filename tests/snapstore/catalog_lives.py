"""Several catalogs of one store, after and beside each other: `python -m tests.snapstore.simulate --catalogs`.

A catalog is rows; what a process does with them are generators that yield between requests. Rows are copied, put back,
lost, and made anew from the store. A request fails: it is not done, it is done and its answer is lost, or it is done
later, within a day. A listing may be one of an earlier moment. What asks and decides is the product's own code; rows,
and the order of steps, are a model of `service/`.

What must hold: a snapshot that was said to be NORMAL, and that nobody deleted, is there and shows what it showed. One
that was deleted never comes back. When everything has calmed down, two rounds of upkeep leave nothing that nobody
needs, but for what landed late of a session of which something is in use: it goes with the last of that.
"""

import bisect
import contextlib
import copy
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.claim import Claimant, Incarnation, Standing
from drystone.domain.errors import DrystoneError, IntegrityError, UnavailableError
from drystone.domain.ids import AccountId, PackId, SessionId, SnapshotId
from drystone.domain.late_writes import Judged, Known, Made, judge
from drystone.domain.session import Session, SessionState
from drystone.objects.contract import NotFoundError, ObjectEntry, Parts, StoreTime, parts_of
from drystone.objects.retrying import Retrying
from drystone.service.upkeep import sweep
from drystone.snapstore import compaction, inventory
from drystone.snapstore.claims import claimed_epoch, hold, remove_claims, standing_at_start
from drystone.snapstore.deletion import delete_manifest, list_session_objects
from drystone.snapstore.inventory import Inventory, list_objects, take_inventory
from drystone.snapstore.living import Living
from drystone.snapstore.manifests import (
    Attributes,
    is_complete,
    list_manifests,
    list_shelf,
    put_manifest,
    seal_manifest,
    write_attributes,
)
from drystone.snapstore.packs import open_pack
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import StaleEpochError, Store, hex128
from drystone.snapstore.writer import SnapshotWriter
from tests.memory_store import MemoryStore
from tests.snapstore.model_snapshots import manifest_of, new_store

BLOCKS = 12
SNAPSHOTS_MAX = 5
CATALOGS_MAX = 3
HOUR, DAY = 3600.0, 86400.0
LATE_SECONDS = DAY
"""A request that was given up is done within this time, or never."""
BEHIND_SECONDS = 60.0
"""So old a listing may be, in lives that have such."""
LISTED_SECONDS = DAY
ABANDONED_SECONDS = DAY
RARE = 3.0
ACCOUNT = AccountId("100000000001")
Task = Generator[None, None, None]


class ViolationError(Exception):
    """Something was lost, brought back, or left for ever."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a planted bug changes; the defaults are the product's."""

    judge: Callable[[Any, Any, Any, Known], Judged] = judge
    delete_manifest: Callable[[Store, SnapshotId, SessionId], None] = delete_manifest
    bury: Callable[[Store, Session, Any], None] = sweep._bury
    unbury: Callable[[Store, Session], bool] = sweep._unbury
    inventory: Callable[..., Inventory] = take_inventory
    kept_seconds: float = sweep.KEPT_SECONDS
    """How long the row of a session stays that ended, or of which something was deleted."""
    buried_first: bool = True
    """What a fenced session wrote goes only after its manifest has a tombstone."""
    needed: bool = True
    """A session stays of which anything living lists a map."""
    touched: bool = True
    """The deletion of a pack keeps its session's row for another week."""
    adopted: bool = True
    """A recovery has a row for the session of each tombstone."""
    strangers: bool = True
    """Sessions that only a late object tells of get a row."""
    swept: bool = True
    """Only of sessions that it has swept a catalog says that they were given up."""
    claim_first: bool = True
    """A deletion claims before anything goes."""
    stale: bool = True
    """Whoever lost the store deletes nothing."""


@dataclass
class Snap:
    """A snapshot's row."""

    session: SessionId
    state: str = "CREATING"
    manifest: str = ""
    maps: tuple[str, ...] = ()
    published: bool = False


@dataclass
class PackRow:
    session: SessionId
    object: str
    deleting: bool = False


@dataclass
class Rewriting:
    pack: PackId
    session: SessionId
    old: str
    new: str
    state: str = "WRITING"
    at: float = 0.0


@dataclass
class Rows:
    """A catalog."""

    claimant: Claimant
    epoch: int = 0
    held: bool = False
    sessions: dict[SessionId, Session] = field(default_factory=dict)
    snapshots: dict[SnapshotId, Snap] = field(default_factory=dict)
    packs: dict[PackId, PackRow] = field(default_factory=dict)
    rewritings: dict[str, Rewriting] = field(default_factory=dict)

    def living(self) -> dict[SnapshotId, Snap]:
        return {name: row for name, row in self.snapshots.items() if row.state in {"NORMAL", "DELETING"}}

    def normal(self) -> list[SnapshotId]:
        return [name for name, row in self.snapshots.items() if row.state == "NORMAL"]

    def note_deleted(self, session: SessionId, snapshot: SnapshotId | None, at: float) -> None:
        row = self.sessions[session]
        self.sessions[session] = replace(row, deleted_at=at, snapshot_id=row.snapshot_id or snapshot)

    def end(self, session: SessionId, state: SessionState, at: float) -> None:
        self.sessions[session] = replace(self.sessions[session], state=state, ended_at=at)


@dataclass
class Process:
    """A server on rows."""

    rows: Rows
    store: Store
    task: Task | None = None
    claimed: int = -1
    lost: bool = False
    known_at: float | None = None
    maps_at: float | None = None


class Unsteady:
    """A store between whose answers time passes."""

    def __init__(self, inner: MemoryStore, world: "World") -> None:
        self._inner = inner
        self._world = world

    def put(self, name: str, data: Parts) -> None:
        raw = b"".join(parts_of(data))
        self._ask(f"put {name}", lambda: self._inner.put(name, raw))

    def replace(self, name: str, data: Parts) -> None:
        raw = b"".join(parts_of(data))
        self._ask(f"replace {name}", lambda: self._inner.replace(name, raw))

    def delete(self, name: str) -> None:
        self._ask(f"delete {name}", lambda: self._inner.delete(name))

    def _ask(self, what: str, act: Callable[[], object]) -> None:
        world, luck = self._world, self._world.luck()
        if "/snapshots/" in what:
            luck /= RARE  # There are few of these requests, and much depends on each.
        if luck < world.faults / 3:
            raise UnavailableError(f"{what}: not done")
        if luck < world.faults * 2 / 3:
            world.later(act)
            raise UnavailableError(f"{what}: given up")
        act()
        world.changed()
        if luck < world.faults:
            raise UnavailableError(f"{what}: done, but the answer is lost")

    def get(self, name: str) -> bytes:
        self._read(name)
        return self._inner.get(name)

    def get_range(self, name: str, start: int, stop: int) -> bytes:
        self._read(name)
        return self._inner.get_range(name, start, stop)

    def size(self, name: str) -> int:
        self._read(name)
        return self._inner.size(name)

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        self._read(prefix)
        return iter([ObjectEntry(name=name, size_bytes=size) for name, size in self._world.listed(prefix)])

    def clock(self) -> StoreTime | None:
        return None

    def _read(self, name: str) -> None:
        if self._world.luck() < self._world.faults / 6:
            raise UnavailableError(f"{name}: no answer")


class World:
    """Everything: what the store has, which catalogs there are, and what people were told."""

    def __init__(self, seed: int, rules: Rules, *, faults: float, behind: bool) -> None:
        self.rng = random.Random(seed)
        self.rules = rules
        self.faults = faults
        self.behind = behind
        self.now = 0.0
        self.objects = MemoryStore()
        self.true = new_store(self.objects)
        self.late: list[tuple[float, int, Callable[[], object]]] = []
        self.moments: list[tuple[float, dict[str, int]]] = []
        """Names and sizes, by when they became so."""
        self.truth: dict[SnapshotId, bytes] = {}
        self.asked: set[SnapshotId] = set()
        """Of which the deletion has begun: they may go at any moment."""
        self.deleted: set[SnapshotId] = set()
        self.count = 0
        self.events: Counter[str] = Counter()
        self.backups: list[Rows] = []
        self.processes: list[Process] = []
        self.changed()
        self.begin(Rows(claimant=Claimant(owner="0" * 32)))

    # --- time, and the store ---

    def luck(self) -> float:
        return self.rng.random()

    def number(self) -> int:
        self.count += 1
        return self.count

    def later(self, act: Callable[[], object]) -> None:
        at = self.now + self.rng.choice((1.0, HOUR, LATE_SECONDS)) * self.rng.random()
        bisect.insort(self.late, (at, self.number(), act))

    def passes(self, seconds: float) -> None:
        """Let time pass, and happen what was given up."""
        end = self.now + seconds
        while self.late and self.late[0][0] <= end:
            self.now, _, act = self.late.pop(0)
            try:
                act()
            except IntegrityError:
                continue  # Something of that name is there: a conditional write does nothing.
            self.changed()
            self.events["landed late"] += 1
        self.now = end

    def changed(self) -> None:
        if self.behind:
            self.moments.append((self.now, {name: len(raw) for name, raw in self.objects.content().items()}))
            del self.moments[:-50]

    def listed(self, prefix: str) -> list[tuple[str, int]]:
        if self.behind and self.luck() < 0.1:
            since = self.rng.random() * BEHIND_SECONDS
            at = max(0, bisect.bisect_right([moment for moment, _ in self.moments], self.now - since) - 1)
            self.events["listing behind"] += 1
            found = self.moments[at][1]
            return sorted((name, size) for name, size in found.items() if name.startswith(prefix))
        return [(entry.name, entry.size_bytes) for entry in self.objects.list(prefix)]

    # --- catalogs ---

    def begin(self, rows: Rows) -> Process:
        objects = Retrying(inner=Unsteady(self.objects, self), attempts=3, pause=self.passes)
        process = Process(rows=rows, store=replace(self.true, objects=objects))
        process.task = self.start(process)
        self.processes.append(process)
        return process

    def end(self, process: Process) -> Rows:
        """The process dies; its rows stay."""
        if process.task is not None:
            process.task.close()
        self.processes.remove(process)
        return process.rows

    def start(self, process: Process) -> Task:
        rows, store = process.rows, process.store
        found = standing_at_start(store, rows.claimant, rows.epoch)
        yield
        unfinished = [
            (each.snapshot_id, each.id)
            for each in rows.sessions.values()
            if each.state in {SessionState.OPEN, SessionState.FENCED} and each.snapshot_id is not None
        ]
        if found is Standing.HELD and any(is_complete(store, *made) for made in unfinished):
            found = Standing.TAKEN
        if found is Standing.TAKEN:
            self.events["refused"] += 1
            yield from self.reconcile(process)
            return
        if found is not Standing.HELD:
            raise UnavailableError("its claim is not listed")
        self.settle(rows)
        rows.epoch += 1
        rows.claimant = rows.claimant.begun(f"{self.number():032x}", rows.epoch)
        yield
        self.publish(process)
        self.events["started"] += 1

    def settle(self, rows: Rows) -> None:
        """What was under way is given up."""
        for each in list(rows.sessions.values()):
            if each.state is SessionState.OPEN:
                rows.end(each.id, SessionState.FENCED, self.now)
        for name, row in list(rows.snapshots.items()):
            if row.state == "CREATING":
                del rows.snapshots[name]
        for rewriting in rows.rewritings.values():
            if rewriting.state == "WRITING":
                rewriting.state, rewriting.at = "ABANDONED", self.now

    def publish(self, process: Process) -> None:
        rows = process.rows
        if process.lost and self.rules.stale:
            raise StaleEpochError("it was lost")
        try:
            old = hold(process.store, rows.claimant, rows.epoch, held=process.claimed)
        except StaleEpochError:
            process.lost = True
            self.events["lost the store"] += 1
            if self.rules.stale:
                raise
            return
        process.claimed = rows.epoch
        rows.claimant = rows.claimant.seen()
        remove_claims(process.store, old)

    def advance(self, process: Process) -> None:
        if self.rules.claim_first:
            process.rows.epoch += 1
            self.publish(process)

    def may_delete(self, process: Process) -> bool:
        if process.rows.held:
            return False
        self.publish(process)
        return True

    # --- a snapshot ---

    def take(self, process: Process) -> Task:
        rows, store = process.rows, process.store
        if len(rows.normal()) >= SNAPSHOTS_MAX:
            return
        base_name = self.rng.choice([None, *rows.normal()])
        name, session = SnapshotId(f"snap-{self.number():08d}"), SessionId(hex128(self.rng))
        rows.sessions[session] = Session(id=session, kind="snapshot", created_at=self.now, snapshot_id=name)
        rows.snapshots[name] = Snap(session=session)
        yield
        try:
            base = None if base_name is None else SnapshotReader.open(store, rows.snapshots[base_name].manifest)
            content = bytearray(BLOCKS * BLOCK_BYTES if base is None else base.read(0, BLOCKS * BLOCK_BYTES))
            made = SnapshotWriter(store=store, session=session, rng=self.rng, base=base, threads=1)
            try:
                for block in sorted(self.rng.sample(range(BLOCKS), self.rng.randrange(1, 6))):
                    content[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = self.rng.randbytes(16) * 256
                    made.write(block, bytes(content[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]))
                written = made.finish()
            finally:
                made.abort()
            yield
            manifest = manifest_of(
                store, snapshot=name, session=session, written=written, size_bytes=len(content), base=base
            )
            # No step between: a process that stops here, while another takes the store, looks like one that runs.
            self.advance(process)
            self.put_manifest(process, *seal_manifest(store, manifest))
        except DrystoneError:
            if rows.sessions[session].state is SessionState.OPEN:
                rows.end(session, SessionState.FENCED, self.now)
            rows.snapshots.pop(name, None)
            raise
        rows.end(session, SessionState.COMMITTED, self.now)
        rows.snapshots[name] = Snap(
            session=session, state="NORMAL", manifest=store.manifest_name(name, session),
            maps=tuple(part.object for part in manifest.maps),
        )  # fmt: skip
        for pack in written.packs:
            rows.packs[pack.pack] = PackRow(session=session, object=pack.object)
        self.truth[name] = bytes(content)
        self.events["taken"] += 1

    def put_manifest(self, process: Process, name: str, sealed: bytes) -> None:
        """As the product: until it is there, claiming each time; here a few times."""
        for _ in range(2):
            try:
                put_manifest(process.store, name, sealed)
            except UnavailableError:
                self.advance(process)
            else:
                return
        put_manifest(process.store, name, sealed)

    def attributes(self, process: Process) -> Task:
        rows = process.rows
        waiting = [name for name in rows.normal() if not rows.snapshots[name].published]
        for name in waiting:
            if process.lost:
                return
            write_attributes(process.store, name, Attributes(name="x"), ACCOUNT)
            row = rows.snapshots.get(name)
            if row is None or row.state != "NORMAL":
                process.store.objects.delete(process.store.attributes_name(name))
            else:
                row.published = True
            yield

    # --- deletions ---

    def delete(self, process: Process) -> Task:
        rows = process.rows
        going = [name for name, row in rows.snapshots.items() if row.state == "DELETING"]
        if not going and rows.normal():
            going = [self.rng.choice(rows.normal())]
            rows.snapshots[going[0]].state = "DELETING"
        yield
        for name in going:
            if not self.may_delete(process):
                return
            # As in `take`: no step between.
            self.advance(process)
            row = rows.snapshots[name]
            self.asked.add(name)
            self.rules.delete_manifest(process.store, name, row.session)
            yield
            row.state, row.maps = "GHOST", ()
            rows.note_deleted(row.session, name, self.now)
            self.deleted.add(name)
            self.events["deleted"] += 1
        yield from self.collect(process)

    def stopped(self, process: Process) -> bool:
        """As `collection.stopped`."""
        rows, store = process.rows, process.store
        if not self.may_delete(process):
            return True
        if process.known_at is not None and self.now - process.known_at < LISTED_SECONDS:
            return False
        shelf = list_shelf(store)
        made = [entry.made for entry in shelf.manifests]
        found = self.rules.judge(made, shelf.tombstones, shelf.attributes, self.what_rows_say(rows))
        if found.late or found.undone or found.bare:
            self.advance(process)
        for one in sorted(found.late):
            self.rules.delete_manifest(store, *one)
            self.events["manifest came back"] += 1
        for name in sorted(found.bare):
            store.objects.delete(store.attributes_name(name))
        for one in sorted(found.undone):
            store.objects.delete(store.tombstone_name(*one))
            self.events["tombstone undone"] += 1
        self.adopt(rows, found.orphaned)
        process.known_at = None if found.unknown else self.now
        return bool(found.unknown)

    def what_rows_say(self, rows: Rows) -> Known:
        known = rows.sessions.values()
        return Known(
            living=frozenset((name, row.session) for name, row in rows.living().items()),
            deleting=frozenset((name, row.session) for name, row in rows.living().items() if row.state == "DELETING"),
            writing=frozenset(one.id for one in known if one.state in {SessionState.OPEN, SessionState.FENCED}),
            deleted=frozenset(
                (one.snapshot_id, one.id) for one in known if one.deleted_at is not None and one.snapshot_id
            ),
        )

    def adopt(self, rows: Rows, tombstones: frozenset[Made]) -> None:
        for snapshot, session in sorted(tombstones):
            if session not in rows.sessions:
                rows.sessions[session] = Session(
                    id=session, kind="adopted", state=SessionState.ADOPTED, created_at=self.now, ended_at=self.now
                )
            rows.note_deleted(session, snapshot, self.now)

    def collect(self, process: Process) -> Task:
        rows, store = process.rows, process.store
        if self.stopped(process):
            self.events["collection stopped"] += 1
            return
        living = Living.open(store, [row.manifest for row in rows.living().values()])
        normal = {row.session for row in rows.living().values()}
        for pack in rows.packs.values():
            if not pack.deleting and pack.session not in normal:
                # One that is not there cannot be judged: its row stays, and the others go.
                with contextlib.suppress(NotFoundError):
                    pack.deleting = not living.mask(open_pack(store, pack.object).index).any()
        yield
        doomed = [name for name, pack in rows.packs.items() if pack.deleting]
        if doomed:
            self.advance(process)
        for name in doomed:
            pack = rows.packs[name]
            mine = [row for row in rows.rewritings.values() if row.pack == name]
            for other in {pack.object, *(row.old for row in mine), *(row.new for row in mine)}:
                store.objects.delete(other)
            yield
            del rows.packs[name]
            if self.rules.touched:
                rows.note_deleted(pack.session, None, self.now)
            self.events["pack removed"] += 1
        written = {pack.session for pack in rows.packs.values()}
        for key, row in list(rows.snapshots.items()):
            if row.state == "GHOST" and row.session not in written:
                del rows.snapshots[key]
        yield from self.collect_maps(process)

    def collect_maps(self, process: Process) -> Task:
        rows, store = process.rows, process.store
        if process.maps_at is not None and self.now - process.maps_at < LISTED_SECONDS and self.luck() < 0.5:
            return
        listed = [entry.name for entry in store.objects.list(store.name("maps", ""))]
        yield
        if self.stopped(process):
            return
        process.maps_at = self.now
        named = {part for row in rows.living().values() for part in row.maps}
        gone = []
        for name in listed:
            writer = rows.sessions.get(SessionId(name.split("/")[-2]))
            in_force = writer is not None and writer.state in {SessionState.COMMITTED, SessionState.ADOPTED}
            if in_force and name not in named:
                gone.append(name)
        if gone:
            self.advance(process)
        for name in gone:
            store.objects.delete(name)
            yield
        if self.rules.strangers:
            self.adopt_unknown(process)

    def adopt_unknown(self, process: Process) -> None:
        """As `late_writes.adopt_unknown`: what only a late object tells of, or a writer that had lost the store."""
        rows = process.rows
        listing = list_objects(process.store)
        for session in listing.sessions - rows.sessions.keys():
            rows.sessions[session] = Session(
                id=session, kind="adopted", state=SessionState.ADOPTED, created_at=self.now, ended_at=self.now
            )
            self.events["session adopted"] += 1
        rewritten = {row.pack for row in rows.rewritings.values()}
        for ref, objects in listing.packs.items():
            writing = rows.sessions[ref.session].state in {SessionState.OPEN, SessionState.FENCED}
            if ref.pack not in rows.packs and ref.pack not in rewritten and not writing:
                with contextlib.suppress(NotFoundError):  # The listing is behind.
                    open_pack(process.store, min(objects))
                    rows.packs[ref.pack] = PackRow(session=ref.session, object=min(objects))
                    self.events["pack adopted"] += 1

    def compact(self, process: Process) -> Task:
        """Write a pack again of which something is dead."""
        rows, store = process.rows, process.store
        yield from self.delete_replaced(process)
        if self.stopped(process) or not rows.packs:
            return
        living = Living.open(store, [row.manifest for row in rows.living().values()])
        name = self.rng.choice(sorted(rows.packs))
        pack = rows.packs[name]
        opened = open_pack(store, pack.object)
        plan = compaction.plan_compaction(opened.index, living.mask(opened.index))
        if pack.deleting or plan.nothing_lives or not plan.blocks:
            return
        attempt = hex128(self.rng)
        row = Rewriting(
            pack=name, session=pack.session, old=pack.object, new=store.pack_name(pack.session, name, attempt)
        )
        rows.rewritings[attempt] = row
        yield
        try:
            compaction.rewrite_pack(store, opened, plan.dead, attempt, self.rng.randbytes(32))
            yield
        except DrystoneError:
            row.state, row.at = "ABANDONED", self.now
            raise
        if rows.packs.get(name) is not pack or pack.object != row.old:
            row.state, row.at = "ABANDONED", self.now
            return
        pack.object, row.state = row.new, "SWITCHED"
        self.events["compacted"] += 1
        yield
        yield from self.delete_replaced(process)

    def delete_replaced(self, process: Process) -> Task:
        rows = process.rows
        if not rows.rewritings or self.stopped(process):
            return
        for attempt, row in list(rows.rewritings.items()):
            if row.state != "WRITING":
                process.store.objects.delete(row.old if row.state == "SWITCHED" else row.new)
                if row.state == "SWITCHED" or self.now - row.at > ABANDONED_SECONDS:
                    del rows.rewritings[attempt]
            yield

    def sweep(self, process: Process) -> Task:
        rows, store = process.rows, process.store
        fenced = [one for one in rows.sessions.values() if one.state is SessionState.FENCED]
        if not fenced or not self.may_delete(process):
            return
        needed = {pack.session for pack in rows.packs.values()} | {row.session for row in rows.living().values()}
        needed |= {SessionId(part.split("/")[-2]) for row in rows.living().values() for part in row.maps}
        garbage = [one for one in fenced if one.id not in needed]
        for one in garbage:
            rows.note_deleted(one.id, None, self.now)
        shelves = sweep._shelves_of(store, garbage)
        yield
        for one in garbage:
            over = self.now - (one.ended_at or 0.0) > self.rules.kept_seconds
            if self.rules.buried_first and not over:
                self.rules.bury(store, one, shelves)
            sweep._sweep_one(store, one, shelves)
            if over:
                if self.rules.unbury(store, one):
                    del rows.sessions[one.id]
            elif not self.rules.buried_first:
                yield
                self.rules.bury(store, one, shelves)
            yield

    def forget(self, process: Process) -> Task:
        rows, store = process.rows, process.store
        before = self.now - self.rules.kept_seconds
        needed = {row.session for row in rows.rewritings.values()}
        if self.rules.needed:
            needed |= {SessionId(part.split("/")[-2]) for row in rows.living().values() for part in row.maps}

        def spent() -> list[Session]:
            used = {pack.session for pack in rows.packs.values()} | {row.session for row in rows.snapshots.values()}
            return [
                one for one in rows.sessions.values()
                if one.state in {SessionState.COMMITTED, SessionState.ADOPTED} and one.id not in used | needed
                and (one.ended_at or 0.0) < before and (one.deleted_at or 0.0) < before
            ]  # fmt: skip

        waiting = spent()
        if not waiting or self.stopped(process):
            return
        shelves = sweep._shelves_of(store, waiting)
        yield
        for one in waiting:
            if one.deleted_at is not None:
                sweep._sweep_one(store, one, shelves)
            elif shelves.manifests_of(one):
                continue
            if not list_session_objects(store, one.id) and self.rules.unbury(store, one):
                del rows.sessions[one.id]
            yield

    # --- from the store ---

    def reconcile(self, process: Process) -> Task:
        """Bring rows and store together again: in one step, for a person sees to it that nobody else does anything."""
        rows, store = process.rows, process.store
        if not rows.sessions:
            self.events["recovered"] += 1
        needed = {pack.session for pack in rows.packs.values()} | {row.session for row in rows.living().values()}
        given_up = {
            one.id for one in rows.sessions.values()
            if one.state is SessionState.FENCED and (one.deleted_at is not None or not self.rules.swept)
        } - needed  # fmt: skip
        found = self.rules.inventory(
            store, given_up=frozenset(given_up), in_force=frozenset(row.manifest for row in rows.living().values())
        )
        above = claimed_epoch(store)
        self.apply(rows, found, given_up)
        rows.epoch = max(rows.epoch, above) + 1
        rows.claimant = Claimant(
            owner=rows.claimant.owner, pending=(Incarnation(id=f"{self.number():032x}", first=rows.epoch),)
        )
        rows.held = True
        if {entry.object for entry in list_manifests(store)} != found.manifests:
            raise UnavailableError("the store changed while it was read")
        process.claimed, process.lost, process.known_at, process.maps_at = -1, False, None, None
        self.publish(process)
        self.events["reconciled"] += 1
        yield

    def apply(self, rows: Rows, found: Inventory, given_up: set[SessionId]) -> None:
        """As `recovery.reconcile`."""
        for one in list(rows.sessions.values()):
            if one.state is SessionState.OPEN:
                rows.end(one.id, SessionState.ADOPTED, self.now)
            elif one.state is SessionState.FENCED and (one.id in found.in_use or one.id not in given_up):
                rows.sessions[one.id] = replace(one, state=SessionState.ADOPTED, deleted_at=None)
        made = {one.manifest.session: one.manifest.snapshot for one in found.snapshots}
        for session in sorted(found.sessions - rows.sessions.keys()):
            rows.sessions[session] = Session(
                id=session, kind="adopted", state=SessionState.ADOPTED, created_at=self.now, ended_at=self.now,
                snapshot_id=made.get(session),
            )  # fmt: skip
        if self.rules.adopted:
            self.adopt(rows, found.tombstones)
        whole = {snapshot.manifest.snapshot: snapshot for snapshot in found.snapshots}
        for name, row in list(rows.snapshots.items()):
            there = whole.pop(name, None)
            if row.state == "GHOST":
                continue
            if there is not None:
                rows.snapshots[name] = Snap(
                    session=there.manifest.session, state="NORMAL" if row.state == "CREATING" else row.state,
                    manifest=there.object, maps=tuple(part.object for part in there.manifest.maps),
                )  # fmt: skip
            elif row.state == "CREATING":
                del rows.snapshots[name]
            elif row.manifest not in found.manifests or (name, row.session) in found.tombstones:
                row.state, row.maps = "GHOST", ()
        deleted = self.what_rows_say(rows).deleted
        for name, there in whole.items():
            if (name, there.manifest.session) not in deleted:
                rows.snapshots[name] = Snap(
                    session=there.manifest.session, state="NORMAL", manifest=there.object,
                    maps=tuple(part.object for part in there.manifest.maps),
                )  # fmt: skip
        fenced = {one.id for one in rows.sessions.values() if one.state is SessionState.FENCED}
        rows.rewritings.clear()
        rows.packs = {
            pack.ref.pack: PackRow(session=pack.ref.session, object=pack.object)
            for pack in found.packs
            if pack.ref.session not in fenced
        }

    # --- all of it ---

    def step(self) -> None:
        """One random thing."""
        self.passes(self.rng.choice((1.0, 1.0, 60.0, 600.0)))
        luck = self.luck()
        if luck < 0.02:
            self.passes(self.rng.choice((HOUR, DAY, 8 * DAY)))
        elif luck < 0.05 and self.processes:
            self.backups.append(copy.deepcopy(self.rng.choice(self.processes).rows))
            self.backups = self.backups[-3:]
        elif luck < 0.07 and self.processes:
            # A crash, or a restart.
            self.begin(self.end(self.rng.choice(self.processes)))
            self.events["crash"] += 1
        elif luck < 0.085 and self.backups and len(self.processes) < CATALOGS_MAX:
            # What was put back takes the place of what was there, or runs beside it.
            if self.luck() < 0.6:
                self.end(self.rng.choice(self.processes))
            self.begin(copy.deepcopy(self.rng.choice(self.backups)))
            self.events["put back"] += 1
        elif luck < 0.095:
            # The machine is gone, with all that it had.
            for process in self.processes[:]:
                if self.luck() < 0.8 or len(self.processes) >= CATALOGS_MAX:
                    self.end(process)
            self.recover()
        elif luck < 0.13:
            for process in self.processes:
                process.rows.held = False  # Somebody has confirmed.
        elif self.processes:
            self.go_on(self.rng.choice(self.processes))

    def recover(self) -> Process:
        process = self.begin(Rows(claimant=Claimant(owner=f"{self.number():032x}")))
        process.task = self.reconcile(process)
        return process

    def go_on(self, process: Process) -> None:
        if process.task is None:
            process.task = self.rng.choices(
                [self.take, self.delete, self.collect, self.compact, self.sweep, self.forget, self.attributes],
                weights=[6, 5, 3, 3, 2, 2, 3],
            )[0](process)
        self.advance_task(process)

    def advance_task(self, process: Process) -> None:
        assert process.task is not None
        try:
            next(process.task)
        except StopIteration:
            process.task = None
        except StaleEpochError:
            # It says so, and does nothing more until somebody starts it anew.
            process.task = self.start(process) if self.luck() < 0.1 else None
        except (UnavailableError, NotFoundError):
            self.events["tried again"] += 1
            begun = process.claimed >= 0 or process.lost
            rewritten = [row for row in process.rows.rewritings.values() if row.state == "WRITING"]
            for row in rewritten:
                row.state, row.at = "ABANDONED", self.now
            empty = not process.rows.sessions and not process.rows.claimant.known
            process.task = (
                None if begun else self.reconcile(process) if empty and self.count > 1 else self.start(process)
            )

    # --- what must hold ---

    def check(self, rows: Rows) -> None:
        """What people were told of is there; nothing changes meanwhile."""
        for name in sorted(self.truth.keys() - self.asked):
            row = rows.snapshots.get(name)
            if row is None or row.state not in {"NORMAL", "DELETING"}:
                raise ViolationError(f"{name} is lost: {'no row' if row is None else row.state}")
            try:
                shown = SnapshotReader.open(self.true, row.manifest).read(0, BLOCKS * BLOCK_BYTES)
            except DrystoneError as error:
                raise ViolationError(f"{name} cannot be read: {error}") from error
            if bytes(shown) != self.truth[name]:
                raise ViolationError(f"{name} shows other bytes")
        back = self.deleted & set(rows.normal())
        if back:
            raise ViolationError(f"{sorted(back)} were deleted and came back")

    def finish(self) -> None:
        """Whoever has the store, or begins last, has it calm: in the end nothing is left that nobody needs."""
        self.last_acts()
        if self.luck() < 0.5:
            self.passes(LATE_SECONDS * self.rng.random())
        self.faults, self.behind = 0.0, False
        chosen = self.rng.choice(("running", "put back", "empty"))
        for process in self.processes[1:] if chosen == "running" else self.processes[:]:
            self.end(process)
        if chosen == "put back" and self.backups:
            last = self.begin(self.rng.choice(self.backups))
        elif chosen == "running" and self.processes:
            last = self.begin(self.end(self.processes[0]))
        else:
            last = self.recover()
        while last.task is not None:
            self.advance_task(last)
            if last.lost:
                last.task = self.reconcile(last)  # What another has claimed landed just now.
        last.rows.held, last.known_at = False, None
        with contextlib.suppress(StaleEpochError):
            if self.stopped(last):
                self.look(last)  # It was brought up by a listing that was behind.
        self.check(last.rows)
        self.passes(LATE_SECONDS)
        try:
            self.publish(last)
        except StaleEpochError:
            # A claim that another gave up has landed: this one stops, and a person has a look.
            for _ in self.reconcile(last):
                pass
            last.rows.held = False
        for number in range(5):
            self.passes(self.rules.kept_seconds + DAY)
            last.known_at = last.maps_at = None
            for act in (self.delete_going, self.delete_replaced, self.collect, self.sweep, self.forget):
                for _ in act(last):
                    pass
            self.check(last.rows)
            if last.known_at is None:
                if number > 1:
                    raise ViolationError("an unknown manifest stays")
                self.look(last)
            if number > 1:
                self.nothing_left(last.rows)
        # Rows go a week after what they are of.
        used = {pack.session for pack in last.rows.packs.values()}
        used |= {row.session for row in last.rows.snapshots.values()}
        used |= {SessionId(part.split("/")[-2]) for row in last.rows.living().values() for part in row.maps}
        if last.rows.sessions.keys() - used:
            raise ViolationError(f"sessions stay for ever: {sorted(last.rows.sessions.keys() - used)}")

    def last_acts(self) -> None:
        """What is made and deleted right before the end, so that much of it may land after."""
        holding = [process for process in self.processes if process.claimed >= 0 and not process.lost]
        if not holding:
            return
        process = holding[0]
        self.backups.append(copy.deepcopy(process.rows))
        for act in (self.take, self.attributes, self.take, self.delete, self.delete, self.sweep, self.attributes):
            process.rows.held = False
            process.known_at = None
            with contextlib.suppress(StaleEpochError, UnavailableError, NotFoundError):
                for _ in act(process):
                    self.passes(1.0)

    def look(self, process: Process) -> None:
        """A person has a look at unknown manifests: takes those that are whole for snapshots, and discards the others.

        Such are of uploads that failed before their catalog was lost: their manifests landed after that (S56).
        """

        def unknown() -> frozenset[Made]:
            shelf, known = list_shelf(self.true), self.what_rows_say(process.rows)
            return judge([entry.made for entry in shelf.manifests], shelf.tombstones, (), known).unknown

        back = {name for name, _ in unknown()} & self.deleted
        if back:
            raise ViolationError(f"{sorted(back)} were deleted, and stop collection")
        for _ in self.reconcile(process):
            pass
        process.rows.held = False
        for made in unknown():
            if made[0] in self.truth.keys() - self.asked:
                raise ViolationError(f"{made[0]} is not whole any more")
            self.objects.delete(self.true.manifest_name(*made))
            self.events["discarded"] += 1

    def delete_going(self, process: Process) -> Task:
        if any(row.state == "DELETING" for row in process.rows.snapshots.values()):
            yield from self.delete(process)

    def nothing_left(self, rows: Rows) -> None:
        store = self.true
        needed = {part for row in rows.living().values() for part in (row.manifest, *row.maps)}
        alive = tuple(store.name("packs", pack.session, f"{name}.") for name, pack in rows.packs.items())
        # What is left of a deleted snapshot goes with the last that its session wrote.
        buried = {one.snapshot_id for one in rows.sessions.values() if one.deleted_at is not None and one.snapshot_id}
        needed |= {store.attributes_name(name) for name in rows.living().keys() | buried}
        needed |= {
            store.tombstone_name(one.snapshot_id, one.id)
            for one in rows.sessions.values()
            if one.deleted_at is not None and one.snapshot_id is not None
        }
        left = {
            entry.name
            for kind in ("packs", "maps", "snapshots")
            for entry in store.objects.list(store.name(kind, ""))
            if entry.name not in needed and not entry.name.startswith(alive)
        }
        if left:
            raise ViolationError(f"nobody will ever remove {sorted(left)}")


def run(seed: int, rules: Rules = Rules(), *, steps: int = 120) -> World:
    """Live one life.

    Raises:
        ViolationError: Something was lost, brought back, or left behind.
    """
    world = World(seed, rules, faults=(0.03, 0.12, 0.25)[seed % 3], behind=seed % 4 == 3)
    for _ in range(steps):
        world.step()
    world.finish()
    return world


# --- planted bugs ---------------------------------------------------------------------------------------------------


def _without_tombstone(store: Store, snapshot: SnapshotId, session: SessionId) -> None:
    store.objects.delete(store.manifest_name(snapshot, session))
    store.objects.delete(store.attributes_name(snapshot))


def _judge_by_rows(manifests: Any, _tombstones: Any, attributes: Any, known: Known) -> Judged:
    return judge(manifests, (), attributes, known)


def _judge_by_tombstones(manifests: Any, tombstones: Any, attributes: Any, known: Known) -> Judged:
    return judge(manifests, tombstones, attributes, replace(known, deleted=frozenset()))


def _undo_all(manifests: Any, tombstones: Any, attributes: Any, known: Known) -> Judged:
    return replace(judge(manifests, tombstones, attributes, known), undone=frozenset(tombstones))


def _no_orphans(*given: Any) -> Judged:
    return replace(judge(*given), orphaned=frozenset())


def _inventory_without_tombstones(store: Store, **given: Any) -> Inventory:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inventory, "list_shelf", lambda one: replace(list_shelf(one), tombstones=frozenset()))
        patched.setattr(inventory, "is_deleted", lambda *_given: False)
        return take_inventory(store, **given)


def _unbury_blindly(store: Store, session: Session) -> bool:
    made = sweep._made(session)
    if made is not None:
        store.objects.delete(store.tombstone_name(*made))
    return True


def _unbury_nothing(*_given: Any) -> bool:
    return True


PLANTED: Mapping[str, Rules] = {
    "a manifest is deleted without a tombstone": Rules(delete_manifest=_without_tombstone),
    "what came back is known by rows alone": Rules(judge=_judge_by_rows, adopted=False),
    "what came back is known by neither": Rules(judge=_judge_by_tombstones, delete_manifest=_without_tombstone),
    "every tombstone is taken for one of a living snapshot": Rules(judge=_undo_all),
    "tombstones that no row knows stay": Rules(judge=_no_orphans, adopted=False),
    "a recovery passes over tombstones": Rules(inventory=_inventory_without_tombstones),
    "a tombstone goes without a look": Rules(unbury=_unbury_blindly, kept_seconds=HOUR),
    "a tombstone never goes": Rules(unbury=_unbury_nothing),
    "a session's row goes after an hour": Rules(kept_seconds=HOUR),
    "what no row tells of is not looked for": Rules(strangers=False),
    "a deletion claims nothing": Rules(claim_first=False),
    "who lost the store goes on": Rules(stale=False),
    "maps that others list go with their session": Rules(needed=False),
}


def find(rules: Rules, seeds: Iterable[int]) -> tuple[int, str] | None:
    """Return the first seed that shows a planted bug, and what it shows."""
    for seed in seeds:
        try:
            run(seed, rules)
        except Exception as error:  # noqa: BLE001 - whatever it does to the store is a find
            return seed, f"{type(error).__name__}: {error}"
    return None

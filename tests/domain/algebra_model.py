"""A random model of disks, daemons, snapshots and a store in which only the algebra decides.

Disks are short lists of values. What a real system does over minutes is a generator that yields between its arrows,
so a crash of the control plane is a generator that is dropped, and one of a daemon takes bitmaps and frozen view with
it. After each step the invariants are checked against the truth, which the algebra never sees. `Rules` holds every
decision, so that a test can plant a mistake in exactly one.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace

from drystone.domain import lineage, settling, tracking
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.lineage import Node, NodeState, SessionState, Tree
from drystone.domain.settling import Bitmap, Flight, Phase, Verdict
from drystone.domain.tracking import Checkpoint, FileIdentity, FrozenBase, Tracking, TrackingState

ZERO = 0
BLOCKS_MAX = 14
DISKS_MAX = 3
SNAPSHOTS_MAX = 9
Task = Generator[None, None, None]


class ViolationError(Exception):
    """An invariant is broken; `kind` says which."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


def may_commit(session: SessionState, snapshot: NodeState) -> bool:
    """L6, A3: what `sessions.commit` and the row's change from CREATING decide in one transaction."""
    return session is SessionState.OPEN and snapshot is NodeState.CREATING


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Every decision of the model; the defaults are the algebra."""

    frozen: Callable[..., FrozenBase] = tracking.frozen
    committed: Callable[..., Tracking] = tracking.committed
    committed_late: Callable[..., Tracking] = tracking.committed_late
    records_still: Callable[..., bool] = tracking.records_still
    failed: Callable[..., Tracking] = tracking.failed
    base_deleted: Callable[..., Tracking] = tracking.base_deleted
    rescanned: Callable[..., Tracking | None] = tracking.rescanned
    opened: Callable[..., Tracking] = tracking.opened
    checkpoint_fault: Callable[..., str | None] = tracking.checkpoint_fault
    bitmap_name: Callable[..., str] = tracking.bitmap_name
    judge: Callable[..., settling.DaemonPlan] = settling.judge_daemon
    carry_merged: Callable[..., Tracking] = tracking.carry_merged
    path_maps: Callable[..., frozenset[str] | None] = lineage.path_delta_maps
    near: Callable[[Tree, SnapshotId], frozenset[SnapshotId]] = lineage.near
    prunable: Callable[..., frozenset[SnapshotId]] = lineage.prunable
    may_become_ghost: Callable[[Node], bool] = lineage.may_become_ghost
    may_commit: Callable[[SessionState, NodeState], bool] = may_commit
    parent: Callable[["World", "Disk", FrozenBase], SnapshotId | None] = lambda _world, _disk, freeze: freeze.base
    swap: tuple[str, ...] = ("add", "reopen", "disable")
    trim_keeps_carry: bool = True
    clear_at_commit: bool = False
    consume_checkpoint: bool = True
    dedup_anywhere: bool = False
    rollback_base_first: bool = False
    scan_before_bitmap: bool = False


@dataclass
class Snap:
    id: SnapshotId
    parent: SnapshotId | None
    session: int
    disk: DiskId
    state: NodeState = NodeState.CREATING
    delta: str | None = None
    refs: list[int] = field(default_factory=list)
    truth: list[int] = field(default_factory=list)

    def visible(self) -> frozenset[int]:
        return frozenset(ref for ref in self.refs if ref != ZERO)


@dataclass
class Session:
    reads: frozenset[SnapshotId]
    state: SessionState = SessionState.OPEN

    def fence(self) -> None:
        if self.state is SessionState.OPEN:
            self.state = SessionState.FENCED


@dataclass
class Marks:
    mask: int = 0
    recording: bool = True


@dataclass
class View:
    snapshot: SnapshotId
    data: list[int]
    trimmed: int = 0


@dataclass
class Daemon:
    bitmaps: dict[str, Marks] = field(default_factory=dict)
    exported: bool = False
    view: View | None = None


@dataclass
class Op:
    snapshot: SnapshotId
    session: int
    freeze: FrozenBase
    phase: Phase = Phase.FREEZING
    new_is_good: bool = True
    spooled: tuple[list[int], str, list[int]] | None = None
    """Its blocks, its delta map and what it shows, once nothing of the view is needed any more."""


@dataclass
class Rollback:
    target: SnapshotId
    plan: int
    session: int


@dataclass
class Disk:
    id: DiskId
    data: list[int]
    row: Tracking
    daemon: Daemon | None = None
    checkpoint: tuple[Checkpoint, int] | None = None
    writes: int = 0
    op: Op | None = None
    rollback: Rollback | None = None
    unread: int = 0
    source: SnapshotId | None = None
    hydration: int = 0
    task: Task | None = None
    task_session: int = 0
    judged: bool = True
    stale: bool = False
    old_row: Tracking | None = None
    pending: set[str] = field(default_factory=set)

    def identity(self) -> FileIdentity:
        return FileIdentity(device=1, inode=1, size=len(self.data), mtime_ns=self.writes, ctime_ns=self.writes)


class World:
    """Everything that exists; `step` does one random thing and checks."""

    def __init__(self, seed: int, rules: Rules, *, leaks: bool = True) -> None:
        self.rng = random.Random(seed)
        self.rules = rules
        self.leaks = leaks
        self.disks: dict[DiskId, Disk] = {}
        self.snaps: dict[SnapshotId, Snap] = {}
        self.sessions: dict[int, Session] = {}
        self.store: dict[int, tuple[int, int]] = {}
        self.maps: dict[str, int] = {}
        self.count = 0
        self.trace: list[str] = []
        self.events: Counter[str] = Counter()
        self.readers: dict[int, SnapshotId] = {}
        self.create_disk(self.rng.randint(8, BLOCKS_MAX))

    # --- small things ---

    def number(self) -> int:
        self.count += 1
        return self.count

    def tree(self) -> Tree:
        pinned = {
            read for session in self.sessions.values() if session.state is SessionState.OPEN for read in session.reads
        }
        return lineage.build(
            Node(id=snap.id, parent=snap.parent, state=snap.state, pinned=snap.id in pinned, delta_map=snap.delta)
            for snap in self.snaps.values()
        )

    def normal(self) -> list[SnapshotId]:
        return [snap.id for snap in self.snaps.values() if snap.state is NodeState.NORMAL]

    def open_session(self, *reads: SnapshotId | None) -> int:
        named = frozenset(read for read in reads if read is not None)
        if any(self.snaps[read].state is not NodeState.NORMAL for read in named):
            raise ViolationError("base", f"a session wants to read one of {sorted(named)}, which are not all NORMAL")
        number = self.number()
        self.sessions[number] = Session(reads=named)
        return number

    def carried(self, names: frozenset[str], why: str) -> int:
        mask = 0
        for name in names:
            if name not in self.maps:
                raise ViolationError("map", f"{name} is gone but {why} carries it")
            mask |= self.maps[name]
        return mask

    def fetch(self, ref: int, why: str) -> int:
        if ref == ZERO:
            return 0
        if ref not in self.store:
            raise ViolationError("restore", f"block {ref} is gone but {why} reads it")
        return self.store[ref][0]

    def new_map(self, prefix: str, mask: int) -> str:
        name = f"{prefix}{self.number()}"
        self.maps[name] = mask
        return name

    def create_disk(self, blocks: int, source: SnapshotId | None = None) -> Disk:
        truth = self.snaps[source].truth if source else []
        disk = Disk(
            id=DiskId(f"d{self.number()}"),
            data=truth + [0] * (blocks - len(truth)),
            row=tracking.created(source),
            source=source,
            unread=(1 << len(truth)) - 1,
        )
        if source:
            disk.hydration = self.open_session(source)
        disk.checkpoint = (self.checkpoint(disk, 0, None), 0)
        self.disks[disk.id] = disk
        return disk

    def checkpoint(self, disk: Disk, epoch: int, extents: str | None) -> Checkpoint:
        return Checkpoint(
            format=tracking.CHECKPOINT_FORMAT, disk=disk.id, epoch=epoch, identity=disk.identity(), extents=extents
        )

    def runs(self, disk: Disk) -> bool:
        """Ask anew: it may have died since the last yield."""
        return disk.daemon is not None

    # --- invariants ---

    def check(self) -> None:
        for disk in self.disks.values():
            row = disk.row
            if disk.stale:
                continue
            if row.base is not None and self.snaps[row.base].state is not NodeState.NORMAL:
                raise ViolationError("base", f"{disk.id} is based on {row.base}, which is not NORMAL")
            if row.state is TrackingState.LOST:
                continue
            marked = self.carried(row.carry, f"the row of {disk.id}")
            if row.state is TrackingState.STOPPED:
                if disk.checkpoint is None or tracking.checkpoint_fault(
                    row, disk.id, disk.checkpoint[0], disk.identity()
                ):
                    continue
                marked |= disk.checkpoint[1]
            elif disk.daemon is None:
                continue
            else:
                owned = disk.op.freeze.old_bitmap if disk.op and disk.op.phase is Phase.COMMITTED else None
                for name, bitmap in disk.daemon.bitmaps.items():
                    marked |= 0 if name == owned else bitmap.mask
            truth = self.snaps[row.base].truth if row.base else []
            for address, value in enumerate(disk.data):
                same = value == (truth[address] if address < len(truth) else 0)
                if not same and not marked >> address & 1:
                    raise ViolationError("A1", f"{disk.id} differs from {row.base} at {address}, which is not marked")

    def check_snapshots(self) -> None:
        for snap in self.snaps.values():
            if snap.state is NodeState.NORMAL or snap.state is NodeState.DELETING:
                content = [self.fetch(ref, f"{snap.state} {snap.id}") for ref in snap.refs]
                if content != snap.truth:
                    raise ViolationError("restore", f"{snap.id} shows {content}, was {snap.truth}")

    # --- what guests, people and bad luck do ---

    def guest_write(self, disk: Disk) -> None:
        if disk.daemon is None or not disk.daemon.exported:
            return
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            address = self.rng.randrange(len(disk.data))
            disk.data[address] = self.rng.choice((0, 1, 2, 3, 4))
            disk.unread &= ~(1 << address)
            disk.writes += 1
            for bitmap in disk.daemon.bitmaps.values():
                bitmap.mask |= (1 << address) if bitmap.recording else 0

    def write_behind_back(self, disk: Disk) -> None:
        if disk.daemon is None and disk.task is None and disk.rollback is None:
            disk.data[self.rng.randrange(len(disk.data))] = self.rng.choice((1, 2, 3, 4))
            disk.unread = 0
            disk.writes += 1

    def daemon_crash(self, disk: Disk) -> None:
        disk.daemon = None
        if disk.op is None or self.rng.random() < 0.7:
            self.forget(disk)

    def forget(self, disk: Disk) -> None:
        """The control plane's memory of what it does to this disk is gone."""
        disk.task = None
        disk.pending.clear()
        disk.judged = False
        if disk.task_session:
            self.sessions[disk.task_session].fence()
            disk.task_session = 0

    def control_crash(self, _disk: Disk) -> None:
        for disk in self.disks.values():
            self.forget(disk)

    def power_cut(self, _disk: Disk) -> None:
        for disk in self.disks.values():
            disk.daemon = None
            self.forget(disk)

    def lie(self, disk: Disk) -> None:
        """The audit finds that a bitmap had lost a bit: tracking is LOST (A12)."""
        if disk.daemon is None or disk.row.state is not TrackingState.LIVE or (disk.task is not None and not disk.op):
            return
        name = disk.op.freeze.new_bitmap if disk.op else disk.row.bitmap
        marks = disk.daemon.bitmaps.get(name or "")
        if marks is None or not marks.recording or not marks.mask or (disk.op and disk.op.phase is not Phase.FROZEN):
            return
        marks.mask &= marks.mask - 1
        disk.row = tracking.lost(disk.row)
        self.events["lie found"] += 1
        if disk.op:
            disk.op.new_is_good = False
        else:
            disk.judged = False

    def old_backup(self, disk: Disk) -> None:
        """The catalog comes back from a backup: the row, once, is an old one (F5)."""
        if disk.task or disk.op or disk.rollback or not disk.judged:
            return
        if disk.old_row is None:
            disk.old_row = disk.row
            return
        row = disk.old_row
        gone = row.base is not None and (
            row.base not in self.snaps or self.snaps[row.base].state is not NodeState.NORMAL
        )
        if not disk.stale and not gone and all(name in self.maps for name in row.carry) and row != disk.row:
            disk.row, disk.old_row, disk.judged, disk.stale = row, None, False, True
            self.events["old row came back"] += 1

    def resize(self, disk: Disk) -> None:
        if disk.task is None and disk.judged and not disk.rollback and disk.daemon and len(disk.data) < BLOCKS_MAX:
            disk.data.append(0)

    def hydrate(self, disk: Disk) -> None:
        if not disk.hydration:
            return
        assert disk.source is not None
        for address in [a for a in range(len(disk.data)) if disk.unread >> a & 1][:4]:
            value = self.fetch(self.snaps[disk.source].refs[address], f"hydrating {disk.id}")
            if value != disk.data[address]:
                raise ViolationError("restore", f"{disk.id} hydrates {value} at {address}, not {disk.data[address]}")
            disk.unread &= ~(1 << address)
        if not disk.unread:
            self.sessions[disk.hydration].state = SessionState.COMMITTED
            disk.hydration = 0
            self.events["hydrated"] += 1

    def read_out(self, _disk: Disk) -> None:
        """A reader opens on a snapshot, or an open one reads all of it and ends."""
        if self.readers and self.rng.random() < 0.6:
            number = self.rng.choice(sorted(self.readers))
            snap = self.snaps[self.readers.pop(number)]
            if [self.fetch(ref, f"a reader of {snap.id}") for ref in snap.refs] != snap.truth:
                raise ViolationError("restore", f"a reader of {snap.id} reads other bytes")
            self.sessions[number].state = SessionState.COMMITTED
            self.events["read a deleted snapshot" if snap.state is NodeState.DELETING else "read"] += 1
        elif self.normal():
            snapshot = self.rng.choice(self.normal())
            self.readers[self.open_session(snapshot)] = snapshot

    def clone(self, _disk: Disk) -> None:
        if len(self.disks) < DISKS_MAX and self.normal():
            source = self.rng.choice(self.normal())
            self.create_disk(self.rng.randint(len(self.snaps[source].truth), BLOCKS_MAX), source)

    def terminate(self, disk: Disk) -> None:
        if len(self.disks) > 1 and disk.op is None and disk.rollback is None and disk.task is None:
            if disk.hydration:
                self.sessions[disk.hydration].state = SessionState.COMMITTED
            del self.disks[disk.id]

    def fence(self, disk: Disk) -> None:
        if disk.op:
            self.sessions[disk.op.session].fence()

    # --- deletion and collection ---

    def delete(self, _disk: Disk) -> None:
        if not self.normal():
            return
        deleted = self.rng.choice(self.normal())
        self.snaps[deleted].state = NodeState.DELETING
        move = lineage.base_after(self.tree(), deleted)
        for disk in self.disks.values():
            if disk.row.base == deleted:
                disk.row = self.rules.base_deleted(disk.row, deleted, move.base, move.delta_maps)
                self.events["base moved"] += 1
                self.events["base moved during a snapshot"] += disk.op is not None

    def become_ghost(self, _disk: Disk) -> None:
        tree = self.tree()
        ready = [node.id for node in tree.nodes.values() if self.rules.may_become_ghost(node)]
        if not ready:
            return
        snapshot = self.rng.choice(ready)
        snap = self.snaps[snapshot]
        around = self.rules.near(tree, snapshot)
        dead = snap.visible().difference(*(self.snaps[other].visible() for other in around))
        candidates = lineage.candidate_maps(tree, snapshot, around)
        if self.leaks and candidates is not None:
            mask = self.carried(candidates, f"the tree, for {snapshot},")
            if any(ref in dead and not mask >> address & 1 for address, ref in enumerate(snap.refs)):
                raise ViolationError("candidates", f"a block of {snapshot} dies outside of {sorted(candidates)}")
        snap.state = NodeState.GHOST
        self.events["became a ghost"] += 1
        self.events["had near nodes"] += bool(around)
        self.events["had dead blocks"] += bool(dead)
        for ref in dead:
            self.store.pop(ref, None)
        self.check_snapshots()
        if self.leaks:
            self.check_leaks()

    def check_leaks(self) -> None:
        shown = {
            ref
            for snap in self.snaps.values()
            if snap.state is NodeState.NORMAL or snap.state is NodeState.DELETING
            for ref in snap.visible()
        }
        for ref, (_, session) in self.store.items():
            if self.sessions[session].state is SessionState.COMMITTED and ref not in shown:
                raise ViolationError("leak", f"nobody shows block {ref}, and it was never counted dead")

    def collect(self, _disk: Disk) -> None:
        """Prune ghosts, and delete maps that nothing names and blocks of sessions that failed."""
        kept = {disk.row.base for disk in self.disks.values() if disk.row.base}
        for snapshot in self.rules.prunable(self.tree(), frozenset(kept)):
            del self.snaps[snapshot]
            self.events["pruned"] += 1
        named = {snap.delta for snap in self.snaps.values()}
        for disk in self.disks.values():
            named |= disk.row.carry | disk.pending
            if disk.op:
                named |= disk.op.freeze.carry
                named |= {disk.op.spooled[1]} if disk.op.spooled else set()
            if disk.checkpoint:
                named.add(disk.checkpoint[0].extents)
        for name in [name for name in self.maps if name not in named]:
            del self.maps[name]
        fenced = [r for r, (_, s) in self.store.items() if self.sessions[s].state is SessionState.FENCED]
        for ref in fenced:
            del self.store[ref]

    def merge_carry(self, disk: Disk) -> None:
        parts = tracking.carry_to_merge(disk.row.carry)
        if parts:
            name = self.new_map("extents:", self.carried(frozenset(parts), "a merge"))
            disk.row = self.rules.carry_merged(disk.row, parts, name)
            self.events["carry-over merged"] += 1

    # --- what the control plane does, arrow by arrow ---

    def snapshot_task(self, disk: Disk) -> Task:
        row = disk.row
        snapshot = SnapshotId(f"s{self.number()}")
        session = self.open_session(row.base)
        freeze = self.rules.frozen(row, new_bitmap=self.rules.bitmap_name(row.epoch, row.base, snapshot))
        parent = self.rules.parent(self, disk, freeze)
        self.snaps[snapshot] = Snap(id=snapshot, parent=parent, session=session, disk=disk.id)
        disk.op = op = Op(snapshot=snapshot, session=session, freeze=freeze)
        yield
        for arrow in self.rules.swap:
            if disk.daemon is None:
                return
            bitmaps = disk.daemon.bitmaps
            if arrow == "add":
                bitmaps[freeze.new_bitmap] = Marks()
            elif arrow == "reopen":
                disk.daemon.view = View(snapshot=snapshot, data=list(disk.data))
            elif freeze.old_bitmap is not None:
                bitmaps[freeze.old_bitmap].recording = False
            yield
        op.phase = Phase.FROZEN
        yield
        yield from self.upload(disk, op)

    def upload(self, disk: Disk, op: Op) -> Task:
        freeze = op.freeze
        base = self.snaps[freeze.base] if freeze.base else None
        if disk.daemon is None or disk.daemon.view is None:
            return
        view = disk.daemon.view
        blocks = len(view.data)
        bits = disk.daemon.bitmaps[freeze.old_bitmap].mask if freeze.old_bitmap and not freeze.lost else 0
        wanted = (1 << blocks) - 1 if freeze.lost else self.carried(freeze.carry, "an operation") | bits
        if not freeze.lost:
            view.trimmed = ~(wanted if self.rules.trim_keeps_carry else bits)
        refs = (base.refs if base else []) + [ZERO] * (blocks - len(base.refs) if base else blocks)
        delta = 0
        for address in range(blocks):
            if address in (0, blocks // 2):
                yield
                if not self.runs(disk):
                    return
                # What it reads is pinned by its session alone; an attempt with a fenced one is not begun.
                if self.rng.random() < 0.04 or self.sessions[op.session].state is not SessionState.OPEN:
                    yield from self.fail(disk, op)
                    return
            if not wanted >> address & 1:
                continue
            value = 0 if view.trimmed >> address & 1 else view.data[address]
            if freeze.lost and self.fetch(refs[address], f"a rescan against {freeze.base}") == value:
                continue
            delta |= 1 << address
            refs[address] = self.put(op.session, address, value)
        name = self.new_map("delta:", delta)
        disk.pending.add(name)
        yield
        op.spooled = refs, name, view.data
        if self.rng.random() < 0.5:
            op.phase = Phase.SPOOLED
            yield
            yield from self.take_over(disk)
        else:
            yield from self.commit(disk, op)

    def send(self, disk: Disk, op: Op) -> Task:
        """The view is gone; the disk may be closed and opened meanwhile."""
        while self.rng.random() < 0.8:
            yield
            if self.rng.random() < 0.05:
                yield from self.fail(disk, op)
                return
            if disk.daemon is None or not disk.daemon.exported:
                yield from self.start_task(disk)
            elif disk.row.state is TrackingState.LOST and disk.row.bitmap and self.rng.random() < 0.5:
                yield from self.rescan_task(disk)
            elif self.rng.random() < 0.1:
                yield from self.stop_task(disk)
        yield from self.commit(disk, op)

    def commit(self, disk: Disk, op: Op) -> Task:
        freeze, snap = op.freeze, self.snaps[op.snapshot]
        assert op.spooled is not None
        refs, name, truth = op.spooled
        base = self.snaps[freeze.base] if freeze.base else None
        in_force = self.rules.may_commit(self.sessions[op.session].state, snap.state)
        if not in_force or (op.phase is Phase.FROZEN and not tracking.may_commit(disk.row, freeze)):
            yield from self.fail(disk, op)
            return
        if op.phase is Phase.FROZEN or self.rules.records_still(disk.row, freeze):
            disk.row = self.rules.committed(disk.row, freeze, op.snapshot, live=op.new_is_good)
        else:
            self.events["committed late"] += 1
            self.events["committed late, the base moved"] += disk.row.base != freeze.base
            disk.row = self.rules.committed_late(disk.row, freeze, op.snapshot, name)
        snap.state, snap.refs, snap.delta, snap.truth = NodeState.NORMAL, refs, name, truth
        self.sessions[op.session].state = SessionState.COMMITTED
        op.phase = Phase.COMMITTED
        self.events["rescan committed" if freeze.lost else "delta committed"] += 1
        self.events["committed after its base was deleted"] += bool(base and base.state is not NodeState.NORMAL)
        self.events["delta with carry-over committed"] += bool(freeze.carry)
        self.events["committed and still LOST"] += disk.row.state is TrackingState.LOST
        # What an interrupted attempt of the same session had put is listed nowhere (L7).
        for ref in [r for r, (_, s) in self.store.items() if s == op.session and r not in refs]:
            del self.store[ref]
        disk.pending.discard(name)
        if self.rules.clear_at_commit and disk.daemon is not None:
            disk.daemon.bitmaps[freeze.new_bitmap].mask = 0
        self.check_snapshots()
        yield
        yield from self.take_over(disk)

    def put(self, session: int, address: int, value: int) -> int:
        if value == 0:
            return ZERO
        if self.rules.dedup_anywhere:
            for snap in self.snaps.values():
                if snap.state is NodeState.NORMAL and address < len(snap.refs) and snap.truth[address] == value:
                    return snap.refs[address]
        ref = self.number()
        self.store[ref] = (value, session)
        return ref

    def fail(self, disk: Disk, op: Op) -> Task:
        self.record_failing(op)
        yield
        yield from self.take_over(disk)

    def record_failing(self, op: Op) -> None:
        op.phase = Phase.FAILING
        self.sessions[op.session].fence()

    def take_over(self, disk: Disk) -> Task:
        if disk.rollback:
            yield from self.run_rollback(disk, disk.rollback)
            return
        while True:
            op, daemon = disk.op, disk.daemon
            found = (
                None
                if daemon is None
                else {name: Bitmap(recording=marks.recording) for name, marks in daemon.bitmaps.items()}
            )
            view = (
                op is not None
                and daemon is not None
                and daemon.view is not None
                and daemon.view.snapshot == op.snapshot
            )
            plan = self.rules.judge(
                disk.row, found, Flight(freeze=op.freeze, phase=op.phase) if op else None, view=view
            )
            if plan.verdict is not Verdict.FAIL:
                break
            assert op is not None
            self.record_failing(op)
            if plan.lost:
                disk.row = tracking.lost(disk.row, plan.bitmap)
            yield
        bitmap = plan.bitmap
        self.events[f"verdict {plan.verdict}"] += 1
        self.events["merged back"] += plan.merge is not None
        self.events["judged lost"] += plan.lost is not None
        if daemon is not None:
            for name in plan.disable:
                daemon.bitmaps[name].recording = False
                yield
            if plan.merge:
                target, source = plan.merge
                daemon.bitmaps[target].mask |= daemon.bitmaps.pop(source).mask
                yield
            for name in plan.remove:
                del daemon.bitmaps[name]
                yield
            if plan.verdict is not Verdict.RESUME:
                daemon.view = None
            if bitmap is None:
                bitmap = f"new{self.number()}"
                daemon.bitmaps[bitmap] = Marks()
                yield
            if disk.daemon is not daemon:
                return
        if plan.verdict is Verdict.RESUME or (daemon is None and disk.row.state is not TrackingState.LIVE):
            pass
        elif plan.lost or disk.row.state is TrackingState.LOST:
            disk.row = tracking.lost(disk.row, bitmap)
        elif plan.verdict is Verdict.FAILED:
            disk.row = self.rules.failed(disk.row, bitmap)
        disk.judged, disk.stale = True, False
        if plan.verdict is Verdict.FAILED:
            assert op is not None
            self.record_failing(op)
            del self.snaps[op.snapshot]
        if plan.verdict is Verdict.FAILED or plan.verdict is Verdict.CLEAN:
            disk.op = None
        if daemon is not None:
            daemon.exported = True
        yield
        if plan.verdict is Verdict.RESUME and op is not None:
            op.phase = Phase.FROZEN
            yield
            yield from self.upload(disk, op)
        if plan.verdict is Verdict.SEND and op is not None:
            self.events["sent from the spool"] += 1
            yield
            yield from self.send(disk, op)

    def start_task(self, disk: Disk) -> Task:
        checkpoint, mask = disk.checkpoint or (None, 0)
        fault = self.rules.checkpoint_fault(disk.row, disk.id, checkpoint, disk.identity())
        accepted = checkpoint if fault is None else None
        if accepted is not None and accepted.extents is not None:
            self.maps[accepted.extents] = mask
            disk.pending.add(accepted.extents)
        if self.rules.consume_checkpoint:
            disk.checkpoint = None
        self.events["checkpoint accepted" if accepted else "checkpoint refused"] += 1
        self.events["started after an unnoticed crash"] += disk.row.state is TrackingState.LIVE
        yield
        name = self.rules.bitmap_name(disk.row.epoch + 1, disk.row.base)
        disk.row = self.rules.opened(disk.row, accepted, bitmap=name)
        self.merge_carry(disk)
        yield
        daemon = disk.daemon = Daemon()
        yield
        daemon.bitmaps[name] = Marks()
        yield
        if self.runs(disk):
            daemon.exported, disk.judged, disk.stale = True, True, False

    def stop_task(self, disk: Disk) -> Task:
        daemon = disk.daemon
        assert daemon is not None
        daemon.exported = False
        yield
        mask = 0
        for marks in daemon.bitmaps.values():
            mask |= marks.mask
        name = self.new_map("extents:", mask) if mask else None
        disk.pending |= {name} if name else set()
        yield
        if disk.daemon is not daemon:
            return
        disk.daemon = None
        yield
        if disk.row.state is TrackingState.LIVE:
            disk.checkpoint = (self.checkpoint(disk, disk.row.epoch, name), mask)
        yield
        disk.row = tracking.stopped(disk.row)
        self.events["stopped"] += 1

    def rescan_task(self, disk: Disk) -> Task:
        row = disk.row
        assert row.bitmap is not None
        session = self.open_session(row.base)
        disk.task_session = session
        differs = 0
        for address in range(len(disk.data)):
            if address in (0, len(disk.data) // 2):
                yield
            refs = self.snaps[row.base].refs if row.base else []
            ref = refs[address] if address < len(refs) else ZERO
            if self.fetch(ref, f"a rescan against {row.base}") != disk.data[address]:
                differs |= 1 << address
        name = self.new_map("extents:", differs)
        disk.pending.add(name)
        yield
        bitmap = row.bitmap
        if self.rules.scan_before_bitmap and disk.daemon is not None and disk.row == row:
            bitmap = f"late{self.number()}"
            disk.daemon.bitmaps = {bitmap: Marks()}
            disk.row = replace(disk.row, bitmap=bitmap)
        healed = self.rules.rescanned(disk.row, base=row.base, bitmap=bitmap, extents=name)
        self.events["healed in place" if healed else "comparison in vain"] += 1
        disk.row = disk.row if healed is None else healed
        self.sessions[session].state = SessionState.COMMITTED
        disk.task_session = 0

    def rollback_task(self, disk: Disk, target: SnapshotId) -> Task:
        row = disk.row
        plan = (1 << len(disk.data)) - 1
        path = self.rules.path_maps(self.tree(), row.base, target)
        checkpoint, mask = disk.checkpoint or (None, 0)
        fault = self.rules.checkpoint_fault(row, disk.id, checkpoint, disk.identity())
        if path is not None and fault is None:
            plan = mask | self.carried(row.carry | path, "a rollback")
        session = self.open_session(row.base, target)
        disk.rollback = Rollback(target=target, plan=plan, session=session)
        disk.row = tracking.rollback_begun(row)
        yield
        if self.rules.rollback_base_first:
            disk.row = tracking.initialized(disk.row, target)
            disk.checkpoint = (self.checkpoint(disk, disk.row.epoch, None), 0)
        yield from self.run_rollback(disk, disk.rollback)

    def run_rollback(self, disk: Disk, rollback: Rollback) -> Task:
        snap = self.snaps[rollback.target]
        for address in range(len(disk.data)):
            if not rollback.plan >> address & 1:
                continue
            ref = snap.refs[address] if address < len(snap.refs) else ZERO
            value = self.fetch(ref, f"a rollback to {snap.id}")
            if disk.data[address] != value:
                disk.data[address] = value
                disk.unread &= ~(1 << address)
                if not self.rules.rollback_base_first:
                    disk.writes += 1
                yield
        disk.checkpoint = (self.checkpoint(disk, disk.row.epoch + 1, None), 0)
        yield
        disk.row = tracking.initialized(disk.row, rollback.target)
        self.events["rolled back"] += 1
        if snap.state is not NodeState.NORMAL:
            self.events["rolled back to a deleted target"] += 1
            move = lineage.base_after(self.tree(), snap.id)
            disk.row = self.rules.base_deleted(disk.row, snap.id, move.base, move.delta_maps)
        self.sessions[rollback.session].state = SessionState.COMMITTED
        disk.rollback, disk.judged, disk.stale = None, True, False

    # --- choosing ---

    def new_task(self, disk: Disk) -> Task | None:
        """Return something that the control plane may do to an idle disk now."""
        if not disk.judged and (disk.op or disk.rollback or disk.daemon or disk.stale or self.rng.random() < 0.5):
            return self.take_over(disk)
        choice = self.rng.random()
        if disk.daemon is None:
            fitting = [s for s in self.normal() if len(self.snaps[s].truth) <= len(disk.data)]
            if fitting and choice < 0.45 and disk.row.bitmap is None and not disk.hydration:
                return self.rollback_task(disk, self.rng.choice(fitting))
            return self.start_task(disk)
        if disk.row.state is TrackingState.LOST and disk.row.bitmap and choice < 0.3:
            return self.rescan_task(disk)
        if choice < 0.7:
            return self.snapshot_task(disk) if len(self.snaps) < SNAPSHOTS_MAX else None
        return self.stop_task(disk)

    def advance(self, disk: Disk) -> None:
        if disk.task is None:
            disk.task = self.new_task(disk)
            if disk.task is None:
                return
        try:
            next(disk.task)
        except StopIteration:
            disk.task = None
            disk.pending.clear()
            disk.judged = disk.judged and disk.op is None and disk.rollback is None

    WEIGHTS = (
        ("advance", 60),
        ("guest_write", 12),
        ("delete", 2.2),
        ("become_ghost", 4),
        ("collect", 1.5),
        ("clone", 2),
        ("hydrate", 4),
        ("read_out", 3),
        ("merge_carry", 2),
        ("daemon_crash", 0.5),
        ("control_crash", 0.7),
        ("power_cut", 0.1),
        ("fence", 0.4),
        ("lie", 0.3),
        ("write_behind_back", 0.4),
        ("old_backup", 2),
        ("resize", 1),
        ("terminate", 0.4),
    )
    NAMES = tuple(name for name, _ in WEIGHTS)
    CUMULATED = tuple(itertools.accumulate(weight for _, weight in WEIGHTS))

    def step(self) -> None:
        name = self.rng.choices(self.NAMES, cum_weights=self.CUMULATED)[0]
        disk = self.rng.choice(list(self.disks.values()))
        self.act(name, disk)

    def act(self, name: str, disk: Disk) -> None:
        self.trace.append(f"{name} {disk.id}")
        getattr(self, name)(disk)
        self.check()

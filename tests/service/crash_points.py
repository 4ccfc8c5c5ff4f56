"""Every cut of every operation on the store: `python -m tests.service.crash_points`.

Each script is a short run of the service's own code over a real catalog and a store in memory. The power goes at every
change of a row or an object in turn. What is left is looked at as it is (the rules of docs/laws.md that hold at
every moment), then a start does what a start does, and what must hold in the end is looked at. Each planted bug breaks
one rule of order or durability, and must be found by its script.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import numpy as np
import pytest
import structlog
from sqlalchemy import Connection

from drystone.catalog import (
    damages,
    disks,
    meta,
    operations,
    pack_rewrites,
    packs,
    policies,
    policy_runs,
    sessions,
    snapshots,
)
from drystone.catalog.database import Database
from drystone.catalog.policy_runs import RunSelection
from drystone.catalog.sqlite import SqliteDatabase
from drystone.codec.nbd_wire import BASE_ALLOCATION, STATE_ZERO
from drystone.domain.blocks import BLOCK_BYTES, Ranges, from_blocks, union
from drystone.domain.claim import Standing
from drystone.domain.disk import DiskState
from drystone.domain.disk_types import GIB
from drystone.domain.errors import DrystoneError, Refusal
from drystone.domain.ids import DiskId, OperationId, PolicyId, SessionId, SnapshotId
from drystone.domain.late_writes import Judged
from drystone.domain.late_writes import judge as judge_late_writes
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.pack_rewrite import RewriteState
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.policy import Policy, RunState, Trigger
from drystone.domain.session import Session, SessionState
from drystone.domain.settling import Phase, Verdict
from drystone.domain.snapshot import SnapshotState
from drystone.domain.tracking import TrackingState, frozen
from drystone.nbd.extents import STATE_DIRTY
from drystone.objects.contract import NotFoundError
from drystone.service.calls.scheduled import ScheduledSnapshots
from drystone.service.calls.snapshot_begin import new_snapshot
from drystone.service.host.host import Host
from drystone.service.jobs.delete_snapshot import DeleteSnapshot
from drystone.service.jobs.sending import Sending
from drystone.service.jobs.snapshot import TakeSnapshot
from drystone.service.kept_store import KeptStore
from drystone.service.rounds import Bugs
from drystone.service.rows import troubles
from drystone.service.rows.deletions import mark_deleting
from drystone.service.rows.tracking import tracking_of
from drystone.service.spool import Spool
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import compaction, epoch, late_writes, recovery
from drystone.service.upkeep.evidence import Evidence
from drystone.service.upkeep.mending import Mending
from drystone.service.upkeep.schedules import Schedules
from drystone.service.upkeep.scrub import Scrub
from drystone.snapstore.claims import claimed_epoch, hold, list_claims
from drystone.snapstore.deletion import delete_session_objects, list_session_objects
from drystone.snapstore.inventory import take_inventory
from drystone.snapstore.layers import delta_addresses
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store, end_numbered_epoch
from drystone.transfer.addresses import Look
from tests.blocks import to_blocks
from tests.catalog.catalog_values import OWNER
from tests.catalog.catalog_values import disk as disk_row
from tests.catalog.catalog_values import snapshot as snapshot_row
from tests.claims import NOBODY
from tests.memory_store import MemoryStore
from tests.service import parts
from tests.service.hunt import hunt
from tests.service.parts import ServerParts
from tests.service.records_world import NOW
from tests.service.store_world import BLOCKS, Lazy, Power, World, build_world, consistent

_module: Callable[[str], Any] = importlib.import_module
# As things to be tampered with, whatever they export.
collection, rewrites, sweep = (
    _module(f"drystone.service.upkeep.{name}") for name in ("collection", "rewrites", "sweep")
)
recovery_service, deletions = _module("drystone.service.upkeep.recovery"), _module("drystone.service.rows.deletions")
delete_snapshot, snapshot_job = (_module(f"drystone.service.jobs.{name}") for name in ("delete_snapshot", "snapshot"))
scheduled_calls, schedules_upkeep = (
    _module(f"drystone.service.{name}") for name in ("calls.scheduled", "upkeep.schedules")
)
compaction_transfer, scrub_transfer, source_transfer, upload_transfer = (
    _module(f"drystone.transfer.{name}") for name in ("compaction", "scrub", "source", "upload")
)

DISK = DiskId("disk-00000001")
FIRST, MIDDLE, LAST, NEW = (SnapshotId(f"snap-{number:08d}") for number in range(4))
CUTS_MAX = 300
RESTARTS_MAX = 12


@dataclass
class Live:
    """A disk that runs: what it holds, what was frozen of it, and its bitmaps."""

    content: bytearray
    view: bytes = b""
    frozen_bits: set[int] = field(default_factory=set)
    bits: set[int] = field(default_factory=set)

    def write(self, rng: random.Random, blocks: Sequence[int]) -> None:
        for block in blocks:
            self.content[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = rng.randbytes(BLOCK_BYTES)
        self.bits |= set(blocks)

    def copy(self) -> "Live":
        return Live(bytearray(self.content), self.view, set(self.frozen_bits), set(self.bits))


@dataclass
class Scene(World):
    """A world with a disk."""

    disk: Live = field(default_factory=lambda: Live(bytearray()))
    daemon: bool = True
    """Whether the storage daemon, and with it view and bitmaps, survives the cut."""
    damaged: bool = False
    """Whether a pack is damaged: then blocks may be refused, and still never be wrong."""
    stale: bool = False
    """Whether the catalog is one from before what the store says, until it was reconciled."""
    dead_percent: int = 0

    spooled: dict[str, bytes] = field(default_factory=dict)
    """What lies in the spool while it is not open."""
    rows: bytes = b""
    """The catalog while it is not open: one opened database serves all scenes, one after another."""
    opened: Database | None = None

    def copy(self, content: Mapping[str, bytes]) -> "Scene":
        return replace(self, content=dict(content), truth=dict(self.truth), disk=self.disk.copy())

    def database(self) -> Database:
        assert self.opened is not None
        self.load(self.rows)
        return self.opened

    def load(self, rows: bytes) -> None:
        # What is in memory cannot have a log beside it: bytes 18 and 19 say whether there is one.
        plain = rows[:18] + b"\1\1" + rows[20:]
        with (
            contextlib.closing(sqlite3.connect(":memory:")) as kept,
            contextlib.closing(sqlite3.connect(self.path)) as file,
        ):
            kept.deserialize(plain)
            kept.backup(file)

    def save(self) -> bytes:
        with contextlib.closing(sqlite3.connect(self.path)) as file:
            return file.serialize()

    def close(self) -> None:
        self.content, self.rows = self.objects.content(), self.save()
        place = self.made.layout.spool
        files = [path for path in place.rglob("*") if path.is_file()]
        self.spooled = {str(path.relative_to(place)): path.read_bytes() for path in files}

    def begin(self, content: bytes) -> None:
        self.disk = Live(bytearray(content))

    @property
    def store(self) -> Store:
        return replace(self.made.store, objects=self.objects)

    def open(self, power: Power | None = None) -> ServerParts:
        self.made = super().open(power)
        shutil.rmtree(self.made.layout.spool, ignore_errors=True)
        for name, raw in self.spooled.items():
            path = self.made.layout.spool / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
        return self.made


# --- the outside of the service, as far as these scripts need it ----------------------------------------------------


class View:
    """The frozen view of a scene's disk, as an NBD client."""

    scene: Scene

    def __init__(self, _socket: Path, _export: str, *, contexts: Sequence[str] = (), timeout_s: float = 0) -> None:
        del contexts, timeout_s
        self.size_bytes = GIB

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def extents(self, context: str, start: int, stop: int) -> Any:
        disk = self.scene.disk
        if context == BASE_ALLOCATION:
            known = from_blocks(np.arange(BLOCKS)) * BLOCK_BYTES
            flags = (0, STATE_ZERO)
        else:
            known = from_blocks(np.array(sorted(disk.frozen_bits), dtype=np.int64)) * BLOCK_BYTES
            flags = (STATE_DIRTY, 0)
        rows, at = [], start
        for first, last in known.tolist():
            low, high = max(first, start), min(last, stop)
            if low < high:
                rows += [(at, low, flags[1])] * (at < low) + [(low, high, flags[0])]
                at = high
        rows += [(at, stop, flags[1])] * (at < stop)
        return np.array(rows, dtype=np.int64).reshape(-1, 3)

    def read_ranges(self, ranges: Sequence[tuple[int, int]], **_: object) -> Iterator[tuple[int, memoryview]]:
        for start, length in ranges:
            yield start, memoryview(self.scene.disk.view[start : start + length].ljust(length, b"\0"))


class Looked:
    """A scene's running disk, as a scrub looks at it."""

    size_bytes = GIB

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def read(self, ranges: Ranges) -> Iterator[tuple[int, memoryview]]:
        for start, stop in ranges.tolist():
            raw = bytes(self._scene.disk.content[start * BLOCK_BYTES : stop * BLOCK_BYTES])
            yield start, memoryview(raw.ljust((stop - start) * BLOCK_BYTES, b"\0"))


NOWHERE = Path("/nowhere")


async def _frozen() -> Any:
    return SimpleNamespace(frozen=True)


class Daemons(Host):
    """A host whose only daemon is a value, or is dead."""

    def __init__(self, scene: Scene) -> None:
        made, none = scene.made, cast("Any", None)
        super().__init__(
            transactions=made.transactions, locks=made.locks, layout=made.layout, store_id=made.store.store_id,
            devices=made.devices, daemons=none, snapshot_server=none, throttle=False,
        )  # fmt: skip
        self._scene = scene

    async def _looked_at(self, _disk: Any) -> Any:
        return (
            (SimpleNamespace(nbd_socket=NOWHERE, trim_socket=NOWHERE, look=_frozen), None)
            if self._scene.daemon
            else None
        )

    async def _abandon(self, _disk: Any) -> None:
        pass

    async def settle(self, disk_id: DiskId) -> Verdict:
        return Verdict.SEND if self._scene.daemon else await super().settle(disk_id)


def inline(call: Callable[..., Any], power: Power, name: str) -> Callable[..., Any]:
    async def run_it(fn: Callable[[Connection], Any]) -> Any:
        if name == "write":
            power.needed()
        return call(fn)

    return run_it


@contextlib.contextmanager
def outside(scene: Scene) -> Iterator[None]:
    """Have the service's code meet this scene's disk."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(View, "scene", scene, raising=False)
        patched.setattr(source_transfer, "NbdClient", View)
        patched.setattr(scrub_transfer, "_connected", lambda _stack, _look: iter([Looked(scene)]))

        async def at_once(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
            return call(*given, **named)

        # Nothing here waits: other threads would only cost time.
        patched.setattr(asyncio, "to_thread", at_once)
        for name in ("read", "write"):
            patched.setattr(scene.db, name, inline(getattr(scene.db, f"{name}_sync"), scene.power, name))
        # Merge at once, so that every upload has a map of that kind among its objects.
        patched.setattr(upload_transfer, "MAPS_GOAL", 2)
        patched.setattr(upload_transfer, "plan_merge", tuple)
        yield


# --- scripts --------------------------------------------------------------------------------------------------------

Act = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Script:
    """What is done, after what, and what a start finds."""

    name: str
    prepare: Callable[[Scene], None] = lambda _scene: None
    act: Act
    ended: Callable[[Scene], None] = lambda _scene: None
    """What must hold in the end, beside what always must."""
    older: bool = False
    """Whether the start finds the catalog as it was before, put back from a backup."""


def run(scene: Scene, act: Act) -> None:
    with outside(scene):
        asyncio.run(cast("Any", act(scene)))


def freeze(scene: Scene) -> None:
    """Bring a snapshot of the disk to where the reply was sent: frozen, and nothing of it uploaded."""
    written(scene)
    scene.db.write_sync(lambda conn: frozen_rows(conn, snapshot_row(NEW, created_at=NOW, disk_id=DISK)))


def written(scene: Scene) -> None:
    """Have the disk written to before and after the instant of the next snapshot."""
    rng = random.Random(4)
    scene.disk.write(rng, [2, 3, 20, 21, 22, 50])
    scene.disk.view, scene.disk.frozen_bits, scene.disk.bits = bytes(scene.disk.content), scene.disk.bits, set()
    scene.disk.write(rng, [3, 30])
    scene.truth[NEW] = scene.disk.view


def frozen_rows(conn: Connection, template: Any) -> None:
    """Record the snapshot as a call does that has frozen the disk."""
    session = Session(id=SessionId("5e" * 16), kind="snapshot", created_at=NOW)

    disk = disks.get(conn, DISK)
    assert disk is not None
    plan = frozen(tracking_of(disk), new_bitmap="b1")
    sessions.open(conn, session, [] if plan.base is None else [plan.base])
    snapshots.insert(conn, replace(
        template, size_gib=1, state=SnapshotState.CREATING, parent_id=plan.base, session_id=session.id
    ))  # fmt: skip
    payload = SnapshotPayload(freeze=plan, session=session.id, taken_at=NOW, freeze_ms=1.0)
    operations.insert(conn, Operation(
        id=OperationId("op-1"), kind=OperationKind.SNAPSHOT, account_id=OWNER, disk_id=DISK, snapshot_id=NEW,
        phase=Phase.FROZEN.value, payload=payload, created_at=NOW, updated_at=NOW,
    ))  # fmt: skip


POLICY = PolicyId("asp-00000001")


def policy_due(scene: Scene) -> None:
    """Have an hourly policy of the disk that nobody looked at for an hour and a half."""
    written(scene)
    since = NOW - 5400
    value = Policy(
        id=POLICY, account_id=OWNER, zone="UTC", triggers=(Trigger(hours=tuple(range(24)), interval_days=1),),
        created_at=since, modified_at=since, anchored_at=since,
    )  # fmt: skip

    def rows(conn: Connection) -> None:
        policies.insert(conn, value, cursor=since)
        policies.bind(conn, POLICY, DISK, since)

    scene.db.write_sync(rows)


@dataclass(kw_only=True)
class Freezer:
    """Begins a policy's snapshot of the scene's disk."""

    scene: Scene

    async def take_scheduled(self, _caller: Any, disk_id: DiskId, scheduled: Any) -> None:
        def begin(change: Change) -> None:
            disk = disks.get(change.conn, disk_id)
            assert disk is not None
            frozen_rows(change.conn, scheduled.record(change, new_snapshot(change, disk, NEW)))

        await self.scene.made.transactions.change(begin)


async def policy_round(scene: Scene) -> None:
    """Do rounds of schedules, and take what they begin."""
    freezer: Any = Freezer(scene=scene)
    schedules = Schedules(
        transactions=scene.made.transactions, bugs=Bugs(),
        taker=ScheduledSnapshots(snapshots=freezer, groups=freezer),
    )  # fmt: skip
    for _ in range(2):
        await schedules.once()
        if any(one.kind is OperationKind.SNAPSHOT for one in scene.db.read_sync(operations.unfinished)):
            await take(scene)


def policy_obeyed(scene: Scene) -> None:
    """S302: one run, and its one snapshot."""
    run(scene, policy_round)
    rows = scene.db.read_sync(lambda conn: policy_runs.find(conn, RunSelection(account_id=OWNER)))[0]
    made = scene.db.read_sync(lambda conn: snapshots.of_policy(conn, POLICY))
    assert [(row.state, row.snapshot_id, row.slot) for row in rows] == [
        (RunState.DONE, one.id, one.slot) for one in made
    ]
    assert len(rows) == 1


async def take(scene: Scene) -> None:
    """Upload and commit what is frozen; afterwards the operation ends, as it does when the daemon was cleaned up."""
    found = next(one for one in scene.db.read_sync(operations.unfinished) if one.kind is OperationKind.SNAPSHOT)
    host = Daemons(scene)
    if not scene.daemon and await host.settle(DISK) is not Verdict.SEND:
        return
    if found.phase in {Phase.FROZEN, Phase.SPOOLED}:
        await parts.take_snapshot(scene.made, host)._upload_and_commit(found)

    def end(conn: Connection) -> None:
        operations.update(conn, found.id, updated_at=NOW, state=OperationState.DONE, percent=100)

    await scene.made.db.write(end)
    await parts.sweep(scene.made).sweep()


def deleting(*names: SnapshotId) -> Act:
    async def act(scene: Scene) -> None:
        for name in names:

            def mark(change: Change, name: SnapshotId = name) -> list[Operation]:
                row = snapshots.get(change.conn, name)
                assert row is not None
                mark_deleting(change, row, request_id="r")
                return change.begun

            for operation in await scene.made.transactions.change(mark):
                await parts.delete_snapshot(scene.made).run(operation)

    return act


def refused(scene: Scene) -> bool:
    """Tell whether a server would refuse to start with this catalog and this store."""
    return epoch.look_at_start(scene.db.read_sync(epoch.known), scene.store) is not Standing.HELD


async def begin(scene: Scene) -> None:
    """Begin another start, as a server does before anything else (S200)."""
    incarnation = scene.made.ids.hex128()
    await scene.made.db.write(lambda conn: epoch.begin(conn, incarnation))
    scene.made.kept.claimed.epoch = -1
    end_numbered_epoch(scene.store)


async def restart(scene: Scene) -> None:
    """Do what a start does, until nothing is under way."""
    made = scene.made
    if refused(scene):
        await reconcile(scene)  # A person has it done: a server refuses to start.
    await made.db.write(lambda conn: meta.remove(conn, troubles.HELD))
    await sweep.clear_spool(made.transactions, made.spool)
    await begin(scene)
    await epoch.publish(made.transactions, made.kept)
    for _ in range(RESTARTS_MAX):
        for operation in made.db.read_sync(operations.unfinished):
            if operation.kind is OperationKind.SNAPSHOT:
                await take(scene)
                continue
            job = (
                parts.delete_snapshot(made) if operation.kind is OperationKind.DELETE_SNAPSHOT else parts.compact(made)
            )
            try:
                await job.run(operation)
            except NotFoundError as error:
                # A manifest that a deletion had removed already: that deletion goes on, and this is tried again.
                await job.fail(operation, Refusal.INTERNAL, str(error))
        await parts.sweep(made).sweep()
        await parts.compaction(made).once()
        if not made.db.read_sync(operations.unfinished):
            return
    raise AssertionError("what was begun never ends")


async def compact(scene: Scene) -> None:
    found = scene.db.read_sync(compaction.running)
    assert found is not None
    await parts.compact(scene.made).run(found)


class SceneMending(Mending):
    """Mends from the scene's disk, if its daemon runs."""

    scene: Scene

    async def _sources(self, _pack: Any) -> dict[DiskId, Look]:
        return {DISK: Look(file="/nowhere")} if self.scene.daemon else {}

    async def _look_away(self, _disk: DiskId) -> None:
        pass


def scrub_of(scene: Scene) -> Scrub:
    made = scene.made
    mending = SceneMending(
        transactions=made.transactions, kept=made.kept, background=made.background, locks=made.locks,
        host=cast("Any", None),
    )  # fmt: skip
    object.__setattr__(mending, "scene", scene)
    return parts.scrub(made, mending)


async def scrub(scene: Scene) -> None:
    await scrub_of(scene).once()


async def scrub_again(scene: Scene) -> None:
    """A damaged object is looked at again when it is due; here at once."""
    one = scrub_of(scene)
    for _ in range(3):
        await one.once()


def damage(scene: Scene) -> None:
    """Flip a byte of a frame that the last snapshot shows."""
    scene.damaged = True
    row = scene.db.read_sync(lambda conn: snapshots.get(conn, LAST))
    assert row is not None
    assert row.session_id is not None
    pack = scene.db.read_sync(lambda conn: packs.of_session(conn, cast("SessionId", row.session_id)))[0]
    raw = bytearray(scene.objects.get(pack.object))
    raw[3 * BLOCK_BYTES] ^= 1
    scene.objects.replace(pack.object, bytes(raw))


def mended(scene: Scene) -> None:
    assert scene.db.read_sync(damages.everything) == []
    scene.damaged = False
    scene.check()


def quarantined(scene: Scene) -> None:
    rows = scene.db.read_sync(damages.everything)
    assert {row.snapshot_id for row in rows} == {LAST}, rows
    last = scene.db.read_sync(lambda conn: snapshots.get(conn, LAST))
    assert last is not None
    assert last.damaged
    reader = SnapshotReader.open(scene.store, cast("str", last.manifest))
    bad = to_blocks(union(*(row.ranges for row in rows)))
    for block in set(range(BLOCKS)) - bad:
        content = scene.truth[LAST][block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        assert reader.read(block * BLOCK_BYTES, BLOCK_BYTES) == content


def fenced_upload(scene: Scene) -> None:
    """Leave what a writer leaves that was fenced between its manifest and its commit."""
    freeze(scene)
    del scene.truth[NEW]

    async def act(scene: Scene) -> None:
        found = scene.db.read_sync(operations.unfinished)[0]
        taking = parts.take_snapshot(scene.made, Daemons(scene))
        await taking.publish([await taking.upload(found)])
        scene.daemon = False
        await Daemons(scene).settle(DISK)
        scene.daemon = True

    run(scene, act)
    # It was swept by whoever had the store, and the manifest landed after that.
    fenced = scene.db.read_sync(lambda conn: sessions.in_state(conn, SessionState.FENCED))
    for one in fenced:
        scene.db.write_sync(lambda conn, name=one.id: sessions.note_deleted(conn, name, None, at=NOW))  # type: ignore[misc]


def older_catalog(scene: Scene) -> None:
    """Take and delete a snapshot, and put the catalog back from before."""
    kept = scene.save()
    freeze(scene)
    run(scene, take)
    run(scene, deleting(FIRST))
    scene.load(kept)
    del scene.truth[FIRST]
    scene.stale = True


async def reconcile(scene: Scene) -> None:
    made = scene.made
    given_up, living = made.db.read_sync(recovery.given_up), made.db.read_sync(collection.living_manifests)
    inventory = take_inventory(scene.store, given_up=given_up, in_force=frozenset(living))
    evidence = Evidence(
        inventory=inventory, accounts=(), found=(), zone="z", store_epoch=claimed_epoch(scene.store),
        reason="reconciled",
    )  # fmt: skip
    keys = evidence.new_keys(made.ids, at=NOW)
    await made.transactions.change(lambda change: recovery.reconcile(change, evidence, keys))
    known, ours = made.db.read_sync(lambda conn: (epoch.claimant(conn), epoch.current(conn)))
    hold(made.store, known, ours)


def all_there(scene: Scene) -> None:
    rows = scene.db.read_sync(lambda conn: snapshots.in_states(conn, [SnapshotState.NORMAL]))
    assert {row.id for row in rows} == set(scene.truth)


def without_daemon(prepare: Callable[[Scene], None]) -> Callable[[Scene], None]:
    def prepared(scene: Scene) -> None:
        prepare(scene)
        scene.daemon = False

    return prepared


async def take_until_the_cut(scene: Scene) -> None:
    """As `take`, with a daemon that dies with the power."""
    scene.daemon = True
    try:
        await take(scene)
    finally:
        scene.daemon = False


def spooled(prepare: Callable[[Scene], None]) -> Callable[[Scene], None]:
    """Have what is read of the frozen view go through the spool."""

    def prepared(scene: Scene) -> None:
        prepare(scene)
        scene.spool_bytes_max = 1 << 30

    return prepared


def all_there_and_sent(scene: Scene) -> None:
    all_there(scene)
    nothing_spooled(scene)


def nothing_spooled(scene: Scene) -> None:
    assert not scene.made.spool.in_use()


def base_gone(scene: Scene) -> None:
    run(scene, deleting(LAST))
    freeze(scene)


def of_the_format_before(scene: Scene) -> None:
    """Make of the store one that nobody has claimed by name, and of the catalog one that knows no claims."""
    asyncio.run(epoch.publish(scene.made.transactions, scene.made.kept))
    now = scene.db.read_sync(epoch.current)
    for name in [one for one in scene.objects.content() if "/epochs/" in one]:
        MemoryStore.delete(scene.objects, name)
    for name, raw in (("epoch", f'{{"format":1,"epoch":{now}}}'), ("owner", f'{{"format":1,"owner":"{NOBODY}"}}')):
        MemoryStore.replace(scene.objects, scene.store.name(name), raw.encode())
    scene.db.write_sync(lambda conn: meta.remove(conn, epoch.CLAIMS))


async def start(scene: Scene) -> None:
    """Begin, and claim the store."""
    await begin(scene)
    await epoch.publish(scene.made.transactions, scene.made.kept)


def claimed(scene: Scene) -> None:
    """S200: by one name, and by no mutable object."""
    assert scene.store.name("epoch") not in scene.objects.content()
    owner = scene.db.read_sync(lambda conn: meta.get(conn, epoch.OWNER))
    assert {one.owner for one in list_claims(scene.store)} == {owner}


def two_gone(scene: Scene) -> None:
    """Two snapshots deleted, with a compaction due."""

    async def act(scene: Scene) -> None:
        await deleting(FIRST, MIDDLE)(scene)

    run(scene, act)


SCRIPTS = (
    Script(name="upload", prepare=freeze, act=take, ended=all_there),
    Script(name="a policy's run", prepare=policy_due, act=policy_round, ended=policy_obeyed),
    Script(name="upload, power cut", prepare=without_daemon(freeze), act=take_until_the_cut),
    Script(name="upload by the spool", prepare=spooled(freeze), act=take, ended=all_there_and_sent),
    Script(
        name="upload by the spool, power cut",
        prepare=spooled(without_daemon(freeze)),
        act=take_until_the_cut,
        ended=nothing_spooled,
    ),
    Script(name="upload by the spool, on a moved base", prepare=spooled(base_gone), act=take),
    Script(name="upload on a moved base", prepare=base_gone, act=take),
    Script(name="delete", act=deleting(MIDDLE, FIRST)),
    Script(name="delete the base", act=deleting(LAST)),
    Script(name="compact", prepare=two_gone, act=compact),
    Script(name="mend", prepare=damage, act=scrub, ended=mended),
    Script(name="quarantine", prepare=without_daemon(damage), act=scrub, ended=quarantined),
    Script(name="an older catalog", prepare=freeze, act=take, older=True),
    Script(name="a store of the format before", prepare=of_the_format_before, act=start, ended=claimed),
    Script(name="sweep", prepare=fenced_upload, act=lambda scene: parts.sweep(scene.made).sweep()),
    Script(name="reconcile", prepare=older_catalog, act=reconcile, ended=all_there),
    Script(name="reconcile beside a fenced upload", prepare=fenced_upload, act=reconcile, ended=all_there),
)


# --- what must hold -------------------------------------------------------------------------------------------------


def holds_always(scene: Scene) -> None:
    """What is true at every moment, also right after a cut."""
    whole(scene)
    # S200: a program that knows the format before believes the mark, which it must then refuse.
    assert not list_claims(scene.store) or b'"format":1' not in scene.objects.get(scene.store.name("owner"))
    if claimed_epoch(scene.store) > scene.db.read_sync(epoch.current):
        assert scene.stale, "the store says an epoch that the catalog has not reached"
        return
    normal = scene.db.read_sync(lambda conn: snapshots.in_states(conn, [SnapshotState.NORMAL]))
    for row in normal:
        assert row.manifest is not None
        shows(scene, row.id, SnapshotReader.open(scene.store, row.manifest))
    present = {name for name in scene.objects.content() if "/packs/" in name}
    for pack in scene.db.read_sync(packs.everything):
        assert pack.object in present or pack.state.value == "DELETING", f"the row of {pack.id} names what is not there"
    tracked(scene)


def whole(scene: Scene) -> None:
    """I1, I9: whatever manifest is there, everything that it shows is there, also while its tombstone is."""
    there = {name: raw for name, raw in scene.objects.content().items() if not name.endswith(".deleted")}
    found = take_inventory(replace(scene.store, objects=MemoryStore(there)))
    left = [one.reason for one in found.left_alone if "is of the same snapshot" not in one.reason]
    assert left == [], left


def shows(scene: Scene, name: SnapshotId, reader: SnapshotReader) -> None:
    assert name in scene.truth, f"{name} is NORMAL, and is none that was taken"
    wanted = scene.truth[name]
    if not scene.damaged:
        assert bool(reader.read(0, len(wanted)) == wanted), f"{name} shows other bytes"
        return
    for block in range(BLOCKS):
        with contextlib.suppress(DrystoneError):
            got = reader.read(block * BLOCK_BYTES, BLOCK_BYTES)
            assert bool(got == wanted[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]), f"{name} shows other bytes"


def tracked(scene: Scene) -> None:
    """A1: what differs from the base is in the carry-over or in a bitmap that no NORMAL snapshot owns."""
    disk = scene.db.read_sync(lambda conn: disks.get(conn, DISK))
    if disk is None or disk.tracking == TrackingState.LOST:
        return
    base = scene.db.read_sync(lambda conn: snapshots.get(conn, cast("SnapshotId", disk.base_snapshot_id)))
    assert base is not None
    assert base.state is SnapshotState.NORMAL, f"the base {base.id} is {base.state}"
    before = scene.truth[base.id]
    differs = {
        block
        for block in range(BLOCKS)
        if scene.disk.content[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        != before[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
    }
    carried = to_blocks(union(*(delta_addresses(scene.store, name) for name in sorted(disk.carry))))
    known = scene.disk.bits | (set() if base.id == NEW else scene.disk.frozen_bits) | carried
    assert differs <= known, f"A1: blocks {sorted(differs - known)} differ from {base.id} and are not marked"


def holds_in_the_end(scene: Scene) -> None:
    """What is true when everything that was begun has ended: nothing is lost, and nothing is left over."""
    holds_always(scene)
    read = scene.db.read_sync
    normal = read(lambda conn: snapshots.in_states(conn, [SnapshotState.NORMAL]))
    assert not read(lambda conn: snapshots.in_states(conn, [SnapshotState.CREATING, SnapshotState.DELETING]))
    content = scene.objects.content()
    assert {name for name in content if name.endswith(".manifest")} == {row.manifest for row in normal}
    assert {name for name in content if "/maps/" in name} == read(collection.named_maps)
    if not scene.damaged:
        consistent(scene)
    rows = read(pack_rewrites.everything)
    assert all(row.state is RewriteState.ABANDONED for row in rows), rows
    for session in read(lambda conn: sessions.in_state(conn, SessionState.FENCED)):
        assert list_session_objects(scene.store, session.id) == {}
    assert not read(lambda conn: sessions.in_state(conn, SessionState.OPEN))
    assert claimed_epoch(scene.store) == read(epoch.current)


# --- planted bugs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A bug: what it changes of the code, or which changes of the store it leaves to be flushed later."""

    name: str
    script: str
    plant: Callable[[pytest.MonkeyPatch], None] = lambda _patched: None
    lazy: Lazy | None = None


def unflushed(call: str, part: str) -> Lazy:
    return lambda done, name: done == call and part in name


_MEMORY: list[list[Any]] = []


def in_memory() -> list[Any]:
    """Return what a planted bug has put off: a process that dies forgets it."""
    _MEMORY.append([])
    return _MEMORY[-1]


def packs_after_the_manifest(patched: pytest.MonkeyPatch) -> None:
    from tests.service.store_world import CutStore

    late = in_memory()
    real = CutStore.put

    def put(self: CutStore, name: str, data: Any) -> None:
        if "/packs/" in name:
            late.append((name, data))
            return
        real(self, name, data)
        while name.endswith(".manifest") and late:
            real(self, *late.pop(0))

    patched.setattr(CutStore, "put", put)


def sent_after_the_manifest(patched: pytest.MonkeyPatch) -> None:
    late = in_memory()
    real_send, real_follow = Sending.send, TakeSnapshot.follow

    async def send(self: Sending, uploaded: Any) -> None:
        late.append((self, uploaded))

    async def follow(self: TakeSnapshot, committed: Any) -> None:
        while late:
            await real_send(*late.pop(0))
        await real_follow(self, committed)

    patched.setattr(Sending, "send", send)
    patched.setattr(TakeSnapshot, "follow", follow)


def spool_swept_at_a_start(patched: pytest.MonkeyPatch) -> None:
    async def clear(_transactions: Transactions, spool: Spool) -> None:
        spool.keep_only(())

    patched.setattr(sweep, "clear_spool", clear)


def spool_never_swept(patched: pytest.MonkeyPatch) -> None:
    async def nothing(_transactions: Transactions, _spool: Spool) -> None:
        pass

    patched.setattr(sweep, "clear_spool", nothing)


def row_before_the_manifest(patched: pytest.MonkeyPatch) -> None:
    late = in_memory()
    real_write, real = snapshot_job.put_manifest, TakeSnapshot._upload_and_commit

    async def upload_and_commit(self: TakeSnapshot, operation: Operation) -> None:
        await real(self, operation)
        while late:
            real_write(*late.pop(0))

    patched.setattr(snapshot_job, "put_manifest", lambda *given: late.append(given))
    patched.setattr(TakeSnapshot, "_upload_and_commit", upload_and_commit)


def late_writes_unknown(patched: pytest.MonkeyPatch) -> None:
    """S209 would make up for a manifest that comes back, whatever the order was."""
    real = judge_late_writes

    def judge(*given: Any) -> Judged:
        found = real(*given)
        return replace(found, unknown=found.unknown | found.late, late=frozenset())

    patched.setattr(late_writes, "judge", judge)


def ghost_before_the_manifest(patched: pytest.MonkeyPatch) -> None:
    late_writes_unknown(patched)
    late = in_memory()
    real_delete, real_collect = delete_snapshot.delete_manifest, DeleteSnapshot._collect

    async def collect(self: DeleteSnapshot, snapshot_id: SnapshotId) -> None:
        while late:
            real_delete(*late.pop(0))
        await real_collect(self, snapshot_id)

    patched.setattr(delete_snapshot, "delete_manifest", lambda *given: late.append(given))
    patched.setattr(DeleteSnapshot, "_collect", collect)


def maps_before_the_manifest(patched: pytest.MonkeyPatch) -> None:
    real = delete_snapshot.delete_manifest

    def delete(store: Store, snapshot: SnapshotId, session: SessionId) -> None:
        for name in list_session_objects(store, session):
            if "/maps/" in name:
                store.objects.delete(name)
        real(store, snapshot, session)

    patched.setattr(delete_snapshot, "delete_manifest", delete)


def old_object_before_the_switch(patched: pytest.MonkeyPatch) -> None:
    real = compaction_transfer.rewrite_pack

    def rewrite(store: Store, pack: Any, *more: Any) -> Any:
        size = real(store, pack, *more)
        store.objects.delete(pack.object)
        return size

    patched.setattr(compaction_transfer, "rewrite_pack", rewrite)


def mended_object_before_the_switch(patched: pytest.MonkeyPatch) -> None:
    real = scrub_transfer.mend_pack

    def mend(store: Store, name: str, *more: Any) -> Any:
        done = real(store, name, *more)
        if done.object is not None:
            store.objects.delete(name)
        return done

    patched.setattr(scrub_transfer, "mend_pack", mend)


def object_before_its_row(patched: pytest.MonkeyPatch) -> None:
    waiting: dict[str, Any] = {}
    insert, change = pack_rewrites.insert, pack_rewrites.compare_and_set

    def later(_conn: Connection, row: Any) -> None:
        waiting[row.id] = row

    def compare_and_set(conn: Connection, key: str, **more: Any) -> bool:
        if key in waiting:
            insert(conn, waiting.pop(key))
        return change(conn, key, **more)

    patched.setattr(pack_rewrites, "insert", later)
    patched.setattr(pack_rewrites, "compare_and_set", compare_and_set)


def never_given_up(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(rewrites, "abandon_all", lambda _change: None)


def base_not_moved(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(disks, "with_base", lambda _conn, _id: [])


def carried_maps_not_named(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(disks, "carried", lambda _conn: {})


def carry_over_dropped(patched: pytest.MonkeyPatch) -> None:
    real = deletions.algebra.base_deleted
    patched.setattr(deletions.algebra, "base_deleted", lambda tracking, deleted, base, _maps: real(
        tracking, deleted, base, ()))  # fmt: skip


def swept_packs_before_the_manifest(patched: pytest.MonkeyPatch) -> None:
    real = sweep.delete_manifest

    def delete(store: Store, snapshot: SnapshotId, session: SessionId) -> None:
        delete_session_objects(store, session)
        real(store, snapshot, session)

    patched.setattr(sweep, "delete_manifest", delete)


def swept_without_the_manifest(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(sweep._Shelves, "manifests_of", lambda _self, _session: [])


def not_swept_at_all(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(sweep, "delete_session_objects", lambda _store, _session: 0)


def deaths_not_kept(patched: pytest.MonkeyPatch) -> None:
    """What dies is counted anew although the manifest is gone."""

    def gone(_self: Any, _manifest: str, _id: object) -> bool:
        return True

    patched.setattr(DeleteSnapshot, "_listed", gone)


def epoch_before_the_commit(patched: pytest.MonkeyPatch) -> None:
    real = TakeSnapshot.upload

    async def upload(self: TakeSnapshot, operation: Operation) -> Any:
        done = await real(self, operation)
        known, ours = await self.transactions.read(lambda conn: (epoch.claimant(conn), epoch.current(conn)))
        hold(self.kept.store, known, ours + 1)
        return done

    patched.setattr(TakeSnapshot, "upload", upload)


def claimed_after_the_commit(patched: pytest.MonkeyPatch) -> None:
    """Manifest, commit, claim: as it was."""
    real, real_advance = TakeSnapshot._upload_and_commit, epoch.advance

    async def upload_and_commit(self: TakeSnapshot, operation: Operation) -> None:
        await real(self, operation)
        await real_advance(self.transactions, self.kept)

    async def nothing(*_given: Any) -> None:
        pass

    patched.setattr(snapshot_job.epoch, "advance", nothing)
    patched.setattr(TakeSnapshot, "_upload_and_commit", upload_and_commit)


def old_mark_left(patched: pytest.MonkeyPatch) -> None:
    """A store of the format before is claimed, and its mark left to programs that believe it."""
    patched.setattr(sys.modules[__name__], "end_numbered_epoch", lambda _store: None)


def damage_not_recorded(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(Scrub, "_hit", lambda *_: [])


def sessions_not_adopted(patched: pytest.MonkeyPatch) -> None:
    def fence_them(change: Change, inventory: Any) -> None:
        known = {row.id for row in sessions.in_state(change.conn, SessionState.COMMITTED)}
        for name in sorted(inventory.sessions - known):
            sessions.open(change.conn, Session(id=name, kind="found", created_at=change.at), [])
            sessions.fence(change.conn, name, at=change.at)

    patched.setattr(recovery_service, "_sessions", fence_them)


def given_up_taken_for_whole(patched: pytest.MonkeyPatch) -> None:
    """A reconciliation takes the manifest of a fenced session for that of a snapshot."""
    patched.setattr(recovery_service, "given_up", lambda _conn: frozenset())


def doomed_at_once(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(rewrites, "doomed", lambda row, _open: row.old_object)


def doomed_packs_forgotten_first(patched: pytest.MonkeyPatch) -> None:
    """The row of a dead pack goes before its object."""

    async def remove(transactions: Transactions, kept: KeptStore) -> int:
        gone = await transactions.read(lambda conn: packs.in_state(conn, collection.PackState.DELETING))
        await transactions.change(lambda change: [packs.delete(change.conn, pack.id) for pack in gone])
        for pack in gone:
            kept.store.objects.delete(pack.object)
        return 0

    patched.setattr(collection, "remove_doomed", remove)


def run_not_moved(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(scheduled_calls, "move", lambda *_: True)


def cursor_without_runs(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(schedules_upkeep, "add", lambda *_: None)


PLANTED = (
    Planted(name="a run is not moved with its snapshot", script="a policy's run", plant=run_not_moved),  # S302
    Planted(name="the cursor moves without runs", script="a policy's run", plant=cursor_without_runs),  # S302
    Planted(name="packs are not flushed", script="upload", lazy=unflushed("put", "/packs/")),  # I1
    Planted(name="maps are not flushed", script="upload", lazy=unflushed("put", "/maps/")),
    Planted(name="the manifest is not flushed", script="upload", lazy=unflushed("put", ".manifest")),  # I1
    Planted(
        name="a deleted manifest is not flushed",
        script="delete",
        lazy=unflushed("delete", ".manifest"),
        plant=late_writes_unknown,
    ),  # S13
    Planted(name="a deleted pack is not flushed", script="compact", lazy=unflushed("delete", "/packs/")),
    Planted(name="a rewritten pack is not flushed", script="compact", lazy=unflushed("put", "/packs/")),
    Planted(name="a mended pack is not flushed", script="mend", lazy=unflushed("put", "/packs/")),
    Planted(name="packs after the manifest", script="upload", plant=packs_after_the_manifest),  # I1
    Planted(name="sent after the manifest", script="upload by the spool", plant=sent_after_the_manifest),  # I1
    Planted(name="the spool swept at a start", script="upload by the spool", plant=spool_swept_at_a_start),  # S270
    Planted(name="the spool never swept", script="upload by the spool, power cut", plant=spool_never_swept),  # S270
    Planted(name="the row before the manifest", script="upload", plant=row_before_the_manifest),  # S10
    Planted(name="the epoch before the commit", script="upload", plant=epoch_before_the_commit),  # S80
    Planted(name="the ghost before its manifest is gone", script="delete", plant=ghost_before_the_manifest),  # S13
    Planted(name="maps before the manifest", script="delete", plant=maps_before_the_manifest),  # I1
    Planted(
        name="the row of a dead pack before its object", script="delete the base", plant=doomed_packs_forgotten_first
    ),
    Planted(name="deaths counted again without a manifest", script="delete", plant=deaths_not_kept),  # S33
    Planted(name="the base is not moved", script="delete the base", plant=base_not_moved),  # A5, S11
    Planted(name="the carry-over is dropped", script="delete the base", plant=carry_over_dropped),  # A5
    Planted(name="carried maps are collected", script="delete the base", plant=carried_maps_not_named),  # L1, S15
    Planted(name="the old object before the switch", script="compact", plant=old_object_before_the_switch),  # S32
    Planted(name="an object before its row", script="compact", plant=object_before_its_row),  # S30
    Planted(name="a rewriting is never given up", script="compact", plant=never_given_up),  # S31
    Planted(name="the old object whatever the state", script="compact", plant=doomed_at_once),  # S32
    Planted(name="the damaged object before the switch", script="mend", plant=mended_object_before_the_switch),
    Planted(name="a mended object before its row", script="mend", plant=object_before_its_row),
    Planted(name="claimed after the commit", script="an older catalog", plant=claimed_after_the_commit),  # S201
    Planted(name="the old mark is left", script="a store of the format before", plant=old_mark_left),  # S200
    Planted(name="damage is not recorded", script="quarantine", plant=damage_not_recorded),
    Planted(name="packs swept before the manifest", script="sweep", plant=swept_packs_before_the_manifest),  # I1
    Planted(name="a fenced manifest is not swept", script="sweep", plant=swept_without_the_manifest),
    Planted(name="nothing is swept", script="upload, power cut", plant=not_swept_at_all),
    Planted(name="sessions of a lost catalog are fenced", script="reconcile", plant=sessions_not_adopted),  # L11
    Planted(
        name="what was given up is a snapshot",
        script="reconcile beside a fenced upload",
        plant=given_up_taken_for_whole,
    ),
)


# --- enumeration ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def quick_directory() -> Iterator[Path]:
    """Give a directory in memory, where there is one: nothing here needs to survive this process."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(dir=memory if usable else None) as place:
        yield Path(place)


@contextlib.contextmanager
def built(directory: Path) -> Iterator[Scene]:
    """Make the scene that every script begins with."""
    world = build_world(directory / "catalog.db")
    scene = Scene(path=world.path, content=world.content, truth=world.truth)
    scene.begin(world.truth[LAST])
    with contextlib.closing(SqliteDatabase.open(world.path)) as scene.opened:
        scene.rows = scene.save()
        _add_disk(scene)
        yield scene


def _add_disk(scene: Scene) -> None:
    scene.open()
    row = disk_row(DISK, size_gib=1, state=DiskState.ATTACHED, base_snapshot_id=LAST, epoch=1,
                   tracking=TrackingState.LIVE, bitmap="b0")  # fmt: skip
    scene.db.write_sync(lambda conn: disks.insert(conn, row))
    scene.close()


def enumerate_cuts(script: Script, begin: Scene, planted: Planted | None = None, step: int = 1) -> int:
    """Cut one script at every change; return how many there are.

    A change that happened, and a cut before the next one, is the same as that next cut: so each cut is made before its
    change only. What is planted lazy survives in every combination.

    Args:
        script: What is done.
        begin: What it begins with.
        planted: A bug that is there from the beginning of the script on.
        step: Only every so many of the cuts.

    Raises:
        AssertionError, DrystoneError: Something does not hold.
    """
    with pytest.MonkeyPatch.context() as patched:
        scene = begin.copy(begin.content)
        scene.open()
        script.prepare(scene)
        scene.close()
        if planted is not None:
            planted.plant(patched)
            scene.lazy = planted.lazy
        for cut in range(0, CUTS_MAX, step):
            one = scene.copy(scene.content)
            one.open(Power(cut))
            try:
                run(one, script.act)
            except BaseException:
                if not one.power.gone:
                    raise
            ended = not one.power.gone
            one.close()
            for number, content in enumerate(one.objects.survivors(scene.content)):
                after = one.copy(content)
                after.lazy = None
                if script.older:
                    put_back(after, scene.rows)
                after.open()
                try:
                    look_at_what_is_left(script, after)
                except BaseException as error:
                    error.add_note(f"{script.name}, cut {cut}, what survived: {number}")
                    raise
            if ended:
                return cut
    raise AssertionError(f"{script.name} never came to its end")


def put_back(scene: Scene, rows: bytes) -> None:
    """Put an older catalog in place; what was NORMAL since then must have it refused (F5, S201)."""
    scene.open()
    made = {row.id for row in scene.db.read_sync(lambda conn: snapshots.in_states(conn, [SnapshotState.NORMAL]))}
    scene.close()
    # By the time that somebody has put a copy back, the daemons of then are gone.
    scene.rows, scene.daemon = rows, False
    scene.open()
    before = {row.id for row in scene.db.read_sync(lambda conn: snapshots.in_states(conn, [SnapshotState.NORMAL]))}
    scene.stale = refused(scene)
    assert scene.stale or made <= before, f"the catalog from before is accepted, and knows nothing of {made - before}"
    scene.close()


def look_at_what_is_left(script: Script, scene: Scene) -> None:
    """Check what a cut has left, start again, and check the end."""
    for memory in _MEMORY:
        memory.clear()
    holds_always(scene)
    run(scene, restart)
    scene.stale = False
    if scene.damaged:
        run(scene, scrub_again)
        run(scene, restart)
    script.ended(scene)
    holds_in_the_end(scene)


def find(planted: Planted, begin: Scene) -> str | None:
    """Return how a planted bug shows, None if it does not."""
    script = next(one for one in SCRIPTS if one.name == planted.script)
    try:
        enumerate_cuts(script, begin, planted)
    except (AssertionError, DrystoneError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Enumerate all scripts, then hunt all planted bugs."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with quick_directory() as place, built(place) as begin:
        return hunt(
            arguments, program="tests.service.crash_points", description=__doc__, scripts=SCRIPTS,
            cuts=lambda script: enumerate_cuts(script, begin), planted=PLANTED,
            find=lambda planted: find(planted, begin),
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

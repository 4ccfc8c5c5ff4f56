"""The parts that the service's classes take, for tests that put some of them together."""

import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from drystone.catalog.database import Database
from drystone.domain.ids import IdSource
from drystone.engine.ballast import Ballast
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout
from drystone.objects.address import DirectoryAddress
from drystone.service.calls.store_space import StoreSpace
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.daemons import Daemons
from drystone.service.host.host import Host
from drystone.service.host.serving import Serving
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.host.watch import Watch
from drystone.service.jobs.compact import Compact
from drystone.service.jobs.delete_snapshot import DeleteSnapshot
from drystone.service.jobs.sending import Sending
from drystone.service.jobs.snapshot import TakeSnapshot
from drystone.service.jobs.store_wait import StoreWait
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.room import Room
from drystone.service.spool import Spool
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep.compaction import Compaction
from drystone.service.upkeep.publication import Publication
from drystone.service.upkeep.scrub import Scrub
from drystone.service.upkeep.sweep import Sweep
from drystone.snapstore.store import Store
from drystone.transfer.pool import WorkerPool

R = TypeVar("R")
_SEEDS = itertools.count(1000)
T = TypeVar("T")
NOWHERE: Any = SimpleNamespace(store_id="st-1")
"""A store that nothing asks for anything."""


def transactions(db: Any, *, clock: Callable[[], float] = lambda: 1_700_000_000.0) -> Transactions:
    """Return the transactions of a catalog, or of what a test takes for one; both clocks are one."""
    return Transactions(db=db, clock=clock, steady=clock, rng=random.Random(1))


def changed(db: Database, record: Callable[[Change], R], *, at: float = 1_700_000_000.0) -> R:
    """Carry a change out as a loop or a call does, on this thread."""
    ids = IdSource(random.Random(next(_SEEDS)))
    return db.write_sync(lambda conn: record(Change(conn=conn, at=at, steady=at, ids=ids)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerParts:
    """What the service's classes take, of one server."""

    db: Database
    clock: Callable[[], float]
    steady: Callable[[], float]
    monotonic: Callable[[], float]
    ids: IdSource
    layout: Layout
    store: Store
    workers: WorkerPool
    background: WorkerPool
    operations: Operations
    environment: Mapping[str, str]
    transactions: Transactions
    room: Room
    kept: KeptStore
    devices: HostDevices
    locks: DiskLocks
    spool: Spool

    @property
    def ballast(self) -> Ballast:
        """What is given up where there is no room for what must be written."""
        return Ballast(self.layout.ballast)


def server_parts(
    db: Database,
    layout: Layout,
    *,
    clock: Callable[[], float],
    monotonic: Callable[[], float] | None = None,
    rng: random.Random | None = None,
    store: Any = NOWHERE,
    pool: Any = NOWHERE,
    environment: Mapping[str, str] | None = None,
    dead_percent: int = 20,
    spool_bytes_max: int = 0,
) -> ServerParts:
    """Return the parts of a server with this catalog: all clocks are one, nothing is throttled, there is no floor."""
    rng = rng or random.Random(1)
    transactions = Transactions(db=db, clock=clock, steady=clock, rng=rng)

    room = Room(layout=layout, floor_bytes_max=0, floor_percent=0)
    return ServerParts(
        db=db, clock=clock, steady=clock, monotonic=monotonic or clock, ids=IdSource(rng), layout=layout, store=store,
        workers=pool, transactions=transactions, room=room,
        kept=KeptStore(
            store_id=store.store_id, objects=getattr(store, "objects", NOWHERE), proven=store,
            place=DirectoryAddress(root=str(layout.store)), room=room, dead_percent=dead_percent,
        ),
        devices=HostDevices(layout.run, {}), operations=Operations(transactions), environment=environment or {},
        background=pool, locks=DiskLocks(), spool=Spool(room=room, bytes_max=spool_bytes_max),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HostParts:
    """What a server has for the disks of this machine."""

    daemons: Daemons
    snapshot_server: SnapshotServer
    host: Host
    serving: Serving
    watch: Watch


def host_parts(parts: ServerParts) -> HostParts:
    """Return what a server with these parts has for the disks of this machine; nothing is throttled."""
    transactions, layout, devices = parts.transactions, parts.layout, parts.devices
    snapshot_server = SnapshotServer(
        layout=layout,
        place=parts.kept.place,
        store_id=parts.store.store_id,
        environment=parts.environment,
        transactions=transactions,
    )
    daemons = Daemons(layout=layout, environment=parts.environment, monotonic=parts.monotonic)
    host = Host(
        transactions=transactions, locks=parts.locks, layout=layout, store_id=parts.store.store_id, devices=devices,
        daemons=daemons, snapshot_server=snapshot_server, throttle=False,
    )  # fmt: skip
    serving = Serving(
        transactions=transactions, locks=parts.locks, devices=devices, daemons=daemons, host=host,
        ballast=parts.ballast, bugs=parts.operations.bugs,
    )  # fmt: skip
    watch = Watch(
        transactions=transactions, locks=parts.locks, operations=parts.operations, devices=devices, daemons=daemons,
        snapshot_server=snapshot_server, host=host, serving=serving,
    )  # fmt: skip
    return HostParts(daemons=daemons, snapshot_server=snapshot_server, host=host, serving=serving, watch=watch)


def take_snapshot(parts: ServerParts, host: Host) -> TakeSnapshot:
    """Return what takes snapshots on a server with these parts."""
    sending = Sending(
        transactions=parts.transactions, locks=parts.locks, kept=parts.kept, senders=parts.workers, host=host,
        spool=parts.spool, store_wait=StoreWait(transactions=parts.transactions, kept=parts.kept),
    )  # fmt: skip
    return of_parts(TakeSnapshot, parts, host=host, sweep=sweep(parts), sending=sending)


def sweep(parts: ServerParts) -> Sweep:
    """Return the sweep of a server with these parts."""
    return Sweep(transactions=parts.transactions, kept=parts.kept)


def compaction(parts: ServerParts) -> Compaction:
    """Return what has packs written again on a server with these parts."""
    return Compaction(
        transactions=parts.transactions, kept=parts.kept, operations=parts.operations
    )  # fmt: skip


def compact(parts: ServerParts) -> Compact:
    """Return what writes packs again on a server with these parts."""
    return Compact(
        transactions=parts.transactions, operations=parts.operations, kept=parts.kept, background=parts.background
    )


def delete_snapshot(parts: ServerParts) -> DeleteSnapshot:
    """Return what deletes snapshots on a server with these parts."""
    return DeleteSnapshot(
        transactions=parts.transactions, operations=parts.operations, kept=parts.kept, workers=parts.workers,
        compaction=compaction(parts),
    )  # fmt: skip


def publication(parts: ServerParts) -> Publication:
    """Return what keeps the store and the disks' descriptions up to date on a server with these parts."""
    return Publication(
        transactions=parts.transactions, kept=parts.kept, layout=parts.layout, locks=parts.locks
    )  # fmt: skip


def store_space(parts: ServerParts) -> StoreSpace:
    """Return what tells the store's space on a server with these parts."""
    return StoreSpace(
        transactions=parts.transactions, operations=parts.operations, kept=parts.kept, background=parts.background,
        monotonic=parts.monotonic,
    )  # fmt: skip


def scrub(parts: ServerParts, mending: Any = None) -> Scrub:
    """Return the scrub of a server with these parts, which verifies everything once a day."""
    return Scrub(
        transactions=parts.transactions, kept=parts.kept, background=parts.background, mending=mending,
        monotonic=parts.monotonic, days=1, bytes_per_s=0,
    )  # fmt: skip


def of_parts(kind: type[T], *sources: object, **given: object) -> T:
    """Return an object of a class, each of its parts as given, or from the first of the sources that has it."""
    for field in fields(cast("Any", kind)):
        for source in sources if field.init and field.name not in given else ():
            if hasattr(source, field.name):
                given[field.name] = getattr(source, field.name)
                break
    return kind(**given)

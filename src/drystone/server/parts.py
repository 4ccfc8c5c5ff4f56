"""The parts of a server, each made once: what `serve` and `host stop` work with."""

import asyncio
import contextlib
import functools
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import structlog

from drystone.catalog import meta
from drystone.catalog.backup import back_up_before_migration
from drystone.catalog.connect import open_database
from drystone.catalog.database import Database
from drystone.config import Config, environment_of_store
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import IdSource
from drystone.engine import run_directory
from drystone.engine.ballast import Ballast
from drystone.engine.clocks import boot_id, uptime
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout
from drystone.objects.contract import StoreTime
from drystone.objects.measured import Tally
from drystone.server.store_opening import StartError, open_kept, refuse_orphans
from drystone.server.store_place import first, store_place
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.daemons import Daemons
from drystone.service.host.host import Host
from drystone.service.host.serving import Serving
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.host.watch import Watch
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.room import Room
from drystone.service.spool import Spool
from drystone.service.transactions import Transactions
from drystone.service.upkeep.clock import MachineClocks, SteadyClock
from drystone.service.upkeep.compaction import Compaction
from drystone.service.upkeep.mending import Mending
from drystone.service.upkeep.scrub import Scrub
from drystone.service.upkeep.store_watch import StoreWatch
from drystone.service.upkeep.sweep import Sweep
from drystone.transfer.pool import WorkerPool

log = structlog.get_logger()
MIGRATION_BACKUPS_KEPT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that is made once: what both `serve` and `host stop` work with. Nobody else takes it as a whole."""

    db: Database
    transactions: Transactions
    operations: Operations
    ids: IdSource
    """What secrets are made by, too: never within a transaction."""
    layout: Layout
    room: Room
    ballast: Ballast
    kept: KeptStore
    locks: DiskLocks
    devices: HostDevices
    workers: WorkerPool
    background: WorkerPool
    """For work that can wait: never takes a process from `workers`, and yields to them."""
    senders: WorkerPool
    """For sending to a bucket what lies in the spool: however long that hangs, frozen views are read."""
    spool: Spool
    environment: Mapping[str, str]
    """What daemons that outlive us are given: PATH and no secrets."""
    daemons: Daemons
    snapshot_server: SnapshotServer
    host: Host
    serving: Serving
    watch: Watch
    sweep: Sweep
    compaction: Compaction
    scrub: Scrub
    clock: SteadyClock
    store_watch: StoreWatch
    tally: Tally
    """What was asked of the bucket."""
    policy_runs: Counter[str] = field(default_factory=Counter)
    """Runs of snapshot policies that have ended since the start, by result."""


@contextlib.asynccontextmanager
async def assembled(config: Config, *, with_workers: bool = True) -> AsyncIterator[Parts]:
    """Open catalog and store, and give the parts that work with them; all is closed afterwards.

    Raises:
        StartError: It cannot start; the message says what to do.
    """
    layout = Layout(config.data)
    ballast = Ballast(layout.ballast)
    try:
        ballast.with_room(functools.partial(run_directory.make, layout))
        for directory in (layout.logs, layout.scratch, layout.data / "disks"):
            ballast.with_room(functools.partial(directory.mkdir, parents=True, exist_ok=True, mode=0o700))
    except OSError as error:
        raise StartError(f"{error.filename or layout.data} cannot be used: {error.strerror}") from error
    rng = random.SystemRandom()
    ids = IdSource(rng)
    place = store_place(config)
    if config.catalog_url is None:
        if not layout.catalog.exists():
            refuse_orphans(layout, place, "catalog.db")
        await asyncio.to_thread(
            back_up_before_migration, layout.catalog, layout.backups, at=time.time(), kept=MIGRATION_BACKUPS_KEPT
        )
    db = open_database(config.catalog_url or layout.catalog, make_room=ballast.give)
    try:
        await _await_writer(db, config.catalog_url or str(layout.catalog))
        if config.catalog_url is not None and db.read_sync(lambda conn: meta.get(conn, "store_id")) is None:
            refuse_orphans(layout, place, "rows in the database of catalog_url")
        room = Room(layout=layout, floor_bytes_max=config.floor_bytes_max, floor_percent=config.floor_percent)
        tally = Tally()
        kept = await asyncio.to_thread(
            open_kept,
            db,
            room,
            place,
            rng,
            at=time.time(),
            dead_percent=config.compaction_dead_percent,
            tally=tally,
            sealed=config.store_sealed,
        )
        # Only operations use these: what was accepted waits its turn.
        workers = WorkerPool(size=config.workers, tally=tally)
        # Two: one writes packs again, one answers who holds what. So many again for accounts that have none at work.
        background = WorkerPool(size=2, reserve=2, nice=19, tally=tally)
        senders = WorkerPool(size=config.workers, tally=tally)
        async with contextlib.AsyncExitStack() as pools:
            for pool in (workers, background, senders) if with_workers else ():
                await pools.enter_async_context(pool)

            def store_time() -> StoreTime | None:
                return None if kept.proven is None else kept.objects.clock()

            steady = SteadyClock.open(db, MachineClocks(wall=time.time, up=uptime, boot=boot_id(), store=store_time))
            transactions = Transactions(db=db, clock=time.time, steady=steady.now, rng=rng)
            operations = Operations(transactions, proofs_at_once=config.prove_at_once)
            locks, devices = DiskLocks(), HostDevices(layout.run, {})
            environment = {"PATH": os.environ.get("PATH", os.defpath)}
            snapshot_server = SnapshotServer(
                layout=layout, place=first(kept.place), store_id=kept.store_id, transactions=transactions,
                environment={**environment, **environment_of_store()}, wait_s=config.store_wait_minutes * 60.0,
                tally=tally,
            )  # fmt: skip
            daemons = Daemons(layout=layout, environment=environment, monotonic=time.monotonic)
            host = Host(
                transactions=transactions, locks=locks, layout=layout, store_id=kept.store_id, devices=devices,
                daemons=daemons, snapshot_server=snapshot_server, throttle=config.throttle,
            )  # fmt: skip
            serving = Serving(
                transactions=transactions, locks=locks, devices=devices, daemons=daemons, host=host, ballast=ballast,
                bugs=operations.bugs,
            )  # fmt: skip
            watch = Watch(
                transactions=transactions, locks=locks, operations=operations, devices=devices, daemons=daemons,
                snapshot_server=snapshot_server, host=host, serving=serving,
            )  # fmt: skip
            mending = Mending(transactions=transactions, kept=kept, background=background, locks=locks, host=host)
            yield Parts(
                db=db, transactions=transactions, operations=operations, ids=ids, layout=layout, room=room,
                ballast=ballast, kept=kept, locks=locks, devices=devices, workers=workers, background=background,
                senders=senders,
                spool=Spool(room=room, bytes_max=0 if config.store_url is None else config.store_spool_bytes_max),
                environment=environment, daemons=daemons, snapshot_server=snapshot_server, host=host,
                serving=serving, watch=watch, clock=steady, tally=tally,
                store_watch=StoreWatch(kept=kept, tally=tally, steady=steady.now, monotonic=time.monotonic),
                sweep=Sweep(transactions=transactions, kept=kept),
                compaction=Compaction(transactions=transactions, kept=kept, operations=operations),
                scrub=Scrub(
                    transactions=transactions, kept=kept, background=background, mending=mending,
                    monotonic=time.monotonic, days=config.scrub_days,
                    bytes_per_s=config.scrub_mb_per_s * 1_000_000,
                ),
            )  # fmt: skip
    finally:
        db.close()


async def _await_writer(db: Database, catalog: str) -> None:
    """Wait once for a program that holds the catalog, and not at every step: disks are served without writing it."""
    try:
        await asyncio.to_thread(db.write_sync, lambda _conn: None)
    except UnavailableError as error:
        log.warning(
            "catalog.held", catalog=catalog, error=str(error),
            next="the start goes on with what it can read, and the rest is done as soon as the catalog is let go",
        )  # fmt: skip

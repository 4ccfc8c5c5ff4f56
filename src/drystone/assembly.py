"""The parts of a server, put together: nowhere else."""

import asyncio
import contextlib
import functools
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from drystone.catalog import meta
from drystone.catalog.backup import back_up_before_migration
from drystone.catalog.connect import open_database
from drystone.catalog.database import Database
from drystone.catalog.trail import TrailUsage
from drystone.config import Config, environment_of_store
from drystone.domain.ids import IdSource
from drystone.domain.operation import OperationKind
from drystone.engine import run_directory
from drystone.engine.ballast import Ballast
from drystone.engine.clocks import boot_id, uptime
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout
from drystone.objects.contract import StoreTime
from drystone.objects.measured import Tally
from drystone.prove.prover import Prover
from drystone.prove.prover import Settings as MachineSettings
from drystone.service.calls.accounts import Accounts
from drystone.service.calls.browser_sessions import BrowserSessions
from drystone.service.calls.differences import SnapshotDifferences
from drystone.service.calls.disk_lifecycle import DiskLifecycle
from drystone.service.calls.disk_records import DiskRecords
from drystone.service.calls.event_records import EventRecords
from drystone.service.calls.history import History
from drystone.service.calls.host_probe import HostProbe
from drystone.service.calls.host_records import HostRecords
from drystone.service.calls.image_files import ImageFiles
from drystone.service.calls.instances import Instances
from drystone.service.calls.operation_control import OperationControl
from drystone.service.calls.operation_records import OperationRecords
from drystone.service.calls.overview import Overview
from drystone.service.calls.passwords import Passwords
from drystone.service.calls.protection import Protection
from drystone.service.calls.proving import Proving
from drystone.service.calls.quiescing import Quiescing
from drystone.service.calls.snapshot_groups import SnapshotGroups
from drystone.service.calls.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.calls.snapshot_records import SnapshotRecords
from drystone.service.calls.store_health import StoreHealth
from drystone.service.calls.store_space import StoreSpace
from drystone.service.calls.store_status import StoreStatus
from drystone.service.calls.trail import Audit
from drystone.service.calls.trail_records import AuditRecords
from drystone.service.calls.use_cases import UseCases
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.daemons import Daemons
from drystone.service.host.healing import Healing
from drystone.service.host.host import Host
from drystone.service.host.scratch_guard import ScratchGuard
from drystone.service.host.serving import Serving
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.host.watch import Watch
from drystone.service.jobs.attach import Attach, Detach
from drystone.service.jobs.compact import Compact
from drystone.service.jobs.compare import Compare
from drystone.service.jobs.create_disk import CreateDisk
from drystone.service.jobs.delete_snapshot import DeleteSnapshot
from drystone.service.jobs.export_snapshot import ExportSnapshot
from drystone.service.jobs.hydrate import Hydrate
from drystone.service.jobs.import_disk import ImportDisk
from drystone.service.jobs.initialize import Initialize
from drystone.service.jobs.prove import Prove
from drystone.service.jobs.resize import Resize
from drystone.service.jobs.rewrite import Rewrite
from drystone.service.jobs.rollback import Rollback
from drystone.service.jobs.sending import Sending
from drystone.service.jobs.snapshot import TakeSnapshot
from drystone.service.jobs.snapshot_group import TakeSnapshotGroup
from drystone.service.jobs.store_wait import StoreWait
from drystone.service.jobs.terminate import Terminate
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Job, Operations
from drystone.service.room import Room
from drystone.service.rounds import BUG_SECONDS_MAX
from drystone.service.rows.quotas import DiskLimits, SnapshotLimits
from drystone.service.spool import Spool
from drystone.service.transactions import Transactions
from drystone.service.upkeep.backups import Backups
from drystone.service.upkeep.clock import MachineClocks, SteadyClock
from drystone.service.upkeep.compaction import Compaction
from drystone.service.upkeep.confirmation import Confirmation
from drystone.service.upkeep.expiry import Expiry
from drystone.service.upkeep.mending import Mending
from drystone.service.upkeep.observation import Observation
from drystone.service.upkeep.publication import Publication
from drystone.service.upkeep.reaching import Reaching
from drystone.service.upkeep.scrub import Scrub
from drystone.service.upkeep.store_days import StoreDays
from drystone.service.upkeep.store_watch import StoreWatch
from drystone.service.upkeep.sweep import Sweep
from drystone.store_opening import StartError, open_kept, refuse_orphans
from drystone.store_place import first, limits_of, store_place
from drystone.transfer.pool import WorkerPool

MIGRATION_BACKUPS_KEPT = 5
URGENT_SECONDS_MAX = 1.0
"""The longest pause after a bug of a loop that guests wait for."""


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


def jobs(config: Config, parts: Parts) -> dict[OperationKind, Job]:
    """Return what does each kind of operation."""
    transactions, operations, locks = parts.transactions, parts.operations, parts.locks
    layout, room, kept, workers = parts.layout, parts.room, parts.kept, parts.workers
    host, serving, snapshot_server = parts.host, parts.serving, parts.snapshot_server
    sending = Sending(
        transactions=transactions, locks=locks, kept=kept, senders=parts.senders, host=host, spool=parts.spool,
        store_wait=StoreWait(transactions=transactions, kept=kept),
    )  # fmt: skip
    take_snapshot = TakeSnapshot(
        transactions=transactions, operations=operations, locks=locks, kept=kept, workers=workers, host=host,
        sweep=parts.sweep, sending=sending,
    )  # fmt: skip
    machines = MachineSettings(
        images=layout.proofs if config.prove_images == "auto" else Path(config.prove_images),
        kernels=Path(config.prove_kernels), kvm=config.prove_kvm, memory_mib=config.prove_memory_mib,
        seconds_max=config.prove_minutes * 60.0, idle_seconds_max=config.prove_idle_minutes * 60.0,
    )  # fmt: skip
    return {
        OperationKind.CREATE_DISK: CreateDisk(operations=operations, locks=locks, layout=layout, host=host),
        OperationKind.SNAPSHOT: take_snapshot,
        OperationKind.SNAPSHOT_GROUP: TakeSnapshotGroup(
            transactions=transactions, operations=operations, locks=locks, host=host, member=take_snapshot,
            sweep=parts.sweep,
        ),
        OperationKind.DELETE_SNAPSHOT: DeleteSnapshot(
            transactions=transactions, operations=operations, kept=kept, workers=workers, compaction=parts.compaction
        ),
        OperationKind.ROLLBACK: Rollback(
            transactions=transactions, operations=operations, locks=locks, kept=kept, workers=workers, host=host
        ),
        OperationKind.HYDRATE: Hydrate(
            transactions=transactions, operations=operations, locks=locks, layout=layout, kept=kept, host=host,
            snapshot_server=snapshot_server, bytes_per_s=config.hydration_bytes_per_s,
        ),
        OperationKind.RESIZE: Resize(
            transactions=transactions, operations=operations, locks=locks, layout=layout, devices=parts.devices,
            host=host, serving=serving,
        ),
        OperationKind.ATTACH: Attach(transactions=transactions, locks=locks, host=host, serving=serving),
        OperationKind.DETACH: Detach(transactions=transactions, locks=locks, host=host, serving=serving),
        OperationKind.TERMINATE: Terminate(
            transactions=transactions, operations=operations, locks=locks, kept=kept, host=host
        ),
        OperationKind.INITIALIZE: Initialize(
            transactions=transactions, operations=operations, locks=locks, kept=kept, layout=layout, host=host
        ),
        OperationKind.EXPORT: ExportSnapshot(transactions=transactions, room=room, snapshot_server=snapshot_server),
        OperationKind.IMPORT: ImportDisk(transactions=transactions, room=room, host=host),
        OperationKind.COMPACT: Compact(
            transactions=transactions, operations=operations, kept=kept, background=parts.background
        ),
        OperationKind.COMPARE: Compare(
            transactions=transactions, locks=locks, kept=kept, background=parts.background, host=host
        ),
        OperationKind.REWRITE: Rewrite(transactions=transactions, locks=locks, room=room, host=host),
        OperationKind.PROVE: Prove(
            transactions=transactions, layout=layout, room=room, scratch_bytes_max=config.scratch_bytes_max,
            environment=parts.environment, snapshot_server=snapshot_server,
            prover=Prover(settings=machines, environment=parts.environment),
        ),
    }  # fmt: skip


def _quota(config: Config) -> SnapshotLimits:
    return SnapshotLimits(
        per_disk=config.snapshots_per_disk, per_region=config.snapshots_per_region,
        gib_per_region=config.snapshot_gib_per_region,
    )  # fmt: skip


def use_cases_of(config: Config, parts: Parts, accounts: Accounts, passwords: Passwords, qemu_version: str) -> UseCases:
    """Return what the wire calls."""
    db, transactions, operations = parts.db, parts.transactions, parts.operations
    clock, steady = transactions.clock, transactions.steady
    layout, devices, room, host = parts.layout, parts.devices, parts.room, parts.host
    probe = HostProbe(
        transactions=transactions, locks=parts.locks, room=room, host=host, daemons=parts.daemons, clock=parts.clock,
        qemu_version=qemu_version, limits=limits_of(config),
    )  # fmt: skip
    quiescing = Quiescing(
        db=db, clock=clock, environment=parts.environment, own=(layout.data, layout.scratch, layout.run),
        devices=devices,
    )  # fmt: skip
    limits = _quota(config)
    disk_limits = DiskLimits(disks=config.disks_per_account, gib=config.disk_gib_per_account)
    disks = DiskLifecycle(
        transactions=transactions,
        operations=operations,
        host=host,
        layout=layout,
        devices=devices,
        room=room,
        zone=config.zone,
        disks_per_call=config.disks_per_call,
        disks_per_instance=config.disks_per_instance,
        root=os.geteuid() == 0,
        limits=disk_limits,
    )
    snapshots = SnapshotLifecycle(
        transactions=transactions,
        operations=operations,
        ids=parts.ids,
        host=host,
        kept=parts.kept,
        locks=parts.locks,
        layout=layout,
        devices=devices,
        room=room,
        limits=limits,
        quiescing=quiescing,
    )
    proving = Proving(operations=operations, allowed=config.prove, root=os.geteuid() == 0)
    space = StoreSpace(
        transactions=transactions, operations=operations, kept=parts.kept, background=parts.background,
        monotonic=time.monotonic,
    )  # fmt: skip
    image_files = ImageFiles(
        transactions=transactions,
        operations=operations,
        layout=layout,
        room=room,
        zone=config.zone,
        limits=disk_limits,
    )
    control = OperationControl(
        transactions=transactions, operations=operations, disks=disks, snapshots=snapshots, image_files=image_files,
        proving=proving, space=space,
    )  # fmt: skip
    return UseCases(
        disks=disks,
        snapshots=snapshots,
        snapshot_groups=SnapshotGroups(
            transactions=transactions, operations=operations, ids=parts.ids, host=host, kept=parts.kept,
            locks=parts.locks, layout=layout, devices=devices, room=room, limits=limits, quiescing=quiescing,
            disks_max=config.disks_per_instance,
        ),
        quiescing=quiescing,
        proving=proving,
        disk_records=DiskRecords(
            db=db, clock=clock, probe=probe, zone=config.zone, disks_per_instance=config.disks_per_instance
        ),
        snapshot_records=SnapshotRecords(
            db=db, clock=clock, steady=steady, free_quota_gib=config.free_quota_gib
        ),
        instances=Instances(
            db=db, clock=clock, ids=parts.ids, zone=config.zone, disks_per_instance=config.disks_per_instance
        ),
        accounts=accounts, operations=OperationRecords(db=db, clock=clock), operation_control=control,
        host=HostRecords(db=db, probe=probe),
        store_status=StoreStatus(transactions=transactions, kept=parts.kept, watch=parts.store_watch),
        store_health=StoreHealth(transactions=transactions, scrub=parts.scrub),
        space=space,
        clock=parts.clock, confirmation=Confirmation(transactions=transactions),
        image_files=image_files,
        audit=Audit(
            db=db, clock=clock, steady=steady,
            most=TrailUsage(entries=config.audit_entries_max, bytes=config.audit_mb_max * 1_000_000),
        ),
        audit_records=AuditRecords(transactions=transactions), events=EventRecords(transactions=transactions),
        protection=Protection(transactions=transactions),
        passwords=passwords,
        overview=Overview(
            transactions=transactions, room=room, limits=limits,
            disks_per_instance=config.disks_per_instance, disks_per_call=config.disks_per_call,
            disk_limits=disk_limits,
        ),
        history=History(db=db, clock=steady, days=config.history_days),
        differences=SnapshotDifferences(transactions=transactions, kept=parts.kept, background=parts.background),
        authenticate=accounts.authenticate,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What is done again and again while the server runs."""

    name: str
    once: Callable[[], Awaitable[object]]
    seconds: float
    """The pause between two rounds."""
    seconds_max: float = BUG_SECONDS_MAX
    """The longest pause after a bug."""


def loops(config: Config, parts: Parts, use_cases: UseCases, sessions: BrowserSessions) -> tuple[Loop, ...]:
    """Return everything that runs beside the calls (S135)."""
    transactions, operations = parts.transactions, parts.operations
    guard = ScratchGuard(
        transactions=transactions, locks=parts.locks, host=parts.host, room=parts.room, spool=parts.spool,
        bugs=operations.bugs, bytes_max=config.scratch_bytes_max,
    )  # fmt: skip
    expiry = Expiry(
        transactions=transactions, operations=operations, clock=parts.clock,
        percent_per_hour=config.expiry_percent_per_hour, quota=_quota(config),
    )  # fmt: skip
    # A database of PostgreSQL is copied by its own tools.
    minutes = 0 if config.catalog_url else config.backup_minutes
    backups = Backups(
        room=parts.room, steady=transactions.steady, monotonic=time.monotonic, minutes=minutes, kept=config.backups_kept
    )
    observation = Observation(
        transactions=transactions, room=parts.room, clock=parts.clock, store=parts.store_watch, backups=backups
    )
    days = StoreDays(transactions=transactions, tally=parts.tally, room=parts.room)
    days = StoreDays(transactions=transactions, tally=parts.tally, room=parts.room)
    healing = Healing(
        transactions=transactions, operations=operations, monotonic=time.monotonic, after_s=config.rescan_after_s
    )
    publication = Publication(
        transactions=transactions, kept=parts.kept, layout=parts.layout, locks=parts.locks
    )  # fmt: skip
    kept = parts.kept

    def with_store(once: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
        """Leave rounds out while nobody knows whether this catalog is in force (S202)."""

        async def round_of_it() -> None:
            if kept.proven is not None:
                await once()

        return round_of_it

    reaching = Reaching(transactions=parts.transactions, kept=kept, ids=parts.ids)
    return (
        Loop(name="operations", once=operations.run, seconds=1.0),
        # Guests wait for these two.
        Loop(name="space", once=guard.once, seconds=0.1, seconds_max=URGENT_SECONDS_MAX),
        Loop(name="daemons", once=parts.watch.once, seconds=0.5, seconds_max=URGENT_SECONDS_MAX),
        Loop(name="store", once=reaching.once, seconds=5.0),
        Loop(name="deadlines", once=with_store(expiry.begin_due), seconds=10.0),
        Loop(name="publication", once=with_store(publication.publish), seconds=1.0),
        Loop(name="compaction", once=with_store(parts.compaction.once), seconds=20.0),
        # It is looked whether a copy of the catalog is due, whether an hour has begun.
        Loop(name="backup", once=backups.due, seconds=30.0),
        Loop(name="history", once=use_cases.history.due, seconds=30.0),
        Loop(name="healing", once=with_store(healing.begin_due), seconds=1.0),
        Loop(name="scrub", once=with_store(parts.scrub.once), seconds=1.0),
        Loop(name="proving", once=with_store(use_cases.proving.begin_due), seconds=60.0),
        Loop(name="sessions", once=sessions.prune, seconds=600.0),
        # A session may have been fenced at any moment, as by the first work after a start.
        Loop(name="sweep", once=with_store(parts.sweep.sweep), seconds=20.0),
        Loop(name="tidy", once=with_store(parts.sweep.tidy), seconds=600.0),
        Loop(name="ballast", once=lambda: asyncio.to_thread(parts.ballast.fill), seconds=10.0),
        Loop(name="store-watch", once=parts.store_watch.once, seconds=5.0),
        Loop(name="events", once=observation.once, seconds=5.0),
        Loop(name="store-days", once=days.once, seconds=60.0),
        Loop(name="store-days", once=days.once, seconds=60.0),
        Loop(name="old-events", once=observation.prune, seconds=60.0),
        Loop(name="tallies", once=use_cases.audit.tell, seconds=60.0),
        Loop(name="trail", once=use_cases.audit.prune, seconds=5.0),
    )  # fmt: skip

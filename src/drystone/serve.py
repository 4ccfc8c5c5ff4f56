"""The server, put together: one process that serves the API and runs this host's operations."""

import asyncio
import contextlib
import fcntl
import functools
import gc
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import structlog
import uvicorn
import uvloop
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from drystone.api.app import build_application
from drystone.api.hosts import HostGuard, Hosts
from drystone.api.server import listen, server_config
from drystone.api.settings import ApiSettings
from drystone.catalog import meta
from drystone.catalog.audit import AuditUsage
from drystone.catalog.backup import back_up_before_migration
from drystone.catalog.database import Database
from drystone.config import Config
from drystone.console.app import Console, ConsoleSettings
from drystone.console.files import Files
from drystone.credentials import METRICS_TOKEN, Credentials, first_start
from drystone.domain.errors import DrystoneError, UnavailableError
from drystone.domain.ids import IdSource, StoreId
from drystone.domain.login import SessionLimits
from drystone.domain.operation import OperationKind
from drystone.door import Door, connections_allowed, mend_modes, open_door
from drystone.engine import descriptors, run_directory, udev
from drystone.engine.ballast import Ballast
from drystone.engine.clocks import boot_id, uptime
from drystone.engine.layout import Layout
from drystone.engine.space import look
from drystone.engine.throwaway import remove_clones
from drystone.logs import configure_logs, say
from drystone.objects.local import LocalStore
from drystone.prove.prover import Prover
from drystone.prove.prover import Settings as MachineSettings
from drystone.service import epoch
from drystone.service.accounts import Accounts
from drystone.service.audit import Audit
from drystone.service.audit_records import AuditRecords
from drystone.service.backups import Backups
from drystone.service.bases import bring_bases_in_order
from drystone.service.browser_sessions import BrowserSessions
from drystone.service.clock import MachineClocks, SteadyClock
from drystone.service.confirmation import Confirmation
from drystone.service.differences import SnapshotDifferences
from drystone.service.disk_lifecycle import DiskLifecycle
from drystone.service.disk_records import DiskRecords, DiskRecordsConfig
from drystone.service.expiry import Expiry, ExpiryLimits
from drystone.service.healing import Healing
from drystone.service.history import History
from drystone.service.host import Host
from drystone.service.host_probe import HostProbe
from drystone.service.host_records import HostRecords
from drystone.service.image_files import ImageFiles
from drystone.service.installation import Installation
from drystone.service.instances import Instances, InstancesConfig
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
from drystone.service.jobs.snapshot import TakeSnapshot
from drystone.service.jobs.snapshot_group import TakeSnapshotGroup
from drystone.service.jobs.terminate import Terminate
from drystone.service.metrics import InstallationCollector
from drystone.service.operation_records import OperationRecords
from drystone.service.operations import Job, Operations
from drystone.service.overview import Overview
from drystone.service.password_hashing import PasswordHashing
from drystone.service.passwords import Passwords
from drystone.service.proving import Proving
from drystone.service.quiescing import Quiescing
from drystone.service.quotas import DiskLimits, SnapshotLimits
from drystone.service.rounds import insisted, repeat, tried
from drystone.service.scrub import Scrub, ScrubConfig
from drystone.service.snapshot_groups import SnapshotGroups
from drystone.service.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.snapshot_records import SnapshotRecords, SnapshotRecordsConfig
from drystone.service.store_space import StoreSpace
from drystone.service.sweep import clear_scratch
from drystone.service.use_cases import UseCases
from drystone.service.watch import Watch
from drystone.snapstore.reader_copy import keep_reader
from drystone.snapstore.store import Store, create_store, keep_key, open_store, read_epoch, read_owner
from drystone.transfer.pool import WorkerPool

log = structlog.get_logger()
QEMU_MAJOR_MIN = 10
CONSOLE_FILES = Path(__file__).parent / "console_files"
"""The built console, shipped inside the package."""
STOP_SECONDS_MAX = 60.0
GC_THRESHOLD = 20_000
"""Objects that are made before Python looks for cycles; a connection has about forty."""
_PID_BYTES = 16
MIGRATION_BACKUPS_KEPT = 5
TASK_SECONDS = 1.0
"""Pause before what runs for ever is begun again, should a bug end it."""


class StartError(DrystoneError):
    """The server cannot start; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What both `serve` and `host stop` work with."""

    installation: Installation
    host: Host
    clock: SteadyClock


def serve(data: Path, port: int | None) -> None:
    """Serve until SIGTERM or SIGINT; disks stay served by their daemons.

    Raises:
        DrystoneError: It cannot start; nothing was changed but what a start makes in `data`.
    """
    config = _configured(data, port)
    with locked(config.data):
        mend_modes(Layout(config.data))
        listener = _listen(config.host, config.port)
        with contextlib.closing(listener):
            door = open_door(config, listener.getsockname(), monotonic=time.monotonic, now=time.time())
            uvloop.run(_serve(config, listener, door))


def stop(data: Path) -> None:
    """Stop the server of `data` if it runs, then close every disk in order and end its daemons.

    Raises:
        DrystoneError: It does not stop, or there is none.
    """
    config = _configured(data, None)
    if not Layout(config.data).catalog.exists():
        raise StartError(f"{config.data} is not a data directory of Drystone (no catalog.db)")
    _stop_server(config.data)
    with locked(config.data):
        uvloop.run(_stop(config))


def _configured(data: Path, port: int | None) -> Config:
    config = Config.load(data, port=port)
    configure_logs(config.log_level)
    descriptors.raise_limit()
    return config


# --- what must be so before anything is started ---------------------------------------------------------------------


def _qemu_version() -> str:
    """Return the storage daemon's version.

    Raises:
        StartError: It is missing or older than 10.0: older ones were seen to lose data (docs/architecture.md).
    """
    if shutil.which("qemu-storage-daemon") is None or shutil.which("qemu-img") is None:
        raise StartError("qemu-storage-daemon or qemu-img is not installed; run `./dev up`, which installs QEMU 10")
    text = subprocess.run(["qemu-storage-daemon", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", text)
    if found is None or int(found[1]) < QEMU_MAJOR_MIN:
        seen = found[0] if found else repr(text[:40])
        raise StartError(f"QEMU 10.0 or newer is needed and this is {seen}; run `./dev up` to install it")
    return f"{found[1]}.{found[2]}.{found[3]}"


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the data directory for this process: only its holder talks to the storage daemons (L6)."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"{data} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 32).decode().strip() or "unknown"
            raise StartError(f"{data} is served already (pid {pid}); stop that one or choose another --data") from None
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    """Say who holds the lock, over what stands there: on a full file system there may be no other block."""
    text = f"{os.getpid()}\n".encode().ljust(_PID_BYTES)
    try:
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
    except OSError:
        # Nobody is better than somebody who is gone: `host stop` signals whom it finds here.
        os.ftruncate(descriptor, 0)


def _stop_server(data: Path) -> None:
    """End the server that holds the lock, if any, and wait until it has gone."""
    end = time.monotonic() + STOP_SECONDS_MAX
    signalled = False
    while time.monotonic() < end:
        descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = int(os.read(descriptor, 32).decode().strip() or "0")
            if pid > 1 and not signalled:
                os.kill(pid, signal.SIGTERM)
                signalled = True
            time.sleep(0.05)
            continue
        else:
            return
        finally:
            os.close(descriptor)
    raise StartError(f"the server of {data} did not stop within {STOP_SECONDS_MAX:g} s")


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error


# --- the parts ------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _assembled(config: Config, *, with_workers: bool = True) -> AsyncIterator[_Parts]:
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
    _refuse_orphans(layout)
    await asyncio.to_thread(
        back_up_before_migration, layout.catalog, layout.backups, at=time.time(), kept=MIGRATION_BACKUPS_KEPT
    )
    db = Database.open(layout.catalog, make_room=ballast.give)
    try:
        space = look(layout.data, floor_bytes_max=config.floor_bytes_max, floor_percent=config.floor_percent)
        store = await asyncio.to_thread(_store, db, layout, ids, rng, space.floor_bytes)
        # Only operations use these: what was accepted waits its turn.
        workers = WorkerPool(size=config.workers)
        # Two: one writes packs again, one answers who holds what. So many again for accounts that have none at work.
        background = WorkerPool(size=2, reserve=2, nice=19)
        async with contextlib.AsyncExitStack() as pools:
            for pool in (workers, background) if with_workers else ():
                await pools.enter_async_context(pool)
            steady = SteadyClock.open(
                db, MachineClocks(wall=time.time, up=uptime, boot=boot_id(), store=store.objects.clock)
            )
            installation = Installation(
                db=db, clock=time.time, steady=steady.now, monotonic=time.monotonic, ids=ids,
                layout=layout, store=store, workers=workers,
                operations=Operations(db=db, clock=time.time), environment={"PATH": os.environ.get("PATH", os.defpath)},
                throttle=config.throttle, scratch_bytes_max=config.scratch_bytes_max,
                floor_bytes_max=config.floor_bytes_max, floor_percent=config.floor_percent,
                hydration_bytes_per_s=config.hydration_bytes_per_s,
                background=background, compaction_dead_percent=config.compaction_dead_percent,
            )  # fmt: skip
            yield _Parts(installation=installation, host=Host(installation), clock=steady)
    finally:
        db.close()


def _refuse_orphans(layout: Layout) -> None:
    """Refuse to begin anew where a catalog was lost: its store and disks would never be looked at again.

    Raises:
        StartError: There is a store, or a disk, and no catalog.
    """
    if layout.catalog.exists():
        return
    found = [*layout.store.glob("*/owner"), *layout.data.glob("disks/*/disk.json")]
    if found:
        raise StartError(
            f"{layout.data} has {found[0].relative_to(layout.data)} and no catalog.db: put the newest copy back from "
            f"{layout.backups}, or run `drystone store recover --data {layout.data}`"
        )


def _store(db: Database, layout: Layout, ids: IdSource, rng: random.Random, floor_bytes: int) -> Store:
    """Open the store of this catalog, or make it; raise its epoch (F5).

    Raises:
        StartError: Another catalog owns it, or a newer state of this catalog has used it.
    """
    objects = LocalStore(layout.store, floor_bytes)
    known = db.read_sync(meta.everything)
    new = "store_id" not in known
    if new:
        store_id, owner = StoreId(ids.hex128()), ids.hex128()
        store = create_store(objects, store_id, owner, rng.randbytes(32))
        values = {"store_id": store_id, "owner": owner, epoch.KEY: "0", "created_at": str(time.time())}
        db.write_sync(lambda conn: _remember(conn, values))
        known = db.read_sync(meta.everything)
    store = open_store(objects, StoreId(known["store_id"]))
    owner, published, remembered = read_owner(store), read_epoch(store), int(known[epoch.KEY])
    if owner != known["owner"]:
        raise StartError(f"the snapshot store {store.store_id} is owned by another catalog; this one must not touch it")
    if published > remembered:
        raise StartError(
            f"this catalog is older than its snapshot store (epoch {remembered} against {published}): put the newest "
            f"catalog.db back, or run `drystone store reconcile --data {layout.data}`, which imports what it lacks"
        )
    try:
        db.write_sync(epoch.raise_epoch)  # Published before anything is changed; raised again before a deletion (S80).
        if keep_key(store) and not new:
            log.warning("store.key_written", store_id=store.store_id)
        keep_reader(store)
    except UnavailableError as error:
        log.warning("store.root_not_written", error=str(error))
    return store


def _remember(conn: Connection, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        meta.put(conn, key, value)


def _jobs(config: Config, parts: _Parts) -> dict[OperationKind, Job]:
    installation, host = parts.installation, parts.host
    take_snapshot = TakeSnapshot(installation, host)
    machines = MachineSettings(
        images=installation.layout.proofs if config.prove_images == "auto" else Path(config.prove_images),
        kernels=Path(config.prove_kernels), kvm=config.prove_kvm, memory_mib=config.prove_memory_mib,
        seconds_max=config.prove_minutes * 60.0, at_once=config.prove_at_once,
    )  # fmt: skip
    prover = Prover(settings=machines, environment=installation.environment)
    return {
        OperationKind.CREATE_DISK: CreateDisk(installation, host),
        OperationKind.SNAPSHOT: take_snapshot,
        OperationKind.SNAPSHOT_GROUP: TakeSnapshotGroup(installation, host, take_snapshot),
        OperationKind.DELETE_SNAPSHOT: DeleteSnapshot(installation),
        OperationKind.ROLLBACK: Rollback(installation, host),
        OperationKind.HYDRATE: Hydrate(installation, host),
        OperationKind.RESIZE: Resize(installation, host),
        OperationKind.ATTACH: Attach(installation, host),
        OperationKind.DETACH: Detach(installation, host),
        OperationKind.TERMINATE: Terminate(installation, host),
        OperationKind.INITIALIZE: Initialize(installation, host),
        OperationKind.EXPORT: ExportSnapshot(installation),
        OperationKind.IMPORT: ImportDisk(installation, host),
        OperationKind.COMPACT: Compact(installation),
        OperationKind.COMPARE: Compare(installation, host),
        OperationKind.REWRITE: Rewrite(installation, host),
        OperationKind.PROVE: Prove(installation, prover),
    }


def _quota(config: Config) -> SnapshotLimits:
    return SnapshotLimits(
        per_disk=config.snapshots_per_disk, per_region=config.snapshots_per_region,
        gib_per_region=config.snapshot_gib_per_region,
    )  # fmt: skip


def _use_cases(config: Config, parts: _Parts, accounts: Accounts, passwords: Passwords, qemu_version: str) -> UseCases:
    installation, host = parts.installation, parts.host
    db, clock, steady = installation.db, installation.clock, installation.steady
    probe = HostProbe(installation=installation, host=host, clock=parts.clock, qemu_version=qemu_version)
    quiescing = Quiescing(
        db=db, clock=clock, environment=installation.environment,
        own=(installation.layout.data, installation.layout.scratch, installation.layout.run),
        devices=installation.devices,
    )  # fmt: skip
    limits = _quota(config)
    disk_limits = DiskLimits(disks=config.disks_per_account, gib=config.disk_gib_per_account)
    return UseCases(
        disks=DiskLifecycle(
            installation=installation, host=host, zone=config.zone, disks_per_call=config.disks_per_call,
            disks_per_instance=config.disks_per_instance, root=os.geteuid() == 0,
            limits=disk_limits,
        ),
        snapshots=SnapshotLifecycle(installation=installation, host=host, limits=limits, quiescing=quiescing),
        snapshot_groups=SnapshotGroups(
            installation=installation, host=host, limits=limits, quiescing=quiescing,
            disks_max=config.disks_per_instance,
        ),
        quiescing=quiescing,
        proving=Proving(installation=installation, allowed=config.prove, root=os.geteuid() == 0),
        disk_records=DiskRecords(
            db=db, clock=clock, engine=probe,
            config=DiskRecordsConfig(zone=config.zone, disks_per_instance=config.disks_per_instance),
        ),
        snapshot_records=SnapshotRecords(
            db=db, clock=clock, steady=steady, config=SnapshotRecordsConfig(free_quota_gib=config.free_quota_gib)
        ),
        instances=Instances(
            db=db, clock=clock, ids=installation.ids,
            config=InstancesConfig(zone=config.zone, disks_per_instance=config.disks_per_instance),
        ),
        accounts=accounts, operations=OperationRecords(db=db), host=HostRecords(db=db, probe=probe),
        store_health=Scrub(
            installation=installation, host=host,
            config=ScrubConfig(days=config.scrub_days, bytes_per_s=config.scrub_mb_per_s * 1_000_000),
        ),
        space=StoreSpace(installation), clock=parts.clock,
        confirmation=Confirmation(installation=installation),
        image_files=ImageFiles(installation=installation, zone=config.zone, limits=disk_limits),
        audit=Audit(
            db=db, clock=clock, steady=steady,
            most=AuditUsage(entries=config.audit_entries_max, bytes=config.audit_mb_max * 1_000_000),
        ),
        audit_records=AuditRecords(db=db, long_reads=installation.long_reads),
        passwords=passwords,
        overview=Overview(
            installation=installation, clock=parts.clock, limits=limits, disks_per_instance=config.disks_per_instance,
            disks_per_call=config.disks_per_call, disk_limits=disk_limits,
        ),
        history=History(db=db, clock=steady, days=config.history_days), differences=SnapshotDifferences(installation),
        authenticate=accounts.authenticate,
    )  # fmt: skip


class _Server(uvicorn.Server):
    """uvicorn without its own ideas of signals: this process decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def _serve(config: Config, listener: socket.socket, door: Door) -> None:
    qemu_version = _qemu_version()
    endpoint = door.endpoint
    async with _assembled(config) as parts:
        installation, host = parts.installation, parts.host
        accounts = Accounts(db=installation.db, clock=time.time, ids=installation.ids)
        credentials = Credentials(
            config=config, installation=installation, endpoint=endpoint, tls_ca=door.ca,
            tls_fingerprint=door.fingerprint,
        )  # fmt: skip

        async def password_changed() -> None:
            # Keys may have gone with it.
            accounts.forget()
            await credentials.refresh(passwords)

        passwords = Passwords(
            db=installation.db, clock=time.time, ids=installation.ids, hashing=PasswordHashing(),
            changed=password_changed,
        )  # fmt: skip
        await tried("clock", parts.clock.look)
        await udev.leave_disks_alone()
        written = await first_start(accounts, passwords, credentials)
        await insisted("take_over", host.take_over, installation.bugs)
        await tried("mend_bases", lambda: bring_bases_in_order(installation.db))
        await tried("clear_scratch", lambda: asyncio.to_thread(clear_scratch, installation))
        await tried("publish_epoch", lambda: epoch.publish(installation))
        installation.operations.serve(_jobs(config, parts))
        registry = CollectorRegistry()
        registry.register(InstallationCollector(installation, parts.clock))
        use_cases = _use_cases(config, parts, accounts, passwords, qemu_version)
        api = build_application(
            use_cases,
            settings=ApiSettings(
                region=config.region, time_zone_offset_hours=config.time_zone_offset_hours,
                rate_limits=config.rate_limits, rate_per_action=config.rate_per_action,
                rates_per_action={"DescribeDisks": config.rate_describe_disks},
                metrics_token=await installation.db.read(lambda conn: meta.get(conn, METRICS_TOKEN)),
                rate_per_account=config.rate_per_account,
            ),
            clock=time.time, steady=installation.steady, monotonic=time.monotonic,
            request_id=installation.ids.uuid, registry=registry,
        )  # fmt: skip
        sessions = BrowserSessions(
            db=installation.db, clock=installation.steady, ids=installation.ids,
            limits=SessionLimits(
                idle_s=config.console_idle_minutes * 60.0, age_s=config.console_session_hours * 3600.0
            ),
            keys_revoked=accounts.forget,
        )  # fmt: skip
        console = Console(
            api=api, files=await asyncio.to_thread(Files.load, CONSOLE_FILES), passwords=passwords, sessions=sessions,
            audit=use_cases.audit,
            settings=ConsoleSettings(
                zones=(config.zone,), version=version("drystone"), session_age_s=sessions.limits.age_s,
                proofs=config.prove,
            ),
            monotonic=time.monotonic, request_id=installation.ids.uuid,
        )  # fmt: skip
        guarded = HostGuard(
            console, hosts=Hosts((*config.host_names, config.host)), request_id=installation.ids.uuid
        )  # fmt: skip
        address, port = listener.getsockname()[:2]
        server = _Server(
            server_config(
                guarded, host=address, port=port, connections_max=connections_allowed(config),
                connections_per_address=config.connections_per_address, certificates=door.certificates,
            )
        )  # fmt: skip
        watch = Watch(
            installation=installation, host=host,
            expiry=Expiry(
                installation=installation, clock=parts.clock,
                limits=ExpiryLimits(percent_per_hour=config.expiry_percent_per_hour, quota=_quota(config)),
            ),
            backups=Backups(installation=installation, minutes=config.backup_minutes, kept=config.backups_kept),
            healing=Healing(installation=installation, after_s=config.rescan_after_s), scrub=use_cases.store_health,
            proving=use_cases.proving, history=use_cases.history, sessions=sessions,
            audit=use_cases.audit,
        )  # fmt: skip
        loop = asyncio.get_running_loop()

        def end() -> None:
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        await tried("revive", host.revive_all)
        await tried("release_idle", host.release_idle)
        async with asyncio.TaskGroup() as tasks:
            # S135: they go on, whatever they meet.
            background = [
                tasks.create_task(repeat(name, TASK_SECONDS, run, installation.bugs))
                for name, run in (("operations", installation.operations.run), ("watch", watch.run))
            ]
            if not written:
                late = insisted("credentials", lambda: credentials.refresh(passwords), installation.bugs)
                background.append(tasks.create_task(late))
            tasks.create_task(_say_ready(server, endpoint, installation.workers))
            await server.serve(sockets=[listener])
            for task in background:
                task.cancel()
        await use_cases.audit.close()
        await host.leave()
        log.info("server.stopped")


async def _say_ready(server: uvicorn.Server, endpoint: str, workers: WorkerPool) -> None:
    while not server.started:
        if server.should_exit:
            return
        await asyncio.sleep(0.005)
    # What a start has made stays: walking it all took a third of a second of every full collection, and of every call
    # meanwhile. Fewer collections for thousands of connections at once.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    say(f"ready {endpoint}", sys.stdout)  # The contract with whoever started us.
    # Their start would have slowed ours: there may be one core, and clients wait.
    await workers.warm()


async def _stop(config: Config) -> None:
    async with _assembled(config, with_workers=False) as parts:
        await parts.host.take_over()
        await remove_clones(parts.installation.layout)
        await parts.host.stop()
        left = parts.host.left_running()
        if left:
            raise StartError(f"these processes still run, and hold disks: {', '.join(left)}")

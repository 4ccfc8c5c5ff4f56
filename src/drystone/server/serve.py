"""The server: one process that serves the API and runs this host's operations."""

import asyncio
import contextlib
import fcntl
import gc
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import structlog
import uvicorn
import uvloop
from prometheus_client import CollectorRegistry

from drystone.api.app import build_application
from drystone.api.hosts import HostGuard, Hosts
from drystone.api.server import listen, server_config
from drystone.api.settings import ApiSettings
from drystone.catalog import meta
from drystone.config import Config
from drystone.console.app import Console, ConsoleSettings
from drystone.console.files import Files
from drystone.domain.login import SessionLimits
from drystone.engine import descriptors, udev
from drystone.engine.layout import Layout
from drystone.engine.throwaway import remove_clones
from drystone.logs import configure_logs, say
from drystone.server.assembly import jobs, use_cases_of
from drystone.server.credentials import METRICS_TOKEN, Credentials, first_start
from drystone.server.door import Door, connections_allowed, mend_modes, open_door
from drystone.server.loops import loops
from drystone.server.parts import assembled
from drystone.server.store_opening import StartError
from drystone.service.calls.accounts import Accounts
from drystone.service.calls.browser_sessions import BrowserSessions
from drystone.service.calls.metrics import InstallationCollector
from drystone.service.calls.password_hashing import PasswordHashing
from drystone.service.calls.passwords import Passwords
from drystone.service.rounds import insisted, repeat, tried
from drystone.service.rows.bases import mend_bases
from drystone.service.upkeep import epoch
from drystone.service.upkeep.sweep import clear_scratch, clear_spool
from drystone.transfer.pool import WorkerPool

log = structlog.get_logger()
QEMU_MAJOR_MIN = 10
CONSOLE_FILES = Path(__file__).parent.parent / "console_files"
"""The built console, shipped inside the package."""
STOP_SECONDS_MAX = 60.0
GC_THRESHOLD = 20_000
"""Objects that are made before Python looks for cycles; a connection has about forty."""
_PID_BYTES = 16


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
    if config.catalog_url is None and not Layout(config.data).catalog.exists():
        raise StartError(f"{config.data} is not a data directory of Drystone (no catalog.db)")
    _stop_server(config.data)
    with locked(config.data):
        uvloop.run(_stop(config))


def _configured(data: Path, port: int | None) -> Config:
    config = Config.load(data, port=port)
    configure_logs(config.log_level)
    descriptors.raise_limit()
    descriptors.forbid_core_dumps()
    return config


# --- what must be so before anything is started ---------------------------------------------------------------------


def _qemu_version() -> str:
    """Return the storage daemon's version.

    Raises:
        StartError: It is missing or older than 10.0: older ones were seen to lose data (docs/decide/README.md).
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


class _Server(uvicorn.Server):
    """uvicorn without its own ideas of signals: this process decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def _serve(config: Config, listener: socket.socket, door: Door) -> None:
    qemu_version = _qemu_version()
    endpoint = door.endpoint
    async with assembled(config) as parts:
        watch, bugs = parts.watch, parts.operations.bugs
        accounts = Accounts(db=parts.db, clock=time.time, ids=parts.ids)
        credentials = Credentials(
            config=config, transactions=parts.transactions, ballast=parts.ballast, ids=parts.ids,
            endpoint=endpoint, tls_ca=door.ca, tls_fingerprint=door.fingerprint,
        )  # fmt: skip

        async def password_changed() -> None:
            # Keys may have gone with it.
            accounts.forget()
            await credentials.refresh(passwords)

        passwords = Passwords(
            db=parts.db, clock=time.time, ids=parts.ids, hashing=PasswordHashing(),
            changed=password_changed,
        )  # fmt: skip
        await tried("clock", parts.clock.look)
        await udev.leave_disks_alone()
        written = await first_start(accounts, passwords, credentials)
        await insisted("take_over", watch.take_over, bugs)
        await tried("mend_bases", lambda: mend_bases(parts.transactions))
        await tried("clear_scratch", lambda: clear_scratch(parts.transactions, parts.layout))
        await tried("clear_spool", lambda: clear_spool(parts.transactions, parts.spool))
        await tried("remove_clones", lambda: remove_clones(parts.layout))
        await tried("publish_epoch", lambda: epoch.publish(parts.transactions, parts.kept))
        parts.operations.serve(jobs(config, parts))
        registry = CollectorRegistry()
        registry.register(
            InstallationCollector(
                db=parts.db,
                room=parts.room,
                bugs=bugs,
                clock=parts.clock,
                tally=parts.tally,
                count=parts.snapshot_server.count,
                policy_runs=parts.policy_runs,
            )
        )
        use_cases = use_cases_of(config, parts, accounts, passwords, qemu_version)
        api = build_application(
            use_cases,
            settings=ApiSettings(
                region=config.region, time_zone_offset_hours=config.time_zone_offset_hours,
                rate_limits=config.rate_limits, rate_per_action=config.rate_per_action,
                rates_per_action={"DescribeDisks": config.rate_describe_disks},
                metrics_token=await parts.db.read(lambda conn: meta.get(conn, METRICS_TOKEN)),
                rate_per_account=config.rate_per_account,
            ),
            clock=time.time, steady=parts.transactions.steady, monotonic=time.monotonic,
            request_id=parts.ids.uuid, registry=registry,
        )  # fmt: skip
        sessions = BrowserSessions(
            db=parts.db, clock=parts.transactions.steady, ids=parts.ids,
            limits=SessionLimits(
                idle_s=config.console_idle_minutes * 60.0, age_s=config.console_session_hours * 3600.0
            ),
            keys_revoked=accounts.forget,
        )  # fmt: skip
        console = Console(
            api=api, files=await asyncio.to_thread(Files.load, CONSOLE_FILES), passwords=passwords, sessions=sessions,
            record=use_cases.audit.record,
            settings=ConsoleSettings(
                zones=(config.zone,), version=version("drystone"), session_age_s=sessions.limits.age_s,
                proofs=config.prove,
            ),
            monotonic=time.monotonic, request_id=parts.ids.uuid,
        )  # fmt: skip
        guarded = HostGuard(
            console, hosts=Hosts((*config.host_names, config.host)), request_id=parts.ids.uuid
        )  # fmt: skip
        address, port = listener.getsockname()[:2]
        server = _Server(
            server_config(
                guarded, host=address, port=port, connections_max=connections_allowed(config),
                connections_per_address=config.connections_per_address, certificates=door.certificates,
            )
        )  # fmt: skip
        rounds = loops(config, parts, use_cases, sessions)
        loop = asyncio.get_running_loop()

        def end() -> None:
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        await tried("revive", watch.revive_all)
        await tried("release_idle", watch.release_idle)
        async with asyncio.TaskGroup() as tasks:
            # S135: they go on, whatever they meet.
            background = [
                tasks.create_task(repeat(one.name, one.seconds, one.once, bugs, seconds_max=one.seconds_max))
                for one in rounds
            ]
            if not written:
                late = insisted("credentials", lambda: credentials.refresh(passwords), bugs)
                background.append(tasks.create_task(late))
            tasks.create_task(_say_ready(server, endpoint, parts.workers))
            await server.serve(sockets=[listener])
            for task in background:
                task.cancel()
        await use_cases.audit.close()
        await watch.leave()
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
    async with assembled(config, with_workers=False) as parts:
        await parts.watch.take_over()
        await remove_clones(parts.layout)
        await parts.watch.stop()
        left = parts.daemons.left_running()
        if left:
            raise StartError(f"these processes still run, and hold disks: {', '.join(left)}")

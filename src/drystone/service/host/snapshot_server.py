"""The process from which disks that hydrate read their snapshot; it outlives the control plane, like the daemons."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import structlog

from drystone.catalog import snapshots
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import SnapshotId
from drystone.engine import process
from drystone.engine.graph import Backing
from drystone.nbd.client import NbdClient
from drystone.nbd.server import waiting_name
from drystone.service.installation import Installation

log = structlog.get_logger()
WAITED_MS_MAX = 100
"""A request this old may stay for minutes: whatever waits for it must not be begun (F13)."""
ANSWER_SECONDS_MAX = 1.0
CALM_SECONDS_MAX = 10.0
ASK_SECONDS = 0.02


class SlowSourceError(UnavailableError):
    """The snapshot that a disk is filled from is not read in time just now."""


def _directory(installation: Installation) -> Path:
    return installation.layout.store_socket.parent


async def ensure(installation: Installation) -> None:
    """Have it running; storage daemons reconnect to a new one by themselves.

    Raises:
        UnavailableError: It does not start.
    """
    directory = _directory(installation)
    async with installation.snapshot_server_lock:
        running = await asyncio.to_thread(process.adopt, directory)
        if running is not None and installation.layout.store_socket.exists():
            if not await asyncio.to_thread(_reads_another, running.pid, installation.layout.store):
                return
            log.info("snapserver.replaced", reason="the store was moved")
        if running is not None:
            await running.end()  # Who reads from it connects again.
        await process.start(
            (sys.executable, "-P", "-m", "drystone.transfer.snapserver", "--root", str(installation.layout.store),
             "--store", installation.store.store_id, "--socket", str(installation.layout.store_socket)),
            directory=directory, log_file=installation.layout.logs / "snapshot-server.log",
            ready=installation.layout.store_socket, environment=installation.environment, alone=True,
        )  # fmt: skip


def _reads_another(pid: int, store: Path) -> bool:
    """Tell whether a snapshot server reads another place than this store, whatever its name was when it started.

    Only what was seen counts: guests read from it, and a store that cannot be looked at for a moment has not moved.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        root = Path(os.fsdecode(words[words.index(b"--root") + 1]))
        here = store.stat()
    except (OSError, ValueError):
        return False
    try:
        there = root.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


async def serving(installation: Installation, snapshot_id: SnapshotId) -> Backing:
    """Have it running; return where it serves a snapshot.

    By the manifest that was committed: an attempt that was given up may have left another of the same snapshot, which
    is there until the next sweep (L6).

    Raises:
        UnavailableError: It does not start.
    """
    await ensure(installation)
    row = await installation.db.read(lambda conn: snapshots.get(conn, snapshot_id))
    session = None if row is None else row.session_id
    export = snapshot_id if session is None else f"{snapshot_id}/{session}"
    return Backing(socket=installation.layout.store_socket, export=export)


async def end(installation: Installation) -> None:
    """End it; no disk that hydrates may be open."""
    running = await asyncio.to_thread(process.adopt, _directory(installation))
    if running is not None:
        await running.end()


async def calm(installation: Installation, pid: int) -> None:
    """Return once nothing that a storage daemon has asked for waits for long.

    A command that drains the daemon's graph waits for all that was asked for, and its guests wait with it (F13).

    Raises:
        SlowSourceError: There was no such moment in time, or the server does not answer.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + CALM_SECONDS_MAX
    while True:
        with contextlib.suppress(UnavailableError):
            if await asyncio.to_thread(_waited_ms, installation.layout.store_socket, pid) <= WAITED_MS_MAX:
                return
        if loop.time() >= end:
            raise SlowSourceError("the snapshot that the disk is filled from is not read in time; try again later")
        await asyncio.sleep(ASK_SECONDS)


def _waited_ms(socket: Path, pid: int) -> int:
    with NbdClient(socket, waiting_name(pid), timeout_s=ANSWER_SECONDS_MAX) as client:
        return client.size_bytes

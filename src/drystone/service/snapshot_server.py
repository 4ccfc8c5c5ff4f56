"""The process from which disks that hydrate read their snapshot; it outlives the control plane, like the daemons."""

import sys
from pathlib import Path

from drystone.engine import process
from drystone.service.installation import Installation


def _directory(installation: Installation) -> Path:
    return installation.layout.store_socket.parent


async def ensure(installation: Installation) -> None:
    """Have it running; storage daemons reconnect to a new one by themselves.

    Raises:
        UnavailableError: It does not start.
    """
    directory = _directory(installation)
    async with installation.snapshot_server_lock:
        if process.adopt(directory) is not None and installation.layout.store_socket.exists():
            return
        await process.start(
            (sys.executable, "-P", "-m", "drystone.transfer.snapserver", "--root", str(installation.layout.store),
             "--store", installation.store.store_id, "--socket", str(installation.layout.store_socket)),
            directory=directory, log=installation.layout.logs / "snapshot-server.log",
            ready=installation.layout.store_socket, environment=installation.environment,
        )  # fmt: skip


async def end(installation: Installation) -> None:
    """End it; no disk that hydrates may be open."""
    running = process.adopt(_directory(installation))
    if running is not None:
        await running.end()

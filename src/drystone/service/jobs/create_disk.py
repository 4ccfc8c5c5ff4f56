"""Making a disk's image, empty or over a snapshot."""

import asyncio

import numpy as np
from sqlalchemy import Connection

from drystone.catalog import disks, operations, sessions
from drystone.domain.blocks import EMPTY
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import SessionId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.engine import checkpoints, images
from drystone.engine.graph import Backing
from drystone.service import tokens
from drystone.service.host import Host, size_bytes
from drystone.service.installation import Installation
from drystone.service.jobs import endings


async def make_image(installation: Installation, disk: Disk, *, epoch: int) -> None:
    """Make the disk's image as its row says and the checkpoint that is bound to it; whatever was there goes.

    A disk with a source snapshot reads from the snapshot server until it is hydrated. The caller's transaction
    afterwards makes the row STOPPED in `epoch`.
    """
    layout = installation.layout
    backing = None
    if disk.source_snapshot_id is not None:
        backing = Backing(socket=layout.store_socket, export=disk.source_snapshot_id)
    await images.create(layout.image(disk.id), size_bytes(disk), backing)
    await asyncio.to_thread(
        checkpoints.write, layout.checkpoint(disk.id),
        disk_id=disk.id, epoch=epoch, image=layout.image(disk.id), ranges=np.array(EMPTY),
    )  # fmt: skip


class CreateDisk:
    """CREATING → UNATTACHED; a disk from a snapshot goes on as a hydrate operation."""

    def __init__(self, installation: Installation, host: Host) -> None:
        self._in = installation
        self._host = host

    async def run(self, operation: Operation) -> None:
        """Make the files, then show the disk."""
        assert operation.disk_id is not None
        disk = await self._host.row(operation.disk_id)
        await asyncio.to_thread(self._host.describe, disk)
        await make_image(self._in, disk, epoch=disk.epoch)

        def show(conn: Connection) -> Operation | None:
            at = self._in.clock()
            expected = {"state": DiskState.CREATING}
            if not disks.compare_and_set(conn, disk.id, expected=expected, values={"state": DiskState.UNATTACHED}):
                raise UnavailableError(f"disk {disk.id} is no longer being created")
            endings.done(conn, operation, at=at)
            if disk.source_snapshot_id is None:
                return None
            hydrate = hydrate_operation(self._in, disk, str(operation.payload["session"]), at=at)
            operations.insert(conn, hydrate)
            return hydrate

        following = await self._in.db.write(show)
        if following is not None:
            self._in.operations.wake(following.id)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take back the row, the files, and the call's client token: the call may be over, or of a killed server."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id

        def withdraw(conn: Connection) -> None:
            at = self._in.clock()
            disks.delete(conn, disk_id)
            session = operation.payload.get("session")
            if session is not None:
                sessions.fence(conn, SessionId(str(session)), at=at)
            token = operation.payload.get("client_token")
            if token is not None:
                tokens.forget(conn, operation.account_id, token=str(token))
            endings.failed(conn, operation, at=at, code=code, message=message)

        await self._in.db.write(withdraw)
        await asyncio.to_thread(remove_files, self._in, disk_id)


def hydrate_operation(installation: Installation, disk: Disk, session: str, *, at: float) -> Operation:
    """Return the row of the operation that fills a disk from its source; the session pins the source."""
    return Operation(
        id=installation.ids.operation(), kind=OperationKind.HYDRATE, account_id=disk.account_id, disk_id=disk.id,
        snapshot_id=disk.source_snapshot_id, state=OperationState.RUNNING, phase="COPYING",
        payload={"session": session}, created_at=at, updated_at=at,
    )  # fmt: skip


def remove_files(installation: Installation, disk_id: str) -> None:
    """Remove a disk's directory; does nothing if it is gone."""
    directory = installation.layout.data / "disks" / disk_id
    if not directory.is_dir():
        return
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()
    images.sync_file(directory.parent)

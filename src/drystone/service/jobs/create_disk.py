"""Making a disk's image, empty or over a snapshot."""

import asyncio

from sqlalchemy import Connection

from drystone.catalog import disks, operations, sessions
from drystone.domain.blocks import EMPTY
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId, SessionId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.payloads import CreateDiskPayload, SessionPayload
from drystone.engine.graph import Backing
from drystone.engine.volume import volume_of
from drystone.service.host.host import Host
from drystone.service.installation import Installation
from drystone.service.rows import endings, tokens
from drystone.service.rows.deletions import mark_terminating
from drystone.service.transactions import Change

MADE = "MADE"
"""Phase of an operation whose disk is made and waits for the others of its call."""


async def make_image(installation: Installation, disk: Disk, *, epoch: int) -> None:
    """Make the disk's image as its row says and the checkpoint that is bound to it; whatever was there goes.

    A disk with a source snapshot reads from the snapshot server until it is hydrated. The caller's transaction
    afterwards makes the row STOPPED in `epoch`.
    """
    layout = installation.layout
    volume = volume_of(layout, disk.id)
    backing = None
    if disk.source_snapshot_id is not None:
        backing = Backing(socket=layout.store_socket, export=disk.source_snapshot_id)
    await volume.create(disk.size_bytes, backing)
    await asyncio.to_thread(volume.record, epoch, EMPTY)


class CreateDisk:
    """CREATING → UNATTACHED; a disk from a snapshot goes on as a hydrate operation.

    The disks of one call are shown together, by the operation that made the last of them, or not at all (S29).
    """

    def __init__(self, installation: Installation, host: Host) -> None:
        self._in = installation
        self._host = host

    async def run(self, operation: Operation) -> None:
        """Make the files, then show the disks of the call if all of them are made."""
        assert operation.disk_id is not None
        # What was made may be somebody's by now: only before the row said MADE is it made again.
        if operation.phase != MADE:
            await self._make(operation.disk_id)
        for following in await self._in.db.write(lambda conn: self._made(conn, operation)):
            self._in.operations.wake(following.id)

    async def _make(self, disk_id: DiskId) -> None:
        # Another disk of the call may fail meanwhile: what removes this one's files waits for the lock.
        async with self._in.locks.image(disk_id):
            disk = await self._host.row(disk_id)
            if disk.state is not DiskState.CREATING:
                raise UnavailableError(f"disk {disk_id} is no longer being created")
            await self._host.describe(disk)
            await make_image(self._in, disk, epoch=disk.epoch)

    def _made(self, conn: Connection, operation: Operation) -> list[Operation]:
        """Note that the disk is made; if it was the last of its call, show them all."""
        at = self._in.clock()
        if not operations.update(conn, operation.id, updated_at=at, phase=MADE):
            raise UnavailableError(f"disk {operation.disk_id} is no longer being created")
        # Each of the call's disks comes here: all rows are read by the last one alone.
        if operations.any_running_outside_phase(conn, _disk_ids(operation), OperationKind.CREATE_DISK, MADE):
            return []
        together = _together(conn, operation)
        return [following for other in together for following in self._show(conn, other, at=at)]

    def _show(self, conn: Connection, operation: Operation, *, at: float) -> list[Operation]:
        assert operation.disk_id is not None
        expected, values = {"state": DiskState.CREATING}, {"state": DiskState.UNATTACHED}
        changed = disks.compare_and_set(conn, operation.disk_id, expected=expected, values=values)
        assert changed, "CREATING has a RUNNING operation, and this is it"  # S1
        endings.done(conn, operation, at=at)
        disk = disks.get(conn, operation.disk_id)
        assert disk is not None
        if disk.source_snapshot_id is None:
            return []
        hydrate = hydrate_operation(self._in, disk, _wanted(operation).session, at=at)
        operations.insert(conn, hydrate)
        return [hydrate]

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take back all disks of the call, and its client token: the call may be over, or of a killed server."""

        def withdraw(change: Change) -> None:
            # None of them, if another disk of the call has failed before.
            together = _together(change.conn, operation)
            token = _wanted(operation).client_token
            if together and token is not None:
                tokens.forget(change.conn, operation.account_id, token=token)
            for other in together:
                _withdraw(change, other, code=code, message=message)

        await self._in.operations.begin(withdraw)


def _withdraw(change: Change, operation: Operation, *, code: str, message: str) -> None:
    assert operation.disk_id is not None
    session = _wanted(operation).session
    if session is not None:
        sessions.fence(change.conn, session, at=change.at)
    endings.failed(change.conn, operation, at=change.at, code=code, message=message)
    disk = disks.get(change.conn, operation.disk_id)
    assert disk is not None
    assert disk.state is DiskState.CREATING, "CREATING has a RUNNING operation, and this is it"  # S1
    mark_terminating(change, disk, (), request_id=operation.request_id)


def _together(conn: Connection, operation: Operation) -> list[Operation]:
    """Return the RUNNING operations that make the disks of one call."""
    return operations.running_on_disks(conn, _disk_ids(operation), OperationKind.CREATE_DISK)


def _wanted(operation: Operation) -> CreateDiskPayload:
    return operation.payload_as(CreateDiskPayload)


def _disk_ids(operation: Operation) -> tuple[DiskId, ...]:
    """Return the disks of an operation's call."""
    assert operation.disk_id is not None
    return _wanted(operation).disk_ids or (operation.disk_id,)


def hydrate_operation(installation: Installation, disk: Disk, session: SessionId | None, *, at: float) -> Operation:
    """Return the row of the operation that fills a disk from its source; the session pins the source."""
    assert session is not None, "a disk with a source has a session"
    return Operation(
        id=installation.ids.operation(), kind=OperationKind.HYDRATE, account_id=disk.account_id, disk_id=disk.id,
        snapshot_id=disk.source_snapshot_id, state=OperationState.RUNNING, phase="COPYING",
        payload=SessionPayload(session=session), created_at=at, updated_at=at,
    )  # fmt: skip

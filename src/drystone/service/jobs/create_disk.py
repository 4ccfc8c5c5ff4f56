"""Making a disk's image, empty or over a snapshot."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import operations, sessions
from drystone.domain.blocks import EMPTY
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import Refusal, RefusalError, UnavailableError
from drystone.domain.ids import DiskId, SessionId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import CreateDiskPayload, SessionPayload
from drystone.engine.graph import Backing
from drystone.engine.layout import Layout
from drystone.engine.volume import Volume
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.operations import Operations
from drystone.service.rows import endings, tokens
from drystone.service.rows.deletions import mark_terminating
from drystone.service.rows.sharing import revoked
from drystone.service.rows.tracking import disk_row
from drystone.service.transactions import Change, Transactions

MADE = "MADE"
"""Phase of an operation whose disk is made and waits for the others of its call."""


async def make_image(volume: Volume, layout: Layout, disk: Disk, *, epoch: int) -> None:
    """Make the disk's image as its row says and the checkpoint that is bound to it; whatever was there goes.

    A disk with a source snapshot reads from the snapshot server until it is hydrated. The caller's transaction
    afterwards makes the row STOPPED in `epoch`.
    """
    backing = None
    if disk.source_snapshot_id is not None:
        backing = Backing(socket=layout.store_socket, export=disk.source_snapshot_id)
    await volume.create(disk.size_bytes, backing)
    await asyncio.to_thread(volume.record, epoch, EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDisk:
    """CREATING → UNATTACHED; a disk from a snapshot goes on as a hydrate operation.

    The disks of one call are shown together, by the operation that made the last of them, or not at all (S29).
    """

    transactions: Transactions
    operations: Operations
    locks: DiskLocks
    layout: Layout
    host: Host

    async def run(self, operation: Operation) -> None:
        """Make the files, then show the disks of the call if all of them are made."""
        # What was made may be somebody's by now: only before the row said MADE is it made again.
        if operation.phase != MADE:
            await self._make(operation.on_disk)
        await self.operations.begin(lambda change: _made(change, operation))

    async def _make(self, disk_id: DiskId) -> None:
        # Another disk of the call may fail meanwhile: what removes this one's files waits for the lock.
        async with self.locks.image(disk_id):
            disk = await self.host.row(disk_id)
            if disk.state is not DiskState.CREATING:
                raise UnavailableError(f"disk {disk_id} is no longer being created")
            if await self.transactions.read(lambda conn: revoked(conn, disk)):
                # S341: it waited for its turn, and nothing is made yet.
                raise RefusalError(Refusal.NO_SUCH_SNAPSHOT, f"There is no snapshot {disk.source_snapshot_id}.")
            disk = await self.host.keyed(disk)
            await make_image(await self.host.volume(disk), self.layout, disk, epoch=disk.epoch)

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

        await self.operations.begin(withdraw)


def _made(change: Change, operation: Operation) -> None:
    """Note that the disk is made; if it was the last of its call, show them all."""
    if not operations.update(change.conn, operation.id, updated_at=change.at, phase=MADE):
        raise UnavailableError(f"disk {operation.disk_id} is no longer being created")
    # Each of the call's disks comes here: all rows are read by the last one alone.
    if operations.any_running_outside_phase(change.conn, _disk_ids(operation), OperationKind.CREATE_DISK, MADE):
        return
    for other in _together(change.conn, operation):
        changed = endings.disk_done(change, other, was=DiskState.CREATING, state=DiskState.UNATTACHED)
        assert changed, "CREATING has a RUNNING operation, and this is it"  # S1
        disk = disk_row(change, other.on_disk)
        if disk.source_snapshot_id is not None:
            begin_hydration(change, disk, _wanted(other).session)


def _withdraw(change: Change, operation: Operation, *, code: str, message: str) -> None:
    session = _wanted(operation).session
    if session is not None:
        sessions.fence(change.conn, session, at=change.at)
    endings.failed(change, operation, code=code, message=message)
    disk = disk_row(change, operation.on_disk)
    assert disk.state is DiskState.CREATING, "CREATING has a RUNNING operation, and this is it"  # S1
    mark_terminating(change, disk, (), request_id=operation.request_id)


def _together(conn: Connection, operation: Operation) -> list[Operation]:
    """Return the RUNNING operations that make the disks of one call."""
    return operations.running_on_disks(conn, _disk_ids(operation), OperationKind.CREATE_DISK)


def _wanted(operation: Operation) -> CreateDiskPayload:
    return operation.payload_as(CreateDiskPayload)


def _disk_ids(operation: Operation) -> tuple[DiskId, ...]:
    """Return the disks of an operation's call."""
    return _wanted(operation).disk_ids or (operation.on_disk,)


def begin_hydration(change: Change, disk: Disk, session: SessionId | None) -> None:
    """Begin to fill a disk from its source, which the session pins."""
    assert session is not None, "a disk with a source has a session"
    change.begin(
        OperationKind.HYDRATE, account_id=disk.account_id, disk_id=disk.id, snapshot_id=disk.source_snapshot_id,
        phase="COPYING", payload=SessionPayload(session=session), request_id="",
    )  # fmt: skip

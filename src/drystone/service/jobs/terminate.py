"""Destroying a disk."""

import asyncio
from collections.abc import Sequence

from sqlalchemy import Connection

from drystone.catalog import disks, extent_maps, operations, quiesce_profiles, sessions, snapshots
from drystone.domain.disk import Disk, DiskState
from drystone.domain.ids import DiskId, SessionId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.engine import images, live
from drystone.service.host import Host
from drystone.service.installation import Installation
from drystone.service.jobs import endings
from drystone.service.jobs.delete_snapshot import collect_maps, mark_deleting


class Terminate:
    """TERMINATING → gone. Its snapshots stay, or are deleted by operations of their own."""

    def __init__(self, installation: Installation, host: Host) -> None:
        self._in = installation
        self._host = host

    async def run(self, operation: Operation) -> None:
        """End hydration, close the disk without a checkpoint, remove files and row."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        await self._in.db.write(lambda conn: self._end_hydration(conn, disk_id))
        async with self._in.locks.image(disk_id), self._in.locks.graph(disk_id):
            disk = await self._in.db.read(lambda conn: disks.get(conn, disk_id))
            if disk is not None:
                await self._host.settle_flight(disk_id)
                daemon = await self._host.running(disk)
                if daemon is not None:
                    await self._host.withdraw(disk, daemon)
                    await live.close_disk(daemon, disk_id)
                    await self._host.quit_if_empty(daemon)
            self._in.layout.scratch_file(disk_id).unlink(missing_ok=True)
            await asyncio.to_thread(remove_files, self._in, disk_id)

            def remove(conn: Connection) -> None:
                extent_maps.keep_only(conn, disk_id, ())
                disks.delete(conn, disk_id)
                quiesce_profiles.delete(conn, disk_id)
                endings.done(conn, operation, at=self._in.clock())

            await self._in.db.write(remove)
        await collect_maps(self._in)
        self._in.locks.forget(disk_id)

    def _end_hydration(self, conn: Connection, disk_id: DiskId) -> None:
        at = self._in.clock()
        for other in operations.running_on_disk(conn, disk_id):
            if other.kind is OperationKind.HYDRATE:
                sessions.fence(conn, SessionId(str(other.payload["session"])), at=at)
                endings.failed(conn, other, at=at, code="", message="the disk was terminated")

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Leave the row hidden and the operation RUNNING: the next start tries again."""
        await self._in.db.write(
            lambda conn: operations.update(
                conn, operation.id, updated_at=self._in.clock(), error_code=code, error=message
            )
        )
        self._in.operations.wake_later(operation)


def going_along(conn: Connection, disk_id: DiskId) -> list[Snapshot]:
    """Return the snapshots that go with their disk if that is asked for: those that are not permanent."""
    found = snapshots.of_disk(conn, disk_id, [SnapshotState.NORMAL])
    return [snapshot for snapshot in found if not snapshot.permanent]


def mark_terminating(
    conn: Connection,
    installation: Installation,
    disk: Disk,
    going: Sequence[Snapshot],
    *,
    request_id: str,
    at: float,
) -> list[Operation]:
    """Begin to destroy a disk, which is as `disk` in this transaction, and to delete some of its snapshots.

    Returns:
        The operations to wake.
    """
    marked = [mark_deleting(conn, installation, one, request_id=request_id, at=at) for one in going]
    expected, values = {"state": disk.state}, {"state": DiskState.TERMINATING}
    changed = disks.compare_and_set(conn, disk.id, expected=expected, values=values)
    assert changed, "rows do not change under a writing transaction"
    terminate = Operation(
        id=installation.ids.operation(), kind=OperationKind.TERMINATE, account_id=disk.account_id, disk_id=disk.id,
        request_id=request_id, created_at=at, updated_at=at,
    )  # fmt: skip
    operations.insert(conn, terminate)
    return [*(operation for operation in marked if operation is not None), terminate]


def remove_files(installation: Installation, disk_id: str) -> None:
    """Remove a disk's directory; does nothing if it is gone."""
    directory = installation.layout.data / "disks" / disk_id
    if not directory.is_dir():
        return
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()
    images.sync_file(directory.parent)

"""Ending operations before their time, and doing again those that failed."""

from collections.abc import Awaitable
from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import operations as rows
from drystone.catalog.operations import OperationSelection
from drystone.domain.errors import Refusal
from drystone.domain.ids import OperationId
from drystone.domain.operation import RETRIED, Operation, OperationKind, check_cancellable, check_retriable
from drystone.domain.payloads import CompactPayload, ExportPayload, GroupPayload, ResizePayload, SnapshotPayload
from drystone.service.caller import Caller
from drystone.service.calls.disk_lifecycle import DiskLifecycle
from drystone.service.calls.image_files import ImageFiles
from drystone.service.calls.operation_records import owned_operation
from drystone.service.calls.proving import Proving
from drystone.service.calls.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.calls.store_space import StoreSpace
from drystone.service.cancelling import CANCELLED
from drystone.service.operations import Operations
from drystone.service.transactions import Change, Transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationControl:
    """The calls that act on operations."""

    transactions: Transactions
    operations: Operations
    disks: DiskLifecycle
    snapshots: SnapshotLifecycle
    image_files: ImageFiles
    proving: Proving
    space: StoreSpace

    async def cancel(self, caller: Caller, operation_id: str) -> None:
        """Cancel an operation: from here on it ends FAILED, whatever happens, and what it did is undone (S260).

        To cancel one twice is the same as once.

        Raises:
            RefusalError: `NO_SUCH_THING`, `NOT_OFFERED` for what nobody can cancel, or `TOO_LATE`; nothing was changed.
        """

        def record(change: Change) -> Operation:
            found = owned_operation(change.conn, caller.account_id, operation_id)
            if not found.is_cancelled:
                check_cancellable(found, leader=_leader(change.conn, found))
                values = {"error_code": Refusal.CANCELLED, "error": CANCELLED}
                changed = rows.update(change.conn, found.id, updated_at=change.at, **values)
                assert changed, "rows do not change under a writing transaction"
            return found

        self.operations.cancel((await self.transactions.change(record)).id)

    async def retry(self, caller: Caller, operation_id: str) -> OperationId:
        """Do again what an operation failed of, by the call that began it; return the new operation.

        Raises:
            RefusalError: `NO_SUCH_THING`, `TOO_LATE` for one that has not failed, `NOT_OFFERED` for what cannot be done
                again as it was, or what the call is refused with; nothing was changed.
        """
        found = await self.transactions.read(lambda conn: owned_operation(conn, caller.account_id, operation_id))
        check_retriable(found)
        await self._again(caller, found)

        def newest(conn: Connection) -> OperationId:
            resources = tuple(str(one) for one in (found.disk_id, found.snapshot_id) if one is not None)[:1]
            selection = OperationSelection(
                account_id=caller.account_id, kinds=((found.kind,),), resources=(resources,) if resources else (),
                limit=1,
            )  # fmt: skip
            return rows.find(conn, selection)[0][0].id

        return await self.transactions.read(newest)

    def _again(self, caller: Caller, was: Operation) -> Awaitable[object]:
        """Return the call that began this operation."""
        assert was.kind in RETRIED
        match was.kind:
            case OperationKind.PROVE:
                return self.proving.begin(caller, was.of_snapshot)
            case OperationKind.EXPORT:
                wanted = was.payload_as(ExportPayload)
                return self.image_files.export(caller, was.of_snapshot, wanted.path, wanted.format)
            case OperationKind.COMPACT:
                percent = was.payload_as(CompactPayload).dead_percent
                return self.space.collect(caller, dry_run=False, dead_percent=percent)
            case OperationKind.ROLLBACK:
                return self.snapshots.apply(caller, was.of_snapshot, was.on_disk, auto_stop=False, auto_start=False)
            case OperationKind.DELETE_SNAPSHOT:
                return self.snapshots.delete(caller, [was.of_snapshot], delete_bind_images=False)
            case OperationKind.RESIZE:
                return self.disks.resize(caller, was.on_disk, was.payload_as(ResizePayload).size_gib)
            case OperationKind.ATTACH:
                assert was.instance_id is not None
                return self.disks.attach(caller, was.instance_id, [was.on_disk], None, None)
            case OperationKind.DETACH:
                return self.disks.detach(caller, [was.on_disk], was.instance_id)
            case OperationKind.INITIALIZE:
                return self.disks.initialize(caller, [was.on_disk])
            case _:
                return self.disks.rewrite(caller, was.on_disk)


def _leader(conn: Connection, member: Operation) -> OperationId | None:
    """Return the operation of the group that a snapshot is taken with."""
    if member.kind is not OperationKind.SNAPSHOT or member.payload_as(SnapshotPayload).group is None:
        return None
    leaders = rows.running_of_account(conn, member.account_id, OperationKind.SNAPSHOT_GROUP)
    return next((one.id for one in leaders if member.id in one.payload_as(GroupPayload).members), None)

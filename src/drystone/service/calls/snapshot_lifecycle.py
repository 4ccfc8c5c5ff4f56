"""Creating, deleting and applying snapshots: what is asked, checked, recorded; and the freeze itself (P1)."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection

from drystone.catalog import operations, snapshots
from drystone.domain.disk import DATA_DISK, SYSTEM_DISK, Disk, DiskState
from drystone.domain.errors import DrystoneError, PassingError, Refusal, RefusalError
from drystone.domain.ids import DiskId, IdSource, SnapshotId
from drystone.domain.operation import Operation
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.engine import freezing
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout
from drystone.engine.live_disk import LiveDisk
from drystone.service.caller import Caller
from drystone.service.calls import attributes
from drystone.service.calls.disk_records import check_not_in_bin, owned_disk
from drystone.service.calls.patience import patiently
from drystone.service.calls.quiescing import Held, Quiescing
from drystone.service.calls.snapshot_begin import (
    Begun,
    Scheduled,
    begin_rollback,
    begin_snapshot,
    check_auto_start,
    check_no_snapshot,
    new_snapshot,
)
from drystone.service.calls.snapshot_records import check_not_shared, owned_backup, owned_snapshot
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.host.snapshot_server import SlowSourceError
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.requests import NewSnapshot
from drystone.service.room import Room
from drystone.service.rows import quotas
from drystone.service.rows.deletions import mark_deleting
from drystone.service.rows.instants import record_frozen
from drystone.service.rows.quotas import SnapshotLimits
from drystone.service.transactions import Change, Transactions

log = structlog.get_logger()
DELETE_MAX = 100
FREEZE_SECONDS_MAX = 30.0
"""From the call to the instant, waiting for other work on the disk and flushing included."""
RESTING = frozenset({DiskState.UNATTACHED, DiskState.ATTACHED})


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotLifecycle:
    """The calls that change which snapshots there are."""

    transactions: Transactions
    operations: Operations
    ids: IdSource
    host: Host
    kept: KeptStore
    locks: DiskLocks
    layout: Layout
    devices: HostDevices
    room: Room
    limits: SnapshotLimits
    quiescing: Quiescing

    # --- create -------------------------------------------------------------------------------------------------------

    async def create(self, caller: Caller, new: NewSnapshot) -> SnapshotId:
        """Fix the instant of a new snapshot and return its id; it is CREATING until its data is in the store.

        Every write that was acknowledged before this was called is in it, none that is sent after it returned (P1).

        Raises:
            RefusalError: With CreateSnapshot's documented codes; there is no snapshot, and the disk is as before.
        """
        self._check_new(new)
        disk_id = DiskId(new.disk_id or "")
        name, tags = attributes.snapshot_name(new.name), attributes.checked_tags(new.tags)
        deadline = None
        if new.deadline is not None:
            now = min(self.transactions.clock(), self.transactions.steady())
            deadline = attributes.deadline(new.deadline, now)
        if new.disk_backup_id is not None:
            return await self._convert(caller, new, name=name, tags=tags, deadline=deadline)
        self.kept.check_proven()
        snapshot_id = self.ids.snapshot()

        def begin(change: Change) -> Begun:
            disk = self._check_disk(change.conn, caller, disk_id)
            template = replace(
                new_snapshot(change, disk, snapshot_id), name=name, tags=tags, deadline_at=deadline,
                permanent=deadline is None, usage=new.usage or disk.usage,
            )  # fmt: skip
            return begin_snapshot(
                change, disk, template, request_id=caller.request_id, audit_everything=new.audit_everything
            )

        # Not within the disk's lock: whatever it waits for may need that.
        await patiently(lambda: self.transactions.read(lambda conn: self._check_disk(conn, caller, disk_id)))
        await self._take(caller, disk_id, begin)
        return snapshot_id

    async def take_scheduled(self, caller: Caller, disk_id: DiskId, scheduled: Scheduled) -> None:
        """Fix the instant of a policy's snapshot, as `create` does, unless nothing needs to be taken.

        A disk on its way to another state is not waited for: its run is tried again.

        Raises:
            RefusalError: As `create`.
        """
        self.kept.check_proven()

        def begin(change: Change) -> Begun:
            disk = self._check_disk(change.conn, caller, disk_id)
            template = scheduled.record(change, new_snapshot(change, disk, change.ids.snapshot()))
            return begin_snapshot(change, disk, template, request_id=caller.request_id)

        await self._take(caller, disk_id, begin, scheduled)

    async def take_point(
        self,
        caller: Caller,
        disk_id: DiskId,
        template: Callable[[Change, Disk], Snapshot],
        check: Callable[[Connection, Disk], None],
    ) -> None:
        """Fix the instant of a backup point, as `create` does.

        Args:
            caller: Who has the disk.
            disk_id: The disk.
            template: Returns the row, in the transaction that begins it.
            check: Refuses what else does not allow it, in place of the quota of snapshots; called several times, last
                in that transaction.

        Raises:
            RefusalError: As `create`, and what `check` raises.
        """
        self.kept.check_proven()

        def begin(change: Change) -> Begun:
            disk = self._check_disk(change.conn, caller, disk_id, check)
            return begin_snapshot(change, disk, template(change, disk), request_id=caller.request_id)

        await patiently(lambda: self.transactions.read(lambda conn: self._check_disk(conn, caller, disk_id, check)))
        await self._take(caller, disk_id, begin, check=check)

    async def _take(
        self,
        caller: Caller,
        disk_id: DiskId,
        begin: Callable[[Change], Begun],
        scheduled: Scheduled | None = None,
        *,
        check: Callable[[Connection, Disk], None] | None = None,
    ) -> None:
        try:
            async with asyncio.timeout(FREEZE_SECONDS_MAX) as limit, self.locks.graph(disk_id):
                # Again, now that nothing else changes the disk; one that is NORMAL already may clean up.
                await self.transactions.read(lambda conn: self._check_disk(conn, caller, disk_id, check))
                await self.host.settle_flight(disk_id)
                disk, live = await self.host.opened(disk_id)
                async with self.quiescing.holding([disk], limit) as held:
                    await self.devices.flush(disk_id)
                    await live.flush_until_short()
                    async with self.host.calm(disk, live):
                        limit.reschedule(None)  # From here on the outcome is recorded, whatever it is.
                        if scheduled is None or not await self._unchanged(caller, live, scheduled):
                            begun = await self.transactions.change(begin)
                            try:
                                await self._freeze(begun, live, held)
                            finally:
                                # Whatever happened, the job takes the row up: it goes on, or ends it (A2, A4).
                                self.operations.wake(begun.operation.id)
                            return
        except TimeoutError as error:
            await self._release(disk_id)
            raise RefusalError(
                Refusal.BUSY, f"Disk {disk_id} did not come to rest within {FREEZE_SECONDS_MAX:g} s; try again."
            ) from error
        except RefusalError:
            await self._release(disk_id)
            raise
        except SlowSourceError as error:
            await self._release(disk_id)
            raise RefusalError(Refusal.NO_ANSWER, f"Disk {disk_id} cannot be frozen now: {error}.") from error
        except DrystoneError as error:
            await self._release(disk_id)
            raise RefusalError(Refusal.NOT_DONE, f"Disk {disk_id} cannot be frozen: {error}") from error
        await self._release(disk_id)

    async def _unchanged(self, caller: Caller, live: LiveDisk, scheduled: Scheduled) -> bool:
        unchanged = scheduled.unchanged
        if unchanged is None:
            return False
        row = await self.host.row(live.id)
        marked = await live.marked(row.bitmap)
        return await self.transactions.change(
            lambda change: unchanged(change, [(self._check_disk(change.conn, caller, live.id), marked)])
        )

    async def _release(self, disk_id: DiskId) -> None:
        """Close the disk if it was opened for the snapshot alone; what cannot be closed is closed later."""
        try:
            await self.host.release(disk_id)
        except DrystoneError as error:
            log.warning("disk.not_released", disk_id=disk_id, error=str(error))

    def _check_new(self, new: NewSnapshot) -> None:
        if new.disk_id is None and new.disk_backup_id is None:
            raise RefusalError(Refusal.MISSING, "DiskId is needed, or DiskBackupId.")
        if new.usage is not None and new.usage not in {DATA_DISK, SYSTEM_DISK}:
            raise RefusalError(Refusal.BAD_VALUE, f"DiskUsage `{new.usage}` is unknown; use {DATA_DISK}.")
        if new.local:
            raise RefusalError(Refusal.NOT_OFFERED, "LocalSnap: instant snapshots are not available here.")

    def _check_disk(
        self,
        conn: Connection,
        caller: Caller,
        disk_id: DiskId,
        check: Callable[[Connection, Disk], None] | None = None,
    ) -> Disk:
        disk = owned_disk(conn, caller.account_id, disk_id)
        if disk.state is DiskState.ROLLBACKING:
            raise RefusalError(Refusal.ROLLING_BACK, f"Disk {disk_id} is being rolled back.")
        check_not_in_bin(disk)
        if disk.state not in RESTING:
            kind = PassingError if disk.state.passing else RefusalError
            raise kind(Refusal.BUSY, f"Disk {disk_id} is {disk.state.value}; try again when it is not.")
        check_no_snapshot(conn, disk_id)
        (check or self._check_quota)(conn, disk)
        self.room.require()
        return disk

    def _check_quota(self, conn: Connection, disk: Disk) -> None:
        quotas.check_snapshot(disk.id, quotas.snapshot_use(conn, disk.account_id, disk.id), self.limits)

    async def _convert(
        self,
        caller: Caller,
        new: NewSnapshot,
        *,
        name: str,
        tags: tuple[tuple[str, str], ...],
        deadline: float | None,
    ) -> SnapshotId:
        """Make a snapshot of a backup point, which is none any more; nothing is copied (S343)."""

        def record(change: Change) -> SnapshotId:
            point = owned_backup(change.conn, caller.account_id, new.disk_backup_id or "")
            if new.disk_id is not None and new.disk_id != point.disk_id:
                raise RefusalError(
                    Refusal.BAD_VALUE,
                    f"Backup point {point.backup_id} is of disk {point.disk_id}, not {new.disk_id[:60]}.",
                )
            if point.state is not SnapshotState.NORMAL:
                raise RefusalError(Refusal.BACKUP_CREATING, f"Backup point {point.backup_id} is still being created.")
            if point.rolling_back:
                raise RefusalError(Refusal.BUSY, f"The disk is being rolled back to backup point {point.backup_id}.")
            use = quotas.snapshot_use(change.conn, caller.account_id, point.disk_id)
            quotas.check_snapshot(point.disk_id, use, self.limits)
            values = {
                "backup_id": None, "slot": None, "name": name, "tags": tags, "deadline_at": deadline,
                "permanent": deadline is None, "usage": new.usage or point.usage, "modified_at": change.at,
            }  # fmt: skip
            changed = snapshots.compare_and_set(
                change.conn, point.id, expected={"state": SnapshotState.NORMAL}, values=values
            )
            assert changed, "rows do not change under a writing transaction"
            return point.id

        return await self.transactions.change(record)

    async def audit(self, caller: Caller, disk_id: str | None) -> SnapshotId:
        """Take a snapshot that checks everything that tracking calls clean (P8); its record says what was found.

        Raises:
            RefusalError: As `create`.
        """
        return await self.create(caller, NewSnapshot(disk_id=disk_id, name="audit", audit_everything=True))

    async def _freeze(self, begun: Begun, live: LiveDisk, held: Held) -> None:
        """The instant. If it fails, bitmaps and rows are as before when this raises (A2, A4)."""
        operation = begun.operation
        target = freezing.target(self.layout, begun.disk, begun.freeze)
        try:
            pause_ms = await freezing.freeze(live.daemon, [target])
            quiesced = await held.thaw()
        except DrystoneError as error:
            await self._give_up(operation, begun.disk.id, str(error))
            raise
        await self.transactions.change(
            lambda change: record_frozen(change, [operation], pause_ms=round(pause_ms, 3), said=quiesced)
        )

    async def _give_up(self, operation: Operation, disk_id: DiskId, message: str) -> None:
        # S34: whoever settles it makes it FAILING.
        await self.transactions.change(
            lambda change: operations.update(
                change.conn, operation.id, updated_at=change.at, error_code=Refusal.NOT_DONE,
                error=message or "it could not be frozen",
            )
        )  # fmt: skip
        await self.host.settle(disk_id)

    # --- delete -------------------------------------------------------------------------------------------------------

    async def delete(self, caller: Caller, snapshot_ids: Sequence[str], delete_bind_images: bool) -> None:  # noqa: ARG002, FBT001 - the API's parameter; there are no images
        """Delete snapshots, all or none; they are gone for clients when this returns, their space a little later.

        Raises:
            RefusalError: With DeleteSnapshots' documented codes; nothing was changed.
        """
        quotas.check_per_call("SnapshotIds", len(snapshot_ids), DELETE_MAX)
        ids = list(dict.fromkeys(snapshot_ids))

        def record(change: Change) -> None:
            found = [owned_snapshot(change.conn, caller.account_id, snapshot_id) for snapshot_id in ids]
            for snapshot in found:
                if snapshot.state is SnapshotState.CREATING:
                    raise RefusalError(Refusal.SNAPSHOT_CREATING, f"Snapshot {snapshot.id} is still being created.")
                if snapshot.rolling_back:
                    raise RefusalError(Refusal.BUSY, f"A disk is being rolled back to snapshot {snapshot.id}.")
                check_not_shared(change.conn, snapshot, "deleted")
            for snapshot in found:
                marked = mark_deleting(change, snapshot, request_id=caller.request_id)
                assert marked, "rows do not change under a writing transaction"

        await self.operations.begin(record)

    # --- apply --------------------------------------------------------------------------------------------------------

    async def apply(
        self,
        caller: Caller,
        snapshot_id: str,
        disk_id: str,
        auto_stop: bool,  # noqa: FBT001 - the API's parameter
        auto_start: bool,  # noqa: FBT001 - the API's parameter
    ) -> None:
        """Roll a detached disk back to one of its snapshots; it is ROLLBACKING when this returns.

        Raises:
            RefusalError: With ApplySnapshot's documented codes; nothing was changed.
        """
        check_auto_start(auto_stop=auto_stop, auto_start=auto_start)

        def record(change: Change) -> None:
            snapshot = owned_snapshot(change.conn, caller.account_id, snapshot_id)
            disk = owned_disk(change.conn, caller.account_id, disk_id)
            begin_rollback(change, disk, snapshot, request_id=caller.request_id)

        await patiently(lambda: self.operations.begin(record))

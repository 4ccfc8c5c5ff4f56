"""Backup points of disks: snapshots underneath, which clients see, count and delete as parts of their disk (S343).

A disk with a quota of them gets one each day by itself. What was taken by itself makes way for newer ones; what
somebody asked for stays until somebody deletes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, snapshots
from drystone.domain.disk import Disk
from drystone.domain.errors import DrystoneError, Refusal, RefusalError
from drystone.domain.ids import DiskBackupId, IdSource
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.times import moment
from drystone.service.caller import Caller
from drystone.service.calls import attributes
from drystone.service.calls.disk_records import owned_disk
from drystone.service.calls.filters import backup_selection
from drystone.service.calls.new_disks import check_backup_quota
from drystone.service.calls.patience import patiently
from drystone.service.calls.snapshot_begin import begin_rollback, check_auto_start, new_snapshot
from drystone.service.calls.snapshot_lifecycle import RESTING, SnapshotLifecycle
from drystone.service.calls.snapshot_records import owned_backup
from drystone.service.operations import Operations
from drystone.service.requests import BackupQuery
from drystone.service.rows import quotas
from drystone.service.rows.deletions import mark_deleting
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep.confirmation import held
from drystone.service.views import Page

log = structlog.get_logger()
DELETE_MAX = 100
DAY_S = 86400
BY_ITSELF = "by itself"
"""Stands for the key of whoever had no call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskBackups:
    """Makes, lists, applies and deletes backup points of the caller's disks."""

    transactions: Transactions
    operations: Operations
    ids: IdSource
    lifecycle: SnapshotLifecycle

    async def create(self, caller: Caller, disk_id: str, name: str | None) -> DiskBackupId:
        """Fix the instant of a new backup point (P1); it is CREATING until its data is in the store.

        Raises:
            RefusalError: `BACKUP_QUOTA`, or as CreateSnapshot; there is no backup point, and the disk is as before.
        """
        called = attributes.backup_name(name)
        disk = await self.transactions.read(lambda conn: owned_disk(conn, caller.account_id, disk_id))
        return await self._take(caller, disk, called, slot=None)

    async def describe(self, caller: Caller, query: BackupQuery) -> Page[Snapshot]:
        """Return the backup points that match; an id that is unknown or another account's only makes fewer of them.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        selection = backup_selection(caller.account_id, query)
        found, total = await self.transactions.read(lambda conn: snapshots.find(conn, selection))
        return Page(items=tuple(found), total=total)

    async def delete(self, caller: Caller, backup_ids: Sequence[str]) -> None:
        """Delete backup points, all or none; they are gone for clients when this returns.

        Raises:
            RefusalError: `NO_SUCH_BACKUP`, `SNAPSHOT_CREATING`, `BUSY`, `MISSING` or `TOO_MANY`; nothing was changed.
        """
        quotas.check_per_call("DiskBackupIds", len(backup_ids), DELETE_MAX)

        def record(change: Change) -> None:
            points = [owned_backup(change.conn, caller.account_id, one) for one in dict.fromkeys(backup_ids)]
            for point in points:
                if point.state is SnapshotState.CREATING:
                    text = f"Backup point {point.backup_id} is still being created."
                    raise RefusalError(Refusal.SNAPSHOT_CREATING, text)
                if point.rolling_back:
                    text = f"The disk is being rolled back to backup point {point.backup_id}."
                    raise RefusalError(Refusal.BUSY, text)
            for point in points:
                marked = mark_deleting(change, point, request_id=caller.request_id)
                assert marked, "rows do not change under a writing transaction"

        await self.operations.begin(record)

    async def apply(self, caller: Caller, backup_id: str, disk_id: str, *, auto_stop: bool, auto_start: bool) -> None:
        """Roll a detached disk back to one of its backup points; it is ROLLBACKING when this returns.

        Raises:
            RefusalError: As ApplySnapshot; nothing was changed.
        """
        check_auto_start(auto_stop=auto_stop, auto_start=auto_start)

        def record(change: Change) -> None:
            point = owned_backup(change.conn, caller.account_id, backup_id)
            disk = owned_disk(change.conn, caller.account_id, disk_id)
            begin_rollback(change, disk, point, request_id=caller.request_id)

        await patiently(lambda: self.operations.begin(record))

    async def set_quota(self, caller: Caller, disk_id: str, count: int) -> None:
        """Change how many backup points a disk may have; from the next day on it gets one a day, unless that is none.

        Raises:
            RefusalError: `BAD_VALUE`, also for fewer than it has, or `NO_SUCH_DISK`; nothing was changed.
        """
        check_backup_quota(count)

        def record(change: Change) -> None:
            disk = owned_disk(change.conn, caller.account_id, disk_id)
            points = snapshots.backups(change.conn, [disk.id])[disk.id]
            if count < len(points):
                raise RefusalError(
                    Refusal.BAD_VALUE,
                    f"DiskBackupQuota is {count}; disk {disk.id} has {len(points)} backup points. Delete some first.",
                )
            values: dict[str, object] = {"backup_quota": count}
            if not disk.backup_quota:
                values["backup_day"] = day_of(change)
            changed = disks.compare_and_set(change.conn, disk.id, expected={"state": disk.state}, values=values)
            assert changed, "rows do not change under a writing transaction"

        await self.transactions.change(record)

    async def due(self) -> None:
        """Begin the backup points of today, one of each disk that has a quota, and delete those that make way."""
        if await self.transactions.read(held) is not None:
            return  # S50
        await self.operations.begin(_make_way)
        today = int(self.transactions.steady() // DAY_S)
        for disk in await self.transactions.read(lambda conn: disks.with_backup_quota(conn, but=today)):
            if disk.state not in RESTING:
                continue
            caller = Caller(
                account_id=disk.account_id, admin=False, secret_id=BY_ITSELF, request_id=self.ids.hex128(),
                action="CreateDiskBackup", source="",
            )  # fmt: skip
            try:
                await self._take(caller, disk, f"daily_{_date(today)}", slot=today * DAY_S)
            except DrystoneError as error:
                # It is tried again in the next round, as long as nothing was begun.
                log.info("backup_point.waits", disk_id=disk.id, reason=str(error))

    async def _take(self, caller: Caller, disk: Disk, name: str, *, slot: int | None) -> DiskBackupId:
        backup_id, snapshot_id = self.ids.disk_backup(), self.ids.snapshot()

        def check(conn: Connection, now: Disk) -> None:
            _check_quota(now, snapshots.backups(conn, [now.id])[now.id])
            if slot is not None and now.backup_day == slot // DAY_S:
                raise RefusalError(Refusal.BUSY, f"The backup point of disk {now.id} for today was begun.")

        def template(change: Change, now: Disk) -> Snapshot:
            if slot is not None:
                # S344: in the transaction that begins it, so that there is exactly one.
                claimed = disks.compare_and_set(
                    change.conn, now.id, expected={"backup_day": now.backup_day}, values={"backup_day": slot // DAY_S}
                )
                assert claimed, "rows do not change under a writing transaction"
            return replace(new_snapshot(change, now, snapshot_id), name=name, backup_id=backup_id, slot=slot)

        await self.lifecycle.take_point(caller, disk.id, template, check)
        return backup_id


def day_of(change: Change) -> int:
    """Return the day that it is, counted from the epoch in UTC."""
    return int(change.steady // DAY_S)


def _check_quota(disk: Disk, points: Sequence[Snapshot]) -> None:
    """Refuse one more backup point of a disk: those that were taken by themselves make way for it."""
    staying = sum(not _makes_way(point) for point in points)
    if staying >= disk.backup_quota:
        raise RefusalError(
            Refusal.BACKUP_QUOTA,
            f"Disk {disk.id} has {staying} backup points that stay, and {disk.backup_quota} are allowed; delete some.",
        )


def _makes_way(point: Snapshot) -> bool:
    return point.slot is not None and point.state is SnapshotState.NORMAL and not point.rolling_back


def _make_way(change: Change) -> None:
    """Delete the oldest that were taken by themselves, of each disk that has more than it may."""
    for disk in disks.with_backup_quota(change.conn, but=None):
        points = snapshots.backups(change.conn, [disk.id])[disk.id]
        whole = [point for point in points if point.state is SnapshotState.NORMAL]
        for point in [point for point in whole if _makes_way(point)][: max(0, len(whole) - disk.backup_quota)]:
            mark_deleting(change, point, request_id="daily")


def _date(day: int) -> str:
    return moment(day * DAY_S).strftime("%Y%m%d")

"""Backup points of disks of CBS."""

from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import OneOf, iso_time
from drystone.api.cbs.service import CBS
from drystone.api.parameters import Filters, Id, Ids, Text, Unsigned, Word, conditions
from drystone.domain.snapshot import Snapshot
from drystone.service.caller import Caller
from drystone.service.requests import BackupQuery


class _DiskBackupId(TypedDict):
    DiskBackupId: str


@CBS.change
class CreateDiskBackup(Action, frozen=True, kw_only=True):
    """Make a backup point; its instant is fixed when this returns (P1)."""

    disk_id: Id
    disk_backup_name: Text | None = None

    async def __call__(self, on: Context, caller: Caller) -> _DiskBackupId:
        return {"DiskBackupId": await on.calls.disk_backups.create(caller, self.disk_id, self.disk_backup_name)}


@CBS.change
class DeleteDiskBackups(Action, frozen=True, kw_only=True):
    """Delete backup points."""

    disk_backup_ids: Ids

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disk_backups.delete(caller, self.disk_backup_ids)


@CBS.change
class ApplyDiskBackup(Action, frozen=True, kw_only=True):
    """Roll a disk back to one of its backup points."""

    disk_backup_id: Id
    disk_id: Id
    auto_stop_instance: bool | None = None
    auto_start_instance: bool | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disk_backups.apply(
            caller,
            self.disk_backup_id,
            self.disk_id,
            auto_stop=self.auto_stop_instance or False,
            auto_start=self.auto_start_instance or False,
        )


@CBS.change
class ModifyDiskBackupQuota(Action, frozen=True, kw_only=True):
    """Change how many backup points a disk may have."""

    disk_id: Id
    disk_backup_quota: Unsigned

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disk_backups.set_quota(caller, self.disk_id, self.disk_backup_quota)


class DiskBackup(TypedDict):
    """A backup point."""

    DiskBackupId: str
    DiskBackupName: str
    DiskBackupState: Annotated[str, OneOf(("NORMAL", "CREATING", "ROLLBACKING"))]
    Percent: int
    DiskId: str
    DiskSize: int  # GiB, of the disk at the instant
    DiskUsage: str
    CreateTime: str
    Encrypt: bool


class _DiskBackups(TypedDict):
    TotalCount: int
    DiskBackupSet: list[DiskBackup]


@CBS.read
class DescribeDiskBackups(Paged, frozen=True, kw_only=True):
    """List backup points."""

    disk_backup_ids: Ids | None = None
    filters: Filters | None = None
    order: Word | None = None
    order_field: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> _DiskBackups:
        offset, limit = self.page
        query = BackupQuery(
            backup_ids=self.disk_backup_ids or (),
            filters=conditions(self.filters),
            order=self.order,
            order_field=self.order_field,
            offset=offset,
            limit=limit,
        )
        page = await on.calls.disk_backups.describe(caller, query)
        return {"TotalCount": page.total, "DiskBackupSet": [_backup(point) for point in page.items]}


def _backup(point: Snapshot) -> DiskBackup:
    return {
        "DiskBackupId": point.backup_id or "",
        "DiskBackupName": point.name,
        "DiskBackupState": "ROLLBACKING" if point.rolling_back else point.state.value,
        "Percent": point.percent,
        "DiskId": point.disk_id,
        "DiskSize": point.size_gib,
        "DiskUsage": point.usage,
        "CreateTime": iso_time(point.created_at),
        "Encrypt": point.encrypted,
    }

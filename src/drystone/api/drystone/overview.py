"""An account at a glance: its figures and its quotas."""

from typing import TypedDict

from drystone.api.actions import Action, Context
from drystone.api.answers import iso_time
from drystone.api.drystone.operations import Operation, operation_answer
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Unsigned
from drystone.service.caller import Caller


class _Overview(TypedDict):
    Disks: int
    DisksAttached: int
    DisksBytes: int
    SnapshotsCount: int
    LogicalBytes: int
    ChangedBytes: int
    StoredBytes: int
    SavedByIncrementsBytes: int
    SavedByCompressionBytes: int
    StoreBytesFree: int | None  # null for who is no administrator
    RecentOperations: list[Operation]


@DRYSTONE.read
class DescribeOverview(Action, frozen=True, kw_only=True):
    """Sum up the account."""

    async def __call__(self, on: Context, caller: Caller) -> _Overview:
        view = await on.calls.overview.describe(caller)
        figures = view.figures
        return {
            "Disks": figures.disks,
            "DisksAttached": view.disks_attached,
            "DisksBytes": figures.disks_bytes,
            "SnapshotsCount": figures.snapshots,
            "LogicalBytes": figures.logical_bytes,
            "ChangedBytes": figures.changed_bytes,
            "StoredBytes": figures.stored_bytes,
            "SavedByIncrementsBytes": max(0, figures.logical_bytes - figures.changed_bytes),
            "SavedByCompressionBytes": max(0, figures.changed_bytes - figures.stored_bytes),
            "StoreBytesFree": view.free_bytes,
            "RecentOperations": [operation_answer(one) for one in view.operations],
        }


class _Quotas(TypedDict):
    DisksMax: int  # 0: no limit, as of all that follow
    DisksCount: int
    DiskGibMax: int
    DiskGib: int
    SnapshotsPerDiskMax: int
    SnapshotsMax: int
    SnapshotsCount: int
    SnapshotBytesMax: int
    SnapshotBytes: int
    DisksPerInstanceMax: int
    DisksPerCallMax: int


@DRYSTONE.read
class DescribeQuotas(Action, frozen=True, kw_only=True):
    """Tell how much the account has, and may have."""

    async def __call__(self, on: Context, caller: Caller) -> _Quotas:
        view = await on.calls.overview.quotas(caller)
        return {
            "DisksMax": view.disks_max,
            "DisksCount": view.disks,
            "DiskGibMax": view.disk_gib_max,
            "DiskGib": view.disk_gib,
            "SnapshotsPerDiskMax": view.snapshots_per_disk_max,
            "SnapshotsMax": view.snapshots_max,
            "SnapshotsCount": view.snapshots,
            "SnapshotBytesMax": view.snapshot_bytes_max,
            "SnapshotBytes": view.snapshot_bytes,
            "DisksPerInstanceMax": view.disks_per_instance_max,
            "DisksPerCallMax": view.disks_per_call_max,
        }


class HistoryPoint(TypedDict):
    """An account's figures at one time."""

    At: str
    Disks: int
    DisksBytes: int
    Snapshots: int
    StoredBytes: int
    LogicalBytes: int
    ChangedBytes: int


class _History(TypedDict):
    Points: list[HistoryPoint]


@DRYSTONE.read
class DescribeHistory(Action, frozen=True, kw_only=True):
    """List the account's figures of the last hours (a week unless told), the oldest first; the last ones are of now."""

    hours: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _History:
        return {
            "Points": [
                {
                    "At": iso_time(point.at),
                    "Disks": point.disks,
                    "DisksBytes": point.disks_bytes,
                    "Snapshots": point.snapshots,
                    "StoredBytes": point.stored_bytes,
                    "LogicalBytes": point.logical_bytes,
                    "ChangedBytes": point.changed_bytes,
                }
                for point in await on.calls.history.describe(caller, self.hours)
            ]
        }

"""What the wire needs of the use cases: the calls that it makes, and nothing more.

The floor below refuses by raising `RefusalError` with the documented code. These protocols restate no rule; they say
which calls there are, so that the wire is tested without a catalog or an engine.
"""

from collections.abc import Sequence
from typing import Protocol

from drystone.domain.account import Account
from drystone.domain.audit import AuditEntry
from drystone.domain.history import HistoryPoint
from drystone.domain.ids import DiskId, InstanceId, OperationId, SnapshotGroupId, SnapshotId
from drystone.domain.operation import Operation
from drystone.domain.quiesce import QuiesceProfile, Step
from drystone.service.caller import Caller, Identity
from drystone.service.requests import (
    AuditQuery,
    ConfigQuery,
    DiskChanges,
    DiskQuery,
    GroupRollback,
    NewDisks,
    NewSnapshot,
    NewSnapshotGroup,
    OperationQuery,
    SnapshotChanges,
    SnapshotGroupQuery,
    SnapshotQuery,
)
from drystone.service.views import (
    ClockView,
    CollectionView,
    DifferenceView,
    DiskConfig,
    DiskDetail,
    DiskView,
    HostView,
    InstanceDiskNumber,
    InstanceView,
    KeyView,
    NewKey,
    OverviewView,
    Page,
    QuotasView,
    SetSpaceView,
    SnapshotGroupView,
    SnapshotOverview,
    SnapshotView,
    StoreHealthView,
    StoreSpaceView,
)

Ids = tuple[str, ...]


class Authenticate(Protocol):
    """Looks an access key up."""

    async def __call__(self, secret_id: str, /, *, sparing: bool = False) -> Identity | None:
        """Return whose key this is, or None when it is unknown or disabled.

        Args:
            secret_id: The key's id.
            sparing: Whether an id that is not there must cost no read of its own.
        """
        ...


class Audit(Protocol):
    """Keeps the audit trail."""

    async def record(self, caller: Caller, resource: str, code: str, /) -> None:
        """Add one row: who called what, on which resources, with what outcome."""
        ...


class AuditRecords(Protocol):
    """The audit trail, to be read."""

    async def describe(self, caller: Caller, query: AuditQuery, /) -> Page[AuditEntry]:
        """List entries."""
        ...


class Disks(Protocol):
    """The life of disks."""

    async def create(self, caller: Caller, new: NewDisks, /) -> Sequence[DiskId]:
        """Make disks; their ids are known at once."""
        ...

    async def resize(self, caller: Caller, disk_id: str | None, size_gib: int, /) -> None:
        """Grow a disk."""
        ...

    async def terminate(self, caller: Caller, disk_ids: Ids, /, *, delete_snapshot: int | None) -> None:
        """Destroy disks that are not attached."""
        ...

    async def attach(
        self,
        caller: Caller,
        instance_id: str,
        disk_ids: Ids,
        /,
        *,
        delete_with_instance: bool | None,
        attach_mode: str | None,
    ) -> None:
        """Attach disks to an instance."""
        ...

    async def detach(self, caller: Caller, disk_ids: Ids, instance_id: str | None, /) -> None:
        """Detach disks."""
        ...

    async def initialize(self, caller: Caller, disk_ids: Ids, /) -> None:
        """Empty disks, or return them to the snapshot that they were made from."""
        ...

    async def rewrite(self, caller: Caller, disk_id: str, /) -> OperationId:
        """Begin to write a disk's image anew in today's form."""
        ...


class Snapshots(Protocol):
    """The life of snapshots."""

    async def create(self, caller: Caller, new: NewSnapshot, /) -> SnapshotId:
        """Take a snapshot; its instant is fixed when this returns (P1)."""
        ...

    async def audit(self, caller: Caller, disk_id: str | None, /) -> SnapshotId:
        """Take a snapshot that checks everything that tracking calls clean (P8)."""
        ...

    async def delete(self, caller: Caller, snapshot_ids: Ids, /, *, delete_bind_images: bool) -> None:
        """Delete snapshots."""
        ...

    async def apply(
        self, caller: Caller, snapshot_id: str, disk_id: str, /, *, auto_stop: bool, auto_start: bool
    ) -> None:
        """Roll a disk back."""
        ...


class SnapshotGroups(Protocol):
    """Several disks at one instant."""

    async def create(self, caller: Caller, new: NewSnapshotGroup, /) -> SnapshotGroupId:
        """Take snapshots of several disks; their one instant is fixed when this returns (P1)."""
        ...

    async def describe(self, caller: Caller, query: SnapshotGroupQuery, /) -> Page[SnapshotGroupView]:
        """List groups."""
        ...

    async def delete(self, caller: Caller, group_ids: Ids, /, *, delete_bind_images: bool) -> None:
        """Delete groups with all their members."""
        ...

    async def apply(
        self, caller: Caller, group_id: str, wanted: tuple[GroupRollback, ...], /, *, auto_stop: bool, auto_start: bool
    ) -> None:
        """Roll disks back to members of a group."""
        ...


class Quiescing(Protocol):
    """What is held still around snapshots."""

    async def set(
        self,
        caller: Caller,
        resource_id: str,
        mode: str,
        freeze_seconds_max: float,
        steps: tuple[Step, ...],
        prove_every_h: float | None,
        /,
    ) -> None:
        """Set the profile of a disk or an instance."""
        ...

    async def remove(self, caller: Caller, resource_id: str, /) -> None:
        """Remove a profile."""
        ...

    async def describe(self, caller: Caller, offset: int, limit: int, /) -> Page[QuiesceProfile]:
        """List profiles."""
        ...


class Proving(Protocol):
    """Opening snapshots to see that they open; for administrators."""

    async def begin(self, caller: Caller, snapshot_id: str, /) -> OperationId:
        """Begin to open one on a throw-away clone."""
        ...


class DiskRecords(Protocol):
    """What is known of disks."""

    async def describe(self, caller: Caller, query: DiskQuery, /) -> Page[DiskView]:
        """List disks."""
        ...

    async def modify(self, caller: Caller, changes: DiskChanges, /) -> None:
        """Change attributes."""
        ...

    async def config_quota(self, caller: Caller, query: ConfigQuery, /) -> Sequence[DiskConfig]:
        """List the disks that may be had."""
        ...

    async def instances_disk_num(self, caller: Caller, instance_ids: Ids, /) -> Sequence[InstanceDiskNumber]:
        """Count the disks of instances."""
        ...

    async def details(self, caller: Caller, disk_ids: Ids, offset: int, limit: int, /) -> Page[DiskDetail]:
        """List how disks are served and tracked."""
        ...


class SnapshotRecords(Protocol):
    """What is known of snapshots."""

    async def describe(self, caller: Caller, query: SnapshotQuery, /) -> Page[SnapshotView]:
        """List snapshots."""
        ...

    async def modify(self, caller: Caller, changes: SnapshotChanges, /) -> None:
        """Change name or deadline."""
        ...

    async def overview(self, caller: Caller, /) -> SnapshotOverview:
        """Sum up an account's snapshots."""
        ...

    async def records(self, caller: Caller, snapshot_ids: Ids, offset: int, limit: int, /) -> Page[SnapshotView]:
        """List how snapshots were taken (P7)."""
        ...


class Instances(Protocol):
    """What disks are attached to."""

    async def describe(self, caller: Caller, instance_ids: Ids, offset: int, limit: int, /) -> Page[InstanceView]:
        """List instances."""
        ...

    async def create(self, caller: Caller, kind: str, name: str | None, /) -> InstanceId:
        """Make an instance."""
        ...

    async def delete(self, caller: Caller, instance_id: str, /) -> None:
        """Delete an instance that has no disk."""
        ...


class Accounts(Protocol):
    """Accounts and keys; for administrators."""

    async def create(self, caller: Caller, name: str, /) -> NewKey:
        """Make an account and its first key."""
        ...

    async def describe(self, caller: Caller, offset: int, limit: int, /) -> Page[Account]:
        """List accounts."""
        ...

    async def set_quota(self, caller: Caller, account_id: str, disks: int | None, disk_gib: int | None, /) -> None:
        """Set what an account may have of disks."""
        ...

    async def create_key(self, caller: Caller, account_id: str, /) -> NewKey:
        """Make a key."""
        ...

    async def delete_key(self, caller: Caller, secret_id: str, /) -> None:
        """Delete a key."""
        ...

    async def describe_keys(self, caller: Caller, account_id: str, /) -> Sequence[KeyView]:
        """List an account's keys, without their secrets."""
        ...

    async def create_own_key(self, caller: Caller, /) -> NewKey:
        """Make a key of the caller's account; for everybody."""
        ...

    async def delete_own_key(self, caller: Caller, secret_id: str, /, *, force: bool) -> None:
        """Delete a key of the caller's account; for everybody."""
        ...

    async def describe_own_keys(self, caller: Caller, /) -> Sequence[KeyView]:
        """List the keys of the caller's account; for everybody."""
        ...


class Operations(Protocol):
    """Long jobs."""

    async def describe(self, caller: Caller, query: OperationQuery, /) -> Page[Operation]:
        """List operations."""
        ...


class Host(Protocol):
    """This machine; for administrators."""

    async def describe(self, caller: Caller, /) -> HostView:
        """Describe the host."""
        ...


class StoreHealth(Protocol):
    """What a scrub of the store proves and finds; for administrators."""

    async def request(self, caller: Caller, /) -> float:
        """Have everything proven anew."""
        ...

    async def health(self, caller: Caller, /) -> StoreHealthView:
        """Say how far it is, and what is damaged or suspect."""
        ...


class Space(Protocol):
    """What snapshots and the store hold."""

    async def snapshots(self, caller: Caller, snapshot_ids: Ids, /) -> SetSpaceView:
        """Tell what snapshots hold, alone and together."""
        ...

    async def store(self, caller: Caller, /) -> StoreSpaceView:
        """Sum up the store; for administrators."""
        ...

    async def collect(self, caller: Caller, /, *, dry_run: bool, dead_percent: int | None) -> CollectionView:
        """Get dead bytes back; for administrators."""
        ...


class Confirmation(Protocol):
    """What waits for a person after a recovery; for administrators."""

    async def confirm(self, caller: Caller, /) -> str | None:
        """Let expiry and collection begin again; say why they were held."""
        ...


class ImageFiles(Protocol):
    """Image files of the server's host; for administrators."""

    async def export(self, caller: Caller, snapshot_id: str, path: str, image_format: str | None, /) -> OperationId:
        """Begin to write a snapshot into a new file."""
        ...

    async def import_disk(
        self,
        caller: Caller,
        path: str,
        image_format: str | None,
        /,
        *,
        called: str | None,
        disk_type: str | None,
        size_gib: int | None,
        forced: bool,
    ) -> tuple[DiskId, OperationId]:
        """Begin to make a disk of a file."""
        ...


class Passwords(Protocol):
    """Passwords of accounts; for administrators."""

    async def set(
        self, caller: Caller, account_id: str | None, account_name: str | None, new: str | None, /
    ) -> str | None:
        """Set a password; return the one that was made, if none was given."""
        ...


class Clock(Protocol):
    """Whether the machine's clock is believed."""

    async def confirm(self, caller: Caller, /) -> ClockView:
        """Believe it as it is; return what the clocks said before."""
        ...


class Overview(Protocol):
    """The account at a glance."""

    async def describe(self, caller: Caller, /) -> OverviewView:
        """Sum up the account, and say what needs a person."""
        ...

    async def quotas(self, caller: Caller, /) -> QuotasView:
        """Tell how much the account has and may have."""
        ...


class History(Protocol):
    """Figures over time."""

    async def describe(self, caller: Caller, hours: int | None, /) -> Sequence[HistoryPoint]:
        """List the account's figures of the last hours."""
        ...


class Differences(Protocol):
    """What differs between snapshots."""

    async def describe(self, caller: Caller, older: str | None, newer: str, /) -> DifferenceView:
        """Tell where two snapshots differ."""
        ...


class UseCases(Protocol):
    """Everything that the two services call. The container of the floor below has these attributes."""

    @property
    def disks(self) -> Disks: ...  # noqa: D102 - each protocol says what it is

    @property
    def snapshots(self) -> Snapshots: ...  # noqa: D102 - as above

    @property
    def snapshot_groups(self) -> SnapshotGroups: ...  # noqa: D102 - as above

    @property
    def quiescing(self) -> Quiescing: ...  # noqa: D102 - as above

    @property
    def proving(self) -> Proving: ...  # noqa: D102 - as above

    @property
    def disk_records(self) -> DiskRecords: ...  # noqa: D102 - as above

    @property
    def snapshot_records(self) -> SnapshotRecords: ...  # noqa: D102 - as above

    @property
    def instances(self) -> Instances: ...  # noqa: D102 - as above

    @property
    def accounts(self) -> Accounts: ...  # noqa: D102 - as above

    @property
    def operations(self) -> Operations: ...  # noqa: D102 - as above

    @property
    def host(self) -> Host: ...  # noqa: D102 - as above

    @property
    def store_health(self) -> StoreHealth: ...  # noqa: D102 - as above

    @property
    def space(self) -> Space: ...  # noqa: D102 - as above

    @property
    def clock(self) -> Clock: ...  # noqa: D102 - as above
    @property
    def confirmation(self) -> Confirmation: ...  # noqa: D102 - as above

    @property
    def image_files(self) -> ImageFiles: ...  # noqa: D102 - as above

    @property
    def passwords(self) -> Passwords: ...  # noqa: D102 - as above

    @property
    def overview(self) -> Overview: ...  # noqa: D102 - as above

    @property
    def history(self) -> History: ...  # noqa: D102 - as above

    @property
    def differences(self) -> Differences: ...  # noqa: D102 - as above

    @property
    def audit(self) -> Audit: ...  # noqa: D102 - as above

    @property
    def audit_records(self) -> AuditRecords: ...  # noqa: D102 - as above

    @property
    def authenticate(self) -> Authenticate: ...  # noqa: D102 - as above

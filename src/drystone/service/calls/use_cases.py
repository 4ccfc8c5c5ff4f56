"""All use cases, as the wire sees them."""

from dataclasses import dataclass
from typing import Protocol

from drystone.service.caller import Identity
from drystone.service.calls.accounts import Accounts
from drystone.service.calls.differences import SnapshotDifferences
from drystone.service.calls.disk_backups import DiskBackups
from drystone.service.calls.disk_charges import DiskCharges
from drystone.service.calls.disk_lifecycle import DiskLifecycle
from drystone.service.calls.disk_records import DiskRecords
from drystone.service.calls.disk_space import DiskSpace
from drystone.service.calls.event_records import EventRecords
from drystone.service.calls.history import History
from drystone.service.calls.host_records import HostRecords
from drystone.service.calls.image_files import ImageFiles
from drystone.service.calls.instances import Instances
from drystone.service.calls.operation_control import OperationControl
from drystone.service.calls.operation_records import OperationRecords
from drystone.service.calls.overview import Overview
from drystone.service.calls.passwords import Passwords
from drystone.service.calls.policies import Policies
from drystone.service.calls.protection import Protection
from drystone.service.calls.proving import Proving
from drystone.service.calls.quiescing import Quiescing
from drystone.service.calls.sharing import Sharing
from drystone.service.calls.snapshot_groups import SnapshotGroups
from drystone.service.calls.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.calls.snapshot_records import SnapshotRecords
from drystone.service.calls.store_health import StoreHealth
from drystone.service.calls.store_space import StoreSpace
from drystone.service.calls.store_status import StoreStatus
from drystone.service.calls.tags import ResourceTags
from drystone.service.calls.trail import Audit
from drystone.service.calls.trail_records import AuditRecords
from drystone.service.upkeep.clock import SteadyClock
from drystone.service.upkeep.confirmation import Confirmation


class Authenticate(Protocol):
    """Looks an access key up."""

    async def __call__(self, secret_id: str, /, *, sparing: bool = False) -> Identity | None:
        """Return whose key this is, or None when it is unknown or disabled.

        Args:
            secret_id: The key's id.
            sparing: Whether an id that is not there must cost no read of its own.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """One attribute for each group of calls."""

    disks: DiskLifecycle
    snapshots: SnapshotLifecycle
    snapshot_groups: SnapshotGroups
    policies: Policies
    quiescing: Quiescing
    proving: Proving
    disk_records: DiskRecords
    disk_charges: DiskCharges
    disk_backups: DiskBackups
    snapshot_records: SnapshotRecords
    tags: ResourceTags
    sharing: Sharing
    instances: Instances
    accounts: Accounts
    operations: OperationRecords
    operation_control: OperationControl
    host: HostRecords
    store_health: StoreHealth
    space: StoreSpace
    store_status: StoreStatus
    clock: SteadyClock
    confirmation: Confirmation
    image_files: ImageFiles
    passwords: Passwords
    overview: Overview
    history: History
    differences: SnapshotDifferences
    audit: Audit
    audit_records: AuditRecords
    events: EventRecords
    protection: Protection
    disk_space: DiskSpace
    authenticate: Authenticate

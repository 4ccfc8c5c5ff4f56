"""All use cases, as the wire sees them."""

from dataclasses import dataclass
from typing import Protocol

from drystone.service.accounts import Accounts
from drystone.service.audit import Audit
from drystone.service.audit_records import AuditRecords
from drystone.service.caller import Identity
from drystone.service.clock import SteadyClock
from drystone.service.confirmation import Confirmation
from drystone.service.differences import SnapshotDifferences
from drystone.service.disk_lifecycle import DiskLifecycle
from drystone.service.disk_records import DiskRecords
from drystone.service.history import History
from drystone.service.host_records import HostRecords
from drystone.service.image_files import ImageFiles
from drystone.service.instances import Instances
from drystone.service.operation_records import OperationRecords
from drystone.service.overview import Overview
from drystone.service.passwords import Passwords
from drystone.service.proving import Proving
from drystone.service.quiescing import Quiescing
from drystone.service.scrub import Scrub
from drystone.service.snapshot_groups import SnapshotGroups
from drystone.service.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.snapshot_records import SnapshotRecords
from drystone.service.store_space import StoreSpace


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
    quiescing: Quiescing
    proving: Proving
    disk_records: DiskRecords
    snapshot_records: SnapshotRecords
    instances: Instances
    accounts: Accounts
    operations: OperationRecords
    host: HostRecords
    store_health: Scrub
    space: StoreSpace
    clock: SteadyClock
    confirmation: Confirmation
    image_files: ImageFiles
    passwords: Passwords
    overview: Overview
    history: History
    differences: SnapshotDifferences
    audit: Audit
    audit_records: AuditRecords
    authenticate: Authenticate

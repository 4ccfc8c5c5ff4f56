"""What the use cases answer: values of the catalog with the sums and names that clients are shown beside them."""

from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from drystone.domain.disk import Disk
from drystone.domain.event import Event
from drystone.domain.history import HistoryPoint
from drystone.domain.ids import AccountId, DiskId, InstanceId, OperationId, PolicyId, SnapshotId, StoreId
from drystone.domain.instance import Instance
from drystone.domain.operation import Operation, OperationStep, PhaseSpan
from drystone.domain.policy import Policy, Run
from drystone.domain.promise import NOTHING, Promise
from drystone.domain.proof import Proof
from drystone.domain.simulation import SimulatedDay
from drystone.domain.snapshot import Snapshot
from drystone.domain.snapshot_group import SnapshotGroup
from drystone.domain.store_days import BytesOfDay, DiskHeld, SpaceOfDay
from drystone.domain.tracking import TrackingState

T = TypeVar("T")
StorePlace = Literal["directory", "bucket"]
StoreState = Literal["answers", "unreachable", "refused", "foreign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some of the rows that match, and how many match."""

    items: tuple[T, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage(Page[Event]):
    """Some of the events that match, and where to go on."""

    cursor: int
    """Whatever changes from now on has a higher revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskView:
    """A disk and the totals over its snapshots."""

    disk: Disk
    snapshot_count: int
    """CREATING and NORMAL."""
    snapshot_bytes: int
    """Stored for the NORMAL ones."""
    backup_count: int = 0
    """Backup points, CREATING and NORMAL."""
    policy_ids: tuple[PolicyId, ...] = ()
    """What it is bound to; only read where that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """A snapshot policy, its disks, and how it stands."""

    policy: Policy
    disk_ids: tuple[DiskId, ...]
    next_slots: tuple[int, ...]
    """When it is due next; none while it is switched off."""
    runs: tuple[Run, ...]
    """Of the newest slot that was due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationView:
    """What a policy will do if every run succeeds."""

    zone: str
    days: tuple[SimulatedDay, ...]
    kept: tuple[int, ...]
    """Slots whose snapshots are there at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionView:
    """What there would be of a disk if it were lost now."""

    disk: Disk
    last: Snapshot | None
    """Its newest snapshot that is neither damaged nor suspect."""
    proof: Proof | None
    """The newest proof of any of its snapshots."""
    failed: tuple[Operation, ...]
    """Snapshots that failed after that one, oldest first."""
    snapshot_count: int
    stored_bytes: int
    promise: Promise = NOTHING
    """What its policies promise."""

    @property
    def covered(self) -> bool:
        """Whether a policy that is switched on takes snapshots of it."""
        return bool(self.promise.policy_ids)

    @property
    def protected(self) -> bool:
        """Whether there is a good snapshot, and the newest did not fail."""
        return self.last is not None and not self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpaceView:
    """What the store holds of a disk."""

    held: DiskHeld
    days: tuple[BytesOfDay, ...]
    """The days on which that became another; the first is what it was on the first day that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotView:
    """A snapshot with its record (P7)."""

    snapshot: Snapshot
    proof: Proof | None = None
    """Its newest proof that it opens; only read where records are shown."""
    shares: int = 0
    """How many accounts it is shared with."""
    shared_at: float | None = None
    """Since when it is shared: with anybody, or where it is received, with the caller."""
    received: bool = False
    """Whether it is another account's, who shares it with the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotGroupView:
    """A group and its members that clients see."""

    group: SnapshotGroup
    members: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskConfig:
    """Sizes in which one type of disk may be had, for one way of charging."""

    available: bool
    charge_type: str
    zone: str
    disk_type: str
    usage: str
    size_gib_min: int
    size_gib_max: int
    step_gib: int
    extra_performance_range: tuple[int, int] | None
    """ThroughputPerformance, MiB/s: from, to; None for types that cannot have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDiskNumber:
    """How many disks an instance has and may have."""

    instance_id: InstanceId
    attached: int
    attached_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOverview:
    """Totals over an account's NORMAL snapshots, GiB."""

    count: int
    stored_gib: float
    free_quota_gib: float
    billed_gib: float
    """What is stored beyond the free quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskDetail:
    """How a disk is served and tracked."""

    disk_id: DiskId
    nbd_uri: str | None
    """While it is attached to an NBD instance."""
    device: str | None
    """While it is attached to a HOST instance."""
    tracking: TrackingState
    tracking_reason: str
    base_snapshot_id: SnapshotId | None
    epoch: int
    source_snapshot_id: SnapshotId | None
    hydrating: bool
    hydration_percent: int
    daemon: str | None
    needs_rewrite: bool
    """Its image is in the form of an earlier version."""
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationHistory:
    """What an operation did, and how long each phase took."""

    steps: tuple[OperationStep, ...]
    phases: tuple[PhaseSpan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """An instance and its use."""

    instance: Instance
    attached: int
    attached_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDisks:
    """An instance and the disks that name it, oldest first."""

    instance: Instance
    disks: tuple[Disk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A disk or a snapshot, and its tags."""

    resource_id: str
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made: the only time that its secret is shown."""

    account_id: AccountId
    secret_id: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """An access key without its secret."""

    secret_id: str
    enabled: bool
    created_at: float
    made_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """One storage daemon."""

    name: str
    pid: int
    disk_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What the host process knows of itself and its file system."""

    version: str
    qemu_version: str
    data_directory: str
    free_bytes: int
    floor_bytes: int
    stored_bytes: int
    """All objects of the store."""
    store_bytes_per_s: int
    """What may go to the bucket and come from it at this hour; 0: no limit."""
    daemons: tuple[DaemonFacts, ...]
    clock: "ClockView"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """The host as an administrator sees it."""

    facts: HostFacts
    region: str
    zone: str
    store_id: StoreId
    disk_count: int
    snapshot_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageView:
    """What one damaged object hides of one snapshot."""

    object: str
    kind: str
    """pack, map or manifest."""
    snapshot_id: SnapshotId
    reason: str
    found_at: float
    blocks: int
    ranges: tuple[tuple[int, int], ...]
    """The first of the block ranges that cannot be served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealthView:
    """How far the scrub of the store is, and what it and the audits found. Times are seconds since the epoch."""

    packs: int
    packs_due: int
    oldest_proof_at: float | None
    """When the pack that waits longest was proven, or written if it never was."""
    snapshots: int
    snapshots_due: int
    requested_at: float | None
    """Since when everything was to be proven anew, if somebody asked for that."""
    damaged_snapshots: int
    suspect_snapshots: int
    suspect: tuple[SnapshotId, ...]
    """The first of them."""
    damages: tuple[DamageView, ...]
    """The first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSpaceView:
    """Stored bytes that a snapshot shows (L13)."""

    snapshot_id: SnapshotId
    unique_bytes: int
    """Seen by no other living snapshot: what deleting it alone makes dead."""
    shared_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSpaceView:
    """Each snapshot of a set, and what deleting all of them together does."""

    snapshots: tuple[SnapshotSpaceView, ...]
    dead_bytes: int
    reclaimable_bytes: int
    """Of these, what collection would get back at its threshold, less what somebody reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpaceView:
    """Sums over the store, bytes."""

    stored_bytes: int
    """All objects."""
    map_bytes: int
    snapshot_bytes: int
    """Of manifests, and of what is kept beside them."""
    cache_bytes: int
    """On this machine's disk, of what was read of a bucket: it can go at any time."""
    pack_count: int
    pack_bytes: int
    live_bytes: int
    """Of the packs, what living snapshots see."""
    dead_bytes: int
    reclaimable_bytes: int
    """Of these, what lies in packs beyond the threshold."""
    reclaimed_bytes: int
    """Since the installation was made."""
    waiting_bytes: int
    """Of objects that were replaced and go when their readers have ended."""
    dead_percent: int
    """The threshold."""
    held: str
    """Why nothing is collected until somebody confirms; empty if nothing is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDayView:
    """What was asked of the store on one day, as those who charge for requests count it."""

    day: str
    writes: int
    """Each writes an object."""
    reads: int
    lists: int
    deletes: int
    sent_bytes: int
    received_bytes: int
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatusView:
    """Where the store is, whether it answers, and whose it is. Times are seconds since the epoch."""

    store_id: StoreId
    place: str
    """A directory, or the URL of a bucket."""
    place_kind: StorePlace
    state: StoreState
    fault: str
    """Why it is of no use now; empty if it answers."""
    fault_since: float | None
    reached_at: float | None
    """When it was last seen to answer, since the start."""
    last_fault: Event | None
    """The newest trouble with it that is over."""
    epoch: int
    held: str
    days: tuple[StoreDayView, ...]
    """With requests to a bucket, oldest first."""
    space: tuple[SpaceOfDay, ...]
    days_left: float | None
    """How long the disks' file system has room for more, if it goes on as lately; None: nobody can say, or for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionView:
    """A collection that was begun, or (without an operation) only thought of."""

    operation_id: OperationId | None
    dead_percent: int
    packs: int
    """Of which at least so much is thought dead."""
    pack_bytes: int
    dead_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockView:
    """What the clocks say. Times are seconds since the epoch."""

    machine_at: float
    """By this machine's clock."""
    steady_at: float
    """By the steady clock: the same, unless the machine's is doubted."""
    doubted_since: float | None
    """By the steady clock; None while the machine's is believed."""
    waits_s: float
    """How long nothing expires yet unless somebody confirms the machine's clock; 0 if it is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewView:
    """An account at a glance."""

    figures: HistoryPoint
    disks_attached: int
    free_bytes: int | None
    """What snapshots and disks may still take; administrators only."""
    operations: tuple[Operation, ...]
    """The newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotasView:
    """How much an account has, and may have."""

    disks_max: int
    """0: no limit."""
    disks: int
    disk_gib_max: int
    """0: no limit."""
    disk_gib: int
    snapshots_per_disk_max: int
    snapshots_max: int
    snapshots: int
    snapshot_bytes_max: int
    """0: no limit."""
    snapshot_bytes: int
    disks_per_instance_max: int
    disks_per_call_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceView:
    """Where two snapshots differ, in equal stretches of the disk."""

    size_bytes: int
    changed_bytes: int
    bucket_bytes: int
    buckets: tuple[int, ...]
    """Changed bytes of each stretch; the last one may be shorter than `bucket_bytes`."""

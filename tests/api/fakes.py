"""Use cases that answer with fixed values and keep what they were asked."""

from dataclasses import dataclass, field, replace
from datetime import date, timedelta, timezone
from typing import Any, cast

from drystone.api.actions import Context
from drystone.domain.account import Account
from drystone.domain.disk import Disk, DiskState
from drystone.domain.event import Event, EventKind, Facts
from drystone.domain.history import HistoryPoint
from drystone.domain.ids import (
    AccountId,
    DiskBackupId,
    DiskId,
    InstanceId,
    OperationId,
    PolicyId,
    SnapshotGroupId,
    SnapshotId,
    StoreId,
)
from drystone.domain.instance import Instance, InstanceKind
from drystone.domain.operation import Operation, OperationKind, OperationState, OperationStep, PhaseSpan
from drystone.domain.policy import Policy, Retention, Run, RunReason, RunState, Spread, Trigger
from drystone.domain.proof import Finding, Proof, ProofStep
from drystone.domain.quiesce import QuiesceMode, QuiesceProfile, Step, StepKind
from drystone.domain.share import Share
from drystone.domain.simulation import SimulatedDay
from drystone.domain.snapshot import Snapshot, SnapshotRecord, SnapshotState
from drystone.domain.snapshot_group import SnapshotGroup, SnapshotGroupState
from drystone.domain.store_days import BytesOfDay, DiskHeld, SpaceOfDay
from drystone.domain.tracking import TrackingState
from drystone.domain.trail import TrailEntry
from drystone.service.caller import Caller
from drystone.service.calls.use_cases import UseCases
from drystone.service.views import (
    ClockView,
    CollectionView,
    DaemonFacts,
    DamageView,
    DifferenceView,
    DiskConfig,
    DiskDetail,
    DiskSpaceView,
    DiskView,
    EventPage,
    HostFacts,
    HostView,
    InstanceDiskNumber,
    InstanceDisks,
    InstanceView,
    KeyView,
    NewKey,
    OperationHistory,
    OverviewView,
    Page,
    PolicyView,
    ProtectionView,
    QuotasView,
    SetSpaceView,
    SimulationView,
    SnapshotGroupView,
    SnapshotOverview,
    SnapshotSpaceView,
    SnapshotView,
    StoreDayView,
    StoreHealthView,
    StoreSpaceView,
    StoreStatusView,
    Tagged,
)
from tests.api.asgi import ACCOUNT, Keys, Trail
from tests.api.signing import NOW_S, REGION

CLOCK = ClockView(machine_at=NOW_S + 9.0, steady_at=NOW_S, doubted_since=NOW_S, waits_s=1.5)
ZONE = f"{REGION}-1"
DISK = Disk(
    id=DiskId("disk-00000001"),
    account_id=ACCOUNT,
    name="data 中文",
    state=DiskState.ATTACHED,
    size_gib=20,
    type="CLOUD_SSD",
    zone=ZONE,
    project_id=7,
    instance_id=InstanceId("ins-00000001"),
    last_attach_instance_id=InstanceId("ins-00000001"),
    tags=(("team", "storage"),),
    delete_snapshot=True,
    created_at=1_537_954_567,
)
SNAPSHOT = Snapshot(
    id=SnapshotId("snap-00000001"),
    account_id=ACCOUNT,
    disk_id=DISK.id,
    name="first",
    state=SnapshotState.NORMAL,
    size_gib=20,
    percent=100,
    created_at=1_537_954_567,
    modified_at=1_648_921_495,
    deadline_at=1_537_954_567 + 86_400,
    permanent=False,
    tags=(("team", "storage"),),
    zone=ZONE,
    parent_id=SnapshotId("snap-00000000"),
    record=SnapshotRecord(
        tracking="delta",
        tracking_reason="dirty bitmap",
        read_bytes=3,
        changed_bytes=2,
        stored_bytes=1,
        requests=4,
        freeze_ms=1.5,
        duration_ms=90.25,
        consistency="crash",
        consistency_asked="filesystem",
        quiesce_ms=8.5,
        transcript=("freeze filesystem /srv ok, 7.0 ms",),
        taken_at=1_537_954_567.25,
    ),
)
GROUP = SnapshotGroup(
    id=SnapshotGroupId("csnap-00000001"),
    account_id=ACCOUNT,
    instance_id=InstanceId("ins-00000001"),
    name="both",
    state=SnapshotGroupState.NORMAL,
    tags=(("team", "storage"),),
    operation_id=OperationId("op-00000002"),
    pause_ms=7.5,
    taken_at=1_537_954_567.25,
    created_at=1_537_954_567,
    modified_at=1_648_921_495,
)
PROOF = Proof(
    snapshot_id=SNAPSHOT.id,
    account_id=SNAPSHOT.account_id,
    finding=Finding.DAMAGED,
    reason="disk: check ext4: wrong",
    steps=(ProofStep(title="disk: check ext4", finding=Finding.DAMAGED, seconds=1.5, detail="wrong"),),
    began_at=SNAPSHOT.created_at,
    ended_at=SNAPSHOT.created_at,
)
PROFILE = QuiesceProfile(
    resource_id="disk-00000001",
    account_id=ACCOUNT,
    mode=QuiesceMode.PREFER,
    freeze_seconds_max=7.0,
    steps=(
        Step(kind=StepKind.COMMAND, freeze=("/bin/hold", "x"), thaw=("/bin/release",), seconds_max=2.0),
        Step(kind=StepKind.FILESYSTEM, mount="/srv"),
    ),
    modified_at=1_537_954_567,
)
POLICY = Policy(
    id=PolicyId("asp-00000001"), account_id=ACCOUNT, name="nightly", zone="+08:00",
    triggers=(Trigger(hours=(12, 0), days_of_week=(6, 5)),), retention=Retention(spread=Spread(days=7, weeks=4)),
    group=True, skip_unchanged=True, tags=(("team", "storage"),), created_at=1_537_954_567, modified_at=1_537_954_568,
    anchored_at=1_537_954_567, copied_from=AccountId("100000000009"),
)  # fmt: skip
RUN = Run(
    policy_id=POLICY.id, slot=1_537_977_600, disk_id=DISK.id, account_id=ACCOUNT, state=RunState.FAILED,
    reason=RunReason.BUSY, detail="It is.", late_by_s=1.5, missed=2, attempts=3, try_at=NOW_S,
    snapshot_id=SNAPSHOT.id, ended_at=1_537_977_700,
)  # fmt: skip
INSTANCE = Instance(
    id=InstanceId("ins-00000001"),
    account_id=ACCOUNT,
    name="host",
    kind=InstanceKind.HOST,
    zone=ZONE,
    created_at=1_537_954_567,
)
OPERATION = Operation(
    id=OperationId("op-00000001"),
    kind=OperationKind.SNAPSHOT,
    account_id=ACCOUNT,
    disk_id=DISK.id,
    snapshot_id=SNAPSHOT.id,
    state=OperationState.FAILED,
    phase="upload",
    percent=40,
    attempts=2,
    error_code="InternalError",
    error="broken",
    created_at=1_537_954_567,
    updated_at=1_537_954_568,
)


@dataclass
class Calls:
    """Every call in order: use case, positional and keyword arguments after the caller."""

    seen: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    failure: Exception | None = None

    def note(self, name: str, caller: Caller, *given: Any, **named: Any) -> None:
        self.seen.append((name, given, named))
        self.callers.append(caller)
        if self.failure is not None:
            raise self.failure


class Part:
    """A group of use cases; each keeps its arguments and gives its fixed answer."""

    def __init__(self, name: str, calls: Calls, answers: dict[str, Any]) -> None:
        self._name = name
        self._calls = calls
        self._answers = answers

    def __getattr__(self, action: str) -> Any:
        if action not in self._answers:
            raise AttributeError(action)

        async def run(caller: Caller, *given: Any, **named: Any) -> Any:
            self._calls.note(f"{self._name}.{action}", caller, *given, **named)
            return self._answers[action]

        return run


def context(hours: float) -> Context:
    """What actions work with: the use cases of nobody, and this offset of local times."""
    zone = timezone(timedelta(hours=hours))
    return Context(calls=cast("UseCases", None), region=REGION, zone=zone, clock=lambda: NOW_S)


class FakeUseCases:
    """All use cases of all services."""

    @property
    def typed(self) -> UseCases:
        """These, for what wants the real ones."""
        return cast("UseCases", self)

    def __init__(self) -> None:
        self.calls = calls = Calls()
        self.authenticate = Keys()
        self.audit = Trail()
        none = dict.fromkeys(("resize", "terminate", "attach", "detach", "initialize"))
        self.disks: Any = Part(
            "disks",
            calls,
            {"create": (DISK.id, DiskId("disk-00000002")), "rewrite": OperationId("op-00000006"), **none},
        )
        self.snapshots: Any = Part(
            "snapshots", calls, {"create": SNAPSHOT.id, "audit": SNAPSHOT.id, "delete": None, "apply": None}
        )
        groups = Page(items=(SnapshotGroupView(group=GROUP, members=(SNAPSHOT,)),), total=1)
        self.snapshot_groups: Any = Part(
            "snapshot_groups", calls, {"create": GROUP.id, "describe": groups, "delete": None, "apply": None}
        )
        view = PolicyView(policy=POLICY, disk_ids=(DISK.id,), next_slots=(1_537_977_600,), runs=(RUN,))
        day = SimulatedDay(day=date(2018, 9, 27), runs=(1_537_977_600,), gone=(1_537_891_200,), kept=3)
        policies = Page(items=(view,), total=1)
        self.policies: Any = Part("policies", calls, {
            "create": (POLICY.id, 1_537_977_600), "describe": policies, "of_disk": policies, "copy": (POLICY.id,),
            "runs": Page(items=(RUN,), total=1),
            "simulate": SimulationView(zone="+08:00", days=(day,), kept=(1_537_977_600,)),
            **dict.fromkeys(("modify", "set_options", "delete", "bind", "unbind")),
        })  # fmt: skip
        self.quiescing: Any = Part(
            "quiescing", calls, {"set": None, "remove": None, "describe": Page(items=(PROFILE,), total=1)}
        )
        self.proving: Any = Part("proving", calls, {"begin": OperationId("op-00000005")})
        config = DiskConfig(
            available=True,
            charge_type="POSTPAID_BY_HOUR",
            zone=ZONE,
            disk_type="CLOUD_HSSD",
            usage="DATA_DISK",
            size_gib_min=20,
            size_gib_max=32000,
            step_gib=1,
            extra_performance_range=(0, 650),
        )
        detail = DiskDetail(
            disk_id=DISK.id,
            nbd_uri=None,
            device="/dev/disk/by-id/virtio-disk-00000001",
            tracking=TrackingState.LIVE,
            tracking_reason="",
            base_snapshot_id=SNAPSHOT.id,
            epoch=3,
            source_snapshot_id=None,
            hydrating=False,
            hydration_percent=100,
            daemon="ins-00000001",
            needs_rewrite=True,
            created_at=DISK.created_at,
        )
        disks = Page(items=(DiskView(disk=DISK, snapshot_count=2, snapshot_bytes=(1 << 20) + 1),), total=1)
        self.disk_records: Any = Part(
            "disk_records",
            calls,
            {
                "describe": disks,
                "modify": None,
                "modify_throughput": None,
                "none_of": None,
                "config_quota": (config,),
                "instances_disk_num": (InstanceDiskNumber(instance_id=INSTANCE.id, attached=1, attached_max=20),),
                "details": Page(items=(detail,), total=1),
            },
        )
        prices = dict.fromkeys(
            (f"price_of_{what}" for what in ("new", "resizing", "throughput", "backup_quota")), "POSTPAID_BY_HOUR"
        )
        share = Share(snapshot_id=SNAPSHOT.id, account_id=AccountId("100000000002"), created_at=SNAPSHOT.created_at)
        backup = replace(SNAPSHOT, backup_id=DiskBackupId("dbp-00000001"))
        self.disk_backups: Any = Part(
            "disk_backups",
            calls,
            {
                "create": backup.backup_id,
                "describe": Page(items=(backup,), total=1),
                **dict.fromkeys(("delete", "apply", "set_quota")),
            },
        )
        self.sharing: Any = Part("sharing", calls, {"modify": None, "describe": (share,)})
        self.disk_charges: Any = Part(
            "disk_charges",
            calls,
            {
                **dict.fromkeys(("change_type", "set_renew_flag", "renew")),
                **prices,
                "price_of_renewal": "PREPAID",
            },
        )
        snapshots = Page(items=(SnapshotView(snapshot=SNAPSHOT, proof=PROOF),), total=1)
        totals = SnapshotOverview(count=13, stored_gib=92.45, free_quota_gib=50.0, billed_gib=42.45)
        self.snapshot_records: Any = Part(
            "snapshot_records",
            calls,
            {
                "describe": snapshots,
                "modify": None,
                "overview": totals,
                "records": snapshots,
                "copy_to_regions": None,
            },
        )
        instance = InstanceView(instance=INSTANCE, attached=1, attached_max=20)
        self.instances: Any = Part(
            "instances",
            calls,
            {
                "describe": Page(items=(instance,), total=1),
                "with_disks": Page(items=(InstanceDisks(instance=INSTANCE, disks=(DISK,)),), total=1),
                "zones": (ZONE,),
                "create": INSTANCE.id,
                "delete": None,
            },
        )
        self.tags: Any = Part(
            "tags",
            calls,
            {
                "of": Page(items=((DISK.id, "team", "storage"),), total=1),
                "named": {DISK.id: DISK.tags},
                "find": (Tagged(resource_id=DISK.id, tags=DISK.tags),),
                "change": {},
                "keys": Page(items=("team",), total=1),
                "pairs": Page(items=DISK.tags, total=2),
                "create": None,
                "delete": None,
            },
        )
        key = NewKey(account_id=ACCOUNT, secret_id="AKIDnew", secret_key="secret-of-the-new-key")
        account = Account(id=ACCOUNT, name="owner", admin=True, created_at=NOW_S)
        self.accounts: Any = Part(
            "accounts",
            calls,
            {
                "create": key,
                "describe": Page(items=(account,), total=1),
                "set_quota": None,
                "create_key": key,
                "delete_key": None,
                "describe_keys": (KeyView(secret_id="AKIDnew", enabled=True, created_at=NOW_S),),
                "create_own_key": key,
                "delete_own_key": None,
                "describe_own_keys": (KeyView(secret_id="AKIDnew", enabled=True, created_at=NOW_S),),
            },
        )
        point = HistoryPoint(
            account_id=ACCOUNT, at=NOW_S, disks=2, disks_bytes=40, snapshots=3, stored_bytes=4, logical_bytes=60,
            changed_bytes=10,
        )  # fmt: skip
        glance = OverviewView(
            figures=point, disks_attached=1, free_bytes=None, operations=(OPERATION,),
        )  # fmt: skip
        quotas = QuotasView(
            disks_max=500, disks=2, disk_gib_max=0, disk_gib=40, snapshots_per_disk_max=64,
            snapshots_max=128, snapshots=3, snapshot_bytes_max=0, snapshot_bytes=4,
            disks_per_instance_max=20, disks_per_call_max=50,
        )  # fmt: skip
        different = DifferenceView(size_bytes=12288, changed_bytes=4096, bucket_bytes=8192, buckets=(4096, 0))
        self.passwords: Any = Part("passwords", calls, {"set": "made-password"})
        self.overview: Any = Part("overview", calls, {"describe": glance, "quotas": quotas})
        self.history: Any = Part("history", calls, {"describe": (point,)})
        self.differences: Any = Part("differences", calls, {"describe": different})
        self.operations: Any = Part("operations", calls, {
            "describe": Page(items=(OPERATION,), total=1),
            "history": OperationHistory(
                steps=(
                    OperationStep(
                        at=OPERATION.created_at, phase="FROZEN", state=OperationState.RUNNING, attempts=1, error="e"
                    ),
                ),
                phases=(PhaseSpan(phase="FROZEN", began_at=OPERATION.created_at, seconds=1.5, ended=False),),
            ),
        })  # fmt: skip
        self.operation_control: Any = Part(
            "operation_control", calls, {"cancel": None, "retry": OperationId("op-00000007")}
        )
        entry = TrailEntry(
            id=7, at=NOW_S, account_id=ACCOUNT, secret_id="AKIDnew", action="CreateDisks", request_id="r-1",
            resource=DISK.id, code="OK", source="127.0.0.1",
        )  # fmt: skip
        event = Event(
            id="evt-00000001", kind=EventKind.CONSISTENCY_REDUCED, account_id=ACCOUNT, subject_id=DISK.id, aspect="",
            facts=Facts(asked="filesystem", given="crash", snapshot_id=SNAPSHOT.id, reason="it is not mounted"),
            first_seen_at=NOW_S, last_seen_at=NOW_S, count=2, revision=9,
        )  # fmt: skip
        events = EventPage(items=(event,), total=1, cursor=9)
        self.events: Any = Part("events", calls, {"describe": events, "acknowledge": None})
        self.audit_records: Any = Part("audit_records", calls, {"describe": Page(items=(entry,), total=1)})
        facts = HostFacts(
            version="0.1.0",
            qemu_version="10.0.2",
            data_directory="/data",
            free_bytes=3,
            floor_bytes=2,
            stored_bytes=1,
            store_bytes_per_s=5_000_000,
            daemons=(DaemonFacts(name="ins-00000001", pid=4711, disk_count=1),),
            clock=CLOCK,
        )
        damage = DamageView(
            object="s/packs/a/b.c", kind="pack", snapshot_id=SNAPSHOT.id, reason="frame 1 does not match",
            found_at=NOW_S, blocks=3, ranges=((5, 8),),
        )  # fmt: skip
        health = StoreHealthView(
            packs=3, packs_due=1, oldest_proof_at=NOW_S, snapshots=2, snapshots_due=0, requested_at=None,
            damaged_snapshots=1, suspect_snapshots=1, suspect=(SNAPSHOT.id,), damages=(damage,),
        )  # fmt: skip
        self.store_health: Any = Part("store_health", calls, {"request": NOW_S, "health": health})
        self.space: Any = Part("space", calls, {
            "snapshots": SetSpaceView(
                snapshots=(SnapshotSpaceView(snapshot_id=SNAPSHOT.id, unique_bytes=3, shared_bytes=4),),
                dead_bytes=3, reclaimable_bytes=2,
            ),
            "store": StoreSpaceView(
                stored_bytes=9, map_bytes=1, snapshot_bytes=2, cache_bytes=3, pack_count=1, pack_bytes=8,
                live_bytes=6, dead_bytes=2, reclaimable_bytes=1, reclaimed_bytes=5, waiting_bytes=7,
                dead_percent=20, held="",
            ),
            "collect": CollectionView(
                operation_id=OperationId("op-00000001"), dead_percent=0, packs=1, pack_bytes=8, dead_bytes=2
            ),
        })  # fmt: skip
        status = StoreStatusView(
            store_id=StoreId("st-1"), place="s3://backups", place_kind="bucket", state="unreachable", fault="timed out",
            fault_since=NOW_S, reached_at=NOW_S, last_fault=event, epoch=42, held="", days_left=12.34,
            days=(StoreDayView(
                day="2026-09-21", writes=1, reads=2, lists=3, deletes=4, sent_bytes=5, received_bytes=6, errors=7
            ),),
            space=(SpaceOfDay(day="2026-09-21", stored_bytes=8, free_bytes=9),),
        )  # fmt: skip
        self.store_status: Any = Part("store_status", calls, {"describe": status})
        protection = ProtectionView(
            disk=DISK, last=SNAPSHOT, proof=None, failed=(OPERATION,), snapshot_count=3, stored_bytes=7
        )
        self.protection: Any = Part("protection", calls, {"describe": Page(items=(protection,), total=1)})
        space = DiskSpaceView(
            held=DiskHeld(disk_id=DISK.id, name=DISK.name, account_id=DISK.account_id, held_bytes=9),
            days=(BytesOfDay(day="2026-09-21", bytes=8),),
        )
        self.disk_space: Any = Part("disk_space", calls, {"describe": Page(items=(space,), total=1)})
        self.clock: Any = Part("clock", calls, {"confirm": CLOCK})
        self.confirmation: Any = Part("confirmation", calls, {"confirm": "recovered"})
        self.image_files: Any = Part(
            "image_files",
            calls,
            {"export": OperationId("op-00000003"), "import_disk": (DISK.id, OperationId("op-00000004"))},
        )
        self.host: Any = Part(
            "host",
            calls,
            {
                "describe": HostView(
                    facts=facts, region=REGION, zone=ZONE, store_id=StoreId("s"), disk_count=1, snapshot_count=1
                )
            },
        )

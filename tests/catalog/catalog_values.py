"""Values for the tests of the catalog."""

from dataclasses import replace
from typing import Any

from drystone.domain.account import AccessKey, Account
from drystone.domain.disk import Disk, DiskEncryption, DiskState
from drystone.domain.ids import (
    AccountId,
    DiskBackupId,
    DiskId,
    InstanceId,
    KeyId,
    OperationId,
    PackId,
    PolicyId,
    SessionId,
    SnapshotGroupId,
    SnapshotId,
)
from drystone.domain.instance import Instance, InstanceKind
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import (
    SnapshotPayload,
)
from drystone.domain.session import Pack, Session
from drystone.domain.snapshot import Snapshot, SnapshotRecord, SnapshotState
from drystone.domain.tracking import FrozenBase, TrackingState

OWNER = AccountId("100000000001")
OTHER = AccountId("100000000002")
ZONE = "ap-local-1"


def account(account_id: AccountId = OWNER, **fields: Any) -> Account:
    return replace(Account(id=account_id, name=f"name of {account_id}", admin=False, created_at=1.5), **fields)


def key(secret_id: str = "AKIDx", **fields: Any) -> AccessKey:
    return replace(AccessKey(secret_id=secret_id, secret_key="topsecret", account_id=OWNER, created_at=2.0), **fields)


def instance(name: str = "ins-00000001", **fields: Any) -> Instance:
    value = Instance(id=InstanceId(name), account_id=OWNER, name="vm", kind=InstanceKind.NBD, zone=ZONE, created_at=3.0)
    return replace(value, **fields)


def disk(name: str = "disk-00000001", **fields: Any) -> Disk:
    value = Disk(
        id=DiskId(name),
        account_id=OWNER,
        state=DiskState.UNATTACHED,
        size_gib=10,
        type="CLOUD_PREMIUM",
        zone=ZONE,
        created_at=4.0,
    )
    return replace(value, **fields)


def full_disk() -> Disk:
    """A disk with no column at its default."""
    return disk(
        name="disk-0000000f",
        state=DiskState.ATTACHED,
        charge_type="PREPAID",
        project_id=7,
        usage="SYSTEM_DISK",
        portable=False,
        shareable=True,
        instance_id=InstanceId("ins-00000001"),
        last_attach_instance_id=InstanceId("ins-00000002"),
        delete_with_instance=True,
        delete_snapshot=True,
        throughput_performance=5,
        burst_performance=True,
        renew_flag="NOTIFY_AND_AUTO_RENEW",
        prepaid_period=3,
        backup_quota=2,
        tags=(("umgebung", "prüfung"), ('quote"d', "[1]")),
        source_snapshot_id=SnapshotId("snap-00000009"),
        deadline_at=99.25,
        error_prompt="it failed",
        base_snapshot_id=SnapshotId("snap-00000001"),
        carry=frozenset({"maps/b", "maps/a"}),
        epoch=12,
        tracking=TrackingState.LIVE,
        tracking_reason="started",
        bitmap="b1",
        daemon="d1",
        hydrating=True,
        hydration_percent=40,
        rollback_percent=50,
        nbd_socket="/run/x",
        device="/dev/x",
        audit_cursor=17,
        encryption=DiskEncryption(type="ENCRYPT_V2", kek=KeyId("ab" * 16), wrap="d3JhcA=="),
        backup_day=20_000,
    )


def snapshot(name: str = "snap-00000001", **fields: Any) -> Snapshot:
    value = Snapshot(
        id=SnapshotId(name),
        account_id=OWNER,
        disk_id=DiskId("disk-00000001"),
        state=SnapshotState.NORMAL,
        size_gib=10,
        created_at=5.0,
        modified_at=5.0,
        zone=ZONE,
    )
    return replace(value, **fields)


def full_snapshot() -> Snapshot:
    """A snapshot with no column at its default."""
    return snapshot(
        name="snap-0000000f",
        usage="SYSTEM_DISK",
        percent=33,
        modified_at=6.0,
        deadline_at=77.0,
        permanent=False,
        tags=(("k", "v"),),
        project_id=8,
        parent_id=SnapshotId("snap-00000000"),
        session_id=SessionId("5" * 32),
        manifest="snapshots/m",
        delta_map="maps/d",
        maps=("maps/d", "maps/c", "maps/a"),
        record=SnapshotRecord(
            quiesce_ms=9.5,
            transcript=("freeze a ok", "thaw a ok"),
            tracking="delta",
            tracking_reason="bitmap",
            read_bytes=1,
            changed_bytes=2,
            stored_bytes=3,
            requests=4,
            freeze_ms=5.5,
            duration_ms=6.5,
            consistency="crash",
            taken_at=7.5,
            audited_blocks=8,
            audit_complete=True,
            audit_lies=2,
        ),
        stored_bytes=2**40,
        rolling_back=True,
        suspect=True,
        group_id=SnapshotGroupId("csnap-00000001"),
        proven_at=8.5,
        damaged=True,
        versions={"maps/a": "v1", "snapshots/b": "v2"},
        policy_id=PolicyId("asp-00000001"),
        slot=1_700_000_000,
        policy_order=7,
        encrypted=True,
        backup_id=DiskBackupId("dbp-1"),
    )


FREEZE = FrozenBase(base=None, carry=frozenset({"b", "a"}), epoch=3, lost=False, old_bitmap="b0", new_bitmap="b1")


def operation(name: str = "op-00000001", **fields: Any) -> Operation:
    value = Operation(
        id=OperationId(name),
        kind=OperationKind.SNAPSHOT,
        account_id=OWNER,
        disk_id=DiskId("disk-00000001"),
        payload=SnapshotPayload(freeze=FREEZE, session=SessionId("5e" * 16), transcript=("x",)),
        created_at=8.0,
        updated_at=8.0,
    )
    return replace(value, **fields)


def session(name: str = "a" * 32, **fields: Any) -> Session:
    return replace(Session(id=SessionId(name), kind="snapshot", created_at=9.0), **fields)


def pack(name: str = "b" * 32, **fields: Any) -> Pack:
    value = Pack(id=PackId(name), session_id=SessionId("a" * 32), object=f"packs/{name}", bytes=100, blocks=10)
    return replace(value, **fields)

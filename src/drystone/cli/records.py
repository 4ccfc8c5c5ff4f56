"""Wire objects to the records that --json prints: pure, snake_case, units last."""

from collections.abc import Mapping, Sequence

from drystone.cli.gateway import Wire
from drystone.cli.output import Record

DISK_COLUMNS = ("disk_id", "name", "state", "size_gib", "type", "instance_id", "device", "tracking", "created_at")
SNAPSHOT_COLUMNS = (
    "snapshot_id", "name", "disk_id", "state", "percent", "size_gib", "tracking", "changed_bytes", "stored_bytes",
    "unique_bytes", "created_at",
)  # fmt: skip
SNAPSHOT_GROUP_COLUMNS = ("group_id", "name", "state", "percent", "instance_id", "pause_ms", "snapshots", "created_at")
QUIESCE_COLUMNS = ("resource_id", "mode", "freeze_seconds_max", "kinds", "modified_at")
INSTANCE_COLUMNS = ("instance_id", "name", "kind", "zone", "attached_disk_count", "max_attach_count", "created_at")
OPERATION_COLUMNS = (
    "operation_id", "kind", "state", "phase", "percent", "disk_id", "snapshot_id", "instance_id", "updated_at",
    "error_message",
)  # fmt: skip
ACCOUNT_COLUMNS = ("account_id", "name", "admin", "created_at")
AUDIT_COLUMNS = ("at", "account_id", "action", "code", "calls", "resource")
KEY_COLUMNS = ("secret_id", "enabled", "created_at")


def disk_record(disk: Wire, detail: Wire) -> Record:
    """Join a Disk of CBS with its detail of the second service (`{}` if it went meanwhile)."""
    return {
        "disk_id": disk["DiskId"],
        "name": disk.get("DiskName"),
        "state": disk.get("DiskState"),
        "size_gib": disk.get("DiskSize"),
        "type": disk.get("DiskType"),
        "zone": (disk.get("Placement") or {}).get("Zone"),
        "instance_id": disk.get("InstanceId") or None,
        "nbd_uri": detail.get("NbdUri"),
        "device": detail.get("Device"),
        "tracking": detail.get("Tracking"),
        "tracking_reason": detail.get("TrackingReason"),
        "base_snapshot_id": detail.get("BaseSnapshotId"),
        "source_snapshot_id": detail.get("SourceSnapshotId"),
        "epoch": detail.get("Epoch"),
        "hydrating": detail.get("Hydrating"),
        "hydration_percent": detail.get("HydrationPercent"),
        "rollbacking": disk.get("Rollbacking"),
        "rollback_percent": disk.get("RollbackPercent"),
        "snapshot_count": disk.get("SnapshotCount"),
        "snapshot_mib": disk.get("SnapshotSize"),
        "throughput_performance": disk.get("ThroughputPerformance"),
        "charge_type": disk.get("DiskChargeType"),
        "usage": disk.get("DiskUsage"),
        "portable": disk.get("Portable"),
        "shareable": disk.get("Shareable"),
        "delete_with_instance": disk.get("DeleteWithInstance"),
        "delete_snapshot": bool(disk.get("DeleteSnapshot")),
        "last_attach_instance_id": disk.get("LastAttachInsId") or None,
        "daemon": detail.get("Daemon"),
        "needs_rewrite": detail.get("NeedsRewrite"),
        "tags": _tags(disk.get("Tags")),
        "created_at": disk.get("CreateTime"),
        "error_prompt": disk.get("ErrorPrompt") or None,
    }


def snapshot_record(snapshot: Wire, taken: Wire) -> Record:
    """Join a Snapshot of CBS with the record of how it was taken (`{}` if it went meanwhile)."""
    return {
        "snapshot_id": snapshot["SnapshotId"],
        "group_id": taken.get("SnapshotGroupId"),
        "name": snapshot.get("SnapshotName"),
        "disk_id": snapshot.get("DiskId"),
        "state": snapshot.get("SnapshotState"),
        "percent": snapshot.get("Percent"),
        "size_gib": snapshot.get("DiskSize"),
        "parent_snapshot_id": taken.get("ParentSnapshotId"),
        "tracking": taken.get("Tracking"),
        "tracking_reason": taken.get("TrackingReason"),
        "read_bytes": taken.get("ReadBytes"),
        "changed_bytes": taken.get("ChangedBytes"),
        "stored_bytes": taken.get("StoredBytes"),
        "requests": taken.get("Requests"),
        "freeze_ms": taken.get("FreezeMs"),
        "duration_ms": taken.get("DurationMs"),
        "consistency": taken.get("Consistency"),
        "quiesce_ms": taken.get("QuiesceMs"),
        "transcript": taken.get("Transcript"),
        "taken_at": taken.get("TakenAt"),
        "opening": _opening(taken.get("Opening")),
        "suspect": taken.get("Suspect"),
        "damaged": taken.get("Damaged"),
        "audited_blocks": taken.get("AuditedBlocks"),
        "audit_complete": taken.get("AuditComplete"),
        "audit_lies": taken.get("AuditLies"),
        "permanent": snapshot.get("IsPermanent"),
        "deadline_at": snapshot.get("DeadlineTime") or None,
        "usage": snapshot.get("DiskUsage"),
        "zone": (snapshot.get("Placement") or {}).get("Zone"),
        "tags": _tags(snapshot.get("Tags")),
        "created_at": snapshot.get("CreateTime"),
        "modified_at": snapshot.get("LatestModifyTime") or None,
    }


def _opening(opening: Wire | None) -> Record | None:
    """Name the fields of a proof that a snapshot opens; None if it was never tried."""
    if opening is None:
        return None
    return {
        "finding": opening.get("Finding"),
        "reason": opening.get("Reason") or None,
        "steps": [
            {
                "title": step.get("Title"),
                "finding": step.get("Finding"),
                "seconds": step.get("Seconds"),
                "detail": step.get("Detail") or None,
            }
            for step in opening.get("Steps") or []
        ],
        "began_at": opening.get("BeginTime"),
        "ended_at": opening.get("EndTime"),
    }


def snapshot_group_record(group: Wire, taken: Wire) -> Record:
    """Join a SnapshotGroup of CBS with the record of how it was taken (`{}` if it went meanwhile)."""
    return {
        "group_id": group["SnapshotGroupId"],
        "name": group.get("SnapshotGroupName"),
        "state": group.get("SnapshotGroupState"),
        "percent": group.get("Percent"),
        "instance_id": taken.get("InstanceId"),
        "snapshots": {member["SnapshotId"]: member["DiskId"] for member in taken.get("MemberSet") or []},
        "pause_ms": taken.get("PauseMs"),
        "taken_at": taken.get("TakenAt"),
        "permanent": group.get("IsPermanent"),
        "deadline_at": group.get("DeadlineTime"),
        "tags": _tags(taken.get("Tags")),
        "created_at": group.get("CreateTime"),
        "modified_at": group.get("ModifyTime"),
    }


def quiesce_record(profile: Wire) -> Record:
    """Name the fields of a quiesce profile."""
    steps = profile.get("Steps") or []
    names = {
        "Kind": "kind", "SecondsMax": "seconds_max", "Mount": "mount", "Freeze": "freeze", "Thaw": "thaw",
        "OptionFile": "option_file", "Connection": "connection", "Socket": "socket", "Domain": "domain",
    }  # fmt: skip
    return {
        "resource_id": profile["ResourceId"],
        "mode": profile.get("Mode"),
        "freeze_seconds_max": profile.get("FreezeSecondsMax"),
        "kinds": [step["Kind"] for step in steps],
        "steps": [{names[name]: value for name, value in step.items() if value and name in names} for step in steps],
        "prove_every_h": profile.get("ProveEveryH"),
        "modified_at": profile.get("ModifyTime"),
    }


def instance_record(instance: Wire) -> Record:
    """Name the fields of an instance."""
    return {
        "instance_id": instance["InstanceId"],
        "name": instance.get("InstanceName"),
        "kind": instance.get("Kind"),
        "zone": instance.get("Zone"),
        "attached_disk_count": instance.get("AttachedDiskCount"),
        "max_attach_count": instance.get("MaxAttachCount"),
        "created_at": instance.get("CreateTime"),
    }


def operation_record(operation: Wire) -> Record:
    """Name the fields of an operation."""
    return {
        "operation_id": operation["OperationId"],
        "kind": operation.get("Kind"),
        "state": operation.get("State"),
        "phase": operation.get("Phase"),
        "percent": operation.get("Percent"),
        "disk_id": operation.get("DiskId"),
        "snapshot_id": operation.get("SnapshotId"),
        "instance_id": operation.get("InstanceId"),
        "attempts": operation.get("Attempts"),
        "error_code": operation.get("ErrorCode") or None,
        "error_message": operation.get("ErrorMessage") or None,
        "result": operation.get("Result"),
        "created_at": operation.get("CreateTime"),
        "updated_at": operation.get("UpdateTime"),
    }


def account_record(account: Wire) -> Record:
    """Name the fields of an account."""
    return {
        "account_id": account["AccountId"],
        "name": account.get("AccountName"),
        "admin": account.get("Admin"),
        "created_at": account.get("CreateTime"),
    }


def quota_record(quotas: Wire) -> Record:
    """Name what an account has, and may have; a maximum of 0 is none."""
    return {
        "disks": quotas["DisksCount"],
        "disks_max": quotas["DisksMax"],
        "disk_gib": quotas["DiskGib"],
        "disk_gib_max": quotas["DiskGibMax"],
        "snapshots": quotas["SnapshotsCount"],
        "snapshots_max": quotas["SnapshotsMax"],
        "snapshots_per_disk_max": quotas["SnapshotsPerDiskMax"],
        "snapshot_bytes": quotas["SnapshotBytes"],
        "snapshot_bytes_max": quotas["SnapshotBytesMax"],
        "disks_per_instance_max": quotas["DisksPerInstanceMax"],
        "disks_per_call_max": quotas["DisksPerCallMax"],
    }


def audit_record(entry: Wire) -> Record:
    """Name the fields of an entry of the audit trail."""
    return {
        "entry_id": entry["EntryId"],
        "at": entry.get("At"),
        "account_id": entry.get("AccountId"),
        "secret_id": entry.get("SecretId") or None,
        "source": entry.get("Source") or None,
        "action": entry.get("Action") or None,
        "resource": entry.get("Resource") or None,
        "code": entry.get("Code"),
        "request_id": entry.get("RequestId") or None,
        "calls": entry.get("Calls"),
    }


def key_record(key: Wire) -> Record:
    """Name the fields of an access key; its secret is not among them."""
    return {
        "secret_id": key["SecretId"],
        "enabled": key.get("Enabled"),
        "created_at": key.get("CreateTime"),
    }


def host_record(host: Wire) -> Record:
    """Name the fields of the host."""
    return {
        "version": host.get("Version"),
        "qemu_version": host.get("QemuVersion"),
        "data_directory": host.get("DataDirectory"),
        "region": host.get("Region"),
        "zone": host.get("Zone"),
        "store_id": host.get("StoreId"),
        "free_bytes": host.get("FreeBytes"),
        "floor_bytes": host.get("FloorBytes"),
        "stored_bytes": host.get("StoredBytes"),
        "disk_count": host.get("DiskCount"),
        "snapshot_count": host.get("SnapshotCount"),
        "daemons": [
            {"name": daemon.get("Name"), "pid": daemon.get("Pid"), "disk_count": daemon.get("DiskCount")}
            for daemon in host.get("DaemonSet") or []
        ],
        **clock_record(host.get("Clock") or {}),
    }


def clock_record(clock: Wire) -> Record:
    """Name the fields of the clocks."""
    return {
        "machine_time": clock.get("MachineTime"),
        "steady_time": clock.get("SteadyTime"),
        "clock_doubted_since": clock.get("DoubtedSince"),
        "expiry_waits_s": clock.get("ExpiryWaitsSeconds"),
    }


def store_health_record(health: Wire) -> Record:
    """Name the fields of the store's health."""
    return {
        "pack_count": health.get("PackCount"),
        "packs_due": health.get("PacksDue"),
        "oldest_proof_at": health.get("OldestProofTime"),
        "snapshot_count": health.get("SnapshotCount"),
        "snapshots_due": health.get("SnapshotsDue"),
        "requested_at": health.get("RequestedAt"),
        "damaged_snapshot_count": health.get("DamagedSnapshotCount"),
        "suspect_snapshot_count": health.get("SuspectSnapshotCount"),
        "suspect_snapshot_ids": list(health.get("SuspectSnapshotIds") or []),
        "damages": [
            {
                "snapshot_id": damage.get("SnapshotId"),
                "object": damage.get("Object"),
                "kind": damage.get("Kind"),
                "reason": damage.get("Reason"),
                "found_at": damage.get("FoundAt"),
                "block_count": damage.get("BlockCount"),
                "block_ranges": damage.get("BlockRanges"),
            }
            for damage in health.get("DamageSet") or []
        ],
    }


def overview_record(overview: Wire) -> Record:
    """Name the fields of the snapshot overview."""
    return {
        "snapshot_count": overview.get("TotalNums"),
        "total_gib": overview.get("TotalSize"),
        "free_quota_gib": overview.get("FreeQuota"),
        "charged_gib": overview.get("RealTradeSize"),
    }


def set_space_record(space: Wire) -> Record:
    """Name the fields of what a set of snapshots holds."""
    return {
        "snapshots": [
            {
                "snapshot_id": one.get("SnapshotId"),
                "unique_bytes": one.get("UniqueBytes"),
                "shared_bytes": one.get("SharedBytes"),
            }
            for one in space.get("SnapshotSpaceSet") or []
        ],
        "dead_bytes": space.get("DeadBytes"),
        "reclaimable_bytes": space.get("ReclaimableBytes"),
    }


def store_space_record(store: Wire) -> Record:
    """Name the fields of what the store holds."""
    return {
        "stored_bytes": store.get("StoredBytes"),
        "pack_count": store.get("PackCount"),
        "pack_bytes": store.get("PackBytes"),
        "live_bytes": store.get("LiveBytes"),
        "dead_bytes": store.get("DeadBytes"),
        "reclaimable_bytes": store.get("ReclaimableBytes"),
        "reclaimed_bytes": store.get("ReclaimedBytes"),
        "waiting_bytes": store.get("WaitingBytes"),
        "threshold_percent": store.get("Threshold"),
        "held": store.get("Held") or None,
    }


def collection_record(collection: Wire, result: Wire | None) -> Record:
    """Name the fields of a collection, and of its end (None: it was only thought of, or goes on)."""
    done = result or {}
    return {
        "operation_id": collection.get("OperationId"),
        "threshold_percent": collection.get("Threshold"),
        "pack_count": collection.get("PackCount"),
        "pack_bytes": collection.get("PackBytes"),
        "dead_bytes": collection.get("DeadBytes"),
        "rewritten_packs": done.get("rewritten_packs"),
        "removed_packs": done.get("removed_packs"),
        "faulty_packs": done.get("faulty_packs"),
        "freed_bytes": done.get("freed_bytes"),
        "waiting_bytes": done.get("waiting_bytes"),
        "note": done.get("note") or None,
    }


def parse_tags(tags: Sequence[str]) -> list[Mapping[str, str]] | None:
    """Return the wire's tags of `key=value` texts; None if there are none.

    Raises:
        ValueError: A text has no `=` or no key.
    """
    parsed: list[Mapping[str, str]] = []
    for text in tags:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ValueError(text)
        parsed.append({"Key": key, "Value": value})
    return parsed or None


def _tags(tags: Sequence[Wire] | None) -> dict[str, str]:
    return {str(tag["Key"]): str(tag.get("Value") or "") for tag in tags or []}

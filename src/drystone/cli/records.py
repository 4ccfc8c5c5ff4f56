"""Wire objects to the records that --json prints: pure, snake_case, units last."""

from collections.abc import Mapping, Sequence

from drystone.cli.gateway import Wire
from drystone.cli.lists import Record

# The id first, then what is worth most: what a terminal has no room for is left out from the end.
DISK_COLUMNS = ("disk_id", "name", "state", "size_gib", "tracking", "instance_id", "device", "type", "created_at")
SNAPSHOT_COLUMNS = (
    "snapshot_id", "name", "state", "disk_id", "size_gib", "created_at", "changed_bytes", "stored_bytes", "percent",
    "tracking", "unique_bytes",
)  # fmt: skip
SNAPSHOT_GROUP_COLUMNS = ("group_id", "name", "state", "instance_id", "created_at", "pause_ms", "percent", "snapshots")
QUIESCE_COLUMNS = ("resource_id", "mode", "kinds", "freeze_seconds_max", "modified_at")
INSTANCE_COLUMNS = ("instance_id", "name", "kind", "attached_disk_count", "max_attach_count", "created_at", "zone")
OPERATION_COLUMNS = (
    "operation_id", "kind", "state", "percent", "error_message", "disk_id", "snapshot_id", "phase", "updated_at",
    "instance_id", "sent_bytes", "to_send_bytes",
)  # fmt: skip
STEP_COLUMNS = ("at", "state", "phase", "attempts", "error_message")
ACCOUNT_COLUMNS = ("account_id", "name", "admin", "created_at")
AUDIT_COLUMNS = ("at", "account_id", "action", "code", "resource", "calls")
EVENT_COLUMNS = (
    "severity", "last_seen_at", "resolved_at", "message", "subject_id", "kind", "event_id", "count",
)  # fmt: skip
PROTECTION_COLUMNS = (
    "disk_id", "name", "protected", "behind", "last_snapshot_id", "last_snapshot_at", "consistency", "proof_finding",
    "proof_at", "verified_at", "next_run_at", "snapshot_count", "stored_bytes",
)  # fmt: skip
POLICY_COLUMNS = (
    "policy_id", "name", "active", "next_run_at", "last_result", "keep", "when", "zone", "disks", "group",
    "skip_unchanged", "created_at",
)  # fmt: skip
RUN_COLUMNS = (
    "slot_at", "disk_id", "state", "reason", "snapshot_id", "policy_id", "late_s", "attempts", "missed", "detail",
    "ended_at",
)  # fmt: skip
SIMULATED_COLUMNS = ("date", "runs", "gone", "kept")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
KEY_COLUMNS = ("secret_id", "enabled", "created_at")
CANCELLED_CODE = "FailedOperation.Cancelled"
GOING = frozenset({"RUNNING", "CANCELLING"})
"""States of an operation that has not ended."""
IN_VAIN = frozenset({"FAILED", "CANCELLED"})
"""States of one that has ended without result."""


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
        **_same(
            detail,
            "nbd_uri device tracking tracking_reason base_snapshot_id source_snapshot_id epoch hydrating "
            "hydration_percent",
        ),
        **_same(disk, "rollbacking rollback_percent snapshot_count"),
        "snapshot_mib": disk.get("SnapshotSize"),
        "throughput_performance": disk.get("ThroughputPerformance"),
        "charge_type": disk.get("DiskChargeType"),
        "usage": disk.get("DiskUsage"),
        **_same(disk, "portable shareable delete_with_instance"),
        "encrypted": disk.get("Encrypt"),
        "key_id": disk.get("KmsKeyId") or None,
        "delete_snapshot": bool(disk.get("DeleteSnapshot")),
        "last_attach_instance_id": disk.get("LastAttachInsId") or None,
        "daemon": detail.get("Daemon"),
        "needs_rewrite": detail.get("NeedsRewrite"),
        "tags": _tags(disk.get("Tags")),
        "created_at": detail.get("CreateTime"),
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
        "encrypted": snapshot.get("Encrypt"),
        **_same(
            taken,
            "parent_snapshot_id tracking tracking_reason read_bytes changed_bytes stored_bytes requests "
            "freeze_ms duration_ms consistency consistency_asked quiesce_ms transcript taken_at",
        ),
        "opening": _opening(taken.get("Opening")),
        **_same(taken, "suspect damaged audited_blocks audit_complete audit_lies"),
        "permanent": snapshot.get("IsPermanent"),
        "deadline_at": taken.get("DeadlineTime"),
        "usage": snapshot.get("DiskUsage"),
        "zone": (snapshot.get("Placement") or {}).get("Zone"),
        "tags": _tags(snapshot.get("Tags")),
        "created_at": taken.get("CreateTime"),
        "modified_at": taken.get("ModifyTime"),
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
                **_same(step, "title finding seconds"),
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
        **_same(instance, "kind zone attached_disk_count max_attach_count"),
        "created_at": instance.get("CreateTime"),
    }


def operation_record(operation: Wire) -> Record:
    """Name the fields of an operation."""
    return {
        "operation_id": operation["OperationId"],
        "kind": operation.get("Kind"),
        "state": _operation_state(operation, operation.get("State")),
        **_same(operation, "phase percent disk_id snapshot_id instance_id attempts"),
        "error_code": operation.get("ErrorCode") or None,
        "error_message": operation.get("ErrorMessage") or None,
        **_same(operation, "to_send_bytes sent_bytes"),
        "result": operation.get("Result"),
        **_same(operation, "cancellable retriable"),
        "created_at": operation.get("CreateTime"),
        "updated_at": operation.get("UpdateTime"),
    }


def _operation_state(operation: Wire, state: object) -> object:
    """Return the word for a state of an operation: what somebody cancelled has not failed, as the console says too."""
    if operation.get("ErrorCode") != CANCELLED_CODE:
        return state
    return {"RUNNING": "CANCELLING", "FAILED": "CANCELLED"}.get(str(state), state)


def history_record(history: Wire, *, cancelled: bool) -> Record:
    """Name the fields of what an operation did."""
    return {
        "phases": [
            {**_same(span, "phase seconds ended"), "began_at": span.get("BeginTime")}
            for span in history.get("PhaseSet") or []
        ],
        "steps": [step_record(step, cancelled=cancelled) for step in history.get("StepSet") or []],
    }


def step_record(step: Wire, *, cancelled: bool) -> Record:
    """Name the fields of a step of an operation."""
    return {
        "at": step.get("At"),
        "state": "CANCELLED" if cancelled and step.get("State") == "FAILED" else step.get("State"),
        **_same(step, "phase attempts"),
        "error_message": step.get("ErrorMessage") or None,
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


def event_record(event: Wire) -> Record:
    """Name the fields of an event; of what is known of it those that matter."""
    facts = event.get("Facts") or {}
    names = "reason disk_id snapshot_id operation_id operation_kind asked given object blocks snapshots disks"
    told = _same(facts, f"{names} free_bytes seconds at")
    return {
        "event_id": event["EventId"],
        **_same(event, "severity kind of_installation"),
        "subject_id": event.get("SubjectId") or None,
        **_same(event, "message count"),
        "first_seen_at": event.get("FirstSeenTime"),
        "last_seen_at": event.get("LastSeenTime"),
        "resolved_at": event.get("ResolvedTime"),
        "acknowledged_at": event.get("AcknowledgedTime"),
        "acknowledged_by": event.get("AcknowledgedBy") or None,
        "facts": {name: value for name, value in told.items() if value not in {None, ""}},
    }


def protection_record(disk: Wire) -> Record:
    """Name the fields of how a disk is protected."""
    return {
        "disk_id": disk["DiskId"],
        "name": disk.get("DiskName"),
        **_same(disk, "protected last_snapshot_id"),
        "last_snapshot_at": disk.get("LastSnapshotTime"),
        **_same(disk, "consistency consistency_asked"),
        "verified_at": disk.get("VerifiedTime"),
        **_same(disk, "proof_snapshot_id proof_finding"),
        "proof_reason": disk.get("ProofReason") or None,
        "proof_at": disk.get("ProofTime"),
        **_same(disk, "failed_since failed_count failed_reason"),
        "next_run_at": disk.get("NextRunTime"),
        **_same(disk, "policy_ids behind"),
        **_same(disk, "snapshot_count stored_bytes size_bytes"),
    }


def policy_record(policy: Wire) -> Record:
    """Name the fields of a snapshot policy."""
    runs = policy.get("LastRuns") or []
    return {
        "policy_id": policy["PolicyId"],
        "name": policy.get("PolicyName"),
        "active": policy.get("Active"),
        "when": "; ".join(_when(one) for one in policy.get("Triggers") or []),
        "zone": policy.get("TimeZone"),
        "next_run_at": next(iter(policy.get("NextTimes") or []), None),
        "keep": _keep(policy),
        "disks": len(policy.get("DiskIds") or []),
        "disk_ids": policy.get("DiskIds"),
        **_same(policy, "group skip_unchanged"),
        "last_run_at": runs[0]["SlotTime"] if runs else None,
        "last_result": _result(runs),
        "last_runs": [run_record(run) for run in runs],
        "next_runs_at": policy.get("NextTimes"),
        **_same(policy, "is_permanent retention_days retention_months retention_amount"),
        "retention_calendar": policy.get("AdvancedRetentionPolicy"),
        "triggers": policy.get("Triggers"),
        "copied_from": policy.get("CopiedFrom"),
        "created_at": policy.get("CreateTime"),
        "modified_at": policy.get("ModifyTime"),
    }


def _when(trigger: Wire) -> str:
    hours = ",".join(str(hour) for hour in trigger["Hour"])
    if trigger["DayOfWeek"]:
        days = ",".join(WEEKDAYS[day] for day in trigger["DayOfWeek"])
    elif trigger["DayOfMonth"]:
        days = "month days " + ",".join(str(day) for day in trigger["DayOfMonth"])
    else:
        every = trigger["IntervalDays"]
        days = "every day" if every == 1 else f"every {every} days"
    return f"{days} at {hours}"


def _keep(policy: Wire) -> str:
    calendar = policy.get("AdvancedRetentionPolicy")
    if calendar:
        return ",".join(f"{calendar[name]}{name[0].lower()}" for name in ("Days", "Weeks", "Months", "Years"))
    ways = (("RetentionDays", "{} days"), ("RetentionMonths", "{} months"), ("RetentionAmount", "newest {}"))
    return next((text.format(policy[name]) for name, text in ways if policy.get(name)), "for ever")


def _result(runs: Sequence[Wire]) -> str | None:
    """Return what came of the runs of one time, short: `3 done, 1 failed`."""
    counts: dict[str, int] = {}
    for run in runs:
        counts[run["State"]] = counts.get(run["State"], 0) + 1
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or None


def run_record(run: Wire) -> Record:
    """Name the fields of a run of a policy."""
    return {
        "slot_at": run["SlotTime"],
        **_same(run, "policy_id disk_id state reason snapshot_id"),
        "detail": run.get("Detail") or None,
        "late_s": run.get("LateSeconds"),
        **_same(run, "missed attempts"),
        "ended_at": run.get("EndedTime"),
    }


def simulated_record(day: Wire) -> Record:
    """Name the fields of a day that a policy is simulated for."""
    return {
        "date": day["Date"],
        "runs": len(day["RunTimes"]),
        "gone": len(day["GoneTimes"]),
        "kept": day["Kept"],
        "run_times": day["RunTimes"],
        "gone_times": day["GoneTimes"],
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
        **_same(
            host,
            "version qemu_version data_directory region zone store_id free_bytes floor_bytes stored_bytes "
            "store_bytes_per_second "
            "disk_count snapshot_count",
        ),
        "daemons": [_same(daemon, "name pid disk_count") for daemon in host.get("DaemonSet") or []],
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
        **_same(health, "snapshot_count snapshots_due requested_at damaged_snapshot_count suspect_snapshot_count"),
        "suspect_snapshot_ids": list(health.get("SuspectSnapshotIds") or []),
        "damages": [
            _same(damage, "snapshot_id object kind reason found_at block_count block_ranges")
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


def difference_record(difference: Wire) -> Record:
    """Name the fields of how two snapshots differ."""
    return _same(difference, "size_bytes changed_bytes bucket_bytes buckets")


def set_space_record(space: Wire) -> Record:
    """Name the fields of what a set of snapshots holds."""
    return {
        "snapshots": [
            _same(one, "snapshot_id unique_bytes shared_bytes") for one in space.get("SnapshotSpaceSet") or []
        ],
        "dead_bytes": space.get("DeadBytes"),
        "reclaimable_bytes": space.get("ReclaimableBytes"),
    }


def store_space_record(store: Wire) -> Record:
    """Name the fields of what the store holds."""
    return {
        **_same(
            store,
            "stored_bytes map_bytes snapshot_bytes cache_bytes pack_count pack_bytes live_bytes dead_bytes "
            "reclaimable_bytes reclaimed_bytes waiting_bytes",
        ),
        "threshold_percent": store.get("Threshold"),
        "held": store.get("Held") or None,
    }


def store_status_record(status: Wire, health: Wire) -> Record:
    """Name the fields of the store's status, with when it was last verified."""
    foreign = status.get("State") == "foreign"
    return {
        **_same(status, "store_id place place_kind state"),
        "fault": status.get("Fault") or None,
        "fault_since": status.get("FaultSince"),
        "reached_at": status.get("ReachedTime"),
        "last_fault": status.get("LastFault"),
        "last_fault_at": status.get("LastFaultTime"),
        "last_fault_over_at": status.get("LastFaultEndTime"),
        "owner": "another catalog, or a newer state of this one" if foreign else "this catalog",
        "epoch": status.get("Epoch"),
        "held": status.get("Held") or None,
        "oldest_verification_at": health.get("OldestProofTime"),
        **_same(health, "packs_due damaged_snapshot_count"),
        "days_until_full": status.get("DaysUntilFull"),
        "days": [
            _same(
                one, "day write_requests read_requests list_requests delete_requests sent_bytes received_bytes errors"
            )
            for one in status.get("DaySet") or []
        ],
    }


def collection_record(collection: Wire, result: Wire | None) -> Record:
    """Name the fields of a collection, and of its end (None: it was only thought of, or goes on)."""
    done = result or {}
    return {
        "operation_id": collection.get("OperationId"),
        "threshold_percent": collection.get("Threshold"),
        **_same(collection, "pack_count pack_bytes dead_bytes"),
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


def _same(row: Wire, names: str) -> Record:
    """Return fields whose names differ in their form alone: `free_bytes` is `FreeBytes` on the wire."""
    return {name: row.get("".join(word.capitalize() for word in name.split("_"))) for name in names.split()}

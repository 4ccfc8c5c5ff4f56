"""The second service, 2026-11-01: what CBS has no action for. Times are ISO 8601 in UTC."""

import math

import msgspec

from drystone.api import answers
from drystone.api import drystone_parameters as sent
from drystone.api.actions import Action, Service
from drystone.api.ports import UseCases
from drystone.api.render import iso_time, tags
from drystone.domain.account import Account
from drystone.domain.audit import AuditEntry
from drystone.domain.errors import RefusalError
from drystone.domain.history import HistoryPoint
from drystone.domain.opening import Opening
from drystone.domain.operation import Operation
from drystone.domain.payloads import CompactPayload, Payload, ProvePayload
from drystone.domain.quiesce import FREEZE_SECONDS_DEFAULT, STEP_SECONDS_DEFAULT, QuiesceProfile, Step, StepKind
from drystone.service.caller import Caller
from drystone.service.requests import PAGE_LIMIT, AuditQuery, OperationQuery, SnapshotGroupQuery
from drystone.service.views import (
    ClockView,
    CollectionView,
    DiskDetail,
    HostView,
    InstanceView,
    KeyView,
    OverviewView,
    SetSpaceView,
    SnapshotGroupView,
    SnapshotView,
    StoreHealthView,
    StoreSpaceView,
)

VERSION = "2026-11-01"


def drystone_service(use_cases: UseCases) -> Service:
    """Return the second service over these use cases."""
    on = _DrystoneActions(use_cases)
    actions = (
        Action(name="AuditDisk", parameters=sent.AuditDisk, run=on.audit_disk, changes=True),
        Action(name="CollectGarbage", parameters=sent.CollectGarbage, run=on.collect_garbage, changes=True),
        Action(name="DescribeSnapshotSpace", parameters=sent.DescribeSnapshotSpace, run=on.describe_snapshot_space),
        Action(name="DescribeStore", parameters=sent.DescribeStore, run=on.describe_store),
        Action(name="ConfirmClock", parameters=sent.ConfirmClock, run=on.confirm_clock, changes=True),
        Action(name="ConfirmStore", parameters=sent.ConfirmStore, run=on.confirm_store, changes=True),
        Action(name="CreateAccessKey", parameters=sent.CreateAccessKey, run=on.create_access_key, changes=True),
        Action(name="CreateAccount", parameters=sent.CreateAccount, run=on.create_account, changes=True),
        Action(name="CreateKey", parameters=sent.CreateKey, run=on.create_key, changes=True),
        Action(name="CreateInstance", parameters=sent.CreateInstance, run=on.create_instance, changes=True),
        Action(name="DeleteAccessKey", parameters=sent.DeleteAccessKey, run=on.delete_access_key, changes=True),
        Action(name="DeleteKey", parameters=sent.DeleteKey, run=on.delete_key, changes=True),
        Action(name="DescribeKeys", parameters=sent.DescribeKeys, run=on.describe_keys),
        Action(name="SetAccountPassword", parameters=sent.SetAccountPassword, run=on.set_password, changes=True),
        Action(name="SetAccountQuota", parameters=sent.SetAccountQuota, run=on.set_account_quota, changes=True),
        Action(name="DescribeOverview", parameters=sent.DescribeOverview, run=on.describe_overview),
        Action(name="DescribeQuotas", parameters=sent.DescribeQuotas, run=on.describe_quotas),
        Action(name="DescribeHistory", parameters=sent.DescribeHistory, run=on.describe_history),
        Action(
            name="DescribeSnapshotDifference",
            parameters=sent.DescribeSnapshotDifference,
            run=on.describe_snapshot_difference,
        ),
        Action(name="DeleteInstance", parameters=sent.DeleteInstance, run=on.delete_instance, changes=True),
        Action(
            name="DeleteQuiesceProfile",
            parameters=sent.DeleteQuiesceProfile,
            run=on.delete_quiesce_profile,
            changes=True,
        ),
        Action(name="DescribeAccessKeys", parameters=sent.DescribeAccessKeys, run=on.describe_access_keys),
        Action(name="DescribeAccounts", parameters=sent.DescribeAccounts, run=on.describe_accounts),
        Action(name="DescribeAuditTrail", parameters=sent.DescribeAuditTrail, run=on.describe_audit_trail),
        Action(name="DescribeDiskDetails", parameters=sent.DescribeDiskDetails, run=on.describe_disk_details),
        Action(name="DescribeHost", parameters=sent.DescribeHost, run=on.describe_host),
        Action(name="DescribeInstances", parameters=sent.DescribeInstances, run=on.describe_instances),
        Action(name="DescribeOperations", parameters=sent.DescribeOperations, run=on.describe_operations),
        Action(
            name="DescribeQuiesceProfiles", parameters=sent.DescribeQuiesceProfiles, run=on.describe_quiesce_profiles
        ),
        Action(
            name="DescribeSnapshotGroupRecords",
            parameters=sent.DescribeSnapshotGroupRecords,
            run=on.describe_snapshot_group_records,
        ),
        Action(name="DescribeStoreHealth", parameters=sent.DescribeStoreHealth, run=on.describe_store_health),
        Action(name="ExportSnapshot", parameters=sent.ExportSnapshot, run=on.export_snapshot, changes=True),
        Action(name="ImportDisk", parameters=sent.ImportDisk, run=on.import_disk, changes=True),
        Action(name="ProveSnapshot", parameters=sent.ProveSnapshot, run=on.prove_snapshot, changes=True),
        Action(name="RewriteDisk", parameters=sent.RewriteDisk, run=on.rewrite_disk, changes=True),
        Action(name="ScrubStore", parameters=sent.ScrubStore, run=on.scrub_store, changes=True),
        Action(
            name="DescribeSnapshotRecords", parameters=sent.DescribeSnapshotRecords, run=on.describe_snapshot_records
        ),
        Action(name="SetQuiesceProfile", parameters=sent.SetQuiesceProfile, run=on.set_quiesce_profile, changes=True),
    )
    by_name = {action.name: action for action in actions}
    return Service(name="drystone", version=VERSION, regional=False, actions=by_name, known=frozenset(by_name))


class _DrystoneActions:
    """One method per action; each only translates."""

    def __init__(self, use_cases: UseCases) -> None:
        self._use_cases = use_cases

    async def audit_disk(self, caller: Caller, given: sent.AuditDisk) -> answers.SnapshotIdAnswer:
        return {"SnapshotId": await self._use_cases.snapshots.audit(caller, given.disk_id)}

    async def rewrite_disk(self, caller: Caller, given: sent.RewriteDisk) -> answers.OperationIdAnswer:
        return {"OperationId": await self._use_cases.disks.rewrite(caller, given.disk_id)}

    async def describe_instances(
        self, caller: Caller, given: sent.DescribeInstances
    ) -> answers.DescribeInstancesAnswer:
        page = await self._use_cases.instances.describe(caller, given.instance_ids or (), *_page(given))
        return {"TotalCount": page.total, "InstanceSet": [_instance(view) for view in page.items]}

    async def create_instance(self, caller: Caller, given: sent.CreateInstance) -> answers.InstanceIdAnswer:
        return {"InstanceId": await self._use_cases.instances.create(caller, given.kind, given.instance_name)}

    async def delete_instance(self, caller: Caller, given: sent.DeleteInstance) -> answers.NothingAnswer:
        await self._use_cases.instances.delete(caller, given.instance_id)
        return {}

    async def describe_disk_details(
        self, caller: Caller, given: sent.DescribeDiskDetails
    ) -> answers.DescribeDiskDetailsAnswer:
        page = await self._use_cases.disk_records.details(caller, given.disk_ids or (), *_page(given))
        return {"TotalCount": page.total, "DiskDetailSet": [_disk_detail(detail) for detail in page.items]}

    async def set_quiesce_profile(self, caller: Caller, given: sent.SetQuiesceProfile) -> answers.NothingAnswer:
        limit = FREEZE_SECONDS_DEFAULT if given.freeze_seconds_max is None else given.freeze_seconds_max
        steps = tuple(_step(step) for step in given.steps)
        await self._use_cases.quiescing.set(
            caller, given.resource_id, given.mode or "require", limit, steps, given.prove_every_h
        )
        return {}

    async def delete_quiesce_profile(self, caller: Caller, given: sent.DeleteQuiesceProfile) -> answers.NothingAnswer:
        await self._use_cases.quiescing.remove(caller, given.resource_id)
        return {}

    async def describe_quiesce_profiles(
        self, caller: Caller, given: sent.DescribeQuiesceProfiles
    ) -> answers.DescribeQuiesceProfilesAnswer:
        page = await self._use_cases.quiescing.describe(caller, *_page(given))
        return {"TotalCount": page.total, "QuiesceProfileSet": [_profile(profile) for profile in page.items]}

    async def describe_snapshot_group_records(
        self, caller: Caller, given: sent.DescribeSnapshotGroupRecords
    ) -> answers.DescribeSnapshotGroupRecordsAnswer:
        offset, limit = _page(given)
        ids = given.snapshot_group_ids
        filters = (("snapshot-group-id", ids),) if ids else ()
        query = SnapshotGroupQuery(filters=filters, offset=offset, limit=limit)
        page = await self._use_cases.snapshot_groups.describe(caller, query)
        return {"TotalCount": page.total, "SnapshotGroupRecordSet": [_group_record(view) for view in page.items]}

    async def describe_snapshot_records(
        self, caller: Caller, given: sent.DescribeSnapshotRecords
    ) -> answers.DescribeSnapshotRecordsAnswer:
        page = await self._use_cases.snapshot_records.records(caller, given.snapshot_ids or (), *_page(given))
        return {"TotalCount": page.total, "SnapshotRecordSet": [_snapshot_record(view) for view in page.items]}

    async def prove_snapshot(self, caller: Caller, given: sent.ProveSnapshot) -> answers.OperationIdAnswer:
        return {"OperationId": await self._use_cases.proving.begin(caller, given.snapshot_id)}

    async def describe_operations(
        self, caller: Caller, given: sent.DescribeOperations
    ) -> answers.DescribeOperationsAnswer:
        offset, limit = _page(given)
        query = OperationQuery(
            operation_ids=given.operation_ids or (),
            filters=tuple((condition.name, condition.values) for condition in given.filters or ()),
            offset=offset,
            limit=limit,
        )
        page = await self._use_cases.operations.describe(caller, query)
        return {"TotalCount": page.total, "OperationSet": [_operation(operation) for operation in page.items]}

    async def describe_audit_trail(
        self, caller: Caller, given: sent.DescribeAuditTrail
    ) -> answers.DescribeAuditTrailAnswer:
        offset, limit = _page(given)
        query = AuditQuery(
            filters=tuple((condition.name, condition.values) for condition in given.filters or ()),
            begin=given.begin_time,
            end=given.end_time,
            offset=offset,
            limit=limit,
        )
        page = await self._use_cases.audit_records.describe(caller, query)
        return {"TotalCount": page.total, "AuditEntrySet": [_audit_entry(entry) for entry in page.items]}

    async def describe_host(self, caller: Caller, _given: sent.DescribeHost) -> answers.DescribeHostAnswer:
        return _host(await self._use_cases.host.describe(caller))

    async def scrub_store(self, caller: Caller, _given: sent.ScrubStore) -> answers.ScrubStoreAnswer:
        return {"RequestedAt": iso_time(await self._use_cases.store_health.request(caller))}

    async def describe_store_health(
        self, caller: Caller, _given: sent.DescribeStoreHealth
    ) -> answers.DescribeStoreHealthAnswer:
        return _store_health(await self._use_cases.store_health.health(caller))

    async def describe_snapshot_space(
        self, caller: Caller, given: sent.DescribeSnapshotSpace
    ) -> answers.DescribeSnapshotSpaceAnswer:
        return _set_space(await self._use_cases.space.snapshots(caller, given.snapshot_ids))

    async def describe_store(self, caller: Caller, _given: sent.DescribeStore) -> answers.DescribeStoreAnswer:
        return _store_space(await self._use_cases.space.store(caller))

    async def collect_garbage(self, caller: Caller, given: sent.CollectGarbage) -> answers.CollectGarbageAnswer:
        dry_run, threshold = bool(given.dry_run), given.threshold
        return _collection(await self._use_cases.space.collect(caller, dry_run=dry_run, dead_percent=threshold))

    async def confirm_clock(self, caller: Caller, _given: sent.ConfirmClock) -> answers.ConfirmClockAnswer:
        return {"Clock": _clock(await self._use_cases.clock.confirm(caller))}

    async def confirm_store(self, caller: Caller, _given: sent.ConfirmStore) -> answers.ConfirmStoreAnswer:
        return {"WasHeld": await self._use_cases.confirmation.confirm(caller)}

    async def export_snapshot(self, caller: Caller, given: sent.ExportSnapshot) -> answers.OperationIdAnswer:
        operation_id = await self._use_cases.image_files.export(caller, given.snapshot_id, given.path, given.format)
        return {"OperationId": operation_id}

    async def import_disk(self, caller: Caller, given: sent.ImportDisk) -> answers.ImportDiskAnswer:
        disk_id, operation_id = await self._use_cases.image_files.import_disk(
            caller, given.path, given.format,
            called=given.disk_name, disk_type=given.disk_type, size_gib=given.disk_size, forced=bool(given.force),
        )  # fmt: skip
        return {"DiskId": disk_id, "OperationId": operation_id}

    async def create_account(self, caller: Caller, given: sent.CreateAccount) -> answers.AccountKeyAnswer:
        key = await self._use_cases.accounts.create(caller, given.account_name)
        return {"AccountId": key.account_id, "SecretId": key.secret_id, "SecretKey": key.secret_key}

    async def set_account_quota(self, caller: Caller, given: sent.SetAccountQuota) -> answers.NothingAnswer:
        await self._use_cases.accounts.set_quota(caller, given.account_id, given.disks, given.disk_gib)
        return {}

    async def describe_accounts(self, caller: Caller, given: sent.DescribeAccounts) -> answers.DescribeAccountsAnswer:
        page = await self._use_cases.accounts.describe(caller, *_page(given))
        return {"TotalCount": page.total, "AccountSet": [_account(account) for account in page.items]}

    async def create_access_key(self, caller: Caller, given: sent.CreateAccessKey) -> answers.NewKeyAnswer:
        key = await self._use_cases.accounts.create_key(caller, given.account_id)
        return {"SecretId": key.secret_id, "SecretKey": key.secret_key}

    async def delete_access_key(self, caller: Caller, given: sent.DeleteAccessKey) -> answers.NothingAnswer:
        await self._use_cases.accounts.delete_key(caller, given.secret_id)
        return {}

    async def describe_access_keys(self, caller: Caller, given: sent.DescribeAccessKeys) -> answers.KeysAnswer:
        keys = await self._use_cases.accounts.describe_keys(caller, given.account_id)
        return {"KeySet": [_key(key) for key in keys]}

    async def create_key(self, caller: Caller, _given: sent.CreateKey) -> answers.NewKeyAnswer:
        key = await self._use_cases.accounts.create_own_key(caller)
        return {"SecretId": key.secret_id, "SecretKey": key.secret_key}

    async def delete_key(self, caller: Caller, given: sent.DeleteKey) -> answers.NothingAnswer:
        await self._use_cases.accounts.delete_own_key(caller, given.secret_id, force=bool(given.force))
        return {}

    async def describe_keys(self, caller: Caller, _given: sent.DescribeKeys) -> answers.KeysAnswer:
        return {"KeySet": [_key(key) for key in await self._use_cases.accounts.describe_own_keys(caller)]}

    async def set_password(self, caller: Caller, given: sent.SetAccountPassword) -> answers.SetAccountPasswordAnswer:
        made = await self._use_cases.passwords.set(caller, given.account_id, given.account_name, given.password)
        return {"Password": made}

    async def describe_overview(self, caller: Caller, _given: sent.DescribeOverview) -> answers.DescribeOverviewAnswer:
        return _overview(await self._use_cases.overview.describe(caller))

    async def describe_quotas(self, caller: Caller, _given: sent.DescribeQuotas) -> answers.DescribeQuotasAnswer:
        view = await self._use_cases.overview.quotas(caller)
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

    async def describe_history(self, caller: Caller, given: sent.DescribeHistory) -> answers.DescribeHistoryAnswer:
        points = await self._use_cases.history.describe(caller, given.hours)
        return {"Points": [_point(point) for point in points]}

    async def describe_snapshot_difference(
        self, caller: Caller, given: sent.DescribeSnapshotDifference
    ) -> answers.DescribeSnapshotDifferenceAnswer:
        view = await self._use_cases.differences.describe(caller, given.older, given.to)
        return {
            "SizeBytes": view.size_bytes,
            "ChangedBytes": view.changed_bytes,
            "BucketBytes": view.bucket_bytes,
            "Buckets": list(view.buckets),
        }


def _page(given: sent.Paged) -> tuple[int, int]:
    return given.offset or 0, PAGE_LIMIT if given.limit is None else given.limit


def _instance(view: InstanceView) -> answers.Instance:
    return {
        "InstanceId": view.instance.id,
        "InstanceName": view.instance.name,
        "Kind": view.instance.kind.value,
        "Zone": view.instance.zone,
        "AttachedDiskCount": view.attached,
        "MaxAttachCount": view.attached_max,
        "CreateTime": iso_time(view.instance.created_at),
    }


def _disk_detail(detail: DiskDetail) -> answers.DiskDetail:
    return {
        "DiskId": detail.disk_id,
        "NbdUri": detail.nbd_uri,
        "Device": detail.device,
        "Tracking": str(detail.tracking),
        "TrackingReason": detail.tracking_reason,
        "BaseSnapshotId": detail.base_snapshot_id,
        "Epoch": detail.epoch,
        "SourceSnapshotId": detail.source_snapshot_id,
        "Hydrating": detail.hydrating,
        "HydrationPercent": detail.hydration_percent,
        "Daemon": detail.daemon,
        "NeedsRewrite": detail.needs_rewrite,
    }


def _snapshot_record(view: SnapshotView) -> answers.SnapshotRecord:
    snapshot, record = view.snapshot, view.snapshot.record
    return {
        "SnapshotId": snapshot.id,
        "SnapshotGroupId": snapshot.group_id,
        "ParentSnapshotId": snapshot.parent_id,
        "Tracking": record.tracking,
        "TrackingReason": record.tracking_reason,
        "ReadBytes": record.read_bytes,
        "ChangedBytes": record.changed_bytes,
        "StoredBytes": record.stored_bytes,
        "Requests": record.requests,
        "FreezeMs": record.freeze_ms,
        "DurationMs": record.duration_ms,
        "Consistency": record.consistency,
        "QuiesceMs": record.quiesce_ms,
        "Transcript": list(record.transcript),
        "TakenAt": None if record.taken_at is None else iso_time(record.taken_at),
        "Suspect": snapshot.suspect,
        "AuditedBlocks": record.audited_blocks,
        "AuditComplete": record.audit_complete,
        "AuditLies": record.audit_lies,
        "Damaged": snapshot.damaged,
        "Opening": None if view.opening is None else _opening(view.opening),
    }


def _opening(opening: Opening) -> answers.Opening:
    return {
        "Finding": opening.finding.value,
        "Reason": opening.reason,
        "Steps": [
            {"Title": step.title, "Finding": step.finding.value, "Seconds": step.seconds, "Detail": step.detail}
            for step in opening.steps
        ],
        "BeginTime": iso_time(opening.began_at),
        "EndTime": iso_time(opening.ended_at),
    }


def _step(given: sent.QuiesceStep) -> Step:
    if given.kind not in set(StepKind):
        raise RefusalError(
            "InvalidParameterValue", f"Kind is `{given.kind[:40]}`; allowed are {', '.join(sorted(StepKind))}."
        )
    return Step(
        kind=StepKind(given.kind),
        seconds_max=STEP_SECONDS_DEFAULT if given.seconds_max is None else given.seconds_max,
        mount=given.mount,
        freeze=given.freeze or (),
        thaw=given.thaw or (),
        option_file=given.option_file,
        connection=given.connection,
        socket=given.socket,
        domain=given.domain,
    )


def _profile(profile: QuiesceProfile) -> answers.QuiesceProfile:
    return {
        "ResourceId": profile.resource_id,
        "Mode": profile.mode.value,
        "FreezeSecondsMax": profile.freeze_seconds_max,
        "Steps": [
            {
                "Kind": step.kind.value,
                "SecondsMax": step.seconds_max,
                "Mount": step.mount,
                "Freeze": list(step.freeze),
                "Thaw": list(step.thaw),
                "OptionFile": step.option_file,
                "Connection": step.connection,
                "Socket": step.socket,
                "Domain": step.domain,
            }
            for step in profile.steps
        ],
        "ModifyTime": iso_time(profile.modified_at),
        "ProveEveryH": profile.prove_every_h,
    }


def _group_record(view: SnapshotGroupView) -> answers.SnapshotGroupRecord:
    group = view.group
    return {
        "SnapshotGroupId": group.id,
        "InstanceId": group.instance_id,
        "PauseMs": group.pause_ms,
        "TakenAt": None if group.taken_at is None else iso_time(group.taken_at),
        "MemberSet": [{"SnapshotId": member.id, "DiskId": member.disk_id} for member in view.members],
        "Tags": tags(group.tags),
    }


def _operation(operation: Operation) -> answers.Operation:
    return {
        "OperationId": operation.id,
        "Kind": operation.kind.value,
        "DiskId": operation.disk_id,
        "SnapshotId": operation.snapshot_id,
        "InstanceId": operation.instance_id,
        "State": operation.state.value,
        "Phase": operation.phase,
        "Percent": operation.percent,
        "Attempts": operation.attempts,
        "ErrorCode": operation.error_code,
        "ErrorMessage": operation.error,
        "Result": _result(operation.payload),
        "CreateTime": iso_time(operation.created_at),
        "UpdateTime": iso_time(operation.updated_at),
    }


def _result(payload: Payload) -> object:
    """Return what an operation found, for those that find something."""
    result = payload.result if isinstance(payload, (CompactPayload, ProvePayload)) else None
    return None if result is None else msgspec.to_builtins(result)


def _host(view: HostView) -> answers.DescribeHostAnswer:
    facts = view.facts
    return {
        "Version": facts.version,
        "QemuVersion": facts.qemu_version,
        "DataDirectory": facts.data_directory,
        "Region": view.region,
        "Zone": view.zone,
        "StoreId": view.store_id,
        "FreeBytes": facts.free_bytes,
        "FloorBytes": facts.floor_bytes,
        "StoredBytes": facts.stored_bytes,
        "DiskCount": view.disk_count,
        "SnapshotCount": view.snapshot_count,
        "DaemonSet": [
            {"Name": daemon.name, "Pid": daemon.pid, "DiskCount": daemon.disk_count} for daemon in facts.daemons
        ],
        "Clock": _clock(facts.clock),
    }


def _clock(clock: ClockView) -> answers.Clock:
    return {
        "MachineTime": iso_time(clock.machine_at),
        "SteadyTime": iso_time(clock.steady_at),
        "DoubtedSince": None if clock.doubted_since is None else iso_time(clock.doubted_since),
        "ExpiryWaitsSeconds": math.ceil(clock.waits_s),
    }


def _store_health(health: StoreHealthView) -> answers.DescribeStoreHealthAnswer:
    return {
        "PackCount": health.packs,
        "PacksDue": health.packs_due,
        "OldestProofTime": None if health.oldest_proof_at is None else iso_time(health.oldest_proof_at),
        "SnapshotCount": health.snapshots,
        "SnapshotsDue": health.snapshots_due,
        "RequestedAt": None if health.requested_at is None else iso_time(health.requested_at),
        "DamagedSnapshotCount": health.damaged_snapshots,
        "SuspectSnapshotCount": health.suspect_snapshots,
        "SuspectSnapshotIds": list(health.suspect),
        "DamageSet": [
            {
                "SnapshotId": damage.snapshot_id,
                "Object": damage.object,
                "Kind": damage.kind,
                "Reason": damage.reason,
                "FoundAt": iso_time(damage.found_at),
                "BlockCount": damage.blocks,
                "BlockRanges": [list(pair) for pair in damage.ranges],
            }
            for damage in health.damages
        ],
    }


def _set_space(view: SetSpaceView) -> answers.DescribeSnapshotSpaceAnswer:
    return {
        "SnapshotSpaceSet": [
            {"SnapshotId": one.snapshot_id, "UniqueBytes": one.unique_bytes, "SharedBytes": one.shared_bytes}
            for one in view.snapshots
        ],
        "DeadBytes": view.dead_bytes,
        "ReclaimableBytes": view.reclaimable_bytes,
    }


def _store_space(view: StoreSpaceView) -> answers.DescribeStoreAnswer:
    return {
        "StoredBytes": view.stored_bytes,
        "PackCount": view.pack_count,
        "PackBytes": view.pack_bytes,
        "LiveBytes": view.live_bytes,
        "DeadBytes": view.dead_bytes,
        "ReclaimableBytes": view.reclaimable_bytes,
        "ReclaimedBytes": view.reclaimed_bytes,
        "WaitingBytes": view.waiting_bytes,
        "Threshold": view.dead_percent,
        "Held": view.held,
    }


def _collection(view: CollectionView) -> answers.CollectGarbageAnswer:
    return {
        "OperationId": view.operation_id,
        "Threshold": view.dead_percent,
        "PackCount": view.packs,
        "PackBytes": view.pack_bytes,
        "DeadBytes": view.dead_bytes,
    }


def _account(account: Account) -> answers.Account:
    return {
        "AccountId": account.id,
        "AccountName": account.name,
        "Admin": account.admin,
        "CreateTime": iso_time(account.created_at),
    }


def _audit_entry(entry: AuditEntry) -> answers.AuditEntry:
    return {
        "EntryId": entry.id or 0,
        "At": iso_time(entry.at),
        "AccountId": entry.account_id,
        "SecretId": entry.secret_id,
        "Source": entry.source,
        "Action": entry.action,
        "Resource": entry.resource,
        "Code": entry.code,
        "RequestId": entry.request_id,
        "Calls": entry.calls,
    }


def _key(key: KeyView) -> answers.Key:
    return {
        "SecretId": key.secret_id,
        "Enabled": key.enabled,
        "CreateTime": iso_time(key.created_at),
        "MadeBy": key.made_by,
    }


def _overview(view: OverviewView) -> answers.DescribeOverviewAnswer:
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
        "RecentOperations": [_operation(operation) for operation in view.operations],
        "Attention": [
            {"Kind": one.kind, "ResourceId": one.resource_id, "Message": one.message, "At": iso_time(one.at)}
            for one in view.attention
        ],
    }


def _point(point: HistoryPoint) -> answers.HistoryPoint:
    return {
        "At": iso_time(point.at),
        "Disks": point.disks,
        "DisksBytes": point.disks_bytes,
        "Snapshots": point.snapshots,
        "StoredBytes": point.stored_bytes,
        "LogicalBytes": point.logical_bytes,
        "ChangedBytes": point.changed_bytes,
    }

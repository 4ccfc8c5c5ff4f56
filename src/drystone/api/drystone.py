"""The second service, 2026-11-01: what CBS has no action for. Times are ISO 8601 in UTC."""

from drystone.api import drystone_parameters as sent
from drystone.api.actions import Action, Fields, Service
from drystone.api.ports import UseCases
from drystone.api.render import Object, iso_time, tags
from drystone.domain.account import Account
from drystone.domain.errors import RefusalError
from drystone.domain.operation import Operation
from drystone.domain.quiesce import FREEZE_SECONDS_DEFAULT, STEP_SECONDS_DEFAULT, QuiesceProfile, Step, StepKind
from drystone.service.caller import Caller
from drystone.service.requests import PAGE_LIMIT, OperationQuery, SnapshotGroupQuery
from drystone.service.views import (
    CollectionView,
    DiskDetail,
    HostView,
    InstanceView,
    KeyView,
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
        Action(name="ConfirmStore", parameters=sent.ConfirmStore, run=on.confirm_store, changes=True),
        Action(name="CreateAccessKey", parameters=sent.CreateAccessKey, run=on.create_access_key, changes=True),
        Action(name="CreateAccount", parameters=sent.CreateAccount, run=on.create_account, changes=True),
        Action(name="CreateInstance", parameters=sent.CreateInstance, run=on.create_instance, changes=True),
        Action(name="DeleteAccessKey", parameters=sent.DeleteAccessKey, run=on.delete_access_key, changes=True),
        Action(name="DeleteInstance", parameters=sent.DeleteInstance, run=on.delete_instance, changes=True),
        Action(
            name="DeleteQuiesceProfile",
            parameters=sent.DeleteQuiesceProfile,
            run=on.delete_quiesce_profile,
            changes=True,
        ),
        Action(name="DescribeAccessKeys", parameters=sent.DescribeAccessKeys, run=on.describe_access_keys),
        Action(name="DescribeAccounts", parameters=sent.DescribeAccounts, run=on.describe_accounts),
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

    async def audit_disk(self, caller: Caller, given: sent.AuditDisk) -> Fields:
        return {"SnapshotId": await self._use_cases.snapshots.audit(caller, given.disk_id)}

    async def describe_instances(self, caller: Caller, given: sent.DescribeInstances) -> Fields:
        page = await self._use_cases.instances.describe(caller, given.instance_ids or (), *_page(given))
        return {"TotalCount": page.total, "InstanceSet": [_instance(view) for view in page.items]}

    async def create_instance(self, caller: Caller, given: sent.CreateInstance) -> Fields:
        return {"InstanceId": await self._use_cases.instances.create(caller, given.kind, given.instance_name)}

    async def delete_instance(self, caller: Caller, given: sent.DeleteInstance) -> Fields:
        await self._use_cases.instances.delete(caller, given.instance_id)
        return {}

    async def describe_disk_details(self, caller: Caller, given: sent.DescribeDiskDetails) -> Fields:
        page = await self._use_cases.disk_records.details(caller, given.disk_ids or (), *_page(given))
        return {"TotalCount": page.total, "DiskDetailSet": [_disk_detail(detail) for detail in page.items]}

    async def set_quiesce_profile(self, caller: Caller, given: sent.SetQuiesceProfile) -> Fields:
        limit = FREEZE_SECONDS_DEFAULT if given.freeze_seconds_max is None else given.freeze_seconds_max
        steps = tuple(_step(step) for step in given.steps)
        await self._use_cases.quiescing.set(caller, given.resource_id, given.mode or "require", limit, steps)
        return {}

    async def delete_quiesce_profile(self, caller: Caller, given: sent.DeleteQuiesceProfile) -> Fields:
        await self._use_cases.quiescing.remove(caller, given.resource_id)
        return {}

    async def describe_quiesce_profiles(self, caller: Caller, given: sent.DescribeQuiesceProfiles) -> Fields:
        page = await self._use_cases.quiescing.describe(caller, *_page(given))
        return {"TotalCount": page.total, "QuiesceProfileSet": [_profile(profile) for profile in page.items]}

    async def describe_snapshot_group_records(self, caller: Caller, given: sent.DescribeSnapshotGroupRecords) -> Fields:
        offset, limit = _page(given)
        ids = given.snapshot_group_ids
        filters = (("snapshot-group-id", ids),) if ids else ()
        query = SnapshotGroupQuery(filters=filters, offset=offset, limit=limit)
        page = await self._use_cases.snapshot_groups.describe(caller, query)
        return {"TotalCount": page.total, "SnapshotGroupRecordSet": [_group_record(view) for view in page.items]}

    async def describe_snapshot_records(self, caller: Caller, given: sent.DescribeSnapshotRecords) -> Fields:
        page = await self._use_cases.snapshot_records.records(caller, given.snapshot_ids or (), *_page(given))
        return {"TotalCount": page.total, "SnapshotRecordSet": [_snapshot_record(view) for view in page.items]}

    async def describe_operations(self, caller: Caller, given: sent.DescribeOperations) -> Fields:
        offset, limit = _page(given)
        query = OperationQuery(
            operation_ids=given.operation_ids or (),
            filters=tuple((condition.name, condition.values) for condition in given.filters or ()),
            offset=offset,
            limit=limit,
        )
        page = await self._use_cases.operations.describe(caller, query)
        return {"TotalCount": page.total, "OperationSet": [_operation(operation) for operation in page.items]}

    async def describe_host(self, caller: Caller, _given: sent.DescribeHost) -> Fields:
        return _host(await self._use_cases.host.describe(caller))

    async def scrub_store(self, caller: Caller, _given: sent.ScrubStore) -> Fields:
        return {"RequestedAt": iso_time(await self._use_cases.store_health.request(caller))}

    async def describe_store_health(self, caller: Caller, _given: sent.DescribeStoreHealth) -> Fields:
        return _store_health(await self._use_cases.store_health.health(caller))

    async def describe_snapshot_space(self, caller: Caller, given: sent.DescribeSnapshotSpace) -> Fields:
        return _set_space(await self._use_cases.space.snapshots(caller, given.snapshot_ids))

    async def describe_store(self, caller: Caller, _given: sent.DescribeStore) -> Fields:
        return _store_space(await self._use_cases.space.store(caller))

    async def collect_garbage(self, caller: Caller, given: sent.CollectGarbage) -> Fields:
        dry_run, threshold = bool(given.dry_run), given.threshold
        return _collection(await self._use_cases.space.collect(caller, dry_run=dry_run, dead_percent=threshold))

    async def confirm_store(self, caller: Caller, _given: sent.ConfirmStore) -> Fields:
        return {"WasHeld": await self._use_cases.confirmation.confirm(caller)}

    async def export_snapshot(self, caller: Caller, given: sent.ExportSnapshot) -> Fields:
        operation_id = await self._use_cases.image_files.export(caller, given.snapshot_id, given.path, given.format)
        return {"OperationId": operation_id}

    async def import_disk(self, caller: Caller, given: sent.ImportDisk) -> Fields:
        disk_id, operation_id = await self._use_cases.image_files.import_disk(
            caller, given.path, given.format,
            called=given.disk_name, disk_type=given.disk_type, size_gib=given.disk_size,
        )  # fmt: skip
        return {"DiskId": disk_id, "OperationId": operation_id}

    async def create_account(self, caller: Caller, given: sent.CreateAccount) -> Fields:
        key = await self._use_cases.accounts.create(caller, given.account_name)
        return {"AccountId": key.account_id, "SecretId": key.secret_id, "SecretKey": key.secret_key}

    async def describe_accounts(self, caller: Caller, given: sent.DescribeAccounts) -> Fields:
        page = await self._use_cases.accounts.describe(caller, *_page(given))
        return {"TotalCount": page.total, "AccountSet": [_account(account) for account in page.items]}

    async def create_access_key(self, caller: Caller, given: sent.CreateAccessKey) -> Fields:
        key = await self._use_cases.accounts.create_key(caller, given.account_id)
        return {"SecretId": key.secret_id, "SecretKey": key.secret_key}

    async def delete_access_key(self, caller: Caller, given: sent.DeleteAccessKey) -> Fields:
        await self._use_cases.accounts.delete_key(caller, given.secret_id)
        return {}

    async def describe_access_keys(self, caller: Caller, given: sent.DescribeAccessKeys) -> Fields:
        keys = await self._use_cases.accounts.describe_keys(caller, given.account_id)
        return {"KeySet": [_key(key) for key in keys]}


def _page(given: sent.Paged) -> tuple[int, int]:
    return given.offset or 0, PAGE_LIMIT if given.limit is None else given.limit


def _instance(view: InstanceView) -> Object:
    return {
        "InstanceId": view.instance.id,
        "InstanceName": view.instance.name,
        "Kind": view.instance.kind.value,
        "Zone": view.instance.zone,
        "AttachedDiskCount": view.attached,
        "MaxAttachCount": view.attached_max,
        "CreateTime": iso_time(view.instance.created_at),
    }


def _disk_detail(detail: DiskDetail) -> Object:
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
    }


def _snapshot_record(view: SnapshotView) -> Object:
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
    )


def _profile(profile: QuiesceProfile) -> Object:
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
            }
            for step in profile.steps
        ],
        "ModifyTime": iso_time(profile.modified_at),
    }


def _group_record(view: SnapshotGroupView) -> Object:
    group = view.group
    return {
        "SnapshotGroupId": group.id,
        "InstanceId": group.instance_id,
        "PauseMs": group.pause_ms,
        "TakenAt": None if group.taken_at is None else iso_time(group.taken_at),
        "MemberSet": [{"SnapshotId": member.id, "DiskId": member.disk_id} for member in view.members],
        "Tags": tags(group.tags),
    }


def _operation(operation: Operation) -> Object:
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
        "Result": operation.payload.get("result"),
        "CreateTime": iso_time(operation.created_at),
        "UpdateTime": iso_time(operation.updated_at),
    }


def _host(view: HostView) -> Object:
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
    }


def _store_health(health: StoreHealthView) -> Object:
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


def _set_space(view: SetSpaceView) -> Object:
    return {
        "SnapshotSpaceSet": [
            {"SnapshotId": one.snapshot_id, "UniqueBytes": one.unique_bytes, "SharedBytes": one.shared_bytes}
            for one in view.snapshots
        ],
        "DeadBytes": view.dead_bytes,
        "ReclaimableBytes": view.reclaimable_bytes,
    }


def _store_space(view: StoreSpaceView) -> Object:
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


def _collection(view: CollectionView) -> Object:
    return {
        "OperationId": view.operation_id,
        "Threshold": view.dead_percent,
        "PackCount": view.packs,
        "PackBytes": view.pack_bytes,
        "DeadBytes": view.dead_bytes,
    }


def _account(account: Account) -> Object:
    return {
        "AccountId": account.id,
        "AccountName": account.name,
        "Admin": account.admin,
        "CreateTime": iso_time(account.created_at),
    }


def _key(key: KeyView) -> Object:
    return {"SecretId": key.secret_id, "Enabled": key.enabled, "CreateTime": iso_time(key.created_at)}

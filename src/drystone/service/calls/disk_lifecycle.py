"""Creating, attaching, detaching, resizing, initializing and terminating disks: what is asked, checked, recorded.

Each call records what is to happen in one transaction; the jobs do it. Nothing is changed by a call that is refused.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection

from drystone.catalog import disks, instances, snapshots
from drystone.domain import tracking as algebra
from drystone.domain.disk import DATA_DISK, ENCRYPT_TYPES, POSTPAID, PREPAID, Disk, DiskEncryption, DiskState
from drystone.domain.errors import PassingError, Refusal, RefusalError
from drystone.domain.ids import DiskId, InstanceId, KeyId, OperationId
from drystone.domain.instance import InstanceKind
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.payloads import CreateDiskPayload, InitializePayload, Payload, ResizePayload
from drystone.domain.snapshot import SnapshotState
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout
from drystone.engine.volume import volume_of
from drystone.service.caller import Caller
from drystone.service.calls.attributes import checked_tags, disk_name
from drystone.service.calls.disk_records import owned_disk
from drystone.service.calls.new_disks import MONTH_SECONDS, check_extra, check_new, kek_of
from drystone.service.calls.patience import patiently
from drystone.service.calls.snapshot_begin import check_no_snapshot
from drystone.service.host.host import Host
from drystone.service.operations import Operations
from drystone.service.requests import NewDisks
from drystone.service.room import Room
from drystone.service.rows import quotas, tokens
from drystone.service.rows.bindings import bind_disks, owned_policy
from drystone.service.rows.deletions import going_along, mark_terminating
from drystone.service.rows.sharing import APART_REASON, tracking_of_content, usable, usable_snapshot
from drystone.service.rows.tracking import tracking_columns
from drystone.service.transactions import NO_PAYLOAD, Change, Transactions

ATTACH_MAX = 10
TERMINATE_MAX = 100
INITIALIZE_MAX = 20
CREATE_SECONDS_MAX = 30.0
RECYCLE_SECONDS = 7 * 86400.0
"""How long a prepaid disk stays in the recycle bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLifecycle:
    """The calls that change which disks there are and who has them."""

    transactions: Transactions
    operations: Operations
    host: Host
    layout: Layout
    devices: HostDevices
    room: Room
    zone: str
    disks_per_call: int
    disks_per_instance: int
    root: bool
    sealed: bool = False
    """Whether the snapshot store is: then disks may be encrypted."""
    limits: quotas.DiskLimits = quotas.DISKS

    # --- create -------------------------------------------------------------------------------------------------------

    async def create(self, caller: Caller, new: NewDisks) -> tuple[DiskId, ...]:
        """Make disks, empty or from a snapshot; all of them are listed when this returns, or none ever (S29).

        Where making them takes over `CREATE_SECONDS_MAX` it returns before: later all are listed, or none.
        The same client token with the same request returns the ids of the first call.

        Raises:
            RefusalError: With CreateDisks' documented codes; no disk was made.
        """
        check_new(new, zone=self.zone, disks_per_call=self.disks_per_call, sealed=self.sealed)
        name, tags = disk_name(new.name), checked_tags(new.tags)
        kek = await asyncio.to_thread(kek_of, self.layout, new.kms_key_id) if self.sealed else None
        hashed = tokens.request_hash(new)

        def record(change: Change) -> tuple[tuple[DiskId, ...], list[Operation]]:
            conn = change.conn
            if new.client_token is not None:
                before = tokens.replayed(conn, caller, token=new.client_token, hashed=hashed)
                if before is not None:
                    return _ids(before), []
            self.room.require(disks=new.count)
            template = self._template(change, caller, new, name=name, tags=tags, kek=kek)
            quotas.check_disks(
                conn, caller.account_id, self.limits, adding=new.count, gib=new.count * template.size_gib
            )
            policy = None if new.policy_id is None else owned_policy(conn, caller.account_id, new.policy_id)
            ids = tuple(change.ids.disk() for _ in range(new.count))
            together = CreateDiskPayload(disk_ids=ids, client_token=new.client_token)
            for disk_id in ids:
                _insert(change, caller, replace(template, id=disk_id), together)
            if policy is not None:
                bind_disks(change, policy, ids)
            if new.client_token is not None:
                tokens.remember(
                    conn, caller, token=new.client_token, hashed=hashed, response={"disk_ids": list(ids)},
                    now=change.steady,
                )  # fmt: skip
            # They end together, so that the end of one is the end of all.
            return ids, change.begun[:1]

        ids, first = await self.operations.begin(record)
        for operation in first:
            ended = await self.operations.wait(operation.id, CREATE_SECONDS_MAX)
            if ended.state is OperationState.FAILED:
                raise RefusalError(Refusal.FULL, f"The disk could not be made: {ended.error}.")
        return ids

    def _template(
        self,
        change: Change,
        caller: Caller,
        new: NewDisks,
        *,
        name: str,
        tags: tuple[tuple[str, str], ...],
        kek: KeyId | None,
    ) -> Disk:
        size_gib, source = new.size_gib, None
        encrypted = new.encrypt is not None
        if new.snapshot_id is not None:
            source = usable_snapshot(change.conn, caller.account_id, new.snapshot_id)
            if source.state is not SnapshotState.NORMAL:
                raise RefusalError(
                    Refusal.BUSY, f"Snapshot {source.id} is {source.state.value}; wait until it is NORMAL."
                )
            if source.usage != DATA_DISK:
                raise _bad_value(f"Snapshot {source.id} is of a system disk; only data disks are made from snapshots.")
            if encrypted and not source.encrypted:
                raise _bad_value(f"Snapshot {source.id} is not encrypted; only plain disks are made from it.")
            encrypted = source.encrypted
            size_gib = source.size_gib if size_gib is None else size_gib
            if size_gib < source.size_gib:
                raise _bad_value(f"DiskSize is {size_gib} GiB; snapshot {source.id} needs at least {source.size_gib}.")
        encryption = None
        if encrypted:
            if kek is None:
                raise RefusalError(Refusal.NOT_NOW, "There is no key on this machine that wraps those of new disks.")
            encryption = DiskEncryption(type=new.encrypt_type or ENCRYPT_TYPES[0], kek=kek)
        if size_gib is None:
            raise RefusalError(Refusal.MISSING, "DiskSize is needed unless SnapshotId is given.")
        quotas.check_size(new.disk_type, size_gib)
        self.room.require_scratch(size_gib)
        check_extra(new, size_gib)
        made = algebra.created(None if source is None else source.id)
        tracking = tracking_of_content(change.conn, caller.account_id, made)
        values = tracking_columns(tracking, reason=APART_REASON)
        return Disk(
            id=DiskId(""), account_id=caller.account_id, name=name, state=DiskState.CREATING, size_gib=size_gib,
            type=new.disk_type, charge_type=new.charge_type, zone=new.zone, project_id=new.project_id, tags=tags,
            delete_snapshot=bool(new.delete_snapshot), throughput_performance=new.throughput_performance,
            burst_performance=new.burst_performance, backup_quota=new.backup_quota,
            backup_day=int(change.steady // 86400) if new.backup_quota else None,
            renew_flag=new.renew_flag or "NOTIFY_AND_MANUAL_RENEW", prepaid_period=new.prepaid_period,
            deadline_at=None if new.prepaid_period is None else change.at + new.prepaid_period * MONTH_SECONDS,
            source_snapshot_id=None if source is None else source.id, created_at=change.at,
            hydrating=source is not None, hydration_percent=100 if source is None else 0, encryption=encryption,
            **values,  # type: ignore[arg-type] # the columns of tracking
        )  # fmt: skip

    # --- attach and detach --------------------------------------------------------------------------------------------

    async def attach(
        self,
        caller: Caller,
        instance_id: str,
        disk_ids: Sequence[str],
        delete_with_instance: bool | None,  # noqa: FBT001 - the API's parameter
        attach_mode: str | None,
    ) -> None:
        """Attach up to ten disks to one instance, all or none; they are ATTACHING when this returns.

        Raises:
            RefusalError: With AttachDisks' documented codes; nothing was changed.
        """
        ids = _distinct(disk_ids, ATTACH_MAX)
        if attach_mode is not None and attach_mode not in {"PF", "VF"}:
            raise _bad_value(f"AttachMode `{attach_mode}` is unknown; use PF or VF.")

        def record(change: Change) -> None:
            conn = change.conn
            instance = instances.get(conn, InstanceId(instance_id))
            if instance is None or instance.account_id != caller.account_id:
                raise RefusalError(Refusal.NO_SUCH_INSTANCE, f"There is no instance {instance_id}.")
            if instance.kind is InstanceKind.HOST and not self.root:
                raise RefusalError(
                    Refusal.INSTANCE_UNFIT,
                    f"Instance {instance_id} makes block devices of this host, and the server does not run as root: "
                    "start it as root, or attach to an instance of kind NBD.",
                )
            found = self._owned(conn, caller, ids)
            for disk in found:
                if disk.instance_id is not None and disk.state is not DiskState.DETACHING:
                    raise RefusalError(Refusal.ATTACHED, f"Disk {disk.id} is attached to {disk.instance_id} already.")
                if not disk.portable:
                    raise RefusalError(Refusal.NOT_ELASTIC, f"Disk {disk.id} is not elastic.")
                if disk.zone != instance.zone:
                    raise RefusalError(Refusal.OTHER_ZONE, f"Disk {disk.id} is in {disk.zone}.")
                self._require(disk, {DiskState.UNATTACHED}, "attached")
            held = instances.disk_counts(conn, [instance.id])[instance.id]
            quotas.check_instance(instance.id, attached=held, adding=len(found), attached_max=self.disks_per_instance)
            quotas.check_descriptors(instance.id, adding=len(found), more=self.host.disks_more(instance.id))
            for disk in found:
                values: dict[str, object] = {
                    "state": DiskState.ATTACHING, "instance_id": instance.id, "last_attach_instance_id": instance.id,
                }  # fmt: skip
                if delete_with_instance is not None and disk.charge_type == POSTPAID:
                    values["delete_with_instance"] = delete_with_instance
                _set(conn, disk, values)
                _begin(change, caller, OperationKind.ATTACH, disk, instance_id=instance.id)

        await patiently(lambda: self.operations.begin(record))

    async def detach(self, caller: Caller, disk_ids: Sequence[str], instance_id: str | None) -> None:
        """Detach up to ten disks of one instance, all or none; they are DETACHING when this returns.

        Raises:
            RefusalError: With DetachDisks' documented codes; `BUSY` if anybody uses the host's device, with
                who it is. Nothing was changed.
        """
        ids = _distinct(disk_ids, ATTACH_MAX)

        def check(conn: Connection) -> list[Disk]:
            found = self._owned(conn, caller, ids)
            for disk in found:
                self._require(disk, {DiskState.ATTACHED}, "detached")
                if instance_id is not None and disk.instance_id != instance_id:
                    raise _bad_value(f"Disk {disk.id} is attached to {disk.instance_id}, not to {instance_id}.")
            if len({disk.instance_id for disk in found}) > 1:
                raise _bad_value("The disks are attached to different instances; detach those of one at a time.")
            return found

        for disk in await patiently(lambda: self.transactions.read(check)):
            used = await self.devices.user_of(disk.id) if disk.device is not None else None
            if used is not None:
                raise RefusalError(Refusal.BUSY, f"Disk {disk.id} is in use: it is {used}; end that first.")

        def record(change: Change) -> None:
            for disk in check(change.conn):
                _set(change.conn, disk, {"state": DiskState.DETACHING})
                _begin(change, caller, OperationKind.DETACH, disk, instance_id=disk.instance_id)

        await patiently(lambda: self.operations.begin(record))

    # --- resize, initialize, terminate --------------------------------------------------------------------------------

    async def resize(self, caller: Caller, disk_id: str | None, size_gib: int) -> None:
        """Grow a disk, attached or not; it is EXPANDING when this returns.

        Raises:
            RefusalError: With ResizeDisk's documented codes; nothing was changed.
        """
        if disk_id is None:
            raise RefusalError(Refusal.MISSING, "DiskId is needed.")

        def record(change: Change) -> None:
            conn = change.conn
            (disk,) = self._owned(conn, caller, [disk_id])
            self._require(disk, {DiskState.UNATTACHED, DiskState.ATTACHED}, "resized")
            check_no_snapshot(conn, disk.id)
            if size_gib <= disk.size_gib:
                raise _bad_value(f"DiskSize is {size_gib} GiB; disk {disk.id} has {disk.size_gib} and can only grow.")
            quotas.check_size(disk.type, size_gib)
            quotas.check_disks(conn, caller.account_id, self.limits, adding=0, gib=size_gib - disk.size_gib)
            self.room.require_scratch(size_gib)
            _set(conn, disk, {"state": DiskState.EXPANDING})
            _begin(change, caller, OperationKind.RESIZE, disk, payload=ResizePayload(size_gib=size_gib))

        await patiently(lambda: self.operations.begin(record))

    async def initialize(self, caller: Caller, disk_ids: Sequence[str]) -> None:
        """Empty detached disks, or return them to the snapshot they were made from; all or none.

        Raises:
            RefusalError: With InitializeDisks' documented codes; nothing was changed.
        """
        ids = _distinct(disk_ids, INITIALIZE_MAX)

        def record(change: Change) -> None:
            conn = change.conn
            for disk in self._owned(conn, caller, ids):
                self._require(disk, {DiskState.UNATTACHED}, "initialized")
                check_no_snapshot(conn, disk.id)
                if disk.hydrating:
                    raise RefusalError(Refusal.BUSY, f"Disk {disk.id} is still being filled from its snapshot.")
                payload = InitializePayload()
                if disk.source_snapshot_id is not None:
                    if not usable(conn, caller.account_id, snapshots.get(conn, disk.source_snapshot_id)):
                        raise RefusalError(
                            Refusal.DISK_UNFIT,
                            f"Disk {disk.id} was made from snapshot {disk.source_snapshot_id}, which is deleted, or "
                            "not shared with this account any more; make a new disk instead.",
                        )
                    payload = InitializePayload(session=change.open_session("hydrate", [disk.source_snapshot_id]))
                _set(conn, disk, {"state": DiskState.DUMPING})
                _begin(change, caller, OperationKind.INITIALIZE, disk, payload=payload)

        await patiently(lambda: self.operations.begin(record))

    async def rewrite(self, caller: Caller, disk_id: str) -> OperationId:
        """Write a detached disk's image anew in today's form; the disk is DUMPING when this returns.

        What the disk holds, its snapshots, and what is known of its changes stay as they are. One whose image is in
        today's form already is soon done.

        Raises:
            RefusalError: `ATTACHED`, `BUSY`, `DISK_UNFIT`,
                `FULL`, or the code of a disk that is not there; nothing was changed.
        """

        def check(conn: Connection) -> Disk:
            (disk,) = self._owned(conn, caller, [disk_id])
            if disk.instance_id is not None:
                text = f"Disk {disk.id} is attached to {disk.instance_id}; detach it first."
                raise RefusalError(Refusal.ATTACHED, text)
            self._require(disk, {DiskState.UNATTACHED}, "rewritten")
            check_no_snapshot(conn, disk.id)
            if disk.hydrating:
                raise RefusalError(Refusal.BUSY, f"Disk {disk.id} is still being filled from its snapshot.")
            return disk

        disk = await patiently(lambda: self.transactions.read(check))
        volume = volume_of(self.layout, disk.id)
        needed, above = await asyncio.to_thread(volume.allocated_bytes), self.room.look().above_floor_bytes
        if needed > above:
            raise RefusalError(
                Refusal.FULL,
                f"The copy of disk {disk_id} may take {needed >> 20} MiB beside it; {max(0, above) >> 20} MiB are free "
                "above the floor that belongs to the disks.",
            )

        def record(change: Change) -> OperationId:
            disk = check(change.conn)
            _set(change.conn, disk, {"state": DiskState.DUMPING})
            return _begin(change, caller, OperationKind.REWRITE, disk)

        return await patiently(lambda: self.operations.begin(record))

    async def terminate(self, caller: Caller, disk_ids: Sequence[str], delete_snapshot: int | None) -> None:
        """Destroy detached disks, all or none; a prepaid one goes to the recycle bin first.

        Snapshots stay, unless `delete_snapshot` (here or before, the last word counts) asks for those that are not
        permanent to go along: those of a prepaid disk when it leaves the recycle bin.

        Raises:
            RefusalError: With TerminateDisks' documented codes; nothing was changed.
        """
        ids = _distinct(disk_ids, TERMINATE_MAX)
        if delete_snapshot not in {None, 0, 1}:
            raise _bad_value(f"DeleteSnapshot is {delete_snapshot}; 0 and 1 are allowed.")

        def record(change: Change) -> None:
            conn = change.conn
            for disk in self._owned(conn, caller, ids):
                states = {DiskState.UNATTACHED, DiskState.TORECYCLE}
                self._require(disk, states, "terminated")
                check_no_snapshot(conn, disk.id)
                with_snapshots = disk.delete_snapshot if delete_snapshot is None else bool(delete_snapshot)
                if disk.charge_type == PREPAID and disk.state is DiskState.UNATTACHED:
                    # Its days are not cut short by a clock that is behind.
                    until = max(change.at, change.steady) + RECYCLE_SECONDS
                    values = {"state": DiskState.TORECYCLE, "deadline_at": until}
                    # Kept for the end of its days in the recycle bin, or for the call that ends them.
                    _set(conn, disk, {**values, "delete_snapshot": with_snapshots})
                    continue
                going = going_along(conn, disk.id) if with_snapshots else []
                mark_terminating(change, disk, going, request_id=caller.request_id)

        await patiently(lambda: self.operations.begin(record))

    # --- shared -------------------------------------------------------------------------------------------------------

    def _owned(self, conn: Connection, caller: Caller, ids: Sequence[str]) -> list[Disk]:
        return [owned_disk(conn, caller.account_id, disk_id) for disk_id in ids]

    def _require(self, disk: Disk, states: set[DiskState], what: str) -> None:
        if disk.state in states:
            return
        allowed = " or ".join(sorted(state.value for state in states))
        text = f"Disk {disk.id} is {disk.state.value}; it can be {what} only when it is {allowed}."
        if disk.state.passing:
            raise PassingError(Refusal.BUSY, text)
        raise RefusalError(Refusal.BUSY if disk.state.copying else Refusal.DISK_UNFIT, text)


def _set(conn: Connection, disk: Disk, values: Mapping[str, object]) -> None:
    changed = disks.compare_and_set(conn, disk.id, expected={"state": disk.state}, values=values)
    assert changed, "rows do not change under a writing transaction"


def _insert(change: Change, caller: Caller, disk: Disk, together: CreateDiskPayload) -> None:
    payload = together
    if disk.source_snapshot_id is not None:
        session = change.open_session("hydrate", [disk.source_snapshot_id])
        payload = msgspec.structs.replace(payload, session=session)
    disks.insert(change.conn, disk)
    _begin(change, caller, OperationKind.CREATE_DISK, disk, payload=payload)


def _begin(
    change: Change,
    caller: Caller,
    kind: OperationKind,
    disk: Disk,
    *,
    instance_id: InstanceId | None = None,
    payload: Payload = NO_PAYLOAD,
) -> OperationId:
    begun = change.begin(
        kind, account_id=caller.account_id, disk_id=disk.id, instance_id=instance_id, payload=payload,
        request_id=caller.request_id,
    )  # fmt: skip
    return begun.id


def _ids(response: Mapping[str, object]) -> tuple[DiskId, ...]:
    ids = response["disk_ids"]
    assert isinstance(ids, list)
    return tuple(DiskId(disk_id) for disk_id in ids)


def _distinct(ids: Sequence[str], most: int) -> list[str]:
    quotas.check_per_call("DiskIds", len(ids), most)
    return list(dict.fromkeys(ids))


def _bad_value(message: str) -> RefusalError:
    return RefusalError(Refusal.BAD_VALUE, message)

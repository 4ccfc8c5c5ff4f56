"""Disks as rows: describing them and changing what needs no engine."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from drystone.catalog import disks, instances, packs, policies, snapshots
from drystone.catalog.database import Database
from drystone.domain.disk import DATA_DISK, POSTPAID, PREPAID, SYSTEM_DISK, Disk, DiskState
from drystone.domain.disk_types import DISK_TYPES, EXTRA_PERFORMANCE_GIB_MIN, EXTRA_TYPES, DiskType
from drystone.domain.errors import PassingError, Refusal, RefusalError
from drystone.domain.ids import AccountId, DiskId, InstanceId
from drystone.engine.layout import nbd_uri
from drystone.service.caller import Caller
from drystone.service.calls.attributes import disk_name
from drystone.service.calls.filters import check_filters, disk_detail_selection, disk_selection
from drystone.service.calls.filters import page as checked_page
from drystone.service.calls.host_probe import HostProbe
from drystone.service.calls.new_disks import check_throughput
from drystone.service.calls.patience import patiently
from drystone.service.requests import PAGE_LIMIT, ConfigQuery, DiskChanges, DiskQuery, Filters
from drystone.service.rows.quotas import check_per_call
from drystone.service.views import DiskConfig, DiskDetail, DiskView, InstanceDiskNumber, Page

DISKS_PER_CHANGE = 100
INSTANCES_PER_CALL = 100
STEP_GIB = 1
PROJECT_ID_MAX = 2**63 - 1
_UPGRADES = ("CLOUD_BASIC", "CLOUD_PREMIUM", "CLOUD_BSSD", "CLOUD_SSD", "CLOUD_HSSD", "CLOUD_TSSD")
"""A disk may become any type that is sold and stands later in this row."""
_STEADY = frozenset({DiskState.UNATTACHED, DiskState.ATTACHED})


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRecords:
    """Describes and modifies disks of the caller's account."""

    db: Database
    clock: Callable[[], float]
    zone: str
    disks_per_instance: int
    probe: HostProbe
    """Applies a changed type, and looks at images."""

    async def describe(self, caller: Caller, query: DiskQuery) -> Page[DiskView]:
        """Return the disks that match; an id that is unknown or another account's only makes fewer of them.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        selection = disk_selection(caller.account_id, query)

        def select(conn: Connection) -> Page[DiskView]:
            found, total = disks.find(conn, selection)
            totals = snapshots.totals(conn, [disk.id for disk in found])
            held = packs.held(conn, [disk.id for disk in found])
            points = snapshots.backup_counts(conn, [disk.id for disk in found])
            bound = policies.of_disks(conn, [disk.id for disk in found]) if query.with_policies else {}
            views = (
                DiskView(
                    disk=disk,
                    snapshot_count=totals[disk.id].count,
                    snapshot_bytes=held[disk.id],
                    backup_count=points[disk.id],
                    policy_ids=tuple(bound.get(disk.id, ())),
                )
                for disk in found
            )
            return Page(items=tuple(views), total=total)

        return await self.db.read(select)

    async def details(self, caller: Caller, query: DiskQuery) -> Page[DiskDetail]:
        """Return how the caller's disks are served and tracked; no ids means all of them.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        selection = disk_detail_selection(caller.account_id, query)
        found, total = await self.db.read(lambda conn: disks.find(conn, selection))
        outdated = await self.probe.outdated([disk.id for disk in found])
        return Page(items=tuple(_detail(disk, outdated=disk.id in outdated) for disk in found), total=total)

    async def modify(self, caller: Caller, changes: DiskChanges) -> None:
        """Change attributes of disks: of all that are named, or of none.

        A change of type takes one disk and nothing beside it. A type may be exchanged for any better one that is
        sold and comes in the disk's size (BASIC < PREMIUM < BSSD < SSD < HSSD < TSSD), while the disk is UNATTACHED
        or ATTACHED. Nothing is copied: types differ in limits only, which apply at once. Asking again for the type
        that it has applies the limits again and changes nothing else.

        Raises:
            RefusalError: `NO_SUCH_DISK`, `DISK_UNFIT`,
                `NOT_SOLD`, `BAD_VALUE`,
                `TOO_MANY`, `MISSING` or
                `NOT_NOW`; nothing was changed.
        """
        check_per_call("DiskIds", len(changes.disk_ids), DISKS_PER_CHANGE)
        disk_ids = tuple(dict.fromkeys(DiskId(text) for text in changes.disk_ids))
        if changes.disk_type is not None:
            await self._change_type(caller, disk_ids, changes, changes.disk_type)
            return
        wanted = _wanted(changes)

        def change(conn: Connection) -> None:
            for disk in _owned(conn, caller.account_id, disk_ids):
                _check_attributes(disk, changes)
                changed = disks.compare_and_set(conn, disk.id, expected={"state": disk.state}, values=wanted)
                assert changed, f"{disk.id} changed within a transaction"

        await self.db.write(change)

    async def modify_throughput(self, caller: Caller, disk_id: str, mb_per_s: int) -> None:
        """Change a disk's bought throughput, MiB/s; what it has already is applied again, none is right for any type.

        Raises:
            RefusalError: `NO_SUCH_DISK`, `DISK_UNFIT`, `BAD_VALUE` or `BUSY`; nothing was changed.
        """

        def change(conn: Connection) -> None:
            (disk,) = _owned(conn, caller.account_id, (DiskId(disk_id),))
            check_not_in_bin(disk)
            if disk.state not in _STEADY:
                raise _passes(disk, Refusal.BUSY, f"Disk {disk.id} is {disk.state}; try again when it is not.")
            if mb_per_s and not DISK_TYPES[disk.type].may_have_extra(disk.size_gib, throughput=True):
                raise RefusalError(
                    Refusal.DISK_UNFIT,
                    f"Disk {disk.id} is a {disk.type} of {disk.size_gib} GiB; throughput is bought for "
                    f"{' and '.join(EXTRA_TYPES)} over {EXTRA_PERFORMANCE_GIB_MIN} GiB.",
                )
            check_throughput(disk.type, mb_per_s)
            values = {"throughput_performance": mb_per_s}
            changed = disks.compare_and_set(conn, disk.id, expected={"state": _STEADY}, values=values)
            assert changed, f"{disk.id} changed within a transaction"

        await patiently(lambda: self.db.write(change))
        await self.probe.apply_limits(DiskId(disk_id))

    async def config_quota(self, caller: Caller, query: ConfigQuery) -> tuple[DiskConfig, ...]:  # noqa: ARG002 - the same for every account
        """Return the types and sizes that disks may have, those that are no longer sold as not available.

        Raises:
            RefusalError: `BAD_VALUE`.
        """
        allowed = ("INQUIRY_CBS_CONFIG", "INQUIRY_CVM_CONFIG")
        _check_member("InquiryType", query.inquiry_type, allowed)
        charge_types = (PREPAID, POSTPAID)
        if query.charge_type is not None:
            _check_member("DiskChargeType", query.charge_type, (*charge_types, "CDCPAID", "DEDICATED_CLUSTER_PAID"))
        if query.usage is not None:
            _check_member("DiskUsage", query.usage, (DATA_DISK, SYSTEM_DISK))
        for name in query.disk_types:
            _check_member("DiskTypes", name, tuple(DISK_TYPES))
        nothing = query.usage == SYSTEM_DISK or query.dedicated_cluster_id
        if nothing or (query.zones and self.zone not in query.zones):
            return ()
        return tuple(
            _config(kind, charge_type, self.zone)
            for kind in DISK_TYPES.values()
            if not query.disk_types or kind.name in query.disk_types
            for charge_type in charge_types
            if query.charge_type in {None, charge_type}
        )

    async def none_of(
        self,
        caller: Caller,  # noqa: ARG002 - the same for every account
        names: Collection[str],
        *,
        ids: Sequence[str] = (),
        filters: Filters = (),
        page: tuple[int, int] = (0, PAGE_LIMIT),
    ) -> None:
        """Answer a question about what there is none of here: there is nothing to return.

        Args:
            caller: Who asks.
            names: Which filters there are.
            ids: Which ones are meant.
            filters: By name and values.
            page: Offset and limit.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`, as where there is something.
        """
        check_filters(names, ids, filters)
        checked_page(*page)

    async def instances_disk_num(self, caller: Caller, instance_ids: tuple[str, ...]) -> tuple[InstanceDiskNumber, ...]:
        """Return how many disks each of the caller's instances has and may have; unknown ids are left out.

        Raises:
            RefusalError: `MISSING` or `TOO_MANY`.
        """
        check_per_call("InstanceIds", len(instance_ids), INSTANCES_PER_CALL)
        wanted = [InstanceId(text) for text in instance_ids]

        def counts(conn: Connection) -> Mapping[InstanceId, int]:
            known = instances.get_many(conn, wanted).values()
            return instances.disk_counts(
                conn, [instance.id for instance in known if instance.account_id == caller.account_id]
            )

        counted = await self.db.read(counts)
        return tuple(
            InstanceDiskNumber(instance_id=instance_id, attached=count, attached_max=self.disks_per_instance)
            for instance_id, count in counted.items()
        )

    async def _change_type(self, caller: Caller, disk_ids: tuple[DiskId, ...], changes: DiskChanges, name: str) -> None:
        if len(disk_ids) > 1 or changes != DiskChanges(disk_ids=changes.disk_ids, disk_type=name):
            raise RefusalError(
                Refusal.BAD_VALUE, "DiskType is changed for one disk at a time and with no other attribute."
            )
        _check_member("DiskType", name, tuple(DISK_TYPES))

        def change(conn: Connection) -> None:
            (disk,) = _owned(conn, caller.account_id, disk_ids)
            _check_upgrade(disk, DISK_TYPES[name])
            changed = disks.compare_and_set(
                conn, disk.id, expected={"state": _STEADY, "type": disk.type}, values={"type": name}
            )
            assert changed, f"{disk.id} changed within a transaction"

        await patiently(lambda: self.db.write(change))
        await self.probe.apply_limits(disk_ids[0])


def owned_disk(conn: Connection, account_id: AccountId, disk_id: str) -> Disk:
    """Return a disk of this account that clients see.

    Raises:
        RefusalError: `NO_SUCH_DISK`, the same for a disk of another account.
    """
    return _owned(conn, account_id, (DiskId(disk_id),))[0]


def check_not_in_bin(disk: Disk) -> None:
    """Refuse a disk that is in the recycle bin.

    Raises:
        RefusalError: `DISK_UNFIT`.
    """
    if disk.state is DiskState.TORECYCLE:
        raise RefusalError(Refusal.DISK_UNFIT, f"Disk {disk.id} is in the recycle bin.")


def _owned(conn: Connection, account_id: AccountId, disk_ids: tuple[DiskId, ...]) -> tuple[Disk, ...]:
    found = disks.get_many(conn, disk_ids)
    for disk_id in disk_ids:
        disk = found.get(disk_id)
        if disk is None or disk.account_id != account_id or not disk.state.visible:
            raise RefusalError(Refusal.NO_SUCH_DISK, f"There is no disk {disk_id[:60]}.")
    return tuple(found[disk_id] for disk_id in disk_ids)


def _wanted(changes: DiskChanges) -> Mapping[str, object]:
    """Return the columns that a change of attributes sets, checked as far as no disk is needed."""
    values: dict[str, object] = {}
    if changes.name is not None:
        if not changes.name:
            raise RefusalError(Refusal.BAD_VALUE, "DiskName is empty; give a name.")
        values["name"] = disk_name(changes.name)
    if changes.portable is not None:
        values["portable"] = changes.portable
    if changes.project_id is not None:
        if not 0 <= changes.project_id <= PROJECT_ID_MAX:
            raise RefusalError(Refusal.BAD_VALUE, f"ProjectId {changes.project_id} is out of range.")
        values["project_id"] = changes.project_id
    if changes.delete_with_instance is not None:
        values["delete_with_instance"] = changes.delete_with_instance
    if changes.burst_operation is not None:
        _check_member("BurstPerformanceOperation", changes.burst_operation, ("CREATE", "CANCEL"))
        values["burst_performance"] = changes.burst_operation == "CREATE"
    if not values:
        raise RefusalError(Refusal.MISSING, "No attribute to change is given.")
    return values


def _check_attributes(disk: Disk, changes: DiskChanges) -> None:
    check_not_in_bin(disk)
    if changes.portable is False and disk.portable:
        raise RefusalError(Refusal.BAD_VALUE, f"Disk {disk.id} is elastic; that cannot be taken back (Portable).")
    elastic = disk.portable or changes.portable is True
    if changes.project_id is not None and not elastic:
        raise RefusalError(Refusal.DISK_UNFIT, f"Disk {disk.id} is not elastic; its project is fixed.")
    if changes.delete_with_instance and (disk.charge_type != POSTPAID or disk.usage != DATA_DISK):
        raise RefusalError(
            Refusal.DISK_UNFIT,
            f"Disk {disk.id} is a {disk.charge_type} {disk.usage}; only {POSTPAID} data disks go with their instance.",
        )
    if changes.burst_operation == "CREATE" and not DISK_TYPES[disk.type].may_have_extra(
        disk.size_gib, throughput=False
    ):
        raise RefusalError(
            Refusal.NOT_SOLD,
            f"Disk {disk.id} is a {disk.type} of {disk.size_gib} GiB; only {' and '.join(EXTRA_TYPES)} "
            f"from {EXTRA_PERFORMANCE_GIB_MIN} GiB on can burst.",
        )


def _check_upgrade(disk: Disk, target: DiskType) -> None:
    if disk.state not in _STEADY:
        check_not_in_bin(disk)
        text = f"Disk {disk.id} is {disk.state}; its type changes while it is UNATTACHED or ATTACHED."
        raise _passes(disk, Refusal.NOT_NOW, text)
    if target.name == disk.type:
        return
    if not target.sold or not target.size_gib_min <= disk.size_gib <= target.size_gib_max:
        raise RefusalError(
            Refusal.NOT_SOLD,
            f"There is no {target.name} of {disk.size_gib} GiB, the size of disk {disk.id}.",
        )
    if _UPGRADES.index(target.name) < _UPGRADES.index(disk.type):
        raise RefusalError(Refusal.DISK_UNFIT, f"Disk {disk.id} is a {disk.type}, which cannot become a {target.name}.")


def _passes(disk: Disk, kind: Refusal, message: str) -> RefusalError:
    """Return the refusal of a disk on its way to another state: one that ends within seconds is waited for."""
    return PassingError(kind, message) if disk.state.passing else RefusalError(kind, message)


def _check_member(parameter: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise RefusalError(Refusal.BAD_VALUE, f"{parameter} is `{value[:60]}`; allowed are {', '.join(allowed)}.")


def _config(kind: DiskType, charge_type: str, zone: str) -> DiskConfig:
    return DiskConfig(
        available=kind.sold,
        charge_type=charge_type,
        zone=zone,
        disk_type=kind.name,
        usage=DATA_DISK,
        size_gib_min=kind.size_gib_min,
        size_gib_max=kind.size_gib_max,
        step_gib=STEP_GIB,
        extra_performance_range=(0, kind.extra_mb_per_s_max) if kind.extra_mb_per_s_max else None,
    )


def _detail(disk: Disk, *, outdated: bool) -> DiskDetail:
    uri = None
    if disk.nbd_socket is not None and disk.state is DiskState.ATTACHED:
        uri = nbd_uri(Path(disk.nbd_socket), disk.id)
    return DiskDetail(
        disk_id=disk.id,
        nbd_uri=uri,
        device=disk.device,
        tracking=disk.tracking,
        tracking_reason=disk.tracking_reason,
        base_snapshot_id=disk.base_snapshot_id,
        epoch=disk.epoch,
        source_snapshot_id=disk.source_snapshot_id,
        hydrating=disk.hydrating,
        hydration_percent=disk.hydration_percent,
        daemon=disk.daemon,
        needs_rewrite=outdated,
        created_at=disk.created_at,
    )

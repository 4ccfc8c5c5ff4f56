"""Snapshot groups: several disks of one instance at one instant, described, rolled back and deleted together."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from drystone.catalog import snapshot_groups, snapshots
from drystone.catalog.snapshot_groups import SnapshotGroupSelection
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import DrystoneError, PassingError, Refusal, RefusalError, ungrouped
from drystone.domain.ids import DiskId, IdSource, InstanceId, SnapshotGroupId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import GroupPayload
from drystone.domain.settling import Phase
from drystone.domain.snapshot import Snapshot
from drystone.domain.snapshot_group import SnapshotGroup, SnapshotGroupState
from drystone.engine import freezing
from drystone.engine.daemon import Daemon
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout
from drystone.engine.live_disk import LiveDisk
from drystone.service.caller import Caller
from drystone.service.calls import attributes
from drystone.service.calls.disk_records import check_not_in_bin, owned_disk
from drystone.service.calls.filters import check_filters, members, page
from drystone.service.calls.patience import patiently
from drystone.service.calls.quiescing import Held, Quiescing
from drystone.service.calls.snapshot_begin import (
    Begun,
    Scheduled,
    begin_rollback,
    begin_snapshot,
    check_auto_start,
    check_no_snapshot,
    new_snapshot,
)
from drystone.service.calls.snapshot_lifecycle import FREEZE_SECONDS_MAX
from drystone.service.calls.snapshot_records import check_not_shared
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.jobs.snapshot_group import give_up
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.requests import GroupRollback, NewSnapshotGroup, SnapshotGroupQuery
from drystone.service.room import Room
from drystone.service.rows import quotas
from drystone.service.rows.deletions import mark_deleting
from drystone.service.rows.instants import record_frozen
from drystone.service.rows.quotas import SnapshotLimits
from drystone.service.transactions import Change, Transactions
from drystone.service.views import Page, SnapshotGroupView

GROUPS_PER_CALL_MAX = 100
_MEMBER_NAME_MAX = attributes.NAME_MAX
_STATES: Mapping[str, tuple[SnapshotGroupState, bool]] = {
    "NORMAL": (SnapshotGroupState.NORMAL, False),
    "CREATING": (SnapshotGroupState.CREATING, False),
    "ROLLBACKING": (SnapshotGroupState.NORMAL, True),
}
"""The documented states: what each is in the catalog, as (state, a disk is being rolled back to a member)."""
_FILTERS = frozenset({"snapshot-group-id", "snapshot-group-state", "snapshot-group-name", "snapshot-id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """What the first transaction of a group recorded."""

    leader: Operation
    members: tuple[Begun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotGroups:
    """The calls on snapshot groups.

    A group is one instant or it is refused: its disks are attached to one instance and open in one storage daemon,
    whose single command freezes them all.
    """

    transactions: Transactions
    operations: Operations
    ids: IdSource
    host: Host
    kept: KeptStore
    locks: DiskLocks
    layout: Layout
    devices: HostDevices
    room: Room
    limits: SnapshotLimits
    """The quota of snapshots, which every member counts in."""
    quiescing: Quiescing
    disks_max: int
    """Most disks of a group: what an instance may have."""

    # --- create -------------------------------------------------------------------------------------------------------

    async def create(self, caller: Caller, new: NewSnapshotGroup) -> SnapshotGroupId:
        """Fix one instant of several disks and return the group's id; it is CREATING until all data is in the store.

        Every write to any of the disks that was acknowledged before this was called is in, none that is sent after it
        returned (P1); and of two writes, the second sent after the first was acknowledged, never only the second.

        Raises:
            RefusalError: With CreateSnapshotGroup's documented codes; there is no group, and the disks are as before.
        """
        if not new.disk_ids:
            raise RefusalError(Refusal.MISSING, "DiskIds is empty; give at least one disk.")
        self.kept.check_proven()
        disk_ids = [DiskId(disk_id) for disk_id in dict.fromkeys(new.disk_ids)]
        if len(disk_ids) > self.disks_max:
            raise RefusalError(
                Refusal.BAD_VALUE, f"{len(disk_ids)} disks are given; a group has at most {self.disks_max}."
            )
        name = attributes.plain_name(new.name, "SnapshotGroupName")
        tags = attributes.checked_tags(new.tags)
        await patiently(lambda: self.transactions.read(lambda conn: self._check(conn, caller, disk_ids)))
        group_id = self.ids.snapshot_group()

        def begin(change: Change) -> _Started:
            return self._begin(change, caller, group_id, disk_ids, name=name, tags=tags)

        await self._take(caller, disk_ids, begin)
        return group_id

    async def take_scheduled(self, caller: Caller, disk_ids: Sequence[DiskId], name: str, scheduled: Scheduled) -> None:
        """Fix one instant of disks for the runs of a policy, as `create` does, unless nothing needs to be taken.

        Disks on their way to another state are not waited for: their runs are tried again.

        Raises:
            RefusalError: As `create`.
        """
        self.kept.check_proven()
        await self.transactions.read(lambda conn: self._check(conn, caller, disk_ids))

        def begin(change: Change) -> _Started:
            group_id = change.ids.snapshot_group()
            return self._begin(change, caller, group_id, disk_ids, name=name, tags=(), record=scheduled.record)

        await self._take(caller, disk_ids, begin, scheduled)

    async def _take(
        self,
        caller: Caller,
        disk_ids: Sequence[DiskId],
        begin: Callable[[Change], _Started],
        scheduled: Scheduled | None = None,
    ) -> None:
        try:
            async with asyncio.timeout(FREEZE_SECONDS_MAX) as limit, self.locks.graphs(disk_ids):
                # Again, now that nothing else changes the disks.
                await self.transactions.read(lambda conn: self._check(conn, caller, disk_ids))
                for disk_id in disk_ids:
                    await self.host.settle_flight(disk_id)
                open_disks = await self._of_one_daemon(disk_ids)
                found = [await self.host.row(disk_id) for disk_id in disk_ids]
                async with self.quiescing.holding(found, limit) as held:
                    await self._flush(open_disks)
                    limit.reschedule(None)  # From here on the outcome is recorded, whatever it is.
                    if scheduled is not None and await self._unchanged(caller, open_disks, scheduled):
                        return
                    started = await self.transactions.change(begin)
                    try:
                        await self._freeze(started, open_disks[0].daemon, held)
                    finally:
                        # Whatever happened, the job takes the rows up: it goes on, or ends them (A2, A4).
                        self.operations.wake(started.leader.id)
        except TimeoutError as error:
            raise RefusalError(
                Refusal.BUSY, f"The disks did not come to rest within {FREEZE_SECONDS_MAX:g} s; try again."
            ) from error
        except RefusalError:
            raise
        except DrystoneError as error:
            raise RefusalError(Refusal.NOT_DONE, f"The disks cannot be frozen: {error}") from error

    async def _unchanged(self, caller: Caller, open_disks: Sequence[LiveDisk], scheduled: Scheduled) -> bool:
        unchanged = scheduled.unchanged
        if unchanged is None:
            return False
        ids = [live.id for live in open_disks]
        marked = [await live.marked((await self.host.row(live.id)).bitmap) for live in open_disks]
        return await self.transactions.change(
            lambda change: unchanged(change, [*zip(self._check(change.conn, caller, ids), marked, strict=True)])
        )

    def _check(self, conn: Connection, caller: Caller, disk_ids: Sequence[DiskId]) -> list[Disk]:
        """Refuse what cannot be one instant, or may not be; return the disks in the order given."""
        found = [owned_disk(conn, caller.account_id, disk_id) for disk_id in disk_ids]
        for index, disk in enumerate(found):
            _check_disk(conn, disk)
            use = quotas.snapshot_use(conn, caller.account_id, disk.id)
            quotas.check_snapshot(disk.id, replace(use, of_account=use.of_account + index), self.limits)
        if len({disk.instance_id for disk in found}) > 1:
            where = ", ".join(f"{disk.id} to {disk.instance_id}" for disk in found)
            raise RefusalError(
                Refusal.NOT_TOGETHER, f"The disks of a group are attached to one instance; these are attached: {where}."
            )
        self.room.require()
        return found

    async def _of_one_daemon(self, disk_ids: Sequence[DiskId]) -> list[LiveDisk]:
        """Return the disks, open in one storage daemon.

        Raises:
            RefusalError: There are several: what they freeze is no instant.
        """
        found = [(await self.host.opened(disk_id))[1] for disk_id in disk_ids]
        if len({live.daemon.name for live in found}) > 1:
            alone = ", ".join(live.id for live in found if live.daemon.name == live.id)
            raise RefusalError(
                Refusal.NOT_NOW,
                f"{alone or 'Some disks'} cannot be frozen at one instant with the others: a disk that is filled from "
                "a snapshot is served apart until it is attached anew. Detach and attach it again.",
            )
        return found

    async def _flush(self, open_disks: Sequence[LiveDisk]) -> None:
        """Flush all disks at once, each until that is short: what one still holds the others would wait for."""

        async def one(live: LiveDisk) -> None:
            await self.devices.flush(live.id)
            await live.flush_until_short()

        with ungrouped(DrystoneError):
            async with asyncio.TaskGroup() as tasks:
                for live in open_disks:
                    tasks.create_task(one(live))

    def _begin(
        self,
        change: Change,
        caller: Caller,
        group_id: SnapshotGroupId,
        disk_ids: Sequence[DiskId],
        *,
        name: str,
        tags: tuple[tuple[str, str], ...],
        record: Callable[[Change, Snapshot], Snapshot] = lambda _change, template: template,
    ) -> _Started:
        """Record the group, its members and their operations, before anything is frozen (A2)."""
        found = self._check(change.conn, caller, disk_ids)
        instance_id = found[0].instance_id
        assert instance_id is not None
        at, begun = change.at, []
        for index, disk in enumerate(found):
            template = record(change, new_snapshot(change, disk, change.ids.snapshot()))
            template = replace(template, name=member_name(name, index), tags=tags, group_id=group_id)
            begun.append(begin_snapshot(change, disk, template, request_id=caller.request_id, group=group_id))
        leader = change.begin(
            OperationKind.SNAPSHOT_GROUP, account_id=caller.account_id, instance_id=instance_id,
            phase=Phase.FREEZING.value, request_id=caller.request_id,
            payload=GroupPayload(group=group_id, members=tuple(one.operation.id for one in begun)),
        )  # fmt: skip
        snapshot_groups.insert(
            change.conn,
            SnapshotGroup(
                id=group_id, account_id=caller.account_id, instance_id=InstanceId(instance_id), name=name, tags=tags,
                operation_id=leader.id, created_at=at, modified_at=at,
            ),
        )  # fmt: skip
        return _Started(leader=leader, members=tuple(begun))

    async def _freeze(self, started: _Started, daemon: Daemon, held: Held) -> None:
        """The instant. If it fails, bitmaps and rows are as before when this raises (A2, A4, S41)."""
        targets = [freezing.target(self.layout, begun.disk, begun.freeze) for begun in started.members]
        try:
            pause_ms = await freezing.freeze(daemon, targets)
            quiesced = await held.thaw()
        except DrystoneError as error:
            await give_up(self.transactions, self.host, started.leader, Refusal.NOT_DONE, str(error))
            raise
        rows = [begun.operation for begun in started.members]
        await self.transactions.change(
            lambda change: record_frozen(change, rows, pause_ms=round(pause_ms, 3), said=quiesced)
        )

    # --- describe -----------------------------------------------------------------------------------------------------

    async def describe(self, caller: Caller, query: SnapshotGroupQuery) -> Page[SnapshotGroupView]:
        """Return the groups that match, newest first.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        selection = _selection(caller, query)

        def look(conn: Connection) -> Page[SnapshotGroupView]:
            found, total = snapshot_groups.find(conn, selection)
            inside = snapshots.of_groups(conn, [group.id for group in found])
            views = (SnapshotGroupView(group=group, members=tuple(inside[group.id])) for group in found)
            return Page(items=tuple(views), total=total)

        return await self.transactions.read(look)

    # --- delete -------------------------------------------------------------------------------------------------------

    async def delete(self, caller: Caller, group_ids: Sequence[str], delete_bind_images: bool) -> None:  # noqa: ARG002, FBT001 - the API's parameter; there are no images
        """Delete groups with all their members, all or none; they are gone for clients when this returns.

        Raises:
            RefusalError: With DeleteSnapshotGroup's documented codes; nothing was changed.
        """
        ids = list(dict.fromkeys(group_ids))
        if not ids:
            raise RefusalError(Refusal.MISSING, "Give SnapshotGroupId or SnapshotGroupIds.")
        if len(ids) > GROUPS_PER_CALL_MAX:
            raise RefusalError(
                Refusal.BAD_VALUE, f"{len(ids)} groups are given; one call deletes at most {GROUPS_PER_CALL_MAX}."
            )

        def record(change: Change) -> None:
            for view in [_owned(change.conn, caller, group_id) for group_id in ids]:
                _check_resting(view)
                for member in view.members:
                    check_not_shared(change.conn, member, "deleted")
                for member in view.members:
                    marked = mark_deleting(change, member, request_id=caller.request_id)
                    assert marked, "rows do not change under a writing transaction"
                snapshot_groups.delete(change.conn, view.group.id)

        await self.operations.begin(record)

    # --- apply --------------------------------------------------------------------------------------------------------

    async def apply(
        self,
        caller: Caller,
        group_id: str,
        wanted: Sequence[GroupRollback],
        auto_stop: bool,  # noqa: FBT001 - the API's parameter
        auto_start: bool,  # noqa: FBT001 - the API's parameter
    ) -> None:
        """Roll detached disks back to members of a group, all or none; they are ROLLBACKING when this returns.

        Raises:
            RefusalError: With ApplySnapshotGroup's documented codes; nothing was changed.
        """
        check_auto_start(auto_stop=auto_stop, auto_start=auto_start)
        if not wanted:
            raise RefusalError(Refusal.MISSING, "ApplyDisks is empty; give at least one disk.")
        if len({one.disk_id for one in wanted}) < len(wanted):
            raise RefusalError(Refusal.BAD_VALUE, "A disk is given twice in ApplyDisks.")

        def record(change: Change) -> None:
            conn = change.conn
            view = _owned(conn, caller, group_id)
            _check_resting(view)
            inside: dict[str, Snapshot] = {member.id: member for member in view.members}
            pairs = []
            for one in wanted:
                member = inside.get(one.snapshot_id)
                if member is None or member.disk_id != one.disk_id:
                    raise RefusalError(
                        Refusal.BAD_VALUE,
                        f"Group {view.group.id} has no snapshot {one.snapshot_id[:60]} of disk {one.disk_id[:60]}.",
                    )
                pairs.append((owned_disk(conn, caller.account_id, one.disk_id), member))
            self._check_attached([disk for disk, _ in pairs])
            for disk, member in pairs:
                begin_rollback(change, disk, member, request_id=caller.request_id)

        await patiently(lambda: self.operations.begin(record))

    def _check_attached(self, found: Sequence[Disk]) -> None:
        instances = {disk.instance_id for disk in found if disk.instance_id is not None}
        if len(instances) > 1:
            raise RefusalError(
                Refusal.SEVERAL_INSTANCES,
                f"The disks are attached to {', '.join(sorted(instances))}; detach them before they are rolled back.",
            )


def member_name(group_name: str, index: int) -> str:
    """Return the name of a group's member, counted from 0; a long group name is cut for it."""
    end = f"_{index}"
    return group_name[: _MEMBER_NAME_MAX - len(end)] + end


def _check_disk(conn: Connection, disk: Disk) -> None:
    """Refuse a disk that cannot be frozen together with others now.

    Raises:
        RefusalError: With CreateSnapshotGroup's documented codes.
    """
    if disk.state is DiskState.ROLLBACKING:
        raise RefusalError(Refusal.ROLLING_BACK, f"Disk {disk.id} is being rolled back.")
    check_not_in_bin(disk)
    if disk.state is DiskState.UNATTACHED:
        raise RefusalError(
            Refusal.DISK_UNFIT,
            f"Disk {disk.id} is not attached; the disks of a group are attached to one instance.",
        )
    if disk.state is not DiskState.ATTACHED:
        kind = PassingError if disk.state.passing else RefusalError
        raise kind(Refusal.BUSY, f"Disk {disk.id} is {disk.state.value}; try again when it is not.")
    if disk.hydrating:
        raise RefusalError(
            Refusal.NOT_NOW,
            f"Disk {disk.id} is still being filled from its snapshot ({disk.hydration_percent} %) and served apart: "
            "it has no instant in common with other disks.",
        )
    check_no_snapshot(conn, disk.id)


def _owned(conn: Connection, caller: Caller, group_id: str) -> SnapshotGroupView:
    """Return a group of this account, or refuse: in the same way for one of another account."""
    group = snapshot_groups.get(conn, group_id)
    if group is None or group.account_id != caller.account_id:
        raise RefusalError(Refusal.NO_SUCH_GROUP, f"There is no snapshot group {group_id[:60]}.")
    return SnapshotGroupView(group=group, members=tuple(snapshots.of_groups(conn, [group.id])[group.id]))


def _check_resting(view: SnapshotGroupView) -> None:
    if view.group.state is not SnapshotGroupState.NORMAL:
        raise RefusalError(Refusal.GROUP_BUSY, f"Group {view.group.id} is still being created.")
    if any(member.rolling_back for member in view.members):
        raise RefusalError(Refusal.GROUP_BUSY, f"A disk is being rolled back to group {view.group.id}.")


def _selection(caller: Caller, query: SnapshotGroupQuery) -> SnapshotGroupSelection:
    check_filters(_FILTERS, (), query.filters)
    offset, limit = page(query.offset, query.limit)
    selection = SnapshotGroupSelection(account_id=caller.account_id, offset=offset, limit=limit)
    for name, values in query.filters:
        if name == "snapshot-group-state":
            states = tuple(_STATES[value] for value in members(name, values, _STATES))
            selection = replace(selection, states=(*selection.states, states))
        elif name == "snapshot-group-id":
            selection = replace(selection, ids=(*selection.ids, values))
        elif name == "snapshot-group-name":
            selection = replace(selection, names=(*selection.names, values))
        else:
            selection = replace(selection, snapshot_ids=(*selection.snapshot_ids, values))
    return selection

"""From the frozen views of several disks to snapshots that become NORMAL together (S40)."""

import asyncio

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import operations, snapshot_groups
from drystone.domain.errors import DrystoneError, SnapshotBrokenError, UnavailableError, ungrouped
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation, OperationState
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.quiesce import Quiesced
from drystone.domain.settling import Phase, Verdict
from drystone.domain.snapshot_group import SnapshotGroupState
from drystone.engine import freezing
from drystone.service.host.host import Host
from drystone.service.installation import Installation
from drystone.service.jobs.snapshot import TakeSnapshot, Uploaded, log_committed
from drystone.service.rows import endings
from drystone.service.rows.groups import end_failed_group, give_group_up, group_of, members_of
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import epoch
from drystone.service.upkeep.maps import collect_maps
from drystone.service.upkeep.sweep import Sweep

log = structlog.get_logger()
UPLOADS_MAX = 4
"""Members of one group that wait for a worker at once: other snapshots have their turn too."""


class TakeSnapshotGroup:
    """FROZEN → COMMITTED → done for all members at once, or FAILING → failed for all. The call froze them (P1).

    Each member has an operation of its own, by which its disk is settled like that of any snapshot; this one carries
    them on. A member that anybody fails (its scratch was broken, its daemon died, the host was stopped) is no longer
    FROZEN, and then nothing of the group can be committed.
    """

    def __init__(self, installation: Installation, host: Host, member: TakeSnapshot, sweep: Sweep) -> None:
        self._in = installation
        self._sweep = sweep
        self._host = host
        self._member = member

    async def run(self, operation: Operation) -> None:
        """Read all views, commit, clean up. After a restart it goes on from the phase in the row."""
        if operation.phase == Phase.FAILING:
            raise SnapshotBrokenError(operation.error)
        members = await self._in.db.read(lambda conn: members_of(conn, operation))
        if operation.phase != Phase.COMMITTED:
            try:
                async with self._in.locks.graphs(disks_of(members)):
                    await self._resume(members)
            except UnavailableError as error:
                # Nothing is known of the views, which may be whole (S25).
                log.warning("snapshot_group.waits", group_id=group_of(operation), error=str(error))
                self._in.operations.wake_later(operation)
                return
            uploads = await self._upload(members)
            carried = await self._in.db.write(lambda conn: self._commit(conn, operation, uploads))
            await epoch.publish(self._in.transactions, self._in.kept)
            if carried:
                await collect_maps(self._in.transactions, self._in.kept)
            for uploaded in uploads:
                log_committed(uploaded)
        async with self._in.locks.graphs(disks_of(members)):
            await settle_members(self._in.transactions, self._host, operation)
        await self._in.db.write(lambda conn: endings.done(conn, operation, at=self._in.clock()))
        await self._release(members)

    async def _resume(self, members: list[Operation]) -> None:
        """See that every view is whole and of one instant; do what a crash may have kept from following it.

        Raises:
            SnapshotBrokenError: A member cannot go on, so none does.
        """
        daemons = {}
        targets = []
        for member in members:
            assert member.disk_id is not None
            now = await self._in.db.read(lambda conn, wanted=member.id: operations.get(conn, wanted))  # type: ignore[misc]
            if now is None or now.state is not OperationState.RUNNING:
                raise SnapshotBrokenError(f"the snapshot of disk {member.disk_id} has failed")
            if await self._host.settle(member.disk_id) is not Verdict.RESUME:
                raise SnapshotBrokenError(f"the frozen view of disk {member.disk_id} is gone")
            disk = await self._host.row(member.disk_id)
            live = await self._host.running(disk)
            if live is None:
                raise SnapshotBrokenError(f"the storage daemon of disk {disk.id} died before the upload")
            daemons[live.daemon.name] = live.daemon
            freeze = now.payload_as(SnapshotPayload).freeze
            targets.append(
                freezing.FreezeTarget(
                    disk_id=disk.id, size_bytes=disk.size_bytes, frozen=freeze.old_bitmap or "",
                    live=freeze.new_bitmap, scratch=self._in.layout.scratch_file(disk.id),
                )
            )  # fmt: skip
        # One daemon, in one opening, inserted all filters by one command: there is no instant otherwise.
        if len(daemons) != 1:
            raise SnapshotBrokenError(f"the disks are open in {len(daemons)} storage daemons")
        (daemon,) = daemons.values()
        await freezing.finish_freeze(daemon, targets)
        await self._in.transactions.change(lambda change: record_frozen(change, members))

    async def _upload(self, members: list[Operation]) -> list[Uploaded]:
        """Have the workers write all members' objects; the first that fails stops the others."""
        slots = asyncio.Semaphore(UPLOADS_MAX)

        async def one(member: Operation) -> Uploaded:
            assert member.disk_id is not None
            async with slots:
                return await self._member.upload(member, member.disk_id)

        with ungrouped(DrystoneError):
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(one(member)) for member in members]
        return [task.result() for task in running]

    def _commit(self, conn: Connection, leader: Operation, uploads: list[Uploaded]) -> bool:
        """S40: every member NORMAL, each by A3, and the group, in one transaction."""
        at = self._in.clock()
        carried = [self._member.commit(conn, uploaded=uploaded) for uploaded in uploads]
        expected = {"state": SnapshotGroupState.CREATING}
        values = {"state": SnapshotGroupState.NORMAL, "modified_at": at}
        if not snapshot_groups.compare_and_set(conn, group_of(leader), expected=expected, values=values):
            raise SnapshotBrokenError("the group's row is gone")
        if not operations.update(conn, leader.id, updated_at=at, phase=Phase.COMMITTED.value, percent=100):
            raise SnapshotBrokenError("the group was given up while it was uploaded")
        return any(carried)

    async def _release(self, members: list[Operation]) -> None:
        for disk_id in disks_of(members):
            await self._host.release(disk_id)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """A4 for every member: bitmaps merged back, views, rows and the group disappear; no guest notices.

        A group that is NORMAL cannot fail any more: it is cleaned up later.
        """
        members = await self._in.db.read(lambda conn: members_of(conn, operation))
        async with self._in.locks.graphs(disks_of(members)):
            if not await give_up(self._in.transactions, self._host, operation, code, message):
                self._in.operations.wake_later(operation)
                return
        await self._release(members)
        await self._sweep.sweep()


def disks_of(members: list[Operation]) -> list[DiskId]:
    """Return the disks of a group's members."""
    return [member.disk_id for member in members if member.disk_id is not None]


def record_frozen(
    change: Change,
    members: list[Operation],
    *,
    pause_ms: float | None = None,
    said: Quiesced | None = None,
) -> None:
    """Record the instant, which is the change's time, with every member that still waits for it, and with the group.

    Args:
        change: The transaction.
        members: The members' operations.
        pause_ms: How long the guests stood; None if a crash hid it.
        said: What was held still, for the members' records.
    """
    for member in members:
        now = operations.get(change.conn, member.id)
        if now is not None and now.phase == Phase.FREEZING:
            payload = now.payload_as(SnapshotPayload)
            if said is not None:
                payload = payload.with_quiesced(said)
            payload = msgspec.structs.replace(payload, taken_at=change.at, freeze_ms=pause_ms)
            operations.update(change.conn, member.id, updated_at=change.at, phase=Phase.FROZEN.value, payload=payload)
    group_id = members[0].payload_as(SnapshotPayload).group
    assert group_id is not None
    expected = {"state": SnapshotGroupState.CREATING, "taken_at": None}
    snapshot_groups.compare_and_set(
        change.conn, group_id, expected=expected, values={"taken_at": change.at, "pause_ms": pause_ms}
    )


async def give_up(transactions: Transactions, host: Host, leader: Operation, code: str, message: str) -> bool:
    """End a group and all its members as failed; the members' graph locks are held.

    Returns:
        False if it is NORMAL already: then nothing has changed.

    Raises:
        DrystoneError: A storage daemon does not answer; what is recorded says that the group fails, and this may be
            repeated.
    """
    if not await transactions.change(
        lambda change: give_group_up(change.conn, leader, at=change.at, code=code, message=message)
    ):
        return False
    await settle_members(transactions, host, leader)
    if not await transactions.change(lambda change: end_failed_group(change.conn, leader, at=change.at)):
        raise UnavailableError(f"members of group {group_of(leader)} have not ended")
    return True


async def settle_members(transactions: Transactions, host: Host, leader: Operation) -> None:
    """Bring rows and daemon together for every member that has not ended; one that cannot keeps none of the others.

    Raises:
        DrystoneError: The first failure.
    """
    failures: list[DrystoneError] = []
    for member in await transactions.read(lambda conn: members_of(conn, leader)):
        if member.state is OperationState.RUNNING and member.disk_id is not None:
            try:
                await host.settle(member.disk_id)
            except DrystoneError as error:
                failures.append(error)
    if failures:
        raise failures[0]

"""From the frozen views of several disks to snapshots that become NORMAL together (S40)."""

import asyncio
from dataclasses import dataclass

import structlog

from drystone.catalog import operations, snapshot_groups
from drystone.domain.errors import DrystoneError, SnapshotBrokenError, UnavailableError, ungrouped
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation, OperationState
from drystone.domain.settling import Phase, Verdict
from drystone.domain.snapshot_group import SnapshotGroupState
from drystone.engine import freezing
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.jobs.snapshot import TakeSnapshot
from drystone.service.jobs.snapshot_commit import Committed, Uploaded, commit
from drystone.service.operations import Operations
from drystone.service.rows import endings
from drystone.service.rows.groups import end_failed_group, give_group_up, group_of, members_of
from drystone.service.rows.instants import record_frozen
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep.sweep import Sweep

log = structlog.get_logger()
UPLOADS_MAX = 4
"""Members of one group that wait for a worker at once: other snapshots have their turn too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshotGroup:
    """FROZEN → COMMITTED → done for all members at once, or FAILING → failed for all. The call froze them (P1).

    Each member has an operation of its own, by which its disk is settled like that of any snapshot; this one carries
    them on. A member that anybody fails (its scratch was broken, its daemon died, the host was stopped) is no longer
    FROZEN, and then nothing of the group can be committed.
    """

    transactions: Transactions
    operations: Operations
    locks: DiskLocks
    host: Host
    member: TakeSnapshot
    sweep: Sweep

    async def run(self, operation: Operation) -> None:
        """Read all views, commit, clean up. After a restart it goes on from the phase in the row."""
        if operation.phase == Phase.FAILING:
            raise SnapshotBrokenError(operation.error)
        members = await self.transactions.read(lambda conn: members_of(conn, operation))
        if operation.phase != Phase.COMMITTED:
            try:
                async with self.locks.graphs(disks_of(members)):
                    await self._resume(members)
            except UnavailableError as error:
                # Nothing is known of the views, which may be whole (S25).
                log.warning("snapshot_group.waits", group_id=group_of(operation), error=str(error))
                self.operations.wake_later(operation)
                return
            uploads = await self._upload(members)
            uploads = await self.member.publish(uploads)
            for one in await self.transactions.change(lambda change: _commit(change, operation, uploads)):
                await self.member.follow(one)
        async with self.locks.graphs(disks_of(members)):
            await settle_members(self.transactions, self.host, operation)
        await self.transactions.change(lambda change: endings.done(change, operation))
        await self._release(members)

    async def _resume(self, members: list[Operation]) -> None:
        """See that every view is whole and of one instant; do what a crash may have kept from following it.

        Raises:
            SnapshotBrokenError: A member cannot go on, so none does.
        """
        daemons = {}
        targets = []
        frozen = True
        for member in members:
            now = await self.transactions.read(lambda conn, wanted=member.id: operations.get(conn, wanted))  # type: ignore[misc]
            if now is None or now.state is not OperationState.RUNNING:
                raise SnapshotBrokenError(f"the snapshot of disk {member.disk_id} has failed")
            verdict = await self.host.settle(member.on_disk)
            if verdict is Verdict.SEND:
                continue
            if verdict is not Verdict.RESUME:
                raise SnapshotBrokenError(f"the frozen view of disk {member.disk_id} is gone")
            frozen &= now.phase == Phase.FROZEN
            daemon, target = await self.member.view(member)
            daemons[daemon.name] = daemon
            targets.append(target)
        # One daemon, in one opening, inserted all filters by one command: there is no instant otherwise.
        if len(daemons) > 1:
            raise SnapshotBrokenError(f"the disks are open in {len(daemons)} storage daemons")
        if frozen:
            return  # The call did what follows.
        (daemon,) = daemons.values()
        await freezing.finish_freeze(daemon, targets)
        await self.transactions.change(lambda change: record_frozen(change, members))

    async def _upload(self, members: list[Operation]) -> list[Uploaded]:
        """Have the workers write all members' objects; the first that fails stops the others."""
        slots = asyncio.Semaphore(UPLOADS_MAX)

        async def one(member: Operation) -> Uploaded:
            async with slots:
                uploaded = await self.member.read(member)
            return await self.member.sending.send(uploaded)

        with ungrouped(DrystoneError):
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(one(member)) for member in members]
        return [task.result() for task in running]

    async def _release(self, members: list[Operation]) -> None:
        for disk_id in disks_of(members):
            await self.host.release(disk_id)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """A4 for every member: bitmaps merged back, views, rows and the group disappear; no guest notices.

        A group that is NORMAL cannot fail any more: it is cleaned up later.
        """
        members = await self.transactions.read(lambda conn: members_of(conn, operation))
        async with self.locks.graphs(disks_of(members)):
            if not await give_up(self.transactions, self.host, operation, code, message):
                self.operations.wake_later(operation)
                return
        await self._release(members)
        for member in members:
            await self.member.clear_spool(member)
        await self.sweep.sweep()


def disks_of(members: list[Operation]) -> list[DiskId]:
    """Return the disks of a group's members."""
    return [member.on_disk for member in members]


def _commit(change: Change, leader: Operation, uploads: list[Uploaded]) -> list[Committed]:
    """S40: every member NORMAL, each by A3, and the group, in one transaction."""
    endings.check_wanted(change, leader)
    committed = [commit(change, uploaded) for uploaded in uploads]
    expected = {"state": SnapshotGroupState.CREATING}
    values = {"state": SnapshotGroupState.NORMAL, "modified_at": change.at}
    if not snapshot_groups.compare_and_set(change.conn, group_of(leader), expected=expected, values=values):
        raise SnapshotBrokenError("the group's row is gone")
    if not operations.update(change.conn, leader.id, updated_at=change.at, phase=Phase.COMMITTED.value, percent=100):
        raise SnapshotBrokenError("the group was given up while it was uploaded")
    return committed


async def give_up(transactions: Transactions, host: Host, leader: Operation, code: str, message: str) -> bool:
    """End a group and all its members as failed; the members' graph locks are held.

    Returns:
        False if it is NORMAL already: then nothing has changed.

    Raises:
        DrystoneError: A storage daemon does not answer; what is recorded says that the group fails, and this may be
            repeated.
    """
    if not await transactions.change(lambda change: give_group_up(change, leader, code=code, message=message)):
        return False
    await settle_members(transactions, host, leader)
    if not await transactions.change(lambda change: end_failed_group(change, leader)):
        raise UnavailableError(f"members of group {group_of(leader)} have not ended")
    return True


async def settle_members(transactions: Transactions, host: Host, leader: Operation) -> None:
    """Bring rows and daemon together for every member that has not ended; one that cannot keeps none of the others.

    Raises:
        DrystoneError: The first failure.
    """
    failures: list[DrystoneError] = []
    for member in await transactions.read(lambda conn: members_of(conn, leader)):
        if member.state is OperationState.RUNNING:
            try:
                await host.settle(member.on_disk)
            except DrystoneError as error:
                failures.append(error)
    if failures:
        raise failures[0]

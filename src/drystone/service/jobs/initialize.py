"""InitializeDisks: a detached disk returns to zeros, or to the snapshot that it was made from."""

from dataclasses import dataclass

from drystone.catalog import disks, extent_maps, operations, sessions
from drystone.domain import tracking as algebra
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal
from drystone.domain.operation import Operation
from drystone.domain.payloads import InitializePayload
from drystone.domain.tracking import TrackingState
from drystone.engine.layout import Layout
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.jobs.create_disk import begin_hydration, make_image
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.rows import endings
from drystone.service.rows.bases import MOVE_REASON, with_living_base
from drystone.service.rows.sharing import APART_REASON, revoked, tracking_of_content
from drystone.service.rows.tracking import disk_row, set_tracking, tracking_of
from drystone.service.transactions import Change, Transactions

REPLACING = "REPLACING"
"""Phase of an operation that can only go forward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialize:
    """DUMPING → UNATTACHED. The image is replaced whole; repeats safely."""

    transactions: Transactions
    operations: Operations
    locks: DiskLocks
    kept: KeptStore
    layout: Layout
    host: Host

    async def run(self, operation: Operation) -> None:
        """Close, record LOST, replace the image, record what it holds."""
        disk_id = operation.on_disk
        _ = self.kept.store  # S202: raises while nobody knows whether this catalog is in force.
        async with self.locks.image(disk_id), self.locks.graph(disk_id):
            await self.host.close(disk_id)
            if not await self.transactions.change(lambda change: _begin(change, operation)):
                return
            disk = await self.host.row(disk_id)
            await make_image(await self.host.volume(disk), self.layout, disk, epoch=disk.epoch + 1)
            await self.operations.begin(lambda change: _finish(change, operation))

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Leave it RUNNING: half replaced it must not be used; the next start tries again."""
        await self.operations.put_off(operation, code, message)


def _begin(change: Change, operation: Operation) -> bool:
    """Record that the content goes; return False if the operation has ended: what would replace it may not be used."""
    now = disk_row(change, operation.on_disk)
    begun = operations.get(change.conn, operation.id)
    assert begun is not None
    if begun.phase != REPLACING and revoked(change.conn, now):
        # S341: it waited for its turn, and nothing is replaced yet.
        message = f"Snapshot {now.source_snapshot_id} is not shared with this account any more."
        session = operation.payload_as(InitializePayload).session
        assert session is not None, "a disk with a source has a session"
        sessions.fence(change.conn, session, at=change.at)
        endings.failed(change, operation, code=Refusal.DISK_UNFIT, message=message)
        values = {"state": DiskState.UNATTACHED, "error_prompt": f"initialize: {message}"}
        disks.compare_and_set(change.conn, now.id, expected={"state": DiskState.DUMPING}, values=values)
        return False
    operations.update(change.conn, operation.id, updated_at=change.at, phase=REPLACING)
    if now.tracking != TrackingState.LOST:
        set_tracking(change, now, algebra.rollback_begun(tracking_of(now)), reason="the disk is being initialized")
    return True


def _finish(change: Change, operation: Operation) -> None:
    now = disk_row(change, operation.on_disk)
    source = now.source_snapshot_id
    # S11: deleted meanwhile, the source is pinned, and no base.
    replaced = tracking_of_content(change.conn, now.account_id, algebra.initialized(tracking_of(now), source))
    apart = replaced.base is None and source is not None
    after = with_living_base(change.conn, replaced)
    set_tracking(
        change, now, after, reason=APART_REASON if apart else MOVE_REASON, state=DiskState.UNATTACHED, error_prompt="",
        hydrating=source is not None, hydration_percent=0 if source is not None else 100,
    )  # fmt: skip
    extent_maps.keep_only(change.conn, now.id, ())
    endings.done(change, operation)
    if source is not None:
        begin_hydration(change, now, operation.payload_as(InitializePayload).session)

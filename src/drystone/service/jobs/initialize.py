"""InitializeDisks: a detached disk returns to zeros, or to the snapshot that it was made from."""

from dataclasses import dataclass

from drystone.catalog import extent_maps
from drystone.domain import tracking as algebra
from drystone.domain.disk import DiskState
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
from drystone.service.rows.tracking import disk_row, set_tracking, tracking_of
from drystone.service.transactions import Change, Transactions


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
            await self.transactions.change(lambda change: _begin(change, operation))
            disk = await self.host.row(disk_id)
            await make_image(self.layout, disk, epoch=disk.epoch + 1)
            await self.operations.begin(lambda change: _finish(change, operation))

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Leave it RUNNING: half replaced it must not be used; the next start tries again."""
        await self.operations.put_off(operation, code, message)


def _begin(change: Change, operation: Operation) -> None:
    now = disk_row(change, operation.on_disk)
    if now.tracking != TrackingState.LOST:
        set_tracking(change, now, algebra.rollback_begun(tracking_of(now)), reason="the disk is being initialized")


def _finish(change: Change, operation: Operation) -> None:
    now = disk_row(change, operation.on_disk)
    source = now.source_snapshot_id
    # S11: deleted meanwhile, the source is pinned, and no base.
    after = with_living_base(change.conn, algebra.initialized(tracking_of(now), source))
    set_tracking(
        change, now, after, reason=MOVE_REASON, state=DiskState.UNATTACHED, error_prompt="",
        hydrating=source is not None, hydration_percent=0 if source is not None else 100,
    )  # fmt: skip
    extent_maps.keep_only(change.conn, now.id, ())
    endings.done(change, operation)
    if source is not None:
        begin_hydration(change, now, operation.payload_as(InitializePayload).session)

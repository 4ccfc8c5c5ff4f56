"""InitializeDisks: a detached disk returns to zeros, or to the snapshot that it was made from."""

from sqlalchemy import Connection

from drystone.catalog import disks, extent_maps, operations
from drystone.domain import tracking as algebra
from drystone.domain.disk import DiskState
from drystone.domain.operation import Operation
from drystone.domain.payloads import InitializePayload
from drystone.domain.tracking import TrackingState
from drystone.service.host.host import Host
from drystone.service.installation import Installation
from drystone.service.jobs.create_disk import hydrate_operation, make_image
from drystone.service.rows import endings
from drystone.service.rows.bases import MOVE_REASON, with_living_base
from drystone.service.rows.tracking import tracking_columns, tracking_of


class Initialize:
    """DUMPING → UNATTACHED. The image is replaced whole; repeats safely."""

    def __init__(self, installation: Installation, host: Host) -> None:
        self._in = installation
        self._host = host

    async def run(self, operation: Operation) -> None:
        """Close, record LOST, replace the image, record what it holds."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id
        async with self._in.locks.image(disk_id), self._in.locks.graph(disk_id):
            await self._host.close(disk_id)

            def begin(conn: Connection) -> None:
                now = disks.get(conn, disk_id)
                assert now is not None
                if now.tracking != TrackingState.LOST:
                    lost = algebra.rollback_begun(tracking_of(now))
                    values = tracking_columns(lost, reason="the disk is being initialized")
                    disks.compare_and_set(conn, disk_id, expected={"epoch": now.epoch}, values=values)

            await self._in.db.write(begin)
            disk = await self._host.row(disk_id)
            await make_image(self._in, disk, epoch=disk.epoch + 1)

            def finish(conn: Connection) -> Operation | None:
                at = self._in.clock()
                now = disks.get(conn, disk_id)
                assert now is not None
                source = now.source_snapshot_id
                # S11: deleted meanwhile, the source is pinned, and no base.
                after = with_living_base(conn, algebra.initialized(tracking_of(now), source))
                values = {
                    **tracking_columns(after, reason=MOVE_REASON), "state": DiskState.UNATTACHED, "error_prompt": "",
                    "hydrating": source is not None, "hydration_percent": 0 if source is not None else 100,
                }  # fmt: skip
                disks.compare_and_set(conn, disk_id, expected={"epoch": now.epoch}, values=values)
                extent_maps.keep_only(conn, disk_id, ())
                endings.done(conn, operation, at=at)
                if source is None:
                    return None
                hydrate = hydrate_operation(self._in, now, operation.payload_as(InitializePayload).session, at=at)
                operations.insert(conn, hydrate)
                return hydrate

            following = await self._in.db.write(finish)
        if following is not None:
            self._in.operations.wake(following.id)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Leave it RUNNING: half replaced it must not be used; the next start tries again."""
        await self._in.db.write(
            lambda conn: operations.update(
                conn, operation.id, updated_at=self._in.clock(), error_code=code, error=message
            )
        )
        self._in.operations.wake_later(operation)

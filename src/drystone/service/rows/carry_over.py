"""The extent maps of a disk's carry-over: one at most, however often it was stopped (S36)."""

from sqlalchemy import Connection

from drystone.catalog import extent_maps, operations
from drystone.catalog.extent_maps import RANGES_MAX, ExtentMap
from drystone.codec.checkpoint import extents_name
from drystone.domain import tracking as algebra
from drystone.domain.blocks import Ranges, count, union
from drystone.domain.ids import DiskId
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.tracking import Tracking
from drystone.snapstore.scrub import coarse

MISSING_REASON = "an extent map of the carry-over is missing"


def carry_checkpoint(conn: Connection, disk_id: DiskId, opened: Tracking, new: str | None, ranges: Ranges) -> Tracking:
    """Store the extents of the checkpoint that an opening has accepted, joined with those of the ones before it.

    Args:
        conn: The transaction of the opening.
        disk_id: The disk.
        opened: What `domain.tracking.opened` made of its row.
        new: Name of the checkpoint's extents in its carry-over; None if there are none.
        ranges: The checkpoint's extents.

    Returns:
        The row to store: LOST (`MISSING_REASON`) if what is carried is not there any more. Extent maps that neither it
        nor an operation in flight names are removed.
    """
    before = [name for name in sorted(opened.carry) if algebra.is_extents_id(name) and name != new]
    held = extent_maps.union_of(conn, before)
    if held is None:
        opened = algebra.lost(opened, opened.bitmap)
    elif new is not None:
        parts = algebra.carry_to_merge(opened.carry)
        if parts:
            ranges = coarse(union(held, ranges), RANGES_MAX)
            name = extents_name(disk_id, opened.epoch, ranges)
            assert name is not None, "extent maps are not empty"
            opened, new = algebra.carry_merged(opened, parts, name), name
        extent_maps.delete(conn, new)
        extent_maps.insert(conn, ExtentMap(id=new, disk_id=disk_id, ranges=ranges, blocks=count(ranges)))
    _drop_others(conn, disk_id, opened.carry)
    return opened


def _drop_others(conn: Connection, disk_id: DiskId, carry: frozenset[str]) -> None:
    """Remove extent maps that neither the row nor an operation in flight names."""
    keep = set(carry)
    for operation in operations.running_on_disk(conn, disk_id):
        if isinstance(operation.payload, SnapshotPayload):
            keep.update(operation.payload.freeze.carry)
    extent_maps.keep_only(conn, disk_id, {name for name in keep if algebra.is_extents_id(name)})

"""What the rows say of damage: which objects, which blocks of which snapshots (F12)."""

from collections.abc import Iterable

import numpy as np
import structlog
from sqlalchemy import Connection

from drystone.catalog import damages, snapshots
from drystone.catalog.damages import Damage, damage_id
from drystone.domain.blocks import BLOCK_BYTES, Ranges, normalize
from drystone.domain.disk_types import GIB
from drystone.domain.ids import SnapshotId
from drystone.domain.snapshot import Snapshot
from drystone.transfer.store_jobs import Fault

log = structlog.get_logger()
_TOLD_RANGES_MAX = 10


def record(conn: Connection, row: Snapshot, fault: Fault, kind: str, at: float) -> Damage:
    """Record that a snapshot is damaged: by a fault of a pack in some blocks, by another fault in all."""
    everything: Ranges = normalize([(0, row.size_gib * GIB // BLOCK_BYTES)])
    ranges = everything if fault.ranges is None else np.array(fault.ranges, dtype=np.int64).reshape(-1, 2)
    found = Damage(
        id=damage_id(row.id, fault.object), object=fault.object, kind=kind, snapshot_id=row.id, ranges=ranges,
        reason=fault.reason, found_at=at,
    )  # fmt: skip
    damages.replace(conn, found)
    snapshots.compare_and_set(conn, row.id, expected={}, values={"damaged": True})
    return found


def forget(conn: Connection, name: str) -> None:
    """Remove what was recorded of an object; snapshots of which nothing else is damaged are whole again."""
    touched = {row.snapshot_id for row in damages.of_object(conn, name)}
    damages.forget_object(conn, name)
    for snapshot_id in touched:
        settle(conn, snapshot_id)


def settle(conn: Connection, snapshot_id: SnapshotId) -> None:
    """Let a snapshot be whole again if nothing of it is damaged any more."""
    if not damages.of_snapshot(conn, snapshot_id):
        snapshots.compare_and_set(conn, snapshot_id, expected={"damaged": True}, values={"damaged": False})


def tell(found: Iterable[Damage]) -> None:
    """Log damage that was recorded."""
    for row in found:
        log.error(
            "scrub.damage", snapshot_id=row.snapshot_id, object=row.object, kind=row.kind, reason=row.reason,
            ranges=row.ranges[:_TOLD_RANGES_MAX].tolist(),
        )  # fmt: skip

"""What opening snapshots has shown: the newest proof of each, as long as the snapshot is there."""

from sqlalchemy import Connection, func, select

from drystone.catalog.rows import Rows
from drystone.catalog.schema import VISIBLE_SNAPSHOT, opening, operation, snapshot
from drystone.catalog.snapshots import of_select as snapshots_of
from drystone.domain.clock import TOLERANCE_S
from drystone.domain.ids import AccountId, DiskId
from drystone.domain.opening import Finding, Opening
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.snapshot import Snapshot, SnapshotState

_rows = Rows(opening, Opening)

get_many = _rows.get_many
delete = _rows.delete


def put(conn: Connection, value: Opening) -> bool:
    """Set the proof of a snapshot in the place of an older one; return whether the snapshot is still there."""
    there = select(snapshot.c.id).where(VISIBLE_SNAPSHOT, snapshot.c.id == value.snapshot_id)
    if conn.execute(there).first() is None:
        return False
    _rows.delete(conn, value.snapshot_id)
    _rows.insert(conn, value)
    return True


def newest(conn: Connection, account_id: AccountId) -> dict[DiskId, Opening]:
    """Return of each disk of an account the newest proof of any of its snapshots."""
    mine = opening.join(snapshot, snapshot.c.id == opening.c.snapshot_id)
    query = select(snapshot.c.disk_id, *opening.c).select_from(mine).where(opening.c.account_id == account_id)
    rows = conn.execute(query.order_by(opening.c.ended_at, opening.c.snapshot_id))
    return {row[0]: Opening(**dict(zip(opening.c.keys(), row[1:], strict=True))) for row in rows}


def count(conn: Connection) -> dict[Finding, int]:
    """Return how many snapshots have a proof of each kind."""
    found = conn.execute(select(opening.c.finding, func.count()).group_by(opening.c.finding))
    return {finding: number for finding, number in found}  # noqa: C416 - rows are not pairs to the type checker


def due(conn: Connection, disk_id: DiskId, now: float, every_s: float) -> Snapshot | None:
    """Return the newest NORMAL snapshot of a disk if none of the disk's was opened in the last seconds, or is being.

    What is dated ahead was not lately (`domain.clock.recent`).
    """
    mine = select(snapshot.c.id).where(snapshot.c.disk_id == disk_id)
    lately = select(opening.c.snapshot_id).where(
        opening.c.snapshot_id.in_(mine), opening.c.ended_at > now - every_s, opening.c.ended_at <= now + TOLERANCE_S
    )
    running = select(operation.c.id).where(
        operation.c.kind == OperationKind.PROVE, operation.c.state == OperationState.RUNNING,
        operation.c.snapshot_id.in_(mine),
    )  # fmt: skip
    if conn.execute(lately.limit(1)).first() is not None or conn.execute(running.limit(1)).first() is not None:
        return None
    newest = select(snapshot).where(snapshot.c.disk_id == disk_id, snapshot.c.state == SnapshotState.NORMAL)
    found = snapshots_of(conn, newest.order_by(snapshot.c.created_at.desc(), snapshot.c.id.desc()).limit(1))
    return found[0] if found else None

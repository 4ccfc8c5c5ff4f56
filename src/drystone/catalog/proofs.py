"""What opening snapshots has shown: the newest proof of each, as long as the snapshot is there."""

from sqlalchemy import Connection, func, select

from drystone.catalog.rows import Rows
from drystone.catalog.schema import VISIBLE_SNAPSHOT, operation, proof, snapshot
from drystone.catalog.snapshots import of_select as snapshots_of
from drystone.domain.clock import TOLERANCE_S
from drystone.domain.ids import AccountId, DiskId
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.proof import Finding, Proof
from drystone.domain.snapshot import Snapshot, SnapshotState

_rows = Rows(proof, Proof)

get_many = _rows.get_many
delete = _rows.delete


def put(conn: Connection, value: Proof) -> bool:
    """Set the proof of a snapshot in the place of an older one; return whether the snapshot is still there."""
    there = select(snapshot.c.id).where(VISIBLE_SNAPSHOT, snapshot.c.id == value.snapshot_id)
    if conn.execute(there).first() is None:
        return False
    _rows.delete(conn, value.snapshot_id)
    _rows.insert(conn, value)
    return True


def newest(conn: Connection, account_id: AccountId) -> dict[DiskId, Proof]:
    """Return of each disk of an account the newest proof of any of its snapshots."""
    mine = proof.join(snapshot, snapshot.c.id == proof.c.snapshot_id)
    query = select(snapshot.c.disk_id, *proof.c).select_from(mine).where(proof.c.account_id == account_id)
    rows = conn.execute(query.order_by(proof.c.ended_at, proof.c.snapshot_id))
    return {row[0]: Proof(**dict(zip(proof.c.keys(), row[1:], strict=True))) for row in rows}


def count(conn: Connection) -> dict[Finding, int]:
    """Return how many snapshots have a proof of each kind."""
    found = conn.execute(select(proof.c.finding, func.count()).group_by(proof.c.finding))
    return {finding: number for finding, number in found}  # noqa: C416 - rows are not pairs to the type checker


def due(conn: Connection, disk_id: DiskId, now: float, every_s: float) -> Snapshot | None:
    """Return the newest NORMAL snapshot of a disk if none of the disk's was opened in the last seconds, or is being.

    What is dated ahead was not lately (`domain.clock.recent`).
    """
    mine = select(snapshot.c.id).where(snapshot.c.disk_id == disk_id)
    lately = select(proof.c.snapshot_id).where(
        proof.c.snapshot_id.in_(mine), proof.c.ended_at > now - every_s, proof.c.ended_at <= now + TOLERANCE_S
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

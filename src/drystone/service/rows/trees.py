"""The tree of snapshots that one is in, as rows say it (`domain.lineage`)."""

from sqlalchemy import Connection

from drystone.catalog import disks, operations, sessions, snapshots
from drystone.domain import lineage
from drystone.domain.ids import SnapshotId
from drystone.domain.lineage import Node, NodeState, Tree
from drystone.domain.operation import OperationKind
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.snapshot import Snapshot, SnapshotState


def tree_of(conn: Connection, snapshot_id: SnapshotId) -> Tree:
    """Return the whole tree that a snapshot is in."""
    return lineage.build(_nodes(conn, snapshots.family(conn, snapshot_id)))


def _nodes(conn: Connection, rows: list[Snapshot]) -> list[Node]:
    pinned = sessions.pinned(conn)
    return [
        Node(
            id=row.id,
            parent=row.parent_id,
            state=NodeState(row.state.value),
            pinned=row.id in pinned,
            delta_map=row.delta_map,
        )
        for row in rows
    ]


def prune_ghosts(conn: Connection, snapshot_id: SnapshotId) -> None:
    """Remove the ghosts of a tree that nothing needs; the others keep their own map only."""
    family = snapshots.family(conn, snapshot_id)
    pruned = lineage.prunable(lineage.build(_nodes(conn, family)), _referenced(conn))
    for row in family:
        if row.id in pruned:
            snapshots.delete(conn, row.id)
        elif row.state is SnapshotState.GHOST and row.maps:
            snapshots.compare_and_set(conn, row.id, expected={}, values={"maps": ()})


def _referenced(conn: Connection) -> set[SnapshotId]:
    """Return the snapshots that rows and operations refer to although nobody descends from them."""
    found = {disk.base_snapshot_id for disk in disks.everything(conn)}
    for operation in operations.unfinished(conn):
        if isinstance(operation.payload, SnapshotPayload):
            found.add(operation.payload.freeze.base)
        if operation.kind is not OperationKind.DELETE_SNAPSHOT:
            found.add(operation.snapshot_id)
    return {snapshot_id for snapshot_id in found if snapshot_id is not None}

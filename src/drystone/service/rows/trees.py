"""The tree of snapshots that one is in, as rows say it (`domain.lineage`)."""

from collections.abc import Collection

from sqlalchemy import Connection

from drystone.catalog import disks, operations, packs, sessions, snapshots
from drystone.domain import lineage
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.lineage import Node, NodeState, Tree
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.settling import Phase
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


def prune_ghosts(conn: Connection, snapshot_id: SnapshotId) -> frozenset[str]:
    """Remove the ghosts of a tree that nothing needs; the others keep their own map only.

    A ghost of which there are packs stays: it says in which tree those are to be judged. One whose map is carried stays
    too: it says that there is such a map (S205).

    Returns:
        The maps that these rows named until now; others may name them still.
    """
    family = snapshots.family(conn, snapshot_id)
    pruned = lineage.prunable(lineage.build(_nodes(conn, family)), _needed(conn, family))
    let_go: set[str] = set()
    for row in family:
        if row.state is not SnapshotState.GHOST:
            continue
        let_go.update(row.maps)
        if row.id in pruned:
            let_go.update([] if row.delta_map is None else [row.delta_map])
            snapshots.delete(conn, row.id)
        elif row.maps:
            snapshots.compare_and_set(conn, row.id, expected={}, values={"maps": (), "versions": {}})
    return frozenset(let_go)


def spent_ghosts(conn: Connection) -> list[SnapshotId]:
    """Return the ghosts that nothing needs and no row descends from, of all trees: what needed them went after them."""
    leaves = snapshots.leaf_ghosts(conn)
    needed = _needed(conn, leaves) if leaves else set()
    return [row.id for row in leaves if row.id not in needed]


def around(conn: Connection, writers: Collection[SessionId]) -> list[Snapshot] | None:
    """Return the snapshots of the trees in which these sessions wrote (L3), ghosts included.

    Only they can show a block of those sessions. None if that cannot be told: no row says which snapshot a session
    wrote, or a parent is unknown, as after a recovery.
    """
    found: dict[SnapshotId, Snapshot] = {}
    for writer in sorted(set(writers)):
        written = snapshots.of_session(conn, writer)
        if written is None:
            return None
        if written.id not in found:
            found |= {row.id: row for row in snapshots.family(conn, written.id)}
    if any(row.parent_id is not None and row.parent_id not in found for row in found.values()):
        return None
    return list(found.values())


def carried(conn: Connection) -> set[str]:
    """Return the maps that a disk carries, or an operation that may yet commit a snapshot or fail."""
    return _carried(conn, operations.unfinished(conn))


def _carried(conn: Connection, unfinished: Collection[Operation]) -> set[str]:
    found = set[str]().union(*disks.carried(conn).values())
    for operation in unfinished:
        # What is committed reads no carry-over again; the disk has let go of it in that transaction.
        if isinstance(operation.payload, SnapshotPayload) and operation.phase != Phase.COMMITTED:
            found.update(operation.payload.freeze.carry)
    return found


def _needed(conn: Connection, rows: Collection[Snapshot]) -> set[SnapshotId]:
    """Return those of `rows`, and others, that something needs although no row may descend from them."""
    unfinished = operations.unfinished(conn)
    maps = _carried(conn, unfinished)
    found = {disk.base_snapshot_id for disk in disks.everything(conn)}
    for operation in unfinished:
        if isinstance(operation.payload, SnapshotPayload):
            found.add(operation.payload.freeze.base)
        if operation.kind is not OperationKind.DELETE_SNAPSHOT:
            found.add(operation.snapshot_id)
    for row in rows:
        if row.delta_map in maps or (row.session_id is not None and packs.any_of(conn, row.session_id)):
            found.add(row.id)
    return {snapshot_id for snapshot_id in found if snapshot_id is not None}

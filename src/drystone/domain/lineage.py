"""The tree of snapshots, and what lives and dies in it (the algebra of life and death, L1-L8).

A node is a snapshot, its parent the base at the freeze. Deleted snapshots stay as ghosts while something
needs them: a tree that forgets a node frees blocks that a cousin still reads (F1, P4). Every function is pure and errs
towards life: what is not known is alive.

The facts that all proofs here rest on (L3): a snapshot shows, at each address of its delta map, a block that
its own session wrote (or zeros), and at every other address exactly the reference that its parent shows. So
along an edge of the tree references differ only inside the child's delta map, and the nodes that show a given
block are a connected part of the tree, ghosts included.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from drystone.domain.errors import IntegrityError
from drystone.domain.ids import SnapshotId


class NodeState(StrEnum):
    """The life of a node."""

    CREATING = "CREATING"
    """Its session has not committed; it shows nothing and is nobody's parent."""
    NORMAL = "NORMAL"
    DELETING = "DELETING"
    """Invisible to clients and closed to new sessions; its manifest is there until its pins are gone (L5)."""
    GHOST = "GHOST"
    """Id, parent and delta map only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A snapshot in the tree."""

    id: SnapshotId
    parent: SnapshotId | None
    """Base at its freeze; None is the disk of zeros."""
    state: NodeState
    pinned: bool = False
    """An OPEN session, or a disk that hydrates, names it as what it reads."""
    delta_map: str | None = None
    """Object name of its delta map; None if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A consistent set of nodes; made by `build`."""

    nodes: Mapping[SnapshotId, Node]
    children: Mapping[SnapshotId, tuple[SnapshotId, ...]]
    """Ids by parent; leaves are absent."""
    whole: bool
    """Every parent that is named is a node. After a recovery it may not be: then neighbours are everybody."""


def build(rows: Iterable[Node]) -> Tree:
    """Return the tree of these rows: of one account or of all, but never a part of a tree.

    Raises:
        IntegrityError: An id occurs twice, or the parents form a circle; nothing can be decided.
    """
    nodes: dict[SnapshotId, Node] = {}
    children: dict[SnapshotId, list[SnapshotId]] = {}
    for node in rows:
        if node.id in nodes:
            raise IntegrityError(f"snapshot {node.id} is in the tree twice")
        nodes[node.id] = node
        if node.parent is not None:
            children.setdefault(node.parent, []).append(node.id)
    below = [node.id for node in nodes.values() if node.parent is None or node.parent not in nodes]
    reached = 0
    while below:
        reached += 1
        below.extend(children.get(below.pop(), ()))
    if reached != len(nodes):
        raise IntegrityError(f"the parents of {len(nodes) - reached} snapshots form a circle")
    whole = all(node.parent is None or node.parent in nodes for node in nodes.values())
    frozen_children = {parent: tuple(ids) for parent, ids in children.items()}
    return Tree(nodes=nodes, children=frozen_children, whole=whole)


# --- liveness (L4) ------------------------------------------------------------------------------------------


def living(node: Node) -> bool:
    """Tell whether what the snapshot shows must stay readable (L4): NORMAL, or DELETING.

    A DELETING snapshot without pins counts until it is a ghost: its manifest is still listed (L5), and its
    share is counted dead when it becomes one, not twice. `may_become_ghost` says when that is.
    """
    return node.state is NodeState.NORMAL or node.state is NodeState.DELETING


def may_become_ghost(node: Node) -> bool:
    """Tell whether a deletion may go on to remove the manifest object and make the node a ghost (L5, S12)."""
    return node.state is NodeState.DELETING and not node.pinned


def near(tree: Tree, snapshot: SnapshotId, gone: AbstractSet[SnapshotId] = frozenset()) -> frozenset[SnapshotId]:
    """Return the living nodes reached from `snapshot` through ghosts only (L4).

    A block that `snapshot` shows and that any other living node shows is shown by one of these: the nodes
    that show it are connected, so the way to that other node is made of such nodes, and the first living one
    on it is near.

    Args:
        tree: The whole tree. If a parent in it is unknown, all living nodes are returned: the missing node
            may have been a child of any.
        snapshot: A node, in any state.
        gone: Nodes to take for ghosts already, as when several are deleted one after the other.
    """
    if not tree.whole:
        return frozenset(
            node.id for node in tree.nodes.values() if living(node) and node.id not in gone and node.id != snapshot
        )
    found: set[SnapshotId] = set()
    seen = {snapshot}
    ways = [snapshot]
    while ways:
        at = ways.pop()
        parent = tree.nodes[at].parent
        for to in (*tree.children.get(at, ()), *(() if parent is None else (parent,))):
            if to in seen:
                continue
            seen.add(to)
            if living(tree.nodes[to]) and to not in gone:
                found.add(to)
            else:
                ways.append(to)
    return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One step of deleting a set of snapshots."""

    snapshot: SnapshotId
    """Becomes a ghost in this step."""
    near: frozenset[SnapshotId]
    """Its neighbours at this step."""
    candidates: frozenset[str] | None
    """Delta maps whose addresses contain every address at which a block dies; None: any may."""


def deaths(tree: Tree, snapshots: Iterable[SnapshotId]) -> Iterator[Death]:
    """Yield what deleting `snapshots` one after the other frees; the sum over the steps is exact (L4).

    Later ones count as living in the steps before theirs, whether they are NORMAL (an estimate) or DELETING.
    """
    gone: set[SnapshotId] = set()
    for snapshot in snapshots:
        assert living(tree.nodes[snapshot])
        assert snapshot not in gone
        around = near(tree, snapshot, gone)
        yield Death(snapshot=snapshot, near=around, candidates=candidate_maps(tree, snapshot, around))
        gone.add(snapshot)


def candidate_maps(tree: Tree, snapshot: SnapshotId, around: Collection[SnapshotId]) -> frozenset[str] | None:
    """Return few delta maps that bound where a block can die with `snapshot`; None: no bound.

    Proof, for any near node n: outside of the delta maps on the tree path between the two, each edge of the
    path keeps the reference, so both show the same block there, and what n shows does not die. One n is
    enough, whichever: the other near nodes can only take more away. Without a near node everything that it
    shows dies.
    """
    bounds = [path_delta_maps(tree, snapshot, neighbour) for neighbour in sorted(around)]
    return min((bound for bound in bounds if bound is not None), key=len, default=None)


# --- paths (A5, A8) -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseMove:
    """Where the rows whose base is deleted move to (A5)."""

    base: SnapshotId | None
    """The nearest NORMAL ancestor; None is the disk of zeros."""
    delta_maps: frozenset[str] | None
    """The delta maps of the deleted snapshot and of all between, ghosts included, to add to the carry-over; None if one
    is unknown, which makes tracking LOST.
    """


def base_after(tree: Tree, deleted: SnapshotId) -> BaseMove:
    """Return where a row with base `deleted` moves, given the tree before or after it is marked (A5).

    The new base is NORMAL and not merely living: the next snapshot's session can only open on a NORMAL one
    (L6). If an
    ancestor is unknown, what lies above it is too: the base is None, and so are the maps.
    """
    maps: set[str | None] = set()
    at: SnapshotId | None = deleted
    while at is not None:
        node = tree.nodes.get(at)
        if node is None:
            return BaseMove(base=None, delta_maps=None)
        if node.state is NodeState.NORMAL and at != deleted:
            break
        maps.add(node.delta_map)
        at = node.parent
    return BaseMove(base=at, delta_maps=_known(maps))


def path_delta_maps(tree: Tree, base: SnapshotId | None, target: SnapshotId | None) -> frozenset[str] | None:
    """Return the delta maps on the tree path between two snapshots, ghosts included (A8, L4).

    Their addresses contain every address at which the two differ: each edge of the path adds its child's
    delta map. None stands for the disk of zeros, above all roots.

    Returns:
        The maps; None if one of them or an ancestor is unknown: then the two may differ anywhere.
    """
    ways = (_way_up(tree, base), _way_up(tree, target))
    if ways[0] is None or ways[1] is None:
        return None
    edges = set(ways[0]) ^ set(ways[1])
    return _known({tree.nodes[child].delta_map for child in edges})


def _way_up(tree: Tree, snapshot: SnapshotId | None) -> list[SnapshotId] | None:
    """Return `snapshot` and all its ancestors: the children of the edges on its way to zeros."""
    way: list[SnapshotId] = []
    while snapshot is not None:
        if snapshot not in tree.nodes:
            return None
        way.append(snapshot)
        snapshot = tree.nodes[snapshot].parent
    return way


def _known(maps: AbstractSet[str | None]) -> frozenset[str] | None:
    return None if None in maps else frozenset(name for name in maps if name is not None)


# --- ghosts (L2) --------------------------------------------------------------------------------------------


def prunable(tree: Tree, referenced: AbstractSet[SnapshotId] = frozenset()) -> frozenset[SnapshotId]:
    """Return the ghosts that nothing needs: leaves, and those that become leaves when these are gone (L2).

    A ghost with a descendant of any other state (CREATING too) stays. Its delta map object may outlive it: it
    dies when no row, operation or manifest names it (L1).

    Args:
        tree: The tree.
        referenced: Nodes that must stay although nobody descends from them: bases of rows, bases and targets
            that operations have recorded.
    """
    left = {parent: len(ids) for parent, ids in tree.children.items()}
    ways = [node.id for node in tree.nodes.values() if node.id not in left]
    pruned: set[SnapshotId] = set()
    while ways:
        node = tree.nodes[ways.pop()]
        if node.state is not NodeState.GHOST or node.id in referenced:
            continue
        pruned.add(node.id)
        if node.parent is not None and node.parent in tree.nodes:
            left[node.parent] -= 1
            if left[node.parent] == 0:
                ways.append(node.parent)
    return frozenset(pruned)


# --- sessions (L6) ------------------------------------------------------------------------------------------


class SessionState(StrEnum):
    """The life of a writer's or reader's session."""

    OPEN = "OPEN"
    COMMITTED = "COMMITTED"
    """Ended by itself: what it wrote is in force, what it read is no longer pinned."""
    FENCED = "FENCED"
    """Ended by somebody: it may still put objects, which are garbage by name; it can never commit."""
    ADOPTED = "ADOPTED"
    """Of another catalog, taken over by a recovery: never running here."""

"""The tree of snapshots against brute force on random trees."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.domain import lineage
from drystone.domain.errors import IntegrityError
from drystone.domain.ids import SnapshotId
from drystone.domain.lineage import Node, NodeState, Tree

BLOCKS = 8
Shown = tuple[int, ...]
EXACT = settings(deadline=None, derandomize=True, max_examples=80)


def sid(number: int) -> SnapshotId:
    return SnapshotId(f"snap-{number}")


@st.composite
def forests(draw: st.DrawFn) -> tuple[Tree, dict[SnapshotId, Shown], dict[str, set[int]]]:
    """A tree, what each node shows (session number and address, 0 is zeros), the addresses of each delta map."""
    nodes: list[Node] = []
    shown: dict[SnapshotId, Shown] = {}
    deltas: dict[str, set[int]] = {}
    for number in range(draw(st.integers(1, 9))):
        parent = draw(st.one_of(st.none(), st.integers(0, number - 1))) if number else None
        state = draw(st.sampled_from((NodeState.NORMAL, NodeState.NORMAL, NodeState.DELETING, NodeState.GHOST)))
        delta = draw(st.sets(st.integers(0, BLOCKS - 1), max_size=4))
        zeros = draw(st.sets(st.integers(0, BLOCKS - 1), max_size=2))
        before = (0,) * BLOCKS if parent is None else shown[sid(parent)]
        shown[sid(number)] = tuple(
            (0 if a in zeros else 100 * (number + 1) + a) if a in delta else before[a] for a in range(BLOCKS)
        )
        deltas[f"m{number}"] = delta
        nodes.append(
            Node(
                id=sid(number),
                parent=None if parent is None else sid(parent),
                state=state,
                delta_map=f"m{number}",
            )
        )
    order = draw(st.permutations(nodes))
    return lineage.build(order), shown, deltas


def visible(shown: Shown) -> frozenset[int]:
    return frozenset(ref for ref in shown if ref)


@EXACT
@given(forests())
def test_deaths_are_exact_in_any_order(forest: tuple[Tree, dict[SnapshotId, Shown], dict[str, set[int]]]) -> None:
    """L3, L4."""
    tree, shown, deltas = forest
    living = [node.id for node in tree.nodes.values() if lineage.living(node)]
    left = set(living)
    for death in lineage.deaths(tree, living):
        left.discard(death.snapshot)
        expected = visible(shown[death.snapshot]) - {ref for other in left for ref in shown[other]}
        assert visible(shown[death.snapshot]).difference(*(visible(shown[n]) for n in death.near)) == expected
        assert death.near <= left
        if death.candidates is not None:
            addresses = {a for a, ref in enumerate(shown[death.snapshot]) if ref in expected}
            assert addresses <= set().union(*(deltas[name] for name in death.candidates))
        else:
            assert not death.near
    assert not left


@EXACT
@given(forests())
def test_paths_bound_differences(forest: tuple[Tree, dict[SnapshotId, Shown], dict[str, set[int]]]) -> None:
    tree, shown, deltas = forest
    ends: list[SnapshotId | None] = [None, *tree.nodes]
    for base, target in itertools.product(ends, ends):
        maps = lineage.path_delta_maps(tree, base, target)
        assert maps is not None
        one, other = (shown[end] if end else (0,) * BLOCKS for end in (base, target))
        differs = {a for a in range(BLOCKS) if one[a] != other[a]}
        assert differs <= set().union(*(deltas[name] for name in maps))
        assert bool(maps) == (base != target)


@EXACT
@given(forests())
def test_bases_move_to_the_nearest_normal_ancestor(
    forest: tuple[Tree, dict[SnapshotId, Shown], dict[str, set[int]]],
) -> None:
    tree = forest[0]
    for snapshot in tree.nodes:
        move = lineage.base_after(tree, snapshot)
        assert move.base != snapshot
        assert move.base is None or tree.nodes[move.base].state is NodeState.NORMAL
        assert move.delta_maps == lineage.path_delta_maps(tree, move.base, snapshot)
        at = tree.nodes[snapshot].parent
        while at != move.base:
            assert at is not None
            assert tree.nodes[at].state is not NodeState.NORMAL
            at = tree.nodes[at].parent


@EXACT
@given(forests(), st.sets(st.integers(0, 8)))
def test_pruning_leaves_no_needless_ghost(
    forest: tuple[Tree, dict[SnapshotId, Shown], dict[str, set[int]]], some: set[int]
) -> None:
    """L2."""
    tree = forest[0]
    referenced = {sid(number) for number in some}
    pruned = lineage.prunable(tree, referenced)
    rest = lineage.build(node for node in tree.nodes.values() if node.id not in pruned)
    assert rest.whole
    assert not pruned & referenced
    assert all(tree.nodes[s].state is NodeState.GHOST for s in pruned)
    assert not lineage.prunable(rest, referenced)
    for node in rest.nodes.values():
        assert lineage.near(rest, node.id) == lineage.near(tree, node.id)
    leaves = [node for node in rest.nodes.values() if node.id not in rest.children]
    assert all(leaf.state is not NodeState.GHOST or leaf.id in referenced for leaf in leaves)


def node(number: int, parent: int | None, state: NodeState = NodeState.NORMAL, delta: str | None = "m") -> Node:
    above = None if parent is None else sid(parent)
    return Node(id=sid(number), parent=above, state=state, delta_map=f"{delta}{number}" if delta else None)


def test_the_case_that_frees_a_living_block_without_ghosts() -> None:
    """P, S0 of P, K1 and K2 of S0; S0 is deleted, then K1: K2 is its neighbour (F1)."""
    tree = lineage.build([node(0, None), node(1, 0, NodeState.GHOST), node(2, 1), node(3, 1)])
    assert lineage.near(tree, sid(2)) == {sid(0), sid(3)}
    assert lineage.near(tree, sid(1)) == {sid(0), sid(2), sid(3)}
    assert lineage.path_delta_maps(tree, sid(2), sid(3)) == frozenset({"m2", "m3"})
    assert lineage.candidate_maps(tree, sid(2), {sid(0), sid(3)}) == frozenset({"m1", "m2"})


def test_a_snapshot_under_way_keeps_the_ghosts_above_it() -> None:
    tree = lineage.build([node(0, None, NodeState.GHOST), node(1, 0, NodeState.CREATING), node(2, None)])
    assert lineage.prunable(tree) == frozenset()
    assert lineage.near(tree, sid(0)) == frozenset()


def test_an_unknown_parent_makes_everybody_a_neighbour() -> None:
    tree = lineage.build([node(0, None), node(1, 0), node(2, 9), node(3, 9, NodeState.DELETING), node(4, 2)])
    assert not tree.whole
    assert lineage.near(tree, sid(1)) == {sid(0), sid(2), sid(3), sid(4)}
    assert lineage.near(tree, sid(1), {sid(2)}) == {sid(0), sid(3), sid(4)}
    assert lineage.base_after(tree, sid(4)) == lineage.BaseMove(base=sid(2), delta_maps=frozenset({"m4"}))
    assert lineage.base_after(tree, sid(2)) == lineage.BaseMove(base=None, delta_maps=None)
    assert lineage.path_delta_maps(tree, sid(4), sid(0)) is None
    assert lineage.path_delta_maps(tree, sid(77), sid(0)) is None


def test_an_unknown_delta_map_bounds_nothing() -> None:
    tree = lineage.build([node(0, None), node(1, 0, NodeState.GHOST, delta=None), node(2, 1)])
    assert lineage.path_delta_maps(tree, sid(0), sid(2)) is None
    assert lineage.base_after(tree, sid(2)) == lineage.BaseMove(base=sid(0), delta_maps=None)
    assert lineage.candidate_maps(tree, sid(2), {sid(0)}) is None


def test_a_broken_tree_is_refused() -> None:
    with pytest.raises(IntegrityError, match="twice"):
        lineage.build([node(0, None), node(0, None)])
    with pytest.raises(IntegrityError, match="circle"):
        lineage.build([node(0, 1), node(1, 0), node(2, None)])


def test_who_lives_and_who_may_go() -> None:
    """L5, S12."""
    for state, pinned in itertools.product(NodeState, (False, True)):
        one = Node(id=sid(1), parent=None, state=state, pinned=pinned)
        assert lineage.living(one) == (state in {NodeState.NORMAL, NodeState.DELETING})
        assert lineage.may_become_ghost(one) == (state is NodeState.DELETING and not pinned)

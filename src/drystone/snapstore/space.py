"""Who holds which stored bytes, exactly (L13): one pass over the delta maps of a whole tree of snapshots.

A node of the tree shows what its own delta map says, and elsewhere what its parent shows (L3). So each entry of a delta
map is seen by exactly its node's descendants, less those below another entry for the same address: numbers of subtrees
tell how many living snapshots see it, without opening any of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from drystone.codec.map import ZERO_FRAME, PackRef
from drystone.domain.errors import IntegrityError
from drystone.domain.ids import SnapshotId
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.layers import Entries, MapLayer, PageCache
from drystone.snapstore.packs import PackSource, shares
from drystone.snapstore.store import Store

_PAGES_BYTES = 64 << 20
_WINDOW_ENTRIES = 1 << 18
_VERSIONS_MAX = 1 << 22
"""Pieces of entries that are weighed together, some 100 bytes each."""

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node: a snapshot that lives, or a ghost between such; `chosen` ones are thought deleted."""

    id: SnapshotId
    parent: SnapshotId | None
    delta_map: str
    living: bool
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSpace:
    """Stored bytes by their holders; a block's are an even share of its frame's.

    Attributes:
        unique: By living snapshot: what no other living one sees.
        shared: By living snapshot: what others see, too.
        dead_blocks: By pack: what is seen, and only by chosen snapshots.
        dead_bytes: Its stored bytes.
    """

    unique: Mapping[SnapshotId, float]
    shared: Mapping[SnapshotId, float]
    dead_blocks: Mapping[PackRef, int]
    dead_bytes: Mapping[PackRef, float]


class _Order:
    """The nodes in preorder: a subtree is a range of positions."""

    def __init__(self, members: Sequence[Member]) -> None:
        by_id = {member.id: member for member in members}
        children: dict[SnapshotId | None, list[Member]] = {}
        for member in members:
            if member.parent is not None and member.parent not in by_id:
                raise IntegrityError(f"snapshot {member.parent}, which {member.id} stands on, is not known")
            children.setdefault(member.parent, []).append(member)
        self.members: list[Member] = []
        ends: dict[SnapshotId, int] = {}
        ways: list[tuple[Member, bool]] = [(root, False) for root in reversed(children.get(None, []))]
        while ways:
            member, done = ways.pop()
            if done:
                ends[member.id] = len(self.members)
                continue
            self.members.append(member)
            ways.append((member, True))
            ways.extend((child, False) for child in reversed(children.get(member.id, [])))
        if len(self.members) != len(members):
            raise IntegrityError("the parents of some snapshots form a circle, or one is there twice")
        self.ends: _Ints = np.array([ends[member.id] for member in self.members], dtype=np.int64)
        living = np.array([member.living for member in self.members], dtype=np.int64)
        chosen = np.array([member.living and member.chosen for member in self.members], dtype=np.int64)
        self.living = self._below(living)
        self.chosen = self._below(chosen)
        self.positions = self._below(living * np.arange(len(living)))

    def _below(self, column: _Ints) -> _Ints:
        """Return, for each node, the sum over its subtree."""
        sums = np.concatenate(([0], np.cumsum(column)))
        below: _Ints = sums[self.ends] - sums[np.arange(len(column))]
        return below


@dataclass(slots=True, kw_only=True)
class _Sums:
    """What has been added up so far."""

    shown: _Floats
    unique: _Floats
    blocks: dict[PackRef, int]
    bytes: dict[PackRef, float]


def tree_space(store: Store, members: Sequence[Member]) -> TreeSpace:
    """Return who holds what of whole trees.

    Time follows the entries of all delta maps, and the packs that they name (each one's index is read); memory follows
    a window of them, not the disk.

    Args:
        store: Where they are.
        members: Every node of each tree that is looked at, ghosts included.

    Raises:
        IntegrityError: The tree is not whole, or a map or pack cannot be trusted.
        NotFoundError, UnavailableError: Something is not there.
    """
    order = _Order(members)
    pages: PageCache = ByteCache(_PAGES_BYTES)
    layers = [MapLayer(store, member.delta_map, pages) for member in order.members]
    weights = _Weights(store)
    count = len(layers)
    sums = _Sums(shown=np.zeros(count + 1), unique=np.zeros(count), blocks={}, bytes={})
    for low, high in _windows(layers):
        _weigh(order, layers, weights, sums, low, high)
    shown = np.cumsum(sums.shown)
    living = [(at, member.id) for at, member in enumerate(order.members) if member.living]
    return TreeSpace(
        unique={name: float(sums.unique[at]) for at, name in living},
        shared={name: max(0.0, float(shown[at] - sums.unique[at])) for at, name in living},
        dead_blocks=sums.blocks,
        dead_bytes=sums.bytes,
    )


def _windows(layers: Sequence[MapLayer]) -> Iterator[tuple[int, int]]:
    """Yield ranges of addresses, of about as many entries each."""
    starts = np.concatenate([layer.directory.starts for layer in layers])
    if len(starts) == 0:
        return
    entries = np.concatenate([layer.directory.entries for layer in layers])
    stop = max(int(layer.directory.stops[-1]) for layer in layers if len(layer.directory.stops))
    order = np.argsort(starts, kind="stable")
    starts, filled = starts[order], np.cumsum(entries[order]) // _WINDOW_ENTRIES
    cuts = starts[np.flatnonzero(np.diff(filled, prepend=-1))]
    edges = [*np.unique(cuts).tolist(), stop]
    yield from pairwise(edges)


def _weigh(order: _Order, layers: Sequence[MapLayer], weights: "_Weights", sums: _Sums, low: int, high: int) -> None:
    """Add up one window, in parts if it is cut into too many pieces."""
    found = [(at, part) for at, layer in enumerate(layers) if (part := layer.entries(low, high)) is not None]
    if not found:
        return
    edges = np.unique(np.concatenate([np.concatenate((part.starts, part.starts + part.counts)) for _, part in found]))
    versions = [_Versions.of(at, part, edges) for at, part in found]
    if sum(len(one.pieces) for one in versions) > _VERSIONS_MAX and len(edges) > 2:
        middle = int(edges[len(edges) // 2])
        del versions
        _weigh(order, layers, weights, sums, low, middle)
        _weigh(order, layers, weights, sums, middle, high)
        return
    above = _above(order, versions, len(edges) - 1)
    nodes = np.concatenate([np.full(len(one.pieces), one.node) for one in versions])
    pieces = np.concatenate([one.pieces for one in versions])
    frames = np.concatenate([weights.frames(layers[one.node], part, one.owners)
                             for one, (_, part) in zip(versions, found, strict=True)])  # fmt: skip
    lengths = np.diff(edges)[pieces]
    _add(order, weights, sums, nodes=nodes, above=above, frames=frames, lengths=lengths)


@dataclass(slots=True, kw_only=True)
class _Versions:
    """The entries of one node, cut at every edge of a window: piece of the window, and row of the entry."""

    node: int
    pieces: _Ints
    owners: _Ints

    @staticmethod
    def of(node: int, part: Entries, edges: _Ints) -> "_Versions":
        first = np.searchsorted(edges, part.starts)
        counts = np.searchsorted(edges, part.starts + part.counts) - first
        steps = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        return _Versions(
            node=node, pieces=np.repeat(first, counts) + steps, owners=np.repeat(np.arange(len(first)), counts)
        )


def _above(order: _Order, versions: Sequence[_Versions], pieces: int) -> _Ints:
    """Return, for each version, the one of the same piece that its node would show without its own; -1 if none."""
    current = np.full(pieces, -1, dtype=np.int64)
    way: list[tuple[int, _Ints, _Ints]] = []
    above: list[_Ints] = []
    number = 0
    for one in versions:  # ascending by position: preorder
        while way and way[-1][0] <= one.node:
            _, where, before = way.pop()
            current[where] = before
        before = current[one.pieces]
        above.append(before)
        current[one.pieces] = np.arange(number, number + len(one.pieces))
        number += len(one.pieces)
        way.append((int(order.ends[one.node]), one.pieces, before))
    return np.concatenate(above)


def _add(
    order: _Order, weights: "_Weights", sums: _Sums, *, nodes: _Ints, above: _Ints, frames: _Ints, lengths: _Ints
) -> None:
    """Add the versions of a window up: who sees each, and what it weighs."""
    below = np.flatnonzero(above >= 0)
    parents = above[below]
    seen, chosen, positions = order.living[nodes], order.chosen[nodes], order.positions[nodes]
    for column, of_nodes in ((seen, order.living), (chosen, order.chosen), (positions, order.positions)):
        np.subtract.at(column, parents, of_nodes[nodes[below]])
    # What nobody sees weighs nothing, and its pack may be gone (I12).
    data = (frames >= 0) & (seen > 0)
    weight = np.zeros(len(nodes))
    weight[data] = weights.shares(frames[data]) * lengths[data]
    # A version adds its weight to its node's subtree and takes that of the one above it away from there.
    gained = weight.copy()
    gained[below] -= weight[parents]
    size = len(sums.shown)
    sums.shown += np.bincount(nodes, gained, minlength=size) - np.bincount(order.ends[nodes], gained, minlength=size)
    alone = data & (seen == 1)
    sums.unique += np.bincount(positions[alone], weight[alone], minlength=len(sums.unique))
    dead = data & (seen == chosen)
    weights.by_pack(frames[dead], lengths[dead], weight[dead], sums)


class _Weights:
    """Numbers for frames that mean the same in all maps, and the share of each frame's blocks."""

    def __init__(self, store: Store) -> None:
        self._source = PackSource(store, 0)
        self._rows: dict[PackRef, int] = {}
        self._refs: list[PackRef] = []
        self._shares: dict[int, _Floats] = {}

    def frames(self, layer: MapLayer, part: Entries, owners: _Ints) -> _Ints:
        """Return the number of the frame of each of these entries, -1 for zeros."""
        frames = part.frames[owners]
        used = np.unique(part.packs)
        rows = np.zeros(int(used[-1]) + 1 if len(used) else 1, dtype=np.int64)
        for one in used.tolist():
            rows[one] = self._row(layer.packs[one])
        numbers = np.append((rows[part.packs] << 32) + part.numbers, ZERO_FRAME)
        found: _Ints = numbers[frames]
        return found

    def shares(self, frames: _Ints) -> _Floats:
        """Return the stored bytes of one block of each of these frames."""
        distinct, inverse = np.unique(frames, return_inverse=True)
        out = np.zeros(len(distinct))
        cuts = np.flatnonzero(np.diff(distinct >> 32, prepend=-1, append=-1))
        for low, high in pairwise(cuts.tolist()):
            row = int(distinct[low] >> 32)
            if row not in self._shares:
                self._shares[row] = shares(self._source.open(self._refs[row])[0].index)
            out[low:high] = self._shares[row][distinct[low:high] & 0xFFFFFFFF]
        found: _Floats = out[inverse]
        return found

    def by_pack(self, frames: _Ints, blocks: _Ints, weight: _Floats, sums: _Sums) -> None:
        """Add blocks and their weight to the packs that they are in."""
        packs, inverse = np.unique(frames >> 32, return_inverse=True)
        amounts = np.bincount(inverse, blocks, minlength=len(packs))
        stored = np.bincount(inverse, weight, minlength=len(packs))
        for row, amount, size in zip(packs.tolist(), amounts.tolist(), stored.tolist(), strict=True):
            ref = self._refs[row]
            sums.blocks[ref] = sums.blocks.get(ref, 0) + round(amount)
            sums.bytes[ref] = sums.bytes.get(ref, 0.0) + size

    def _row(self, ref: PackRef) -> int:
        row = self._rows.get(ref)
        if row is None:
            row = self._rows[ref] = len(self._refs)
            self._refs.append(ref)
        return row

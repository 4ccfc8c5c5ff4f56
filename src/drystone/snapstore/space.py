"""Who holds which stored bytes, exactly (L13): one pass over the delta maps of a whole tree of snapshots.

A node of the tree shows what its own delta map says, and elsewhere what its parent shows (L3). So each entry of a delta
map is seen by exactly its node's descendants, less those below another entry for the same address: numbers of subtrees
tell how many living snapshots see it, without opening any of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from drystone.codec.map import ZERO_FRAME, PackRef
from drystone.domain.errors import IntegrityError
from drystone.domain.ids import SnapshotId
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.freed import Dying, PartlyDying, partly_freed
from drystone.snapstore.layers import Entries, MapLayer, PageCache
from drystone.snapstore.packs import OpenPack, PackSource, open_pack, shares
from drystone.snapstore.store import Store

_PAGES_BYTES = 64 << 20
_WINDOW_ENTRIES = 1 << 18
_FLAT_ENTRIES = 1 << 16
"""A delta map of up to so many entries is read once and kept whole; of larger ones pages are read when needed."""
_STEP_ENTRIES = 64
_MAPS_BYTES = 192 << 20
_SHARES_BYTES = 64 << 20
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
    """Stored bytes by their holders; of what lives, a block's are an even share of its frame's."""

    unique: Mapping[SnapshotId, float]
    """By living snapshot: what no other living one sees."""
    shared: Mapping[SnapshotId, float]
    """By living snapshot: what others see, too."""
    dead_blocks: Mapping[PackRef, int]
    """By pack: what is seen, and only by chosen snapshots."""
    dead_bytes: Mapping[PackRef, float]
    """By how much a compaction with threshold 0 makes its object smaller, or all of it (`partly_freed`)."""


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
    seen: dict[int, float]
    """By row of a pack, as the next two: blocks that anybody sees."""
    blocks: dict[int, float]
    bytes: dict[int, float]
    dying: Dying


class SpaceMemory:
    """What was read of maps and packs before: neither ever changes under its name. For one thread.

    A thousand snapshots of a disk are told from it without reading anything; about 40 bytes an entry.
    """

    def __init__(self) -> None:
        self.maps: ByteCache[str, _Flat] = ByteCache(_MAPS_BYTES)
        self.packs: ByteCache[str, _Pack] = ByteCache(_SHARES_BYTES)


def tree_space(
    store: Store,
    members: Sequence[Member],
    *,
    memory: SpaceMemory | None = None,
    objects: Mapping[PackRef, str] | None = None,
) -> TreeSpace:
    """Return who holds what of whole trees.

    Time follows the entries of all delta maps, and the packs that they name (each one's index is read, unless `memory`
    has it); memory follows a window of them, not the disk.

    Args:
        store: Where they are.
        members: Every node of each tree that is looked at, ghosts included.
        memory: What calls before this one have read, and what this one reads.
        objects: The objects in force of packs, where they are known; others are found by listing.

    Raises:
        IntegrityError: The tree is not whole, or a map or pack cannot be trusted.
        NotFoundError, UnavailableError: Something is not there.
    """
    order = _Order(members)
    kept = SpaceMemory() if memory is None else memory
    weights = _Weights(store, kept, objects or {})
    pages: PageCache = ByteCache(_PAGES_BYTES)
    layers = [_layer(store, member.delta_map, pages, kept, weights) for member in order.members]
    count = len(layers)
    sums = _Sums(shown=np.zeros(count + 1), unique=np.zeros(count), seen={}, blocks={}, bytes={}, dying=Dying())
    for low, high in _windows(layers):
        _weigh(order, layers, weights, sums, low, high)
    shown = np.cumsum(sums.shown)
    living = [(at, member.id) for at, member in enumerate(order.members) if member.living]
    return TreeSpace(
        unique={name: float(sums.unique[at]) for at, name in living},
        shared={name: max(0.0, float(shown[at] - sums.unique[at])) for at, name in living},
        dead_blocks={weights.refs[row]: round(blocks) for row, blocks in sums.blocks.items()},
        dead_bytes=_freed(store, weights, sums),
    )


# --- maps -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Flat:
    """A whole map: `frames` are (row of `packs` << 32) + number of the frame, -1 for zeros."""

    packs: tuple[PackRef, ...]
    starts: _Ints
    stops: _Ints
    frames: _Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Entries of one map in a window, clipped to it; `frames` mean the same in all maps."""

    starts: _Ints
    stops: _Ints
    frames: _Ints


class _Layer(Protocol):
    """The entries of one map."""

    marks: tuple[_Ints, _Ints]
    """Addresses, ascending, and about how many entries lie from each to the next."""
    stop: int

    def part(self, low: int, high: int) -> _Part | None:
        """Return the entries in a window, None if there are none."""


class _Whole:
    """A map that is kept whole."""

    def __init__(self, flat: _Flat, weights: "_Weights") -> None:
        self._flat = flat
        self._frames = weights.everywhere(flat.packs, flat.frames)
        starts = flat.starts[::_STEP_ENTRIES]
        self.marks = starts, np.full(len(starts), _STEP_ENTRIES, dtype=np.int64)
        self.stop = int(flat.stops[-1]) if len(flat.stops) else 0

    def part(self, low: int, high: int) -> _Part | None:
        """Return the entries in a window, None if there are none."""
        flat = self._flat
        first, last = int(flat.stops.searchsorted(low, side="right")), int(flat.starts.searchsorted(high))
        if first >= last:
            return None
        starts, stops = flat.starts[first:last], flat.stops[first:last]
        if starts[0] < low:
            starts = np.maximum(starts, low)
        if stops[-1] > high:
            stops = np.minimum(stops, high)
        return _Part(starts=starts, stops=stops, frames=self._frames[first:last])


class _Paged:
    """A large map, of which pages are read again for each window that they touch."""

    def __init__(self, layer: MapLayer, weights: "_Weights") -> None:
        self._layer = layer
        self._weights = weights
        self.marks = layer.directory.starts, layer.directory.entries
        self.stop = int(layer.directory.stops[-1])

    def part(self, low: int, high: int) -> _Part | None:
        """Return the entries in a window, None if there are none."""
        found = self._layer.entries(low, high)
        if found is None:
            return None
        frames = self._weights.everywhere(self._layer.packs, _joined(found))
        return _Part(starts=found.starts, stops=found.starts + found.counts, frames=frames)


def _layer(store: Store, name: str, pages: PageCache, memory: SpaceMemory, weights: "_Weights") -> _Layer:
    flat = memory.maps.get(name)
    if flat is None:
        layer = MapLayer(store, name, pages)
        directory = layer.directory
        if int(directory.entries.sum()) > _FLAT_ENTRIES:
            return _Paged(layer, weights)
        found = layer.entries(0, int(directory.stops[-1])) if len(directory.stops) else None
        empty = np.empty(0, dtype=np.int64)
        flat = _Flat(
            packs=layer.packs,
            starts=empty if found is None else found.starts,
            stops=empty if found is None else found.starts + found.counts,
            frames=empty if found is None else _joined(found),
        )
        memory.maps.put(name, flat, 40 * len(flat.starts) + 200 * (1 + len(flat.packs)))
    return _Whole(flat, weights)


def _joined(entries: Entries) -> _Ints:
    """Return (row of the map's packs << 32) + number of the frame of each entry, -1 for zeros."""
    numbers: _Ints = np.append((entries.packs << 32) + entries.numbers, ZERO_FRAME)[entries.frames]
    return numbers


def _windows(layers: Sequence[_Layer]) -> Iterator[tuple[int, int]]:
    """Yield ranges of addresses, of about as many entries each."""
    starts = np.concatenate([layer.marks[0] for layer in layers]) if layers else np.empty(0, dtype=np.int64)
    if len(starts) == 0:
        return
    entries = np.concatenate([layer.marks[1] for layer in layers])
    stop = max(layer.stop for layer in layers)
    order = np.argsort(starts, kind="stable")
    starts, filled = starts[order], np.cumsum(entries[order]) // _WINDOW_ENTRIES
    cuts = starts[np.flatnonzero(np.diff(filled, prepend=-1))]
    edges = [*np.unique(cuts).tolist(), stop]
    yield from pairwise(edges)


# --- weighing -------------------------------------------------------------------------------------------------------


def _weigh(order: _Order, layers: Sequence[_Layer], weights: "_Weights", sums: _Sums, low: int, high: int) -> None:
    """Add up one window, in parts if it is cut into too many pieces."""
    found = [(at, part) for at, layer in enumerate(layers) if (part := layer.part(low, high)) is not None]
    if not found:
        return
    starts = np.concatenate([part.starts for _, part in found])
    stops = np.concatenate([part.stops for _, part in found])
    edges = np.unique(np.concatenate((starts, stops)))
    first = np.searchsorted(edges, starts)
    counts = np.searchsorted(edges, stops) - first
    total = int(counts.sum())
    if total > _VERSIONS_MAX and len(edges) > 2:
        middle = int(edges[len(edges) // 2])
        del starts, stops, first, counts
        _weigh(order, layers, weights, sums, low, middle)
        _weigh(order, layers, weights, sums, middle, high)
        return
    # A version is one entry in one piece of the window between two edges. First by piece, then by node in preorder: the
    # parts are in that order already, and sorting keeps it.
    owners = np.repeat(np.arange(len(first)), counts)
    pieces = first[owners] + (np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts))
    by_piece = np.argsort(pieces, kind="stable")
    pieces, owners = pieces[by_piece], owners[by_piece]
    nodes = np.repeat([at for at, _ in found], [len(part.starts) for _, part in found])[owners]
    frames = np.concatenate([part.frames for _, part in found])[owners]
    above = _above(order.ends, nodes, pieces)
    _add(
        order, weights, sums,
        nodes=nodes, above=above, frames=frames, starts=edges[pieces], lengths=np.diff(edges)[pieces],
    )  # fmt: skip


def _above(ends: _Ints, nodes: _Ints, pieces: _Ints) -> _Ints:
    """Return, for each version, the one of the same piece that its node would show without its own; -1 if none.

    That is the nearest before it whose subtree has its node. One that has not, has only such before it in its subtree
    that have not either: so what stands above it is tried next, whether that is known to be right already or not. Each
    round halves the way, as in pointer jumping.
    """
    above: _Ints = np.arange(-1, len(nodes) - 1, dtype=np.int64)
    above[np.flatnonzero(np.diff(pieces, prepend=-1))] = -1
    wrong = np.flatnonzero(above >= 0)
    while len(wrong):
        wrong = wrong[above[wrong] >= 0]
        wrong = wrong[ends[nodes[above[wrong]]] <= nodes[wrong]]
        above[wrong] = above[above[wrong]]
    return above


def _add(
    order: _Order,
    weights: "_Weights",
    sums: _Sums,
    *,
    nodes: _Ints,
    above: _Ints,
    frames: _Ints,
    starts: _Ints,
    lengths: _Ints,
) -> None:
    """Add the versions of a window up: who sees each, and what it weighs."""
    below = np.flatnonzero(above >= 0)
    parents, children = above[below], nodes[below]
    seen, chosen, positions = (
        column[nodes] - np.bincount(parents, column[children], minlength=len(nodes)).astype(np.int64)
        for column in (order.living, order.chosen, order.positions)
    )
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
    if not order.chosen.any():
        return
    rows = frames >> 32
    _count(sums.seen, rows[data], lengths[data])
    dead = data & (seen == chosen)
    _count(sums.blocks, rows[dead], lengths[dead])
    _count(sums.bytes, rows[dead], weight[dead])
    sums.dying.add(weights.refs, rows[dead], starts[dead], lengths[dead])


def _count(sums: dict[int, float], rows: _Ints, amounts: _Ints | _Floats) -> None:
    found = np.bincount(rows, amounts)
    for row in np.flatnonzero(np.bincount(rows)).tolist():
        sums[row] = sums.get(row, 0.0) + float(found[row])


def _freed(store: Store, weights: "_Weights", sums: _Sums) -> dict[PackRef, float]:
    """Return what comes back of each pack of which blocks die."""
    addresses = sums.dying.addresses(weights.refs)
    freed: dict[PackRef, float] = {}
    partly = []
    for row, blocks in sums.blocks.items():
        ref = weights.refs[row]
        pack = weights.pack(row)
        if blocks == sums.seen[row]:
            # Nothing of it lives on: header, index and trailer go, too.
            freed[ref] = sums.bytes[row] + pack.around_bytes
        else:
            dying = PartlyDying(ref=ref, object=pack.object, addresses=addresses.get(ref), share_bytes=sums.bytes[row])
            partly.append(dying)
    return freed | partly_freed(store, partly)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pack:
    """What is kept of a pack object."""

    object: str
    shares: _Floats
    around_bytes: int
    """Header, index and trailer."""


class _Weights:
    """Numbers for frames that mean the same in all maps, and the share of each frame's blocks."""

    def __init__(self, store: Store, memory: SpaceMemory, objects: Mapping[PackRef, str]) -> None:
        self._store = store
        self._memory = memory
        self._objects = objects
        self._source = PackSource(store, ByteCache(0))
        self._rows: dict[PackRef, int] = {}
        self.refs: list[PackRef] = []
        self._packs: dict[int, _Pack] = {}

    def everywhere(self, packs: Sequence[PackRef], frames: _Ints) -> _Ints:
        """Return frames whose packs are rows of `packs` as frames that mean the same in all maps, -1 for zeros."""
        rows = np.array([self._row(ref) for ref in packs], dtype=np.int64)
        if not len(packs):
            return frames
        found: _Ints = np.where(frames >= 0, (rows[frames >> 32] << 32) | (frames & 0xFFFFFFFF), ZERO_FRAME)
        return found

    def shares(self, frames: _Ints) -> _Floats:
        """Return the stored bytes of one block of each of these frames."""
        distinct, inverse = np.unique(frames, return_inverse=True)
        out = np.zeros(len(distinct))
        cuts = np.flatnonzero(np.diff(distinct >> 32, prepend=-1, append=-1))
        for low, high in pairwise(cuts.tolist()):
            out[low:high] = self.pack(int(distinct[low] >> 32)).shares[distinct[low:high] & 0xFFFFFFFF]
        found: _Floats = out[inverse]
        return found

    def pack(self, row: int) -> _Pack:
        """Return the pack `refs[row]`."""
        found = self._packs.get(row)
        if found is None:
            found = self._packs[row] = self._read(self.refs[row])
        return found

    def _read(self, ref: PackRef) -> _Pack:
        name = self._objects.get(ref)
        if name is None:
            return _kept(self._source.open(ref)[0])
        found = self._memory.packs.get(name)
        if found is None:
            found = _kept(open_pack(self._store, name))
            self._memory.packs.put(name, found, 300 + 8 * len(found.shares))
        return found

    def _row(self, ref: PackRef) -> int:
        row = self._rows.get(ref)
        if row is None:
            row = self._rows[ref] = len(self.refs)
            self.refs.append(ref)
        return row


def _kept(pack: OpenPack) -> _Pack:
    around_bytes = pack.size_bytes - int(pack.index.stored_bytes.sum())
    return _Pack(object=pack.object, shares=shares(pack.index), around_bytes=around_bytes)

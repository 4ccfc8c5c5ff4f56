"""Merging maps in the background, so that later snapshots list few of them (L10).

A merge never touches what it merges, and no snapshot that exists uses it: only later manifests list its result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from drystone.codec.hashes import HASH_BYTES
from drystone.codec.manifest import ManifestMap
from drystone.codec.map import PAGE_ENTRIES, ZERO_FRAME, MapEncoder, MapKind, MapPage, PackRef
from drystone.codec.pack import FRAME_BLOCKS_MAX
from drystone.codec.sealed import Kind, commitment_of
from drystone.codec.wraps import Purpose
from drystone.domain.ids import SessionId
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.layers import Entries, MapLayer
from drystone.snapstore.seals import STORES_OWN
from drystone.snapstore.store import RandomBits, Store, hex128

MAPS_GOAL = 24
"""A manifest should list no more: opening a snapshot reads each one's directory."""
NEIGHBOURS_MIN = 4
"""So many of like size are merged at once: each entry is then rewritten a logarithmic number of times."""
LIKE = 4
"""Sizes are alike within this factor."""
FULL_SHARE = 4
"""Deltas that together reach a quarter of the full map's entries are merged into a new full map."""
_CACHE_BYTES = 32 << 20
_WINDOW_PAGES = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """Entries without pages: `packs` are rows of the merged map's table, -1 for zeros."""

    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    packs: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint8]

    def __getitem__(self, chosen: slice | npt.NDArray[np.bool_]) -> "_Rows":
        return _Rows(**{name: getattr(self, name)[chosen] for name in _Rows.__slots__})

    def __len__(self) -> int:
        return len(self.starts)


def plan_merge(maps: Sequence[ManifestMap]) -> tuple[ManifestMap, ...]:
    """Return the contiguous part of a manifest's list that is worth merging now; empty if none is.

    Size-tiered: everything, if the deltas reach a quarter of the full map; else the newest four or more neighbouring
    deltas of like size; else, beyond `MAPS_GOAL` maps, all deltas.
    """
    deltas = [part for part in maps if part.kind == "delta"]
    full_entries = sum(part.entries for part in maps[len(deltas) :])
    if len(deltas) >= NEIGHBOURS_MIN and FULL_SHARE * sum(part.entries for part in deltas) >= full_entries:
        return tuple(maps)
    for first in range(len(deltas) - NEIGHBOURS_MIN + 1):
        stop = first
        low = high = max(1, deltas[first].entries)
        while stop < len(deltas):
            low, high = min(low, max(1, deltas[stop].entries)), max(high, deltas[stop].entries)
            if high > LIKE * low:
                break
            stop += 1
        if stop - first >= NEIGHBOURS_MIN:
            return tuple(deltas[first:stop])
    return tuple(deltas) if len(maps) > MAPS_GOAL else ()


def apply_merge(
    maps: Sequence[ManifestMap], part: Sequence[ManifestMap], merged: ManifestMap
) -> tuple[ManifestMap, ...]:
    """Return a list in which `merged` stands for `part`, or the same list if it does not hold `part` as it was."""
    names = [one.object for one in maps]
    wanted = [one.object for one in part]
    for first in range(len(names) - len(wanted) + 1):
        if wanted and names[first : first + len(wanted)] == wanted:
            return (*maps[:first], merged, *maps[first + len(wanted) :])
    return tuple(maps)


def merge_maps(
    store: Store, session: SessionId, rng: RandomBits, part: Sequence[ManifestMap], purpose: Purpose = STORES_OWN
) -> ManifestMap:
    """Write one map that shows what a contiguous part of a manifest's list shows, durable on return.

    Zero entries stay unless the part ends in the full map (F12). Memory follows the pages of a window and the
    stored pages of the result.

    Args:
        store: Where.
        session: A writer session of its own, that names the object.
        rng: For the map's id.
        part: Newest first.
        purpose: Of the data key that seals it, where the store is sealed.

    Raises:
        IntegrityError, ProtocolError, NotFoundError: A map cannot be trusted or is not there; nothing was written.
        SpaceError, UnavailableError: The result could not be stored.
    """
    assert part
    kind = MapKind.FULL if part[-1].kind == "full" else MapKind.DELTA
    layers = [MapLayer(store, one.object, ByteCache(_CACHE_BYTES // len(part))) for one in reversed(part)]
    map_id = hex128(rng)
    name = store.map_name(session, map_id)
    sealing = store.sealing(name, Kind.MAP, purpose)
    encoder = MapEncoder(sealing or store.keys, session, map_id, kind)
    table: dict[PackRef, int] = {}
    edges = np.unique(np.concatenate([layer.directory.starts for layer in layers]))
    stop = max((int(layer.directory.stops[-1]) for layer in layers if len(layer.directory.stops)), default=0)
    cuts = [*edges[::_WINDOW_PAGES].tolist(), stop]
    rest: list[_Rows] = []
    for low, high in pairwise(cuts):
        rows = _overlay(layers, low, high, table)
        if kind == MapKind.FULL:
            rows = rows[rows.packs != ZERO_FRAME]
        rows = _coalesce(_concatenate([*rest, rows]))
        # The last row waits: it may go on in the next window.
        while len(rows) > PAGE_ENTRIES:
            encoder.add(_page(rows[:PAGE_ENTRIES]))
            rows = rows[PAGE_ENTRIES:]
        rest = [rows]
    if rest and len(rest[0]):
        encoder.add(_page(rest[0]))
    parts = encoder.finish(tuple(table))
    store.objects.put(name, parts)
    return ManifestMap(
        object=name,
        kind="full" if kind == MapKind.FULL else "delta",
        entries=encoder.entries,
        bytes=sum(len(one) for one in parts),
        commitment=UNSET if sealing is None else commitment_of(parts).hex(),
    )


def _overlay(layers: Sequence[MapLayer], low: int, high: int, table: dict[PackRef, int]) -> _Rows:
    """Return what a window shows, newest entry wins, cut wherever any entry begins or ends."""
    found = [(layer, entries) for layer in layers if (entries := layer.entries(low, high)) is not None]
    edges = np.unique(np.concatenate([[low, high], *(_ends(entries) for _, entries in found)]))
    starts, counts = edges[:-1], np.diff(edges)
    length = len(starts)
    covered = np.zeros(length, dtype=np.bool_)
    packs = np.full(length, ZERO_FRAME, dtype=np.int64)
    numbers = np.zeros(length, dtype=np.int64)
    slots = np.zeros(length, dtype=np.int64)
    hashes = np.zeros((length, HASH_BYTES), dtype=np.uint8)
    for layer, entries in found:
        owner = np.searchsorted(entries.starts, starts, side="right") - 1
        inside = (owner >= 0) & (starts < entries.starts[owner] + entries.counts[owner])
        covered |= inside
        owner = owner[inside]
        frames = entries.frames[owner]
        data = frames != ZERO_FRAME
        where = np.flatnonzero(inside)
        packs[where[~data]] = ZERO_FRAME
        numbers[where[~data]] = slots[where[~data]] = 0
        hashes[where[~data]] = 0
        where, owner, frames = where[data], owner[data], frames[data]
        packs[where] = entries.packs[frames] + (1 << 32) * layers.index(layer)
        numbers[where] = entries.numbers[frames]
        slots[where] = entries.slots[owner] + starts[where] - entries.starts[owner]
        hashes[where] = entries.hashes[frames]
    rows = _Rows(starts=starts, counts=counts, packs=packs, numbers=numbers, slots=slots, hashes=hashes)[covered]
    # Only packs that are still visible enter the table of the result.
    used, inverse = np.unique(rows.packs, return_inverse=True)
    known = [
        ZERO_FRAME if one == ZERO_FRAME else table.setdefault(layers[one >> 32].packs[one & 0xFFFFFFFF], len(table))
        for one in used.tolist()
    ]
    rows.packs[:] = np.array(known, dtype=np.int64)[inverse] if known else rows.packs
    return rows


def _ends(entries: Entries) -> npt.NDArray[np.int64]:
    return np.concatenate((entries.starts, entries.starts + entries.counts))


def _concatenate(parts: Sequence[_Rows]) -> _Rows:
    return _Rows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _Rows.__slots__})


def _coalesce(rows: _Rows) -> _Rows:
    """Join neighbours that one entry can say: zeros, or consecutive slots of one frame."""
    if len(rows) == 0:
        return rows
    zeros = rows.packs == ZERO_FRAME
    joined = (
        (rows.starts[1:] == rows.starts[:-1] + rows.counts[:-1])
        & (rows.packs[1:] == rows.packs[:-1])
        & (rows.numbers[1:] == rows.numbers[:-1])
        & (zeros[1:] | (rows.slots[1:] == rows.slots[:-1] + rows.counts[:-1]))
        & (rows.hashes[1:] == rows.hashes[:-1]).all(axis=1)
    )
    first = np.concatenate(([True], ~joined))
    counts = np.add.reduceat(rows.counts, np.flatnonzero(first))
    chosen = rows[first]
    assert int((chosen.slots + counts)[chosen.packs != ZERO_FRAME].max(initial=0)) <= FRAME_BLOCKS_MAX  # I8
    return _Rows(
        starts=chosen.starts,
        counts=counts,
        packs=chosen.packs,
        numbers=chosen.numbers,
        slots=chosen.slots,
        hashes=chosen.hashes,
    )


def _page(rows: _Rows) -> MapPage:
    data = rows.packs != ZERO_FRAME
    key = np.column_stack((rows.packs[data], rows.numbers[data]))
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    frames = np.full(len(rows), ZERO_FRAME, dtype=np.int32)
    frames[data] = inverse.reshape(-1)
    return MapPage(
        starts=rows.starts,
        counts=rows.counts,
        frames=frames,
        slots=rows.slots.astype(np.uint8),
        packs=rows.packs[data][first].astype(np.uint32),
        numbers=rows.numbers[data][first].astype(np.uint32),
        hashes=rows.hashes[data][first],
    )

"""What a compaction really frees when blocks die: told beforehand, by doing in memory what it would do (L8, L13).

A frame that dies whole comes back whole. Of one that dies in part nobody can say by its index what is left of it: a raw
frame of which a block is emptied becomes a zstd stream with some tens of bytes around what lives, and blocks of a
compressed frame differ. So such frames are read, emptied and encoded again, as compaction does it; of very many, some,
by whose relation to their even shares the others are judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from drystone.codec.map import PackRef
from drystone.codec.pack import Encoding, PackIndex, frame_compressor, pack_tail_bytes
from drystone.domain.errors import IntegrityError
from drystone.snapstore.compaction import without_blocks
from drystone.snapstore.packs import OpenPack, open_pack, shares
from drystone.snapstore.store import Store

FRAMES_MAX = 512
"""Frames that are encoded again for one answer: 128 MiB at most, about half a second."""
FRAMES_OF_PACK_MAX = 128
PACKS_MAX = 256
"""Packs that are opened again for it."""
_RUNS_MAX = 1 << 19
"""Runs of dying blocks that are remembered, 24 bytes each."""

_Ints = npt.NDArray[np.int64]


class Dying:
    """Runs of blocks that die, by pack: of more than can be kept, all of those packs whose ids are lowest.

    Ids are random, so these are a fair sample.
    """

    def __init__(self, runs_max: int = _RUNS_MAX) -> None:
        self._runs_max = runs_max
        self._rows: list[_Ints] = []
        self._starts: list[_Ints] = []
        self._counts: list[_Ints] = []
        self._held = 0
        self._limit: str | None = None

    def add(self, refs: Sequence[PackRef], rows: _Ints, starts: _Ints, counts: _Ints) -> None:
        """Remember runs of `counts` blocks from the addresses `starts`, in the packs `refs[rows]`."""
        if self._limit is not None:
            rows, starts, counts = self._below(refs, rows, starts, counts)
        self._rows.append(rows)
        self._starts.append(starts)
        self._counts.append(counts)
        self._held += len(rows)
        if self._held > self._runs_max:
            self._halve(refs)

    def addresses(self, refs: Sequence[PackRef]) -> dict[PackRef, _Ints]:
        """Return the addresses of each pack's dying blocks, sorted."""
        if not self._rows:
            return {}
        rows, starts, counts = (np.concatenate(column) for column in (self._rows, self._starts, self._counts))
        order = np.lexsort((starts, rows))
        rows, starts, counts = rows[order], starts[order], counts[order]
        cuts = np.flatnonzero(np.diff(rows, prepend=-1, append=-1))
        return {
            refs[int(rows[low])]: _expanded(starts[low:high], counts[low:high]) for low, high in pairwise(cuts.tolist())
        }

    def _below(self, refs: Sequence[PackRef], rows: _Ints, starts: _Ints, counts: _Ints) -> tuple[_Ints, _Ints, _Ints]:
        distinct, inverse = np.unique(rows, return_inverse=True)
        low = np.array([self._limit is None or refs[row].pack < self._limit for row in distinct.tolist()])
        kept = low[inverse] if len(rows) else np.zeros(0, dtype=np.bool_)
        return rows[kept], starts[kept], counts[kept]

    def _halve(self, refs: Sequence[PackRef]) -> None:
        columns = np.concatenate(self._rows), np.concatenate(self._starts), np.concatenate(self._counts)
        names = sorted({refs[row].pack for row in np.unique(columns[0]).tolist()})
        self._limit = names[len(names) // 2]
        rows, starts, counts = self._below(refs, *columns)
        self._rows, self._starts, self._counts, self._held = [rows], [starts], [counts], len(rows)


def _expanded(starts: _Ints, counts: _Ints) -> _Ints:
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(int(ends[-1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class PartlyDying:
    """A pack of which blocks die, and others live on."""

    ref: PackRef
    object: str
    addresses: _Ints | None
    """Of the blocks that die, sorted; None if they were too many to be kept."""
    share_bytes: float
    """What they weigh by even shares of their frames."""


def partly_freed(store: Store, packs: Sequence[PartlyDying]) -> dict[PackRef, float]:
    """Return by how many bytes each pack's object becomes smaller when it is written again without what dies.

    To the byte, as far as a few bytes of the index's own compression, for up to `FRAMES_MAX` frames in `PACKS_MAX`
    packs, of which `FRAMES_OF_PACK_MAX` in one; beyond that the rest is judged by them.

    Raises:
        ProtocolError, NotFoundError, UnavailableError: A pack could not be read.
        IntegrityError: What is said to be in a pack is not, or its index cannot be trusted. A frame that is damaged is
            judged by the others.
    """
    found: dict[PackRef, float] = {}
    left, shared, freed = FRAMES_MAX, 0.0, 0.0
    for pack in sorted(packs, key=lambda one: one.ref.pack):
        if pack.addresses is None or left <= 0 or len(found) >= PACKS_MAX:
            continue
        bytes_freed, used = _freed(store, open_pack(store, pack.object), pack.addresses, min(left, FRAMES_OF_PACK_MAX))
        left -= used
        shared += pack.share_bytes
        freed += bytes_freed
        found[pack.ref] = bytes_freed
    relation = freed / shared if shared else 1.0
    return {one.ref: found.get(one.ref, one.share_bytes * relation) for one in packs}


def _freed(store: Store, pack: OpenPack, addresses: _Ints, frames_max: int) -> tuple[float, int]:
    """Return what a pack becomes smaller by, and how many frames were encoded to learn it."""
    old = pack.index
    rows = np.searchsorted(old.addresses, addresses)
    if not np.array_equal(old.addresses[np.minimum(rows, len(old.addresses) - 1)], addresses) or old.dead[rows].any():
        raise IntegrityError(f"{pack.object}: maps show blocks of it that it has not, or that are dead in it")
    dead = old.dead.copy()
    dead[rows] = True
    firsts = old.first_rows[:-1]
    dying = np.add.reduceat(dead & ~old.dead, firsts, dtype=np.int64)
    lives = np.logical_or.reduceat(~dead, firsts)
    whole, part = (dying > 0) & ~lives, np.flatnonzero((dying > 0) & lives)
    stored, encodings = old.stored_bytes.copy(), old.encodings.copy()
    stored[whole], encodings[whole] = 0, Encoding.GONE
    tried = part[np.unique(np.linspace(0, len(part) - 1, min(frames_max, len(part))).astype(np.int64))].tolist()
    looked: list[int] = []
    compressor = frame_compressor()
    for frame in tried:
        raw = store.objects.get_range(pack.object, *old.offsets[frame : frame + 2].tolist())
        try:
            encodings[frame], packed = without_blocks(store, compressor, pack, frame, raw, dead)
        except IntegrityError:
            continue  # Damage is for scrub to name; here it only cannot be weighed.
        stored[frame] = len(packed)
        looked.append(frame)
    even = shares(old)[part] * dying[part]
    rest = ~np.isin(part, looked)
    if rest.any():
        known = float((old.stored_bytes[looked] - stored[looked]).sum())
        weighed = float(even[~rest].sum())
        taken = even[rest] * (known / weighed if weighed else 1.0)
        stored[part[rest]] = np.maximum(1, old.stored_bytes[part[rest]] - np.round(taken)).astype(np.int64)
    index = replace(old, stored_bytes=stored, encodings=encodings, dead=dead)
    return float(pack.size_bytes - int(index.offsets[-1]) - _tail_bytes(index)), len(tried)


def _tail_bytes(index: PackIndex) -> int:
    """Return what index and trailer of a rewritten pack take, most probably.

    Attempt and salt are random, and lie in the index, which is compressed: one in a hundred makes a small index some
    tens of bytes smaller than all the others do.
    """
    sizes = []
    for number in range(3):
        bits = blake2b(f"{index.header.pack} {number}".encode(), digest_size=48).digest()
        header = replace(index.header, attempt=bits[:16].hex(), salt=bits[16:])
        sizes.append(pack_tail_bytes(replace(index, header=header)))
    return sorted(sizes)[1]

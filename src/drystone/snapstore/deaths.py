"""What dies when a snapshot is deleted, block by block (L4), before anything is deleted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drystone.codec.map import PackRef
from drystone.domain.blocks import Ranges
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.packs import MissingPackError, PackSource, shares
from drystone.snapstore.reader import DATA, SnapshotReader, Visible

_WINDOW_BLOCKS = 1 << 16
_INDEX_CACHE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """Blocks that no living snapshot sees any more, by pack.

    `bytes` are each dead block's even share of its frame as it is stored: exact for frames that die
    whole, an estimate for others (compression is per frame).
    Of a pack whose index cannot be trusted, or that is gone, they are unknown: 0, and it is among `doubtful`.
    """

    blocks: Mapping[PackRef, int]
    bytes: Mapping[PackRef, float]
    doubtful: frozenset[PackRef] = frozenset()

    @property
    def stored_bytes(self) -> int:
        """Of all packs together."""
        return round(sum(self.bytes.values()))


def dies(snapshot: SnapshotReader, near: Sequence[SnapshotReader], candidates: Ranges) -> Deaths:
    """Return what only `snapshot` sees among it and its nearest living neighbours.

    Args:
        snapshot: The one to be deleted.
        near: The living snapshots reached from it through deleted ones only (L4).
        candidates: Addresses outside which nothing can die: all blocks, or the union of the delta maps on the
            tree paths from `snapshot` to one of `near`. With no neighbour, all blocks of the snapshot.

    Returns:
        Exact counts; memory follows a window of 64 Ki blocks, time the candidates and the entries among them.

    Raises:
        IntegrityError, NotFoundError: A map could not be read; nothing may be taken for dead.
        UnavailableError: The store does not answer.
    """
    rows: dict[PackRef, int] = {}
    everyone = (snapshot, *near)
    # Numbers for packs that mean the same in every snapshot.
    tables = [np.array([rows.setdefault(ref, len(rows)) for ref in one.packs], dtype=np.int64) for one in everyone]
    refs = tuple(rows)
    counts: dict[PackRef, int] = {}
    stored: dict[PackRef, float] = {}
    doubtful: set[PackRef] = set()
    source = PackSource(snapshot.store, ByteCache(_INDEX_CACHE_BYTES))
    for start, stop, wanted in windows(candidates, snapshot.size_blocks):
        mine = snapshot.visible(start, stop)
        dying = wanted & (mine.kinds == DATA)
        if not dying.any():
            continue
        packs, numbers = identities(mine, tables[0])
        for other, table in zip(near, tables[1:], strict=True):
            theirs = other.visible(start, stop)
            other_packs, other_numbers = identities(theirs, table)
            # A block of a pack has one address: seeing it elsewhere is impossible (I6).
            same = (packs == other_packs) & (numbers == other_numbers) & (mine.slots == theirs.slots)
            dying &= ~(same & (theirs.kinds == DATA))
        found, amounts = np.unique(np.column_stack((packs[dying], numbers[dying])), axis=0, return_counts=True)
        for (row, number), amount in zip(found.tolist(), amounts.tolist(), strict=True):
            ref = refs[row]
            counts[ref] = counts.get(ref, 0) + amount
            stored[ref] = stored.get(ref, 0.0) + amount * _share(source, ref, number, doubtful)
    return Deaths(blocks=counts, bytes=stored, doubtful=frozenset(doubtful))


def _share(source: PackSource, ref: PackRef, number: int, doubtful: set[PackRef]) -> float:
    """Return the stored bytes of a block of a frame: only an estimate, for which no deletion must fail."""
    if ref in doubtful:
        return 0.0
    try:
        return float(shares(source.open(ref)[0].index)[number])
    except (IntegrityError, ProtocolError, MissingPackError, IndexError):
        doubtful.add(ref)
        return 0.0


def identities(visible: Visible, packs: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return per block (pack, frame number), -1 where there is no data."""
    # One row more, so that frame -1 finds -1.
    pack_of = np.append(packs[visible.table.packs], -1)
    number_of = np.append(visible.table.numbers, -1)
    return pack_of[visible.frames], number_of[visible.frames]


def windows(candidates: Ranges, stop: int) -> Iterator[tuple[int, int, npt.NDArray[np.bool_]]]:
    """Yield (start, stop, mask of candidates) of windows that cover the candidates and little else."""
    at = 0
    while True:
        row = int(np.searchsorted(candidates[:, 1], at, side="right"))
        if row == len(candidates):
            return
        at = max(at, int(candidates[row, 0]))
        if at >= stop:
            return
        last = int(np.searchsorted(candidates[:, 0], at + _WINDOW_BLOCKS, side="left"))
        end = min(int(candidates[last - 1, 1]), at + _WINDOW_BLOCKS, stop)
        steps = np.zeros(end - at + 1, dtype=np.int32)
        chosen = np.clip(candidates[row:last] - at, 0, end - at)
        np.add.at(steps, chosen[:, 0], 1)
        np.add.at(steps, chosen[:, 1], -1)
        yield at, end, np.cumsum(steps[:-1]) > 0
        at = end

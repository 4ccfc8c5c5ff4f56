"""Where two snapshots differ, told by their maps alone: no pack is opened and no data is read.

A block differs if the two show different places, or one shows data where the other shows zeros. A block that was
written again with the same bytes counts as different where a delta stored it anew; none that differs is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drystone.codec.map import PackRef
from drystone.domain.blocks import EMPTY, Ranges, union
from drystone.snapstore.deaths import identities, windows
from drystone.snapstore.layers import delta_addresses
from drystone.snapstore.reader import DATA, SnapshotReader

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Blocks that differ, counted in equal stretches from the disk's beginning."""

    size_blocks: int
    bucket_blocks: int
    buckets: tuple[int, ...]


def difference(older: SnapshotReader | None, newer: SnapshotReader, buckets_max: int) -> Difference:
    """Count the blocks in which two snapshots differ; without `older`, those that `newer` holds data in.

    Memory follows a window of blocks and the number of separate ranges of the maps that only one of them lists; time
    the entries of these.

    Raises:
        IntegrityError, NotFoundError: A map cannot be trusted, or is not there.
    """
    assert buckets_max >= 1
    size_blocks = max(newer.size_blocks, 0 if older is None else older.size_blocks)
    bucket_blocks = max(1, -(-size_blocks // buckets_max))
    counts = np.zeros(max(1, -(-size_blocks // bucket_blocks)), dtype=np.int64)
    if older is None:
        for start, stop in newer.data_ranges().tolist():
            _add(counts, start, stop, bucket_blocks)
    else:
        rows: dict[PackRef, int] = {}
        tables = [
            np.array([rows.setdefault(ref, len(rows)) for ref in one.packs], dtype=np.int64) for one in (older, newer)
        ]
        for start, stop, wanted in windows(_candidates(older, newer), size_blocks):
            differs = wanted & _differs(older, newer, start, stop, tables)
            found, amounts = np.unique((start + np.flatnonzero(differs)) // bucket_blocks, return_counts=True)
            counts[found] += amounts
    return Difference(size_blocks=size_blocks, bucket_blocks=bucket_blocks, buckets=tuple(counts.tolist()))


def _differs(
    older: SnapshotReader, newer: SnapshotReader, start: int, stop: int, tables: Sequence[_Ints]
) -> npt.NDArray[np.bool_]:
    before, after = older.visible(start, stop), newer.visible(start, stop)
    places = [identities(one, table) for one, table in zip((before, after), tables, strict=True)]
    same_place = (places[0][0] == places[1][0]) & (places[0][1] == places[1][1]) & (before.slots == after.slots)
    # Zeros that a map tells and those beyond every map read the same.
    held, holds = before.kinds == DATA, after.kinds == DATA
    differs: npt.NDArray[np.bool_] = (held | holds) & ~(held & holds & same_place)
    return differs


def _candidates(older: SnapshotReader, newer: SnapshotReader) -> Ranges:
    """Return blocks outside which the two show the same.

    What only maps that both list speak of is shown by the same entries, if both list them in the same order.
    """
    lists = [[part.object for part in one.manifest.maps] for one in (older, newer)]
    shared = set(lists[0]) & set(lists[1])
    ordered = [[name for name in names if name in shared] for names in lists]
    if ordered[0] != ordered[1]:
        return union(older.data_ranges(), newer.data_ranges())
    own = sorted((set(lists[0]) | set(lists[1])) - shared)
    parts = [delta_addresses(newer.store, name) for name in own]
    # Behind the end of the smaller one nothing is shown, whatever the maps say.
    low, high = sorted((older.size_blocks, newer.size_blocks))
    larger = older if older.size_blocks == high else newer
    parts.append(larger.data_ranges(low, high) if low < high else EMPTY)
    return union(*parts)


def _add(counts: _Ints, start: int, stop: int, bucket_blocks: int) -> None:
    first, last = start // bucket_blocks, (stop - 1) // bucket_blocks
    if first == last:
        counts[first] += stop - start
        return
    counts[first] += (first + 1) * bucket_blocks - start
    counts[first + 1 : last] += bucket_blocks
    counts[last] += stop - last * bucket_blocks

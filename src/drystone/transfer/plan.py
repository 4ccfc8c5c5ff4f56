"""What to read, zero and trim, decided from extents and ranges. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from drystone.domain.blocks import (
    BLOCK_BYTES,
    EMPTY,
    Ranges,
    clip,
    intersect,
    normalize,
    subtract,
    union,
)

TRIM_ALIGN_BLOCKS: Final = 16
"""64 KiB: the unit of the copy-before-write filter of disks up to 2 TiB; larger ones it aligns itself."""
READ_DEPTH: Final = 64
"""Requests in flight: scattered blocks are many small ones; of long pieces the window lets fewer fly."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UploadPlan:
    """Blocks to read and blocks known to be zeros without reading; they are disjoint."""

    read: Ranges
    zero: Ranges


def marked(extents: npt.NDArray[np.int64], mask: int) -> Ranges:
    """Return the blocks that extents (start byte, stop byte, flags) with any flag of `mask` touch."""
    rows = extents[(extents[:, 2] & mask) != 0]
    return normalize(np.column_stack((rows[:, 0] // BLOCK_BYTES, -(-rows[:, 1] // BLOCK_BYTES))))


def wholly_marked(extents: npt.NDArray[np.int64], mask: int) -> Ranges:
    """Return the blocks that lie wholly in extents with a flag of `mask`."""
    rows = extents[(extents[:, 2] & mask) != 0]
    return normalize(np.column_stack((-(-rows[:, 0] // BLOCK_BYTES), rows[:, 1] // BLOCK_BYTES)))


def wholly_equal(extents: npt.NDArray[np.int64], flags: int) -> Ranges:
    """Return the blocks that lie wholly in extents whose flags are exactly `flags`."""
    rows = extents[extents[:, 2] == flags]
    return normalize(np.column_stack((-(-rows[:, 0] // BLOCK_BYTES), rows[:, 1] // BLOCK_BYTES)))


def plan_delta(*, dirty: Ranges, carry: Ranges, zero: Ranges, size_blocks: int) -> UploadPlan:
    """Plan a delta (A2, P2): everything in the bitmap or the carry-over, whatever else is known of it.

    Args:
        dirty: Blocks of the frozen bitmap.
        carry: Blocks of the carry-over; may reach beyond the disk's present size.
        zero: Blocks that the frozen view says are zeros.
        size_blocks: Size of the disk.
    """
    candidates = clip(union(dirty, carry), size_blocks)
    known_zero = intersect(candidates, zero)
    return UploadPlan(read=subtract(candidates, known_zero), zero=known_zero)


def plan_rescan(*, zero: Ranges, own: Ranges, base_data: Ranges) -> UploadPlan:
    """Plan a comparison with the base (A6).

    Args:
        zero: Blocks that the frozen view says are zeros.
        own: Blocks that may differ from the base: all, or the disk's own layer while it hydrates.
        base_data: Blocks in which the base holds data; all others of it are zeros.
    """
    return UploadPlan(read=subtract(own, zero), zero=intersect(intersect(own, zero), base_data))


def trimmable(needed: Ranges, size_blocks: int) -> Ranges:
    """Return what may be trimmed: outside `needed`, aligned inwards."""
    outside = subtract(normalize([(0, size_blocks)]), needed)
    return aligned_inwards(outside)


def aligned_inwards(ranges: Ranges) -> Ranges:
    """Return the whole aligned units within `ranges`."""
    if len(ranges) == 0:
        return EMPTY
    starts = -(-ranges[:, 0] // TRIM_ALIGN_BLOCKS) * TRIM_ALIGN_BLOCKS
    stops = ranges[:, 1] // TRIM_ALIGN_BLOCKS * TRIM_ALIGN_BLOCKS
    return normalize(np.column_stack((starts, stops)))


def take_first(ranges: Ranges, blocks_max: int) -> Ranges:
    """Return the first `blocks_max` blocks of `ranges`."""
    if len(ranges) == 0 or blocks_max <= 0:
        return EMPTY
    lengths = ranges[:, 1] - ranges[:, 0]
    before = np.cumsum(lengths) - lengths
    kept: Ranges = ranges[before < blocks_max].copy()
    kept[-1, 1] = min(kept[-1, 1], kept[-1, 0] + blocks_max - before[len(kept) - 1])
    return kept


def byte_ranges(ranges: Ranges) -> list[tuple[int, int]]:
    """Return (start byte, length in bytes) of each range."""
    return [(start * BLOCK_BYTES, (stop - start) * BLOCK_BYTES) for start, stop in ranges.tolist()]

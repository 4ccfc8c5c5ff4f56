"""Block addresses and sorted ranges of them.

A *block* is 4 KiB. `Ranges` is a numpy array of shape (n, 2), dtype int64: rows are half-open block ranges
`[start, stop)`, sorted, disjoint and not touching. Every function here takes and returns that form.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 4096
"""Size of the unit of tracking, hashing and storing: a guest's page and file-system block."""

Ranges = npt.NDArray[np.int64]
EMPTY: Ranges = np.empty((0, 2), dtype=np.int64)
EMPTY.setflags(write=False)


def normalize(rows: Iterable[tuple[int, int]] | Ranges) -> Ranges:
    """Return the union of any half-open ranges (unsorted, overlapping, empty ones allowed) as `Ranges`."""
    array = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), dtype=np.int64).reshape(-1, 2)
    array = array[array[:, 0] < array[:, 1]]
    if len(array) == 0:
        return EMPTY
    array = array[np.argsort(array[:, 0], kind="stable")]
    reach = np.maximum.accumulate(array[:, 1])
    first = np.empty(len(array), dtype=bool)
    first[0] = True
    first[1:] = array[1:, 0] > reach[:-1]
    starts = array[first, 0]
    stops = np.append(reach[np.flatnonzero(first)[1:] - 1], reach[-1])
    return np.column_stack((starts, stops))


def union(*parts: Ranges) -> Ranges:
    """Return the blocks that are in any of `parts`."""
    return normalize(np.concatenate((EMPTY, *parts)))


def intersect(left: Ranges, right: Ranges) -> Ranges:
    """Return the blocks that are in both."""
    return _sweep(left, right, wanted=2)


def subtract(left: Ranges, right: Ranges) -> Ranges:
    """Return the blocks of `left` that are not in `right`."""
    if len(left) == 0 or len(right) == 0:
        return left
    low = int(min(left[0, 0], right[0, 0]))
    high = int(max(left[-1, 1], right[-1, 1]))
    edges = np.concatenate(([low], right.reshape(-1), [high])).reshape(-1, 2)
    return intersect(left, normalize(edges))


def _sweep(left: Ranges, right: Ranges, *, wanted: int) -> Ranges:
    """Return where `wanted` of the two inputs overlap."""
    if len(left) == 0 or len(right) == 0:
        return EMPTY
    edges = np.concatenate((left[:, 0], right[:, 0], left[:, 1], right[:, 1]))
    steps = np.repeat(np.array([1, -1]), (len(left) + len(right)))
    # Ends before starts at the same address, so that touching ranges do not overlap.
    order = np.lexsort((steps, edges))
    edges, depth = edges[order], np.cumsum(steps[order])
    inside = np.flatnonzero(depth[:-1] == wanted)
    return normalize(np.column_stack((edges[inside], edges[inside + 1])))


def count(ranges: Ranges) -> int:
    """Return the number of blocks."""
    return int((ranges[:, 1] - ranges[:, 0]).sum())


def clip(ranges: Ranges, stop: int) -> Ranges:
    """Return the blocks below `stop`."""
    return intersect(ranges, normalize([(0, stop)]))


def cover_bytes(start: int, stop: int) -> tuple[int, int]:
    """Return the block range [first, last) that byte range [start, stop) touches; empty if that is."""
    if start >= stop:
        return start // BLOCK_BYTES, start // BLOCK_BYTES
    return start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)


def split(ranges: Ranges, blocks_max: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges in order, cut into pieces of at most `blocks_max` blocks."""
    assert blocks_max > 0
    for start, stop in ranges.tolist():
        for at in range(start, stop, blocks_max):
            yield at, min(at + blocks_max, stop)


def from_blocks(blocks: npt.NDArray[np.int64]) -> Ranges:
    """Return the ranges of any block addresses (unsorted, repeated ones allowed)."""
    blocks = np.unique(np.asarray(blocks, dtype=np.int64))
    if len(blocks) == 0:
        return EMPTY
    breaks = np.flatnonzero(np.diff(blocks) != 1)
    starts = blocks[np.concatenate(([0], breaks + 1))]
    stops = blocks[np.concatenate((breaks, [len(blocks) - 1]))] + 1
    return np.column_stack((starts, stops))


def pieces(ranges: Iterable[tuple[int, int]], piece_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut ranges of (start byte, length) into pieces of at most `piece_bytes`."""
    for start, length in ranges:
        for at in range(start, start + length, piece_bytes):
            yield at, min(piece_bytes, start + length - at)

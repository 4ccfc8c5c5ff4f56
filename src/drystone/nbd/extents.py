"""Block status: QEMU's metadata contexts and their flags, and answers as extents. Pure."""

from typing import Final

import numpy as np
import numpy.typing as npt

from drystone.domain.errors import ProtocolError

ALLOCATION_DEPTH: Final = "qemu:allocation-depth"
STATE_DIRTY: Final = 1
"""Flag of `qemu:dirty-bitmap:NAME`."""

Extents = npt.NDArray[np.int64]
"""Rows (start byte, stop byte, flags), ascending, touching; neighbours differ in flags."""


def dirty_bitmap(name: str) -> str:
    """Return the name of the metadata context of QEMU's dirty bitmap `name`."""
    return f"qemu:dirty-bitmap:{name}"


def rows_of(offset: int, entries: bytes) -> Extents:
    """Return (start, stop, flags) of one status reply."""
    pairs = np.frombuffer(entries, dtype=np.uint32).reshape(-1, 2).astype(np.int64)
    stops = offset + np.cumsum(pairs[:, 0])
    return np.column_stack((stops - pairs[:, 0], stops, pairs[:, 1]))


def merged(found: list[tuple[int, Extents]], start: int, stop: int, what: str) -> Extents:
    """Join the rows of all replies into one gapless list that is cut to [start, stop)."""
    rows = np.concatenate([part for _, part in sorted(found, key=lambda item: int(item[1][0, 0]))])
    rows = rows[rows[:, 0] < rows[:, 1]]
    # The last extent of a reply may reach beyond what was asked; the next reply then says it again.
    reach = np.concatenate(([start], np.maximum.accumulate(rows[:, 1])[:-1]))
    if len(rows) == 0 or (rows[:, 0] > reach).any() or rows[:, 1].max() < stop:
        raise ProtocolError(f"{what}: the status of [{start}, {stop}) has gaps")
    rows[:, 0] = np.maximum(rows[:, 0], reach)
    rows[:, 1] = np.minimum(rows[:, 1], stop)
    rows = rows[rows[:, 0] < rows[:, 1]]
    first = np.concatenate(([True], rows[1:, 2] != rows[:-1, 2]))
    starts = rows[first, 0]
    stops = np.append(starts[1:], stop)
    return np.column_stack((starts, stops, rows[first, 2]))

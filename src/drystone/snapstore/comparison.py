"""Which blocks of a disk differ from a snapshot, by hash, without reading the snapshot's data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drystone.codec.hashes import HASH_BYTES, Buffer, HashKeys, block_hashes
from drystone.domain.blocks import BLOCK_BYTES, EMPTY, Ranges, from_blocks
from drystone.snapstore.reader import ABSENT, DATA, ZERO

Expect = Callable[[int, int], tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]
"""`SnapshotReader.hashes`, or `ExpectedHashes` where the disk is gone through in order.

A kind that is none of ABSENT, ZERO and DATA is nothing's: that block is different, whatever it holds.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """Blocks beside what a snapshot shows at their place."""

    empty: npt.NDArray[np.bool_]
    """Per block: all of it is zeros."""
    same: npt.NDArray[np.bool_]
    """Per block: the snapshot shows the same. What lies beyond its size is zeros to it."""
    hashes: bytes
    """Of all blocks, 16 bytes each."""


def compared(keys: HashKeys, expect: Expect, first_block: int, data: Buffer) -> Compared:
    """Compare `data` (whole blocks from `first_block` on) with a snapshot.

    Raises:
        IntegrityError, UnavailableError: The snapshot's hashes cannot be had.
    """
    empty, hashes = zero_blocks(data), block_hashes(keys, data)
    kinds, expected = expect(first_block, first_block + len(empty))
    found = np.frombuffer(hashes, dtype=np.uint8).reshape(-1, HASH_BYTES)
    nothing = (kinds == ABSENT) | (kinds == ZERO)
    same = np.where(empty, nothing, (kinds == DATA) & (found == expected).all(axis=1))
    return Compared(empty=empty, same=same, hashes=hashes)


def differing(keys: HashKeys, expect: Expect, first_block: int, data: Buffer) -> Ranges:
    """Return the blocks of `data` that the snapshot shows otherwise; arguments and errors as `compared`."""
    same = compared(keys, expect, first_block, data).same
    return EMPTY if same.all() else from_blocks(first_block + np.flatnonzero(~same))


def zero_blocks(data: Buffer) -> npt.NDArray[np.bool_]:
    """Tell for each block of `data` whether it is all zeros, by comparing every byte that matters."""
    words = np.frombuffer(data, dtype=np.uint64).reshape(-1, BLOCK_BYTES // 8)
    # Nearly every block that is not zero shows it in its first word.
    empty: npt.NDArray[np.bool_] = words[:, 0] == 0
    doubtful = np.flatnonzero(empty)
    if len(doubtful):
        empty[doubtful] = ~words[doubtful].any(axis=1)
    return empty

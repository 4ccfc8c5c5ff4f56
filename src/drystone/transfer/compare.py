"""Which blocks of a disk differ from a snapshot, by hash, without reading the snapshot's data."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from drystone.codec.hashes import HASH_BYTES, HashKeys, block_hashes
from drystone.domain.blocks import BLOCK_BYTES, EMPTY, Ranges, from_blocks
from drystone.snapstore.reader import DATA
from drystone.snapstore.writer import zero_blocks

Expect = Callable[[int, int], tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]
"""`SnapshotReader.hashes`, or `ExpectedHashes` where the disk is gone through in order."""


def differing(keys: HashKeys, expect: Expect, first_block: int, data: memoryview) -> Ranges:
    """Return the blocks of `data` (whole blocks from `first_block` on) that the snapshot shows otherwise.

    What lies beyond the snapshot's size is zeros to it.

    Raises:
        IntegrityError, UnavailableError: The snapshot's hashes cannot be had.
    """
    count = len(data) // BLOCK_BYTES
    assert count * BLOCK_BYTES == len(data)
    kinds, expected = expect(first_block, first_block + count)
    found = np.frombuffer(block_hashes(keys, data), dtype=np.uint8).reshape(count, HASH_BYTES)
    is_data = kinds == DATA
    unequal = np.where(is_data, (found != expected).any(axis=1), ~zero_blocks(data))
    if not unequal.any():
        return EMPTY
    return from_blocks(first_block + np.flatnonzero(unequal))

"""Which blocks of a disk differ from a snapshot, by hash, without reading the snapshot's data."""

import numpy as np

from drystone.codec.hashes import HASH_BYTES, HashKeys, block_hashes
from drystone.domain.blocks import BLOCK_BYTES, Ranges, from_blocks
from drystone.snapstore.reader import DATA, SnapshotReader


def differing(keys: HashKeys, reader: SnapshotReader, first_block: int, data: memoryview) -> Ranges:
    """Return the blocks of `data` (whole blocks from `first_block` on) that the snapshot shows otherwise.

    What lies beyond the snapshot's size is zeros to it.

    Raises:
        IntegrityError, UnavailableError: The snapshot's hashes cannot be had.
    """
    count = len(data) // BLOCK_BYTES
    assert count * BLOCK_BYTES == len(data)
    kinds, expected = reader.hashes(first_block, first_block + count)
    words = np.frombuffer(data, dtype=np.uint64).reshape(count, -1)
    nonzero = words.any(axis=1)
    found = np.frombuffer(block_hashes(keys, data), dtype=np.uint8).reshape(count, HASH_BYTES)
    is_data = kinds == DATA
    unequal = np.where(is_data, (found != expected).any(axis=1), nonzero)
    return from_blocks(first_block + np.flatnonzero(unequal))

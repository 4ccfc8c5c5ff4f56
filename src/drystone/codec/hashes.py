"""Keyed BLAKE3: hashes of blocks, of frames' lists of hashes, and the seals of indexes, maps and manifests.

Three keys are derived from the store's key, so that a hash made for one purpose proves nothing for another.
Without the key nobody who can read the bucket can confirm a known block by its hash.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from blake3 import blake3

from drystone.domain.blocks import BLOCK_BYTES

HASH_BYTES = 16
"""Of blocks and lists: 128 bits. A session compares with its own base only: a collision cheats its maker."""
SEAL_BYTES = 32
KEY_BYTES = 32

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class HashKeys:
    """The keys of one store's hashes; `repr` shows none of them."""

    blocks: bytes = field(repr=False)
    lists: bytes = field(repr=False)
    seals: bytes = field(repr=False)


def derive_keys(store_key: bytes) -> HashKeys:
    """Return the keys that follow from the 32 random bytes of a store that is not sealed."""
    assert len(store_key) == KEY_BYTES
    return HashKeys(
        blocks=blake3(store_key, derive_key_context="drystone 1 block").digest(),
        lists=blake3(store_key, derive_key_context="drystone 1 list of block hashes").digest(),
        seals=blake3(store_key, derive_key_context="drystone 1 seal").digest(),
    )


def derive_sealed_keys(store_key: bytes) -> HashKeys:
    """Return those that follow from the key of a sealed store. They seal nothing: what seals has keys of its own."""
    assert len(store_key) == KEY_BYTES
    return HashKeys(
        blocks=blake3(store_key, derive_key_context="drystone 2 block").digest(),
        lists=blake3(store_key, derive_key_context="drystone 2 list of block hashes").digest(),
        seals=b"",
    )


def key_check(store_key: bytes) -> str:
    """Return what tells a damaged key from a whole one: 16 hex digits that follow from it."""
    return blake3(store_key, derive_key_context="drystone 1 key check").digest(8).hex()


def block_hash(keys: HashKeys, block: Buffer) -> bytes:
    """Return the 16-byte hash of one block of 4 KiB."""
    assert len(block) == BLOCK_BYTES
    return blake3(block, key=keys.blocks).digest(HASH_BYTES)


def block_hashes(keys: HashKeys, data: Buffer) -> bytes:
    """Return the hashes of consecutive whole blocks, 16 bytes each, concatenated in order."""
    view = memoryview(data)
    assert len(view) % BLOCK_BYTES == 0
    # One hasher that is reset, which keeps its key: a tenth quicker than copying a fresh one for each block.
    hasher = blake3(key=keys.blocks)
    update, digest, reset = hasher.update, hasher.digest, hasher.reset
    hashes = []
    for at in range(0, len(view), BLOCK_BYTES):
        update(view[at : at + BLOCK_BYTES])
        hashes.append(digest(HASH_BYTES))
        reset()
    return b"".join(hashes)


def list_hash(keys: HashKeys, hashes: Buffer) -> bytes:
    """Return the 16-byte hash of a frame's concatenated block hashes."""
    return blake3(hashes, key=keys.lists).digest(HASH_BYTES)


def seal(keys: HashKeys, parts: Iterable[Buffer]) -> bytes:
    """Return the 32-byte seal over the concatenation of `parts`."""
    hasher = blake3(key=keys.seals)
    for part in parts:
        hasher.update(part)
    return hasher.digest(SEAL_BYTES)

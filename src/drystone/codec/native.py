"""Hashes of many blocks in one call of our own C (`block_hashes.c`), where `./dev` has built it.

The library blake3 hashes block by block and asks for the interpreter twice per block, so that two threads that hash
are no quicker than one. Without a compiler, or on a processor without wide registers, there is only the library.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import cffi
import numpy as np
from blake3 import blake3

Buffer = bytes | bytearray | memoryview
Hashes = Callable[[bytes, Buffer], bytes]
"""(key, whole blocks) to the blocks' hashes, concatenated."""

LIBRARY: Final = __file__.rpartition("/")[0] + "/libblockhashes.so"
_BLOCK_BYTES: Final = 4096
_HASH_BYTES: Final = 16
_CHECKED_BLOCKS: Final = 35
"""Two full groups of the widest registers, and a part of one."""

_ffi: Any = cffi.FFI()
_ffi.cdef("""
int drystone_lanes (void);
void drystone_block_hashes (int lanes, const uint8_t *key, const uint8_t *data, size_t blocks, uint8_t *out);
""")


@functools.cache
def native_hashes(path: str = LIBRARY, lanes: int | None = None) -> Hashes | None:
    """Return the function, or None if there is none that gives what the library blake3 gives.

    Args:
        path: The shared library.
        lanes: For tests: 8 or 16, at most what the processor has.
    """
    try:
        library = _ffi.dlopen(path)
    except OSError:
        return None
    width = int(library.drystone_lanes()) if lanes is None else lanes
    if not 0 < width <= int(library.drystone_lanes()):
        return None

    def hashes(key: bytes, data: Buffer) -> bytes:
        # What the C side takes on trust.
        assert len(key) == 32
        assert len(data) % _BLOCK_BYTES == 0
        blocks = len(data) // _BLOCK_BYTES
        out = bytearray(blocks * _HASH_BYTES)
        library.drystone_block_hashes(
            width, _ffi.from_buffer(key), _ffi.from_buffer(data), blocks, _ffi.from_buffer(out)
        )
        return bytes(out)

    return hashes if agrees(hashes) else None


def agrees(hashes: Hashes) -> bool:
    """Tell whether a function gives the library's hashes, for every number of blocks that fills registers unevenly.

    A wrong hash would condemn good data, or let a changed block pass as unchanged: so nothing is used unproven.
    """
    key = bytes(range(32))
    # Every word differs from every other, and from block to block.
    words = np.arange(1, _CHECKED_BLOCKS * _BLOCK_BYTES // 4 + 1, dtype=np.uint32) * np.uint32(0x9E3779B1)
    data = words.astype("<u4").tobytes()
    right = [
        blake3(data[at : at + _BLOCK_BYTES], key=key).digest(_HASH_BYTES) for at in range(0, len(data), _BLOCK_BYTES)
    ]
    return all(
        hashes(key, data[: count * _BLOCK_BYTES]) == b"".join(right[:count]) for count in range(_CHECKED_BLOCKS + 1)
    )

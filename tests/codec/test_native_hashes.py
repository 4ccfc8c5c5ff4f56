"""The C that hashes many blocks at once gives what the library blake3 gives, or is not used."""

import random
from pathlib import Path

import pytest
from blake3 import blake3

from drystone.codec.hashes import block_hash, block_hashes, derive_keys
from drystone.codec.native import LIBRARY, Hashes, agrees, native_hashes

KEYS = derive_keys(b"\x07" * 32)
BLOCK = 4096
FLAGS = {8: "avx2", 16: "avx512bw"}


def plainly(key: bytes, data: bytes | bytearray | memoryview) -> bytes:
    return b"".join(blake3(data[at : at + BLOCK], key=key).digest(16) for at in range(0, len(data), BLOCK))


@pytest.mark.parametrize("lanes", [8, 16])
def test_native_hashes_are_those_of_the_library(lanes: int) -> None:
    if not Path(LIBRARY).exists() or FLAGS[lanes] not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("no gcc built it, or this processor has no registers so wide")
    native = native_hashes(LIBRARY, lanes)
    assert native is not None
    rng = random.Random(lanes)
    for count in (0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 257):
        for offset in (0, 1, 63):
            data = memoryview(bytearray(rng.randbytes(count * BLOCK + offset)))[offset:]
            assert native(KEYS.blocks, data) == plainly(KEYS.blocks, data), (count, offset)
    for plain in (bytes(64 * BLOCK), b"\xff" * (64 * BLOCK)):
        assert native(KEYS.blocks, plain) == plainly(KEYS.blocks, plain)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 64])
def test_hashes_of_many_blocks_are_those_of_each(count: int) -> None:
    data = random.Random(count).randbytes(count * BLOCK)
    each = [block_hash(KEYS, data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
    assert block_hashes(KEYS, data) == block_hashes(KEYS, bytearray(data)) == b"".join(each)


def late(key: bytes, data: bytes | bytearray | memoryview) -> bytes:
    """Right for whole groups of 16 blocks, wrong in the last of what is left over."""
    hashes = bytearray(plainly(key, data))
    if len(data) % (16 * BLOCK):
        hashes[-1] ^= 1
    return bytes(hashes)


def swapped(key: bytes, data: bytes | bytearray | memoryview) -> bytes:
    hashes = plainly(key, data)
    return hashes if len(hashes) < 17 * 16 else hashes[256:272] + hashes[16:256] + hashes[:16] + hashes[272:]


def keyless(key: bytes, data: bytes | bytearray | memoryview) -> bytes:
    return plainly(bytes(32), data)


@pytest.mark.parametrize("wrong", [late, swapped, keyless])
def test_what_differs_from_the_library_is_refused(wrong: Hashes) -> None:
    assert agrees(plainly)
    assert not agrees(wrong)


def test_no_library_is_no_error(tmp_path: Path) -> None:
    assert native_hashes(str(tmp_path / "lib.so")) is None
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(b"\x7fELF, but no library")
    assert native_hashes(str(damaged)) is None

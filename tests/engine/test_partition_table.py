"""The program that reads partition tables: real tables, and any bytes at all."""

import random
import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st

from drystone.engine.partition_table import ENTRIES_MAX, SECTOR, partitions

SECTORS = 1 << 15
Found = list[tuple[int, int, int]]


def found_in(disk: bytes | bytearray) -> Found:
    asked = 0

    def read(start: int, count: int) -> bytes:
        nonlocal asked
        asked += 1
        assert asked < 300  # Every loop has an end.
        assert 0 < count <= 32
        return bytes(disk[start * SECTOR : (start + count) * SECTOR]) if start >= 0 else b""

    found = partitions(read, len(disk) // SECTOR)
    assert all(0 < start < start + count <= len(disk) // SECTOR for _, start, count in found)
    return found


def boot(*entries: tuple[int, int, int]) -> bytes:
    table = b"".join(struct.pack("<4xB3xII", *entry) for entry in entries)
    return (bytes(446) + table).ljust(510, b"\0") + b"\x55\xaa"


def put(disk: bytearray, sector: int, data: bytes | bytearray) -> None:
    disk[sector * SECTOR : sector * SECTOR + len(data)] = data


def gpt(*entries: tuple[int, int], sectors: int = SECTORS) -> bytearray:
    disk = bytearray(sectors * SECTOR)
    put(disk, 0, boot((0xEE, 1, 0xFFFFFFFF)))
    listed = b"".join(b"T" * 16 + b"U" * 16 + struct.pack("<QQ", first, last) + bytes(80) for first, last in entries)
    listed = listed.ljust(128 * 128, b"\0")
    for at, where in ((1, 2), (sectors - 1, sectors - 33)):
        head = bytearray(92)
        struct.pack_into("<8sIII", head, 0, b"EFI PART", 0x10000, 92, 0)
        struct.pack_into("<QIII", head, 72, where, 128, 128, zlib.crc32(listed))
        struct.pack_into("<I", head, 16, zlib.crc32(head))
        put(disk, at, head)
        put(disk, where, listed)
    return disk


def test_nothing_where_there_is_no_table() -> None:
    assert found_in(bytes(SECTORS * SECTOR)) == []
    assert found_in(b"") == []
    assert found_in(boot((0x83, 2048, SECTORS))) == []


def test_mbr_with_logical_partitions() -> None:
    disk = bytearray(SECTORS * SECTOR)
    put(disk, 0, boot((0x83, 2048, 1000), (0x05, 8192, 20000)))
    put(disk, 8192, boot((0x83, 63, 500), (0x05, 1000, 1000)))
    put(disk, 9192, boot((0x83, 63, 700)))
    assert found_in(disk) == [(1, 2048, 1000), (2, 8192, 2), (5, 8255, 500), (6, 9255, 700)]
    # A chain that leads back to itself ends.
    put(disk, 9192, boot((0x83, 63, 700), (0x05, 1000, 1000)))
    assert len(found_in(disk)) <= ENTRIES_MAX


def test_gpt_and_its_copy_at_the_end() -> None:
    disk = gpt((2048, 4095), (4096, 8191))
    expected = [(1, 2048, 2048), (2, 4096, 4096)]
    assert found_in(disk) == expected
    disk[SECTOR + 20] ^= 1
    assert found_in(disk) == expected
    disk[(SECTORS - 33) * SECTOR] ^= 1
    assert found_in(disk) == []


@given(seed=st.integers(0, 1 << 32), kind=st.sampled_from(["gpt", "mbr"]))
def test_any_bytes(seed: int, kind: str) -> None:
    rng = random.Random(seed)
    disk = gpt((100, 199), (1, 1 << 60), sectors=256) if kind == "gpt" else bytearray(rng.randbytes(64 * SECTOR))
    if kind == "mbr":
        put(disk, 510 // SECTOR, disk[:510] + b"\x55\xaa")
        for sector in range(1, 64):
            disk[sector * SECTOR + 510 : sector * SECTOR + 512] = b"\x55\xaa"
            disk[sector * SECTOR + 446 + 4] = 5
    for _ in range(rng.randrange(1, 40)):
        disk[rng.randrange(min(len(disk), 3 * SECTOR))] = rng.randrange(256)
    found_in(bytes(disk))

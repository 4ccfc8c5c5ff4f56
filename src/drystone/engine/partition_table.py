"""A program that reads the partition table of the disk at its standard input; run by `partitions`, as nobody.

Prints a line `NUMBER FIRST-SECTOR SECTORS` for each partition. Every number in the table is a guest's: each is checked
against the disk before anything is read by it, and all loops have an end.
"""

import os
import resource
import struct
import sys
import zlib
from collections.abc import Callable, Iterator

SECTOR = 512
ENTRIES_MAX = 128
NOBODY = 65534
SECONDS_MAX = 2
MEMORY_BYTES_MAX = 256 << 20
EXTENDED = frozenset({0x05, 0x0F, 0x85})
PROTECTIVE = 0xEE
Read = Callable[[int, int], bytes]
"""Bytes of the disk from a sector on, so many sectors; fewer at its end."""


def partitions(read: Read, sectors: int) -> list[tuple[int, int, int]]:
    """Return (number, first sector, sectors) of each partition; nothing where there is no table."""
    boot = read(0, 1)
    if len(boot) < SECTOR or boot[510:] != b"\x55\xaa":
        return []
    found = _gpt(read, sectors) if any(kind == PROTECTIVE for kind, _, _ in _entries(boot)) else _mbr(read, boot)
    return [(number, start, count) for number, start, count in found if 0 < start < start + count <= sectors]


def _gpt(read: Read, sectors: int) -> list[tuple[int, int, int]]:
    for at in (1, sectors - 1):  # The copy at the end counts where the first is damaged.
        head = read(at, 1)
        if len(head) < SECTOR or head[:8] != b"EFI PART":
            continue
        length, checksum = struct.unpack_from("<II", head, 12)
        where, count, size, listed = struct.unpack_from("<QIII", head, 72)
        if not 92 <= length <= SECTOR or zlib.crc32(head[:16] + bytes(4) + head[20:length]) != checksum:
            continue
        if not (0 < count <= ENTRIES_MAX and size == ENTRIES_MAX and 0 < where < sectors):
            continue
        entries = read(where, -(-count * size // SECTOR))[: count * size]
        if len(entries) != count * size or zlib.crc32(entries) != listed:
            continue
        found = []
        for index in range(count):
            entry = entries[index * size : (index + 1) * size]
            first, last = struct.unpack_from("<QQ", entry, 32)
            if entry[:16] != bytes(16):
                found.append((index + 1, first, last - first + 1))
        return found
    return []


def _mbr(read: Read, boot: bytes) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for index, (kind, start, count) in enumerate(_entries(boot)):
        if kind in EXTENDED:
            # Not more than the kernel shows of it: a boot loader fits in, and nothing that could be mounted.
            found += [(index + 1, start, min(count, 2)), *_logical(read, start)]
        elif kind:
            found.append((index + 1, start, count))
    return sorted(found)


def _logical(read: Read, base: int) -> Iterator[tuple[int, int, int]]:
    at = base
    for number in range(5, ENTRIES_MAX + 1):
        table = read(at, 1)
        if len(table) < SECTOR or table[510:] != b"\x55\xaa":
            return
        following = None
        for kind, start, count in _entries(table)[:2]:
            if kind in EXTENDED:
                following = base + start
            elif kind:
                yield number, at + start, count
        if following is None:
            return
        at = following


def _entries(table: bytes) -> list[tuple[int, int, int]]:
    """Return (type, first sector, sectors) of the four entries; type 0 is none."""
    found = [struct.unpack_from("<4xB3xII", table, 446 + 16 * index) for index in range(4)]
    return [(kind if count else 0, start, count) for kind, start, count in found]


def main() -> None:
    """Give up all rights, then read."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    for limit, value in (
        (resource.RLIMIT_CPU, SECONDS_MAX), (resource.RLIMIT_AS, MEMORY_BYTES_MAX),
        (resource.RLIMIT_FSIZE, 1 << 16), (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_NOFILE, 3),
    ):  # fmt: skip
        resource.setrlimit(limit, (value, value))
    size = os.lseek(0, 0, os.SEEK_END)

    def read(start: int, count: int) -> bytes:
        return os.pread(0, count * SECTOR, start * SECTOR) if 0 <= start < size // SECTOR else b""

    for number, start, count in partitions(read, size // SECTOR):
        sys.stdout.write(f"{number} {start} {count}\n")


if __name__ == "__main__":
    main()

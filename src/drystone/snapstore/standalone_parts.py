# Imports nothing of Drystone but one file: the stand-alone reader that lies in every store has both within it.
"""What the stand-alone reader takes apart: columns, compressed bytes, parts of objects."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import zstandard

from drystone.objects.standalone_bucket import BucketPath  # in a store its text stands above


class DamageError(Exception):
    """Something is not there, or is not what was written."""


def need(holds: bool, message: str) -> None:  # noqa: FBT001 - reads as an assertion, which python -O would drop
    """Raise unless something holds."""
    if not holds:
        raise DamageError(message)


class Columns:
    """Takes numbers off the front of bytes."""

    def __init__(self, plain: bytes, what: str) -> None:
        self._plain, self._what = plain, what
        self._at = 0

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        need(length <= len(self._plain) - self._at, f"{self._what} is too short")
        part = self._plain[self._at : self._at + length]
        self._at += length
        return part

    def column(self, kind: str, count: int) -> tuple[int, ...]:
        """Return the next `count` numbers of a `struct` kind."""
        width = struct.calcsize("<" + kind)
        return struct.unpack(f"<{count}{kind}", self.take(width * count))

    def number(self) -> int:
        """Return the next u32."""
        return self.column("I", 1)[0]

    def pieces(self, width: int, count: int) -> list[bytes]:
        """Return the next `count` strings of `width` bytes."""
        raw = self.take(width * count)
        return [raw[at : at + width] for at in range(0, len(raw), width)]

    def finish(self) -> None:
        """Raise unless everything was taken."""
        need(self._at == len(self._plain), f"{self._what} is too long")


def ascending(differences: tuple[int, ...], what: str) -> list[int]:
    """Return strictly ascending numbers of their differences."""
    need(all(step > 0 for step in differences[1:]), f"{what}: addresses do not ascend")
    numbers = list(itertools.accumulate(differences))
    need(not numbers or numbers[-1] < 1 << 51, f"{what}: an address is too large")
    return numbers


def expand(encoding: int, stored: bytes, plain_bytes: int, what: str) -> bytes:
    """Return stored bytes as they were before compression."""
    if encoding == 0:
        need(len(stored) == plain_bytes, f"{what} has a wrong length")
        return stored
    need(encoding == 1, f"{what}: encoding {encoding} is unknown; a newer reader is needed")
    try:
        need(zstandard.frame_content_size(stored) == plain_bytes, f"{what} claims a wrong length")
        plain = zstandard.ZstdDecompressor().decompress(stored, max_output_size=plain_bytes)
    except zstandard.ZstdError as error:
        raise DamageError(f"{what}: {error}") from error
    need(len(plain) == plain_bytes, f"{what} has a wrong length")
    return plain


def read_part(path: Path | BucketPath, ends: list[int], what: str) -> bytes:
    """Return the bytes of a file from the first of two places to the second."""
    start, stop = ends
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)
    except OSError as error:
        raise DamageError(f"{what}: {error}") from error

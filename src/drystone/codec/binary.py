"""What packs and maps share: columns of numbers, compression that never trusts a length, and the sealed tail.

Both objects end in an index and a fixed trailer of 64 bytes (docs/format.md, "Tail"). All is little-endian.
"""

import hmac
import struct
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from drystone.codec.hashes import SEAL_BYTES, Buffer, HashKeys, seal
from drystone.domain.errors import IntegrityError, ProtocolError

RAW = 0
ZSTD = 1
ZSTD_LEVEL = 1

_FIELDS = struct.Struct("<QIIB7x")
_MAGIC_BYTES = 8
TRAILER_BYTES = _FIELDS.size + SEAL_BYTES + _MAGIC_BYTES
INDEX_BYTES_MAX = 256 << 20
"""Refused beyond this, before any memory is spent on it: the directory of a full 10 TiB map is 11 MiB."""


class _Contexts(threading.local):
    """A decompressor per thread: making one costs more than a frame of 256 KiB does."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


class ColumnReader:
    """Takes columns off the front of bytes; a short or overlong input is a `ProtocolError`."""

    def __init__(self, plain: Buffer, what: str) -> None:
        self._view = memoryview(plain)
        self._at = 0
        self._what = what

    def take(self, bytes_count: int) -> memoryview:
        """Return the next `bytes_count` bytes."""
        if bytes_count > len(self._view) - self._at:
            raise ProtocolError(f"{self._what} ends at byte {len(self._view)}, {bytes_count} more expected")
        part = self._view[self._at : self._at + bytes_count]
        self._at += bytes_count
        return part

    def number(self) -> int:
        """Return the next u32."""
        return int.from_bytes(self.take(4), "little")

    def column(self, dtype: str, count: int) -> npt.NDArray[Any]:
        """Return the next `count` numbers of a little-endian numpy type, as a copy."""
        kind = np.dtype(dtype)
        return np.frombuffer(self.take(kind.itemsize * count), dtype=kind).copy()

    def hashes(self, count: int, width: int) -> npt.NDArray[np.uint8]:
        """Return the next `count` hashes as an array of shape (count, width)."""
        return self.column("u1", count * width).reshape(count, width)

    def finish(self) -> None:
        """Raise unless everything was taken."""
        if self._at != len(self._view):
            raise ProtocolError(f"{self._what} has {len(self._view) - self._at} bytes too many")


def ascending(column: npt.NDArray[np.int64]) -> bytes:
    """Return an ascending column of block addresses as differences, u64 each: they compress."""
    return np.diff(column, prepend=0).astype("<u8").tobytes()


def from_ascending(differences: npt.NDArray[np.uint64], limit: int, what: str) -> npt.NDArray[np.int64]:
    """Return the addresses of an `ascending` column.

    Raises:
        ProtocolError: An address is `limit` or more, or the column does not ascend strictly.
    """
    # In floating point first: a sum of forged differences cannot wrap round there.
    if float(differences.sum(dtype=np.float64)) > 2.0 * limit:
        raise ProtocolError(f"{what}: addresses do not ascend below {limit}")
    values: npt.NDArray[np.int64] = np.cumsum(differences.astype(np.int64))
    if len(values) and (int(values.max()) >= limit or int(values.min()) < 0 or bool((np.diff(values) <= 0).any())):
        raise ProtocolError(f"{what}: addresses do not ascend below {limit}")
    return values


def shrink(plain: bytes) -> tuple[int, bytes]:
    """Return (encoding, bytes): zstd where that is smaller, else raw."""
    packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(plain)
    return (ZSTD, packed) if len(packed) < len(plain) else (RAW, plain)


def expand(encoding: int, stored: Buffer, plain_bytes: int, what: str) -> bytes:
    """Return the `plain_bytes` bytes that `shrink` was given.

    Raises:
        IntegrityError: The stored bytes are no such stream.
        ProtocolError: The encoding is unknown.
    """
    if encoding == RAW:
        if len(stored) != plain_bytes:
            raise IntegrityError(f"{what}: {len(stored)} raw bytes stored, {plain_bytes} expected")
        return bytes(stored)
    if encoding != ZSTD:
        raise ProtocolError(f"{what}: encoding {encoding} is unknown")
    try:
        # The length that the stream itself claims is what zstandard allocates: it is compared first.
        claimed = zstandard.frame_content_size(stored)
        if claimed != plain_bytes:
            raise IntegrityError(f"{what}: stream claims {claimed} bytes, {plain_bytes} expected")
        plain = _contexts.decompressor.decompress(stored, max_output_size=plain_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"{what}: {error}") from error
    if len(plain) != plain_bytes:
        raise IntegrityError(f"{what}: stream gives {len(plain)} bytes, {plain_bytes} expected")
    return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Trailer:
    """Where an object's index is, and what it must hash to."""

    index_offset: int
    stored_bytes: int
    plain_bytes: int
    encoding: int
    fields: bytes
    seal: bytes
    magic: bytes


def encode_tail(keys: HashKeys, plain: bytes, index_offset: int, magic: bytes) -> bytes:
    """Return the index and its trailer, to be stored at `index_offset`."""
    assert len(plain) <= INDEX_BYTES_MAX
    encoding, stored = shrink(plain)
    fields = _FIELDS.pack(index_offset, len(stored), len(plain), encoding)
    return b"".join((stored, fields, seal(keys, (magic, fields, stored)), magic))


def decode_trailer(last: Buffer, object_bytes: int, magic: bytes, what: str) -> Trailer:
    """Return the trailer in the `last` bytes (at least 64, if the object has them) of an object.

    Raises:
        ProtocolError: The object does not end in such a trailer, or its lengths do not add up.
    """
    if len(last) < TRAILER_BYTES or bytes(last[-_MAGIC_BYTES:]) != magic:
        raise ProtocolError(f"{what} of {object_bytes} bytes has no trailer {magic!r}")
    raw = bytes(last[-TRAILER_BYTES:])
    fields = raw[: _FIELDS.size]
    offset, stored_bytes, plain_bytes, encoding = _FIELDS.unpack(fields)
    if offset + stored_bytes + TRAILER_BYTES != object_bytes or max(stored_bytes, plain_bytes) > INDEX_BYTES_MAX:
        raise ProtocolError(
            f"{what}: index of {stored_bytes} ({plain_bytes}) bytes at {offset}, object of {object_bytes}"
        )
    return Trailer(
        index_offset=offset, stored_bytes=stored_bytes, plain_bytes=plain_bytes, encoding=encoding,
        fields=fields, seal=raw[_FIELDS.size : -_MAGIC_BYTES], magic=magic,
    )  # fmt: skip


def open_index(keys: HashKeys, trailer: Trailer, stored: Buffer, what: str) -> bytes:
    """Return the plain index, after its seal was found right.

    Raises:
        IntegrityError: The seal does not fit: the index or the trailer is not what was written.
    """
    if len(stored) != trailer.stored_bytes:
        raise IntegrityError(f"{what}: index is {len(stored)} bytes, {trailer.stored_bytes} expected")
    if not hmac.compare_digest(seal(keys, (trailer.magic, trailer.fields, stored)), trailer.seal):
        raise IntegrityError(f"{what}: the seal of the index does not fit")
    return expand(trailer.encoding, stored, trailer.plain_bytes, what)

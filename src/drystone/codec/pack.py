"""Packs: bytes to values and back (docs/format.md, "Pack")."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import zstandard

from drystone.codec.binary import (
    RAW,
    TRAILER_BYTES,
    ZSTD,
    ZSTD_LEVEL,
    ColumnReader,
    Trailer,
    ascending,
    encode_tail,
    expand,
    from_ascending,
    open_index,
    shrink,
)
from drystone.codec.hashes import HASH_BYTES, Buffer, HashKeys, block_hashes
from drystone.codec.sealed import FOOT_BYTES, INDEX_ADDED_BYTES, SEALED_FORMAT, TAG_BYTES, Opener, Sealing
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import PackId, SessionId

PACK_VERSION = 1
PACK_MAGIC = b"DRYSPACK"
PACK_TAIL_MAGIC = b"DRYSPIDX"
FRAME_BLOCKS_MAX = 64
"""256 KiB: a larger frame makes a small read dearer, a smaller one compresses worse."""
FRAME_BYTES_MAX = FRAME_BLOCKS_MAX * BLOCK_BYTES
PACK_FRAMES_MAX = 1 << 20
PACK_BLOCKS_MAX = 1 << 20
SALT_BYTES = 32
ADDRESS_LIMIT = 1 << 51
"""Block addresses are below this: bytes then stay below 2^63."""

_HEADER = struct.Struct("<8sII16s16s16s32s")
HEADER_BYTES = _HEADER.size


class Encoding(IntEnum):
    """How a frame's bytes are stored."""

    RAW = RAW
    ZSTD = ZSTD
    GONE = 2
    LOST = 3
    """Was damaged when the object was written, and could not be sealed again; in sealed packs only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackHeader:
    """Who a pack object is: written at its start and again inside its sealed index (I3)."""

    pack: PackId
    session: SessionId
    attempt: str
    salt: bytes = field(repr=False)
    version: int = PACK_VERSION

    def encode(self) -> bytes:
        """Return the 96 bytes."""
        assert len(self.salt) == SALT_BYTES
        return _HEADER.pack(
            PACK_MAGIC, self.version, 0,
            bytes.fromhex(self.pack), bytes.fromhex(self.session), bytes.fromhex(self.attempt), self.salt,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackIndex:
    """What a pack holds. Arrays per frame: `stored_bytes`, `counts`, `encodings`; per block: the rest.

    Frames lie back to back from byte 96, or from byte 0 of a sealed pack with a tag each (I4), which `stored_bytes`
    does not count; the rows of frame f are `first_rows[f] : first_rows[f + 1]`, and a block's place among them is its
    slot. `opener` is that of a sealed pack that was read.
    """

    header: PackHeader
    stored_bytes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    encodings: npt.NDArray[np.uint8]
    addresses: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint8]
    dead: npt.NDArray[np.bool_]
    opener: Opener | None = None
    offsets: npt.NDArray[np.int64] = field(init=False)
    first_rows: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        sealed = self.header.version == SEALED_FORMAT
        in_object = self.stored_bytes + np.where(self.stored_bytes > 0, TAG_BYTES, 0) if sealed else self.stored_bytes
        offsets = np.concatenate(([0], np.cumsum(in_object))) + (0 if sealed else HEADER_BYTES)
        object.__setattr__(self, "offsets", offsets.astype(np.int64))
        object.__setattr__(self, "first_rows", np.concatenate(([0], np.cumsum(self.counts))).astype(np.int64))

    def frame_hashes(self, frame: int) -> bytes:
        """Return frame `frame`'s list of block hashes, concatenated."""
        return self.hashes[self.first_rows[frame] : self.first_rows[frame + 1]].tobytes()

    def opened(self, frame: int, raw: Buffer) -> Buffer:
        """Return a frame's `stored_bytes` of what the object has of it, which is more if it is sealed.

        Raises:
            IntegrityError: It is not what was sealed.
        """
        return raw if self.opener is None else self.opener.part(frame, raw)


def encode_pack_tail(keys: HashKeys, index: PackIndex) -> bytes:
    """Return what follows the last frame: index and trailer."""
    assert index.header.version == PACK_VERSION
    return encode_tail(keys, _plain(index), int(index.offsets[-1]), PACK_TAIL_MAGIC)


def pack_tail_bytes(index: PackIndex) -> int:
    """Return how many bytes follow the last frame of a pack."""
    stored = len(shrink(_plain(index))[1])
    return stored + (TRAILER_BYTES if index.header.version == PACK_VERSION else INDEX_ADDED_BYTES + FOOT_BYTES)


def seal_pack(sealing: Sealing, index: PackIndex, frames: Sequence[Buffer]) -> list[bytes]:
    """Return the parts of a sealed pack; `frames` are as `index` says that they are stored."""
    assert index.header.version == SEALED_FORMAT
    assert [len(frame) for frame in frames] == index.stored_bytes.tolist()
    return sealing.seal([(number, frame) for number, frame in enumerate(frames) if len(frame)], _plain(index))


def _plain(index: PackIndex) -> bytes:
    frames, blocks = len(index.counts), len(index.addresses)
    assert 0 < frames <= PACK_FRAMES_MAX
    assert 0 < blocks <= PACK_BLOCKS_MAX
    assert index.hashes.shape == (blocks, HASH_BYTES)
    return b"".join((
        index.header.encode(),
        struct.pack("<II", frames, blocks),
        index.stored_bytes.astype("<u4").tobytes(),
        index.counts.astype("u1").tobytes(),
        index.encodings.astype("u1").tobytes(),
        ascending(index.addresses),
        index.dead.astype("u1").tobytes(),
        index.hashes.tobytes(),
    ))  # fmt: skip


def decode_header(raw: Buffer, what: str, expected: int = PACK_VERSION) -> PackHeader:
    """Return the header in the first 96 bytes of a pack.

    Raises:
        ProtocolError: No such header, or one of a newer format.
    """
    if len(raw) < HEADER_BYTES or bytes(raw[:8]) != PACK_MAGIC:
        raise ProtocolError(f"{what} is not a pack")
    _, version, flags, pack, session, attempt, salt = _HEADER.unpack(raw[:HEADER_BYTES])
    if version != expected or flags != 0:
        raise ProtocolError(f"{what}: pack format {version} (flags {flags:#x}), {expected} expected")
    return PackHeader(
        pack=PackId(pack.hex()), session=SessionId(session.hex()), attempt=attempt.hex(), salt=salt, version=version
    )


def decode_index(keys: HashKeys, trailer: Trailer, stored: Buffer, what: str) -> PackIndex:
    """Return the index whose bytes are `stored`, sealed and checked (I3 to I6).

    Raises:
        IntegrityError: The seal does not fit.
        ProtocolError: The sealed bytes break the format.
    """
    return _index(open_index(keys, trailer, stored, what), trailer.index_offset, what, None)


def open_sealed_index(opener: Opener, sealed: Buffer, what: str) -> PackIndex:
    """Return the index of a sealed pack, whose bytes are `sealed`, checked (I3 to I6).

    Raises:
        IntegrityError: It is not what was sealed.
        ProtocolError: What was sealed breaks the format.
    """
    return _index(opener.index(sealed), opener.foot.index_offset, what, opener)


def _index(plain: bytes, index_offset: int, what: str, opener: Opener | None) -> PackIndex:
    reader = ColumnReader(plain, f"index of {what}")
    header = decode_header(reader.take(HEADER_BYTES), what, PACK_VERSION if opener is None else SEALED_FORMAT)
    frames, blocks = reader.number(), reader.number()
    if not (0 < frames <= PACK_FRAMES_MAX and 0 < blocks <= PACK_BLOCKS_MAX):
        raise ProtocolError(f"{what}: {frames} frames of {blocks} blocks")
    index = PackIndex(
        header=header,
        stored_bytes=reader.column("<u4", frames).astype(np.int64),
        counts=reader.column("u1", frames).astype(np.int64),
        encodings=reader.column("u1", frames),
        addresses=from_ascending(reader.column("<u8", blocks), ADDRESS_LIMIT, what),
        dead=_flags(reader.column("u1", blocks), what),
        hashes=reader.hashes(blocks, HASH_BYTES),
        opener=opener,
    )
    reader.finish()
    if int(index.offsets[-1]) != index_offset:
        raise ProtocolError(f"{what}: frames end at {index.offsets[-1]}, the index begins at {index_offset}")
    if int(index.first_rows[-1]) != blocks or int(index.counts.min()) < 1:
        raise ProtocolError(f"{what}: frames hold {index.first_rows[-1]} blocks, the table {blocks}")
    whole = index.counts * BLOCK_BYTES
    right = np.select(
        [index.encodings == Encoding.RAW, index.encodings == Encoding.ZSTD, index.encodings == Encoding.GONE,
         (index.encodings == Encoding.LOST) & (opener is not None)],
        [index.stored_bytes == whole, (index.stored_bytes > 0) & (index.stored_bytes < whole),
         (index.stored_bytes == 0) & np.logical_and.reduceat(index.dead, index.first_rows[:-1]),
         index.stored_bytes == 0],
        default=False,
    )  # fmt: skip
    if int(index.counts.max()) > FRAME_BLOCKS_MAX or not right.all():
        raise ProtocolError(f"{what}: frame {int(np.argmin(right))} has impossible lengths")
    return index


def _flags(column: npt.NDArray[np.uint8], what: str) -> npt.NDArray[np.bool_]:
    if len(column) and int(column.max()) > 1:
        raise ProtocolError(f"{what}: unknown block flags")
    return column.astype(np.bool_)


def encode_frame(compressor: zstandard.ZstdCompressor, plain: Buffer) -> tuple[Encoding, Buffer]:
    """Return how a frame is stored: as a zstd stream where that is smaller, else as it is.

    No probe for incompressible data: level 1 itself passes over that at 3.9 GB/s (0.8 GB/s for a tar of /usr), so
    that a probe costs more on what does compress than it saves.
    """
    packed = compressor.compress(plain)
    return (Encoding.ZSTD, packed) if len(packed) < len(plain) else (Encoding.RAW, plain)


def frame_compressor() -> zstandard.ZstdCompressor:
    """Return a compressor for frames; one per thread."""
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False, write_content_size=True)


def decode_frame(
    keys: HashKeys,
    index: PackIndex,
    frame: int,
    stored: Buffer,
    what: str,
    dead: npt.NDArray[np.bool_] | None = None,
) -> bytes:
    """Return a frame's blocks, each living one verified against the index.

    Dead blocks come back as they are stored (zeros, after compaction) and must not be served. Those are the ones that
    the index flags, or `dead` (for each row of the index) where more is known to be dead by now.

    Raises:
        IntegrityError: The frame is gone, is no zstd stream, or any living block does not match its hash.
    """
    where = f"{what}, frame {frame}"
    if int(index.encodings[frame]) == Encoding.GONE:
        raise IntegrityError(f"{where}: was dropped by compaction, but is read")
    if int(index.encodings[frame]) == Encoding.LOST:
        raise IntegrityError(f"{where}: was damaged before this object was written")
    if len(stored) != (in_object := int(index.offsets[frame + 1] - index.offsets[frame])):
        raise IntegrityError(f"{where}: {len(stored)} bytes read, {in_object} expected")
    raw = index.opened(frame, stored)
    plain = expand(int(index.encodings[frame]), raw, int(index.counts[frame]) * BLOCK_BYTES, where)
    hashes = block_hashes(keys, plain)
    if hashes != index.frame_hashes(frame):
        rows = slice(int(index.first_rows[frame]), int(index.first_rows[frame + 1]))
        found = np.frombuffer(hashes, dtype=np.uint8).reshape(-1, HASH_BYTES)
        wrong = (found != index.hashes[rows]).any(axis=1) & ~(index.dead if dead is None else dead)[rows]
        if wrong.any():
            slot = int(np.argmax(wrong))
            address = int(index.addresses[rows][slot])
            raise IntegrityError(f"{where}, slot {slot} (block {address}): {int(wrong.sum())} blocks do not match")
    return plain

"""Maps: sorted tables from block addresses to frames, in pages (docs/format.md, "Map")."""

import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from drystone.codec.binary import (
    ColumnReader,
    Trailer,
    ascending,
    encode_tail,
    expand,
    from_ascending,
    open_index,
    shrink,
)
from drystone.codec.hashes import HASH_BYTES, SEAL_BYTES, Buffer, HashKeys, seal
from drystone.codec.pack import ADDRESS_LIMIT, FRAME_BLOCKS_MAX, PACK_FRAMES_MAX
from drystone.codec.sealed import SEALED_FORMAT, TAG_BYTES, Opener, Sealing
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import PackId, SessionId

MAP_VERSION = 1
MAP_MAGIC = b"DRYSTMAP"
MAP_TAIL_MAGIC = b"DRYSTDIR"
PAGE_ENTRIES = 4096
"""Entries that a writer puts into a page: about 90 KiB stored, one request to a bucket."""
PAGE_ENTRIES_MAX = 1 << 16
PAGE_BYTES_MAX = 8 << 20
ZERO_FRAME = -1
_PACKS_MAX = 1 << 22
_PAGES_MAX = 1 << 22
_PAGE_MAGIC = b"page"

_HEADER = struct.Struct("<8sII16s16s")
MAP_HEADER_BYTES = _HEADER.size


class MapKind(IntEnum):
    """Whether a map is complete alone."""

    DELTA = 0
    FULL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRef:
    """A pack by identity; its object's name is found by listing (L8, F33)."""

    pack: PackId
    session: SessionId


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapPage:
    """Part of a map.

    Arrays per entry: `starts`, `counts` (blocks), `frames` (row of the frame arrays, or -1: zeros), `slots`.
    Arrays per frame: `packs` (row of the map's pack table), `numbers` (frame in its pack), `hashes` ((m, 16),
    the hash of the frame's list of block hashes). Entries are sorted and disjoint (I8).
    """

    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int32]
    slots: npt.NDArray[np.uint8]
    packs: npt.NDArray[np.uint32]
    numbers: npt.NDArray[np.uint32]
    hashes: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapDirectory:
    """Where a map's pages are.

    Arrays per page: `starts`, `stops` (blocks), `stored_bytes`, `plain_bytes`, `entries`, `encodings`,
    `seals` ((n, 32); of a sealed map none, but its `opener`), and `offsets` (one more). Pages lie back to back from
    byte 48, or from byte 0 of a sealed map with a tag each, which `stored_bytes` does not count; sorted and disjoint
    (I7).
    """

    session: SessionId
    map_id: str
    kind: MapKind
    packs: tuple[PackRef, ...]
    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    stored_bytes: npt.NDArray[np.int64]
    plain_bytes: npt.NDArray[np.int64]
    entries: npt.NDArray[np.int64]
    encodings: npt.NDArray[np.uint8]
    seals: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    opener: Opener | None = None


def map_header(session: SessionId, map_id: str, kind: MapKind, version: int = MAP_VERSION) -> bytes:
    """Return the 48 bytes that a map begins with, and that its directory repeats (I3)."""
    return _HEADER.pack(MAP_MAGIC, version, kind, bytes.fromhex(map_id), bytes.fromhex(session))


def encode_page(page: MapPage) -> bytes:
    """Return the plain bytes of a page."""
    assert 0 < len(page.starts) <= PAGE_ENTRIES_MAX
    return b"".join((
        struct.pack("<II", len(page.starts), len(page.numbers)),
        ascending(page.starts),
        page.counts.astype("<u8").tobytes(),
        page.frames.astype("<i4").tobytes(),
        page.slots.tobytes(),
        page.packs.astype("<u4").tobytes(),
        page.numbers.astype("<u4").tobytes(),
        page.hashes.tobytes(),
    ))  # fmt: skip


class MapEncoder:
    """Collects pages in order and gives the parts of the object; holds the stored pages in memory.

    About 22 bytes of memory and of object per frame that is referred to: 90 MiB per TiB of data.

    Args:
        keys: Whose seals pages and directory have, or how this object will be sealed.
        session: Whose map it is.
        map_id: Its id.
        kind: Whether it is complete alone.
    """

    def __init__(self, keys: HashKeys | Sealing, session: SessionId, map_id: str, kind: MapKind) -> None:
        self._keys = keys
        sealed = isinstance(keys, Sealing)
        self._header = map_header(session, map_id, kind, SEALED_FORMAT if sealed else MAP_VERSION)
        self._parts: list[bytes] = [] if sealed else [self._header]
        self._rows: list[tuple[int, int, int, int, int, int]] = []
        self._seals: list[bytes] = []

    def add(self, page: MapPage) -> None:
        """Append a page, all of whose entries lie behind those before."""
        start, stop = int(page.starts[0]), int(page.starts[-1] + page.counts[-1])
        assert not self._rows or self._rows[-1][1] <= start  # I7
        plain = encode_page(page)
        encoding, stored = shrink(plain)
        self._rows.append((start, stop, len(stored), len(plain), len(page.starts), encoding))
        if not isinstance(self._keys, Sealing):
            self._seals.append(_page_seal(self._keys, self._header, stored))
        self._parts.append(stored)

    @property
    def entries(self) -> int:
        """Entries so far."""
        return sum(row[4] for row in self._rows)

    def finish(self, packs: tuple[PackRef, ...]) -> list[bytes]:
        """Return the parts of the whole object, to be stored one behind the other."""
        rows = np.array(self._rows, dtype=np.int64).reshape(-1, 6)
        plain = b"".join((
            self._header,
            struct.pack("<II", len(rows), len(packs)),
            ascending(rows[:, 0]),
            (rows[:, 1] - rows[:, 0]).astype("<u8").tobytes(),
            rows[:, 2].astype("<u4").tobytes(),
            rows[:, 3].astype("<u4").tobytes(),
            rows[:, 4].astype("<u4").tobytes(),
            rows[:, 5].astype("u1").tobytes(),
            b"".join(self._seals),
            b"".join(bytes.fromhex(ref.pack) for ref in packs),
            b"".join(bytes.fromhex(ref.session) for ref in packs),
        ))  # fmt: skip
        if isinstance(self._keys, Sealing):
            return self._keys.seal(list(enumerate(self._parts)), plain)
        offset = MAP_HEADER_BYTES + int(rows[:, 2].sum())
        return [*self._parts, encode_tail(self._keys, plain, offset, MAP_TAIL_MAGIC)]


def _page_seal(keys: HashKeys, header: Buffer, stored: Buffer) -> bytes:
    return seal(keys, (_PAGE_MAGIC, header, stored))


def decode_directory(keys: HashKeys, trailer: Trailer, stored: Buffer, what: str) -> MapDirectory:
    """Return the directory whose bytes are `stored`, sealed and checked (I3, I7).

    Raises:
        IntegrityError: The seal does not fit.
        ProtocolError: The sealed bytes break the format.
    """
    return _directory(open_index(keys, trailer, stored, what), trailer.index_offset, what, None)


def open_sealed_directory(opener: Opener, sealed: Buffer, what: str) -> MapDirectory:
    """Return the directory of a sealed map, whose bytes are `sealed`, checked (I3, I7).

    Raises:
        IntegrityError: It is not what was sealed.
        ProtocolError: What was sealed breaks the format.
    """
    return _directory(opener.index(sealed), opener.foot.index_offset, what, opener)


def _directory(plain: bytes, index_offset: int, what: str, opener: Opener | None) -> MapDirectory:
    reader = ColumnReader(plain, f"directory of {what}")
    expected = MAP_VERSION if opener is None else SEALED_FORMAT
    magic, version, kind, map_id, session = _HEADER.unpack(reader.take(MAP_HEADER_BYTES))
    if magic != MAP_MAGIC or version != expected or kind not in (MapKind.DELTA, MapKind.FULL):
        raise ProtocolError(f"{what}: map format {magic!r} {version} kind {kind}, {expected} expected")
    pages, packs = reader.number(), reader.number()
    if pages > _PAGES_MAX or packs > _PACKS_MAX:
        raise ProtocolError(f"{what}: {pages} pages, {packs} packs")
    starts = from_ascending(reader.column("<u8", pages), ADDRESS_LIMIT, what)
    lengths = reader.column("<u8", pages)
    stored_bytes = reader.column("<u4", pages).astype(np.int64)
    plain_bytes = reader.column("<u4", pages).astype(np.int64)
    entries = reader.column("<u4", pages).astype(np.int64)
    encodings = reader.column("u1", pages)
    seals = reader.hashes(pages if opener is None else 0, SEAL_BYTES)
    pack_ids = [bytes(reader.take(16)).hex() for _ in range(packs)]
    sessions = [bytes(reader.take(16)).hex() for _ in range(packs)]
    reader.finish()
    if pages:
        if int(lengths.max()) > ADDRESS_LIMIT or int(lengths.min()) < 1 or int(plain_bytes.max()) > PAGE_BYTES_MAX:
            raise ProtocolError(f"{what}: impossible pages")
        stops = starts + lengths.astype(np.int64)
        if int(stops[-1]) > ADDRESS_LIMIT or bool((stops[:-1] > starts[1:]).any()):
            raise ProtocolError(f"{what}: pages overlap")
        if int(entries.min()) < 1 or int(entries.max()) > PAGE_ENTRIES_MAX:
            raise ProtocolError(f"{what}: impossible number of entries")
    else:
        stops = starts
    begin, added = (MAP_HEADER_BYTES, 0) if opener is None else (0, TAG_BYTES)
    offsets = begin + np.concatenate(([0], np.cumsum(stored_bytes + added))).astype(np.int64)
    if int(offsets[-1]) != index_offset:
        raise ProtocolError(f"{what}: pages end at {offsets[-1]}, the directory begins at {index_offset}")
    return MapDirectory(
        session=SessionId(session.hex()), map_id=map_id.hex(), kind=MapKind(kind),
        packs=tuple(
            PackRef(pack=PackId(pack), session=SessionId(owner))
            for pack, owner in zip(pack_ids, sessions, strict=True)
        ),
        starts=starts, stops=stops, stored_bytes=stored_bytes, plain_bytes=plain_bytes, entries=entries,
        encodings=encodings, seals=seals, offsets=offsets, opener=opener,
    )  # fmt: skip


def decode_page(keys: HashKeys, directory: MapDirectory, number: int, stored: Buffer, what: str) -> MapPage:
    """Return page `number`, whose bytes are `stored`, sealed and checked (I8).

    Raises:
        IntegrityError: The seal does not fit.
        ProtocolError: The sealed bytes break the format.
    """
    where = f"{what}, page {number}"
    if directory.opener is not None:
        stored = directory.opener.part(number, stored)
    else:
        header = map_header(directory.session, directory.map_id, directory.kind)
        if not hmac.compare_digest(_page_seal(keys, header, stored), directory.seals[number].tobytes()):
            raise IntegrityError(f"{where}: the seal does not fit")
    plain = expand(int(directory.encodings[number]), stored, int(directory.plain_bytes[number]), where)
    reader = ColumnReader(plain, where)
    entries, frames = reader.number(), reader.number()
    if entries != int(directory.entries[number]) or frames > entries:
        raise ProtocolError(f"{where}: {entries} entries of {frames} frames, {directory.entries[number]} expected")
    starts = from_ascending(reader.column("<u8", entries), ADDRESS_LIMIT, where)
    wide = reader.column("<u8", entries)
    if int(wide.max()) > ADDRESS_LIMIT or int(wide.min()) < 1:
        raise ProtocolError(f"{where}: impossible counts")
    page = MapPage(
        starts=starts,
        counts=wide.astype(np.int64),
        frames=reader.column("<i4", entries).astype(np.int32),
        slots=reader.column("u1", entries),
        packs=reader.column("<u4", frames).astype(np.uint32),
        numbers=reader.column("<u4", frames).astype(np.uint32),
        hashes=reader.hashes(frames, HASH_BYTES),
    )
    reader.finish()
    stops = page.starts + page.counts
    data = page.frames != ZERO_FRAME
    wrong = (
        bool((stops[:-1] > page.starts[1:]).any())
        or int(page.starts[0]) != int(directory.starts[number])
        or int(stops[-1]) != int(directory.stops[number])
        or int(page.frames.min()) < ZERO_FRAME
        or int(page.frames.max()) >= frames
        or bool((page.slots[data].astype(np.int64) + page.counts[data] > FRAME_BLOCKS_MAX).any())
        or bool(page.slots[~data].any())
        or (frames > 0 and int(page.packs.max()) >= len(directory.packs))
        or (frames > 0 and int(page.numbers.max()) >= PACK_FRAMES_MAX)
    )
    if wrong:
        raise ProtocolError(f"{where}: entries overlap, or point nowhere")
    return page

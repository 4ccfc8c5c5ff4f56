"""Opened maps: a directory in memory, pages fetched as they are needed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from drystone.codec.binary import TRAILER_BYTES, Trailer, decode_trailer
from drystone.codec.hashes import HASH_BYTES
from drystone.codec.map import (
    MAP_TAIL_MAGIC,
    ZERO_FRAME,
    MapDirectory,
    MapPage,
    PackRef,
    decode_directory,
    decode_page,
    open_sealed_directory,
)
from drystone.codec.sealed import FOOT_BYTES, Kind, Opener, decode_foot
from drystone.domain.blocks import EMPTY, Ranges, normalize, union
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import SessionId
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.far import each, proven
from drystone.snapstore.store import Store

T = TypeVar("T")
_PAGES_AT_ONCE = 8
TAIL_GUESS_BYTES = 64 << 10
"""Read first from an object's end: nearly always the whole index of a small object, in one request."""

TAIL = "tail"
"""What the last bytes of an object are called in the local cache."""

PageCache = ByteCache[tuple[str, int], MapPage]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entries:
    """Entries of one map, clipped to a window; `frames` are rows of the frame arrays, -1 for zeros."""

    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    packs: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint8]

    def ranges(self, *, data_only: bool = False) -> Ranges:
        """Return the blocks that the entries cover."""
        chosen = self.frames != ZERO_FRAME if data_only else slice(None)
        return normalize(np.column_stack((self.starts[chosen], self.starts[chosen] + self.counts[chosen])))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What one map says of single blocks: `known` where it has an entry.

    `packs` (rows of the map's pack table), `numbers` and `slots` are -1 where that entry is zeros or there is none.
    """

    known: npt.NDArray[np.bool_]
    packs: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexForm(Generic[T]):
    """How the index of a kind of object is read: from trailer or opener, and its stored bytes."""

    magic: bytes
    kind: Kind
    decode: Callable[[Trailer, bytes], T]
    open: Callable[[Opener, bytes], T]

    def offset(self, store: Store, last: bytes, object_bytes: int, name: str) -> int:
        """Return where the index begins; `last` are the last bytes of the object."""
        if store.seals is None:
            return decode_trailer(last, object_bytes, self.magic, name).index_offset
        return decode_foot(last, object_bytes, self.kind, name).index_offset

    def read(self, store: Store, last: bytes, object_bytes: int, name: str) -> T:
        """Return the index, proven."""
        begin = max(0, len(last) - (object_bytes - self.offset(store, last, object_bytes, name)))
        if store.seals is None:
            trailer = decode_trailer(last, object_bytes, self.magic, name)
            return self.decode(trailer, last[begin : len(last) - TRAILER_BYTES])
        opener, _ = store.seals.opener(store.what(name, self.kind), last, object_bytes)
        return self.open(opener, last[begin : len(last) - FOOT_BYTES])


def read_tail(store: Store, name: str, object_bytes: int, form: IndexForm[T], guess_bytes: int) -> tuple[T, bytes]:
    """Return an object's index, proven, in one request or two.

    `guess_bytes` are read first: nearly always all of the index.

    Returns:
        That, and the last bytes of the object, which may begin before the index.

    Raises:
        NotFoundError: There is no such object.
        ProtocolError: It has no such trailer, or is not sealed in a sealed store.
        IntegrityError: As `form` says.
        KeyMissingError: The key that sealed it cannot be opened on this machine.
    """

    def read() -> bytes:
        at = max(0, object_bytes - guess_bytes)
        last = store.objects.get_range(name, at, object_bytes)
        begin = form.offset(store, last, at + len(last), name)
        return last if begin >= at else store.objects.get_range(name, begin, at) + last

    def prove(last: bytes) -> tuple[T, bytes]:
        return form.read(store, last, object_bytes, name), last

    return proven(store.far, name, TAIL, read, prove)


class MapLayer:
    """One immutable map; thread-safe.

    Raises:
        NotFoundError: There is no such object.
        IntegrityError: Its seal does not fit, or it is another map than its name says.
        ProtocolError: It is no map.
    """

    def __init__(self, store: Store, name: str, pages: PageCache, size_bytes: int | None = None) -> None:
        self._store = store
        self._pages = pages
        self.name = name

        def named_so(directory: MapDirectory) -> MapDirectory:
            named = store.map_name(SessionId(directory.session), directory.map_id)
            if named != name:
                raise IntegrityError(f"map {name} says that it is {named}")
            return directory

        size = store.objects.size(name) if size_bytes is None else size_bytes
        form = IndexForm(
            magic=MAP_TAIL_MAGIC, kind=Kind.MAP,
            decode=lambda trailer, stored: named_so(decode_directory(store.keys, trailer, stored, name)),
            open=lambda opener, stored: named_so(open_sealed_directory(opener, stored, name)),
        )  # fmt: skip
        self.directory, tail = read_tail(store, name, size, form, TAIL_GUESS_BYTES)
        # A small map is here as a whole: over a network its pages would cost more than the memory.
        self._whole = tail if store.far is not None and len(tail) == size else None

    @property
    def packs(self) -> tuple[PackRef, ...]:
        """The packs that the map's entries refer to."""
        return self.directory.packs

    def page(self, number: int) -> MapPage:
        """Return a page, from the cache or the store."""
        return self._pages.once((self.name, number), lambda: self._read(number))

    def has(self, number: int) -> bool:
        """Tell whether a page is in the cache."""
        return self._pages.get((self.name, number)) is not None

    def _read(self, number: int) -> tuple[MapPage, int]:
        start, stop = self.directory.offsets[number : number + 2].tolist()

        def prove(stored: bytes) -> MapPage:
            return decode_page(self._store.keys, self.directory, number, stored, self.name)

        size = 2 * int(self.directory.plain_bytes[number])
        if self._whole is not None:
            try:
                return prove(self._whole[start:stop]), size
            except (IntegrityError, ProtocolError):
                # Only the directory was proven; the rest may be a damaged cache's.
                self._whole = None
        objects = self._store.objects
        return proven(
            self._store.far, self.name, f"page {number}", lambda: objects.get_range(self.name, start, stop), prove
        ), size  # fmt: skip

    def _all(self, numbers: range) -> Iterable[MapPage]:
        """Yield pages, over a network some requests ahead, no more than the cache may hold with others."""
        for at in range(numbers.start, numbers.stop, _PAGES_AT_ONCE):
            yield from each(
                self._store.far, self.page, numbers[at - numbers.start : at - numbers.start + _PAGES_AT_ONCE]
            )

    def page_numbers(self, start: int, stop: int) -> range:
        """Return the numbers of the pages that touch blocks `[start, stop)`."""
        first = int(np.searchsorted(self.directory.stops, start, side="right"))
        return range(first, max(first, int(np.searchsorted(self.directory.starts, stop, side="left"))))

    def entries(self, start: int, stop: int) -> Entries | None:
        """Return the entries in a window of blocks, clipped to it; None if there are none."""
        parts = []
        frames_before = 0
        for page in self._all(self.page_numbers(start, stop)):
            ends = page.starts + page.counts
            rows = slice(
                int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(page.starts, stop, side="left"))
            )
            if rows.start >= rows.stop:
                continue
            starts = np.maximum(page.starts[rows], start)
            data = page.frames[rows] != ZERO_FRAME
            frames = np.where(data, page.frames[rows].astype(np.int64) + frames_before, ZERO_FRAME)
            slots = np.where(data, page.slots[rows].astype(np.int64) + (starts - page.starts[rows]), 0)
            parts.append((starts, np.minimum(ends[rows], stop) - starts, frames, slots, page))
            frames_before += len(page.numbers)
        if not parts:
            return None
        pages = [part[4] for part in parts]
        return Entries(
            starts=np.concatenate([part[0] for part in parts]),
            counts=np.concatenate([part[1] for part in parts]),
            frames=np.concatenate([part[2] for part in parts]),
            slots=np.concatenate([part[3] for part in parts]),
            packs=np.concatenate([page.packs for page in pages]).astype(np.int64),
            numbers=np.concatenate([page.numbers for page in pages]).astype(np.int64),
            hashes=np.concatenate([page.hashes for page in pages]).reshape(-1, HASH_BYTES),
        )

    def find(self, addresses: npt.NDArray[np.int64]) -> Found:
        """Return the entries at single blocks, ascending; only pages that may hold one of them are read."""
        known = np.zeros(len(addresses), dtype=np.bool_)
        packs, numbers, slots = (np.full(len(addresses), -1, dtype=np.int64) for _ in range(3))
        pages = np.searchsorted(self.directory.stops, addresses, side="right")
        cuts = np.flatnonzero(np.diff(pages, prepend=-1, append=len(self.directory.stops) + 1))
        for low, high in pairwise(cuts.tolist()):
            number = int(pages[low])
            if number == len(self.directory.stops) or addresses[high - 1] < self.directory.starts[number]:
                continue
            page = self.page(number)
            wanted = addresses[low:high]
            owners = np.searchsorted(page.starts, wanted, side="right") - 1
            inside = (owners >= 0) & (wanted < page.starts[owners] + page.counts[owners])
            known[low:high] = inside
            data = inside & (page.frames[owners] != ZERO_FRAME)
            rows, owners = low + np.flatnonzero(data), owners[data]
            frames = page.frames[owners]
            packs[rows] = page.packs[frames]
            numbers[rows] = page.numbers[frames]
            slots[rows] = page.slots[owners] + (addresses[rows] - page.starts[owners])
        return Found(known=known, packs=packs, numbers=numbers, slots=slots)

    def addresses(self) -> Ranges:
        """Return every block that the map has an entry for; memory follows the number of separate ranges."""
        pages = self._all(range(len(self.directory.starts)))
        return union(EMPTY, *(normalize(np.column_stack((one.starts, one.starts + one.counts))) for one in pages))


def delta_addresses(store: Store, map_object: str) -> Ranges:
    """Return all addresses of a map, data and zeros: the δ of the algebra, for carry-overs.

    Raises:
        NotFoundError: There is no such map.
        IntegrityError, ProtocolError: It cannot be trusted.
    """
    return MapLayer(store, map_object, ByteCache(0)).addresses()

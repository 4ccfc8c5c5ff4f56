"""A snapshot as a table of blocks that can be asked and read (docs/format.md, "Reading")."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from drystone.codec.hashes import HASH_BYTES
from drystone.codec.manifest import Manifest, ManifestMap
from drystone.codec.map import ZERO_FRAME, PackRef
from drystone.domain.blocks import BLOCK_BYTES, EMPTY, Ranges, cover_bytes, subtract, union
from drystone.domain.errors import DrystoneError, IntegrityError, ProtocolError
from drystone.domain.ids import SnapshotId
from drystone.objects.contract import NotFoundError
from drystone.snapstore.ahead import Ahead, Share
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.far import each
from drystone.snapstore.frames import FRAMES_AT_ONCE, FrameCache, FrameKey
from drystone.snapstore.layers import MapLayer, PageCache
from drystone.snapstore.manifests import find_manifest, read_manifest
from drystone.snapstore.packs import Frame, MissingPackError, PackCache, PackSource
from drystone.snapstore.store import Store

ABSENT = 0
ZERO = 1
DATA = 2
UNKNOWN = 3
"""Data whose hash cannot be had: of nothing may it be said that it is the same."""
_WINDOW_BLOCKS = 4096
_WINDOW_PAGES = 64
"""Pages looked at together when ranges are made: about 256 Ki entries in memory."""
_STRETCH_BLOCKS = 256
_STRETCH_BYTES = _STRETCH_BLOCKS * BLOCK_BYTES
"""What is read ahead as one over a network: 1 MiB."""
_HELD_FRAMES = 48
"""Frames that one who reads has in hand, after which those of before are looked for in the cache."""
_LOAD_FRAMES = 32
"""Frames that are read ahead of one stretch."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """The frames that a window of blocks lies in; `packs` are indexes into the reader's `packs`."""

    packs: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Visible:
    """What a snapshot shows in blocks `[start, start + len(kinds))`, one row per block.

    `kinds` is ABSENT, ZERO (both read as zeros) or DATA; for DATA, `frames` is a row of `table`, and `slots`
    the place in that frame. For the others both are -1.
    """

    start: int
    kinds: npt.NDArray[np.uint8]
    frames: npt.NDArray[np.int32]
    slots: npt.NDArray[np.int32]
    table: Frames


class Caches:
    """What readers of one store have in memory; may be shared by threads.

    Args:
        size_bytes: For map pages (an eighth), pack indexes (a quarter) and frames (the rest).
    """

    def __init__(self, size_bytes: int = 64 << 20) -> None:
        self.pages: PageCache = ByteCache(size_bytes // 8)
        self.packs: PackCache = ByteCache(size_bytes // 4)
        frames_bytes = size_bytes * 5 // 8
        self.frames: ByteCache[FrameKey, Frame] = ByteCache(frames_bytes)
        self.ahead = Share(frames_bytes // (2 * _STRETCH_BYTES))


class SnapshotReader:
    """Reads one snapshot; thread-safe. Make it with `open`.

    Args:
        caches: Shared with readers of the same store; its own without.
    """

    def __init__(self, store: Store, manifest: Manifest, caches: "Caches | None" = None) -> None:
        caches = caches or Caches()
        self.store = store
        self.manifest = manifest
        self._pages = caches.pages
        self._source = PackSource(store, caches.packs, manifest)
        self._frames = FrameCache(self._source, caches.frames, store.far)
        self._ahead = None if store.far is None else Ahead(store.far.ahead, self._load, self._most_ahead)
        self._share = caches.ahead
        self._lock = threading.Lock()
        self._opened: tuple[MapLayer, ...] | None = None
        self._packs: tuple[PackRef, ...] = ()
        self._pack_rows: tuple[npt.NDArray[np.int64], ...] = ()

    @staticmethod
    def open(store: Store, snapshot: str, caches: "Caches | None" = None) -> "SnapshotReader":
        """Open a snapshot by its id, or by the name of its manifest object.

        Raises:
            NotFoundError: There is no such manifest.
            IntegrityError: Its seal does not fit, or the id has several manifests.
            ProtocolError: It is no manifest of this format.
        """
        name = snapshot if "/" in snapshot else find_manifest(store, SnapshotId(snapshot))
        return SnapshotReader(store, read_manifest(store, name), caches)

    @property
    def size_bytes(self) -> int:
        """The disk's size when the snapshot was taken."""
        return self.manifest.size_bytes

    @property
    def size_blocks(self) -> int:
        """The size in blocks, the last of which may be partly beyond the end."""
        return cover_bytes(0, self.size_bytes)[1]

    @property
    def packs(self) -> tuple[PackRef, ...]:
        """Every pack that any map of the snapshot names; `Frames.packs` are indexes into this."""
        self._layers()
        return self._packs

    def _layers(self) -> tuple[MapLayer, ...]:
        """Return the maps, oldest first; all directories are read at the first use."""
        with self._lock:
            if self._opened is not None:
                return self._opened
            with self._named():
                layers = list(each(self.store.far, self._layer, self.manifest.maps[::-1]))
            rows: dict[PackRef, int] = {}
            self._pack_rows = tuple(
                np.array([rows.setdefault(ref, len(rows)) for ref in layer.packs], dtype=np.int64) for layer in layers
            )
            self._packs = tuple(rows)
            self._opened = tuple(layers)
            return self._opened

    def _layer(self, part: ManifestMap) -> MapLayer:
        # Its size is known: a request less over a network.
        return MapLayer(self.store, part.object, self._pages, None if self.store.far is None else part.bytes)

    def visible(self, start: int, stop: int) -> Visible:
        """Return what the snapshot shows in blocks `[start, stop)`; what is beyond its size is ABSENT.

        Memory follows the window, time the window and the entries in it.

        Raises:
            IntegrityError: A map cannot be trusted.
            NotFoundError: A map is not there.
        """
        assert 0 <= start <= stop
        length = stop - start
        kinds = np.zeros(length, dtype=np.uint8)
        frames = np.full(length, -1, dtype=np.int32)
        slots = np.full(length, -1, dtype=np.int32)
        tables: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]]] = []
        before = 0
        inside = max(start, min(stop, self.size_blocks))
        layers = self._layers()
        self._fetch_pages(layers, start, inside)
        for layer, rows in zip(layers, self._pack_rows, strict=True):
            with self._named():
                entries = layer.entries(start, inside)
            if entries is None:
                continue
            steps = np.arange(int(entries.counts.sum())) - np.repeat(
                np.cumsum(entries.counts) - entries.counts, entries.counts
            )
            where = np.repeat(entries.starts - start, entries.counts) + steps
            owners = np.repeat(entries.frames, entries.counts)
            data = owners != ZERO_FRAME
            kinds[where] = np.where(data, DATA, ZERO)
            frames[where] = np.where(data, owners + before, -1)
            slots[where] = np.where(data, np.repeat(entries.slots, entries.counts) + steps, -1)
            tables.append((rows[entries.packs], entries.numbers, entries.hashes))
            before += len(entries.numbers)
        if not tables:
            none = np.empty(0, dtype=np.int64)
            table = Frames(packs=none, numbers=none, hashes=np.empty((0, HASH_BYTES), dtype=np.uint8))
            return Visible(start=start, kinds=kinds, frames=frames, slots=slots, table=table)
        used, inverse = np.unique(frames[frames >= 0], return_inverse=True)
        frames[frames >= 0] = inverse
        table = Frames(
            packs=np.concatenate([one[0] for one in tables])[used],
            numbers=np.concatenate([one[1] for one in tables])[used],
            hashes=np.concatenate([one[2] for one in tables])[used],
        )
        return Visible(start=start, kinds=kinds, frames=frames, slots=slots, table=table)

    def _fetch_pages(self, layers: Sequence[MapLayer], start: int, stop: int) -> None:
        """Over a network, have the pages of all maps come at once; what is wrong with one is told by its reader."""
        if self.store.far is None:
            return

        def fetch(one: tuple[MapLayer, int]) -> None:
            with suppress(DrystoneError):
                one[0].page(one[1])

        pages = [(layer, number) for layer in layers for number in layer.page_numbers(start, stop)]
        for _ in each(self.store.far, fetch, [one for one in pages[:_WINDOW_PAGES] if not one[0].has(one[1])]):
            pass

    def data_ranges(self, start: int = 0, stop: int | None = None) -> Ranges:
        """Return the blocks in `[start, stop)` that hold data; time follows the entries, not the size.

        Raises:
            IntegrityError, NotFoundError: As `visible`.
        """
        stop = min(self.size_blocks, self.size_blocks if stop is None else stop)
        layers = self._layers()
        edges = np.unique(np.concatenate([[start], *(layer.directory.starts for layer in layers)]))
        edges = edges[(edges >= start) & (edges < stop)]
        cuts = [*edges[::_WINDOW_PAGES].tolist(), stop]
        parts = [EMPTY]
        for low, high in pairwise(cuts):
            found = EMPTY
            for layer in layers:
                with self._named():
                    entries = layer.entries(low, high)
                if entries is not None:
                    found = union(subtract(found, entries.ranges()), entries.ranges(data_only=True))
            parts.append(found)
        return union(*parts)

    def hashes(self, start: int, stop: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Return (kinds, hashes of shape (n, 16)) of blocks `[start, stop)`, without reading data.

        The hash of a block that is not DATA is zeros.

        Raises:
            IntegrityError: A map or a pack's index cannot be trusted.
            UnavailableError, NotFoundError: A pack or a map is not there.
        """
        kinds, hashes, faults = self.known_hashes(start, stop)
        for fault in faults.values():
            with self._named():
                raise fault
        if bool((kinds == UNKNOWN).any()):
            raise IntegrityError(f"snapshot {self.manifest.snapshot}: an entry points behind its frame")
        return kinds, hashes

    def known_hashes(
        self, start: int, stop: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], dict[PackRef, DrystoneError]]:
        """Return (kinds, hashes, faults) of blocks `[start, stop)`: as `hashes`, without stopping at a damaged pack.

        Blocks whose hash cannot be had are UNKNOWN; `faults` says what is wrong with which pack.

        Raises:
            IntegrityError, NotFoundError: A map cannot be trusted, or is not there.
            UnavailableError: The store does not answer.
        """
        visible = self.visible(start, stop)
        kinds, table = visible.kinds, visible.table
        self._source.fetch([self._packs[row] for row in np.unique(table.packs).tolist()])
        faults: dict[PackRef, DrystoneError] = {}
        lists: list[npt.NDArray[np.uint8]] = []
        for row, number, expected in zip(table.packs.tolist(), table.numbers.tolist(), table.hashes, strict=True):
            ref, found = self._packs[row], np.empty((0, HASH_BYTES), dtype=np.uint8)
            # One fault is enough: nothing more is asked of that pack.
            if ref not in faults:
                try:
                    found = self._source.hashes(ref, number, expected.tobytes())
                except (IntegrityError, ProtocolError, MissingPackError) as error:
                    faults[ref] = error
            lists.append(found)
        hashes = np.zeros((stop - start, HASH_BYTES), dtype=np.uint8)
        if lists:
            data = np.flatnonzero(kinds == DATA)
            lengths = np.array([len(one) for one in lists])
            firsts = np.cumsum(lengths) - lengths
            frames, slots = visible.frames[data], visible.slots[data]
            known = slots < lengths[frames]
            hashes[data[known]] = np.concatenate(lists)[(firsts[frames] + slots)[known]]
            kinds[data[~known]] = UNKNOWN
        return kinds, hashes, faults

    def read(self, start_byte: int, length: int) -> bytearray:
        """Return bytes `[start_byte, start_byte + length)`, every one verified.

        Raises:
            IntegrityError: Something stored is not what was written; nothing of it is returned.
            UnavailableError, NotFoundError: A pack or a map is not there.
        """
        buffer = bytearray(length)
        self.read_into(start_byte, memoryview(buffer))
        return buffer

    def read_into(self, start_byte: int, buffer: memoryview) -> None:
        """Fill `buffer` as `read`; after an error its content is undefined."""
        assert 0 <= start_byte <= start_byte + len(buffer) <= self.size_bytes
        window = _WINDOW_BLOCKS if self._ahead is None else _STRETCH_BLOCKS
        last = cover_bytes(0, start_byte + len(buffer))[1]
        done = 0
        while done < len(buffer):
            at = start_byte + done
            first = at // BLOCK_BYTES
            # Over a network stretches begin at multiples of their length.
            stop = min(first + window if self._ahead is None else (first // window + 1) * window, last)
            take = min(stop * BLOCK_BYTES - at, len(buffer) - done)
            if self._ahead is not None:
                self._ahead.read(first // window, -(-self.size_blocks // window))
            self._fill(self.visible(first, stop), at, buffer[done : done + take])
            done += take

    def _most_ahead(self) -> int:
        """Return how many stretches may be read ahead of one who reads in order (S231)."""
        assert self.store.far is not None
        return max(1, min(self._share.of(self), self.store.far.pace.window_bytes // _STRETCH_BYTES))

    def _load(self, stretches: range) -> None:
        """Have the frames of stretches in the cache."""
        self.warm(stretches.start * _STRETCH_BLOCKS, stretches.stop * _STRETCH_BLOCKS)

    def warm(self, start: int, stop: int) -> None:
        """Have the frames of blocks `[start, stop)` in the cache, as far as they are not too many.

        Raises:
            DrystoneError: As `read`.
        """
        visible = self.visible(start, min(stop, self.size_blocks))
        rows = list(dict.fromkeys(visible.frames[visible.frames >= 0].tolist()))
        most = _LOAD_FRAMES * -(-(stop - start) // _STRETCH_BLOCKS)
        for at in range(0, min(len(rows), most), FRAMES_AT_ONCE):
            self._frames.get([self._key(visible.table, row) for row in rows[at : at + FRAMES_AT_ONCE]])

    def _fill(self, visible: Visible, at: int, buffer: memoryview) -> None:
        """Copy one window, run by run: neighbours in one frame, or neighbours that are zeros."""
        frames, slots = visible.frames, visible.slots
        # A run goes on while the frame is the same and the slot one higher; in zeros both stay -1.
        steps = np.where(frames[1:] >= 0, 1, 0)
        breaks = np.flatnonzero((np.diff(frames) != 0) | (np.diff(slots) != steps)) + 1
        edges = [0, *breaks.tolist(), len(frames)]
        origin = visible.start * BLOCK_BYTES
        order = list(dict.fromkeys(frames[edges[:-1]][frames[edges[:-1]] >= 0].tolist()))
        asked = 0
        held: dict[int, Frame] = {}
        for low, high in pairwise(edges):
            begin = max(origin + low * BLOCK_BYTES, at)
            end = min(origin + high * BLOCK_BYTES, at + len(buffer))
            target = buffer[begin - at : end - at]
            row = int(frames[low])
            if row < 0:
                target[:] = bytes(len(target))
                continue
            frame = held.get(row)
            if frame is None:
                # In order some come at once; one that came before is mostly in the cache.
                in_order = asked < len(order) and order[asked] == row
                rows = order[asked : asked + FRAMES_AT_ONCE] if in_order else [row]
                asked += FRAMES_AT_ONCE if in_order else 0
                if len(held) >= _HELD_FRAMES:
                    held.clear()
                with self._named():
                    found = self._frames.get([self._key(visible.table, one) for one in rows])
                held.update(zip(rows, found, strict=True))
                frame = held[row]
            slot = int(slots[low])
            plain = self._living(frame, visible.table, row, slot, slot + high - low)
            source = slot * BLOCK_BYTES + begin - (origin + low * BLOCK_BYTES)
            target[:] = plain[source : source + len(target)]

    def _key(self, table: Frames, row: int) -> FrameKey:
        return FrameKey(self._packs[int(table.packs[row])], int(table.numbers[row]), table.hashes[row].tobytes())

    def _living(self, frame: Frame, table: Frames, row: int, start: int, stop: int) -> memoryview:
        """Return a frame's bytes, after it was found that slots `[start, stop)` are living blocks of it."""
        if stop > len(frame.dead) or frame.dead[start:stop].any():
            raise IntegrityError(
                f"snapshot {self.manifest.snapshot}: {frame.object}, frame {table.numbers[row]}: slots {start} to "
                f"{stop} are read, but are dead or are not there"
            )
        return memoryview(frame.plain)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the snapshot in what is found wrong."""
        try:
            yield
        except (IntegrityError, ProtocolError) as error:
            raise IntegrityError(f"snapshot {self.manifest.snapshot}: {error}") from error
        except NotFoundError as error:
            raise NotFoundError(f"snapshot {self.manifest.snapshot}: {error}") from error

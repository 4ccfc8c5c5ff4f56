"""Proving stored objects, byte by byte, and naming what a damaged one hides (L9, F12)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drystone.codec.hashes import HASH_BYTES, block_hashes
from drystone.codec.map import PackRef
from drystone.codec.pack import Encoding, PackIndex, decode_frame
from drystone.domain.blocks import EMPTY, Ranges, from_blocks, normalize, split, union
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import PackId, SessionId
from drystone.objects.contract import NotFoundError
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.layers import MapLayer
from drystone.snapstore.manifests import read_manifest
from drystone.snapstore.packs import open_pack
from drystone.snapstore.reader import DATA, SnapshotReader
from drystone.snapstore.store import Store

READ_BYTES = 8 << 20
"""Frames are read together up to this many bytes."""
_WINDOW_BLOCKS = 1 << 16

Pace = Callable[[int], None]
"""Told how many bytes were read; may take its time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackFault:
    """What is wrong with a pack object."""

    pack: PackRef
    """Which pack it is, by its name."""
    reason: str
    index: PackIndex | None
    """Its index; None if that cannot be believed: then nothing in the object can."""
    rows: npt.NDArray[np.int64]
    """Rows of the index's block table that cannot be served: living blocks of the frames that have a bad one."""


def check_pack(store: Store, name: str, pace: Pace) -> PackFault | None:
    """Read a pack object whole and prove each of its living blocks; dead ones are skipped (L9).

    Returns:
        None if it is whole.

    Raises:
        UnavailableError: The store does not answer; nothing is known.
    """
    try:
        opened = open_pack(store, name)
    except (IntegrityError, ProtocolError, NotFoundError) as error:
        return PackFault(pack=ref_of(store, name), reason=str(error), index=None, rows=np.empty(0, dtype=np.int64))
    index = opened.index
    ref = PackRef(pack=index.header.pack, session=index.header.session)
    bad: list[npt.NDArray[np.int64]] = []
    reason = ""
    for number, stored in frames_of(store, name, index, pace):
        try:
            decode_frame(store.keys, index, number, stored, name)
        except (IntegrityError, ProtocolError) as error:
            rows = np.arange(index.first_rows[number], index.first_rows[number + 1])
            bad.append(rows[~index.dead[rows]])
            reason = reason or str(error)
    if not bad:
        return None
    return PackFault(pack=ref, reason=reason, index=index, rows=np.concatenate(bad))


def frames_of(store: Store, name: str, index: PackIndex, pace: Pace) -> Iterator[tuple[int, bytes]]:
    """Yield number and stored bytes of each frame that has a living block; many are read at once."""
    gone = index.encodings == Encoding.GONE
    alive = np.flatnonzero(~gone & ~np.logical_and.reduceat(index.dead, index.first_rows[:-1]))
    at = 0
    while at < len(alive):
        first = int(alive[at])
        start = int(index.offsets[first])
        stop = at + 1
        while stop < len(alive) and int(index.offsets[alive[stop] + 1]) - start <= READ_BYTES:
            stop += 1
        end = int(index.offsets[alive[stop - 1] + 1])
        numbers = alive[at:stop].tolist()
        try:
            body = store.objects.get_range(name, start, end)
        except IntegrityError:
            # A bad place on the drive: which frames lie elsewhere is found out one by one.
            for number in numbers:
                yield number, read_frame(store, name, index, number) or b""
        else:
            for number in numbers:
                low, high = int(index.offsets[number]) - start, int(index.offsets[number + 1]) - start
                yield number, body[low:high]
        pace(end - start)
        at = stop


def read_frame(store: Store, name: str, index: PackIndex, number: int) -> bytes | None:
    """Return a frame's stored bytes, None if the drive does not give them back."""
    try:
        return store.objects.get_range(name, int(index.offsets[number]), int(index.offsets[number + 1]))
    except IntegrityError:
        return None


def bad_slots(store: Store, index: PackIndex, number: int, plain: bytes | bytearray) -> npt.NDArray[np.int64]:
    """Return the slots of a frame's living blocks that `plain` does not hold as they were written."""
    rows = slice(int(index.first_rows[number]), int(index.first_rows[number + 1]))
    found = np.frombuffer(block_hashes(store.keys, plain), dtype=np.uint8).reshape(-1, HASH_BYTES)
    wrong = (found != index.hashes[rows]).any(axis=1) & ~index.dead[rows]
    return np.flatnonzero(wrong)


def hidden(fault: PackFault, snapshot: SnapshotReader) -> Ranges:
    """Return the blocks that a snapshot cannot show because of a damaged pack: visible ones only (F12).

    Raises:
        IntegrityError, NotFoundError, UnavailableError: A map of the snapshot cannot be read.
    """
    if fault.pack not in snapshot.packs:
        return EMPTY
    row = snapshot.packs.index(fault.pack)
    parts = [EMPTY]
    if fault.index is None:
        for start, stop in split(snapshot.data_ranges(), _WINDOW_BLOCKS):
            seen = snapshot.visible(start, stop)
            mine = seen.kinds == DATA
            mine[mine] = seen.table.packs[seen.frames[mine]] == row
            parts.append(from_blocks(start + np.flatnonzero(mine)))
        return union(*parts)
    addresses = fault.index.addresses[fault.rows]
    frames = np.searchsorted(fault.index.first_rows, fault.rows, side="right") - 1
    slots = fault.rows - fault.index.first_rows[frames]
    for start, stop in split(from_blocks(addresses), _WINDOW_BLOCKS):
        chosen = (addresses >= start) & (addresses < stop)
        seen = snapshot.visible(start, stop)
        at = addresses[chosen] - start
        data = seen.kinds[at] == DATA
        shown = seen.frames[at[data]]
        same = (
            (seen.table.packs[shown] == row)
            & (seen.table.numbers[shown] == frames[chosen][data])
            & (seen.slots[at[data]] == slots[chosen][data])
        )
        parts.append(from_blocks(start + at[data][same]))
    return union(*parts)


def check_map(store: Store, name: str, pace: Pace) -> tuple[str, Ranges | None] | None:
    """Read a map whole and prove each page.

    Returns:
        None if it is whole; else what is wrong, and the blocks that its bad pages speak of (None: all).

    Raises:
        UnavailableError: The store does not answer; nothing is known.
    """
    try:
        layer = MapLayer(store, name, ByteCache(0))
    except (IntegrityError, ProtocolError, NotFoundError) as error:
        return str(error), None
    reason, rows = "", []
    for number in range(len(layer.directory.starts)):
        pace(int(layer.directory.offsets[number + 1] - layer.directory.offsets[number]))
        try:
            layer.page(number)
        except (IntegrityError, ProtocolError) as error:
            reason = reason or str(error)
            rows.append((int(layer.directory.starts[number]), int(layer.directory.stops[number])))
        except NotFoundError as error:
            return str(error), None
    return (reason, normalize(rows)) if rows else None


def check_manifest(store: Store, name: str) -> str | None:
    """Read a manifest and prove it; return what is wrong, None if nothing is.

    Raises:
        UnavailableError: The store does not answer; nothing is known.
    """
    try:
        read_manifest(store, name)
    except (IntegrityError, ProtocolError, NotFoundError) as error:
        return str(error)
    return None


def ref_of(store: Store, name: str) -> PackRef:
    """Return which pack an object is, by its name alone."""
    session, _, rest = name.removeprefix(store.name("packs", "")).partition("/")
    return PackRef(pack=PackId(rest.partition(".")[0]), session=SessionId(session))


def coarse(ranges: Ranges, ranges_max: int) -> Ranges:
    """Return at most `ranges_max` ranges that hold all blocks of `ranges`, closing the narrowest gaps."""
    assert ranges_max > 0
    if len(ranges) <= ranges_max:
        return ranges
    gaps = ranges[1:, 0] - ranges[:-1, 1]
    kept = np.sort(np.argsort(-gaps, kind="stable")[: ranges_max - 1])
    starts = np.concatenate((ranges[:1, 0], ranges[1:, 0][kept]))
    stops = np.concatenate((ranges[:-1, 1][kept], ranges[-1:, 1]))
    return np.column_stack((starts, stops))

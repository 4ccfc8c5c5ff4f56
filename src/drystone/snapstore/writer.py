"""Writing a snapshot: blocks in address order become frames, packs, one map (docs/format.md, "Writing")."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import zstandard
from msgspec import UNSET, UnsetType

from drystone.codec.hashes import HASH_BYTES, SEAL_BYTES, Buffer, block_hashes, list_hash
from drystone.codec.map import MapKind, PackRef
from drystone.codec.pack import (
    ADDRESS_LIMIT,
    FRAME_BLOCKS_MAX,
    FRAME_BYTES_MAX,
    Encoding,
    PackHeader,
    PackIndex,
    encode_frame,
    frame_compressor,
)
from drystone.codec.sealed import Kind, commitment_of
from drystone.codec.wraps import Purpose
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.ids import PackId, SessionId
from drystone.snapstore.comparison import Expect, compared, zero_blocks
from drystone.snapstore.expected import ExpectedHashes
from drystone.snapstore.layers import TAIL
from drystone.snapstore.local_cache import LocalCache
from drystone.snapstore.packs import pack_parts
from drystone.snapstore.puts import Puts
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.seals import STORES_OWN
from drystone.snapstore.store import RandomBits, Store, hex128
from drystone.snapstore.table import MapTable, Segments

PACK_BYTES = 32 << 20
"""A pack is closed at this many stored bytes: large enough that a bucket's latency does not matter."""
PACK_BLOCKS = 32768
"""Or at this many blocks: then its index, which a reader fetches whole, is at most 0.6 MiB."""
BATCH_FRAMES = 4
"""Frames are handed to a thread by the mebibyte: to hand over one costs a third of what it costs to hash it."""
BATCHES_IN_FLIGHT = 6
"""6 MiB of blocks with the compressing threads: what fits into a cache need not come from memory again."""
_COMPARED_BLOCKS = 256
"""A rescan hashes and compares this much (1 MiB) at a time, in the calling thread: to hand it to another costs a copy
and half as much again as to hash it, and who reads for us is another process."""
_ZEROS_PENDING = 1 << 16
REMEMBERED = 16
"""Objects of a session whose ends are put into the local cache: those of most snapshots that are not the first."""
REMEMBERED_BYTES = 256 << 10
_PENDING = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenPack:
    """A durable pack."""

    pack: PackId
    object: str
    bytes: int
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a session made durable; `stored_bytes` counts packs and map, `requests` their PUTs."""

    map_object: str
    kind: Literal["delta", "full"]
    entries: int
    map_bytes: int
    commitment: str | UnsetType = UNSET
    packs: tuple[WrittenPack, ...]
    changed_blocks: int
    zero_blocks: int
    stored_bytes: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """A frame, ready to be stored."""

    encoding: Encoding
    stored: Buffer
    hashes: bytes
    digest: bytes


@dataclass(slots=True, kw_only=True)
class _OpenFrame:
    """A frame that still takes blocks; `hashes` is filled as they come if they are known already (rescan)."""

    buffer: bytearray
    segments: Segments = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    blocks: int = 0

    @property
    def plain(self) -> memoryview:
        """The content so far."""
        return memoryview(self.buffer)[: self.blocks * BLOCK_BYTES]

    def take(self, start: int, data: memoryview, hashes: bytes | None) -> None:
        """Append whole blocks."""
        at = self.blocks * BLOCK_BYTES
        self.buffer[at : at + len(data)] = data
        count = len(data) // BLOCK_BYTES
        self.blocks += count
        if self.segments and sum(self.segments[-1]) == start:
            self.segments[-1][1] += count
        else:
            self.segments.append([start, count])
        if hashes is not None:
            self.hashes.append(hashes)


@dataclass(slots=True, kw_only=True)
class _OpenPack:
    """A pack that still takes frames."""

    header: PackHeader
    row: int
    frames: list[Buffer] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    encodings: list[int] = field(default_factory=list)
    segments: Segments = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    bytes: int = 0
    blocks: int = 0


class SnapshotWriter:
    """Writes one session's packs and map; for one calling thread.

    It hashes in that thread; `threads` others compress, and one stores, or several over a network. They end with
    `finish` or `abort`. Memory: at most two packs (64 MiB), five over a network, the frames in flight (6 MiB), and
    90 MiB of map per TiB of data.

    Args:
        session: Names all objects; its row exists before this is made (L6).
        base: The snapshot that the map is a delta to; None: a full map, in which zeros are left out.
        compare: Rescan: blocks that are what `base` shows, by hash, are left out.
        expect: What `base` shows, for `compare`; None: its hashes, of which each must be there.
        remember: The local cache that is to have what the next snapshot's audit will ask for.
    """

    def __init__(
        self,
        *,
        store: Store,
        session: SessionId,
        rng: RandomBits,
        base: SnapshotReader | None = None,
        compare: bool = False,
        expect: Expect | None = None,
        threads: int = 2,
        purpose: Purpose = STORES_OWN,
        remember: LocalCache | None = None,
    ) -> None:
        assert base is not None or not compare
        self._remember = remember
        self._left_to_remember = REMEMBERED
        self._store = store
        self._session = session
        self._rng = rng
        self._base = base
        self._map_id = hex128(rng)
        kind = MapKind.FULL if base is None else MapKind.DELTA
        self._key_id = None if store.seals is None else store.seals.key_for(purpose).key.key_id
        sealing = store.sealing(store.map_name(session, self._map_id), Kind.MAP, purpose)
        self._table = MapTable(sealing or store.keys, session, self._map_id, kind)
        self._position = 0
        self._frame: _OpenFrame | None = None
        self._batch: list[_OpenFrame] = []
        self._batches: deque[tuple[Future[list[_Encoded]], list[_OpenFrame]]] = deque()
        self._spare: list[bytearray] = []
        self._expected = None if base is None or not compare else ExpectedHashes(expect or base.hashes)
        self._pack: _OpenPack | None = None
        self._refs: list[PackRef] = []
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="frames")
        self._puts: Puts[WrittenPack] = Puts(far=store.far is not None)
        self._local = threading.local()
        self._open = True

    def write(self, first_block: int, data: Buffer) -> None:
        """Take the content of whole blocks from `first_block` on; addresses ascend over all calls.

        Zero blocks become zero entries (if there is a base). The data is copied: the caller may reuse its
        buffer. May block while the store takes what came before.

        Raises:
            SpaceError, UnavailableError: A pack could not be stored; only `abort` may follow.
            IntegrityError: The base cannot be trusted (rescan); only `abort` may follow.
        """
        view = memoryview(data).cast("B")
        blocks = self._advance(first_block, first_block + len(view) // BLOCK_BYTES)
        assert len(view) == blocks * BLOCK_BYTES
        with self._poisoned():
            self._take(first_block, view)

    def zero(self, start_block: int, stop_block: int) -> None:
        """Say that blocks are zeros now, without their bytes; addresses ascend over all calls.

        Raises:
            IntegrityError, NotFoundError: The base cannot be trusted (rescan); only `abort` may follow.
        """
        self._advance(start_block, stop_block)
        with self._poisoned():
            if self._base is not None and self._expected is not None:
                for low, high in self._base.data_ranges(start_block, stop_block).tolist():
                    self._add_zero(low, high)
            else:
                self._add_zero(start_block, stop_block)

    def finish(self) -> Written:
        """Store the rest, then the map, and return what is durable now.

        Raises:
            SpaceError, UnavailableError: Something could not be stored; call `abort`.
            IntegrityError: As `write`.
        """
        assert self._open
        with self._poisoned():
            self._drain()
            self._close_pack()
            packs = tuple(self._puts.finish())
            parts = self._table.finish(tuple(self._refs))
            name = self._store.map_name(self._session, self._map_id)
            self._store.objects.put(name, parts)  # I1: every pack it names is durable
            self._keep(name, parts)
        map_bytes = sum(len(part) for part in parts)
        self._shut()
        return Written(
            map_object=name,
            kind="full" if self._base is None else "delta",
            entries=self._table.entries,
            map_bytes=map_bytes,
            commitment=UNSET if self._key_id is None else commitment_of(parts).hex(),
            packs=packs,
            changed_blocks=self._table.data_blocks + self._table.zero_blocks,
            zero_blocks=self._table.zero_blocks,
            stored_bytes=map_bytes + sum(pack.bytes for pack in packs),
            requests=1 + len(packs),
        )

    def abort(self) -> None:
        """End the threads; what was stored stays behind as garbage of the session (L6)."""
        self._shut()

    def _take(self, first_block: int, view: memoryview) -> None:
        blocks = len(view) // BLOCK_BYTES
        if self._expected is not None:
            for low in range(0, blocks, _COMPARED_BLOCKS):
                high = min(low + _COMPARED_BLOCKS, blocks)
                self._compare(self._expected, first_block + low, view[low * BLOCK_BYTES : high * BLOCK_BYTES])
            return
        empty = zero_blocks(view)
        for low, high in _runs(empty):
            if empty[low]:
                self._add_zero(first_block + low, first_block + high)
            else:
                self._add_data(first_block + low, view[low * BLOCK_BYTES : high * BLOCK_BYTES], None)

    @contextmanager
    def _poisoned(self) -> Iterator[None]:
        """After a failure nothing may follow but `abort`: a map must not name a pack that was not stored (I1)."""
        try:
            yield
        except BaseException:
            self._open = False
            raise

    def _shut(self) -> None:
        self._open = False
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._puts.end()

    def _advance(self, start: int, stop: int) -> int:
        """Assert the order of calls and return the number of blocks."""
        assert self._open
        assert self._position <= start <= stop <= ADDRESS_LIMIT, (self._position, start, stop)
        self._position = stop
        return stop - start

    def _add_zero(self, start: int, stop: int) -> None:
        if self._base is None or start == stop:
            return
        self._table.add_zero(start, stop)
        if self._table.pending > _ZEROS_PENDING:
            self._drain()
            self._table.settle(stop)

    def _add_data(self, start: int, data: memoryview, hashes: bytes | None) -> None:
        """Append blocks to the open frame, and hand full frames over."""
        at, blocks = 0, len(data) // BLOCK_BYTES
        while at < blocks:
            if self._frame is None:
                self._frame = _OpenFrame(buffer=self._spare.pop() if self._spare else bytearray(FRAME_BYTES_MAX))
            count = min(FRAME_BLOCKS_MAX - self._frame.blocks, blocks - at)
            known = None if hashes is None else hashes[at * HASH_BYTES : (at + count) * HASH_BYTES]
            self._frame.take(start + at, data[at * BLOCK_BYTES : (at + count) * BLOCK_BYTES], known)
            at += count
            if self._frame.blocks == FRAME_BLOCKS_MAX:
                self._submit()

    def _submit(self) -> None:
        frame, self._frame = self._frame, None
        if frame is None:
            return
        if not frame.hashes:
            # In this thread, not in those that compress: the library lets go of the interpreter for each block, and
            # two threads that do so hash no quicker than one (0.83 against 0.40 s per GB) and hold each other up.
            frame.hashes.append(block_hashes(self._store.keys, frame.plain))
        self._batch.append(frame)
        if len(self._batch) == BATCH_FRAMES:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give the collected frames to a thread, and take back what others have done."""
        batch, self._batch = self._batch, []
        if batch:
            self._batches.append((self._workers.submit(self._encode_all, batch), batch))
        if len(self._batches) > BATCHES_IN_FLIGHT:
            # Half of them at a time: sleeping and waking costs, too.
            wait((self._batches[BATCHES_IN_FLIGHT // 2][0],))
        while self._batches and (len(self._batches) > BATCHES_IN_FLIGHT or self._batches[0][0].done()):
            self._collect()

    def _encode_all(self, frames: list[_OpenFrame]) -> list[_Encoded]:
        return [self._encode(frame) for frame in frames]

    def _encode(self, frame: _OpenFrame) -> _Encoded:
        """Compress a frame; runs in a worker thread."""
        compressor: zstandard.ZstdCompressor | None = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = frame_compressor()
        hashes = b"".join(frame.hashes)
        encoding, stored = encode_frame(compressor, frame.plain)
        if encoding == Encoding.RAW:
            stored = bytes(stored)  # the buffer is used again
        digest = list_hash(self._store.keys, hashes)
        return _Encoded(encoding=encoding, stored=stored, hashes=hashes, digest=digest)

    def _collect(self) -> None:
        """Put the oldest batch into packs, in order."""
        future, frames = self._batches.popleft()
        for frame, encoded in zip(frames, future.result(), strict=True):
            self._spare.append(frame.buffer)
            self._append(frame, encoded)

    def _append(self, frame: _OpenFrame, encoded: _Encoded) -> None:
        """Put a frame into the open pack."""
        if self._pack is None:
            self._pack = self._new_pack()
        pack = self._pack
        self._table.add_frame(pack.row, len(pack.counts), encoded.digest, frame.segments)
        pack.frames.append(encoded.stored)
        pack.stored.append(len(encoded.stored))
        pack.counts.append(frame.blocks)
        pack.encodings.append(encoded.encoding)
        pack.segments.extend(frame.segments)
        pack.hashes.append(encoded.hashes)
        pack.bytes += len(encoded.stored)
        pack.blocks += frame.blocks
        if pack.bytes >= PACK_BYTES or pack.blocks >= PACK_BLOCKS:
            self._close_pack()
        if self._table.pending >= _PENDING:
            start, count = frame.segments[-1]
            self._table.settle(start + count)

    def _drain(self) -> None:
        """Close the open frame and collect all."""
        self._submit()
        self._hand_over()
        while self._batches:
            self._collect()

    def _new_pack(self) -> _OpenPack:
        salt = self._rng.getrandbits(8 * SEAL_BYTES).to_bytes(SEAL_BYTES, "little")
        header = PackHeader(
            pack=PackId(hex128(self._rng)), session=self._session, attempt=hex128(self._rng), salt=salt,
            version=self._store.version,
        )  # fmt: skip
        self._refs.append(PackRef(pack=header.pack, session=self._session))
        return _OpenPack(header=header, row=len(self._refs) - 1)

    def _close_pack(self) -> None:
        """Store the open pack in the background, once there is room for it."""
        pack, self._pack = self._pack, None
        if pack is not None:
            self._puts.begin(partial(self._store_pack, pack))

    def _store_pack(self, pack: _OpenPack) -> WrittenPack:
        runs = np.array(pack.segments, dtype=np.int64)
        firsts = np.cumsum(runs[:, 1]) - runs[:, 1]
        addresses = np.repeat(runs[:, 0] - firsts, runs[:, 1]) + np.arange(pack.blocks)
        hashes = np.frombuffer(b"".join(pack.hashes), dtype=np.uint8).reshape(-1, HASH_BYTES)
        index = PackIndex(
            header=pack.header,
            stored_bytes=np.array(pack.stored, dtype=np.int64),
            counts=np.array(pack.counts, dtype=np.int64),
            encodings=np.array(pack.encodings, dtype=np.uint8),
            addresses=addresses,
            hashes=hashes,
            dead=np.zeros(pack.blocks, dtype=np.bool_),
        )
        name = self._store.pack_name(self._session, pack.header.pack, pack.header.attempt)
        parts = pack_parts(self._store, index, pack.frames, self._key_id)
        size = sum(len(part) for part in parts)
        pack.frames.clear()
        if self._store.far is not None:
            # It is sent from one buffer, and several are on their way: none is there twice.
            parts = [b"".join(parts)]
        self._store.objects.put(name, parts)
        self._keep(name, parts)
        return WrittenPack(pack=pack.header.pack, object=name, bytes=size, blocks=pack.blocks)

    def _keep(self, name: str, parts: Sequence[Buffer]) -> None:
        """Have the end of an object in the local cache, where its index is mostly; of few, or all else would go."""
        if self._remember is None or not self._left_to_remember:
            return
        self._left_to_remember -= 1
        last = b"".join(bytes(part[-REMEMBERED_BYTES:]) for part in parts)
        self._remember.put(name, TAIL, last[-REMEMBERED_BYTES:])

    def _compare(self, expect: ExpectedHashes, start: int, view: memoryview) -> None:
        """Keep what differs from the base."""
        found = compared(self._store.keys, expect, start, view)
        if found.same.all():
            return
        wanted = np.where(found.same, 2, found.empty)
        for low, high in _runs(wanted):
            if wanted[low] == 1:
                self._add_zero(start + low, start + high)
            elif wanted[low] == 0:
                self._add_data(
                    start + low,
                    view[low * BLOCK_BYTES : high * BLOCK_BYTES],
                    found.hashes[low * HASH_BYTES : high * HASH_BYTES],
                )


def _runs(column: npt.NDArray[np.generic]) -> Iterator[tuple[int, int]]:
    """Yield [low, high) of each run of equal values."""
    if len(column) == 0:
        return
    edges = [0, *(np.flatnonzero(column[1:] != column[:-1]) + 1).tolist(), len(column)]
    yield from pairwise(edges)

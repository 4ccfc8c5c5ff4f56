"""What a restored disk is read for first, so that it comes sooner the next time (S232)."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import DrystoneError
from drystone.snapstore.far import Far
from drystone.snapstore.local_cache import LocalCache
from drystone.snapstore.reader import SnapshotReader

CHUNK_BLOCKS: Final = 64
"""256 KiB of a disk: what a frame holds, mostly."""
CHUNKS_MAX: Final = 512
"""128 MiB: what a system reads while it starts, and less than half of the memory for frames."""
SMALL_BYTES: Final = 512 << 10
"""Whoever asks for more at once fills the disk, and goes by its addresses."""
NOTED: Final = 32
"""After so many new chunks it is written down: nobody says when a start is over."""
START_S: Final = 300.0
"""What is read later belongs to no start."""
PAUSE_S: Final = 600.0
"""Who reads again after this long starts again."""
AT_ONCE: Final = 32
_PART: Final = "order"


class BootOrder:
    """Notes in which order a snapshot is read, and reads ahead in the order of the last start; thread-safe.

    It is kept in the local cache, for each disk of which there are snapshots. It is a hint: whatever it says, only
    chunks of the snapshot are read, at most `CHUNKS_MAX` and each once. Where the store is in trouble, no more is.

    Args:
        reader: Of the snapshot.
        far: Of its store.
        cache: Where it is kept.
        monotonic: Seconds.
    """

    def __init__(
        self, reader: SnapshotReader, far: Far, cache: LocalCache, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = reader
        self._far = far
        self._cache = cache
        self._monotonic = monotonic
        self._name = f"boot/{reader.manifest.disk}"
        self._lock = threading.Lock()
        self._began = self._last = float("-inf")
        self._seen: dict[int, None] = {}

    def read(self, offset: int, length: int) -> None:
        """Note that bytes are about to be read; the first of a start begins to read ahead."""
        if length > SMALL_BYTES or not length:
            return
        unit = CHUNK_BLOCKS * BLOCK_BYTES
        with self._lock:
            now, last = self._monotonic(), self._last
            self._last = now
            starts = now - last > PAUSE_S
            if starts:
                self._began = now
                self._seen.clear()
            elif now - self._began > START_S or len(self._seen) >= CHUNKS_MAX:
                return
            before = len(self._seen) // NOTED
            self._seen.update(dict.fromkeys(range(offset // unit, (offset + length - 1) // unit + 1)))
            noted = list(self._seen)[:CHUNKS_MAX] if len(self._seen) // NOTED > before else None
        if starts:
            self._replay(self._known())
        if noted is not None:
            self._cache.put(self._name, _PART, msgspec.json.encode(noted))

    def _known(self) -> list[int]:
        """Return the chunks of the last start, in their order, as far as the hint makes sense."""
        raw = self._cache.get(self._name, _PART)
        try:
            told = [] if raw is None else msgspec.json.decode(raw, type=list[int])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []
        chunks = -(-self._reader.size_blocks // CHUNK_BLOCKS)
        return [one for one in dict.fromkeys(told[:CHUNKS_MAX]) if 0 <= one < chunks]

    def _replay(self, chunks: list[int]) -> None:
        """Have chunks read, some at once, by threads that end when there are no more or the first one fails."""
        waiting: Iterator[int] = iter(chunks)
        failed = threading.Event()

        def run() -> None:
            while not failed.is_set():
                with self._lock:
                    chunk = next(waiting, None)
                if chunk is None:
                    return
                try:
                    self._reader.warm(chunk * CHUNK_BLOCKS, (chunk + 1) * CHUNK_BLOCKS)
                except DrystoneError:
                    # Whoever reads it is told.
                    failed.set()

        for _ in range(min(AT_ONCE, len(chunks))):
            try:
                self._far.ahead.submit(run)
            except RuntimeError:  # It was closed.
                return

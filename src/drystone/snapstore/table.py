"""A map in the making: runs of frames and zeros, cut into pages as soon as they are settled."""

import numpy as np

from drystone.codec.hashes import HASH_BYTES, HashKeys
from drystone.codec.map import PAGE_ENTRIES, ZERO_FRAME, MapEncoder, MapKind, MapPage, PackRef
from drystone.codec.sealed import Sealing
from drystone.domain.blocks import EMPTY, Ranges, count, union
from drystone.domain.ids import SessionId

Segments = list[list[int]]
"""[start, count] of each run of consecutive blocks, ascending."""


class MapTable:
    """Collects entries: frames in address order, zeros in any, but nothing before what is settled."""

    def __init__(self, keys: HashKeys | Sealing, session: SessionId, map_id: str, kind: MapKind) -> None:
        self._encoder = MapEncoder(keys, session, map_id, kind)
        self._frames: list[tuple[int, int, bytes]] = []
        self._frames_dropped = 0
        self._next_block = 0
        self._runs: list[tuple[int, int, int, int]] = []
        self._zero_runs: list[tuple[int, int]] = []
        self._zeros: Ranges = EMPTY
        self.zero_blocks = 0
        self.data_blocks = 0

    @property
    def pending(self) -> int:
        """Entries that are not in a page yet."""
        return len(self._runs) + len(self._zero_runs) + len(self._zeros)

    @property
    def entries(self) -> int:
        """Entries in finished pages."""
        return self._encoder.entries

    def add_frame(self, pack: int, number: int, digest: bytes, segments: Segments) -> None:
        """Add a frame: row of its pack in the pack table, number, hash of its list, the blocks it holds."""
        # Out of order, a page could have been cut that misses entries: every reader would find others' blocks there.
        assert segments[0][0] >= self._next_block
        self._next_block = sum(segments[-1])
        owner = self._frames_dropped + len(self._frames)
        self._frames.append((pack, number, digest))
        slot = 0
        for start, length in segments:
            self._runs.append((start, length, owner, slot))
            slot += length
        self.data_blocks += slot

    def add_zero(self, start: int, stop: int) -> None:
        """Add blocks that are zeros now."""
        self._zero_runs.append((start, stop))
        self.zero_blocks += stop - start

    def settle(self, stop: int, *, everything: bool = False) -> None:
        """Cut full pages of the entries before block `stop`: none will be added there any more."""
        self._zeros = union(self._zeros, np.array(self._zero_runs, dtype=np.int64).reshape(-1, 2))
        self._zero_runs.clear()
        ready = int(np.searchsorted(self._zeros[:, 0], stop, side="left"))
        zeros, self._zeros = self._zeros[:ready], self._zeros[ready:]
        runs = [*self._runs, *((start, end - start, ZERO_FRAME, 0) for start, end in zeros.tolist())]
        runs.sort()
        pages = -(-len(runs) // PAGE_ENTRIES) if everything else len(runs) // PAGE_ENTRIES
        for page in range(pages):
            self._add_page(runs[page * PAGE_ENTRIES : (page + 1) * PAGE_ENTRIES])
        rest = runs[pages * PAGE_ENTRIES :]
        self._runs = [run for run in rest if run[2] != ZERO_FRAME]
        left = [(start, start + length) for start, length, owner, _ in rest if owner == ZERO_FRAME]
        self._zeros = union(np.array(left, dtype=np.int64).reshape(-1, 2), self._zeros)
        keep = self._runs[0][2] if self._runs else self._frames_dropped + len(self._frames)
        del self._frames[: keep - self._frames_dropped]
        self._frames_dropped = keep

    def finish(self, packs: tuple[PackRef, ...]) -> list[bytes]:
        """Return the parts of the map object."""
        self.settle(1 << 62, everything=True)
        assert count(self._zeros) == 0
        return self._encoder.finish(packs)

    def _add_page(self, runs: list[tuple[int, int, int, int]]) -> None:
        rows = np.array(runs, dtype=np.int64)
        data = rows[:, 2] != ZERO_FRAME
        used, inverse = np.unique(rows[data, 2], return_inverse=True)
        frames = np.full(len(rows), ZERO_FRAME, dtype=np.int32)
        frames[data] = inverse
        table = [self._frames[owner - self._frames_dropped] for owner in used.tolist()]
        self._encoder.add(MapPage(
            starts=rows[:, 0], counts=rows[:, 1], frames=frames, slots=rows[:, 3].astype(np.uint8),
            packs=np.array([row[0] for row in table], dtype=np.uint32),
            numbers=np.array([row[1] for row in table], dtype=np.uint32),
            hashes=np.frombuffer(b"".join(row[2] for row in table), dtype=np.uint8).reshape(-1, HASH_BYTES),
        ))  # fmt: skip

"""What a snapshot shows block by block, asked for in windows: a question to it costs more than its answer."""

import numpy as np
import numpy.typing as npt

from drystone.snapstore.reader import SnapshotReader

WINDOW_BLOCKS = 16384
"""64 MiB of the disk; kinds and hashes of it are 0.3 MiB."""


class ExpectedHashes:
    """`SnapshotReader.hashes` for one who goes through the disk in address order; for one thread."""

    def __init__(self, reader: SnapshotReader) -> None:
        self._reader = reader
        self._blocks = WINDOW_BLOCKS
        self._start = -1
        self._kinds: npt.NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self._hashes: npt.NDArray[np.uint8] = np.empty((0, 0), dtype=np.uint8)

    def __call__(self, start: int, stop: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Return (kinds, hashes) of blocks `[start, stop)`; errors as `SnapshotReader.hashes`."""
        kinds, hashes = [], []
        while start < stop:
            origin = start - start % self._blocks
            if self._start != origin:
                # Taken over only when both are there: an error must not leave one window's kinds with another's hashes.
                self._kinds, self._hashes = self._reader.hashes(origin, origin + self._blocks)
                self._start = origin
            rows = slice(start - origin, min(stop - origin, self._blocks))
            kinds.append(self._kinds[rows])
            hashes.append(self._hashes[rows])
            start = origin + rows.stop
        if len(kinds) == 1:
            return kinds[0], hashes[0]
        return np.concatenate(kinds), np.concatenate(hashes)

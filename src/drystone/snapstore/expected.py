"""What a snapshot shows block by block, asked for in windows: a question to it costs more than its answer."""

import numpy as np
import numpy.typing as npt
import structlog

from drystone.codec.hashes import HASH_BYTES
from drystone.domain.blocks import EMPTY, Ranges, from_blocks, normalize, union
from drystone.domain.errors import DrystoneError, IntegrityError, ProtocolError
from drystone.domain.ids import PackId
from drystone.objects.contract import NotFoundError
from drystone.snapstore.comparison import Expect
from drystone.snapstore.reader import UNKNOWN, SnapshotReader

UNTRUSTED = (IntegrityError, ProtocolError, NotFoundError)
"""What is raised of a map or a manifest that cannot be trusted or is gone, and never of a passing outage."""

log = structlog.get_logger(__name__)

WINDOW_BLOCKS = 16384
"""64 MiB of the disk; kinds and hashes of it are 0.3 MiB."""


class KnownHashes:
    """`SnapshotReader.hashes` for one who can do without: blocks whose hash cannot be had are UNKNOWN.

    Damage in the store must not keep anybody from taking snapshots: what nobody can say is taken for different.

    Attributes:
        packs: Packs that could not be trusted, or are gone.
        maps: Maps of the snapshot, if one of them could not be trusted: nobody knows which.
    """

    def __init__(self, reader: SnapshotReader) -> None:
        self._reader = reader
        self._unknown = [EMPTY]
        self.packs: set[PackId] = set()
        self.maps: set[str] = set()

    @property
    def unknown(self) -> Ranges:
        """All blocks that were asked for and not told."""
        return union(*self._unknown)

    def __call__(self, start: int, stop: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Return (kinds, hashes) of blocks `[start, stop)`.

        Raises:
            UnavailableError: The store does not answer.
        """
        try:
            kinds, hashes, faults = self._reader.known_hashes(start, stop)
        except UNTRUSTED as error:
            self.maps.update(part.object for part in self._reader.manifest.maps)
            self._unknown.append(normalize([(start, stop)]))
            self._tell(error)
            kinds = np.full(stop - start, UNKNOWN, dtype=np.uint8)
            return kinds, np.zeros((stop - start, HASH_BYTES), dtype=np.uint8)
        for ref, fault in faults.items():
            if ref.pack not in self.packs:
                self._tell(fault)
            self.packs.add(ref.pack)
        missing = np.flatnonzero(kinds == UNKNOWN)
        if len(missing):
            self._unknown.append(from_blocks(start + missing))
        return kinds, hashes

    def _tell(self, error: DrystoneError) -> None:
        log.warning("snapshot.hashes_not_known", snapshot_id=self._reader.manifest.snapshot, error=str(error))


class ExpectedHashes:
    """Another `Expect` for one who goes through the disk in address order; for one thread."""

    def __init__(self, expect: Expect) -> None:
        self._expect = expect
        self._blocks = WINDOW_BLOCKS
        self._start = -1
        self._kinds: npt.NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self._hashes: npt.NDArray[np.uint8] = np.empty((0, 0), dtype=np.uint8)

    def __call__(self, start: int, stop: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Return (kinds, hashes) of blocks `[start, stop)`; errors as those of whom it asks."""
        kinds, hashes = [], []
        while start < stop:
            origin = start - start % self._blocks
            if self._start != origin:
                # Taken over only when both are there: an error must not leave one window's kinds with another's hashes.
                self._kinds, self._hashes = self._expect(origin, origin + self._blocks)
                self._start = origin
            rows = slice(start - origin, min(stop - origin, self._blocks))
            kinds.append(self._kinds[rows])
            hashes.append(self._hashes[rows])
            start = origin + rows.stop
        if len(kinds) == 1:
            return kinds[0], hashes[0]
        return np.concatenate(kinds), np.concatenate(hashes)

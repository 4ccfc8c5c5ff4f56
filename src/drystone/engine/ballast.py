"""Space and inodes that are kept for the catalog: on a full file system it goes on, and starts (S136, F15).

Guests fill their disks to the last byte, and the floor belongs to them. But what frees space, and what serves a disk
again, must first be written down. So some files of no content lie in the data directory, and are removed one by one
where the catalog, or a storage daemon's directory, finds no room.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from drystone.domain.errors import SpaceError, expected

PIECES: Final = 64
PIECE_BYTES_MAX: Final = 1 << 20
"""64 MiB in all: SQLite's log alone grows to 4 MiB before it is written back."""
PIECE_BYTES_MIN: Final = 16 << 10
_SHARE: Final = 100
"""At most this part of the file system, in all."""
GIVEN: Final = 4
"""Pieces that go together."""
RESERVED: Final = PIECES // 4
"""Pieces that a running server leaves for the next start, which needs room before it can do anything."""


class Ballast:
    """The files of one data directory.

    Args:
        directory: Where they lie; made when it is needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def give(self, *, at_start: bool) -> bool:
        """Remove some pieces; return whether there were any to remove.

        Args:
            at_start: Of a server that has not opened the catalog yet; one that runs leaves it some.
        """
        keep = 0 if at_start else RESERVED
        try:
            found = sorted(self._directory.iterdir())
        except OSError:
            return False
        given = False
        for path in found[: max(0, min(GIVEN, len(found) - keep))]:
            with contextlib.suppress(OSError):
                path.unlink()
                given = True
        return given

    def with_room(self, once: Callable[[], None]) -> None:
        """Do at a start what needs a little space, or an inode.

        Raises:
            OSError: It cannot be done, or there is no room and nothing left to give.
        """
        while True:
            try:
                return once()
            except OSError as error:
                if not isinstance(expected(error), SpaceError) or not self.give(at_start=True):
                    raise

    def fill(self) -> bool:
        """Make the pieces that are missing, if there is room for ten times all of them; return whether all are there.

        Raises:
            OSError: One could not be made; it is tried again another time.
        """
        found = os.statvfs(self._directory.parent)
        piece_bytes = found.f_blocks * found.f_frsize // _SHARE // PIECES
        piece_bytes = max(PIECE_BYTES_MIN, min(PIECE_BYTES_MAX, piece_bytes))
        missing = [path for path in self._paths() if not path.exists()]
        free_bytes = found.f_bavail * found.f_frsize
        # File systems without a fixed number of inodes say that there are none at all.
        few_inodes = found.f_files and found.f_favail < 10 * PIECES
        if missing and (free_bytes < 10 * PIECES * piece_bytes or few_inodes):
            return False
        self._directory.mkdir(exist_ok=True, mode=0o700)
        for path in missing:
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, piece_bytes)
            part.replace(path)
        return True

    def _paths(self) -> list[Path]:
        return [self._directory / f"{number:02}" for number in range(PIECES)]

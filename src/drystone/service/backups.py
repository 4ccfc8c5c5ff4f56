"""Copies of the catalog, made by themselves (issue: the bucket is enough, the catalog is more comfortable)."""

import asyncio
from pathlib import Path

import structlog

from drystone.catalog.backup import back_up, newest_first
from drystone.domain.errors import SpaceError
from drystone.service.installation import Installation

log = structlog.get_logger()
KIND = "catalog"
MINUTE_SECONDS = 60.0


class Backups:
    """Copies the catalog every so often into `backups/` of the data directory; old copies go.

    Args:
        installation: Whose catalog.
        minutes: Time between two copies; 0 makes none.
        kept: How many stay.
    """

    def __init__(self, *, installation: Installation, minutes: int, kept: int) -> None:
        self._in = installation
        self._seconds = minutes * MINUTE_SECONDS
        self._kept = kept

    async def due(self) -> Path | None:
        """Make a copy if the newest is old enough; return it.

        Raises:
            DrystoneError: It could not be made; the older ones are all there.
        """
        if self._seconds == 0:
            return None
        layout = self._in.layout
        now = self._in.clock()
        newest = newest_first(layout.backups, KIND)[:1]
        if newest:
            age = now - newest[0].stat().st_mtime
            # A clock that was set back must not stop the copies.
            if 0 <= age < self._seconds:
                return None
        if self._in.space().above_floor_bytes <= 2 * layout.catalog.stat().st_size:
            raise SpaceError("the catalog was not copied: free space is near the floor that belongs to the disks")
        made = await asyncio.to_thread(
            back_up, layout.catalog, layout.backups, kind=KIND, at=now, kept=self._kept
        )  # fmt: skip
        log.info("catalog.backed_up", file=made.name)
        return made

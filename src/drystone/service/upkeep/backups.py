"""Copies of the catalog, made by themselves (issue: the bucket is enough, the catalog is more comfortable)."""

import asyncio
from pathlib import Path

import structlog

from drystone.catalog.backup import back_up, made_at, newest_first
from drystone.domain.clock import recent
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
        self._made: float | None = None
        """When this process made its last copy, by the monotonic clock (S121)."""

    async def due(self) -> Path | None:
        """Make a copy if the newest is old enough; return it.

        Raises:
            DrystoneError: It could not be made; the older ones are all there.
        """
        if self._seconds == 0:
            return None
        layout = self._in.layout
        now, tick = self._in.steady(), self._in.monotonic()
        if self._made is not None and tick - self._made < self._seconds:
            return None
        for newest in newest_first(layout.backups, KIND, now)[:1]:
            at = made_at(newest)
            if at is not None and recent(at, now, self._seconds):
                return None
        if self._in.space().above_floor_bytes <= 2 * layout.catalog.stat().st_size:
            raise SpaceError("the catalog was not copied: free space is near the floor that belongs to the disks")
        made = await asyncio.to_thread(
            back_up, layout.catalog, layout.backups, kind=KIND, at=now, kept=self._kept
        )  # fmt: skip
        self._made = tick
        log.info("catalog.backed_up", file=made.name)
        return made

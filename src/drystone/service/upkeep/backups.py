"""Copies of the catalog, made by themselves: the store alone is enough to recover, and less comfortable."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from drystone.catalog.backup import back_up, made_at, newest_first
from drystone.domain.clock import recent
from drystone.domain.errors import SpaceError
from drystone.service.room import Room

log = structlog.get_logger()
KIND = "catalog"
MINUTE_SECONDS = 60.0


class Backups:
    """Copies the catalog every so often into `backups/` of the data directory; old copies go.

    Args:
        room: Where the catalog and its copies are, and what of it is left to the disks.
        steady: The steady clock, seconds since the epoch: what the copies' ages go by.
        monotonic: Seconds by a clock that is never set.
        minutes: Time between two copies; 0 makes none.
        kept: How many stay.
    """

    def __init__(
        self,
        *,
        room: Room,
        steady: Callable[[], float],
        monotonic: Callable[[], float],
        minutes: int,
        kept: int,
    ) -> None:
        self._room = room
        self._steady = steady
        self._monotonic = monotonic
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
        layout, now, tick = self._room.layout, self._steady(), self._monotonic()
        if self._made is not None and tick - self._made < self._seconds:
            return None
        for newest in newest_first(layout.backups, KIND, now)[:1]:
            at = made_at(newest)
            if at is not None and recent(at, now, self._seconds):
                return None
        if self._room.look().above_floor_bytes <= 2 * layout.catalog.stat().st_size:
            raise SpaceError("the catalog was not copied: free space is near the floor that belongs to the disks")
        made = await asyncio.to_thread(
            back_up, layout.catalog, layout.backups, kind=KIND, at=now, kept=self._kept
        )  # fmt: skip
        self._made = tick
        log.info("catalog.backed_up", file=made.name)
        return made

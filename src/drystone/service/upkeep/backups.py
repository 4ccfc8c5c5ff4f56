"""Copies of the catalog, made by themselves: the store alone is enough to recover, and less comfortable."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from drystone.catalog.backup import back_up, made_at, newest_first
from drystone.domain.clock import recent
from drystone.domain.errors import DrystoneError, SpaceError
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.service.room import Room

log = structlog.get_logger()
KIND = "catalog"
MINUTE_SECONDS = 60.0
LATE = 3
"""So many times the time between two copies are too long without one."""


@dataclass(slots=True, kw_only=True, eq=False)
class Backups:
    """Copies the catalog every so often into `backups/` of the data directory; old copies go."""

    room: Room
    """Where the catalog and its copies are, and what of it is left to the disks."""
    steady: Callable[[], float]
    """The steady clock, seconds since the epoch: what the copies' ages go by."""
    monotonic: Callable[[], float]
    minutes: int
    """Time between two copies; 0 makes none."""
    kept: int
    """How many stay."""
    _made: float | None = field(init=False, default=None)
    """When this process made its last copy, by the monotonic clock (S121)."""

    failed: str = field(init=False, default="")
    """Why the last try failed; empty if it did not."""

    async def due(self) -> Path | None:
        """Make a copy if the newest is old enough; return it.

        Raises:
            DrystoneError: It could not be made; the older ones are all there.
        """
        try:
            made = await self._due()
        except DrystoneError as error:
            self.failed = str(error)
            raise
        self.failed = ""
        return made

    def trouble(self) -> tuple[Trouble, Facts] | None:
        """Return what is wrong: that the last try failed, or that the newest copy is far too old."""
        if self.minutes == 0:
            return None
        now = self.steady()
        newest = newest_first(self.room.layout.backups, KIND, now)[:1]
        at = made_at(newest[0]) if newest else None
        late = at is not None and not recent(at, now, LATE * self.minutes * MINUTE_SECONDS)
        if not self.failed and not late:
            return None
        return Trouble(kind=EventKind.BACKUP_FAILED), Facts(reason=self.failed, at=at)

    async def _due(self) -> Path | None:
        if self.minutes == 0:
            return None
        seconds = self.minutes * MINUTE_SECONDS
        layout, now, tick = self.room.layout, self.steady(), self.monotonic()
        if self._made is not None and tick - self._made < seconds:
            return None
        for newest in newest_first(layout.backups, KIND, now)[:1]:
            at = made_at(newest)
            if at is not None and recent(at, now, seconds):
                return None
        if self.room.look().above_floor_bytes <= 2 * layout.catalog.stat().st_size:
            raise SpaceError("the catalog was not copied: free space is near the floor that belongs to the disks")
        made = await asyncio.to_thread(
            back_up, layout.catalog, layout.backups, kind=KIND, at=now, kept=self.kept
        )  # fmt: skip
        self._made = tick
        log.info("catalog.backed_up", file=made.name)
        return made

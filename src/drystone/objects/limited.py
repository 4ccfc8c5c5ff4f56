"""A store to and from which only so many bytes go in a second, at each hour of the day (S272)."""

import fcntl
import os
import re
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from drystone.domain.errors import UnavailableError
from drystone.objects.around import Around, Kind

R = TypeVar("R")
_SPENT: Final = struct.Struct("<dd")
AHEAD_S_MAX: Final = 3600.0
"""Nobody waits as long: what says so is of another boot of the machine."""
FIRST_S_MAX: Final = 5.0
"""How far those who never wait may push the others back: these have a share also while a guest reads all day."""
LOOK_S: Final = 60.0
"""Who waits looks this often whether another hour with another limit has begun."""
DAY_MINUTES: Final = 24 * 60
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d) ([0-9]{1,7})")


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of each day, minutes from `start` to before `stop`, maybe over midnight, and its limit; 0 is none."""

    start: int
    stop: int
    bytes_per_s: int

    def has(self, minute: int) -> bool:
        """Tell whether a minute of the day is within."""
        return (minute - self.start) % DAY_MINUTES < ((self.stop - self.start) % DAY_MINUTES or DAY_MINUTES)


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be spent in a second.

    Attributes:
        bytes_per_s: At any time that `hours` do not name; 0: no limit.
        hours: Others, no two at one minute.
        time_zone: In which they are, as `Europe/Berlin`; empty: the machine's.
    """

    bytes_per_s: int = 0
    hours: tuple[Hours, ...] = ()
    time_zone: str = ""

    @property
    def any(self) -> bool:
        """Whether there is a limit at any time."""
        return self.bytes_per_s > 0 or any(one.bytes_per_s for one in self.hours)

    def at(self, wall_s: float) -> int:
        """Return the limit at a time, seconds since the epoch; 0: none."""
        zone: tzinfo | None = ZoneInfo(self.time_zone) if self.time_zone else None
        local = datetime.fromtimestamp(wall_s, zone)
        minute = local.hour * 60 + local.minute
        return next((one.bytes_per_s for one in self.hours if one.has(minute)), self.bytes_per_s)


def parse_hours(texts: Sequence[str]) -> tuple[Hours, ...]:
    """Return what texts as `22:00-06:00 100` say, in MB per second.

    Raises:
        ValueError: One says something else, or two are about one minute.
    """
    found: list[Hours] = []
    for text in texts:
        parts = _HOURS.fullmatch(text)
        if parts is None:
            raise ValueError(f"{text!r} is no stretch of a day with MB per second, as '22:00-06:00 100'")
        first, first_m, last, last_m, most = map(int, parts.groups())
        one = Hours(start=first * 60 + first_m, stop=last * 60 + last_m, bytes_per_s=most * 1_000_000)
        if any(one.has(minute) and other.has(minute) for other in found for minute in range(DAY_MINUTES)):
            raise ValueError(f"{text!r} is also about a time that another entry is about")
        found.append(one)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """So many bytes a second of all processes that share a file.

    Attributes:
        limits: How many.
        file: Has the time when all that was spent will have passed, by the machine's monotonic clock, and the limit by
            which that was reckoned.
        wall: Seconds since the epoch.
        monotonic: The machine's monotonic clock.
        pause: Waits so many seconds.
    """

    limits: Limits
    file: Path
    wall: Callable[[], float] = time.time  # noqa: TID251 - limits follow the hours that people see
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def spend(self, count: int, *, first: bool = False) -> None:
        """Return once so many bytes have had their time; each caller waits for those before it.

        Args:
            count: How many.
            first: Never wait, and have the others wait longer, though not much: guests wait for it.

        Raises:
            UnavailableError: The file cannot be used.
        """
        wait_s, limit = self._book(count, first=first)
        while wait_s > 0 and not first:
            part_s = min(wait_s, LOOK_S)
            self.pause(part_s)
            wait_s -= part_s
            now = self.limits.at(self.wall())
            wait_s, limit = (wait_s * limit / now if now else 0.0), now

    def _book(self, count: int, *, first: bool) -> tuple[float, int]:
        """Return how long so many bytes must wait, and by which limit that is."""
        limit = self.limits.at(self.wall())
        try:
            file = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                now = self.monotonic()
                raw = os.pread(file, _SPENT.size, 0)
                free_s, was = _SPENT.unpack(raw) if len(raw) == _SPENT.size else (now, float(limit))
                ahead_s = free_s - now if now <= free_s <= now + AHEAD_S_MAX else 0.0
                # What was reckoned at another hour takes longer, or shorter, now.
                ahead_s = ahead_s * was / limit if limit else 0.0
                mine_s = count / limit if limit else 0.0
                ahead_s = max(ahead_s, min(ahead_s + mine_s, FIRST_S_MAX)) if first else ahead_s + mine_s
                os.pwrite(file, _SPENT.pack(now + ahead_s, float(limit)), 0)
            finally:
                os.close(file)
        except OSError as error:
            raise UnavailableError(f"{self.file}: {error.strerror}") from error
        return ahead_s, limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited(Around):
    """An `ObjectStore` over another, whose bytes are spent: what is sent before, what is received after.

    Attributes:
        bandwidth: By what.
        first: Whether guests wait for it: see `Bandwidth.spend`.
    """

    bandwidth: Bandwidth
    first: bool = False

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request when its bytes may go."""
        del kind, name
        if sent_bytes:
            self.bandwidth.spend(sent_bytes, first=self.first)
        answer = ask()
        if isinstance(answer, bytes):
            self.bandwidth.spend(len(answer), first=self.first)
        return answer

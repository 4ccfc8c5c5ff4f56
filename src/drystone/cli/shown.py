"""Values as people read them: sizes with units, times with a zone or as an age. Pure."""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from drystone.cli.failure import one_line
from drystone.domain.clock import age_s

_TIME: Final = re.compile(r"(?:^|_)(?:at|time|since)$")
"""Names of what is a time."""
_AGES: Final = ((60.0, 1.0, "s"), (3600.0, 60.0, "m"), (48 * 3600.0, 3600.0, "h"), (90 * 86400.0, 86400.0, "d"))
_MONTH_S: Final = 30.44 * 86400
_YEAR_S: Final = 365.25 * 86400
_YEARS_FROM_S: Final = 2 * _YEAR_S


def exact(text: str, zone: dt.tzinfo | None) -> str:
    """Return a time of RFC 3339 in a zone, with its offset; None: this machine's. What is no such time stays."""
    at = _parsed(text)
    return text if at is None else at.astimezone(zone).isoformat(sep=" ", timespec="seconds")


def age(text: str, now: float) -> str:
    """Return how long ago a time of RFC 3339 was, or how far off it is: `3h ago`, `in 2d`. What is none stays.

    Args:
        text: The time.
        now: Seconds since the epoch, UTC.
    """
    at = _parsed(text)
    if at is None:
        return text
    past_s, ahead_s = age_s(at.timestamp(), now), age_s(now, at.timestamp())
    if max(past_s, ahead_s) < 1:
        return "now"
    return f"in {_span(ahead_s)}" if ahead_s else f"{_span(past_s)} ago"


def _parsed(text: str) -> dt.datetime | None:
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else at


def _span(seconds: float) -> str:
    for below, unit_s, unit in _AGES:
        if seconds < below:
            return f"{int(seconds / unit_s)}{unit}"
    return f"{int(seconds / _MONTH_S)}mo" if seconds < _YEARS_FROM_S else f"{int(seconds / _YEAR_S)}y"


@dataclass(frozen=True, slots=True)
class Reading:
    """How values are read: `times` makes a time's text of one of RFC 3339."""

    times: Callable[[str], str] = str

    def __call__(self, name: str, value: object) -> str:
        """Return a value as people read it; `name` tells its unit."""
        if value is None or value == "":
            return "-"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int) and name.endswith("_bytes"):
            return size_text(value)
        if isinstance(value, float):
            return f"{value:.1f}"
        if isinstance(value, str) and _TIME.search(name):
            return one_line(self.times(value))
        if isinstance(value, Mapping):
            return one_line(", ".join(f"{key}={item}" for key, item in value.items())) or "-"
        if isinstance(value, list | tuple):
            return one_line(", ".join(str(item) for item in value)) or "-"
        return one_line(str(value))


def size_text(size_bytes: int) -> str:
    """Return a size with a binary unit, for example `1.5 MiB`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"

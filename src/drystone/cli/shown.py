"""Values as people read them: sizes with units, times with a zone or as an age. Pure."""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from drystone.cli.failure import one_line
from drystone.cli.lists import Record
from drystone.domain.clock import age_s
from drystone.domain.disk import UNNAMED

_TIME: Final = re.compile(r"(?:^|_)(?:at|time|since)$")
"""Names of what is a time."""
_RANGE_UNITS: Final = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1))
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
        if value is None or value == "" or (name == "name" and value == UNNAMED):
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


RANGES_MAX: Final = 40


def changed_ranges(bucket_bytes: int, buckets: Sequence[int], size_bytes: int) -> list[Record]:
    """Return where a disk changed, and how much in each range: at most `RANGES_MAX`, none without a change.

    Stretches that follow each other are one range. Where there are too many, stretches are made longer.

    Args:
        bucket_bytes: Length of a stretch.
        buckets: Changed bytes of each.
        size_bytes: The disk's size, where the last stretch ends.
    """
    runs: list[tuple[int, int, int]] = []
    for index, changed in enumerate(buckets):
        if changed and runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1, runs[-1][2] + changed)
        elif changed:
            runs.append((index, index + 1, changed))
    if len(runs) > RANGES_MAX:
        return changed_ranges(
            2 * bucket_bytes, [sum(buckets[at : at + 2]) for at in range(0, len(buckets), 2)], size_bytes
        )
    unit, scale = next(one for one in _RANGE_UNITS if bucket_bytes % one[1] == 0)
    return [
        {
            "range": f"{start * bucket_bytes / scale:.12g}-{min(stop * bucket_bytes, size_bytes) / scale:.12g} {unit}",
            "changed_bytes": changed,
        }
        for start, stop, changed in runs
    ]


def size_text(size_bytes: int) -> str:
    """Return a size with a binary unit, for example `1.5 MiB`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"

"""What people write for sizes and times, and what it means. Pure."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Final

from drystone.domain.disk_types import DISK_TYPES, SOLD_TYPES

GIB_IN: Final = {"": 1.0, "M": 1 / 1024, "G": 1.0, "T": 1024.0}
SECONDS_IN: Final = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
SIZE_GIB_MIN: Final = min(DISK_TYPES[name].size_gib_min for name in SOLD_TYPES)
SIZE_GIB_MAX: Final = max(DISK_TYPES[name].size_gib_max for name in SOLD_TYPES)
"""What some type has; the service knows what each has."""
DAYS_MAX: Final = 36_500
BOUND_AT_ONCE: Final = 80
"""Disks that one call binds to a policy."""
_PERIOD = re.compile(r"([0-9]{1,3})\s*([dwmy])", re.IGNORECASE)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([MGT])(?:i?B)?)?", re.IGNORECASE)
_SPAN = re.compile(r"([0-9]{1,6})\s*([hdw])", re.IGNORECASE)


def size_gib(text: str) -> int:
    """Return a size in GiB: `10`, `10G`, `10GiB`, `1.5T`, `2048M`. Units are of 1024.

    Raises:
        ValueError: It is none, is not of whole GiB, or is out of bounds; the message says what to write.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"`{text[:40]}` is no size: write GiB, as 10, or with a unit, as 10G or 1.5T")
    size = float(found[1]) * GIB_IN[(found[2] or "").upper()]
    if not SIZE_GIB_MIN <= size <= SIZE_GIB_MAX or size != int(size):
        raise ValueError(f"`{text[:40]}` is {size:g} GiB: sizes are whole GiB from {SIZE_GIB_MIN} to {SIZE_GIB_MAX}")
    return int(size)


def numbers(text: str, what: str, example: str) -> list[int]:
    """Return numbers between commas, in the order given.

    Raises:
        ValueError: There is something else; the message says what to write.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"`{text[:40]}` are no {what}: write {example}")
    return [int(part) for part in parts]


def words(text: str, known: Sequence[str]) -> list[int]:
    """Return the places of words between commas in a row of known ones; their first letters are enough.

    Raises:
        ValueError: One is not known; the message says which are.
    """
    short = [part.strip().lower()[:3] for part in text.split(",")]
    if not all(part in known for part in short):
        raise ValueError(f"`{text[:40]}` has no such days: write some of {','.join(known)}")
    return [known.index(part) for part in short]


def periods(text: str, known: Mapping[str, str]) -> dict[str, int]:
    """Return how many of which periods are meant: `7d,4w` gives `{"Days": 7, "Weeks": 4}`.

    Raises:
        ValueError: It is none; the message says what to write.
    """
    found = [_PERIOD.fullmatch(part.strip()) for part in text.split(",")]
    counts = {known[one[2].lower()]: int(one[1]) for one in found if one is not None}
    if len(counts) != len(found):
        raise ValueError(f"`{text[:40]}` is no calendar: write how many of each are kept, as 7d,4w,12m,3y")
    return counts


def deadline(text: str, now: float) -> str:
    """Return a time as RFC 3339: from `7d`, `4w`, `36h` (from now), from a date (its end, here), or from a time.

    Args:
        text: What was written. A time without a zone is one of this machine's.
        now: Seconds since the epoch, UTC.

    Raises:
        ValueError: It is none of these; the message says what to write.
    """
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        seconds = int(span[1]) * SECONDS_IN[span[2].lower()]
        if not 0 < seconds <= DAYS_MAX * 86_400:
            raise ValueError(f"`{text[:40]}` is out of bounds: at most {DAYS_MAX} days")
        # A minute more: the service wants a full day ahead, by its own clock.
        return dt.datetime.fromtimestamp(now + seconds + 60, dt.UTC).isoformat(timespec="seconds")
    try:
        at = dt.datetime.fromisoformat(text.strip())
        if len(text.strip()) <= len("2027-01-31"):
            at = at.replace(hour=23, minute=59, second=59)
        return at.astimezone().isoformat(timespec="seconds") if at.tzinfo is None else text.strip()
    except (ValueError, OverflowError):
        raise ValueError(f"`{text[:40]}` is no time: write 7d, 4w, 2027-01-31, or 2027-01-31T00:00:00+00:00") from None

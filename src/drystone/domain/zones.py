"""Time zones of schedules: by IANA's name, or a fixed offset from UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

ZONE_CHARACTERS_MAX = 64
_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")
_NAME = re.compile(r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Z][A-Za-z0-9_+-]*)*")
"""Names in small letters are no zones of places: this machine's own, and those that count leap seconds."""

_EPOCH, _SECOND = datetime(1970, 1, 1), timedelta(seconds=1)  # noqa: DTZ001 - as a clock on a wall shows it


@lru_cache(maxsize=1024)
def zone_named(name: str) -> tzinfo | None:
    """Return the zone of a name, as `Europe/Berlin` or `+08:00`; None if there is none here."""
    if len(name) > ZONE_CHARACTERS_MAX:
        return None
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        sign, hours, minutes = offset.groups()
        away = timedelta(hours=int(hours), minutes=int(minutes))
        if int(minutes) >= 60 or away > timedelta(hours=14):
            return None
        return timezone(-away if sign == "-" else away)
    if _NAME.fullmatch(name) is None:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # Also the name of a directory of zones.
        return None


def zone_or_utc(name: str) -> tzinfo:
    """Return the zone of a kept name; UTC if this machine no longer has it: a snapshot at another hour beats none."""
    return zone_named(name) or UTC


def offset_name(hours: float) -> str:
    """Return the name of the zone that is so many hours ahead of UTC."""
    minutes = round(abs(hours) * 60)
    return f"{'-' if hours < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def first_instant(local: datetime, zone: tzinfo) -> int:
    """Return the first instant at which the clocks of a zone show a local time or a later one.

    So a local time that comes twice is its first, and one that is skipped is the end of the gap.

    Args:
        local: Without a zone, in whole seconds.
        zone: Whose clocks.

    Returns:
        Seconds since the epoch, UTC.
    """
    shown = (local - _EPOCH) // _SECOND
    before = shown - _ahead_s(zone, local)
    after = shown - _ahead_s(zone, local.replace(fold=1))
    if after >= before:
        return before
    # A gap: the clocks are before `local` at `after`, and beyond it at `before`. The gap ends in between.
    low, high = after, before
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).replace(tzinfo=None) >= local:
            high = middle
        else:
            low = middle
    return high


def _ahead_s(zone: tzinfo, local: datetime) -> int:
    ahead = zone.utcoffset(local)
    assert ahead is not None, "a zone that is loaded by its name has offsets"
    return ahead // _SECOND

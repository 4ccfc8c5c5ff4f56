"""The times that may be kept and shown, in seconds since the epoch."""

from datetime import UTC, datetime, tzinfo

TIME_S_MAX = 253_370_764_800.0
"""The first second of the year 9999, UTC: every zone, and every client's calendar, has it and the day around it."""
TIME_S_MIN = 0.0


def clamped(at_s: float) -> float:
    """Return the nearest time that can be shown (S155): what an older version or a broken clock kept is shown, too."""
    if TIME_S_MIN <= at_s <= TIME_S_MAX:
        return at_s
    return TIME_S_MAX if at_s > TIME_S_MAX else TIME_S_MIN


def moment(at_s: float, zone: tzinfo = UTC) -> datetime:
    """Return a time of any size as a date in a zone; never raises."""
    return datetime.fromtimestamp(clamped(at_s), zone)

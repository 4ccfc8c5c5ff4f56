"""Names, tags and deadlines that clients give: checked, with the documented defaults."""

import math
from collections.abc import Sequence
from datetime import datetime

from drystone.domain.disk import UNNAMED
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.times import TIME_S_MAX

NAME_MAX = 60
"""Bytes of a disk's name, characters of any other (CBS)."""
BACKUP_NAME_MAX = 100
"""Characters of a backup point's name (CBS)."""
TAGS_MAX = 50
TAG_KEY_CHARS_MAX = 127
TAG_VALUE_CHARS_MAX = 255
"""Limits of the tag service."""
DEADLINE_AHEAD_S_MIN = 86_400
"""A snapshot lives for a day at least (CBS)."""
CLOCK_SLACK_S = 300
"""A client that asks for one day by its own clock is not refused for the minutes its clock may be wrong by."""


def disk_name(text: str | None) -> str:
    """Return the name for a disk: at most 60 bytes of UTF-8; none or an empty one is the documented default.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    return _name(text, "DiskName", len((text or "").encode("utf-8", "replace")), "bytes")


def snapshot_name(text: str | None) -> str:
    """Return the name for a snapshot: at most 60 characters; none or an empty one is the documented default.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    return _name(text, "SnapshotName", len(text or ""), "characters")


def plain_name(text: str | None, parameter: str) -> str:
    """Return the name for anything else: at most 60 characters, with the same default.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    return _name(text, parameter, len(text or ""), "characters")


def backup_name(text: str | None) -> str:
    """Return the name for a backup point: at most 100 characters, with the same default.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    return _name(text, "DiskBackupName", len(text or ""), "characters", most=BACKUP_NAME_MAX)


def checked_tags(tags: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return tags as they may be kept, in the order given.

    Raises:
        RefusalError: `TOO_MANY_TAGS` for too many, `BAD_VALUE` for an empty key, a
            key that is there twice, or a text that is too long or has control characters.
    """
    if len(tags) > TAGS_MAX:
        raise RefusalError(
            Refusal.TOO_MANY_TAGS,
            f"{len(tags)} tags are given; a resource has at most {TAGS_MAX}.",
        )
    seen: set[str] = set()
    for key, value in tags:
        if not 0 < len(key) <= TAG_KEY_CHARS_MAX or len(value) > TAG_VALUE_CHARS_MAX:
            raise RefusalError(
                Refusal.BAD_VALUE,
                f"The tag key `{key[:40]}` has {len(key)} characters, its value {len(value)}; "
                f"allowed are 1 to {TAG_KEY_CHARS_MAX} and at most {TAG_VALUE_CHARS_MAX}.",
            )
        if not (_printable(key) and _printable(value)):
            raise RefusalError(Refusal.BAD_VALUE, f"The tag `{key!a}` has control characters.")
        if key in seen:
            raise RefusalError(Refusal.BAD_VALUE, f"The tag key `{key}` is given twice.")
        seen.add(key)
    return tuple((key, value) for key, value in tags)


def instant(text: str, what: str) -> float:
    """Return the time, seconds since the epoch, that `what` is.

    Args:
        text: ISO 8601 with an offset, for example `2022-01-08T09:47:55+00:00`.
        what: How a refusal calls it.

    Raises:
        RefusalError: `BAD_VALUE` when it is not such a time.
    """
    try:
        parsed = datetime.fromisoformat(text)
        at = parsed.timestamp() if parsed.tzinfo is not None else math.nan
    except (ValueError, OverflowError):
        at = math.nan
    if not math.isfinite(at):
        raise RefusalError(
            Refusal.BAD_VALUE,
            f"{what} `{text[:60]}` is not a time like 2022-01-08T09:47:55+00:00, with its offset.",
        )
    return at


def deadline(text: str, now: float) -> float:
    """Return the time, seconds since the epoch, of a deadline as clients send it.

    Args:
        text: ISO 8601 with an offset, for example `2022-01-08T09:47:55+00:00`.
        now: The earliest that it may be.

    Raises:
        RefusalError: `BAD_VALUE` when it is not such a time, or is less than a day ahead,
            or is after the year 9998.
    """
    at = instant(text, "The deadline")
    if at > TIME_S_MAX:
        # S155: some zone, or some client, could not show it.
        raise RefusalError(
            Refusal.BAD_VALUE,
            f"The deadline {text[:60]} is after the year 9998; choose an earlier one, or make the snapshot permanent.",
        )
    if at < now + DEADLINE_AHEAD_S_MIN - CLOCK_SLACK_S:
        raise RefusalError(
            Refusal.BAD_VALUE, f"The deadline {text[:60]} is not at least a day from now; choose a later one."
        )
    return at


def _name(text: str | None, parameter: str, size: int, unit: str, *, most: int = NAME_MAX) -> str:
    if not text:
        return UNNAMED
    if size > most:
        raise RefusalError(Refusal.BAD_VALUE, f"{parameter} has {size} {unit}; at most {most} are allowed.")
    if not _printable(text):
        raise RefusalError(Refusal.BAD_VALUE, f"{parameter} {text!a} has control characters.")
    return text


def _printable(text: str) -> bool:
    """Tell whether a text has no control characters and no lone surrogates, which UTF-8 cannot hold."""
    return not any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in text)

"""What was asked of a store and how full it was, by day: what requests cost, and when there is no room any more."""

from collections.abc import Sequence
from dataclasses import dataclass

from drystone.domain.ids import AccountId, DiskId

DAYS_MIN = 3
"""Days that must be known before anything is concluded of how fast space goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTraffic:
    """Requests of one kind to the store, on one day."""

    day: str
    """`2026-11-30`, UTC."""
    kind: str
    """The store's method: put, replace, get, get_range, size, list, delete or clock."""
    requests: int
    bytes: int
    """Of objects, sent or received."""
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceOfDay:
    """How much there was at the end of one day, or is now."""

    day: str
    stored_bytes: int
    """Of packs."""
    free_bytes: int
    """Above the floor, of the disks' file system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesOfDay:
    """What the store held of a disk at the end of one day, and until the next such day."""

    day: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskHeld:
    """What the store holds of a disk now, whichever snapshots see it."""

    disk_id: DiskId
    name: str | None
    """None: the disk is gone, and snapshots of it are there."""
    account_id: AccountId | None
    held_bytes: int


def days_left(points: Sequence[SpaceOfDay]) -> float | None:
    """Return in how many days no space is free, if it goes on as in the days of these points, which follow each other.

    None: it does not become less, or too few days are known.
    """
    if len(points) < DAYS_MIN:
        return None
    gone = points[0].free_bytes - points[-1].free_bytes
    return None if gone <= 0 else points[-1].free_bytes * (len(points) - 1) / gone

"""An account's figures at one time, kept for charts."""

from collections.abc import Sequence
from dataclasses import dataclass

from drystone.domain.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPoint:
    """One row of the history table; what its numbers mean is said by the overview, whose numbers they were."""

    account_id: AccountId
    at: float
    disks: int
    disks_bytes: int
    snapshots: int
    stored_bytes: int
    logical_bytes: int
    changed_bytes: int


def thinned(points: Sequence[HistoryPoint], count_max: int) -> tuple[HistoryPoint, ...]:
    """Return at most `count_max` of these points, evenly, the first and the last among them."""
    assert count_max >= 2
    if len(points) <= count_max:
        return tuple(points)
    last = len(points) - 1
    return tuple(points[step * last // (count_max - 1)] for step in range(count_max))

"""How much may expire, and what never does, whatever the clock says (S118, S119)."""

from collections.abc import Iterable
from dataclasses import dataclass

from drystone.domain.clock import recent
from drystone.domain.ids import DiskId, SnapshotId

HOUR_S = 3600.0
EXPIRED_PER_HOUR_MIN = 10
"""A small account's deadlines are kept even if they are a large share of its snapshots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many snapshots of an account have expired in the hour that began with the first of them."""

    began_at: float
    """When, by the steady clock, seconds since the epoch."""
    expired: int
    """How many since."""

    def at(self, now: float) -> "Tally":
        """Return the tally that counts now: this one, or none of a new hour."""
        return self if recent(self.began_at, now, HOUR_S) else Tally(began_at=now, expired=0)

    def more(self, count: int) -> "Tally":
        """Return the tally after so many more."""
        return Tally(began_at=self.began_at, expired=self.expired + count)

    def allowed(self, snapshots: int, percent: int) -> int:
        """Return how many may still expire in this hour.

        Args:
            snapshots: How many the account has now.
            percent: The share of those it had when the hour began that may go in it.
        """
        return max(0, max(EXPIRED_PER_HOUR_MIN, (snapshots + self.expired) * percent // 100) - self.expired)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySnapshot:
    """A NORMAL snapshot that a policy made."""

    snapshot_id: SnapshotId
    """Which."""
    disk_id: DiskId
    """Of which disk."""
    good: bool
    """Whether it can be restored whole: neither suspect nor damaged."""
    order: int
    """Its place in the order in which snapshots became NORMAL: dates may be wrong."""


def newest_good(made: Iterable[PolicySnapshot], existing: frozenset[DiskId]) -> frozenset[SnapshotId]:
    """Return what no retention takes: of each disk that exists the newest good snapshot that a policy made."""
    newest: dict[DiskId, PolicySnapshot] = {}
    for one in made:
        if one.good and one.disk_id in existing:
            known = newest.get(one.disk_id)
            newest[one.disk_id] = one if known is None or one.order > known.order else known
    return frozenset(one.snapshot_id for one in newest.values())

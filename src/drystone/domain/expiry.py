"""How much may expire, whatever the clock says (S118)."""

from dataclasses import dataclass

from drystone.domain.clock import recent

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

    def admits(self, snapshots: int, percent: int, *, full: bool) -> bool:
        """Tell whether one more may expire now.

        Args:
            snapshots: As `allowed` has it.
            percent: As `allowed` has it.
            full: Whether the account or the disk is at its quota, so that the next snapshot would be refused.
        """
        return full or self.allowed(snapshots, percent) > 0

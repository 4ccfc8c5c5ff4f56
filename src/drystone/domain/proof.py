"""Proof that a snapshot opens: what was tried on a throw-away clone of it, and what that shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from drystone.domain.ids import AccountId, SnapshotId

REASON_CHARACTERS_MAX = 500


class Finding(StrEnum):
    """What one step, or all of them together, have shown. The values are what people and clients see."""

    OPENS = "opens"
    DAMAGED = "damaged"
    """Something read the bytes and says that they are wrong."""
    NOT_PROVEN = "not proven"
    """Nobody can tell: a program is missing, time was up, what is there is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofStep:
    """One thing that was tried."""

    title: str
    finding: Finding
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The newest proof of one snapshot. Times are seconds since the epoch, UTC."""

    snapshot_id: SnapshotId
    account_id: AccountId
    finding: Finding
    reason: str
    """Of DAMAGED and NOT_PROVEN: what the first such step said."""
    steps: tuple[ProofStep, ...]
    began_at: float
    ended_at: float


def conclusion(steps: Sequence[ProofStep]) -> tuple[Finding, str]:
    """Return what the steps show together, and why.

    One wrong byte outweighs everything, and one thing that was not looked at means that nothing is promised.
    """
    for finding in (Finding.DAMAGED, Finding.NOT_PROVEN):
        for step in steps:
            if step.finding is finding:
                return finding, f"{step.title}: {step.detail}"[:REASON_CHARACTERS_MAX]
    if not steps:
        return Finding.NOT_PROVEN, "nothing was tried"
    return Finding.OPENS, ""

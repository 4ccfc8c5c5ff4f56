"""What a policy will do if every run succeeds: for people, before they save it."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from itertools import takewhile

from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.policy import Policy
from drystone.domain.retention import PolicySnapshot, deadline_of, plan_retention
from drystone.domain.schedule import slots
from drystone.domain.times import moment
from drystone.domain.zones import first_instant, zone_or_utc

SIMULATED_DAYS_MAX = 3660


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDay:
    """One day of the policy's zone, of one disk."""

    day: date
    runs: tuple[int, ...]
    """The slots on it."""
    gone: tuple[int, ...]
    """Slots whose snapshots went by its end, the oldest first."""
    kept: int
    """How many there are at its end."""


def simulate(policy: Policy, start: float, days: int) -> tuple[SimulatedDay, ...]:
    """Return what a policy will do on each of some days, also one that is not active.

    Args:
        policy: What is asked for; there are no snapshots of it yet.
        start: The first day is the one on which this is, and nothing is taken before this.
        days: How many, at most `SIMULATED_DAYS_MAX`.
    """
    assert 1 <= days <= SIMULATED_DAYS_MAX
    zone = zone_or_utc(policy.zone)
    first = moment(start, zone).date()
    dates = [first + timedelta(days=number) for number in range(days)]
    ends = [first_instant(datetime.combine(day, time()), zone) for day in [*dates[1:], dates[-1] + timedelta(days=1)]]
    runs = list(takewhile(lambda slot: slot < ends[-1], slots(policy, start)))
    gone = _by_plan(policy, runs, ends) if policy.retention.spread is not None else _by_rule(policy, runs, ends)
    simulated, kept, done = [], 0, 0
    for number, day in enumerate(dates):
        count = bisect_left(runs, ends[number])
        kept += count - done - len(gone[number])
        simulated.append(
            SimulatedDay(day=day, runs=tuple(runs[done:count]), gone=tuple(sorted(gone[number])), kept=kept)
        )
        done = count
    return tuple(simulated)


def kept_after(simulated: Sequence[SimulatedDay], days: int) -> tuple[int, ...]:
    """Return the slots whose snapshots are there after so many of the days, the oldest first."""
    kept: set[int] = set()
    for one in simulated[:days]:
        kept.update(one.runs)
        kept.difference_update(one.gone)
    return tuple(sorted(kept))


def _by_rule(policy: Policy, runs: Sequence[int], ends: Sequence[int]) -> list[list[int]]:
    """Return which go on each day, where that is told of each alone: as `plan_retention` would, for thousands."""
    retention, zone = policy.retention, zone_or_utc(policy.zone)
    gone: list[list[int]] = [[] for _ in ends]
    for number, slot in enumerate(runs):
        deadline = deadline_of(retention, slot, zone)
        newer = number + (retention.amount or 1)
        if newer >= len(runs) or retention.permanent:
            continue  # It is the newest, or among those that stay.
        on = bisect_right(ends, runs[newer])
        if deadline is not None:
            on = max(on, bisect_left(ends, deadline))
        if on < len(ends):
            gone[on].append(slot)
    return gone


def _by_plan(policy: Policy, runs: Sequence[int], ends: Sequence[int]) -> list[list[int]]:
    disk, policy = DiskId(""), replace(policy, active=True)
    there: list[PolicySnapshot] = []
    gone: list[list[int]] = []
    done = 0
    for end in ends:
        count = bisect_left(runs, end)
        for number in range(done, count):
            slot, name = runs[number], SnapshotId(str(number))
            there.append(PolicySnapshot(id=name, policy_id=policy.id, disk_id=disk, slot=slot, order=number))
        done = count
        goes = plan_retention(policy, there, end).goes
        gone.append([one.slot for one in there if one.id in goes])
        there = [one for one in there if one.id not in goes]
    return gone

"""Which snapshots of a policy are kept, which go, and why (S306 to S310). Pure.

A snapshot stays as long as one reason for it holds. What is newest is said by the order in which snapshots were
committed, never by times; which day one belongs to is said by its slot, never by when it began. So neither a late run
nor a clock that leapt makes anything go.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from functools import lru_cache
from itertools import groupby

from drystone.domain.ids import DiskId, PolicyId, SnapshotId
from drystone.domain.policy import Policy, Retention, Spread
from drystone.domain.times import TIME_S_MAX, moment
from drystone.domain.zones import first_instant, zone_or_utc

_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySnapshot:
    """What retention looks at of a snapshot."""

    id: SnapshotId
    policy_id: PolicyId | None
    disk_id: DiskId
    slot: int
    """Of the run that made it."""
    order: int
    """Its place in the order of commits: what is newer has a higher one."""
    normal: bool = True
    """Whether it is NORMAL, not being made or deleted."""
    recycled: bool = False
    """Whether it is in the recycle bin."""
    suspect: bool = False
    damaged: bool = False
    proven: bool = False
    """Whether its newest proof says that it opens."""
    permanent: bool = False
    shared: bool = False
    locked: bool = False
    pinned: bool = False
    """Whether somebody reads it for long: a disk that hydrates, an export, a proof."""
    deadline_at: float | None = None
    """Its own, which no later change of the policy moves; None if the policy's retention counts."""
    answers_for: int | None = None
    """The last slot that was skipped since nothing had changed since this one was taken, so that it stands for it."""

    @property
    def good(self) -> bool:
        """Whether one can rely on it, as far as anybody knows."""
        return self.normal and not (self.recycled or self.suspect or self.damaged)


class Stay(StrEnum):
    """Why a snapshot is kept. The values are what people see."""

    MAKING = "not normal"
    PERMANENT = "permanent"
    SHARED = "shared"
    LOCKED = "locked"
    PINNED = "in use"
    DEADLINE = "before its deadline"
    AMOUNT = "among the newest"
    DAY = "newest of a day"
    WEEK = "newest of a week"
    MONTH = "newest of a month"
    YEAR = "newest of a year"
    NEWEST_GOOD = "newest good one"
    LAST_PROVEN = "last one that is proven to open"


class Leave(StrEnum):
    """Why a snapshot goes."""

    DEADLINE = "past its deadline"
    AMOUNT = "beyond the newest"
    SPREAD = "newer ones stand for its day, week, month and year"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to become of each snapshot of a policy."""

    goes: Mapping[SnapshotId, Leave]
    """In the order in which they go: first what is in the recycle bin, then the oldest."""
    stays: Mapping[SnapshotId, tuple[Stay, ...]]
    """All reasons of each."""


def plan_retention(policy: Policy, snapshots: Iterable[PolicySnapshot], now: float) -> Plan:
    """Return who goes and who stays, of the snapshots that the policy made (S306).

    Args:
        policy: As it is now.
        snapshots: All of its snapshots that are not deleted, of any disks; those of others are not looked at.
        now: A time that has certainly come: deadlines are held against it, and nothing else is.
    """
    zone = zone_or_utc(policy.zone)
    own = sorted((one for one in snapshots if one.policy_id == policy.id), key=lambda one: (one.disk_id, -one.order))
    goes: list[tuple[PolicySnapshot, Leave]] = []
    stays: dict[SnapshotId, tuple[Stay, ...]] = {}
    for _, of_disk in groupby(own, key=lambda one: one.disk_id):
        newest_first = tuple(of_disk)
        newest_good, last_proven = _newest_good(newest_first), _last_proven(newest_first)
        wanted = _wanted(policy.retention, newest_first, zone, now)
        for one in newest_first:
            reasons = [reason for reason, holds in (
                (Stay.MAKING, not one.normal),
                (Stay.PERMANENT, one.permanent),
                (Stay.SHARED, one.shared),
                (Stay.LOCKED, one.locked),
                (Stay.PINNED, one.pinned),
                (Stay.NEWEST_GOOD, one is newest_good),
                (Stay.LAST_PROVEN, one is last_proven),
            ) if holds]  # fmt: skip
            reasons += wanted.get(one.id, ())
            if reasons:
                stays[one.id] = tuple(reasons)
            else:
                goes.append((one, _leave(policy.retention, one)))
    goes.sort(key=lambda pair: (not pair[0].recycled, pair[0].order))
    return Plan(goes={one.id: why for one, why in goes}, stays=stays)


def deadline_of(retention: Retention, at: float, zone: tzinfo) -> float | None:
    """Return the deadline that a snapshot is given when it begins; None if it has none.

    Args:
        retention: The policy's at that moment.
        at: When it begins: one that is late is kept as long as any other.
        zone: The policy's, for months: a day that the last month lacks is its last day.
    """
    if retention.days is not None:
        return min(at + retention.days * _DAY_S, TIME_S_MAX)
    if retention.months is None:
        return None
    local = moment(at, zone).replace(tzinfo=None, microsecond=0)
    years, month = divmod(local.month - 1 + retention.months, 12)
    year, month = local.year + years, month + 1
    if year >= 9999:
        return TIME_S_MAX
    day = min(local.day, monthrange(year, month)[1])
    return float(first_instant(local.replace(year=year, month=month, day=day), zone))


def _newest_good(newest_first: Sequence[PolicySnapshot]) -> PolicySnapshot | None:
    """Return the one of a disk that never goes (S307): the newest good one; if none is good, the best that is there."""
    there = [one for one in newest_first if one.normal and not one.recycled]
    return min(there, key=lambda one: (one.damaged, one.suspect), default=None)


def _last_proven(newest_first: Sequence[PolicySnapshot]) -> PolicySnapshot | None:
    proven = (one for one in newest_first if one.proven and one.normal and not (one.recycled or one.damaged))
    return next(proven, None)


def _wanted(
    retention: Retention, newest_first: Sequence[PolicySnapshot], zone: tzinfo, now: float
) -> dict[SnapshotId, list[Stay]]:
    """Return which ones the retention keeps by itself, and for which of its reasons.

    What is not good takes nobody's place (S310): it stays as long as its place is free.
    """
    wanted: dict[SnapshotId, list[Stay]] = {}
    for one in newest_first:
        deadline = one.deadline_at
        if deadline is None:
            deadline = deadline_of(retention, one.slot, zone)
        if deadline is not None and deadline + _answered_s(one) > now:
            wanted[one.id] = [Stay.DEADLINE]
    if retention.permanent:
        wanted |= {one.id: [Stay.PERMANENT] for one in newest_first if one.deadline_at is None}
    if retention.amount is not None:
        wanted |= {one.id: [Stay.AMOUNT] for one in _newest(newest_first, retention.amount)}
    if retention.spread is not None:
        for snapshot_id, stay in _spread(retention.spread, newest_first, zone):
            wanted.setdefault(snapshot_id, []).append(stay)
    return wanted


def _answered_s(one: PolicySnapshot) -> int:
    """Return how much longer a snapshot lives since it answers for a later slot (S309)."""
    return 0 if one.answers_for is None else max(0, one.answers_for - one.slot)


def _newest(newest_first: Iterable[PolicySnapshot], amount: int) -> Iterator[PolicySnapshot]:
    left = amount
    for one in newest_first:
        if left == 0:
            return
        # One that has its own deadline counts, and is not kept beyond that.
        if one.deadline_at is None:
            yield one
        left -= one.good


def _spread(spread: Spread, newest_first: Iterable[PolicySnapshot], zone: tzinfo) -> Iterator[tuple[SnapshotId, Stay]]:
    """Yield what is the newest of one of the last days, weeks, months or years that have a good one (S308)."""
    counts = (spread.days, spread.weeks, spread.months, spread.years)
    seen: tuple[set[tuple[int, int]], ...] = (set(), set(), set(), set())
    for one in newest_first:
        kept: dict[Stay, None] = {}
        # S309: as if the last of those runs had made one. Those between would take places, and not keep it longer.
        for slot in (one.slot,) if one.answers_for is None else (one.answers_for, one.slot):
            for count, taken, period, stay in zip(counts, seen, periods(slot, zone), _STAYS, strict=True):
                if period not in taken and len(taken) < count:
                    kept[stay] = None
                    if one.good:
                        taken.add(period)
        if one.deadline_at is None:
            yield from ((one.id, stay) for stay in kept)


_STAYS = (Stay.DAY, Stay.WEEK, Stay.MONTH, Stay.YEAR)


@lru_cache(maxsize=65_536)
def periods(slot: int, zone: tzinfo) -> tuple[tuple[int, int], ...]:
    """Return day, week, month and year of a slot, by the calendar of a zone; weeks begin on Monday."""
    local = moment(slot, zone)
    year, week, _ = local.isocalendar()
    return (local.year, local.timetuple().tm_yday), (year, week), (local.year, local.month), (local.year, 0)


def _leave(retention: Retention, one: PolicySnapshot) -> Leave:
    if one.deadline_at is not None or retention.days is not None or retention.months is not None:
        return Leave.DEADLINE
    return Leave.AMOUNT if retention.amount is not None else Leave.SPREAD

"""The slow reference of schedules and retention, written another way: it walks local time, and asks of each snapshot.

It shares nothing with `domain/schedule.py` and `domain/retention.py` but the values that they take.
"""

import calendar
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from drystone.domain.ids import SnapshotId
from drystone.domain.policy import Policy, Trigger
from drystone.domain.retention import PolicySnapshot

MINUTE_S, QUARTER_S, DAY_S = 60, 900, 86_400
"""Clocks are a quarter of an hour apart at least, and are changed at whole quarters."""


def zone_of(name: str) -> tzinfo:
    if name[0] in "+-":
        hours, minutes = name[1:].split(":")
        away = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(-away if name[0] == "-" else away)
    return ZoneInfo(name)


@lru_cache(maxsize=512)
def hours_shown(name: str, begin: int, stop: int, step_s: int) -> tuple[tuple[int, datetime], ...]:
    """Return when the clocks of a zone first show each hour or have passed it, by looking at them at every step."""
    zone = zone_of(name)
    found: list[tuple[int, datetime]] = []
    hour = datetime.fromtimestamp(begin, zone).replace(tzinfo=None, minute=0, second=0) + timedelta(hours=1)
    for at in range(begin, stop + step_s, step_s):
        local = datetime.fromtimestamp(at, zone).replace(tzinfo=None)
        while hour <= local:
            found.append((at, hour))
            hour += timedelta(hours=1)
    return tuple(found)


def walked(policy: Policy, start: int, stop: int, step_s: int = MINUTE_S) -> list[int]:
    """Return the slots in (start, stop], by looking at the clocks of the zone every minute, from a day before.

    Both times are whole steps. An hour has its turn when the clocks first show it, or have passed it.
    """
    assert start % step_s == stop % step_s == 0
    shown = hours_shown(policy.zone, start - 36 * 3600, stop, step_s)
    return sorted({at for at, hour in shown if at > start and hours_of(policy, hour)})


def hours_of(policy: Policy, hour: datetime) -> bool:
    """Tell whether the policy names that hour of a local calendar."""
    return any(hour.hour in one.hours and _names_day(one, hour.date(), policy) for one in policy.triggers)


def _names_day(trigger: Trigger, day: date, policy: Policy) -> bool:
    if trigger.days_of_week:
        return (calendar.weekday(day.year, day.month, day.day) + 1) % 7 in trigger.days_of_week
    if trigger.days_of_month:
        return day.day in trigger.days_of_month
    anchor = datetime.fromtimestamp(policy.anchored_at, zone_of(policy.zone)).date()
    return (day.toordinal() - anchor.toordinal()) % (trigger.interval_days or 1) == 0


def kept(policy: Policy, snapshots: Iterable[PolicySnapshot], now: float) -> set[SnapshotId]:
    """Return the snapshots of a policy that stay, each judged alone by the sentences of docs/laws.md."""
    own = [one for one in snapshots if one.policy_id == policy.id]
    disks: dict[str, list[PolicySnapshot]] = {}
    for one in own:
        disks.setdefault(one.disk_id, []).append(one)
    return {one.id for one in own if _stays(policy, one, disks[one.disk_id], now)}


def _stays(policy: Policy, one: PolicySnapshot, disk: Sequence[PolicySnapshot], now: float) -> bool:
    if not one.normal or one.permanent or one.shared or one.locked or one.pinned:
        return True  # S306
    newer = [other for other in disk if other.order > one.order]
    better = [other for other in newer if _good(other)]
    # S307
    if _good(one) and not better:
        return True
    usable = not one.recycled and not one.damaged
    if one.proven and usable and not any(x.proven and x.normal and not x.recycled and not x.damaged for x in newer):
        return True
    if not one.recycled and not any(_good(other) for other in disk):
        rank = _rank(one)
        rivals = [x for x in disk if x is not one and x.normal and not x.recycled]
        if not any(_rank(x) < rank or (_rank(x) == rank and x.order > one.order) for x in rivals):
            return True
    retention = policy.retention
    more_s = max(0, one.answers_for - one.slot) if one.answers_for is not None else 0
    if one.deadline_at is not None:
        return one.deadline_at + more_s > now
    if retention.permanent:
        return True
    if retention.days is not None:
        return one.slot + retention.days * DAY_S + more_s > now
    if retention.months is not None:
        return months_later(one.slot, retention.months, policy.zone) + more_s > now
    if retention.amount is not None:
        return len(better) < retention.amount
    assert retention.spread is not None
    spread = retention.spread
    points = {(other.slot, other.order) for other in better}
    points |= {(other.answers_for, other.order) for other in better if other.answers_for is not None}
    counts = {"day": spread.days, "week": spread.weeks, "month": spread.months, "year": spread.years}
    for period, count in counts.items():
        taken = {period_of(period, slot, policy.zone) for slot, _ in points}
        for slot in (one.slot,) if one.answers_for is None else (one.answers_for, one.slot):
            mine = period_of(period, slot, policy.zone)
            if mine not in taken and len(taken) < count:
                return True
    return False


def _good(one: PolicySnapshot) -> bool:
    return one.normal and not one.recycled and not one.suspect and not one.damaged


def _rank(one: PolicySnapshot) -> int:
    return 2 * one.damaged + one.suspect


@lru_cache(maxsize=200_000)
def period_of(period: str, slot: int, zone: str) -> str:
    day = datetime.fromtimestamp(slot, zone_of(zone)).date()
    if period == "day":
        return str(day)
    if period == "week":
        return f"week of {day - timedelta(days=day.weekday())}"
    return day.strftime("%Y-%m" if period == "month" else "%Y")


@lru_cache(maxsize=20_000)
def months_later(at: int, months: int, zone: str) -> int:
    """Return the instant so many months later, by walking to it."""
    local = datetime.fromtimestamp(at, zone_of(zone)).replace(tzinfo=None)
    year, month = local.year, local.month
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    day = local.day
    while day > calendar.monthrange(year, month)[1]:
        day -= 1
    wanted = local.replace(year=year, month=month, day=day)
    found = int(wanted.replace(tzinfo=UTC).timestamp()) - 16 * 3600
    while datetime.fromtimestamp(found, zone_of(zone)).replace(tzinfo=None) < wanted:
        found += QUARTER_S
    return found

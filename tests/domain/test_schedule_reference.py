"""Schedules and retention against the slow reference; and mistakes that it must find."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo

import pytest

from drystone.domain import retention, schedule
from drystone.domain.policy import Policy, Retention
from drystone.domain.retention import PolicySnapshot, plan_retention
from drystone.domain.zones import zone_or_utc
from tests.domain.schedule_cases import (
    DAY_S,
    HOUR_S,
    OTHER_ZONES,
    ZONES,
    change_of,
    random_policy,
    random_snapshots,
)
from tests.domain.schedule_reference import MINUTE_S, QUARTER_S, kept, walked

Next = Callable[[Policy, float], int | None]
Kept = Callable[[Policy, list[PolicySnapshot], float], set[str]]


def slots_differ(seed: int, following: Next, step_s: int = QUARTER_S) -> str | None:
    """Return where the slots of a policy around a change of its clocks are not those of the reference."""
    rng = random.Random(seed)
    zone = rng.choice((*ZONES, *ZONES, *OTHER_ZONES))
    start = change_of(rng, zone) - rng.randrange(1, 40) * HOUR_S
    policy = random_policy(rng, 1, start - rng.randrange(100) * HOUR_S, zone)
    stop = start + 3 * DAY_S
    found: list[int] = []
    at = following(policy, start)
    while at is not None and at <= stop and len(found) < 200:
        found.append(at)
        at = following(policy, at)
    expected = walked(policy, start, stop, step_s)
    return None if found == expected else f"seed {seed}: {policy.triggers} in {zone}: {found}, not {expected}"


def ours(policy: Policy, snapshots: list[PolicySnapshot], now: float) -> set[str]:
    plan = plan_retention(policy, snapshots, now)
    assert not plan.stays.keys() & plan.goes.keys()
    own = {one.id for one in snapshots if one.policy_id == policy.id}
    assert plan.stays.keys() | plan.goes.keys() == own
    assert all(plan.stays.values())
    return set(plan.stays)


def retention_differs(seed: int, keeping: Kept) -> str | None:
    rng = random.Random(seed)
    zone = rng.choice((*ZONES, *OTHER_ZONES))
    start = change_of(rng, zone) - rng.randrange(30) * DAY_S
    policy = random_policy(rng, 1, start, zone)
    slots = [start + number * HOUR_S * rng.choice((1, 6, 24, 24 * 7)) for number in range(rng.randrange(40))]
    snapshots = random_snapshots(rng, policy, sorted(set(slots)))
    now = float(start + rng.randrange(60) * DAY_S)
    found, expected = keeping(policy, snapshots, now), kept(policy, snapshots, now)
    return None if found == expected else f"seed {seed}: {policy.retention}: {found ^ expected}"


def test_slots_are_those_of_the_reference() -> None:
    """S300"""
    assert [one for one in (slots_differ(seed, schedule.next_trigger, MINUTE_S) for seed in range(25)) if one] == []


def test_retention_is_that_of_the_reference() -> None:
    """S306 to S310"""
    assert [one for one in (retention_differs(seed, ours) for seed in range(600)) if one] == []


def _arithmetic(policy: Policy, after: float) -> int | None:
    """The next day is 24 hours later."""
    first = schedule.next_trigger(policy, policy.anchored_at)
    found = None if first is None else schedule.next_trigger(policy, after)
    daily = all(len(one.hours) == 1 and one.interval_days == 1 for one in policy.triggers)
    if first is None or found is None or not daily or len(policy.triggers) > 1:
        return found
    return first + int(after - first) // DAY_S * DAY_S + DAY_S if after >= first else first


def _by_fold(fold: int) -> Next:
    def following(policy: Policy, after: float) -> int | None:
        def instant(local: datetime, zone: tzinfo) -> int:
            return int(local.replace(tzinfo=zone, fold=fold).timestamp())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schedule, "first_instant", instant)
            return schedule.next_trigger(policy, after)

    return following


def _twice(policy: Policy, after: float) -> int | None:
    """Each hour by what the clocks show, as cron has it: an hour that comes twice runs twice."""
    zone = zone_or_utc(policy.zone)
    at = int(after) // 1800 * 1800 + 1800
    while True:
        local = datetime.fromtimestamp(at, zone).replace(tzinfo=None)
        anchored = datetime.fromtimestamp(policy.anchored_at, zone).date()
        for one in policy.triggers:
            day = local.date()
            named = (
                day.isoweekday() % 7 in one.days_of_week
                or day.day in one.days_of_month
                or (one.interval_days and (day - anchored).days % one.interval_days == 0)
            )
            if named and local.hour in one.hours and local.minute == 0:
                return at
        at += 1800
        if at > after + 40 * DAY_S:
            return None


def _offset_of_first_day(policy: Policy, after: float) -> int | None:
    zone = zone_or_utc(policy.zone)
    ahead = datetime.fromtimestamp(policy.anchored_at, zone).utcoffset() or timedelta()
    minutes = int(ahead.total_seconds()) // 60
    name = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    return schedule.next_trigger(replace(policy, zone=name), after)


@pytest.mark.parametrize(
    "mistake", [_arithmetic, _by_fold(0), _by_fold(1), _twice, _offset_of_first_day],
    ids=["24 hours later", "a gap by its old offset", "the second of two", "each time it is shown", "one offset"],
)  # fmt: skip
def test_a_planted_mistake_in_slots_is_found(mistake: Next) -> None:
    assert any(slots_differ(seed, mistake) for seed in range(400))


def _with(change: Callable[[PolicySnapshot], PolicySnapshot]) -> Kept:
    return lambda policy, snapshots, now: ours(policy, [change(one) for one in snapshots], now)


def _without(name: str) -> Kept:
    def keeping(policy: Policy, snapshots: list[PolicySnapshot], now: float) -> set[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(retention, name, lambda _: None)
            return ours(policy, snapshots, now)

    return keeping


def _of_all_disks(policy: Policy, snapshots: list[PolicySnapshot], now: float) -> set[str]:
    return ours(policy, [replace(one, disk_id=snapshots[0].disk_id) for one in snapshots], now)


def _of_all_policies(policy: Policy, snapshots: list[PolicySnapshot], now: float) -> set[str]:
    stays = ours(policy, [replace(one, policy_id=policy.id) for one in snapshots], now)
    return {one.id for one in snapshots if one.policy_id == policy.id and one.id in stays}


def _deadlines_by_policy(policy: Policy, snapshots: list[PolicySnapshot], now: float) -> set[str]:
    changed = policy.retention == Retention(days=policy.retention.days)
    return ours(policy, [replace(one, deadline_at=None) if changed else one for one in snapshots], now)


PLANTED: dict[str, Kept] = {
    "days by when snapshots began": _with(lambda one: replace(one, slot=one.slot + 5 * HOUR_S)),
    "newest by date": _with(lambda one: replace(one, order=one.slot)),
    "deleting before success": _with(lambda one: replace(one, normal=True)),
    "suspect ones count": _with(lambda one: replace(one, suspect=False)),
    "damaged ones count": _with(lambda one: replace(one, damaged=False)),
    "the recycle bin counts": _with(lambda one: replace(one, recycled=False)),
    "permanent ones go": _with(lambda one: replace(one, permanent=False)),
    "shared ones go": _with(lambda one: replace(one, shared=False)),
    "locked ones go": _with(lambda one: replace(one, locked=False)),
    "those in use go": _with(lambda one: replace(one, pinned=False)),
    "answers are forgotten": _with(lambda one: replace(one, answers_for=None)),
    "the newest good one goes": _without("_newest_good"),
    "the last proven one goes": _without("_last_proven"),
    "deadlines follow the policy": _deadlines_by_policy,
    "disks together": _of_all_disks,
    "other policies' snapshots count": _of_all_policies,
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_in_retention_is_found(name: str) -> None:
    assert any(retention_differs(seed, PLANTED[name]) for seed in range(1500))

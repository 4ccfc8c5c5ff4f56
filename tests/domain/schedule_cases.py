"""Policies and snapshots from a source of randomness, for the tests of schedules and retention."""

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from drystone.domain.ids import AccountId, DiskId, PolicyId, SnapshotId
from drystone.domain.policy import Policy, Retention, Spread, Trigger
from drystone.domain.retention import PolicySnapshot

HOUR_S, DAY_S = 3600, 86_400
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana")
"""With clocks that are put forward and back: by an hour, by half of one, in the south, and at midnight."""
OTHER_ZONES = ("+08:00", "UTC", "-03:30", "Pacific/Apia", "Atlantic/Azores", "Africa/Casablanca", "Asia/Kathmandu")
CHANGES = {
    "Europe/Berlin": ("2026-03-29 01:00", "2026-10-25 01:00"),
    "America/New_York": ("2026-03-08 07:00", "2026-11-01 06:00"),
    "Australia/Lord_Howe": ("2026-04-04 15:00", "2026-10-03 15:30"),
    "America/Havana": ("2026-03-08 05:00", "2026-11-01 05:00"),
    "Pacific/Apia": ("2011-12-30 10:00", "2012-04-01 14:00"),
    "Atlantic/Azores": ("2026-03-29 01:00", "2026-10-25 01:00"),
    "Africa/Casablanca": ("2026-02-15 02:00", "2026-03-22 02:00"),
}
"""Instants in UTC at which the clocks change."""


def change_of(rng: random.Random, zone: str) -> int:
    """Return an instant near which something happens to the clocks of a zone, in whole hours."""
    if zone not in CHANGES:
        return 20_500 * DAY_S + rng.randrange(365 * 24) * HOUR_S
    found = datetime.strptime(rng.choice(CHANGES[zone]), "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    return int(found.timestamp()) // HOUR_S * HOUR_S


def some(rng: random.Random, first: int, last: int, most: int) -> tuple[int, ...]:
    return tuple(rng.sample(range(first, last + 1), rng.randint(1, min(most, last - first + 1))))


def random_trigger(rng: random.Random) -> Trigger:
    hours = tuple(range(24)) if rng.random() < 0.1 else some(rng, 0, 23, rng.choice((1, 1, 3, 8)))
    if rng.random() < 0.4:
        hours = tuple({*hours, *some(rng, 0, 3, 2)})  # Where clocks are changed.
    kind = rng.randrange(4)
    if kind == 0:
        return Trigger(hours=hours, days_of_month=some(rng, 1, 31, 6))
    if kind == 1:
        return Trigger(hours=hours, interval_days=rng.choice((1, 2, 3, 7, 30)))
    return Trigger(hours=hours, days_of_week=tuple(range(7)) if kind == 2 else some(rng, 0, 6, 4))


def random_retention(rng: random.Random) -> Retention:
    kind = rng.randrange(9)
    if kind < 2:
        return Retention(days=rng.choice((1, 3, 7, 30)))
    if kind == 2:
        return Retention(months=rng.choice((1, 2)))
    if kind < 5:
        return Retention(amount=rng.choice((1, 2, 5, 20)))
    if kind == 5:
        return Retention(permanent=True)
    spread = Spread(days=rng.choice((0, 3, 7)), weeks=rng.choice((0, 2, 4)), months=rng.choice((0, 2)), years=1)
    return Retention(spread=spread)


def random_policy(rng: random.Random, number: int, made_at: int, zone: str) -> Policy:
    return Policy(
        id=PolicyId(f"asp-{number}"), account_id=AccountId("1"), zone=zone,
        triggers=tuple(random_trigger(rng) for _ in range(rng.choice((1, 1, 2)))), retention=random_retention(rng),
        group=rng.random() < 0.3, skip_unchanged=rng.random() < 0.4,
        created_at=float(made_at), modified_at=float(made_at), anchored_at=float(made_at),
    )  # fmt: skip


def random_snapshots(rng: random.Random, policy: Policy, slots: list[int]) -> list[PolicySnapshot]:
    """Return what a policy may have made of two disks for some of these slots, which are committed in any order."""
    made: list[PolicySnapshot] = []
    taken = [slot for slot in slots if rng.random() < 0.8]
    if rng.random() < 0.3:
        rng.shuffle(taken)  # The clock went to and fro.
    bad = rng.choice((0.0, 0.1, 0.6))
    for order, slot in enumerate(taken):
        answers = slot + rng.randrange(40) * DAY_S if rng.random() < 0.1 else None
        one = PolicySnapshot(
            id=SnapshotId(f"snap-{order}"), policy_id=policy.id, disk_id=DiskId(rng.choice("aab")), slot=slot,
            order=order, normal=order < len(taken) - 1 or rng.random() < 0.5, suspect=rng.random() < bad,
            damaged=rng.random() < bad / 2, recycled=rng.random() < bad / 2, answers_for=answers,
            proven=rng.random() < 0.1,
        )  # fmt: skip
        if rng.random() < 0.15:
            flags: dict[str, Any] = {rng.choice(("permanent", "shared", "locked", "pinned")): True}
            one = replace(one, **flags)
        if rng.random() < 0.3:
            one = replace(one, deadline_at=float(slot + rng.choice((1, 7, 30)) * DAY_S))
        if rng.random() < 0.1:
            one = replace(one, policy_id=rng.choice((None, PolicyId("asp-other"))))
        made.append(one)
    rng.shuffle(made)
    return made

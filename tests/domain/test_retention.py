"""Which snapshots of a policy are kept."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from drystone.domain.ids import AccountId, DiskId, PolicyId, SnapshotId
from drystone.domain.policy import Policy, Retention, Spread, Trigger
from drystone.domain.retention import Leave, PolicySnapshot, Stay, deadline_of, plan_retention

DAY = 86_400
START = int(datetime(2026, 3, 2, 3, tzinfo=UTC).timestamp())
"""A Monday."""
DISK = DiskId("disk-a")
NOW = float(START + 10_000 * DAY)


def policy(**retention: Any) -> Policy:
    return Policy(
        id=PolicyId("asp-1"), account_id=AccountId("1"), zone="UTC",
        triggers=(Trigger(hours=(3,), interval_days=1),), retention=Retention(**retention),
        created_at=0.0, modified_at=0.0, anchored_at=0.0,
    )  # fmt: skip


def snap(order: int, *, day: float | None = None, **flags: Any) -> PolicySnapshot:
    one = PolicySnapshot(
        id=SnapshotId(f"s{order}"), policy_id=PolicyId("asp-1"), disk_id=DISK,
        slot=int(START + (order if day is None else day) * DAY), order=order,
    )  # fmt: skip
    return replace(one, **flags)


def kept(given: Policy, snapshots: list[PolicySnapshot], now: float = NOW) -> str:
    return " ".join(sorted(plan_retention(given, snapshots, now).stays))


def gone(given: Policy, snapshots: list[PolicySnapshot], now: float = NOW) -> str:
    return " ".join(plan_retention(given, snapshots, now).goes)


def ten(**flags: Any) -> list[PolicySnapshot]:
    return [snap(order, **flags) for order in range(10)]


def test_the_newest_of_an_amount_stay() -> None:
    plan = plan_retention(policy(amount=3), ten(), NOW)
    assert dict(plan.goes) == {f"s{order}": Leave.AMOUNT for order in range(7)}
    assert list(plan.goes) == sorted(plan.goes)
    assert plan.stays == {"s7": (Stay.AMOUNT,), "s8": (Stay.AMOUNT,), "s9": (Stay.NEWEST_GOOD, Stay.AMOUNT)}


def test_nothing_goes_of_a_permanent_policy() -> None:
    assert gone(policy(permanent=True), ten()) == ""


def test_deadlines() -> None:
    """S305, S307: each has its own, whatever the policy says since."""
    own = [snap(order, deadline_at=float(START + (order + 7) * DAY)) for order in range(10)]
    for given in (
        policy(days=7),
        policy(days=1),
        policy(amount=1),
        policy(permanent=True),
        policy(spread=Spread(days=1)),
    ):
        assert gone(given, own, START + 12.0 * DAY - 1) == "s0 s1 s2 s3 s4"
        assert gone(given, own, START + 12.0 * DAY) == "s0 s1 s2 s3 s4 s5"
        assert kept(given, own) == "s9"
    # Those that have none go by the policy that there is now.
    assert gone(policy(days=7), ten(), START + 12.0 * DAY) == "s0 s1 s2 s3 s4 s5"


@pytest.mark.parametrize(
    ("retention", "at", "deadline"),
    [
        (Retention(days=7), "2026-03-02 03:00", "2026-03-09 03:00"),
        (Retention(months=1), "2026-01-31 03:00", "2026-02-28 03:00"),
        (Retention(months=25), "2026-01-29 03:00", "2028-02-29 03:00"),
        (Retention(months=11), "2026-01-31 03:00", "2026-12-31 03:00"),
    ],
)
def test_deadline_of(retention: Retention, at: str, deadline: str) -> None:
    then = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    assert deadline_of(retention, then, UTC) == datetime.fromisoformat(deadline).replace(tzinfo=UTC).timestamp()


def test_a_deadline_of_months_is_the_same_hour_of_the_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    at = datetime(2026, 3, 1, 3, tzinfo=berlin).timestamp()
    assert deadline_of(Retention(months=1), at, berlin) == datetime(2026, 4, 1, 3, tzinfo=berlin).timestamp()
    assert deadline_of(Retention(days=30), at, berlin) == at + 30 * DAY
    assert deadline_of(Retention(months=1200), 253_000_000_000, berlin) == 253_370_764_800.0
    assert deadline_of(Retention(amount=1), at, berlin) is None


def test_a_spread_keeps_the_newest_of_each_period() -> None:
    """S308"""
    # Two a day for ten weeks, from a Monday on.
    many = [snap(order, day=order / 2) for order in range(140)]
    plan = plan_retention(policy(spread=Spread(days=3, weeks=2, months=3)), many, NOW)
    newest = ("s139", "s137", "s135")
    assert set(plan.stays) == {
        *newest,
        "s125",  # The Sunday before.
        "s119",  # 30 April, and 31 March.
        "s59",
    }
    assert plan.stays[SnapshotId("s139")] == (Stay.NEWEST_GOOD, Stay.DAY, Stay.WEEK, Stay.MONTH)
    assert plan.stays[SnapshotId("s137")] == (Stay.DAY,)
    assert plan.stays[SnapshotId("s125")] == (Stay.WEEK,)
    assert plan.stays[SnapshotId("s59")] == (Stay.MONTH,)
    assert set(plan.goes.values()) == {Leave.SPREAD}


def test_a_day_is_that_of_the_slot_in_the_policys_zone() -> None:
    """S308"""
    shanghai = replace(policy(spread=Spread(days=2)), zone="+08:00")
    # 23:00 and 01:00 there are one day in UTC.
    local = timezone(timedelta(hours=8))
    slots = [int(datetime(2026, 5, day, hour, tzinfo=local).timestamp()) for day in (1, 2, 3) for hour in (1, 23)]
    given = [replace(snap(order), slot=slot) for order, slot in enumerate(slots)]
    assert kept(shanghai, given) == "s3 s5"
    assert kept(replace(shanghai, zone="UTC"), given) == "s4 s5"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"permanent": True}, Stay.PERMANENT), ({"shared": True}, Stay.SHARED), ({"locked": True}, Stay.LOCKED),
        ({"pinned": True}, Stay.PINNED), ({"normal": False}, Stay.MAKING), ({"proven": True}, Stay.LAST_PROVEN),
    ],
)  # fmt: skip
def test_what_somebody_relies_on_stays(flags: dict[str, Any], reason: Stay) -> None:
    """S306, S307"""
    expired: dict[str, Any] = {"deadline_at": START + 1.0}
    for given, more in ((policy(amount=2), {}), (policy(days=7), expired), (policy(spread=Spread(days=2)), {})):
        all_of_them = [snap(order, **(flags if order == 2 else {}), **more) for order in range(10)]
        plan = plan_retention(given, all_of_them, NOW)
        assert plan.stays[SnapshotId("s2")] == (reason,)
        assert "s1" in plan.goes


def test_only_what_the_policy_made_goes() -> None:
    """S306"""
    others = [snap(order, policy_id=by) for order, by in ((0, None), (1, PolicyId("asp-2")))]
    plan = plan_retention(policy(amount=1), [*others, *ten()[2:]], NOW)
    assert not {"s0", "s1"} & {*plan.goes, *plan.stays}
    assert len(plan.goes) == 7


def test_disks_have_nothing_to_do_with_each_other() -> None:
    there = [*ten(), *(replace(snap(order + 10), disk_id=DiskId("disk-b")) for order in range(3))]
    assert kept(policy(amount=2), there) == "s11 s12 s8 s9"


@pytest.mark.parametrize("flag", ["suspect", "damaged", "recycled"])
def test_the_newest_good_one_stays(flag: str) -> None:
    """S307, S310: and what is not good takes no place."""
    given = [snap(order, **{flag: order >= 4}) for order in range(10)]
    assert kept(policy(amount=2), given) == "s2 s3 s4 s5 s6 s7 s8 s9"
    assert gone(policy(amount=2), given) == "s0 s1"
    for old in (policy(days=1), policy(days=7)):
        assert kept(old, [replace(one, deadline_at=START + 1.0) for one in given]) == "s3"
    assert kept(policy(spread=Spread(days=2)), given) == "s2 s3 s4 s5 s6 s7 s8 s9"


def test_where_none_is_good_the_best_stays() -> None:
    """S307"""
    given = [snap(order, deadline_at=START + 1.0, damaged=order != 2, suspect=order != 3) for order in range(6)]
    assert kept(policy(days=1), given) == "s2"
    assert kept(policy(days=1), [replace(one, damaged=True) for one in given]) == "s3"
    assert kept(policy(days=1), [replace(one, recycled=True) for one in given]) == ""


def test_the_last_one_that_is_proven_stays() -> None:
    """S307"""
    given = [replace(one, proven=one.order in {2, 4}) for one in ten()]
    assert kept(policy(amount=1), given) == "s4 s9"
    # Damage that was found since says more.
    assert kept(policy(amount=1), [replace(one, damaged=one.order == 4) for one in given]) == "s2 s9"


def test_what_is_in_the_recycle_bin_goes_first() -> None:
    """S310"""
    given = [replace(one, recycled=one.order in {3, 5}) for one in ten()]
    assert gone(policy(amount=3), given) == "s3 s5 s0 s1 s2 s4 s6"


def test_a_snapshot_that_answers_stays_as_if_the_run_had_made_one() -> None:
    """S309"""
    quiet = snap(2, answers_for=START + 59 * DAY)
    given = [snap(0), snap(1), quiet, *(snap(order, day=order + 57) for order in range(3, 6))]
    # Four days have their own; of the days before them s2 is the newest.
    assert kept(policy(spread=Spread(days=4)), given) == "s2 s3 s4 s5"
    assert kept(policy(spread=Spread(days=3)), given) == "s3 s4 s5"
    # March ends with it, and so does April.
    assert kept(policy(spread=Spread(months=2)), given) == "s2 s5"
    # It lives as long as one that the last of these runs had made.
    week = [replace(one, deadline_at=float(one.slot + 7 * DAY)) for one in given]
    assert gone(policy(days=7), week, START + 65.9 * DAY) == "s0 s1"
    assert gone(policy(days=7), week, START + 66.0 * DAY) == "s0 s1 s2"
    # An amount is one of snapshots.
    assert kept(policy(amount=4), given) == "s2 s3 s4 s5"


def test_a_leap_of_the_clock_expires_nothing() -> None:
    """S308: one run was late by a year, then the clock came back."""
    leapt = [*ten(), snap(10, day=375)]
    back = [*leapt, *(snap(order, day=order - 1) for order in range(11, 14))]
    for given, count in ((policy(amount=5), 5), (policy(spread=Spread(days=5)), 5)):
        assert len(kept(given, leapt, NOW).split()) == count
        assert kept(given, back, NOW) == "s10 s11 s12 s13 s9"
    weekly = policy(spread=Spread(weeks=2))
    assert kept(weekly, leapt, NOW) == "s10 s9"
    assert kept(weekly, [snap(0), snap(1, day=370), snap(2, day=7)], NOW) == "s1 s2"

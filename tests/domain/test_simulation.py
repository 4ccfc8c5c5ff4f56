"""What a policy will do is what it does."""

import time
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from drystone.domain.ids import AccountId, DiskId, PolicyId, SnapshotId
from drystone.domain.policy import Policy, Retention, Spread, Trigger
from drystone.domain.retention import PolicySnapshot, plan_retention
from drystone.domain.simulation import kept_after, simulate

DAY = 86_400
START = 20_500.0 * DAY
HOURLY = Policy(
    id=PolicyId("asp-1"), account_id=AccountId("1"), zone="Europe/Berlin",
    triggers=(Trigger(hours=tuple(range(24)), interval_days=1),), created_at=0.0, modified_at=0.0, anchored_at=0.0,
)  # fmt: skip
RETENTIONS = [
    Retention(days=7), Retention(months=2), Retention(amount=1), Retention(amount=200), Retention(permanent=True),
    Retention(spread=Spread(days=7, weeks=4, months=12, years=2)), Retention(spread=Spread(years=1)),
]  # fmt: skip
TRIGGERS = [
    (Trigger(hours=(0, 6, 23), interval_days=1),),
    (Trigger(hours=(2,), days_of_month=(29, 30, 31)), Trigger(hours=(20,), days_of_month=(29, 30))),
    (Trigger(hours=(1,), interval_days=40),),
]


@pytest.mark.parametrize("retention", RETENTIONS)
@pytest.mark.parametrize("triggers", TRIGGERS)
def test_it_is_what_retention_does_each_day(triggers: tuple[Trigger, ...], retention: Retention) -> None:
    policy = replace(HOURLY, triggers=triggers, retention=retention)
    there: list[PolicySnapshot] = []
    order = 0
    simulated = simulate(policy, START, 200)
    after = simulate(policy, START, 201)
    for number, one in enumerate(simulated):
        for slot in one.runs:
            order += 1
            there.append(
                PolicySnapshot(
                    id=SnapshotId(str(order)), policy_id=policy.id, disk_id=DiskId("d"), slot=slot, order=order
                )
            )
        tomorrow = one.day + timedelta(days=1)
        midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=ZoneInfo(policy.zone)).timestamp()
        goes = plan_retention(policy, there, midnight).goes
        assert one.gone == tuple(sorted(snapshot.slot for snapshot in there if snapshot.id in goes))
        there = [snapshot for snapshot in there if snapshot.id not in goes]
        assert one.kept == len(there)
        if number % 50 == 0:
            assert kept_after(simulated, number + 1) == tuple(snapshot.slot for snapshot in there)
    assert after[:200] == simulated


def test_days_are_those_of_the_zone() -> None:
    days = simulate(HOURLY, START, 365)
    assert [one.day for one in days[:2]] == [date(2026, 2, 16), date(2026, 2, 17)]
    counts = {len(one.runs) for one in days[1:]}
    # An hour that is skipped has the slot of the next, and one that comes twice has one.
    assert counts == {23, 24}
    assert sum(len(one.runs) for one in days[1:]) == 364 * 24 - 1


def test_nothing_is_taken_before_the_start_or_missing_while_it_is_not_active() -> None:
    first = simulate(replace(HOURLY, active=False), START + 7 * 3600 + 1, 1)[0]
    assert first.runs == tuple(int(START) + hour * 3600 for hour in range(8, 23))


@pytest.mark.parametrize(
    "retention", [*RETENTIONS, Retention(spread=Spread(days=100, weeks=100, months=100, years=100))]
)
def test_a_year_of_every_hour_is_quick(retention: Retention) -> None:
    began = time.process_time()
    simulate(replace(HOURLY, retention=retention), START, 365)
    assert time.process_time() - began < 1.0

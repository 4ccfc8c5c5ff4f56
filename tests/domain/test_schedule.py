"""When a policy's snapshots are due."""

import zoneinfo
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from drystone.domain.ids import AccountId, PolicyId
from drystone.domain.policy import Policy, Trigger, changed
from drystone.domain.schedule import MISSED_MAX, Due, due, next_trigger
from drystone.domain.times import TIME_S_MAX


def at(text: str) -> int:
    """Return an instant: `2026-03-29 01:00 +01:00`."""
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M %z").timestamp())


def policy(*triggers: Trigger, zone: str = "+08:00", anchored: str = "2026-01-01 12:00 +00:00") -> Policy:
    return Policy(
        id=PolicyId("asp-1"), account_id=AccountId("1"), zone=zone, triggers=triggers,
        created_at=at(anchored), modified_at=at(anchored), anchored_at=at(anchored),
    )  # fmt: skip


WEEK = tuple(range(7))
BERLIN, NEW_YORK, LORD_HOWE, APIA, AZORES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Atlantic/Azores",
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "after", "then"),
    [
        # The two examples of the documents.
        (policy(Trigger(hours=(0,), days_of_week=(4,))), "2018-08-07 10:00 +08:00", ["2018-08-08 16:00 +00:00"]),
        (policy(Trigger(hours=(7,), days_of_week=(6, 5))), "2023-03-02 10:00 +08:00", ["2023-03-03 07:00 +08:00"]),
        # A slot that is now was now: the next one is asked for.
        (policy(Trigger(hours=(7,), days_of_week=WEEK)), "2026-05-01 07:00 +08:00", ["2026-05-02 07:00 +08:00"]),
        # Several hours and several entries, one slot where they meet.
        (
            policy(Trigger(hours=(20, 3), days_of_week=(1,)), Trigger(hours=(3,), days_of_month=(1, 2))),
            "2026-05-31 07:00 +08:00",
            [
                "2026-06-01 03:00 +08:00",
                "2026-06-01 20:00 +08:00",
                "2026-06-02 03:00 +08:00",
                "2026-06-08 03:00 +08:00",
            ],
        ),
        # Months without that day are left out.
        (
            policy(Trigger(hours=(3,), days_of_month=(31,)), zone="UTC"),
            "2026-01-31 04:00 +00:00",
            [
                "2026-03-31 03:00 +00:00",
                "2026-05-31 03:00 +00:00",
                "2026-07-31 03:00 +00:00",
                "2026-08-31 03:00 +00:00",
            ],
        ),
        (
            policy(Trigger(hours=(3,), days_of_month=(29,)), zone="UTC"),
            "2028-01-30 04:00 +00:00",
            ["2028-02-29 03:00 +00:00", "2028-03-29 03:00 +00:00"],
        ),
        # Intervals: that day if the hour has not passed, otherwise the second cycle.
        (
            policy(Trigger(hours=(13, 11), interval_days=5), zone="UTC"),
            "2026-01-01 12:00 +00:00",
            ["2026-01-01 13:00 +00:00", "2026-01-06 11:00 +00:00", "2026-01-06 13:00 +00:00"],
        ),
        (
            policy(Trigger(hours=(0,), interval_days=365), zone="UTC"),
            "2026-01-01 12:00 +00:00",
            ["2027-01-01 00:00 +00:00", "2028-01-01 00:00 +00:00", "2028-12-31 00:00 +00:00"],
        ),
        # An hour that comes twice: its first. The hours around it are there once each.
        (
            policy(Trigger(hours=(1, 2, 3), days_of_week=WEEK), zone=BERLIN),
            "2026-10-25 00:30 +02:00",
            ["2026-10-25 01:00 +02:00", "2026-10-25 02:00 +02:00", "2026-10-25 03:00 +01:00"],
        ),
        # An hour that is skipped: the next instant, which is that of the next hour.
        (
            policy(Trigger(hours=(1, 2, 3), days_of_week=WEEK), zone=BERLIN),
            "2026-03-29 00:30 +01:00",
            ["2026-03-29 01:00 +01:00", "2026-03-29 03:00 +02:00", "2026-03-30 01:00 +02:00"],
        ),
        (
            policy(Trigger(hours=(2,), days_of_week=(0,)), zone=NEW_YORK),
            "2026-03-07 00:30 -05:00",
            ["2026-03-08 03:00 -04:00", "2026-03-15 02:00 -04:00"],
        ),
        # Half an hour is skipped, and comes twice.
        (
            policy(Trigger(hours=(2,), days_of_week=(0,)), zone=LORD_HOWE),
            "2026-10-03 12:00 +10:30",
            ["2026-10-04 02:30 +11:00", "2026-10-11 02:00 +11:00"],
        ),
        (
            policy(Trigger(hours=(1, 2), days_of_week=(0,)), zone=LORD_HOWE),
            "2026-04-04 12:00 +11:00",
            ["2026-04-05 01:00 +11:00", "2026-04-05 02:00 +10:30"],
        ),
        # A day that is skipped: once at the beginning of the next.
        (
            policy(Trigger(hours=(0, 9, 23), days_of_week=(4, 5, 6)), zone=APIA),
            "2011-12-29 12:00 -10:00",
            ["2011-12-29 23:00 -10:00", "2011-12-31 00:00 +14:00", "2011-12-31 09:00 +14:00"],
        ),
        # Midnight is skipped, and comes twice, as the Azores have it.
        (
            policy(Trigger(hours=(0,), days_of_week=(0,)), zone=AZORES),
            "2026-03-28 12:00 -01:00",
            ["2026-03-29 01:00 +00:00", "2026-04-05 00:00 +00:00"],
        ),
        (
            policy(Trigger(hours=(0,), days_of_week=(0,)), zone=AZORES),
            "2026-10-24 12:00 +00:00",
            ["2026-10-25 00:00 +00:00", "2026-11-01 00:00 -01:00"],
        ),
    ],
)
def test_next_trigger(given: Policy, after: str, then: list[str]) -> None:
    """S300"""
    now: float = at(after)
    for expected in then:
        found = next_trigger(given, now)
        assert found == at(expected), (expected, datetime.fromtimestamp(found or 0).astimezone())
        now = found


def test_none_of_a_policy_that_is_not_active_or_at_the_end_of_time() -> None:
    daily = policy(Trigger(hours=(7,), days_of_week=WEEK))
    assert next_trigger(replace(daily, active=False), 0.0) is None
    assert next_trigger(daily, 1e18) is None
    assert next_trigger(daily, -1e18) is not None


def test_a_zone_that_this_machine_no_longer_has_counts_as_utc() -> None:
    assert next_trigger(policy(Trigger(hours=(7,), days_of_week=WEEK), zone="Mars/Base"), 0.0) == 86_400 + 7 * 3600


def test_zones_are_there_on_a_host_that_has_none() -> None:
    pytest.importorskip("tzdata", reason="it comes with the lock file")
    before = zoneinfo.TZPATH
    try:
        zoneinfo.reset_tzpath(())
        eastern = zoneinfo.ZoneInfo.no_cache("US/Eastern")
        assert datetime(2026, 7, 1, tzinfo=eastern).utcoffset() == timedelta(hours=-4)
    finally:
        zoneinfo.reset_tzpath(before)


def test_what_a_wrong_clock_has_anchored_ahead_does_not_wait_for_it() -> None:
    ahead = policy(Trigger(hours=(3,), interval_days=5), zone="UTC", anchored="2036-01-01 12:00 +00:00")
    found = next_trigger(ahead, at("2026-01-01 12:00 +00:00"))
    assert found is not None
    assert found < at("2026-01-07 12:00 +00:00")


DAILY = policy(Trigger(hours=(3,), days_of_week=WEEK), zone="UTC")
HOURLY = policy(Trigger(hours=tuple(range(24)), days_of_week=WEEK), zone="UTC")
MAY_1 = at("2026-05-01 03:00 +00:00")
DAY, HOUR = 86_400, 3600


def test_a_slot_is_due_once() -> None:
    """S301"""
    assert due(DAILY, MAY_1 - DAY, MAY_1 - 1) == Due(cursor=MAY_1 - DAY)
    found = due(DAILY, MAY_1 - DAY, MAY_1 + 4.5)
    assert found == Due(cursor=MAY_1, slot=MAY_1, late_by_s=4.5)
    assert due(DAILY, found.cursor, MAY_1 + 14.5) == Due(cursor=MAY_1)


@pytest.mark.parametrize("off", [2 * DAY + 5 * HOUR, 400 * DAY])
def test_after_an_outage_one_run_is_late(off: int) -> None:
    """S301"""
    found = due(DAILY, MAY_1, MAY_1 + off)
    last = MAY_1 + off // DAY * DAY
    assert found == Due(cursor=last, slot=last, late_by_s=off % DAY, missed=off // DAY - 1)
    assert due(DAILY, found.cursor, MAY_1 + off + 60).slot is None


def test_a_clock_that_leaps_and_comes_back() -> None:
    """S301: at once, by centuries, and no schedule waits for it."""
    year = due(HOURLY, MAY_1, MAY_1 + 365 * DAY + 7)
    assert (year.slot, year.late_by_s, year.missed) == (MAY_1 + 365 * DAY, 7, MISSED_MAX)
    leap = due(HOURLY, MAY_1, MAY_1 + 2_000_000 * DAY)
    assert leap.slot == MAY_1 + 2_000_000 * DAY
    assert leap.missed == MISSED_MAX
    back = due(HOURLY, leap.cursor, MAY_1 + 30)
    assert back == Due(cursor=MAY_1 + 30, set_back_s=2_000_000 * DAY - 30)
    assert due(HOURLY, back.cursor, MAY_1 + HOUR).slot == MAY_1 + HOUR
    # A step within what any clock may be off is no leap, and repeats nothing.
    assert due(HOURLY, MAY_1, MAY_1 - 200) == Due(cursor=MAY_1)
    assert due(HOURLY, MAY_1, 1e18).slot == TIME_S_MAX - HOUR


def test_slots_of_a_policy_that_is_not_active_are_not_missed() -> None:
    off = due(replace(DAILY, active=False), MAY_1, MAY_1 + 10 * DAY)
    assert off == Due(cursor=MAY_1 + 10 * DAY)
    assert due(DAILY, off.cursor, MAY_1 + 10 * DAY + 60).slot is None


def test_other_triggers_count_from_when_they_were_given() -> None:
    given = changed(DAILY, triggers=(Trigger(hours=(9, 12), days_of_week=WEEK),), zone=None, now=MAY_1 + 7 * HOUR)
    assert due(given, MAY_1, MAY_1 + 7 * HOUR + 10).slot is None
    assert due(given, MAY_1, MAY_1 + 9 * HOUR).slot == MAY_1 + 9 * HOUR
    # Given while the clock was a year ahead: they do not wait for it.
    ahead = changed(DAILY, triggers=given.triggers, zone=None, now=MAY_1 + 365 * DAY)
    assert due(ahead, MAY_1, MAY_1 + 9 * HOUR).slot == MAY_1 + 9 * HOUR

"""What a policy may say."""

from dataclasses import replace

import pytest

from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, PolicyId
from drystone.domain.policy import Policy, Retention, Spread, Trigger, changed, checked, trigger

DAILY = Trigger(hours=(3,), days_of_week=(6, 5, 0, 1, 2, 3, 4))
GOOD = Policy(
    id=PolicyId("asp-1"), account_id=AccountId("1"), name="nightly", zone="+08:00", triggers=(DAILY,),
    created_at=0.0, modified_at=0.0, anchored_at=0.0,
)  # fmt: skip


def test_lists_are_kept_as_they_were_sent() -> None:
    """Terraform takes another order for a change that somebody made."""
    sent = trigger(hours=[9, 3, 9], days_of_week=[6, 5])
    assert (sent.hours, sent.days_of_week) == ((9, 3, 9), (6, 5))
    assert checked(replace(GOOD, triggers=(sent,))).triggers == (sent,)


def test_the_first_way_to_name_days_counts() -> None:
    assert trigger(hours=[1], days_of_week=[0], days_of_month=[1], interval_days=1).days_of_month == ()
    assert trigger(hours=[1], days_of_month=[1], interval_days=1).interval_days is None
    assert trigger(hours=[1], interval_days=5).interval_days == 5


@pytest.mark.parametrize(
    ("policy", "kind", "words"),
    [
        (replace(GOOD, name=""), Refusal.BAD_VALUE, "0 bytes"),
        (replace(GOOD, name="未" * 21), Refusal.BAD_VALUE, "63 bytes"),
        *(
            (replace(GOOD, zone=zone), Refusal.BAD_VALUE, "no time zone")
            for zone in (
                "", "Europe/Nowhere", "Europe", "/etc/passwd", "../Europe/Berlin", "Europe/../Europe/Berlin",
                "localtime", "right/UTC", "posix/UTC", "+24:00", "+08:60", "+8", "A" * 65, "Europe/Berlin\0", "é",
            )
        ),
        (replace(GOOD, triggers=()), Refusal.MISSING, "Policy is empty"),
        (replace(GOOD, triggers=(DAILY,) * 11), Refusal.BAD_VALUE, "at most 10"),
        (replace(GOOD, triggers=(Trigger(hours=(), interval_days=1),)), Refusal.MISSING, "Hour is empty"),
        (replace(GOOD, triggers=(Trigger(hours=(24,), interval_days=1),)), Refusal.BAD_VALUE, "0 to 23"),
        (replace(GOOD, triggers=(Trigger(hours=(-1,), interval_days=1),)), Refusal.BAD_VALUE, "0 to 23"),
        (replace(GOOD, triggers=(Trigger(hours=(1,) * 25, interval_days=1),)), Refusal.BAD_VALUE, "at most 24"),
        (replace(GOOD, triggers=(Trigger(hours=(1,)),)), Refusal.MISSING, "Give one of DayOfWeek"),
        (replace(GOOD, triggers=(Trigger(hours=(1,), days_of_week=(7,)),)), Refusal.BAD_VALUE, "0 to 6"),
        (replace(GOOD, triggers=(Trigger(hours=(1,), days_of_month=(0,)),)), Refusal.BAD_VALUE, "1 to 31"),
        (replace(GOOD, triggers=(Trigger(hours=(1,), interval_days=366),)), Refusal.BAD_VALUE, "1 to 365"),
        (replace(GOOD, retention=Retention()), Refusal.BAD_VALUE, "Give one of RetentionDays"),
        (replace(GOOD, retention=Retention(days=7, permanent=True)), Refusal.BAD_VALUE, "Give one of RetentionDays"),
        (replace(GOOD, retention=Retention(days=0)), Refusal.BAD_VALUE, "RetentionDays has 0"),
        (replace(GOOD, retention=Retention(months=1201)), Refusal.BAD_VALUE, "RetentionMonths has 1201"),
        (replace(GOOD, retention=Retention(amount=0)), Refusal.BAD_VALUE, "RetentionAmount has 0"),
        (replace(GOOD, retention=Retention(spread=Spread(days=101))), Refusal.BAD_VALUE, "Days has 101"),
        (replace(GOOD, retention=Retention(spread=Spread())), Refusal.BAD_VALUE, "keeps nothing"),
    ],
)  # fmt: skip
def test_what_is_refused(policy: Policy, kind: Refusal, words: str) -> None:
    with pytest.raises(RefusalError, match=words) as caught:
        checked(policy)
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    "zone", ["UTC", "+00:00", "-12:00", "+14:00", "+05:45", "Europe/Berlin", "Etc/GMT+8", "NZ-CHAT"]
)
def test_zones(zone: str) -> None:
    assert checked(replace(GOOD, zone=zone)).zone == zone


def test_intervals_count_from_the_day_on_which_they_were_given() -> None:
    every = (Trigger(hours=(3,), interval_days=5),)
    assert changed(GOOD, triggers=every, zone=None, now=7.0).anchored_at == 7.0
    # Who only sends the same again changes nothing.
    assert changed(GOOD, triggers=GOOD.triggers, zone=GOOD.zone, now=7.0) == GOOD
    assert changed(GOOD, triggers=None, zone="UTC", now=7.0).anchored_at == 7.0

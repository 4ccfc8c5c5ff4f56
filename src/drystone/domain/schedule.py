"""When a policy's snapshots are due. Pure: the time comes in.

A slot is an instant, in whole seconds since the epoch, UTC: the first at which the clocks of the policy's zone show the
hour of the day. What begins for it later belongs to that slot all the same.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, tzinfo

from drystone.domain.policy import Policy, Trigger
from drystone.domain.times import TIME_S_MAX, moment
from drystone.domain.zones import first_instant, zone_or_utc

_DAYS_WITHOUT_MAX = 366
"""No trigger leaves out more days in a row."""


def slots(policy: Policy, after: float) -> Iterator[int]:
    """Yield the slots of a policy that lie after a time, in their order, whether it is active or not."""
    zone = zone_or_utc(policy.zone)
    anchor = moment(policy.anchored_at, zone).date()
    day = max(moment(after, zone).date() - timedelta(days=1), date(1970, 1, 2))
    # A skipped hour's slot may lie on the next day, so the day before is looked at too.
    last, barren = after, 0
    while barren <= _DAYS_WITHOUT_MAX and day.year < 9999:
        found = sorted({slot for one in policy.triggers if _falls_on(one, day, anchor) for slot in _of(one, day, zone)})
        barren = 0 if found else barren + 1
        for slot in found:
            if last < slot < TIME_S_MAX:
                last = slot
                yield slot
        day += timedelta(days=1)


def next_trigger(policy: Policy, after: float) -> int | None:
    """Return the first slot of a policy that lies after a time; None if it is not active, or time ends before."""
    return next(slots(policy, after), None) if policy.active else None


def _falls_on(trigger: Trigger, day: date, anchor: date) -> bool:
    if trigger.days_of_week:
        return day.isoweekday() % 7 in trigger.days_of_week
    if trigger.days_of_month:
        return day.day in trigger.days_of_month
    assert trigger.interval_days is not None
    # Also before that day: what a wrong clock has anchored ahead does not wait for it. Nobody asks about slots before
    # the policy was made.
    return (day - anchor).days % trigger.interval_days == 0


def _of(trigger: Trigger, day: date, zone: tzinfo) -> Iterator[int]:
    return (first_instant(datetime.combine(day, time(hour)), zone) for hour in set(trigger.hours))

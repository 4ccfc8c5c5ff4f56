"""When a policy's snapshots are due (S300, S301). Pure: the time comes in.

A slot is an instant, in whole seconds since the epoch, UTC: the first at which the clocks of the policy's zone show the
hour of the day or a later one. What begins for it later belongs to that slot all the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import islice, takewhile

from drystone.domain.clock import TOLERANCE_S
from drystone.domain.policy import Policy, Trigger
from drystone.domain.times import TIME_S_MAX, moment
from drystone.domain.zones import first_instant, zone_or_utc

_DAYS_WITHOUT_MAX = 366
"""No trigger leaves out more days in a row."""
MISSED_MAX = 1000
"""More missed slots are not counted; that takes some milliseconds."""
_DAY = timedelta(days=1)
_FIRST, _LAST = date(1970, 1, 2), date(9999, 1, 1)
"""Days of which every zone has the day before and the one after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a look at the clock says of a policy."""

    cursor: float
    """What is to be remembered: every slot up to it is dealt with, together with this one. Seconds, UTC."""
    slot: int | None = None
    """The slot that is to be run now."""
    late_by_s: float = 0.0
    """How long ago it was."""
    missed: int = 0
    """Slots before it that nobody has run and nobody will, at most `MISSED_MAX`."""
    set_back_s: float = 0.0
    """How far ahead the cursor lay: the clock was wrong then or is now, and somebody must be told."""


def due(policy: Policy, cursor: float, now: float) -> Due:
    """Return what is to be run now (S301): one slot at most, however many have passed since the last look.

    Args:
        policy: What is asked for. While it is not active its slots pass without a run and are not missed.
        cursor: What the last look said is to be remembered; of a new policy, when it was made.
        now: By the steady clock.
    """
    ahead_s = cursor - now
    if ahead_s > TOLERANCE_S:
        # Nothing would be due until the clock is there again, which may be years.
        return Due(cursor=now, set_back_s=ahead_s)
    if not policy.active:
        return Due(cursor=max(cursor, now))
    # Triggers are effective at once, but not for the time before they were given.
    since = max(cursor, policy.anchored_at) if policy.anchored_at <= now else cursor
    slot = _last_slot(policy, since, now)
    if slot is None:
        return Due(cursor=since)
    before = takewhile(lambda one: one < slot, slots(policy, since))
    return Due(cursor=float(slot), slot=slot, late_by_s=now - slot, missed=sum(1 for _ in islice(before, MISSED_MAX)))


def next_trigger(policy: Policy, after: float) -> int | None:
    """Return the first slot of a policy that lies after a time; None if it is not active, or time ends before."""
    return next(slots(policy, after), None) if policy.active else None


def slots(policy: Policy, after: float) -> Iterator[int]:
    """Yield the slots of a policy that lie after a time, in their order, whether it is active or not."""
    zone = zone_or_utc(policy.zone)
    # A skipped hour's slot may lie on the next day, so the day before is looked at too.
    day = max(moment(after, zone).date() - _DAY, _FIRST)
    anchor, last, barren = _anchor(policy, zone), after, 0
    while barren <= _DAYS_WITHOUT_MAX and day < _LAST:
        found = _of_day(policy.triggers, anchor, day, zone)
        barren = 0 if found else barren + 1
        for slot in found:
            if last < slot < TIME_S_MAX:
                last = slot
                yield slot
        day += _DAY


def _last_slot(policy: Policy, after: float, until: float) -> int | None:
    """Return the last slot of a policy in (after, until]: from the end, since a clock may have leapt by millennia."""
    zone, until = zone_or_utc(policy.zone), min(until, TIME_S_MAX - 1)
    anchor = _anchor(policy, zone)
    day = min(moment(until, zone).date() + _DAY, _LAST)
    oldest = max(moment(after, zone).date() - _DAY, day - timedelta(days=_DAYS_WITHOUT_MAX + 2), _FIRST)
    while day >= oldest:
        for slot in reversed(_of_day(policy.triggers, anchor, day, zone)):
            if slot <= until:
                return slot if slot > after else None
        day -= _DAY
    return None


def _anchor(policy: Policy, zone: tzinfo) -> date:
    return moment(policy.anchored_at, zone).date()


@lru_cache(maxsize=4096)
def _of_day(triggers: tuple[Trigger, ...], anchor: date, day: date, zone: tzinfo) -> tuple[int, ...]:
    """Return the slots of one day of a zone's calendar, in their order, each once; each round asks for today's."""
    hours: set[int] = set()
    for one in triggers:
        if _falls_on(one, day, anchor):
            hours.update(one.hours)
    return tuple(sorted({first_instant(datetime.combine(day, time(hour)), zone) for hour in hours}))


def _falls_on(trigger: Trigger, day: date, anchor: date) -> bool:
    if trigger.days_of_week:
        return day.isoweekday() % 7 in trigger.days_of_week
    if trigger.days_of_month:
        return day.day in trigger.days_of_month
    assert trigger.interval_days is not None
    # Also before that day: what a wrong clock has anchored ahead does not wait for it. Nobody asks about slots before
    # the policy was made.
    return (day - anchor).days % trigger.interval_days == 0

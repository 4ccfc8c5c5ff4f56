"""Mistakes that the histories must find, each with a seed at which they do.

`python -m tests.domain.schedule_histories --planted` looks for the seeds anew.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from drystone.domain import retention, runs, schedule
from drystone.domain.clock import TOLERANCE_S
from drystone.domain.disk import Disk
from drystone.domain.ids import SnapshotId
from drystone.domain.policy import Policy, Run, RunReason, RunState
from drystone.domain.retention import Plan, PolicySnapshot
from drystone.domain.schedule import Due
from drystone.domain.snapshot import Snapshot
from drystone.domain.tracking import TrackingState
from drystone.domain.zones import offset_name, zone_or_utc
from tests.domain.schedule_histories import history
from tests.domain.schedule_parts import Rules, ViolationError


def _no_set_back(policy: Policy, cursor: float, now: float) -> Due:
    return Due(cursor=cursor) if cursor - now > TOLERANCE_S else schedule.due(policy, cursor, now)


def _each_missed_slot(policy: Policy, cursor: float, now: float) -> Due:
    found = schedule.due(policy, cursor, now)
    if not found.missed:
        return found
    first = next(schedule.slots(policy, max(cursor, policy.anchored_at)))
    return Due(cursor=first, slot=first, late_by_s=now - first)


def _no_late_run(policy: Policy, cursor: float, now: float) -> Due:
    found = schedule.due(policy, cursor, now)
    return replace(found, slot=None) if found.late_by_s > 3600 else found


def _one_offset(policy: Policy, cursor: float, now: float) -> Due:
    ahead = datetime.fromtimestamp(policy.anchored_at, zone_or_utc(policy.zone)).utcoffset() or timedelta()
    return schedule.due(replace(policy, zone=offset_name(ahead.total_seconds() / 3600)), cursor, now)


def _no_overlap(policy: Policy, found: Due, disks: object, known: Sequence[Run], now: float) -> runs.Opening:
    there = [run for run in known if run.slot == found.slot]
    return runs.opened(policy, found, disks, there, now)  # type: ignore[arg-type]


def _rows_again(policy: Policy, found: Due, disks: object, known: Sequence[Run], now: float) -> runs.Opening:
    earlier = [run for run in known if run.slot != found.slot]
    return runs.opened(policy, found, disks, earlier, now)  # type: ignore[arg-type]


def _no_review(run: Run, policy: Policy, disk: Disk, now: float, *, bound: bool) -> Run:
    return run


def _no_second_try(run: Run, policy: Policy, refusal: object, sentence: str, now: float) -> Run:
    after = runs.thwarted(run, policy, refusal, sentence, now)  # type: ignore[arg-type]
    return replace(after, state=RunState.FAILED, ended_at=now)


def _tries_for_ever(run: Run, policy: Policy, refusal: object, sentence: str, now: float) -> Run:
    after = runs.thwarted(run, policy, refusal, sentence, now)  # type: ignore[arg-type]
    waits = after.reason in {RunReason.BUSY, RunReason.QUOTA}
    return replace(after, state=RunState.WAITING, ended_at=None, try_at=now + 600) if waits else after


def _never_given_up(run: Run, policy: Policy, disk: Disk, now: float, *, bound: bool) -> Run:
    after = runs.reviewed(run, policy, disk, now, bound=bound)
    return run if after.reason in {RunReason.BUSY, RunReason.QUOTA} else after


def _by_bitmap_alone(
    disk: Disk, base: Snapshot | None, newest: SnapshotId | None, *, marked: bool
) -> SnapshotId | None:
    return None if marked or base is None or base.disk_id != disk.id else base.id


def _lost_means_nothing(
    disk: Disk, base: Snapshot | None, newest: SnapshotId | None, *, marked: bool
) -> SnapshotId | None:
    return runs.answering(replace(disk, tracking=TrackingState.LIVE), base, newest, marked=marked)


def _carry_means_nothing(
    disk: Disk, base: Snapshot | None, newest: SnapshotId | None, *, marked: bool
) -> SnapshotId | None:
    return runs.answering(replace(disk, carry=frozenset()), base, newest, marked=marked)


def _suspect_answers(
    disk: Disk, base: Snapshot | None, newest: SnapshotId | None, *, marked: bool
) -> SnapshotId | None:
    sure = None if base is None else replace(base, suspect=False, damaged=False)
    return runs.answering(disk, sure, newest, marked=marked)


def _any_base(disk: Disk, base: Snapshot | None, newest: SnapshotId | None, *, marked: bool) -> SnapshotId | None:
    return runs.answering(disk, base, None if base is None else base.id, marked=marked)


def _one_answers_for_all(
    policy: Policy, batch: Sequence[Run], answers: Sequence[SnapshotId | None], now: float, *, attached: bool
) -> tuple[Run, ...] | None:
    found = next((one for one in answers if one is not None), None)
    return runs.unchanged(policy, batch, [found] * len(batch), now, attached=attached)


def _planned(**changes: object) -> Rules:
    def plan(policy: Policy, snapshots: Sequence[PolicySnapshot], now: float) -> Plan:
        return retention.plan_retention(policy, [replace(one, **changes) for one in snapshots], now)  # type: ignore[arg-type]

    return Rules(plan=plan)


def _by_begin(policy: Policy, snapshots: Sequence[PolicySnapshot], now: float) -> Plan:
    late = [replace(one, slot=one.slot + 3 * 3600) for one in snapshots]
    return retention.plan_retention(policy, late, now)


def _by_date(policy: Policy, snapshots: Sequence[PolicySnapshot], now: float) -> Plan:
    dated = [replace(one, order=one.slot) for one in snapshots]
    return retention.plan_retention(policy, dated, now)


def _before_success(policy: Policy, snapshots: Sequence[PolicySnapshot], now: float) -> Plan:
    hopeful = [one if one.normal else replace(one, normal=True, order=10**9) for one in snapshots]
    return retention.plan_retention(policy, hopeful, now)


def _past_deadline_goes(policy: Policy, snapshots: Sequence[PolicySnapshot], now: float) -> Plan:
    plan = retention.plan_retention(policy, snapshots, now)
    past = {one.id for one in snapshots if one.deadline_at is not None and one.deadline_at <= now}
    goes = dict(plan.goes) | dict.fromkeys(past & plan.stays.keys(), retention.Leave.DEADLINE)
    return Plan(goes=goes, stays={one: why for one, why in plan.stays.items() if one not in past})


PLANTED: dict[str, tuple[Rules, int]] = {
    "a cursor that lies ahead stays": (Rules(due=_no_set_back), 6),
    "each missed slot is run": (Rules(due=_each_missed_slot), 0),
    "no late run": (Rules(due=_no_late_run), 0),
    "one offset all the year": (Rules(due=_one_offset), 0),
    "a run begins beside another": (Rules(opened=_no_overlap), 0),
    "a slot that comes again": (Rules(opened=_rows_again), 11),
    "rows after the cursor": (Rules(rows_with_cursor=False), 0),
    "the row after the snapshot": (Rules(row_with_snapshot=False), 21),
    "what waits is not looked at": (Rules(reviewed=_no_review), 0),
    "no second try": (Rules(thwarted=_no_second_try), 0),
    "tries for ever": (Rules(thwarted=_tries_for_ever, reviewed=_never_given_up), 0),
    "an empty bitmap is enough": (Rules(answering=_by_bitmap_alone), 0),
    "lost tracking is believed": (Rules(answering=_lost_means_nothing), 2),
    "the carry-over is forgotten": (Rules(answering=_carry_means_nothing), 70),
    "suspect ones answer": (Rules(answering=_suspect_answers), 3),
    "any base answers": (Rules(answering=_any_base), 0),
    "one answers for a group": (Rules(unchanged=_one_answers_for_all), 5),
    "days by when snapshots began": (Rules(plan=_by_begin), 0),
    "newest by date": (Rules(plan=_by_date), 6),
    "deleting before success": (Rules(plan=_before_success), 0),
    "deadlines without exception": (Rules(plan=_past_deadline_goes), 1),
    "suspect ones count": (_planned(suspect=False), 4),
    "damaged ones count": (_planned(damaged=False), 0),
    "permanent ones go": (_planned(permanent=False), 0),
    "locked ones go": (_planned(locked=False), 0),
    "answers are forgotten": (_planned(answers_for=None), 0),
}
"""Rules with the mistake, and a seed at which it breaks one."""


def found(rules: Rules, seed: int) -> str | None:
    try:
        history(seed, rules)
    except ViolationError as error:
        return str(error)
    return None


def find_all(seeds: int) -> int:
    """Look for each mistake in so many histories; return how many were not found."""
    missing = 0
    for name, (rules, _) in PLANTED.items():
        began = time.monotonic()
        hit = next(((seed, said) for seed in range(seeds) if (said := found(rules, seed)) is not None), None)
        missing += hit is None
        print(
            f"{name}: {'NOT FOUND' if hit is None else f'seed {hit[0]}, {hit[1]}'}; {time.monotonic() - began:.1f} s",
            flush=True,
        )
    return missing

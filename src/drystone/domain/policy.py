"""A snapshot policy: when snapshots of its disks are taken by themselves, and how long they are kept.

Also a run: what became of one slot of a policy on one disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from drystone.domain.disk import UNNAMED
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, DiskId, PolicyId, SnapshotId
from drystone.domain.zones import zone_named

NAME_BYTES_MAX = 60
POLICIES_MAX = 30
"""Policies of an account in a region."""
DISKS_MAX = 200
"""Disks that are bound to one policy."""
DISKS_PER_CALL_MAX = 80
POLICIES_PER_DISK_MAX = 10
TRIGGERS_MAX = 10
INTERVAL_DAYS_MAX = 365
RETENTION_DAYS_DEFAULT = 7
RETENTION_DAYS_MAX = 36_500
RETENTION_MONTHS_MAX = 1200
RETENTION_AMOUNT_MAX = 10_000
PERIODS_MAX = 100
"""Days, weeks, months and years of a spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Hours of certain days. One of the three ways to name days is given; lists are kept as they were sent."""

    hours: tuple[int, ...]
    """0 to 23, by the clocks of the policy's zone."""
    days_of_week: tuple[int, ...] = ()
    """0 is Sunday."""
    days_of_month: tuple[int, ...] = ()
    """1 to 31; a month without that day is left out."""
    interval_days: int | None = None
    """Every so many days, counted from the day at which the policy was anchored."""


def trigger(
    *,
    hours: Sequence[int],
    days_of_week: Sequence[int] = (),
    days_of_month: Sequence[int] = (),
    interval_days: int | None = None,
) -> Trigger:
    """Return what a client asks for: of several ways to name days the first one counts, as documented."""
    if days_of_week:
        return Trigger(hours=tuple(hours), days_of_week=tuple(days_of_week))
    if days_of_month:
        return Trigger(hours=tuple(hours), days_of_month=tuple(days_of_month))
    return Trigger(hours=tuple(hours), interval_days=interval_days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Keeps the newest of each of the last days, weeks, months and years that have one (AdvancedRetentionPolicy)."""

    days: int = 0
    weeks: int = 0
    """From Monday on."""
    months: int = 0
    years: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long snapshots are kept; exactly one is given."""

    days: int | None = None
    months: int | None = None
    amount: int | None = None
    """The newest so many of each disk."""
    spread: Spread | None = None
    permanent: bool = False
    """For ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One row of the policy table. Times are seconds since the epoch, UTC."""

    id: PolicyId
    account_id: AccountId
    name: str = UNNAMED
    zone: str
    """Whose hours and days count: an IANA name, or an offset as `+08:00`."""
    triggers: tuple[Trigger, ...]
    retention: Retention = Retention(days=RETENTION_DAYS_DEFAULT)
    active: bool = True
    """Otherwise none are taken; those that exist are kept for as long as they would be."""
    group: bool = False
    """Disks of one instance are taken at one instant, as a snapshot group; Drystone's own."""
    skip_unchanged: bool = False
    """None is taken of a disk to which nothing was written since the last one; Drystone's own."""
    tags: tuple[tuple[str, str], ...] = ()
    created_at: float
    modified_at: float
    anchored_at: float
    """When its triggers were given: intervals of days count from that day on, in its zone."""
    copied_from: AccountId | None = None
    """The account that it was copied from."""


class RunState(StrEnum):
    """Where a run stands. The first two are under way, the others are ends."""

    WAITING = "waiting"
    """It is due: its snapshot was not begun yet, or is tried again."""
    RUNNING = "running"
    """Its snapshot is CREATING."""
    DONE = "done"
    SKIPPED = "skipped"
    """There is none, and that is as it should be: `reason` says why."""
    FAILED = "failed"
    """There is none, and there should be: `reason` says why."""

    @property
    def under_way(self) -> bool:
        """Whether it has not ended."""
        return self in {RunState.WAITING, RunState.RUNNING}


class RunReason(StrEnum):
    """Why a run was skipped, has failed, or waits to be tried again. The values are what people see."""

    UNCHANGED = "unchanged"
    """Nothing was written since the snapshot that it names, which answers for it."""
    NOT_IN_USE = "not in use"
    """As UNCHANGED, of a disk that is not attached."""
    OVERLAP = "overlap"
    """The snapshot of an earlier slot is still being made."""
    MISSED = "missed"
    """The server did not run while it could have been tried; a later run stands for it."""
    BUSY = "busy"
    """The disk or the host did something else until half of the time to the next slot had passed."""
    QUOTA = "quota"
    FULL = "full"
    """No space."""
    DISK_UNFIT = "disk unfit"
    """It cannot be taken as it is; somebody must change something first."""
    RECYCLED = "recycled"
    """The disk is in the recycle bin."""
    DISK_GONE = "disk gone"
    """Deleted, or another account's."""
    UNBOUND = "unbound"
    SWITCHED_OFF = "switched off"
    POLICY_GONE = "policy gone"
    CANCELLED = "cancelled"
    """Somebody cancelled the snapshot or deleted it before it was whole."""
    SNAPSHOT_FAILED = "snapshot failed"
    CLOCK = "clock"
    """It was due at a time that now lies ahead: the clock was set back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of one slot of a policy on one disk: one row for each (policy, slot, disk).

    Times are seconds since the epoch, UTC, by the steady clock.
    """

    policy_id: PolicyId
    slot: int
    """The instant at which it was scheduled, whole seconds."""
    disk_id: DiskId
    account_id: AccountId
    state: RunState = RunState.WAITING
    reason: RunReason | None = None
    detail: str = ""
    """The sentence of the last refusal or failure."""
    late_by_s: float = 0.0
    """How long after its slot it was found due."""
    missed: int = 0
    """Slots before this one that passed while nobody ran them: this run stands for them."""
    attempts: int = 0
    try_at: float = 0.0
    """WAITING: not before this time."""
    snapshot_id: SnapshotId | None = None
    """Its own; or the one that answers for it, if it was skipped for `UNCHANGED` or `NOT_IN_USE`."""
    ended_at: float | None = None


def checked(policy: Policy) -> Policy:
    """Return a policy that can be kept.

    Raises:
        RefusalError: `MISSING` or `BAD_VALUE`: it cannot.
    """
    size = len(policy.name.encode())
    if not 1 <= size <= NAME_BYTES_MAX:
        raise _bad(f"AutoSnapshotPolicyName has {size} bytes; 1 to {NAME_BYTES_MAX} are allowed")
    if zone_named(policy.zone) is None:
        shown = policy.zone[:64]
        raise _bad(f"`{shown}` is no time zone here; give a name as Europe/Berlin, or an offset as +08:00")
    if not policy.triggers:
        raise RefusalError(Refusal.MISSING, "Policy is empty; give hours and days.")
    if len(policy.triggers) > TRIGGERS_MAX:
        raise _bad(f"Policy has {len(policy.triggers)} entries; at most {TRIGGERS_MAX} are allowed")
    for one in policy.triggers:
        _check_trigger(one)
    _check_retention(policy.retention)
    return policy


def changed(policy: Policy, *, triggers: tuple[Trigger, ...] | None, zone: str | None, now: float) -> Policy:
    """Return a policy with other triggers or another zone; if that makes a difference, it is anchored anew.

    Raises:
        RefusalError: As `checked`.
    """
    after = replace(
        policy,
        triggers=policy.triggers if triggers is None else triggers,
        zone=policy.zone if zone is None else zone,
    )
    if (after.triggers, after.zone) != (policy.triggers, policy.zone):
        after = replace(after, anchored_at=now)
    return checked(after)


def _check_trigger(one: Trigger) -> None:
    if not one.hours:
        raise RefusalError(Refusal.MISSING, "Hour is empty; give 0 to 23.")
    _check_numbers("Hour", one.hours, 0, 23)
    _check_numbers("DayOfWeek", one.days_of_week, 0, 6)
    _check_numbers("DayOfMonth", one.days_of_month, 1, 31)
    ways = bool(one.days_of_week) + bool(one.days_of_month) + (one.interval_days is not None)
    if ways != 1:
        raise RefusalError(Refusal.MISSING, "Give one of DayOfWeek, DayOfMonth and IntervalDays.")
    if one.interval_days is not None:
        _check_numbers("IntervalDays", (one.interval_days,), 1, INTERVAL_DAYS_MAX)


def _check_retention(retention: Retention) -> None:
    given = (retention.days, retention.months, retention.amount, retention.spread, retention.permanent or None)
    if sum(one is not None for one in given) != 1:
        raise _bad(
            "Give one of RetentionDays, RetentionMonths, RetentionAmount and AdvancedRetentionPolicy, "
            "or say that IsPermanent is true"
        )
    if retention.days is not None:
        _check_numbers("RetentionDays", (retention.days,), 1, RETENTION_DAYS_MAX)
    if retention.months is not None:
        _check_numbers("RetentionMonths", (retention.months,), 1, RETENTION_MONTHS_MAX)
    if retention.amount is not None:
        _check_numbers("RetentionAmount", (retention.amount,), 1, RETENTION_AMOUNT_MAX)
    if retention.spread is not None:
        spread = retention.spread
        counts = {"Days": spread.days, "Weeks": spread.weeks, "Months": spread.months, "Years": spread.years}
        for name, count in counts.items():
            _check_numbers(name, (count,), 0, PERIODS_MAX)
        if not any(counts.values()):
            raise _bad("AdvancedRetentionPolicy keeps nothing; give at least one of Days, Weeks, Months and Years")


def _check_numbers(name: str, numbers: Sequence[int], least: int, most: int) -> None:
    if len(numbers) > most - least + 1:
        raise _bad(f"{name} has {len(numbers)} values; at most {most - least + 1} are allowed")
    for one in numbers:
        if not least <= one <= most:
            raise _bad(f"{name} has {one}; {least} to {most} are allowed")


def _bad(message: str) -> RefusalError:
    return RefusalError(Refusal.BAD_VALUE, f"{message}.")

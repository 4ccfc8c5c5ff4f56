"""The commands on snapshot policies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter
from cyclopts.validators import Number

from drystone.cli import given, lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.gateway import Wire
from drystone.cli.lookup import DISK, POLICY
from drystone.cli.naming import DiskName, PolicyName
from drystone.cli.options import LIST_LIMIT, Flag, Limit, Yes, add_command
from drystone.cli.records import POLICY_COLUMNS, RUN_COLUMNS, SIMULATED_COLUMNS, WEEKDAYS, run_record, simulated_record
from drystone.cli.session import (
    NO_LIST_OPTIONS,
    NO_OPTIONS,
    NO_SHOW_OPTIONS,
    Commands,
    CommonOptions,
    ListOptions,
    Outside,
    Session,
    ShowOptions,
)

R = TypeVar("R")
PERIODS = {"d": "Days", "w": "Weeks", "m": "Months", "y": "Years"}
_PLAIN = Parameter(group="Schedule and retention", show_default=False)
_COUNT = Parameter(group="Schedule and retention", show_default=False, validator=Number(gte=1))
_FLAG = Parameter(group="Schedule and retention", show_default=False, negative="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When snapshots are taken and how long they are kept.

    Attributes:
        at: Hours of the day, as 2 or 2,14.
        weekdays: Only on these days: mon,thu.
        month_days: Only on these days of the month: 1,15. A month without that day is left out.
        every: Every so many days; without any days: every day.
        zone: Time zone of the hours, as Europe/Berlin or +08:00; without it the server's.
        keep_days: Keep each for so many days (without any --keep, 7).
        keep_months: Keep each for so many months.
        keep: Keep the newest so many of each disk.
        keep_calendar: Keep the newest of each of the last days, weeks, months and years: 7d,4w,12m,3y.
        keep_forever: Keep all.
    """

    at: Annotated[str | None, _PLAIN] = None
    weekdays: Annotated[str | None, _PLAIN] = None
    month_days: Annotated[str | None, _PLAIN] = None
    every: Annotated[int | None, _COUNT] = None
    zone: Annotated[str | None, _PLAIN] = None
    keep_days: Annotated[int | None, _COUNT] = None
    keep_months: Annotated[int | None, _COUNT] = None
    keep: Annotated[int | None, _COUNT] = None
    keep_calendar: Annotated[str | None, _PLAIN] = None
    keep_forever: Annotated[bool, _FLAG] = False

    @property
    def triggers(self) -> list[Wire] | None:
        """What the wire takes for the days and hours; None if none are given."""
        days = (self.weekdays, self.month_days, self.every)
        if self.at is None and days == (None, None, None):
            return None
        if self.at is None:
            raise CliError(Exit.USAGE, "give the hours too, as --at 2")
        if sum(one is not None for one in days) > 1:
            raise CliError(Exit.USAGE, "give --weekdays, --month-days or --every, not several of them")
        hours = _read(lambda: given.numbers(self.at or "", "hours", "2 or 2,14"))
        if self.weekdays is not None:
            return [{"Hour": hours, "DayOfWeek": _read(lambda: given.words(self.weekdays or "", WEEKDAYS))}]
        if self.month_days is not None:
            return [{"Hour": hours, "DayOfMonth": _read(lambda: given.numbers(self.month_days or "", "days", "1,15"))}]
        return [{"Hour": hours, "IntervalDays": self.every or 1}]

    @property
    def retention(self) -> Wire:
        """What the wire takes for how long snapshots are kept: nothing if none is given."""
        calendar = self.keep_calendar
        asked: dict[str, Any] = {
            "RetentionDays": self.keep_days, "RetentionMonths": self.keep_months, "RetentionAmount": self.keep,
            "AdvancedRetentionPolicy": None if calendar is None else _read(lambda: given.periods(calendar, PERIODS)),
            "IsPermanent": True if self.keep_forever else None,
        }  # fmt: skip
        found = {name: value for name, value in asked.items() if value is not None}
        if len(found) > 1:
            raise CliError(Exit.USAGE, "give one way to keep snapshots, not several")
        return found


PlanOptions = Annotated[Plan, Parameter(name="*")]
NO_PLAN = Plan()


def _read(read: Callable[[], R]) -> R:
    try:
        return read()
    except ValueError as error:
        raise CliError(Exit.USAGE, str(error)) from None


def policy_app(outside: Outside) -> App:
    """Return the commands `drystone policy ...`."""
    app = App(name="policy", help="Snapshot policies: snapshots that are taken by themselves.")
    commands = PolicyCommands(outside)
    add_command(app, commands.list_, "list", "drystone policy list")
    add_command(app, commands.show, "show", "drystone policy show nightly")
    add_command(
        app, commands.create, "create", "drystone policy create nightly --at 2 --keep-days 7 --disk db",
        "drystone policy create work --at 8,12,16 --weekdays mon,tue,wed,thu,fri --keep-calendar 7d,4w,12m",
    )  # fmt: skip
    add_command(app, commands.modify, "modify", "drystone policy modify nightly --at 3 --keep 14")
    add_command(app, commands.delete, "delete", "drystone policy delete nightly --yes")
    add_command(app, commands.bind, "bind", "drystone policy bind nightly db web")
    add_command(app, commands.unbind, "unbind", "drystone policy unbind nightly web")
    add_command(
        app, commands.simulate, "simulate", "drystone policy simulate nightly --days 30",
        "drystone policy simulate --at 0 --keep-calendar 7d,4w,12m,3y",
    )  # fmt: skip
    add_command(app, commands.runs, "runs", "drystone policy runs nightly --state failed")
    return app


class PolicyCommands(Commands):
    """See `Commands`."""

    def list_(self, *, limit: Limit = LIST_LIMIT, common: ListOptions = NO_LIST_OPTIONS) -> None:
        """List policies, the newest first, with their next time and what came of the last one.

        Args:
            limit: Maximum number of policies to list.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        session.out.records(lookup.matching(session, POLICY, limit=limit), POLICY_COLUMNS)

    def show(self, policy: PolicyName, /, *, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show everything about one policy.

        Args:
            policy: Id, or name if only one policy has it.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        session.out.record(lookup.one(session, POLICY, lookup.id_of(session, POLICY, policy)))

    def create(
        self,
        name: str,
        /,
        *,
        disk: Annotated[tuple[DiskName, ...], Parameter(negative="", show_default=False)] = (),
        group: Flag = False,
        skip_unchanged: Flag = False,
        inactive: Flag = False,
        plan: PlanOptions = NO_PLAN,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Make a policy, and print its id.

        Its snapshots are taken by the server by itself. `drystone policy simulate` shows before what it will do.

        Args:
            name: Name of the policy.
            disk: A disk to bind, by id or name; may be given several times.
            group: Take the disks of one instance together, at one instant.
            skip_unchanged: Take none of a disk to which nothing was written since the last one.
            inactive: Make it switched off.
            plan: When, and for how long.
            common: Options that every command takes.
        """
        if plan.triggers is None:
            raise CliError(Exit.USAGE, "give the hours, as --at 2")
        session = self._outside.session(common)
        disks = lookup.ids_of(session, DISK, disk) if disk else []
        lookup.warn_of_same_name(session, POLICY, name)
        # What cannot be is refused before anything is made.
        _simulated(session, None, plan, days=1)
        made = session.service.cbs(
            f"make policy {name}", "CreateAutoSnapshotPolicy", AutoSnapshotPolicyName=name, Policy=plan.triggers,
            IsActivated=False if inactive else None,
        )  # fmt: skip
        identity = str(made["AutoSnapshotPolicyId"])
        _set_options(session, identity, plan, group=group or None, skip_unchanged=skip_unchanged or None)
        _bind(session, identity, disks)
        session.out.result([identity], lookup.one(session, POLICY, identity))

    def modify(
        self,
        policy: PolicyName,
        /,
        *,
        name: str | None = None,
        active: Annotated[bool | None, Parameter(negative="--inactive", show_default=False)] = None,
        group: Annotated[bool | None, Parameter(negative="--no-group", show_default=False)] = None,
        skip_unchanged: Annotated[bool | None, Parameter(negative="--no-skip-unchanged", show_default=False)] = None,
        plan: PlanOptions = NO_PLAN,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Change a policy, at once. Snapshots that exist keep the deadline that they have.

        Args:
            policy: Id or name.
            name: Another name.
            active: Switch it on or off.
            group: Take the disks of one instance together, at one instant.
            skip_unchanged: Take none of a disk to which nothing was written since the last one.
            plan: When, and for how long.
            common: Options that every command takes.
        """
        options = (plan.zone, plan.retention or None, group, skip_unchanged)
        if (name, active, plan.triggers, *options) == (None,) * 7:
            raise CliError(Exit.USAGE, "nothing to change: see `drystone policy modify --help`")
        session = self._outside.session(common)
        identity = lookup.id_of(session, POLICY, policy)
        _simulated(session, identity, plan, days=1)
        _set_options(session, identity, plan, group=group, skip_unchanged=skip_unchanged)
        if (name, active, plan.triggers) != (None, None, None):
            session.service.cbs(
                f"change policy {identity}", "ModifyAutoSnapshotPolicyAttribute", AutoSnapshotPolicyId=identity,
                AutoSnapshotPolicyName=name, IsActivated=active, Policy=plan.triggers,
            )  # fmt: skip
        session.out.result([identity], lookup.one(session, POLICY, identity))

    def delete(self, *policy: PolicyName, yes: Yes = False, common: CommonOptions = NO_OPTIONS) -> None:
        """Delete policies. Their snapshots stay, with the deadlines that they have.

        Args:
            policy: Ids or names.
            yes: Do not ask.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        ids = lookup.ids_of(session, POLICY, policy)
        session.out.confirm(f"This deletes {lookup.named(ids)}: no more snapshots are taken by them.", yes=yes)
        session.service.cbs(f"delete {lookup.named(ids)}", "DeleteAutoSnapshotPolicies", AutoSnapshotPolicyIds=ids)
        session.out.result(ids, {"deleted_policy_ids": ids})

    def bind(self, policy: PolicyName, /, *disk: DiskName, common: CommonOptions = NO_OPTIONS) -> None:
        """Bind disks to a policy.

        Args:
            policy: Id or name.
            disk: Ids or names.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity, disks = lookup.id_of(session, POLICY, policy), lookup.ids_of(session, DISK, disk)
        _bind(session, identity, disks)
        session.out.result([identity], lookup.one(session, POLICY, identity))

    def unbind(self, policy: PolicyName, /, *disk: DiskName, common: CommonOptions = NO_OPTIONS) -> None:
        """Take disks from a policy; their snapshots stay.

        Args:
            policy: Id or name.
            disk: Ids or names.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity, disks = lookup.id_of(session, POLICY, policy), lookup.ids_of(session, DISK, disk)
        session.service.cbs(
            f"take {lookup.named(disks)} from {identity}", "UnbindAutoSnapshotPolicy",
            AutoSnapshotPolicyId=identity, DiskIds=disks,
        )  # fmt: skip
        session.out.result([identity], lookup.one(session, POLICY, identity))

    def simulate(
        self,
        policy: PolicyName | None = None,
        /,
        *,
        days: Annotated[int, Parameter(validator=Number(gte=1))] = 365,
        plan: PlanOptions = NO_PLAN,
        common: ListOptions = NO_LIST_OPTIONS,
    ) -> None:
        """Show what a policy will do, day by day, if every run succeeds; nothing is changed.

        It is one that there is, with what else is given in place of its own, or one that is only described.

        Args:
            policy: Id or name.
            days: How many days from now on.
            plan: When, and for how long.
            common: Options that every list takes.
        """
        if policy is None and plan.triggers is None:
            raise CliError(Exit.USAGE, "give a policy, or the hours of one, as --at 2")
        session = self._outside.session(common)
        identity = None if policy is None else lookup.id_of(session, POLICY, policy)
        answer = _simulated(session, identity, plan, days=days)
        session.out.records([simulated_record(day) for day in answer["SimulatedPolicyDaySet"]], SIMULATED_COLUMNS)
        session.out.say(
            f"{len(answer['KeptTimes'])} snapshots of each disk at the end; days are of {answer['TimeZone']}"
        )

    def runs(
        self,
        policy: PolicyName | None = None,
        /,
        *,
        disk: DiskName | None = None,
        state: str | None = None,
        limit: Limit = 1000,
        common: ListOptions = NO_LIST_OPTIONS,
    ) -> None:
        """List what came of policies' times, the newest first.

        Args:
            policy: Only those of this policy, by id or name.
            disk: Only those of this disk.
            state: Only those in this state: waiting, running, done, skipped, failed.
            limit: Maximum number of runs to list.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        wanted = lookup.filters(
            policy_id=None if policy is None else lookup.id_of(session, POLICY, policy),
            disk_id=None if disk is None else lookup.id_of(session, DISK, disk), state=state,
        )  # fmt: skip
        rows = session.service.drystone_rows(
            "list runs", "DescribePolicyRuns", "PolicyRunSet", "PolicyId SlotTime DiskId", limit=limit, Filters=wanted
        )
        session.out.records([run_record(row) for row in rows], RUN_COLUMNS)


def _bind(session: Session, policy: str, disks: list[str]) -> None:
    for first in range(0, len(disks), given.BOUND_AT_ONCE):
        some = disks[first : first + given.BOUND_AT_ONCE]
        session.service.cbs(
            f"bind {lookup.named(some)} to {policy}", "BindAutoSnapshotPolicy", AutoSnapshotPolicyId=policy,
            DiskIds=some,
        )  # fmt: skip


def _set_options(session: Session, policy: str, plan: Plan, *, group: bool | None, skip_unchanged: bool | None) -> None:
    asked = {"TimeZone": plan.zone, "Group": group, "SkipUnchanged": skip_unchanged, **plan.retention}
    found = {name: value for name, value in asked.items() if value is not None}
    if found:
        session.service.drystone(f"set options of {policy}", "SetPolicyOptions", PolicyId=policy, **found)


def _simulated(session: Session, policy: str | None, plan: Plan, *, days: int) -> Wire:
    return session.service.drystone(
        "simulate the policy", "DescribePolicySimulation", PolicyId=policy, Policy=plan.triggers,
        TimeZone=plan.zone, Days=days, **plan.retention,
    )  # fmt: skip

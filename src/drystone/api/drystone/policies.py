"""Snapshot policies: what CBS has no action for, what came of them, and what they will do."""

from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import OneOf, iso_time, iso_time_if
from drystone.api.cbs.policies import (
    AdvancedRetentionPolicy,
    Policies,
    PolicyTrigger,
    spread_fields,
    trigger_fields,
    triggers,
)
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Filters, Id, Ids, Parameters, Unsigned, Word, conditions
from drystone.domain.policy import Retention, Run, RunReason, RunState, Spread
from drystone.service import views
from drystone.service.caller import Caller
from drystone.service.requests import PolicyOptions, PolicyQuery, RunQuery, SimulationQuery


class AdvancedRetention(Parameters, frozen=True, kw_only=True):
    """Keep the newest of each of the last days, weeks, months and years that have a snapshot."""

    days: Unsigned | None = None
    weeks: Unsigned | None = None
    months: Unsigned | None = None
    years: Unsigned | None = None

    @property
    def spread(self) -> Spread:
        """What the service takes for it."""
        return Spread(days=self.days or 0, weeks=self.weeks or 0, months=self.months or 0, years=self.years or 0)


class _Kept(Action, frozen=True, kw_only=True):
    """How long snapshots are kept: one of these at most."""

    retention_days: Unsigned | None = None
    retention_months: Unsigned | None = None
    retention_amount: Unsigned | None = None
    advanced_retention_policy: AdvancedRetention | None = None
    is_permanent: bool | None = None

    @property
    def retention(self) -> Retention | None:
        """What is asked for; the service says whether that can be."""
        advanced = self.advanced_retention_policy
        retention = Retention(
            days=self.retention_days, months=self.retention_months, amount=self.retention_amount,
            spread=None if advanced is None else advanced.spread, permanent=self.is_permanent or False,
        )  # fmt: skip
        return None if retention == Retention() else retention


@DRYSTONE.change
class SetPolicyOptions(_Kept, frozen=True, kw_only=True):
    """Set what CBS shows of a policy and cannot set, and what is Drystone's own."""

    policy_id: Id
    time_zone: Word | None = None
    group: bool | None = None
    skip_unchanged: bool | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        options = PolicyOptions(
            policy_id=self.policy_id,
            zone=self.time_zone,
            retention=self.retention,
            group=self.group,
            skip_unchanged=self.skip_unchanged,
        )
        await on.calls.policies.set_options(caller, options)


class PolicyRun(TypedDict):
    """What became of a disk at a time that its policy names."""

    PolicyId: str
    SlotTime: str  # when it was scheduled
    DiskId: str
    State: Annotated[str, OneOf(tuple(RunState))]
    Reason: Annotated[str, OneOf(tuple(RunReason))] | None
    Detail: str  # the sentence of the last refusal or failure
    LateSeconds: int  # how long after its time it was noticed
    Missed: int  # times before it that passed while nobody ran them
    Attempts: int
    SnapshotId: str | None  # its own, or the one that answers for it
    EndedTime: str | None


class PolicyDetail(TypedDict):
    """A policy, with what CBS does not show of it."""

    PolicyId: str
    PolicyName: str
    Active: bool
    TimeZone: str
    Triggers: list[PolicyTrigger]
    IsPermanent: bool
    RetentionDays: int | None
    RetentionMonths: int | None
    RetentionAmount: int | None
    AdvancedRetentionPolicy: AdvancedRetentionPolicy | None
    Group: bool
    SkipUnchanged: bool
    CopiedFrom: str | None
    DiskIds: list[str]
    NextTimes: list[str]
    LastRuns: list[PolicyRun]  # of the last time that was due
    CreateTime: str
    ModifyTime: str


class _Details(TypedDict):
    TotalCount: int
    PolicyDetailSet: list[PolicyDetail]


@DRYSTONE.read
class DescribePolicyDetails(Paged, frozen=True, kw_only=True):
    """List policies; filters as DescribeAutoSnapshotPolicies has them."""

    policy_ids: Ids | None = None
    filters: Filters | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Details:
        offset, limit = self.page
        query = PolicyQuery(
            policy_ids=self.policy_ids or (), filters=conditions(self.filters), offset=offset, limit=limit
        )
        page = await on.calls.policies.describe(caller, query)
        return {"TotalCount": page.total, "PolicyDetailSet": [_detail(view) for view in page.items]}


class _Runs(TypedDict):
    TotalCount: int
    PolicyRunSet: list[PolicyRun]


@DRYSTONE.read
class DescribePolicyRuns(Paged, frozen=True, kw_only=True):
    """List runs, the newest first; filters are policy-id, disk-id and state."""

    filters: Filters | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Runs:
        offset, limit = self.page
        query = RunQuery(filters=conditions(self.filters), offset=offset, limit=limit)
        page = await on.calls.policies.runs(caller, query)
        return {"TotalCount": page.total, "PolicyRunSet": [_run(run) for run in page.items]}


class SimulatedPolicyDay(TypedDict):
    """One day of the policy's zone, of one disk, if every run succeeds."""

    Date: str
    RunTimes: list[str]
    GoneTimes: list[str]  # times whose snapshots went by its end
    Kept: int  # how many there are at its end


class _Simulation(TypedDict):
    TimeZone: str
    SimulatedPolicyDaySet: list[SimulatedPolicyDay]
    KeptTimes: list[str]  # times whose snapshots are there at the end


@DRYSTONE.read
class DescribePolicySimulation(_Kept, frozen=True, kw_only=True):
    """Tell what a policy will do: of one that there is, with other values where given, or of one that is not made."""

    policy_id: Id | None = None
    policy: Policies | None = None
    time_zone: Word | None = None
    days: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Simulation:
        query = SimulationQuery(
            policy_id=self.policy_id or None,
            triggers=None if self.policy is None else triggers(self.policy),
            zone=self.time_zone,
            retention=self.retention,
            days=self.days,
        )
        simulation = await on.calls.policies.simulate(caller, query)
        return {
            "TimeZone": simulation.zone,
            "SimulatedPolicyDaySet": [
                {
                    "Date": one.day.isoformat(),
                    "RunTimes": [iso_time(slot) for slot in one.runs],
                    "GoneTimes": [iso_time(slot) for slot in one.gone],
                    "Kept": one.kept,
                }
                for one in simulation.days
            ],
            "KeptTimes": [iso_time(slot) for slot in simulation.kept],
        }


def _detail(view: views.PolicyView) -> PolicyDetail:
    policy, kept = view.policy, view.policy.retention
    return {
        "PolicyId": policy.id,
        "PolicyName": policy.name,
        "Active": policy.active,
        "TimeZone": policy.zone,
        "Triggers": [trigger_fields(one) for one in policy.triggers],
        "IsPermanent": kept.permanent,
        "RetentionDays": kept.days,
        "RetentionMonths": kept.months,
        "RetentionAmount": kept.amount,
        "AdvancedRetentionPolicy": spread_fields(kept.spread),
        "Group": policy.group,
        "SkipUnchanged": policy.skip_unchanged,
        "CopiedFrom": policy.copied_from,
        "DiskIds": [*view.disk_ids],
        "NextTimes": [iso_time(slot) for slot in view.next_slots],
        "LastRuns": [_run(run) for run in view.runs],
        "CreateTime": iso_time(policy.created_at),
        "ModifyTime": iso_time(policy.modified_at),
    }


def _run(run: Run) -> PolicyRun:
    return {
        "PolicyId": run.policy_id,
        "SlotTime": iso_time(run.slot),
        "DiskId": run.disk_id,
        "State": run.state.value,
        "Reason": None if run.reason is None else run.reason.value,
        "Detail": run.detail,
        "LateSeconds": round(run.late_by_s),
        "Missed": run.missed,
        "Attempts": run.attempts,
        "SnapshotId": run.snapshot_id,
        "EndedTime": iso_time_if(run.ended_at),
    }

"""Snapshot policies of CBS."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import Tag, tags
from drystone.api.cbs.service import CBS
from drystone.api.parameters import MANY, Filters, Id, Ids, Numbers, Parameters, Text, Unsigned, Word, conditions
from drystone.domain import policy as domain
from drystone.service import views
from drystone.service.caller import Caller
from drystone.service.requests import NewPolicy, PolicyChanges, PolicyQuery


class Policy(Parameters, frozen=True, kw_only=True):
    """Hours of certain days; of several ways to name days the first counts."""

    hour: Numbers
    day_of_week: Numbers | None = None
    day_of_month: Numbers | None = None
    interval_days: Unsigned | None = None


Policies = Annotated[tuple[Policy, ...], MANY]


def triggers(given: Sequence[Policy]) -> tuple[domain.Trigger, ...]:
    """Return what the service takes for it."""
    return tuple(
        domain.trigger(
            hours=one.hour, days_of_week=one.day_of_week or (), days_of_month=one.day_of_month or (),
            interval_days=one.interval_days,
        )
        for one in given
    )  # fmt: skip


class _Created(TypedDict):
    AutoSnapshotPolicyId: str  # empty if nothing was made
    NextTriggerTime: str


@CBS.change
class CreateAutoSnapshotPolicy(Action, frozen=True, kw_only=True):
    """Make a policy, or only tell when it would be due first (DryRun)."""

    policy: Policies
    dry_run: bool | None = None
    is_activated: bool | None = None
    auto_snapshot_policy_name: Text | None = None
    is_permanent: bool | None = None
    retention_days: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Created:
        new = NewPolicy(
            triggers=triggers(self.policy),
            name=self.auto_snapshot_policy_name,
            active=self.is_activated is not False,
            permanent=self.is_permanent,
            retention_days=self.retention_days,
            dry_run=self.dry_run or False,
        )
        policy_id, first = await on.calls.policies.create(caller, new)
        return {"AutoSnapshotPolicyId": policy_id or "", "NextTriggerTime": on.local_time(first)}


@CBS.change
class ModifyAutoSnapshotPolicyAttribute(Action, frozen=True, kw_only=True):
    """Change a policy."""

    auto_snapshot_policy_id: Id
    is_activated: bool | None = None
    is_permanent: bool | None = None
    auto_snapshot_policy_name: Text | None = None
    policy: Policies | None = None
    retention_days: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        changes = PolicyChanges(
            policy_id=self.auto_snapshot_policy_id,
            triggers=None if self.policy is None else triggers(self.policy),
            name=self.auto_snapshot_policy_name,
            active=self.is_activated,
            permanent=self.is_permanent,
            retention_days=self.retention_days,
        )
        await on.calls.policies.modify(caller, changes)


@CBS.change
class DeleteAutoSnapshotPolicies(Action, frozen=True, kw_only=True):
    """Delete policies; what they had taken stays."""

    auto_snapshot_policy_ids: Ids

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.policies.delete(caller, self.auto_snapshot_policy_ids)


@CBS.change
class BindAutoSnapshotPolicy(Action, frozen=True, kw_only=True):
    """Bind disks to a policy."""

    auto_snapshot_policy_id: Id
    disk_ids: Ids | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.policies.bind(caller, self.auto_snapshot_policy_id, self.disk_ids or ())


@CBS.change
class UnbindAutoSnapshotPolicy(Action, frozen=True, kw_only=True):
    """Take disks from a policy."""

    auto_snapshot_policy_id: Id
    disk_ids: Ids | None = None
    instance_ids: Ids | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.policies.unbind(
            caller, self.auto_snapshot_policy_id, self.disk_ids or (), self.instance_ids or ()
        )


class PolicyTrigger(TypedDict):
    """Hours of certain days, as they were sent; the lists that were not, are empty."""

    Hour: list[int]
    DayOfWeek: list[int]
    DayOfMonth: list[int]
    IntervalDays: int


class AdvancedRetentionPolicy(TypedDict):
    """The newest of each of so many periods is kept."""

    Days: int
    Weeks: int
    Months: int
    Years: int


class AutoSnapshotPolicy(TypedDict):
    """A policy."""

    DiskIdSet: list[str]
    IsActivated: bool
    AutoSnapshotPolicyState: str
    IsCopyToRemote: int
    IsPermanent: bool
    NextTriggerTime: str  # empty while it is switched off
    AutoSnapshotPolicyName: str
    AutoSnapshotPolicyId: str
    Policy: list[PolicyTrigger]
    CreateTime: str
    RetentionDays: int
    CopyToAccountUin: str | None
    InstanceIdSet: list[str]
    RetentionMonths: int
    RetentionAmount: int
    AdvancedRetentionPolicy: AdvancedRetentionPolicy | None
    CopyFromAccountUin: str | None
    Tags: list[Tag]


class _Policies(TypedDict):
    TotalCount: int
    AutoSnapshotPolicySet: list[AutoSnapshotPolicy]


@CBS.read
class DescribeAutoSnapshotPolicies(Paged, frozen=True, kw_only=True):
    """List policies."""

    auto_snapshot_policy_ids: Ids | None = None
    filters: Filters | None = None
    order: Word | None = None
    order_field: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Policies:
        offset, limit = self.page
        query = PolicyQuery(
            policy_ids=self.auto_snapshot_policy_ids or (),
            filters=conditions(self.filters),
            order=self.order,
            order_field=self.order_field,
            offset=offset,
            limit=limit,
        )
        page = await on.calls.policies.describe(caller, query)
        return {"TotalCount": page.total, "AutoSnapshotPolicySet": [_policy(view, on) for view in page.items]}


@CBS.read
class DescribeDiskAssociatedAutoSnapshotPolicy(Action, frozen=True, kw_only=True):
    """List the policies of a disk; as documented, without their disks."""

    disk_id: Id

    async def __call__(self, on: Context, caller: Caller) -> _Policies:
        page = await on.calls.policies.of_disk(caller, self.disk_id)
        found: list[AutoSnapshotPolicy] = [{**_policy(view, on), "DiskIdSet": []} for view in page.items]
        return {"TotalCount": page.total, "AutoSnapshotPolicySet": found}


class _Copied(TypedDict):
    AutoSnapshotPolicyIds: list[str] | None
    TargetAccountUin: str


@CBS.change
class CopyAutoSnapshotPolicyCrossAccount(Action, frozen=True, kw_only=True):
    """Give another account policies like these."""

    auto_snapshot_policy_ids: Ids
    target_account_uin: Id

    async def __call__(self, on: Context, caller: Caller) -> _Copied:
        made = await on.calls.policies.copy(caller, self.auto_snapshot_policy_ids, self.target_account_uin)
        return {"AutoSnapshotPolicyIds": [*made], "TargetAccountUin": self.target_account_uin}


def trigger_fields(one: domain.Trigger) -> PolicyTrigger:
    """Return a `Policy` of the API."""
    return {
        "Hour": [*one.hours],
        "DayOfWeek": [*one.days_of_week],
        "DayOfMonth": [*one.days_of_month],
        "IntervalDays": one.interval_days or 0,
    }


def spread_fields(spread: domain.Spread | None) -> AdvancedRetentionPolicy | None:
    """Return an `AdvancedRetentionPolicy`."""
    if spread is None:
        return None
    return {"Days": spread.days, "Weeks": spread.weeks, "Months": spread.months, "Years": spread.years}


def _policy(view: views.PolicyView, on: Context) -> AutoSnapshotPolicy:
    policy, kept = view.policy, view.policy.retention
    return {
        "DiskIdSet": [*view.disk_ids],
        "IsActivated": policy.active,
        "AutoSnapshotPolicyState": "NORMAL",
        "IsCopyToRemote": 0,
        "IsPermanent": kept.permanent,
        "NextTriggerTime": on.local_time(view.next_slots[0]) if view.next_slots else "",
        "AutoSnapshotPolicyName": policy.name,
        "AutoSnapshotPolicyId": policy.id,
        "Policy": [trigger_fields(one) for one in policy.triggers],
        "CreateTime": on.local_time(policy.created_at),
        "RetentionDays": kept.days or 0,
        "CopyToAccountUin": None,
        "InstanceIdSet": [],
        "RetentionMonths": kept.months or 0,
        "RetentionAmount": kept.amount or 0,
        "AdvancedRetentionPolicy": spread_fields(kept.spread),
        "CopyFromAccountUin": policy.copied_from,
        "Tags": tags(policy.tags),
    }

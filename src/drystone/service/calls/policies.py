"""Snapshot policies: made, shown, changed, bound to disks, tried out."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from sqlalchemy import Connection

from drystone.catalog import accounts, policies, policy_runs
from drystone.catalog.policies import PolicySelection
from drystone.catalog.policy_runs import RunSelection
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, DiskId, PolicyId
from drystone.domain.policy import (
    DISKS_PER_CALL_MAX,
    POLICIES_MAX,
    RETENTION_DAYS_DEFAULT,
    Policy,
    Retention,
    Run,
    RunState,
    Trigger,
    changed,
    checked,
)
from drystone.domain.schedule import next_trigger, slots
from drystone.domain.simulation import SIMULATED_DAYS_MAX, kept_after, simulate
from drystone.service.caller import Caller
from drystone.service.calls.attributes import NAME_MAX, plain_name
from drystone.service.calls.disk_records import check_not_in_bin, owned_disk
from drystone.service.calls.filters import check_filters, members, page
from drystone.service.requests import NewPolicy, PolicyChanges, PolicyOptions, PolicyQuery, RunQuery, SimulationQuery
from drystone.service.rows.bindings import bind_disks, owned_policy
from drystone.service.rows.quotas import check_per_call
from drystone.service.transactions import Change, Transactions
from drystone.service.views import Page, PolicyView, SimulationView

POLICIES_PER_CALL_MAX = 100
SIMULATED_DAYS = 365
NEXT_SHOWN = 5
"""Slots that lie ahead, of each policy."""
_FILTERS = frozenset({"auto-snapshot-policy-id", "auto-snapshot-policy-state", "auto-snapshot-policy-name"})
_STATES = frozenset({"NORMAL", "ISOLATED"})
"""The documented states; nothing here is ever isolated."""
_RUN_FILTERS = frozenset({"policy-id", "disk-id", "state"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The calls on snapshot policies; what they do to disks is done by a round (`service/upkeep/schedules.py`)."""

    transactions: Transactions
    zone: str
    """Of the hours of policies that name no zone of their own."""

    # --- make and change ----------------------------------------------------------------------------------------------

    async def create(self, caller: Caller, new: NewPolicy) -> tuple[PolicyId | None, int | None]:
        """Make a policy, or only look at what it would be; return its id and when it is due first.

        Raises:
            RefusalError: With CreateAutoSnapshotPolicy's documented codes; nothing was made.
        """

        def record(change: Change) -> tuple[PolicyId | None, int | None]:
            policy = checked(
                Policy(
                    id=change.ids.policy(), account_id=caller.account_id, name=_name(new.name), zone=self.zone,
                    triggers=new.triggers, active=new.active,
                    retention=_retention(new.retention_days, new.permanent) or Retention(days=RETENTION_DAYS_DEFAULT),
                    created_at=change.at, modified_at=change.at, anchored_at=change.steady,
                )
            )  # fmt: skip
            first = next_trigger(replace(policy, active=True), change.steady)
            if new.dry_run:
                return None, first
            _check_room(change.conn, caller.account_id, 1)
            policies.insert(change.conn, policy, cursor=change.steady)
            return policy.id, first

        return await self.transactions.change(record)

    async def modify(self, caller: Caller, changes: PolicyChanges) -> None:
        """Change a policy, at once; snapshots that exist keep the deadline that they have (S305).

        Raises:
            RefusalError: With ModifyAutoSnapshotPolicyAttribute's documented codes; nothing was changed.
        """
        if changes == PolicyChanges(policy_id=changes.policy_id):
            raise RefusalError(Refusal.MISSING, "No attribute to change is given.")
        retention = _retention(changes.retention_days, changes.permanent)

        def change_it(policy: Policy) -> Policy:
            kept = retention or policy.retention
            if changes.permanent is False and retention is None and policy.retention.permanent:
                kept = Retention(days=RETENTION_DAYS_DEFAULT)
            return replace(
                policy, retention=kept, name=policy.name if changes.name is None else _name(changes.name),
                active=policy.active if changes.active is None else changes.active,
            )  # fmt: skip

        await self._change(caller, changes.policy_id, change_it, triggers=changes.triggers)

    async def set_options(self, caller: Caller, options: PolicyOptions) -> None:
        """Change what a policy of CBS has, and no action of CBS sets, and what is Drystone's own.

        Raises:
            RefusalError: `NO_SUCH_POLICY`, `MISSING` or `BAD_VALUE`; nothing was changed.
        """
        if options == PolicyOptions(policy_id=options.policy_id):
            raise RefusalError(Refusal.MISSING, "No option is given.")

        def change_it(policy: Policy) -> Policy:
            return replace(
                policy, retention=options.retention or policy.retention,
                group=policy.group if options.group is None else options.group,
                skip_unchanged=policy.skip_unchanged if options.skip_unchanged is None else options.skip_unchanged,
            )  # fmt: skip

        await self._change(caller, options.policy_id, change_it, zone=options.zone)

    async def _change(
        self,
        caller: Caller,
        policy_id: str,
        change_it: Callable[[Policy], Policy],
        *,
        triggers: tuple[Trigger, ...] | None = None,
        zone: str | None = None,
    ) -> None:
        def record(change: Change) -> None:
            policy = owned_policy(change.conn, caller.account_id, policy_id)
            after = changed(change_it(policy), triggers=triggers, zone=zone, now=change.steady)
            if after == policy:
                return
            values = {
                "name": after.name, "zone": after.zone, "triggers": after.triggers, "retention": after.retention,
                "active": after.active, "group": after.group, "skip_unchanged": after.skip_unchanged,
                "anchored_at": after.anchored_at, "modified_at": change.at,
            }  # fmt: skip
            assert policies.compare_and_set(change.conn, policy.id, expected={}, values=values)
            if after.active and not policy.active:
                # What would have been due while it was off was not missed.
                policies.set_cursor(change.conn, policy.id, change.steady)

        await self.transactions.change(record)

    async def delete(self, caller: Caller, policy_ids: Sequence[str]) -> None:
        """Delete policies, all or none; snapshots stay as they are, and so does what is known of their runs.

        Raises:
            RefusalError: With DeleteAutoSnapshotPolicies' documented codes; nothing was changed.
        """
        check_per_call("AutoSnapshotPolicyIds", len(policy_ids), POLICIES_PER_CALL_MAX)

        def record(change: Change) -> None:
            found = [owned_policy(change.conn, caller.account_id, one) for one in dict.fromkeys(policy_ids)]
            for policy in found:
                policies.remove(change.conn, policy.id)

        await self.transactions.change(record)

    async def copy(self, caller: Caller, policy_ids: Sequence[str], target: str) -> tuple[PolicyId, ...]:
        """Give another account policies like these, without disks; return the new ones' ids.

        Raises:
            RefusalError: With CopyAutoSnapshotPolicyCrossAccount's documented codes; nothing was made.
        """
        caller.require_admin()
        check_per_call("AutoSnapshotPolicyIds", len(policy_ids), POLICIES_PER_CALL_MAX)

        def record(change: Change) -> tuple[PolicyId, ...]:
            found = [owned_policy(change.conn, caller.account_id, one) for one in dict.fromkeys(policy_ids)]
            account = accounts.get(change.conn, AccountId(target))
            if account is None or account.id == caller.account_id:
                raise RefusalError(Refusal.BAD_VALUE, f"TargetAccountUin {target[:60]} is no other account here.")
            _check_room(change.conn, account.id, len(found))
            made = tuple(
                replace(
                    policy, id=change.ids.policy(), account_id=account.id, copied_from=caller.account_id,
                    created_at=change.at, modified_at=change.at, anchored_at=change.steady,
                )
                for policy in found
            )  # fmt: skip
            for policy in made:
                policies.insert(change.conn, policy, cursor=change.steady)
            return tuple(policy.id for policy in made)

        return await self.transactions.change(record)

    # --- disks --------------------------------------------------------------------------------------------------------

    async def bind(self, caller: Caller, policy_id: str, disk_ids: Sequence[str]) -> None:
        """Bind disks to a policy, all or none.

        Raises:
            RefusalError: With BindAutoSnapshotPolicy's documented codes; nothing was changed.
        """
        check_per_call("DiskIds", len(disk_ids), DISKS_PER_CALL_MAX)

        def record(change: Change) -> None:
            policy = owned_policy(change.conn, caller.account_id, policy_id)
            found = [owned_disk(change.conn, caller.account_id, disk_id) for disk_id in dict.fromkeys(disk_ids)]
            for disk in found:
                check_not_in_bin(disk)
            bind_disks(change, policy, [disk.id for disk in found])

        await self.transactions.change(record)

    async def unbind(
        self, caller: Caller, policy_id: str, disk_ids: Sequence[str], instance_ids: Sequence[str]
    ) -> None:
        """Take disks from a policy; what is not bound is passed over, and so are instances: none is ever bound.

        Raises:
            RefusalError: With UnbindAutoSnapshotPolicy's documented codes; nothing was changed.
        """
        check_per_call("DiskIds or InstanceIds", len(disk_ids) + len(instance_ids), POLICIES_PER_CALL_MAX)

        def record(change: Change) -> None:
            policy = owned_policy(change.conn, caller.account_id, policy_id)
            policies.unbind(change.conn, policy.id, disk_ids)

        await self.transactions.change(record)

    # --- describe -----------------------------------------------------------------------------------------------------

    async def describe(self, caller: Caller, query: PolicyQuery) -> Page[PolicyView]:
        """Return the policies that match, newest first unless asked otherwise; unknown ids only make fewer of them.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        selection = _selection(caller, query)
        now = self.transactions.steady()

        def look(conn: Connection) -> Page[PolicyView]:
            found, total = policies.find(conn, selection)
            return Page(items=_views(conn, found, now), total=total)

        return await self.transactions.read(look)

    async def of_disk(self, caller: Caller, disk_id: str) -> Page[PolicyView]:
        """Return the policies that a disk is bound to; none of a disk that is not there."""
        now = self.transactions.steady()

        def look(conn: Connection) -> Page[PolicyView]:
            found = policies.get_many(conn, policies.of_disks(conn, [disk_id])[DiskId(disk_id)])
            mine = [policy for policy in found.values() if policy.account_id == caller.account_id]
            return Page(items=_views(conn, mine, now), total=len(mine))

        return await self.transactions.read(look)

    async def runs(self, caller: Caller, query: RunQuery) -> Page[Run]:
        """Return the runs that match, the newest slot first.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        check_filters(_RUN_FILTERS, (), query.filters)
        offset, limit = page(query.offset, query.limit)
        selection = RunSelection(account_id=caller.account_id, offset=offset, limit=limit)
        for name, values in query.filters:
            if name == "policy-id":
                selection = replace(selection, policies=(*selection.policies, values))
            elif name == "disk-id":
                selection = replace(selection, disks=(*selection.disks, values))
            else:
                states = tuple(RunState(one) for one in members(name, values, tuple(RunState)))
                selection = replace(selection, states=(*selection.states, states))

        def look(conn: Connection) -> Page[Run]:
            found, total = policy_runs.find(conn, selection)
            return Page(items=tuple(found), total=total)

        return await self.transactions.read_in_turn(caller.account_id, look)

    async def simulate(self, caller: Caller, query: SimulationQuery) -> SimulationView:
        """Return what a policy will do from now on: one that there is, with what is given in its place, or a new one.

        Raises:
            RefusalError: `NO_SUCH_POLICY`, `MISSING` or `BAD_VALUE`.
        """
        days, now = SIMULATED_DAYS if query.days is None else query.days, self.transactions.steady()
        if not 1 <= days <= SIMULATED_DAYS_MAX:
            raise RefusalError(Refusal.BAD_VALUE, f"Days is {days}; 1 to {SIMULATED_DAYS_MAX} are allowed.")

        def policy_of(conn: Connection) -> Policy:
            if query.policy_id is not None:
                return owned_policy(conn, caller.account_id, query.policy_id)
            return Policy(
                id=PolicyId(""), account_id=caller.account_id, zone=self.zone, triggers=query.triggers or (),
                created_at=now, modified_at=now, anchored_at=now,
            )  # fmt: skip

        policy = await self.transactions.read(policy_of)
        policy = replace(policy, retention=query.retention or policy.retention)
        policy = changed(policy, triggers=query.triggers, zone=query.zone, now=now)
        found = await asyncio.to_thread(simulate, policy, now, days)
        return SimulationView(zone=policy.zone, days=found, kept=kept_after(found, days))


def _views(conn: Connection, found: Sequence[Policy], now: float) -> tuple[PolicyView, ...]:
    ids = [policy.id for policy in found]
    bound, newest = policies.disks_of(conn, ids), policy_runs.newest(conn, ids)
    return tuple(
        PolicyView(
            policy=policy, disk_ids=tuple(bound[policy.id]), runs=tuple(newest[policy.id]),
            next_slots=tuple(islice(slots(policy, now), NEXT_SHOWN)) if policy.active else (),
        )
        for policy in found
    )  # fmt: skip


def _selection(caller: Caller, query: PolicyQuery) -> PolicySelection:
    check_filters(_FILTERS, query.policy_ids, query.filters)
    offset, limit = page(query.offset, query.limit)
    for name, value, allowed in (
        ("OrderField", query.order_field, ("CREATE_TIME",)), ("Order", query.order, ("ASC", "DESC"))
    ):  # fmt: skip
        if value is not None and value not in allowed:
            raise RefusalError(Refusal.BAD_VALUE, f"{name} is `{value[:60]}`; allowed are {', '.join(allowed)}.")
    selection = PolicySelection(
        account_id=caller.account_id, ids=(query.policy_ids,) if query.policy_ids else (),
        ascending=query.order == "ASC", offset=offset, limit=limit,
    )  # fmt: skip
    for name, values in query.filters:
        if name == "auto-snapshot-policy-id":
            selection = replace(selection, ids=(*selection.ids, values))
        elif name == "auto-snapshot-policy-name":
            selection = replace(selection, names=(*selection.names, values))
        elif "NORMAL" not in members(name, values, _STATES):
            selection = replace(selection, ids=((),))
    return selection


def _retention(days: int | None, permanent: bool | None) -> Retention | None:  # noqa: FBT001 - parameters of the API
    if days is not None and permanent:
        raise RefusalError(Refusal.BAD_VALUE, "RetentionDays is given and IsPermanent is true; give one of them.")
    if permanent:
        return Retention(permanent=True)
    return None if days is None else Retention(days=days)


def _name(text: str | None) -> str:
    name = plain_name(text, "AutoSnapshotPolicyName")
    if len(name.encode()) > NAME_MAX:
        raise RefusalError(
            Refusal.BAD_VALUE, f"AutoSnapshotPolicyName has {len(name.encode())} bytes; {NAME_MAX} are allowed."
        )
    return name


def _check_room(conn: Connection, account_id: AccountId, adding: int) -> None:
    there = policies.count(conn, account_id)
    if there + adding > POLICIES_MAX:
        raise RefusalError(
            Refusal.POLICY_QUOTA, f"The account has {there} snapshot policies; at most {POLICIES_MAX} are allowed."
        )

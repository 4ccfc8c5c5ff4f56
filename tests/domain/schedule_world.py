"""A server with policies, disks and a clock, from a seed, over the pure functions of schedules and retention.

Rows survive; everything else is lost when the server is killed, which may happen after any transaction. The truth is
kept beside: what each disk holds, what was going on, and which slots there are by the slow reference.
"""

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from drystone.domain import runs
from drystone.domain.clock import TOLERANCE_S
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal
from drystone.domain.expiry import Tally
from drystone.domain.ids import AccountId, DiskId, PolicyId, SnapshotId
from drystone.domain.policy import Policy, Run, RunReason, RunState
from drystone.domain.retention import PolicySnapshot, deadline_of
from drystone.domain.schedule import Due
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.tracking import TrackingState
from drystone.domain.zones import zone_or_utc
from tests.domain.schedule_cases import DAY_S, HOUR_S
from tests.domain.schedule_parts import Drive, Key, KilledError, Rules, Shot, ViolationError
from tests.domain.schedule_reference import kept, walked

ANSWERED = {RunReason.UNCHANGED, RunReason.NOT_IN_USE}
PERCENT_PER_HOUR = 10
HALF_S = 1800
"""The clocks of its zones are half an hour apart at least, and are changed at whole halves."""


class World:
    """The rows, the truth, and the loop."""

    def __init__(
        self, rng: random.Random, rules: Rules, policies: Iterable[Policy], start: int, days: int, *, calm: bool
    ) -> None:
        self.rng, self.rules, self.calm = rng, rules, calm
        self.start, self.stop = start, start + days * DAY_S
        self.t: float = start
        self.skew = 0.0
        self.on = True
        self.policies: dict[PolicyId, Policy] = {}
        self.cursors: dict[PolicyId, float] = {}
        self.bound: dict[PolicyId, dict[DiskId, float]] = {}
        """Since when, by the true clock."""
        self.drives: dict[DiskId, Drive] = {}
        self.rows: dict[Key, Run] = {}
        self.open: dict[PolicyId, dict[Key, Run]] = {}
        self.busy: dict[tuple[PolicyId, DiskId], Key] = {}
        """Which run of each policy is under way on each disk."""
        self.creating: dict[DiskId, Drive] = {}
        self.running: dict[SnapshotId, Key] = {}
        self.made: dict[PolicyId, dict[SnapshotId, Drive]] = {}
        self.answers: dict[SnapshotId, int] = {}
        self.tally = Tally(began_at=start, expired=0)
        self.count = 0
        self.quota = 10_000
        self.upload_h = 0.5
        self.failing = 0.0
        self.kills = 0.002
        self.leapt = 0
        self.retains = 0.05
        """Part of the rounds in which retention is looked at, beside the end of each day."""
        self.coarse_s = 1.0
        """The server notices within this time that an upload has ended, or that a run is to be tried again."""
        # The truth.
        self.slots: dict[PolicyId, list[int]] = {}
        self.ticks: list[float] = []
        """When the server looks because of a slot, the next one last."""
        self.opened_at: dict[Key, float] = {}
        self.trouble = float(start)
        """When something last kept the server or its clock from working."""
        self.meddled: dict[PolicyId, float] = {}
        """When somebody last changed a policy."""
        self.looked: dict[PolicyId, float] = {}
        self.looked_right: dict[PolicyId, float] = {}
        self.stated: dict[PolicyId, list[tuple[float, float]]] = {}
        """Slots in these open intervals have no run, and that was said."""
        self.checked: dict[PolicyId, float] = {}
        self.done: Counter[Key] = Counter()
        self.events: Counter[str] = Counter()
        for one in policies:
            self.put_policy(one)

    def now(self) -> float:
        return self.t + self.skew

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}-{self.count}"

    def fail(self, message: str) -> None:
        raise ViolationError(f"day {(self.t - self.start) / DAY_S:.2f}: {message}")

    def put_policy(self, policy: Policy) -> None:
        before = self.policies.get(policy.id)
        self.policies[policy.id] = policy
        self.cursors.setdefault(policy.id, policy.created_at)
        self.bound.setdefault(policy.id, {})
        self.stated.setdefault(policy.id, [])
        self.open.setdefault(policy.id, {})
        self.made.setdefault(policy.id, {})
        self.meddled[policy.id] = self.looked[policy.id] = self.t
        self.looked_right.setdefault(policy.id, self.t)
        self.checked[policy.id] = self.reached(policy.id)
        if before is not None and replace(before, active=policy.active) == policy:
            return
        first, last = self.start // HALF_S * HALF_S - 2 * DAY_S, self.stop // HALF_S * HALF_S + HALF_S
        self.slots[policy.id] = walked(policy, first, last, HALF_S)
        ahead = (slot + self.rng.uniform(0.1, 20) for slot in self.slots[policy.id] if self.t < slot < self.stop)
        self.ticks = sorted({*(one for one in self.ticks if one > self.t), *ahead}, reverse=True)

    def reached(self, policy_id: PolicyId) -> float:
        """Return up to which time slots had their turn, right or wrong: what is new counts from there on."""
        return max(self.t, self.now(), self.cursors[policy_id])

    def slots_in(self, policy: Policy, after: float, until: float) -> list[int] | None:
        """Return the slots in (after, until] by the reference; None if it has not walked there."""
        known = self.slots[policy.id]
        if after < self.start - 2 * DAY_S or until > self.stop:
            return None
        return known[bisect_right(known, after) : bisect_right(known, until)]

    # --- the loop ---

    def commit(self) -> None:
        if not self.calm and self.rng.random() < self.kills:
            raise KilledError

    def round(self) -> None:
        self.finish()
        for policy in list(self.policies.values()):
            self.look(policy)
        for run in self.under_way():
            if run.state is RunState.WAITING:
                drive = self.drives.get(run.disk_id)
                self.put(self.rules.reviewed(
                    run, self.policies.get(run.policy_id), None if drive is None else drive.row, self.now(),
                    bound=run.disk_id in self.bound.get(run.policy_id, {}),
                ))  # fmt: skip
        self.commit()
        self.begin()
        if self.rng.random() < self.retains:
            self.retain()

    def under_way(self) -> list[Run]:
        return [run for rows in self.open.values() for run in rows.values()]

    def look(self, policy: Policy) -> None:
        cursor, now = self.cursors[policy.id], self.now()
        found = self.rules.due(policy, cursor, now)
        self.check_due(policy, cursor, found, now)
        if found.slot is None:
            self.cursors[policy.id] = found.cursor
            return
        disks = {disk_id: self.drives[disk_id].row.instance_id for disk_id in self.bound[policy.id]}
        known = dict(self.open[policy.id])
        for disk_id in disks:
            run = self.rows.get((policy.id, found.slot, disk_id))
            if run is not None:
                known[policy.id, found.slot, disk_id] = run
        opening = self.rules.opened(policy, found, disks, tuple(known.values()), now)
        if not self.rules.rows_with_cursor:
            self.cursors[policy.id] = found.cursor
            self.commit()
        for run in opening.ended:
            self.put(run)
        for run in opening.opened:
            self.put(run, new=True)
        self.cursors[policy.id] = found.cursor
        self.commit()

    def begin(self) -> None:
        now = self.now()
        waiting = [run for run in self.under_way() if runs.ready(run, now)]
        left = {(run.policy_id, run.slot, run.disk_id): run for run in runs.fair_order(waiting)}
        while left:
            (policy_id, slot, disk_id), _ = next(iter(left.items()))
            policy = self.policies[policy_id]
            disks = {one: self.drives[one].row.instance_id for one in self.bound[policy_id]}
            together = next((batch for batch in runs.batches(policy, disks) if disk_id in batch), ())
            if not together:
                self.fail(f"a run of {policy_id} begins on {disk_id}, which is not bound to it")
            batch = [left.pop((policy_id, slot, one)) for one in together if (policy_id, slot, one) in left]
            self.begin_batch(policy, batch)
            self.commit()

    def begin_batch(self, policy: Policy, batch: Sequence[Run]) -> None:
        now, drives = self.now(), [self.drives[run.disk_id] for run in batch]
        states = {drive.row.state for drive in drives}
        if not policy.active or not states <= {DiskState.ATTACHED, DiskState.UNATTACHED}:
            self.fail(f"a run of {policy.id} begins, which is not active, or of a disk that is {states}")
        refusal = next((why for why in map(self.refusal, drives) if why is not None), None)
        if refusal is not None:
            for run in batch:
                self.put(self.rules.thwarted(run, policy, refusal, refusal.value, now))
            return
        attached = any(drive.row.instance_id is not None for drive in drives)
        if policy.skip_unchanged or not attached:
            answers = [self.answer(policy, drive) for drive in drives]
            skipped = self.rules.unchanged(policy, batch, answers, now, attached=attached)
            if skipped is not None:
                for run in skipped:
                    self.put(run)
                return
        deadline = deadline_of(policy.retention, now, zone_or_utc(policy.zone))
        for run, drive in zip(batch, drives, strict=True):
            shot = self.take(drive, policy, run.slot, deadline)
            if not self.rules.row_with_snapshot:
                self.commit()
            self.put(runs.begun(run, shot.row.id))

    def refusal(self, drive: Drive) -> Refusal | None:
        if drive.making is not None:
            return Refusal.SNAPSHOT_CREATING
        if drive.busy_until > self.t:
            return Refusal.BUSY
        return Refusal.SNAPSHOT_QUOTA if len(drive.shots) >= self.quota else None

    def answer(self, policy: Policy, drive: Drive) -> SnapshotId | None:
        base = drive.shots.get(drive.row.base_snapshot_id) if drive.row.base_snapshot_id else None
        made = [one for one in drive.shots.values() if one.row.policy_id == policy.id and one.row.normal]
        newest = max(made, key=lambda one: one.row.order, default=None)
        shown = None if base is None else Snapshot(
            id=base.row.id, account_id=policy.account_id, disk_id=base.row.disk_id,
            state=SnapshotState.DELETING if base.row.recycled else SnapshotState.NORMAL,
            size_gib=drive.row.size_gib, created_at=0.0, modified_at=0.0, zone="z", suspect=base.row.suspect,
            damaged=base.row.damaged,
        )  # fmt: skip
        return self.rules.answering(drive.row, shown, None if newest is None else newest.row.id, marked=drive.marked)

    def take(self, drive: Drive, policy: Policy | None, slot: int, deadline: float | None) -> Shot:
        assert drive.making is None
        luck, rng = self.rng.random(), self.rng
        row = PolicySnapshot(
            id=SnapshotId(self.fresh("snap")), policy_id=policy.id if policy else None, disk_id=drive.row.id, slot=slot,
            order=-1, normal=False, deadline_at=deadline, permanent=policy is not None and policy.retention.permanent,
        )  # fmt: skip
        refusal = None if luck >= self.failing else rng.choice((Refusal.INTERNAL, Refusal.INTERNAL, Refusal.CANCELLED))
        shot = Shot(
            row=row, content=drive.content, ends=self.t + rng.expovariate(1 / (self.upload_h * HOUR_S)), refusal=refusal
        )
        drive.shots[row.id] = drive.making = shot
        if policy is not None:
            self.made[policy.id][row.id] = drive
        self.creating[drive.row.id] = drive
        return shot

    def finish(self) -> None:
        for drive in list(self.creating.values()):
            shot = drive.making
            assert shot is not None
            if shot.ends > self.t:
                continue
            drive.making = None
            del self.creating[drive.row.id]
            key = self.running.get(shot.row.id)
            run = None if key is None else self.rows[key]
            if shot.refusal is None:
                self.count += 1
                shot.row = replace(shot.row, normal=True, order=self.count)
                if drive.row.state is not DiskState.TERMINATING:
                    drive.marked = drive.content != shot.content
                    drive.row = replace(
                        drive.row, base_snapshot_id=shot.row.id, carry=frozenset(), tracking=TrackingState.LIVE
                    )
                if shot.row.policy_id is not None:
                    key = (shot.row.policy_id, shot.row.slot, shot.row.disk_id)
                    self.done[key] += 1
                    if self.done[key] > 1:
                        self.fail(f"two snapshots of {key}")
                if run is not None:
                    self.put(runs.done(run, self.now()))
            else:
                self.forget(drive, shot.row.id)
                if run is not None:
                    policy = self.policies.get(run.policy_id)
                    self.put(self.rules.thwarted(run, policy, shot.refusal, shot.refusal.value, self.now()))
            self.commit()

    def seen(self, policy: Policy) -> list[PolicySnapshot]:
        found = []
        for snapshot_id, drive in self.made[policy.id].items():
            row, answers = drive.shots[snapshot_id].row, self.answers.get(snapshot_id)
            found.append(row if answers is None else replace(row, answers_for=answers))
        return found

    def retain(self, *, compare: bool = False) -> None:
        """Delete what is to go; nothing more goes while the clock is wrong than what no time is needed for."""
        certain = min(self.t, self.now())
        held = sum(len(one.shots) for one in self.drives.values())
        for policy in list(self.policies.values()):
            there = self.seen(policy)
            plan = self.rules.plan(policy, there, certain)
            if compare:
                expected = kept(policy, there, certain)
                if plan.stays.keys() != expected:
                    self.fail(f"retention of {policy.id} ({policy.retention}) differs: {plan.stays.keys() ^ expected}")
            by_id = {one.id: one for one in there}
            for snapshot_id in plan.goes:
                drive = self.drives[by_id[snapshot_id].disk_id]
                self.tally = self.tally.at(self.now())
                if not self.tally.admits(held, PERCENT_PER_HOUR, full=len(drive.shots) >= self.quota):
                    self.events["held back"] += 1
                    break
                self.tally = self.tally.more(1)
                self.check_goes(policy, drive, by_id[snapshot_id])
                self.remove(drive, snapshot_id)
                held -= 1
                self.events["expired"] += 1
            self.commit()

    def remove(self, drive: Drive, snapshot_id: SnapshotId) -> None:
        shot = self.forget(drive, snapshot_id)
        if drive.row.base_snapshot_id == snapshot_id:
            older = [one for one in drive.shots.values() if one.row.normal and one.row.order < shot.row.order]
            base = max(older, key=lambda one: one.row.order, default=None)
            drive.row = replace(
                drive.row, base_snapshot_id=base.row.id if base else None, carry=drive.row.carry | {snapshot_id}
            )

    def forget(self, drive: Drive, snapshot_id: SnapshotId) -> Shot:
        shot = drive.shots.pop(snapshot_id)
        if shot.row.policy_id is not None:
            del self.made[shot.row.policy_id][snapshot_id]
        self.answers.pop(snapshot_id, None)
        return shot

    def put(self, run: Run, *, new: bool = False) -> None:
        key = (run.policy_id, run.slot, run.disk_id)
        before = self.rows.get(key)
        if run is before:
            return
        if new:
            if before is not None:
                self.fail(f"a second row of {key}")
            self.opened_at[key] = self.t
        self.rows[key] = run
        if before is not None and before.snapshot_id is not None:
            self.running.pop(before.snapshot_id, None)
        if run.state.under_way:
            self.open[run.policy_id][key] = run
            if self.busy.setdefault((run.policy_id, run.disk_id), key) != key:
                self.fail(f"two runs of {key[0]} on {key[2]} are under way")
            if run.state is RunState.RUNNING and run.snapshot_id is not None:
                self.running[run.snapshot_id] = key
        else:
            if self.open[run.policy_id].pop(key, None) is not None:
                del self.busy[run.policy_id, run.disk_id]
            self.check_end(run, key, before)
            self.opened_at.pop(key, None)
            self.events[f"{run.state.value} {run.reason.value if run.reason else ''}".strip()] += 1
            if run.reason in ANSWERED:
                assert run.snapshot_id is not None
                self.answers[run.snapshot_id] = run.slot

    # --- what must hold ---

    def check_due(self, policy: Policy, cursor: float, found: Due, now: float) -> None:
        if cursor > now + TOLERANCE_S:
            if found.cursor > now or found.set_back_s <= 0:
                self.fail(f"the cursor of {policy.id} stays {cursor - now:.0f} s ahead")
            # Of all since it was last looked at with a clock that was right.
            self.stated[policy.id].append((self.looked_right[policy.id] - 1, self.t + 1))
        elif not policy.active:
            self.stated[policy.id].append((self.looked[policy.id] - 1, self.t + 1))
            if found.slot is not None:
                self.fail(f"a run of {policy.id}, which is switched off")
        else:
            since = max(cursor, policy.anchored_at) if policy.anchored_at <= now else cursor
            expected = self.slots_in(policy, since, now)
            last = expected[-1] if expected else None
            if expected is None:
                # Beyond what was walked: the clock has leapt. Not each time, since it takes long.
                self.leapt += 1
                if self.leapt % 8:
                    last = found.slot
            if expected is None and self.leapt % 8 == 0:
                first = (int(now) // HALF_S - 48) * HALF_S
                recent = [one for one in walked(policy, first, first + 49 * HALF_S, HALF_S) if since < one <= now]
                last = recent[-1] if recent else found.slot
            if since > cursor:
                # Before its triggers were given, by the clock that there was.
                self.stated[policy.id].append((cursor, since + 1))
            if found.slot != last:
                self.fail(f"{policy.id} at {now}: slot {found.slot}, not {last}")
            if last is not None and expected is not None and found.missed != min(len(expected) - 1, 1000):
                self.fail(f"{policy.id}: {found.missed} missed, not {len(expected) - 1}")
            if last is not None and found.missed:
                self.stated[policy.id].append((since, last))
        self.looked[policy.id] = self.t
        if not self.skew:
            self.looked_right[policy.id] = self.t

    def check_end(self, run: Run, key: Key, before: Run | None) -> None:
        """Ask whether what a run says of its end is true."""
        policy, drive = self.policies.get(run.policy_id), self.drives[run.disk_id]
        undisturbed = self.opened_at[key] > max(self.trouble, self.meddled.get(run.policy_id, 0.0))
        match run.reason:
            case None:
                made = drive.shots.get(run.snapshot_id) if run.snapshot_id else None
                if run.state is not RunState.DONE or made is None or not made.row.normal or made.row.slot != run.slot:
                    self.fail(f"{key} is done without a snapshot")
            case RunReason.UNCHANGED | RunReason.NOT_IN_USE:
                answer = drive.shots.get(run.snapshot_id) if run.snapshot_id else None
                if answer is None or answer.content != drive.content or not answer.row.good:
                    self.fail(f"{key} is skipped, and {run.snapshot_id} does not show the disk as it is")
                elif any(
                    one.row.order > answer.row.order
                    for one in drive.shots.values()
                    if one.row.policy_id == run.policy_id
                ):
                    self.fail(f"{key} is answered by {run.snapshot_id}, which is not the newest")
            case RunReason.OVERLAP:
                disks = self.drives.values() if policy is not None and policy.group else (drive,)
                making = [one.making for one in disks]
                if not any(one and one.row.policy_id == run.policy_id and one.row.slot != run.slot for one in making):
                    self.fail(f"{key} is skipped for a run that is not there")
            case RunReason.BUSY | RunReason.QUOTA | RunReason.FULL | RunReason.SNAPSHOT_FAILED:
                until = self.until_of(run)
                if undisturbed and (not run.attempts or (until and self.now() < until - runs.RETRY_MAX_S - 30 * 60)):
                    self.fail(f"{key} was given up after {run.attempts} tries, too early")
                if before is not None and before.state is RunState.WAITING:
                    self.check_waits(before)
            case RunReason.MISSED | RunReason.CLOCK:
                if undisturbed:
                    self.fail(f"{key} has failed as {run.reason.value}, and the server ran")
            case RunReason.SWITCHED_OFF | RunReason.POLICY_GONE | RunReason.UNBOUND:
                if policy is not None and policy.active and run.disk_id in self.bound[run.policy_id]:
                    self.fail(f"{key} has ended as {run.reason.value}, which is not true")
            case RunReason.RECYCLED | RunReason.DISK_GONE | RunReason.DISK_UNFIT:
                if drive.row.state is DiskState.ATTACHED and drive.row.account_id == AccountId("1"):
                    self.fail(f"{key} has ended as {run.reason.value}, which is not true")

    def until_of(self, run: Run) -> float | None:
        """Return by the reference until when a run is tried: half of the time to the next slot."""
        policy, found_at = self.policies.get(run.policy_id), run.slot + run.late_by_s
        following = None if policy is None else self.slots_in(policy, found_at, self.stop)
        return found_at + (following[0] - found_at) / 2 if following else None

    def check_waits(self, run: Run) -> None:
        until = self.until_of(run)
        disturbed = max(self.trouble, self.meddled.get(run.policy_id, 0.0))
        undisturbed = self.opened_at[run.policy_id, run.slot, run.disk_id] > disturbed
        if undisturbed and until and self.now() > until + runs.RETRY_MAX_S + 30 * 60:
            self.fail(f"{run.policy_id} on {run.disk_id} for {run.slot} was given up too late, or waits yet")

    def check_goes(self, policy: Policy, drive: Drive, one: PolicySnapshot) -> None:
        """Ask of each deletion what nobody may ever lose, whatever the plan says."""
        if one.policy_id != policy.id or not one.normal or one.permanent or one.shared or one.locked or one.pinned:
            self.fail(f"{one.id} goes, which somebody relies on")
        others = [x.row for x in drive.shots.values() if x.row.policy_id == policy.id and x.row.id != one.id]
        if one.good and not any(x.good and x.order > one.order for x in others):
            self.fail(f"{one.id} goes, the newest good one of {drive.row.id}")
        amount = policy.retention.amount
        if amount and one.deadline_at is None and sum(x.order > one.order for x in others if x.good) < amount:
            self.fail(f"{one.id} goes, among the newest {amount}")

    def check_day(self) -> None:
        """Ask at the end of a day whether every slot has its run or a reason, and whether nothing waits for ever."""
        self.retain(compare=True)
        if self.skew:
            return
        until = self.t - 60
        for policy in self.policies.values():
            since = max(self.checked[policy.id], self.start)
            stated = self.stated[policy.id]
            for slot in self.slots_in(policy, since, until) or ():
                if any(first < slot < last for first, last in stated):
                    continue
                for disk_id, bound_at in self.bound[policy.id].items():
                    if bound_at < slot and (policy.id, slot, disk_id) not in self.rows:
                        self.fail(f"no run of {policy.id} on {disk_id} for {slot}, and nobody said why")
            self.checked[policy.id] = until
            self.stated[policy.id] = [one for one in stated if one[1] > until]
        for run in self.under_way():
            key = (run.policy_id, run.slot, run.disk_id)
            if run.state is RunState.RUNNING and (run.snapshot_id or "") not in self.drives[run.disk_id].shots:
                self.fail(f"{key} is running without a snapshot")
            if run.state is RunState.WAITING:
                self.check_waits(run)
        horizon = self.t - 90 * DAY_S
        for key in [key for key in self.rows if key[1] < horizon and key not in self.open[key[0]]]:
            # A clock that goes back by more than that runs such a slot again.
            del self.rows[key]
            self.done.pop(key, None)

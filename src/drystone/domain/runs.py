"""What becomes of the runs of a policy (S302 to S305). Pure: each function returns the row as it is to be.

A round is: ask `due` of each policy, also of those that are not active; make the rows that `opened` returns and move
the cursor, in one transaction; end what `reviewed` ends; begin the snapshots of `batches` of what `ready` lets through,
in `fair_order`, each in the transaction in which its run becomes `begun`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from drystone.domain.clock import TOLERANCE_S
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import Refusal
from drystone.domain.ids import AccountId, DiskId, InstanceId, SnapshotId
from drystone.domain.policy import Policy, Run, RunReason, RunState
from drystone.domain.schedule import Due, slots
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.tracking import TrackingState

RETRY_FIRST_S = 10.0
RETRY_MAX_S = 900.0
"""A run is tried again after the first time, then after twice as long each time, and never after longer than this."""

_PASSING = {
    Refusal.BUSY: RunReason.BUSY,
    Refusal.SNAPSHOT_CREATING: RunReason.BUSY,
    Refusal.ROLLING_BACK: RunReason.BUSY,
    Refusal.GROUP_BUSY: RunReason.BUSY,
    Refusal.NOT_NOW: RunReason.BUSY,
    Refusal.TOO_MUCH_AT_ONCE: RunReason.BUSY,
    Refusal.LINEAGE_UNKNOWN: RunReason.BUSY,
    Refusal.NO_ANSWER: RunReason.BUSY,
    Refusal.FULL: RunReason.FULL,
    Refusal.SNAPSHOT_QUOTA: RunReason.QUOTA,
}
"""Refusals that may not be repeated at the next try."""
_FINAL = {
    Refusal.NO_SUCH_DISK: RunReason.DISK_GONE,
    Refusal.CANCELLED: RunReason.CANCELLED,
}
"""Of all others it is `DISK_UNFIT`: somebody must change something first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a due slot does to the rows."""

    opened: tuple[Run, ...]
    """New rows."""
    ended: tuple[Run, ...]
    """Rows of earlier slots that end by it."""


def batches(policy: Policy, disks: Mapping[DiskId, InstanceId | None]) -> tuple[tuple[DiskId, ...], ...]:
    """Return which disks of a policy are taken together: those of one instance if it says so, otherwise each alone.

    Args:
        policy: Whose they are.
        disks: Which instance each is attached to.
    """
    found: dict[object, list[DiskId]] = {}
    for disk_id, instance_id in disks.items():
        together = policy.group and instance_id is not None
        found.setdefault(instance_id if together else (disk_id,), []).append(disk_id)
    return tuple(tuple(one) for one in found.values())


def opened(
    policy: Policy, found: Due, disks: Mapping[DiskId, InstanceId | None], known: Collection[Run], now: float
) -> Opening:
    """Return the rows of a slot that is due (S302): one for each disk that has none yet.

    A run of an earlier slot that still waits was not looked at in time, since the server did not run: it has failed,
    and this one takes its place. Where a snapshot of an earlier slot is still being made this one is skipped.

    Args:
        policy: Whose slot is due.
        found: What `due` said, with a slot.
        disks: All disks that are bound to it, and which instance each is attached to.
        known: The policy's runs that are under way, and all of this slot.
        now: By the steady clock.
    """
    assert found.slot is not None
    there = {run.disk_id for run in known if run.slot == found.slot}
    earlier = [run for run in known if run.slot != found.slot and run.state.under_way]
    waiting = [run for run in earlier if run.state is RunState.WAITING]
    ended = [_over(run, RunState.FAILED, run.reason or RunReason.MISSED, now) for run in waiting]
    making = {run.disk_id for run in earlier if run.state is RunState.RUNNING}
    rows: list[Run] = []
    for batch in batches(policy, disks):
        held = any(disk_id in making for disk_id in batch)
        for disk_id in batch:
            if disk_id in there:
                continue
            row = Run(
                policy_id=policy.id, slot=found.slot, disk_id=disk_id, account_id=policy.account_id,
                late_by_s=found.late_by_s, missed=found.missed, try_at=now,
            )  # fmt: skip
            rows.append(_over(row, RunState.SKIPPED, RunReason.OVERLAP, now) if held else row)
    return Opening(opened=tuple(rows), ended=tuple(ended))


def tried_until(policy: Policy, run: Run) -> float:
    """Return until when a run is tried again (S303): half of the time from when it was due to the next slot.

    Of a run that was late the time counts from when it was found, so it has tries, too.
    """
    found_at = run.slot + run.late_by_s
    following = next(slots(policy, found_at), None)
    return found_at if following is None else found_at + (following - found_at) / 2


def reviewed(run: Run, policy: Policy | None, disk: Disk | None, now: float, *, bound: bool) -> Run:
    """Return a waiting run as it is now: ended if it must not or cannot be tried any more (S303, S305).

    A run whose snapshot is being made goes on, whatever became of policy and disk; so do those that have ended.

    Args:
        run: Of any state.
        policy: As it is now; None if it is deleted.
        disk: Likewise.
        now: By the steady clock.
        bound: Whether the disk is still bound to the policy.
    """
    if run.state is not RunState.WAITING:
        return run
    if policy is None:
        return _over(run, RunState.SKIPPED, RunReason.POLICY_GONE, now)
    if disk is None or not disk.state.visible or disk.account_id != policy.account_id:
        return _over(run, RunState.SKIPPED, RunReason.DISK_GONE, now)
    if not bound:
        return _over(run, RunState.SKIPPED, RunReason.UNBOUND, now)
    if not policy.active:
        return _over(run, RunState.SKIPPED, RunReason.SWITCHED_OFF, now)
    if disk.state is DiskState.TORECYCLE:
        return _over(run, RunState.SKIPPED, RunReason.RECYCLED, now)
    if run.slot + run.late_by_s > now + TOLERANCE_S:
        # The clock was set back: it would be tried for years, and hold up all that are due meanwhile.
        return _over(run, RunState.FAILED, RunReason.CLOCK, now)
    # What nobody has tried yet is tried once, however late: the server may not have run.
    if run.attempts and now >= tried_until(policy, run):
        return _over(run, RunState.FAILED, run.reason or RunReason.BUSY, now)
    return run


def ready(run: Run, now: float) -> bool:
    """Tell whether a run is to be tried now; one whose time lies further ahead than any wait was dated by a clock."""
    return run.state is RunState.WAITING and not 0.0 < run.try_at - now <= RETRY_MAX_S


def fair_order(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return runs in the order in which they are begun: by slots, and of one slot the accounts take turns."""
    place: Counter[tuple[int, AccountId]] = Counter()
    keyed: list[tuple[int, int, Run]] = []
    for run in runs:
        owner = (run.slot, run.account_id)
        keyed.append((run.slot, place[owner], run))
        place[owner] += 1
    return tuple(run for _, _, run in sorted(keyed, key=lambda one: one[:2]))


def answering(disk: Disk, base: Snapshot | None, newest: SnapshotId | None, *, marked: bool) -> SnapshotId | None:
    """Return the snapshot that shows a disk as it is, if that is certain (S304); asked while applications are held.

    An empty bitmap alone says little: also of a disk that was rolled back, made from a snapshot, or lost its tracking.

    Args:
        disk: Its row.
        base: The snapshot that its changes count from, if there is one.
        newest: Of the NORMAL snapshots that the policy has made of this disk the one that was committed last. An older
            one may be the base after a rollback; it would answer for a slot that is newer than what came after it.
        marked: Whether any block is marked in a bitmap or in the checkpoint; True if nobody can tell.
    """
    if marked or disk.tracking is TrackingState.LOST or disk.carry or disk.hydrating or base is None:
        return None
    fit = base.state is SnapshotState.NORMAL and not base.suspect and not base.damaged and not base.rolling_back
    same = base.id == disk.base_snapshot_id and base.disk_id == disk.id and base.size_gib == disk.size_gib
    return base.id if fit and same and base.id == newest else None


def unchanged(
    policy: Policy, runs: Sequence[Run], answers: Sequence[SnapshotId | None], now: float, *, attached: bool
) -> tuple[Run, ...] | None:
    """Return the runs of a batch as skipped, if all are answered for and need not be taken (S304); otherwise None.

    Of disks that are not attached nothing is taken twice, whatever the policy says: nobody writes to them.

    Args:
        policy: Whose runs they are.
        runs: All of one batch.
        answers: What `answering` says of each.
        now: By the steady clock.
        attached: Whether any of the disks is attached.
    """
    if attached and not policy.skip_unchanged:
        return None
    reason = RunReason.UNCHANGED if attached else RunReason.NOT_IN_USE
    skipped: list[Run] = []
    for run, answer in zip(runs, answers, strict=True):
        if answer is None:
            return None
        skipped.append(replace(_over(run, RunState.SKIPPED, reason, now), snapshot_id=answer))
    return tuple(skipped)


def begun(run: Run, snapshot_id: SnapshotId) -> Run:
    """Return a run whose snapshot is begun, in the same transaction."""
    assert run.state is RunState.WAITING
    return replace(run, state=RunState.RUNNING, snapshot_id=snapshot_id, attempts=run.attempts + 1, reason=None)


def done(run: Run, now: float) -> Run:
    """Return a run whose snapshot has become NORMAL, in the same transaction."""
    assert run.state is RunState.RUNNING
    return replace(run, state=RunState.DONE, reason=None, detail="", ended_at=now)


def thwarted(run: Run, policy: Policy | None, refusal: Refusal | None, sentence: str, now: float) -> Run:
    """Return a run that was refused, or whose snapshot has failed (S303): it waits for another try, or has failed.

    Args:
        run: WAITING if it was refused, RUNNING if its snapshot has failed.
        policy: As it is now; None if it is deleted.
        refusal: Why; None for a failure that has no kind, and for a peer that did not answer.
        sentence: What a person reads.
        now: By the steady clock.
    """
    assert run.state.under_way
    attempts = run.attempts + (run.state is RunState.WAITING)
    reason = RunReason.SNAPSHOT_FAILED if run.state is RunState.RUNNING else RunReason.BUSY
    if refusal is not None:
        reason = (
            _PASSING.get(refusal)
            or _FINAL.get(refusal)
            or (reason if run.state is RunState.RUNNING else RunReason.DISK_UNFIT)
        )
    run = replace(run, state=RunState.WAITING, snapshot_id=None, attempts=attempts, reason=reason, detail=sentence)
    final = reason in {*_FINAL.values(), RunReason.DISK_UNFIT}
    wait_s = min(RETRY_FIRST_S * 2 ** min(attempts - 1, 10), RETRY_MAX_S)
    if final or policy is None or not policy.active or now + wait_s >= tried_until(policy, run):
        return _over(run, RunState.FAILED, reason, now)
    return replace(run, try_at=now + wait_s)


def _over(run: Run, state: RunState, reason: RunReason, now: float) -> Run:
    return replace(run, state=state, reason=reason, ended_at=now)

"""What becomes of a policy's runs."""

from dataclasses import replace

import pytest

from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import Refusal
from drystone.domain.ids import AccountId, DiskId, InstanceId, PolicyId, SnapshotId
from drystone.domain.policy import Policy, Run, RunReason, RunState, Trigger
from drystone.domain.runs import (
    RETRY_MAX_S,
    answering,
    batches,
    begun,
    done,
    fair_order,
    opened,
    ready,
    reviewed,
    thwarted,
    tried_until,
    unchanged,
)
from drystone.domain.schedule import Due
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.tracking import TrackingState

HOUR, DAY = 3600, 86_400
SLOT = 20_000 * DAY
POLICY = Policy(
    id=PolicyId("asp-1"), account_id=AccountId("1"), zone="UTC",
    triggers=(Trigger(hours=(0,), interval_days=1),), created_at=0.0, modified_at=0.0, anchored_at=0.0,
)  # fmt: skip
A, B, C = DiskId("disk-a"), DiskId("disk-b"), DiskId("disk-c")
ONE = InstanceId("ins-1")
DISK = Disk(
    id=A, account_id=AccountId("1"), state=DiskState.ATTACHED, size_gib=10, type="CLOUD_SSD", zone="z", created_at=0.0,
    instance_id=ONE, base_snapshot_id=SnapshotId("snap-1"), tracking=TrackingState.LIVE, bitmap="b",
)  # fmt: skip
BASE = Snapshot(
    id=SnapshotId("snap-1"), account_id=AccountId("1"), disk_id=A, state=SnapshotState.NORMAL, size_gib=10,
    created_at=0.0, modified_at=0.0, zone="z",
)  # fmt: skip
WAITING = Run(
    policy_id=POLICY.id, slot=SLOT, disk_id=A, account_id=POLICY.account_id, try_at=SLOT + 5.0, late_by_s=5.0
)  # fmt: skip
RUNNING = begun(WAITING, SnapshotId("snap-2"))
DUE = Due(cursor=SLOT, slot=SLOT, late_by_s=5.0, missed=2)


def test_a_due_slot_has_a_row_for_each_disk_and_only_once() -> None:
    """S302"""
    first = opened(POLICY, DUE, {A: ONE, B: None}, (), SLOT + 5.0)
    assert first.ended == ()
    assert first.opened == (replace(WAITING, missed=2), replace(WAITING, missed=2, disk_id=B))
    assert opened(POLICY, DUE, {A: ONE, B: None}, first.opened, SLOT + 6.0).opened == ()
    # One more was bound meanwhile; whatever became of the others.
    ended = [replace(run, state=RunState.DONE) for run in first.opened]
    again = opened(POLICY, DUE, {A: ONE, B: None, C: None}, ended, SLOT + 6.0)
    assert [run.disk_id for run in again.opened] == [C]


def test_a_run_is_skipped_while_the_one_before_is_under_way() -> None:
    """S302"""
    known = [replace(RUNNING, slot=SLOT - DAY)]
    found = opened(POLICY, DUE, {A: ONE, B: ONE}, known, SLOT + 5.0)
    assert [(run.disk_id, run.state, run.reason) for run in found.opened] == [
        (A, RunState.SKIPPED, RunReason.OVERLAP),
        (B, RunState.WAITING, None),
    ]
    assert found.ended == ()
    # In a group all are.
    found = opened(replace(POLICY, group=True), DUE, {A: ONE, B: ONE, C: None}, known, SLOT + 5.0)
    assert [run.state for run in found.opened] == [RunState.SKIPPED, RunState.SKIPPED, RunState.WAITING]


def test_a_run_that_nobody_began_gives_way_to_the_next() -> None:
    """S302: the server did not run."""
    earlier = replace(WAITING, slot=SLOT - 3 * DAY)
    found = opened(POLICY, DUE, {A: ONE}, [earlier], SLOT + 5.0)
    assert found.ended == (
        replace(earlier, state=RunState.FAILED, reason=RunReason.MISSED, ended_at=SLOT + 5.0),
    )  # fmt: skip
    assert [run.state for run in found.opened] == [RunState.WAITING]


def test_which_disks_are_taken_together() -> None:
    disks = {A: ONE, B: None, C: ONE, DiskId("disk-d"): None}
    assert batches(POLICY, disks) == ((A,), (B,), (C,), (DiskId("disk-d"),))
    assert batches(replace(POLICY, group=True), disks) == ((A, C), (B,), (DiskId("disk-d"),))


def test_a_refusal_is_tried_again_until_half_of_the_gap() -> None:
    """S303"""
    run, now, tries = WAITING, SLOT + 5.0, 0
    while run.state is RunState.WAITING:
        now = max(now, run.try_at)
        assert ready(run, now)
        run = reviewed(run, POLICY, DISK, now, bound=True)
        run = thwarted(run, POLICY, Refusal.BUSY, "It is busy.", now)
        tries += 1
        assert not ready(run, now)
        assert run.try_at - now <= RETRY_MAX_S
    assert (run.state, run.reason, run.detail, run.attempts) == (RunState.FAILED, RunReason.BUSY, "It is busy.", tries)
    assert SLOT + DAY / 2 - RETRY_MAX_S <= now < SLOT + DAY / 2 + 5.0
    assert 45 < tries < 60


def test_a_late_run_has_half_of_the_time_that_is_left() -> None:
    """S303"""
    assert tried_until(POLICY, replace(WAITING, late_by_s=0.0)) == SLOT + DAY / 2
    assert tried_until(POLICY, replace(WAITING, late_by_s=20.0 * HOUR)) == SLOT + 22 * HOUR
    # Of one that is switched off since, too.
    assert tried_until(replace(POLICY, active=False), replace(WAITING, late_by_s=0.0)) == SLOT + DAY / 2


def test_what_nobody_has_tried_is_tried_once() -> None:
    """S303: the server was killed between due and begun, and was off for long."""
    late = SLOT + 20.0 * HOUR
    assert reviewed(WAITING, POLICY, DISK, late, bound=True) == WAITING
    assert ready(WAITING, late)
    run = thwarted(WAITING, POLICY, Refusal.BUSY, "", late)
    assert (run.state, run.reason, run.attempts) == (RunState.FAILED, RunReason.BUSY, 1)


@pytest.mark.parametrize(
    ("refusal", "state", "reason"),
    [
        (Refusal.SNAPSHOT_CREATING, RunState.WAITING, RunReason.BUSY),
        (Refusal.ROLLING_BACK, RunState.WAITING, RunReason.BUSY),
        (Refusal.SNAPSHOT_QUOTA, RunState.WAITING, RunReason.QUOTA),
        (Refusal.FULL, RunState.WAITING, RunReason.FULL),
        (None, RunState.WAITING, RunReason.BUSY),
        (Refusal.NO_SUCH_DISK, RunState.FAILED, RunReason.DISK_GONE),
        (Refusal.DISK_UNFIT, RunState.FAILED, RunReason.DISK_UNFIT),
        (Refusal.BAD_VALUE, RunState.FAILED, RunReason.DISK_UNFIT),
    ],
)
def test_refusals(refusal: Refusal | None, state: RunState, reason: RunReason) -> None:
    """S303"""
    run = thwarted(WAITING, POLICY, refusal, "Why.", SLOT + 10.0)
    assert (run.state, run.reason, run.detail, run.attempts) == (state, reason, "Why.", 1)
    assert run.ended_at == (None if state is RunState.WAITING else SLOT + 10.0)


def test_a_snapshot_that_fails_is_made_again() -> None:
    """S303"""
    run = thwarted(RUNNING, POLICY, Refusal.INTERNAL, "It failed.", SLOT + HOUR)
    assert (run.state, run.reason, run.snapshot_id) == (RunState.WAITING, RunReason.SNAPSHOT_FAILED, None)
    assert run.attempts == RUNNING.attempts == 1
    again = done(begun(run, SnapshotId("snap-3")), SLOT + 2.0 * HOUR)
    assert (again.state, again.reason, again.detail) == (RunState.DONE, None, "")
    assert (again.attempts, again.snapshot_id) == (2, "snap-3")
    for end in (
        thwarted(RUNNING, POLICY, Refusal.CANCELLED, "", SLOT + HOUR),
        thwarted(RUNNING, POLICY, None, "", SLOT + 13.0 * HOUR),
        thwarted(RUNNING, None, None, "", SLOT + HOUR),
        thwarted(RUNNING, replace(POLICY, active=False), None, "", SLOT + HOUR),
    ):
        assert end.state is RunState.FAILED
        assert end.reason in {RunReason.CANCELLED, RunReason.SNAPSHOT_FAILED}


@pytest.mark.parametrize(
    ("policy", "disk", "bound", "reason"),
    [
        (None, DISK, True, RunReason.POLICY_GONE),
        (replace(POLICY, active=False), DISK, True, RunReason.SWITCHED_OFF),
        (POLICY, DISK, False, RunReason.UNBOUND),
        (POLICY, None, True, RunReason.DISK_GONE),
        (POLICY, replace(DISK, account_id=AccountId("2")), True, RunReason.DISK_GONE),
        (POLICY, replace(DISK, state=DiskState.TERMINATING), True, RunReason.DISK_GONE),
        (POLICY, replace(DISK, state=DiskState.TORECYCLE), True, RunReason.RECYCLED),
    ],
)
def test_what_ends_a_run_that_waits(
    policy: Policy | None, disk: Disk | None, *, bound: bool, reason: RunReason
) -> None:
    """S305: and none whose snapshot is being made."""
    now = SLOT + 9.0
    assert reviewed(WAITING, POLICY, DISK, now, bound=True) == WAITING
    ended = reviewed(WAITING, policy, disk, now, bound=bound)
    assert ended == replace(WAITING, state=RunState.SKIPPED, reason=reason, ended_at=now)
    assert reviewed(RUNNING, policy, disk, now, bound=bound) == RUNNING
    assert reviewed(ended, policy, disk, now + 1, bound=bound) == ended


def test_a_run_from_a_time_that_lies_ahead_holds_up_nothing() -> None:
    """S301: the clock was a year ahead."""
    ahead = replace(WAITING, slot=SLOT + 365 * DAY, try_at=SLOT + 365.0 * DAY)
    assert reviewed(ahead, POLICY, DISK, SLOT, bound=True).reason is RunReason.CLOCK
    assert ready(ahead, SLOT + 1.0)
    assert reviewed(WAITING, POLICY, DISK, SLOT - 100.0, bound=True) == WAITING


def test_accounts_take_turns() -> None:
    runs = [replace(WAITING, policy_id=PolicyId("p"), disk_id=DiskId(f"disk-{n}")) for n in range(3)]
    other = replace(WAITING, policy_id=PolicyId("q"), account_id=AccountId("2"))
    runs += [other, replace(other, slot=SLOT - DAY)]
    order = [(run.policy_id, run.disk_id) for run in fair_order(runs)]
    assert order == [("q", A), ("p", "disk-0"), ("q", A), ("p", "disk-1"), ("p", "disk-2")]


@pytest.mark.parametrize(
    ("disk", "base", "newest", "marked"),
    [
        (replace(DISK, tracking=TrackingState.LOST), BASE, BASE.id, False),
        (replace(DISK, carry=frozenset({"m"})), BASE, BASE.id, False),
        (replace(DISK, hydrating=True), BASE, BASE.id, False),
        (replace(DISK, size_gib=20), BASE, BASE.id, False),
        (replace(DISK, base_snapshot_id=SnapshotId("snap-9")), BASE, BASE.id, False),
        (replace(DISK, base_snapshot_id=None), None, None, False),
        (replace(DISK, id=B), BASE, BASE.id, False),
        (DISK, replace(BASE, state=SnapshotState.DELETING), BASE.id, False),
        (DISK, replace(BASE, suspect=True), BASE.id, False),
        (DISK, replace(BASE, damaged=True), BASE.id, False),
        (DISK, replace(BASE, rolling_back=True), BASE.id, False),
        (DISK, BASE, SnapshotId("snap-2"), False),
        (DISK, BASE, None, False),
        (DISK, BASE, BASE.id, True),
    ],
)
def test_an_empty_bitmap_alone_does_not_mean_unchanged(
    disk: Disk, base: Snapshot | None, newest: SnapshotId | None, *, marked: bool
) -> None:
    """S304"""
    assert answering(DISK, BASE, BASE.id, marked=False) == BASE.id
    assert answering(disk, base, newest, marked=marked) is None


def test_all_of_a_batch_are_skipped_or_none() -> None:
    """S304"""
    skipping, now = replace(POLICY, skip_unchanged=True), SLOT + 9.0
    runs = (WAITING, replace(WAITING, disk_id=B))
    both = unchanged(skipping, runs, (BASE.id, SnapshotId("snap-5")), now, attached=True)
    assert both is not None
    assert [(run.state, run.reason, run.snapshot_id) for run in both] == [
        (RunState.SKIPPED, RunReason.UNCHANGED, BASE.id),
        (RunState.SKIPPED, RunReason.UNCHANGED, "snap-5"),
    ]
    assert unchanged(skipping, runs, (BASE.id, None), now, attached=True) is None
    assert unchanged(POLICY, runs, (BASE.id, BASE.id), now, attached=True) is None
    # Of a disk that is not attached, whatever the policy says, and only if it was taken since it was.
    off = unchanged(POLICY, runs[:1], (BASE.id,), now, attached=False)
    assert off is not None
    assert off[0].reason is RunReason.NOT_IN_USE
    assert unchanged(POLICY, runs[:1], (None,), now, attached=False) is None

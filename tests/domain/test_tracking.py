"""Tables of the tracking rules: taking daemons over, checkpoints, commits."""

from dataclasses import replace

import pytest

from drystone.domain import settling, tracking
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.settling import Bitmap, DaemonPlan, Flight, Phase, Verdict
from drystone.domain.tracking import Checkpoint, FileIdentity, FrozenBase, Tracking, TrackingState

S1, S2, S3 = SnapshotId("snap-1"), SnapshotId("snap-2"), SnapshotId("snap-3")
B0, B1 = tracking.bitmap_name(3, S1), tracking.bitmap_name(3, S1, S2)
LIVE = Tracking(base=S1, carry=frozenset({"m1"}), epoch=3, state=TrackingState.LIVE, bitmap=B0)
LOST = tracking.lost(LIVE, B0)
STOPPED = tracking.stopped(LIVE)
FREEZE = tracking.frozen(LIVE, new_bitmap=B1)
ON, OFF, BAD = Bitmap(recording=True), Bitmap(recording=False), Bitmap(recording=False, inconsistent=True)
BAD_ON, BUSY = Bitmap(recording=True, inconsistent=True), Bitmap(recording=False, busy=True)
PLAN = DaemonPlan()


def some(plan: DaemonPlan) -> DaemonPlan:
    """The plan with the wording of its reason left out."""
    return replace(plan, lost="why") if plan.lost else plan


def lost(plan: DaemonPlan) -> DaemonPlan:
    return replace(plan, lost="why")


@pytest.mark.parametrize(
    ("row", "found", "expected"),
    [
        (LIVE, {B0: ON}, DaemonPlan(bitmap=B0)),
        (LIVE, None, lost(PLAN)),
        (LIVE, {}, lost(PLAN)),
        (LIVE, {B0: OFF}, lost(DaemonPlan(remove=(B0,)))),
        (LIVE, {B0: BAD}, lost(DaemonPlan(remove=(B0,)))),
        (LIVE, {B0: BAD_ON}, lost(DaemonPlan(remove=(B0,)))),
        (LIVE, {B1: ON}, lost(DaemonPlan(remove=(B1,)))),
        (LIVE, {B0: ON, "x": BUSY}, lost(DaemonPlan(bitmap=B0, remove=("x",), release=("x",)))),
        (STOPPED, None, PLAN),
        (STOPPED, {}, lost(PLAN)),
        (STOPPED, {B0: ON}, lost(DaemonPlan(remove=(B0,)))),
        (LOST, None, PLAN),
        (LOST, {B0: ON}, DaemonPlan(bitmap=B0)),
        (LOST, {B1: ON}, DaemonPlan(remove=(B1,))),
    ],
)
def test_taking_over_without_an_operation(row: Tracking, found: dict[str, Bitmap] | None, expected: DaemonPlan) -> None:
    """A11."""
    assert some(settling.judge_daemon(row, found, None, view=False)) == expected


FAIL = DaemonPlan(verdict=Verdict.FAIL, bitmap=B0)
FAILED = DaemonPlan(verdict=Verdict.FAILED)


@pytest.mark.parametrize(
    ("phase", "view", "found", "expected"),
    [
        # Before the reopen nothing is frozen, after it the instant was the reopen (A2).
        (Phase.FREEZING, False, {B0: ON}, FAIL),
        (Phase.FREEZING, False, {B0: ON, B1: ON}, FAIL),
        (Phase.FREEZING, False, {B1: ON}, lost(FAIL)),
        (Phase.FREEZING, True, {B0: ON, B1: ON}, DaemonPlan(verdict=Verdict.RESUME, bitmap=B1, disable=(B0,))),
        (Phase.FREEZING, True, {B0: OFF, B1: ON}, DaemonPlan(verdict=Verdict.RESUME, bitmap=B1)),
        (Phase.FREEZING, True, {B0: ON}, lost(FAIL)),
        (Phase.FREEZING, True, {B0: BAD, B1: ON}, lost(FAIL)),
        (Phase.FREEZING, None, None, lost(FAILED)),
        (Phase.FROZEN, True, {B0: OFF, B1: ON}, DaemonPlan(verdict=Verdict.RESUME, bitmap=B1)),
        (Phase.FROZEN, True, {B0: BUSY, B1: ON}, DaemonPlan(verdict=Verdict.RESUME, bitmap=B1)),
        (Phase.FROZEN, True, {B0: OFF, B1: OFF}, lost(FAIL)),
        (Phase.FROZEN, True, {B1: ON}, lost(FAIL)),
        (Phase.FROZEN, True, {B0: OFF, B1: ON, "x": ON}, lost(FAIL)),
        (Phase.FROZEN, False, {B0: OFF, B1: ON}, FAIL),
        (Phase.FROZEN, None, None, lost(FAILED)),
        # Merge back (A4); an absent old bitmap was merged.
        (Phase.FAILING, True, {B0: OFF, B1: ON}, replace(FAILED, bitmap=B1, merge=(B1, B0))),
        (Phase.FAILING, True, {B0: BUSY, B1: ON}, replace(FAILED, bitmap=B1, merge=(B1, B0), release=(B0,))),
        (Phase.FAILING, False, {B1: ON}, replace(FAILED, bitmap=B1)),
        (Phase.FAILING, False, {B0: ON}, replace(FAILED, bitmap=B0)),
        (Phase.FAILING, False, {B0: ON, B1: ON}, replace(FAILED, bitmap=B0, remove=(B1,))),
        (Phase.FAILING, False, {B0: OFF}, lost(replace(FAILED, remove=(B0,)))),
        (Phase.FAILING, False, {B0: OFF, B1: OFF}, lost(replace(FAILED, remove=tuple(sorted((B0, B1)))))),
        (Phase.FAILING, False, {B0: BAD, B1: ON}, lost(replace(FAILED, bitmap=B1, remove=(B0,)))),
        (Phase.FAILING, False, {}, lost(FAILED)),
        (Phase.FAILING, None, None, lost(FAILED)),
    ],
)
def test_taking_over_a_snapshot_in_flight(
    *,
    phase: Phase,
    view: bool | None,
    found: dict[str, Bitmap] | None,
    expected: DaemonPlan,
) -> None:
    """F25."""
    plan = settling.judge_daemon(LIVE, found, Flight(freeze=FREEZE, phase=phase), view=bool(view))
    assert some(plan) == expected
    if plan.verdict is Verdict.FAIL:
        assert (plan.disable, plan.remove, plan.merge) == ((), (), None), "nothing before the row says FAILING"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({B0: OFF, B1: ON}, DaemonPlan(verdict=Verdict.CLEAN, bitmap=B1, remove=(B0,))),
        ({B0: ON, B1: ON}, DaemonPlan(verdict=Verdict.CLEAN, bitmap=B1, remove=(B0,))),
        ({B1: ON}, DaemonPlan(verdict=Verdict.CLEAN, bitmap=B1)),
        ({B0: OFF}, lost(DaemonPlan(verdict=Verdict.CLEAN, remove=(B0,)))),
        (None, lost(DaemonPlan(verdict=Verdict.CLEAN))),
    ],
)
def test_taking_over_after_the_commit(found: dict[str, Bitmap] | None, expected: DaemonPlan) -> None:
    row = tracking.committed(LIVE, FREEZE, S2)
    plan = settling.judge_daemon(row, found, Flight(freeze=FREEZE, phase=Phase.COMMITTED), view=True)
    assert some(plan) == expected


def test_an_operation_of_an_earlier_opening_is_over() -> None:
    later = tracking.opened(LIVE, None, bitmap="b4")
    plan = settling.judge_daemon(later, {"b4": ON}, Flight(freeze=FREEZE, phase=Phase.FROZEN), view=False)
    assert plan == DaemonPlan(verdict=Verdict.FAILED, bitmap="b4")
    assert not tracking.may_commit(later, FREEZE)


LOST_FREEZE = tracking.frozen(LOST, new_bitmap=B1)


@pytest.mark.parametrize(
    ("row", "freeze", "live", "state"),
    [
        (LIVE, FREEZE, True, TrackingState.LIVE),
        (LIVE, FREEZE, False, TrackingState.LOST),
        (LOST, FREEZE, True, TrackingState.LOST),
        (LOST, LOST_FREEZE, True, TrackingState.LIVE),
        (LOST, LOST_FREEZE, False, TrackingState.LOST),
        (replace(LOST, base=None), LOST_FREEZE, True, TrackingState.LIVE),
    ],
)
def test_commit(*, row: Tracking, freeze: FrozenBase, live: bool, state: TrackingState) -> None:
    """A3."""
    after = tracking.committed(row, freeze, S2, live=live)
    assert after == Tracking(base=S2, carry=frozenset(), epoch=3, state=state, bitmap=B1)


def test_a_freeze_of_a_lost_disk_carries_nothing() -> None:
    assert replace(FREEZE, lost=True, carry=frozenset()) == LOST_FREEZE


def test_failure_keeps_what_grew() -> None:
    moved = tracking.base_deleted(LIVE, S1, None, ["m2"])
    assert tracking.failed(moved, B1) == replace(moved, bitmap=B1, carry=frozenset({"m1", "m2"}), base=None)
    assert tracking.failed(moved, None) == tracking.lost(moved)
    assert tracking.failed(tracking.lost(moved), B1) == tracking.lost(moved, B1)


@pytest.mark.parametrize(
    ("row", "maps", "state", "carry"),
    [
        (LIVE, ["m2", "m3"], TrackingState.LIVE, {"m1", "m2", "m3"}),
        (STOPPED, ["m2"], TrackingState.STOPPED, {"m1", "m2"}),
        (LOST, ["m2"], TrackingState.LOST, set()),
        (LOST, None, TrackingState.LOST, set()),
        (LIVE, None, TrackingState.LOST, set()),
        (STOPPED, None, TrackingState.LOST, set()),
    ],
)
def test_the_base_moves(row: Tracking, maps: list[str] | None, state: TrackingState, carry: set[str]) -> None:
    after = tracking.base_deleted(row, S1, S3, maps)
    assert after == replace(row, base=S3, state=state, carry=frozenset(carry))


IDENTITY = FileIdentity(device=1, inode=2, size=3, mtime_ns=4, ctime_ns=5)
CHECKPOINT = Checkpoint(
    format=1, disk=DiskId("disk-1"), epoch=3, identity=IDENTITY, extents=tracking.extents_id("0" * 64)
)


def test_a_checkpoint_is_accepted_once() -> None:
    """A10, F4."""
    assert tracking.checkpoint_fault(STOPPED, DiskId("disk-1"), CHECKPOINT, IDENTITY) is None
    after = tracking.opened(STOPPED, CHECKPOINT, bitmap="b")
    assert after == Tracking(
        base=S1, carry=frozenset({"m1", "extents:" + "0" * 64}), epoch=4, state=TrackingState.LIVE, bitmap="b"
    )
    assert tracking.checkpoint_fault(after, DiskId("disk-1"), CHECKPOINT, IDENTITY) is not None
    again = tracking.stopped(after)
    assert "epoch" in (tracking.checkpoint_fault(again, DiskId("disk-1"), CHECKPOINT, IDENTITY) or "")
    assert tracking.opened(STOPPED, None, bitmap="b") == tracking.lost(replace(STOPPED, epoch=4), "b")


@pytest.mark.parametrize(
    ("row", "checkpoint", "identity"),
    [
        (STOPPED, None, IDENTITY),
        (STOPPED, CHECKPOINT, None),
        (STOPPED, replace(CHECKPOINT, format=2), IDENTITY),
        (STOPPED, replace(CHECKPOINT, epoch=2), IDENTITY),
        (STOPPED, replace(CHECKPOINT, epoch=4), IDENTITY),
        (STOPPED, replace(CHECKPOINT, disk=DiskId("disk-2")), IDENTITY),
        *(
            (STOPPED, CHECKPOINT, replace(IDENTITY, **{name: 9}))
            for name in ("device", "inode", "size", "mtime_ns", "ctime_ns")
        ),
        (LIVE, CHECKPOINT, IDENTITY),
        (LOST, CHECKPOINT, IDENTITY),
    ],
)
def test_a_checkpoint_is_refused(row: Tracking, checkpoint: Checkpoint | None, identity: FileIdentity | None) -> None:
    """F4, S5."""
    assert tracking.checkpoint_fault(row, DiskId("disk-1"), checkpoint, identity)


def test_rollback_is_lost_until_its_end() -> None:
    """A8, S6."""
    begun = tracking.rollback_begun(STOPPED)
    assert (begun.state, begun.base, begun.epoch) == (TrackingState.LOST, S1, 3)
    ended = Tracking(base=S2, carry=frozenset(), epoch=4, state=TrackingState.STOPPED)
    assert tracking.initialized(begun, S2) == ended
    assert tracking.initialized(begun) == replace(ended, base=None)
    for row in (STOPPED, LIVE, LOST):
        with pytest.raises(AssertionError):
            tracking.initialized(row, S2)


def test_a_comparison_counts_only_for_its_base_and_bitmap() -> None:
    """S26."""
    healed = tracking.rescanned(LOST, base=S1, bitmap=B0, extents="extents:1")
    assert healed == replace(LIVE, carry=frozenset({"extents:1"}))
    assert tracking.rescanned(LOST, base=S1, bitmap=B0, extents=None) == replace(LIVE, carry=frozenset())
    assert tracking.rescanned(LOST, base=S2, bitmap=B0, extents=None) is None
    assert tracking.rescanned(LOST, base=S1, bitmap=B1, extents=None) is None
    assert tracking.rescanned(LIVE, base=S1, bitmap=B0, extents=None) is None


def test_merging_the_carry_over() -> None:
    few = frozenset({"delta", "another", "extents:2"})
    assert tracking.carry_to_merge(few) == ()
    parts = tracking.carry_to_merge(few | {"extents:3"})
    assert parts == ("extents:2", "extents:3")
    row = replace(LIVE, carry=few | {"extents:3"})
    assert tracking.carry_merged(row, parts, "extents:1").carry == {"delta", "another", "extents:1"}
    # The union may have the name of the newest: nothing new was in the others.
    assert tracking.carry_merged(row, parts, "extents:3").carry == {"delta", "another", "extents:3"}
    assert tracking.carry_merged(LIVE, parts, "extents:1") == LIVE
    assert tracking.carry_merged(LOST, parts, "extents:1") == LOST


def test_an_orderly_stop_does_not_find_what_was_lost() -> None:
    assert replace(LIVE, state=TrackingState.STOPPED, bitmap=None) == STOPPED
    assert tracking.stopped(LOST) == tracking.lost(LOST)
    assert tracking.stopped(LOST).bitmap is None


def test_a_base_that_is_gone_is_given_up() -> None:
    """S11."""
    assert tracking.base_refused(LIVE) == replace(LOST, base=None)


def test_names_tell_epoch_base_snapshot_and_attempt_apart() -> None:
    """A11."""
    names = {
        tracking.bitmap_name(epoch, base, snapshot, attempt)
        for epoch in (1, 11)
        for base in (None, S1, S2)
        for snapshot in (None, S2, S3)
        for attempt in (1, 2)
    }
    assert len(names) == 2 * 3 * 3 * 2
    assert all(len(name) < 200 for name in names)

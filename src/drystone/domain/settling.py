"""What a storage daemon that is found, or not, means for a disk and its snapshot in flight (A2, A4, A10, A11).

Every function is pure; the rules of the rows are in `tracking`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from drystone.domain.tracking import FrozenBase, Tracking, TrackingState


class Phase(StrEnum):
    """How far a snapshot's operation has come, as its row says."""

    FREEZING = "FREEZING"
    """Recorded; the daemon's graph tells whether the reopen (the instant) has happened."""
    FROZEN = "FROZEN"
    """The old bitmap is disabled; the view is being read."""
    SPOOLED = "SPOOLED"
    """All of it is in the spool or the store, durably: the view may go, and what is in the spool is sent (A13)."""
    FAILING = "FAILING"
    """It will not commit; the bitmaps are merged, or were."""
    COMMITTED = "COMMITTED"
    """NORMAL, by the transaction that changed the row; view and old bitmap may still be there."""


class Verdict(StrEnum):
    """What becomes of the operation."""

    NONE = "NONE"
    """There is none."""
    RESUME = "RESUME"
    """Its view is whole: carry out the plan, then go on (FROZEN). The row stays as it is."""
    SEND = "SEND"
    """It needs no view any more: take view and exports away, carry out the plan, then go on (SPOOLED)."""
    FAIL = "FAIL"
    """It cannot go on: record FAILING (and `lost`, if said) in one transaction, then judge again.

    The plan has no steps: a daemon is changed only after the row says FAILING.
    """
    FAILED = "FAILED"
    """Carry out the plan, take view and exports away, then record the failure with the row, in one step."""
    CLEAN = "CLEAN"
    """It is NORMAL: take view and exports away and carry out the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bitmap:
    """A named bitmap of a disk as a running daemon reports it."""

    recording: bool
    inconsistent: bool = False
    busy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A snapshot's operation in flight, as its row says."""

    freeze: FrozenBase
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonPlan:
    """What to do to a daemon's bitmaps, in this order, and to the row.

    Doing it partly and judging again gives a plan that ends alike.
    """

    release: tuple[str, ...] = ()
    """Bitmaps that are busy and are acted upon: delete the exports that hold them first."""
    disable: tuple[str, ...] = ()
    merge: tuple[str, str] | None = None
    """(target, source): one QMP transaction merges source into target and removes source."""
    remove: tuple[str, ...] = ()
    bitmap: str | None = None
    """The bitmap that records afterwards; None with a running daemon: add one, only while `lost`."""
    lost: str | None = None
    """Why tracking is LOST; None if it is as good as before."""
    verdict: Verdict = Verdict.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bitmaps:
    """The named bitmaps of a daemon."""

    found: Mapping[str, Bitmap]

    def recording(self, name: str | None) -> bool:
        return name is not None and self.good(name) and self.found[name].recording

    def good(self, name: str | None) -> bool:
        return name is not None and name in self.found and not self.found[name].inconsistent


def judge_daemon(
    tracking: Tracking, bitmaps: Mapping[str, Bitmap] | None, flight: Flight | None, *, view: bool
) -> DaemonPlan:
    """Decide what a daemon that was found (or not) means for a disk's tracking and its snapshot in flight.

    Args:
        tracking: The row.
        bitmaps: Named bitmaps of the disk in the running daemon; None if no daemon has it open.
        flight: The snapshot's operation in flight, if any.
        view: Whether the filter that freezes this operation's view is in the daemon's graph and was inserted
            by it.

    Returns:
        The plan. Anything unexpected is LOST: a missing, inconsistent or stopped bitmap, or a name that the
        rows do not know (A10, A11).
    """
    if bitmaps is None:
        return _judge_absent(tracking, flight)
    daemon = _Bitmaps(found=bitmaps)
    if tracking.state is TrackingState.STOPPED:
        ended = Verdict.NONE if flight is None else _without_view(flight)
        plan = DaemonPlan(lost="a daemon runs although the disk was stopped", verdict=ended)
        known: set[str] = set()
    elif flight is None:
        plan, known = _judge_idle(tracking, daemon)
    elif flight.phase is not Phase.COMMITTED and flight.freeze.epoch != tracking.epoch:
        # Its daemon is gone; this one belongs to a later opening, and its bitmaps are judged without the operation.
        plan, known = _judge_idle(tracking, daemon)
        plan = replace(plan, verdict=_without_view(flight))
    elif flight.phase is Phase.COMMITTED:
        plan, known = _judge_committed(tracking, daemon, flight.freeze)
    elif flight.phase is Phase.SPOOLED:
        plan, known = _judge_spooled(tracking, daemon, flight.freeze)
    elif flight.phase is Phase.FAILING:
        plan, known = _judge_failing(daemon, flight.freeze)
    else:
        plan, known = _judge_freeze(tracking, daemon, flight, view=view)
    strangers = sorted(set(bitmaps) - known)
    if strangers and tracking.state is TrackingState.LIVE:
        plan = replace(plan, lost=plan.lost or f"no row knows the bitmaps {', '.join(strangers)}")
        if plan.verdict is Verdict.RESUME:
            # Somebody else works on this daemon: its view is not worth a NORMAL snapshot.
            return DaemonPlan(verdict=Verdict.FAIL, lost=plan.lost, bitmap=tracking.bitmap)
    plan = replace(plan, remove=tuple(sorted({*plan.remove, *strangers})))
    acted = {*plan.disable, *plan.remove, *(plan.merge or ())}
    return replace(plan, release=tuple(sorted(name for name in acted if bitmaps[name].busy)))


def _without_view(flight: Flight) -> Verdict:
    """Return what becomes of an operation whose opening has ended."""
    if flight.phase is Phase.COMMITTED:
        return Verdict.CLEAN
    return Verdict.SEND if flight.phase is Phase.SPOOLED else Verdict.FAILED


def _judge_absent(tracking: Tracking, flight: Flight | None) -> DaemonPlan:
    """No daemon: its bitmaps are gone with it, and so is the view of a snapshot that is not NORMAL."""
    verdict = Verdict.NONE if flight is None else _without_view(flight)
    if tracking.state is TrackingState.LIVE:
        return DaemonPlan(lost="the daemon is not running", verdict=verdict)
    return DaemonPlan(verdict=verdict)


def _judge_idle(tracking: Tracking, daemon: _Bitmaps) -> tuple[DaemonPlan, set[str]]:
    if daemon.recording(tracking.bitmap):
        assert tracking.bitmap is not None
        return DaemonPlan(bitmap=tracking.bitmap), {tracking.bitmap}
    lost_why = None
    if tracking.state is TrackingState.LIVE:
        lost_why = f"the bitmap {tracking.bitmap} is missing, inconsistent or does not record"
    return DaemonPlan(lost=lost_why), set()


def _judge_committed(tracking: Tracking, daemon: _Bitmaps, freeze: FrozenBase) -> tuple[DaemonPlan, set[str]]:
    """The old bitmap belongs to a NORMAL snapshot: remove it (A3); the rest is as without an operation."""
    plan, known = _judge_idle(tracking, daemon)
    old = freeze.old_bitmap
    if old is not None and old in daemon.found and old not in known:
        plan, known = replace(plan, remove=(old,)), {*known, old}
    return replace(plan, verdict=Verdict.CLEAN), known


def _judge_spooled(tracking: Tracking, daemon: _Bitmaps, freeze: FrozenBase) -> tuple[DaemonPlan, set[str]]:
    """A13: the snapshot can be NORMAL whatever is found. Until it is, both bitmaps say what its failure would need."""
    old, new = freeze.old_bitmap, freeze.new_bitmap
    if not daemon.recording(new):
        # The comparison's bitmap, after tracking was lost.
        plan, known = _judge_idle(tracking, daemon)
    elif old is None or daemon.good(old):
        disable = (old,) if old is not None and daemon.found[old].recording else ()
        plan, known = DaemonPlan(bitmap=new, disable=disable), {new} if old is None else {old, new}
    else:
        plan, known = DaemonPlan(bitmap=new, lost=f"the bitmap {old} is missing or inconsistent"), {new}
    return replace(plan, verdict=Verdict.SEND), known


def _judge_failing(daemon: _Bitmaps, freeze: FrozenBase) -> tuple[DaemonPlan, set[str]]:
    old, new = freeze.old_bitmap, freeze.new_bitmap
    plan = DaemonPlan(verdict=Verdict.FAILED)
    if daemon.recording(old):
        # It was never disabled, so it has every write; the new one has nothing more (A2: crash before the disable).
        assert old is not None
        return replace(plan, bitmap=old, remove=(new,) if new in daemon.found else ()), {old, new}
    if not daemon.recording(new):
        return replace(plan, lost=f"neither {old} nor {new} records"), set()
    if old is not None and daemon.good(old):
        return replace(plan, bitmap=new, merge=(new, old)), {old, new}
    if old in daemon.found:
        return replace(plan, bitmap=new, lost=f"the bitmap {old} is inconsistent"), {new}
    # Only the transaction that merges it removes the old one while FAILING. Where there was none, tracking
    # was LOST.
    return replace(plan, bitmap=new), {new}


def _judge_freeze(tracking: Tracking, daemon: _Bitmaps, flight: Flight, *, view: bool) -> tuple[DaemonPlan, set[str]]:
    old, new = flight.freeze.old_bitmap, flight.freeze.new_bitmap
    fail = DaemonPlan(verdict=Verdict.FAIL, bitmap=tracking.bitmap)
    everything = set(daemon.found)
    if old is not None and not daemon.good(old):
        # It must be said now: once FAILING, an absent old bitmap means that it was merged.
        return replace(fail, lost=f"the bitmap {old} is missing or inconsistent"), everything
    if not view:
        # Before the reopen nothing was frozen; after it the view is broken. The old bitmap tells which: it
        # records.
        return fail, everything
    if not daemon.recording(new):
        return replace(fail, lost=f"the bitmap {new} is missing, inconsistent or does not record"), everything
    disable = (old,) if old is not None and daemon.found[old].recording else ()
    plan = DaemonPlan(verdict=Verdict.RESUME, bitmap=new, disable=disable)
    return plan, {new} if old is None else {old, new}

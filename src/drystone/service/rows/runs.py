"""Runs of policies as rows: each change of one, with what people are told of it, in one transaction."""

from dataclasses import fields

from drystone.catalog import disks, policy_runs
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.policy import Run, RunReason, RunState
from drystone.service.rows import events
from drystone.service.transactions import Change

_ANSWERED = frozenset({RunReason.UNCHANGED, RunReason.NOT_IN_USE})
_TOLD = frozenset({RunReason.OVERLAP, RunReason.RECYCLED})
"""Reasons to skip that somebody should know of; for the others somebody has acted, or there is no disk."""


def add(change: Change, run: Run) -> None:
    """Make the row of a run; one that has ended already is told."""
    policy_runs.insert(change.conn, run)
    _tell(change, run)


def move(change: Change, before: Run, after: Run) -> bool:
    """Make a run stand where `after` says; return False if it does not stand where `before` does any more.

    Then nothing has changed.
    """
    values = {
        field.name: getattr(after, field.name)
        for field in fields(Run)
        if getattr(after, field.name) != getattr(before, field.name)
    }
    if not values:
        return True
    moved = policy_runs.compare_and_set(change.conn, before, values)
    if moved:
        _tell(change, after)
    return moved


def result_of(run: Run) -> str:
    """Return what a run that has ended is counted as: `done`, `failed`, or why it was skipped."""
    return str(run.reason or run.state) if run.state is RunState.SKIPPED else run.state.value


def _tell(change: Change, run: Run) -> None:
    """Tell of a run that ends without a snapshot (S220), and show it on the disk; a good one ends what was told."""
    if run.state.under_way:
        return
    prompt = f"policy {run.policy_id}: "
    disk = disks.get(change.conn, run.disk_id)
    if run.state is RunState.DONE or run.reason in _ANSWERED:
        for kind in (EventKind.RUN_FAILED, EventKind.RUN_SKIPPED):
            events.end(change, _trouble(kind, run))
        if disk is not None and disk.error_prompt.startswith(prompt):
            disks.compare_and_set(change.conn, disk.id, expected={}, values={"error_prompt": ""})
        return
    if run.state is RunState.SKIPPED and run.reason not in _TOLD:
        return
    kind = EventKind.RUN_FAILED if run.state is RunState.FAILED else EventKind.RUN_SKIPPED
    why = f"{run.reason}: {run.detail}" if run.detail else f"{run.reason}"
    events.note(change, _trouble(kind, run), Facts(reason=why, disk_id=run.disk_id, at=float(run.slot)))
    if disk is not None and disk.state.visible:
        values = {"error_prompt": f"{prompt}{why}"[:500]}
        disks.compare_and_set(change.conn, disk.id, expected={}, values=values)


def _trouble(kind: EventKind, run: Run) -> Trouble:
    return Trouble(kind=kind, account_id=run.account_id, subject_id=run.disk_id, aspect=run.policy_id)

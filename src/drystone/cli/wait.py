"""Waiting for the service to finish, with progress."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from drystone.cli import lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.lists import Record
from drystone.cli.output import Report
from drystone.cli.records import IN_VAIN
from drystone.cli.session import Session

FIRST_POLL_S = 0.05
POLL_S_MAX = 1.0
POLL_GROWTH = 1.5
QUIET_S = 1.0
"""Shorter waits show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far something is."""

    done: bool
    """Nothing is left to wait for."""
    percent: float | None = None
    """0 to 100, if known."""
    phase: str = ""
    """A word for what is being done."""


def wait_until(session: Session, look: Callable[[], Step], *, title: str, timeout_s: float) -> None:
    """Look again and again until it is done.

    Args:
        session: Tells the time and prints.
        look: Asks the service; raises CliError if what is waited for has failed.
        title: What is waited for.
        timeout_s: Longest wait in seconds.

    Raises:
        CliError: The time is over, or somebody pressed Ctrl-C; the work goes on in the service.
    """
    go_on = "it goes on in the server, see `drystone operation list`"
    started = session.monotonic()
    pause_s = FIRST_POLL_S
    report: Report | None = None
    with ExitStack() as stack:
        stack.enter_context(_interrupted(title, go_on))
        while True:
            step = look()
            if step.done:
                return
            waited_s = session.monotonic() - started
            if waited_s >= timeout_s:
                raise CliError(
                    Exit.TIMEOUT,
                    f"{title}: not done after {timeout_s:g} s; {go_on}",
                )
            if report is None and waited_s >= QUIET_S:
                report = stack.enter_context(session.out.progress(title))
            if report is not None:
                report(step.percent, step.phase)
            session.sleep(min(pause_s, max(timeout_s - waited_s, 0.001)))
            pause_s = min(pause_s * POLL_GROWTH, POLL_S_MAX)


@contextmanager
def _interrupted(title: str, go_on: str) -> Iterator[None]:
    """Say of what a wait was that Ctrl-C ends, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise CliError(Exit.INTERRUPTED, f"interrupted while waiting for {title}; {go_on}") from None


def wait_for_operation(session: Session, operation: str, *, title: str, timeout_s: float) -> Record:
    """Wait until an operation has ended well; return its record.

    Raises:
        CliError: It failed, is not known, or the time is over.
    """
    record: Record = {}

    def look() -> Step:
        nonlocal record
        record = lookup.one(session, lookup.OPERATION, operation)
        if record["state"] in IN_VAIN:
            raise lookup.failed(record, title)
        return Step(done=record["state"] == "DONE", percent=percent_of(record), phase=str(record["phase"] or ""))

    wait_until(session, look, title=title, timeout_s=timeout_s)
    return record


def wait_for_snapshot(session: Session, snapshot: str, *, title: str, timeout_s: float) -> None:
    """Wait until a snapshot is durable.

    Raises:
        CliError: It failed, or the time is over.
    """

    def look() -> Step:
        found = lookup.some(session, lookup.SNAPSHOT, [snapshot])
        if not found:
            # A snapshot that fails disappears; its operation says why.
            lookup.raise_if_failed(session, snapshot, "snapshot")
            raise CliError(Exit.NOT_FOUND, f"{snapshot} is gone: it failed, or somebody deleted it")
        state, percent = str(found[0]["state"]), percent_of(found[0])
        return Step(done=state != "CREATING" and percent >= 100, percent=percent, phase=state)

    wait_until(session, look, title=title, timeout_s=timeout_s)


def warn_of_less(session: Session, record: Record) -> None:
    """Say in one line that a snapshot is worth less than its profile asks for, if it is."""
    asked, given = record["consistency_asked"], record["consistency"]
    if asked is not None and asked != given:
        session.out.say(
            f"warning: {record['snapshot_id']} is {given}-consistent, not {asked}-consistent as its quiesce profile "
            f"asks for; `drystone snapshot show {record['snapshot_id']}` tells why (transcript)"
        )


def wait_for_rollback(
    session: Session, disks: list[str], known: frozenset[str], *, title: str, timeout_s: float
) -> None:
    """Wait until no disk is being rolled back.

    Raises:
        CliError: A rollback that is not among `known` has failed, or the time is over.
    """

    def look() -> Step:
        records = lookup.some(session, lookup.DISK, disks)
        running = [record for record in records if record["state"] == "ROLLBACKING" or record["rollbacking"]]
        if running:
            percents = [percent_of(record, "rollback_percent") for record in running]
            done = 100.0 * (len(records) - len(running))
            return Step(done=False, percent=(sum(percents) + done) / len(records), phase="ROLLBACKING")
        for disk in disks:
            lookup.raise_if_failed(session, disk, "rollback", known=known)
        return Step(done=True)

    wait_until(session, look, title=title, timeout_s=timeout_s)


def wait_for_state(
    session: Session, ids: Sequence[str], goal: str, *, kind: str, timeout_s: float, known: frozenset[str] = frozenset()
) -> None:
    """Wait until all disks are in the state `goal`; `kind` is the operation that leads there.

    Raises:
        CliError: An operation of that kind that is not among `known` has failed, or the time is over.
    """

    def look() -> Step:
        records = {str(record["disk_id"]): record for record in lookup.some(session, lookup.DISK, ids)}
        states = [str(records[identity]["state"]) if identity in records else "CREATING" for identity in ids]
        behind = [(identity, state) for identity, state in zip(ids, states, strict=True) if state != goal]
        for identity, state in behind:
            # On its way there is no failure yet; at rest elsewhere, look for one.
            if state in {"UNATTACHED", "ATTACHED", "CREATING"}:
                lookup.raise_if_failed(session, identity, kind, known)
        done = len(ids) - len(behind)
        return Step(
            done=not behind,
            percent=100 * done / len(ids) if len(ids) > 1 else None,
            phase=behind[0][1] if behind else goal,
        )

    wait_until(session, look, title=lookup.named(ids), timeout_s=timeout_s)


def percent_of(record: Record, field: str = "percent") -> float:
    """Return a percentage of a record, 0 where it says none."""
    return float(str(record[field] or 0))

"""Waiting for the service to finish, with progress."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from drystone.cli import lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.output import Report
from drystone.cli.session import Session

FIRST_POLL_S = 0.05
POLL_S_MAX = 1.0
POLL_GROWTH = 1.5
QUIET_S = 1.0
"""Shorter waits show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far something is.

    Attributes:
        done: Nothing is left to wait for.
        percent: 0 to 100, if known.
        phase: A word for what is being done.
    """

    done: bool
    percent: float | None = None
    phase: str = ""


def wait_until(session: Session, look: Callable[[], Step], *, title: str, timeout_s: float) -> None:
    """Look again and again until it is done.

    Args:
        session: Tells the time and prints.
        look: Asks the service; raises CliError if what is waited for has failed.
        title: What is waited for.
        timeout_s: Longest wait in seconds.

    Raises:
        CliError: The time is over; the work goes on in the service.
    """
    started = session.monotonic()
    pause_s = FIRST_POLL_S
    report: Report | None = None
    with ExitStack() as stack:
        while True:
            step = look()
            if step.done:
                return
            waited_s = session.monotonic() - started
            if waited_s >= timeout_s:
                raise CliError(
                    Exit.TIMEOUT,
                    f"{title}: not done after {timeout_s:g} s; it goes on in the server, see `drystone operation list`",
                )
            if report is None and waited_s >= QUIET_S:
                report = stack.enter_context(session.out.progress(title))
            if report is not None:
                report(step.percent, step.phase)
            session.sleep(min(pause_s, max(timeout_s - waited_s, 0.001)))
            pause_s = min(pause_s * POLL_GROWTH, POLL_S_MAX)


def wait_for_operation(session: Session, operation: str, *, title: str, timeout_s: float) -> None:
    """Wait until an operation has ended well.

    Raises:
        CliError: It failed, is not known, or the time is over.
    """

    def look() -> Step:
        found = lookup.operations(session, [operation], limit=1)
        if not found:
            raise CliError(Exit.NOT_FOUND, f"there is no operation {operation}; `drystone operation list` shows them")
        if found[0]["state"] == "FAILED":
            raise lookup.failed(found[0], title)
        done = found[0]["state"] == "DONE"
        return Step(done=done, percent=float(str(found[0]["percent"] or 0)), phase=str(found[0]["phase"] or ""))

    wait_until(session, look, title=title, timeout_s=timeout_s)

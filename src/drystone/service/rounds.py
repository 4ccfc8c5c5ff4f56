"""What is done again and again, and what becomes of a round that fails (S135).

Disks are served by processes of their own; this one breaks snapshots near the floor, serves the disks of dead daemons
again and answers calls. So a bug ends the round, the operation or the call that met it, never the server: ending it
would help nobody, and the next start would meet the same bug. It is an error of the log with its trace, it is counted
for the metrics, and its round comes ever more seldom. What passes by itself is a warning.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from drystone.domain.errors import DrystoneError, UnavailableError, expected

log = structlog.get_logger()
BUG_SECONDS_MAX = 60.0
"""The longest pause after rounds that met a bug, for loops that are quicker."""
INSIST_SECONDS_MAX = 10.0
"""The longest pause before a step of the start is tried again: whoever started the server waits."""


class Bugs:
    """Bugs that were met since the start, by place."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, error: Exception, event: str, *, severe: bool = False, **what: object) -> DrystoneError | None:
        """Log a failure, and count it if it is a bug.

        Args:
            error: What was caught.
            event: What failed, for the log; of a bug the place that is counted.
            severe: Somebody must act, also if it is expected.
            **what: Further fields for the log.

        Returns:
            What was expected; None for a bug.
        """
        why = expected(error)
        if why is None:
            self.counts[event] += 1
            log.error("bug", place=event, count=self.counts[event], exc_info=error, **what)
        else:
            (log.error if severe else log.warning)(event, error=str(why), error_kind=type(why).__name__, **what)
        return why


async def repeat(
    name: str,
    seconds: float,
    once: Callable[[], Awaitable[object]],
    bugs: Bugs,
    *,
    seconds_max: float = BUG_SECONDS_MAX,
) -> None:
    """Await `once` again and again until cancelled, `seconds` after it returned or failed.

    Args:
        name: For the log.
        seconds: The pause.
        once: One round; one that never returns is begun again when a bug has ended it.
        bugs: Where a bug is counted.
        seconds_max: The longest pause after rounds that met a bug, if that is longer than `seconds`.
    """
    in_a_row = 0
    while True:
        pause = seconds
        try:
            await once()
            in_a_row = 0
        except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
            if bugs.note(error, f"loop.{name}") is None:
                in_a_row += 1
                pause = max(seconds, min(seconds_max, seconds * 2 ** min(in_a_row, 20)))
        await asyncio.sleep(pause)


async def tried(step: str, once: Callable[[], Awaitable[object]]) -> None:
    """Do a step of the start that may be left for later: the server serves what it can (S135).

    Raises:
        DrystoneError: It failed of what does not pass by itself.
    """
    try:
        await once()
    except Exception as error:
        why = expected(error)
        if not isinstance(why, UnavailableError):
            raise
        log.warning("start.step_failed", step=step, error=str(why))


async def insisted(step: str, once: Callable[[], Awaitable[object]], bugs: Bugs) -> None:
    """Do a step of the start that cannot be left out, as soon as it can be done."""
    attempt = 0
    while True:
        try:
            await once()
        except Exception as error:  # noqa: BLE001 - noted: what fails here must not end the rest (S135)
            bugs.note(error, f"start.{step}", severe=True)
        else:
            return
        await asyncio.sleep(min(INSIST_SECONDS_MAX, 2.0**attempt))
        attempt += 1

"""Asking a watchdog to hold things still, and to let go: the side of the service."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from drystone.domain.errors import DrystoneError
from drystone.quiesce.plan import LINE_BYTES_MAX, THAW, Event, Plan, decode_event, encode_plan

START_SECONDS_MAX = 30.0
"""A Python process starts in tenths of a second, on a busy machine in seconds. Nothing is held meanwhile."""
THAW_SECONDS_MAX = 60.0
"""Longer than a watchdog may take; one that does not answer goes on thawing without us."""


class QuiesceError(DrystoneError):
    """What was to be held still could not be, or not until the instant; nothing is held any more."""


class Hold:
    """Things held still by a watchdog.

    Args:
        plan: What it was asked.
        process: The watchdog.
    """

    def __init__(self, plan: Plan, process: asyncio.subprocess.Process) -> None:
        self._plan = plan
        self._process = process
        self.events: list[Event] = []
        self._ended = False

    @property
    def held(self) -> list[bool]:
        """Of each step: whether it was held when the last one was done."""
        done = {event.step for event in self.events if event.name == "freeze" and event.ok}
        return [index in done for index in range(len(self._plan.steps))]

    async def wait_held(self) -> None:
        """Wait until every step was done, or has failed.

        Raises:
            QuiesceError: The time was up before, or the watchdog has died.
        """
        try:
            async with asyncio.timeout(START_SECONDS_MAX + self._plan.seconds_max):
                while (event := await self._next()) is not None:
                    if event.name == "held":
                        return
        except TimeoutError as error:
            raise QuiesceError("the watchdog does not answer") from error
        raise QuiesceError(f"not everything could be held still within {self._plan.seconds_max:g} s")

    async def thaw(self) -> bool:
        """Let go of everything; return whether all that was held was held until now. May be repeated."""
        if not self._ended and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(THAW)
                await self._process.stdin.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(THAW_SECONDS_MAX):
                    while await self._next() is not None:
                        pass
        return any(event.name == "end" and event.ok for event in self.events)

    async def _next(self) -> Event | None:
        """Return the next event; None after the last."""
        assert self._process.stdout is not None
        line = b"" if self._ended else await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            self._ended = True
            return None
        event = decode_event(line)
        self.events.append(event)
        if event.name == "end":
            self._ended = True
            return None
        return event


@contextlib.asynccontextmanager
async def holding(plan: Plan) -> AsyncIterator[Hold]:
    """Start a watchdog and hold what the plan says while the block runs; however it is left, all is thawed.

    Raises:
        QuiesceError: It could not be started, or the time was up before everything was held.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "drystone.quiesce.watchdog",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES_MAX,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise QuiesceError(f"the watchdog cannot be started: {error}") from error
    assert process.stdin is not None
    hold = Hold(plan, process)
    try:
        with contextlib.suppress(OSError):
            process.stdin.write(encode_plan(plan))
            await process.stdin.drain()
        await hold.wait_held()
        yield hold
    finally:
        # It is never killed: it is the one that thaws. The end of its input tells it to.
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(THAW_SECONDS_MAX):
                await process.wait()

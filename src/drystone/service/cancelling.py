"""Ending an operation that somebody cancels (S260).

That it is cancelled is in its row from the call on: a RUNNING row with this code. So a crash takes nothing back, and no
transaction that would be beyond recall passes the row by. What takes long is broken off where it can be anywhere;
everything else goes on to its own next look at the row.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from drystone.domain.errors import DrystoneError, Refusal, RefusalError, ungrouped

R = TypeVar("R")
CANCELLED = "It was cancelled."
asked: ContextVar[asyncio.Event | None] = ContextVar("asked", default=None)
"""Set when the operation that runs here is cancelled; its tasks have it too. None: nobody can."""


def cancelled() -> RefusalError:
    """Return what ends an operation that was cancelled."""
    return RefusalError(Refusal.CANCELLED, CANCELLED)


async def breakable(work: Coroutine[Any, Any, R]) -> R:
    """Return what `work` returns, or break it off when the operation is cancelled: it may be cut off at any await.

    Raises:
        RefusalError: `CANCELLED`; the work has ended.
        DrystoneError: What it raised.
    """
    event = asked.get()
    if event is None:
        return await work
    if event.is_set():
        work.close()
        raise cancelled()
    with ungrouped(DrystoneError):
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_raise_when(event))
            answer = await work
            watching.cancel()
    return answer


async def _raise_when(event: asyncio.Event) -> None:
    await event.wait()
    raise cancelled()

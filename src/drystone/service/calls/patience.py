"""Calls that meet a disk on its way to another state wait for it, some seconds, before they refuse.

Clients issue calls in parallel that a person would issue one after the other: Terraform makes a disk's attachment and
its snapshot at once, and destroys a disk right after it detached it, without a look at its state between.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from drystone.domain.errors import PassingError

T = TypeVar("T")
SECONDS_MAX = 10.0
"""Attaching and detaching take about a second; clients give a call up after 60."""
FIRST_SECONDS, MOST_SECONDS, GROWTH = 0.05, 1.0, 1.6
"""Between two tries: short at first, for most states pass at once; each try is a transaction, and others write, too."""


async def patiently(attempt: Callable[[], Awaitable[T]], *, seconds: float = SECONDS_MAX) -> T:
    """Return what `attempt` returns; while it refuses for what passes by itself, try again.

    Raises:
        RefusalError: Of the last try; each try that was refused changed nothing.
    """
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + seconds, FIRST_SECONDS
    while True:
        try:
            return await attempt()
        except PassingError:
            if loop.time() + pause > until:
                raise
        await asyncio.sleep(pause)
        pause = min(MOST_SECONDS, pause * GROWTH)

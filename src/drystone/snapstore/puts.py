"""Packs on their way into the store: several at once over a network, in bounded memory (S230)."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, TypeVar

T = TypeVar("T")
AT_ONCE: Final = 4
"""What a session has on its way at most, over a network: 128 MiB in packs of 32. That keeps 1 Gbit/s at 200 ms busy."""
QUICK_S: Final = 16.0
"""A pack that takes longer fills the link by itself: beside others it would only come nearer to its time limit."""


class Puts(Generic[T]):
    """Writes objects in threads of its own, in the order in which they were given; for one calling thread.

    Args:
        far: Whether the store is over a network; else one is written at a time.
        monotonic: Seconds.
    """

    def __init__(self, *, far: bool, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = AT_ONCE if far else 1
        self._allowed = min(2, self._most)
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="store")
        self._flying: deque[Future[T]] = deque()
        self._done: list[T] = []

    def begin(self, put: Callable[[], T]) -> None:
        """Begin to write one, once there is room for it.

        Raises:
            DrystoneError: One of those before could not be written; nothing may follow but `end`.
        """
        self._wait(self._allowed - 1)
        self._flying.append(self._threads.submit(self._timed, put))

    def finish(self) -> list[T]:
        """Wait for all, and return what each returned, in order.

        Raises:
            DrystoneError: As `begin`.
        """
        self._wait(0)
        return self._done

    def end(self) -> None:
        """End the threads: what has begun is waited for, what has not is given up."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def leave(self) -> None:
        """End the threads without waiting: what has begun goes on, what has not is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _wait(self, left: int) -> None:
        while len(self._flying) > left:
            self._done.append(self._flying.popleft().result())

    def _timed(self, put: Callable[[], T]) -> T:
        began = self._monotonic()
        made = put()
        quick = self._monotonic() - began < QUICK_S
        # Of those who end at the same time one counts: a step more or less changes nothing.
        self._allowed = min(self._most, self._allowed + 1) if quick else max(1, self._allowed // 2)
        return made

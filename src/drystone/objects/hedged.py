"""A store whose slowest reads are asked for a second time (S233)."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, TypeVar

from drystone.domain.errors import UnavailableError
from drystone.objects.around import Around, Kind

R = TypeVar("R")
KNOWN: Final = 64
"""Reads of about one size by which the next one is judged."""
KNOWN_LEAST: Final = 16
LEAST_S: Final = 0.02
"""What is quicker than this is not worth a second request."""
SHARE: Final = 1 / 32
"""Second requests among all, at most."""
SAVED_MAX: Final = 4.0
"""How many may come one after the other after a time without any."""
TROUBLE_S: Final = 30.0
"""So long after an error there are none: they would be more load on a store that has too much."""
THREADS: Final = 64
"""Requests that may have a second one, at the same time. Those beyond are made as if nothing of this was there."""


class Tail:
    """How long reads take, and when one takes too long; may be shared by threads.

    Args:
        monotonic: Seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self._lock = threading.Lock()
        self._known: dict[int, deque[float]] = {}
        """By size: those of one row differ by a factor of four at most."""
        self._saved = 0.0
        self._trouble_until = float("-inf")
        self._busy = 0
        self.threads = ThreadPoolExecutor(2 * THREADS, thread_name_prefix="hedge")

    def begin(self, size: int) -> float | None:
        """Return after how many seconds a read has a second request; None if it has none. `end` follows a number."""
        with self._lock:
            known = self._known.get(_row(size))
            if (
                known is None
                or len(known) < KNOWN_LEAST
                or self._saved < 1
                or self._busy >= THREADS
                or self.monotonic() < self._trouble_until
            ):
                return None
            self._busy += 1
            ordered = sorted(known)
            return max(LEAST_S, ordered[len(ordered) * 95 // 100], 2 * ordered[len(ordered) // 2])

    def end(self) -> None:
        """Say that a read that might have had a second request is over."""
        with self._lock:
            self._busy -= 1

    def spend(self) -> bool:
        """Tell whether there may be a second request now, and count it."""
        with self._lock:
            if self._saved < 1 or self.monotonic() < self._trouble_until:
                return False
            self._saved -= 1
            return True

    def learn(self, size: int, seconds: float) -> None:
        """Learn from a first request."""
        with self._lock:
            self._known.setdefault(_row(size), deque(maxlen=KNOWN)).append(seconds)
            self._saved = min(SAVED_MAX, self._saved + SHARE)

    def trouble(self) -> None:
        """Say that a request failed."""
        with self._lock:
            self._trouble_until = self.monotonic() + TROUBLE_S
            self._saved = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedged(Around):
    """An `ObjectStore` over another; of two requests for the same the first answer counts.

    Objects never change, so either answer is right. For those whom somebody waits for: it costs requests.
    """

    tail: Tail

    def get_range(self, name: str, start: int, stop: int) -> bytes:
        """Return part of an object; see `ObjectStore.get_range`."""
        return self.request("get_range", name, stop - start, lambda: self.inner.get_range(name, start, stop))

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request, a second one if it is a read that takes long; of a range `sent_bytes` is its length."""
        del name
        if kind != "get_range":
            return ask()
        after_s = self.tail.begin(sent_bytes)
        if after_s is None:
            return self._timed(ask, sent_bytes)
        try:
            return self._twice(ask, sent_bytes, after_s)
        finally:
            self.tail.end()

    def _twice(self, ask: Callable[[], R], size: int, after_s: float) -> R:
        first: Future[R] = self.tail.threads.submit(self._timed, ask, size)
        if wait((first,), after_s).done or not self.tail.spend():
            return first.result()
        second: Future[R] = self.tail.threads.submit(ask)
        done, _ = wait((first, second), return_when=FIRST_COMPLETED)
        one = first if first in done else second
        # A failure of one of them is none while the other may still answer.
        return one.result() if one.exception() is None else (second if one is first else first).result()

    def _timed(self, ask: Callable[[], R], size: int) -> R:
        began = self.tail.monotonic()
        try:
            answer = ask()
        except UnavailableError:
            self.tail.trouble()
            raise
        self.tail.learn(size, self.tail.monotonic() - began)
        return answer


def _row(size: int) -> int:
    return size.bit_length() // 2

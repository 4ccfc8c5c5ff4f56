"""How much is worth asking of a store over a network at once (S231)."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

FIRST_BYTES: Final = 8 << 20
"""Until something is known."""
LEAST_BYTES: Final = 4 << 20
"""So many requests that one which takes long holds up nobody for long."""
MOST_BYTES: Final = 64 << 20
"""Twice what 1 Gbit/s has on its way in 250 ms."""
GAIN: Final = 3.0
"""Once what is on its way, once for requests whose packets were lost, and once to see whether there is more."""
RATE_S: Final = 10.0
"""How long the quickest counts."""
LATENCY_S: Final = 60.0
"""In this time the shortest latency is forgotten by a tenth: the way may have become longer."""
SAMPLES: Final = 8


class Pace:
    """Latency and rate of one store, told by what was asked of it; may be shared by threads.

    The rate is what all requests together brought while one was under way, at best lately; the latency that of the
    quickest request. Their product is on its way when the link is busy and nothing waits in it. To ask for much more
    makes nothing quicker, and keeps whoever asks for a little waiting behind it.

    Args:
        monotonic: Seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._delivered = 0
        self._samples = 0
        self._rates: deque[tuple[float, float]] = deque()
        """Descending rates, each quicker than all after it."""
        self._latency_s = 0.0
        self._latency_since = 0.0

    def measured(self, read: Callable[[], bytes], worth_bytes: int) -> bytes:
        """Return what `read` does, and learn from how long it took.

        Args:
            read: Makes a request.
            worth_bytes: What it brings, as whoever asks counts it: bytes of the disk, not as they are stored.
        """
        with self._lock:
            began, before = self._monotonic(), self._delivered
        raw = read()
        with self._lock:
            now = self._monotonic()
            seconds = max(now - began, 1e-4)
            self._delivered += worth_bytes
            rate = (self._delivered - before) / seconds
            self._forget(now)
            while self._rates and self._rates[-1][1] <= rate:
                self._rates.pop()
            self._rates.append((now, rate))
            self._samples += 1
            if self._samples == 1:
                self._latency_s, self._latency_since = seconds, now
            else:
                older = self._latency_s * (1 + 0.1 * (now - self._latency_since) / LATENCY_S)
                self._latency_s, self._latency_since = min(seconds, older), now
        return raw

    @property
    def window_bytes(self) -> int:
        """What is worth having on its way."""
        with self._lock:
            self._forget(self._monotonic())
            if not self._rates or self._samples < SAMPLES:
                return FIRST_BYTES
            return int(min(max(GAIN * self._rates[0][1] * self._latency_s, LEAST_BYTES), MOST_BYTES))

    def _forget(self, passed_s: float) -> None:
        while self._rates and self._rates[0][0] < passed_s - RATE_S:
            self._rates.popleft()

"""A store to and from which only so many bytes go in a second."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from drystone.objects.around import Around, Kind

R = TypeVar("R")


@dataclass(slots=True, kw_only=True)
class Bandwidth:
    """So many bytes a second; may be shared by stores and threads."""

    bytes_per_s: float
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _free_s: float = 0.0

    def spend(self, count: int) -> None:
        """Return once so many bytes may have passed; each caller waits for those before it."""
        with self._lock:
            now = self.monotonic()
            self._free_s = max(now, self._free_s) + count / self.bytes_per_s
            wait = self._free_s - now
        if wait > 0:
            self.pause(wait)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited(Around):
    """An `ObjectStore` over another, whose bytes are spent: what is sent before, what is received after."""

    bandwidth: Bandwidth

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request when its bytes may go."""
        del kind, name
        if sent_bytes:
            self.bandwidth.spend(sent_bytes)
        answer = ask()
        if isinstance(answer, bytes):
            self.bandwidth.spend(len(answer))
        return answer

"""Reading ahead of those who read in order (S206, S231)."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from drystone.domain.errors import DrystoneError

NEAR: Final = 8
"""Whoever reads in order may have so many stretches asked for at once, and leave as many out."""
GROUP_MAX: Final = 4
"""Stretches that are loaded as one, where many are: fewer requests for the same bytes."""
_STREAMS_MAX: Final = 16
_ACTIVE_S: Final = 5.0


class Streams:
    """Those who read in order, told by what they read; not thread-safe."""

    def __init__(self) -> None:
        self._streams: OrderedDict[int, tuple[int, int]] = OrderedDict()
        """By a number of their own: the last stretch that was read, and how many were in order."""
        self._count = 0

    def read(self, stretch: int, most: Callable[[], int]) -> range:
        """Note that a stretch is read; return those that will be next: the more, the more were read in order.

        Args:
            stretch: Its number.
            most: Says how many they may be; asked only of those who read in order.
        """
        for key, (last, run) in reversed(self._streams.items()):
            # A leap is believed of those who have read in order: they leave holes out.
            if last - NEAR < stretch <= last + (NEAR if run > 1 else 2):
                new = max(last, stretch), run + (stretch > last)
                self._streams[key] = new
                self._streams.move_to_end(key)
                wanted = 2 * (new[1] - 1)
                return range(new[0] + 1, new[0] + 1 + (min(most(), wanted) if wanted > 0 else 0))
        self._count += 1
        self._streams[self._count] = (stretch, 0)
        if len(self._streams) > _STREAMS_MAX:
            self._streams.popitem(last=False)
        return range(0)


class Share:
    """What may be read ahead of all who share a cache; thread-safe.

    Args:
        stretches: For all together: what is read ahead must not push out what others read ahead.
        monotonic: Seconds.
    """

    def __init__(self, stretches: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stretches = stretches
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._active: dict[int, float] = {}

    def of(self, who: object) -> int:
        """Return how many stretches are one reader's, who reads in order now."""
        with self._lock:
            now = self._monotonic()
            self._active[id(who)] = now
            self._active = {key: at for key, at in self._active.items() if now - at < _ACTIVE_S}
            return self._stretches // len(self._active)


class Ahead:
    """Loads what will be read, in threads; thread-safe.

    Args:
        pool: The threads.
        load: Loads stretches that follow each other to where whoever reads them looks first.
        most: Says how many stretches may be loaded and not read yet.
    """

    def __init__(self, pool: ThreadPoolExecutor, load: Callable[[range], None], most: Callable[[], int]) -> None:
        self._pool = pool
        self._load = load
        self._most = most
        self._lock = threading.Lock()
        self._streams = Streams()
        self._begun: OrderedDict[int, Future[None]] = OrderedDict()
        self._kept = 2 * NEAR

    def read(self, stretch: int, stretches: int) -> None:
        """Return once a stretch that is about to be read was loaded, if it was begun; begin the next ones.

        Args:
            stretch: Its number.
            stretches: How many there are.
        """
        with self._lock:
            following = self._streams.read(stretch, self._most)
            for group in groups(following, stretches):
                missing = [number for number in group if number not in self._begun]
                if missing:
                    with suppress(RuntimeError):  # It was closed.
                        future = self._pool.submit(self._load, range(missing[0], missing[-1] + 1))
                        self._begun.update(dict.fromkeys(missing, future))
            mine = self._begun.get(stretch)
            self._kept = max(self._kept, 2 * len(following))
            while len(self._begun) > self._kept:
                self._begun.popitem(last=False)[1].cancel()
        if mine is not None:
            # What went wrong is found again by whoever reads.
            with suppress(DrystoneError, CancelledError):
                mine.result()


def groups(following: range, stretches: int) -> list[range]:
    """Cut what will be read into what is loaded at once; of many, what does not fill a group has time."""
    size = min(GROUP_MAX, max(1, len(following) // 8))
    size = 1 << (size.bit_length() - 1)
    stop = min(following.stop, stretches)
    found = []
    at = following.start
    while at < stop:
        end = (at // size + 1) * size
        if end > stop and stop < stretches:
            break
        found.append(range(at, min(end, stop)))
        at = end
    return found

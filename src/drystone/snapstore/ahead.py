"""Reading ahead of those who read in order (S206)."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from drystone.domain.errors import DrystoneError

NEAR: Final = 8
"""Whoever reads in order may have so many stretches asked for at once, and leave as many out."""
_STREAMS_MAX: Final = 16


class Streams:
    """Those who read in order, told by what they read; not thread-safe.

    Args:
        ahead_max: How many stretches they are ahead of at most.
    """

    def __init__(self, ahead_max: int) -> None:
        self._ahead_max = ahead_max
        self._streams: OrderedDict[int, tuple[int, int]] = OrderedDict()
        """By a number of their own: the last stretch that was read, and how many were in order."""
        self._count = 0

    def read(self, stretch: int) -> range:
        """Note that a stretch is read; return those that will be next: the more, the more were read in order."""
        for key, (last, run) in reversed(self._streams.items()):
            # A leap is believed of those who have read in order: they leave holes out.
            if last - NEAR < stretch <= last + (NEAR if run > 1 else 2):
                new = max(last, stretch), run + (stretch > last)
                self._streams[key] = new
                self._streams.move_to_end(key)
                return range(new[0] + 1, new[0] + 1 + min(self._ahead_max, 2 * (new[1] - 1)))
        self._count += 1
        self._streams[self._count] = (stretch, 0)
        if len(self._streams) > _STREAMS_MAX:
            self._streams.popitem(last=False)
        return range(0)


class Ahead:
    """Loads what will be read, in threads; thread-safe.

    Args:
        pool: The threads.
        load: Loads a stretch to where whoever reads it looks first.
        ahead_max: How many stretches may be loaded and not read yet.
    """

    def __init__(self, pool: ThreadPoolExecutor, load: Callable[[int], None], ahead_max: int) -> None:
        self._pool = pool
        self._load = load
        self._kept = 2 * ahead_max
        self._lock = threading.Lock()
        self._streams = Streams(ahead_max)
        self._begun: OrderedDict[int, Future[None]] = OrderedDict()

    def read(self, stretch: int, stretches: int) -> None:
        """Return once a stretch that is about to be read was loaded, if it was begun; begin the next ones.

        Args:
            stretch: Its number.
            stretches: How many there are.
        """
        with self._lock:
            for number in self._streams.read(stretch):
                if number < stretches and number not in self._begun:
                    with suppress(RuntimeError):  # It was closed.
                        self._begun[number] = self._pool.submit(self._load, number)
            mine = self._begun.get(stretch)
            while len(self._begun) > self._kept:
                self._begun.popitem(last=False)[1].cancel()
        if mine is not None:
            # What went wrong is found again by whoever reads.
            with suppress(DrystoneError, CancelledError):
                mine.result()

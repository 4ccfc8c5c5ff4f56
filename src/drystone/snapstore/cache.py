"""A cache with a limit in bytes, shared by threads."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Keeps what was used last, up to `bytes_max` as counted by whoever puts it in."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._rows: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._made: dict[K, threading.Event] = {}
        """What somebody is making just now, and an event for its end."""

    def once(self, key: K, make: Callable[[], tuple[V, int]]) -> V:
        """Return what is under `key`, or what `make` returns with its size; of those who ask at once one makes it."""
        while True:
            found = self.get(key)
            if found is not None:
                return found
            mine = threading.Event()
            with self._lock:
                making = self._made.setdefault(key, mine)
            if making is mine:
                break
            making.wait()
        try:
            value, size = make()
            self.put(key, value, size)
            return value
        finally:
            with self._lock:
                del self._made[key]
            mine.set()

    def get(self, key: K) -> V | None:
        """Return what was put under `key`, if it is still here."""
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                return None
            self._rows.move_to_end(key)
            return row[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep `value`, and forget the oldest beyond the limit (never the one just put)."""
        with self._lock:
            old = self._rows.pop(key, None)
            self._bytes += size - (old[1] if old else 0)
            self._rows[key] = (value, size)
            while self._bytes > self._bytes_max and len(self._rows) > 1:
                _, (_, freed) = self._rows.popitem(last=False)
                self._bytes -= freed

    def drop(self, key: K) -> None:
        """Forget `key`."""
        with self._lock:
            old = self._rows.pop(key, None)
            self._bytes -= old[1] if old else 0

"""A store that counts what a provider would charge: requests by kind, and a listing by its pages."""

from collections import Counter
from collections.abc import Iterator

from drystone.objects.contract import ObjectEntry, ObjectStore, Parts, StoreTime

PAGE = 1000
"""Names that one request of a listing returns."""


class CountingStore:
    """An `ObjectStore` around another one.

    Args:
        inner: Does the work.
    """

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.requests: Counter[str] = Counter()
        self.prefixes: list[str] = []

    def put(self, name: str, data: Parts) -> None:
        """See `ObjectStore.put`."""
        self.requests["put"] += 1
        self._inner.put(name, data)

    def replace(self, name: str, data: Parts) -> None:
        """See `ObjectStore.replace`."""
        self.requests["put"] += 1
        self._inner.replace(name, data)

    def get(self, name: str) -> bytes:
        """See `ObjectStore.get`."""
        self.requests["get"] += 1
        return self._inner.get(name)

    def get_range(self, name: str, start: int, stop: int) -> bytes:
        """See `ObjectStore.get_range`."""
        self.requests["get"] += 1
        return self._inner.get_range(name, start, stop)

    def size(self, name: str) -> int:
        """See `ObjectStore.size`."""
        self.requests["head"] += 1
        return self._inner.size(name)

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        """See `ObjectStore.list`."""
        self.prefixes.append(prefix)
        self.requests["list"] += 1
        for number, entry in enumerate(self._inner.list(prefix)):
            self.requests["list"] += number > 0 and number % PAGE == 0
            yield entry

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        self.requests["delete"] += 1
        self._inner.delete(name)

    def clock(self) -> StoreTime | None:
        """See `ObjectStore.clock`."""
        return self._inner.clock()

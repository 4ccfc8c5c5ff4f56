"""What decorators of a store share: each request passes through one place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from drystone.objects.contract import ObjectEntry, ObjectStore, Parts, StoreTime, parts_of

R = TypeVar("R")
Kind = Literal["put", "replace", "get", "get_range", "size", "list", "delete", "clock"]
LISTED = 1000
"""Names of one page of a listing: what S3 gives at most for a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """An `ObjectStore` that passes each request on to another; a decorator says how in `request` and `pages`.

    Attributes:
        inner: The other.
    """

    inner: ObjectStore

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request by calling `ask`.

        Args:
            kind: The method.
            name: What it is about.
            sent_bytes: Bytes of content that it sends.
            ask: Makes it, of the other store.
        """
        del kind, name, sent_bytes
        return ask()

    def pages(self, prefix: str) -> Iterator[ObjectEntry]:
        """List; as `request`."""
        return self.inner.list(prefix)

    def put(self, name: str, data: Parts) -> str | None:
        """Write a new object; see `ObjectStore.put`."""
        return self.request("put", name, _length(data), lambda: self.inner.put(name, data))

    def replace(self, name: str, data: Parts) -> str | None:
        """Write a mutable object; see `ObjectStore.replace`."""
        return self.request("replace", name, _length(data), lambda: self.inner.replace(name, data))

    def get(self, name: str) -> bytes:
        """Return a whole object; see `ObjectStore.get`."""
        return self.request("get", name, 0, lambda: self.inner.get(name))

    def get_range(self, name: str, start: int, stop: int) -> bytes:
        """Return part of an object; see `ObjectStore.get_range`."""
        return self.request("get_range", name, 0, lambda: self.inner.get_range(name, start, stop))

    def size(self, name: str) -> int:
        """Return an object's length in bytes; see `ObjectStore.size`."""
        return self.request("size", name, 0, lambda: self.inner.size(name))

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        """Yield objects by name; see `ObjectStore.list`."""
        return self.pages(prefix)

    def delete(self, name: str) -> None:
        """Remove an object; see `ObjectStore.delete`."""
        self.request("delete", name, 0, lambda: self.inner.delete(name))

    def clock(self) -> StoreTime | None:
        """Return what time the store has; see `ObjectStore.clock`."""
        return self.request("clock", "", 0, self.inner.clock)


def _length(data: Parts) -> int:
    return sum(memoryview(part).nbytes for part in parts_of(data))

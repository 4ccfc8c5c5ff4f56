"""An object store in memory that can be cut off after any operation: the verified fake of the tests."""

import threading
from collections.abc import Iterator

from drystone.domain.errors import IntegrityError, SpaceError, UnavailableError
from drystone.objects.contract import NotFoundError, ObjectEntry, Parts, StoreTime, check_name, parts_of


class CutError(UnavailableError):
    """The power went; every later call fails too."""


class MemoryStore:
    """An `ObjectStore` that forgets.

    Args:
        content: What it begins with; copied.
        cut_after: How many changes (put, replace, delete) succeed before the power goes; None: it never does.
        lands: Whether the change at which the power goes still happened, though its caller sees a failure.
        capacity_bytes: Beyond this, writes raise `SpaceError`.
    """

    def __init__(
        self,
        content: dict[str, bytes] | None = None,
        *,
        cut_after: int | None = None,
        lands: bool = False,
        capacity_bytes: int | None = None,
    ) -> None:
        self._objects = dict(content or {})
        self._lock = threading.Lock()
        self._cut_after = cut_after
        self._lands = lands
        self._capacity_bytes = capacity_bytes
        self.versions: dict[str, str] | None = None
        """The last version of each object by name, of a store that keeps versions."""
        self.changes: list[tuple[str, str]] = []
        """(operation, name) of every change, in order."""
        self.reads = 0
        """How many get and get_range calls succeeded."""

    def content(self) -> dict[str, bytes]:
        """Return a copy of all objects: what survives a cut."""
        with self._lock:
            return dict(self._objects)

    def put(self, name: str, data: Parts) -> str | None:
        """Write a new object; see `ObjectStore.put`."""
        check_name(name)
        raw = b"".join(parts_of(data))
        with self._lock:
            self._alive()
            if name in self._objects:
                raise IntegrityError(f"object {name} exists already, and is never written twice")
            self._check_space(name, raw)
            if self._change("put", name):
                self._objects[name] = raw
            self._alive()
            return self._version(name)

    def replace(self, name: str, data: Parts) -> str | None:
        """Write a mutable object; see `ObjectStore.replace`."""
        check_name(name)
        raw = b"".join(parts_of(data))
        with self._lock:
            self._alive()
            self._check_space(name, raw)
            if self._change("replace", name):
                self._objects[name] = raw
            self._alive()
            return self._version(name)

    def get(self, name: str) -> bytes:
        """Return a whole object; see `ObjectStore.get`."""
        check_name(name)
        with self._lock:
            self._alive()
            raw = self._objects.get(name)
            if raw is None:
                raise NotFoundError(f"object {name} does not exist")
            self.reads += 1
            return raw

    def get_range(self, name: str, start: int, stop: int) -> bytes:
        """Return part of an object; see `ObjectStore.get_range`."""
        assert 0 <= start <= stop
        return self.get(name)[start:stop]

    def size(self, name: str) -> int:
        """Return an object's length; see `ObjectStore.size`."""
        return len(self.get(name))

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        """Yield the objects of a prefix; see `ObjectStore.list`."""
        with self._lock:
            self._alive()
            found = sorted((name, len(raw)) for name, raw in self._objects.items() if name.startswith(prefix))
        for name, size in found:
            yield ObjectEntry(name=name, size_bytes=size)

    def delete(self, name: str) -> None:
        """Remove an object; see `ObjectStore.delete`."""
        check_name(name)
        with self._lock:
            self._alive()
            if self._change("delete", name):
                self._objects.pop(name, None)
            self._alive()

    def clock(self) -> StoreTime | None:
        """Return None: memory has no clock."""
        return None

    def _version(self, name: str) -> str | None:
        if self.versions is None:
            return None
        self.versions[name] = f"version-{len(self.changes)}"
        return self.versions[name]

    def _alive(self) -> None:
        if self._cut_after is not None and len(self.changes) > self._cut_after:
            raise CutError("the power is gone")

    def _change(self, operation: str, name: str) -> bool:
        """Count a change and tell whether it happens."""
        self.changes.append((operation, name))
        return self._cut_after is None or len(self.changes) <= self._cut_after or self._lands

    def _check_space(self, name: str, raw: bytes) -> None:
        if self._capacity_bytes is None:
            return
        used = sum(len(one) for key, one in self._objects.items() if key != name)
        if used + len(raw) > self._capacity_bytes:
            raise SpaceError(f"object {name}: {len(raw)} bytes do not fit, {used} are used")

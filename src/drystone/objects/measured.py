"""What is asked of a store, counted."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from drystone.objects.around import LISTED, Around, Kind
from drystone.objects.contract import NotFoundError, ObjectEntry
from drystone.objects.placed import MARK
from drystone.objects.retained import Pending

R = TypeVar("R")


class Count(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests of one kind to one store."""

    store: str
    kind: str
    requests: int
    bytes: int
    errors: int
    seconds: float


class Tally:
    """Counts of all stores of a process; may be shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], Count] = {}
        self.pending = Pending()
        """Deletions that they refuse for now."""

    def add(self, *counts: Count) -> None:
        """Add to what was counted."""
        with self._lock:
            for one in counts:
                old = self._counts.get((one.store, one.kind))
                self._counts[one.store, one.kind] = one if old is None else Count(
                    store=one.store, kind=one.kind, requests=old.requests + one.requests, bytes=old.bytes + one.bytes,
                    errors=old.errors + one.errors, seconds=old.seconds + one.seconds,
                )  # fmt: skip

    def counts(self) -> tuple[Count, ...]:
        """Return what was counted, in a fixed order."""
        with self._lock:
            return tuple(self._counts[key] for key in sorted(self._counts))

    def take(self) -> tuple[Count, ...]:
        """Return what was counted and begin anew: whoever takes it adds it to another tally."""
        with self._lock:
            found = tuple(self._counts[key] for key in sorted(self._counts))
            self._counts.clear()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Around):
    """An `ObjectStore` that counts what another is asked for.

    Attributes:
        store: What the store is called in the counts.
        tally: Where it counts.
        monotonic: Seconds, for how long a request takes.
    """

    store: str
    tally: Tally
    monotonic: Callable[[], float] = time.monotonic

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request and count it; that nothing is there is no error, but of a store's mark that is read."""
        began = self.monotonic()
        moved, errors = sent_bytes, 1
        try:
            answer = ask()
        except NotFoundError:
            errors = 1 if kind == "get" and name.endswith(f"/{MARK}") else 0
            raise
        else:
            errors = 0
            moved += len(answer) if isinstance(answer, bytes) else 0
            return answer
        finally:
            self._count(kind, requests=1, moved=moved, errors=errors, began=began)

    def pages(self, prefix: str) -> Iterator[ObjectEntry]:
        """List; each page of names is a request."""
        began, names, errors = self.monotonic(), 0, 1
        try:
            for entry in self.inner.list(prefix):
                names += 1
                yield entry
            errors = 0
        except GeneratorExit:
            errors = 0
            raise
        finally:
            self._count("list", requests=max(1, -(-names // LISTED)), moved=0, errors=errors, began=began)

    def _count(self, kind: Kind, *, requests: int, moved: int, errors: int, began: float) -> None:
        seconds = self.monotonic() - began
        self.tally.add(Count(
            store=self.store, kind=kind, requests=requests, bytes=moved, errors=errors, seconds=seconds
        ))  # fmt: skip

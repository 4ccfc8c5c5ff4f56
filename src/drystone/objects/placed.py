"""A store in which nothing is taken for gone, unless it is seen that the place is the store's."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from drystone.domain.errors import StoreUnavailableError
from drystone.objects.around import Around, Kind
from drystone.objects.contract import NotFoundError, ObjectEntry

R = TypeVar("R")
MARK: Final = "owner"
"""Beside it are all objects of a snapshot store, and it is never deleted (docs/format.md)."""
CONTENT: Final = ("packs/", "maps/", "snapshots/")
"""What a store has only after its mark."""
SEEN_S: Final = 1.0
"""So long a mark that was seen is believed to be there: many names are asked for at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed(Around):
    """An `ObjectStore` over another, where an object is not found only if its store's mark is there (S213).

    Attributes:
        monotonic: Seconds.
        seen: When each store's mark was seen.
    """

    monotonic: Callable[[], float] = time.monotonic
    seen: dict[str, float] = field(default_factory=dict)

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request; what is not found may be elsewhere."""
        del kind, sent_bytes
        try:
            return ask()
        except NotFoundError:
            self._see(name)
            raise

    def pages(self, prefix: str) -> Iterator[ObjectEntry]:
        """List; where nothing is listed, that may be elsewhere."""
        found = False
        for entry in self.inner.list(prefix):
            found = True
            yield entry
        if not found:
            self._see(prefix)

    def _see(self, name: str) -> None:
        store, _, rest = name.partition("/")
        now = self.monotonic()
        if not rest.startswith(CONTENT) or now - self.seen.get(store, -SEEN_S) < SEEN_S:
            return
        try:
            self.inner.get(f"{store}/{MARK}")
        except NotFoundError as error:
            raise not_there(store) from error
        self.seen[store] = now


def not_there(store: str) -> StoreUnavailableError:
    """Return the error of a place that does not have a store which was seen there: it is waited for (S213)."""
    return StoreUnavailableError(
        f"the place does not have the snapshot store {store}: it is another one of the same name, or was emptied"
    )

"""A store whose requests are made again while it does not answer."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from drystone.domain.errors import IntegrityError, RetainedError, SpaceError, UnavailableError
from drystone.objects.around import Around, Kind
from drystone.objects.contract import NotFoundError, ObjectEntry, Parts, parts_of

R = TypeVar("R")
ATTEMPTS: Final = 5
FIRST_S: Final = 0.2
GROWTH: Final = 3.0
LONGEST_S: Final = 10.0
"""Pauses of 0.2, 0.6, 1.8 and 5.4 s, then of 10 s: what takes longer is for the work that waits, which says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying(Around):
    """An `ObjectStore` over another that fails for moments.

    A write that was given up may have been done, or be done later. So where a new object is there at a later try, it is
    compared: the same bytes are what was to be written (a retry gives the same bytes, and names are used once). Which
    version that write was given is unknown then, and None: what the name shows now may be somebody's who came after.

    Attributes:
        attempts: How often a request is made at most.
        pause: Waits so many seconds.
    """

    attempts: int = ATTEMPTS
    pause: Callable[[float], None] = time.sleep

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request until it is answered."""
        del kind, name, sent_bytes
        for attempt in range(self.attempts - 1):
            try:
                return ask()
            except (RetainedError, SpaceError):
                raise
            except UnavailableError:
                self._wait(attempt)
        return ask()

    def put(self, name: str, data: Parts) -> str | None:
        """Write a new object; see `ObjectStore.put`."""
        tried = False

        def ask() -> str | None:
            nonlocal tried
            again, tried = tried, True
            try:
                return self.inner.put(name, data)
            except IntegrityError:
                if not again or not self._written(name, b"".join(parts_of(data))):
                    raise
                return None  # S274

        return self.request("put", name, 0, ask)

    def pages(self, prefix: str) -> Iterator[ObjectEntry]:
        """List; all of it is asked for again, and what was yielded is passed over."""
        yielded = ""
        for attempt in range(self.attempts):
            try:
                for entry in self.inner.list(prefix):
                    if entry.name > yielded:
                        yielded = entry.name
                        yield entry
            except UnavailableError:
                if attempt == self.attempts - 1:
                    raise
            else:
                return
            self._wait(attempt)

    def _wait(self, attempt: int) -> None:
        self.pause(min(LONGEST_S, FIRST_S * GROWTH ** min(attempt, 9)))

    def _written(self, name: str, data: bytes) -> bool:
        """Tell whether an object that an earlier try may have written is what was to be written.

        Raises:
            UnavailableError: It is not there any more, or not yet: the earlier try is still under way.
        """
        try:
            return self.inner.get(name) == data
        except NotFoundError as error:
            raise UnavailableError(f"object {name} exists and is not there: a write of it is under way") from error

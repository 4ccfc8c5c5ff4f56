"""Deletions that a bucket refuses for a time, because it keeps the objects: pending until then."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog

from drystone.domain.errors import RetainedError
from drystone.objects.around import Around, Kind

log = structlog.get_logger()
R = TypeVar("R")
AGAIN_S_MAX: Final = 86_400.0
"""So seldom it is asked again all the same: somebody may have shortened the retention or taken a hold away."""
PENDING_MAX: Final = 100_000
"""So many names are remembered; others are asked for again each time that they are to go."""


@dataclass(slots=True, kw_only=True)
class Pending:
    """What a bucket did not delete yet; may be shared by threads. It begins anew with the process.

    Attributes:
        monotonic: Seconds.
    """

    monotonic: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _refused: dict[str, tuple[float, str]] = field(default_factory=dict)
    """When each name is asked for again, and what was said."""

    def waits(self, name: str) -> RetainedError | None:
        """Return what was said of a name that is not to be asked for yet, with the seconds that are left; else None."""
        with self._lock:
            again_s, said = self._refused.get(name, (0.0, ""))
        left_s = again_s - self.monotonic()
        return RetainedError(said, seconds=left_s) if said and left_s > 0 else None

    def refused(self, name: str, error: RetainedError) -> None:
        """Remember a refusal."""
        with self._lock:
            first = not self._refused
            if name in self._refused or len(self._refused) < PENDING_MAX:
                self._refused[name] = (self.monotonic() + min(error.seconds, AGAIN_S_MAX), str(error))
        if first:
            # Others follow: they are counted, not told one by one.
            log.warning("store.deletion_pending", object=name, error=str(error))

    def gone(self, name: str) -> None:
        """Forget a name that the bucket does not keep any more."""
        with self._lock:
            self._refused.pop(name, None)

    def count(self) -> int:
        """Return how many names wait."""
        with self._lock:
            return len(self._refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Around):
    """An `ObjectStore` over another, which is not asked again before its time to delete or to change what it keeps."""

    pending: Pending

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request unless it would be refused."""
        del sent_bytes
        if kind not in {"delete", "replace"}:
            return ask()
        known = self.pending.waits(name)
        if known is not None:
            raise known
        try:
            answer = ask()
        except RetainedError as error:
            self.pending.refused(name, error)
            raise
        self.pending.gone(name)
        return answer

"""Whether the snapshot store answers: asked seldom while it does, at once when a request of it failed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from drystone.domain.errors import DrystoneError, KeysRefusedError
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.objects.address import DirectoryAddress
from drystone.objects.measured import Tally
from drystone.service.kept_store import KeptStore
from drystone.service.upkeep.reaching import ForeignStoreError
from drystone.snapstore.store import StaleEpochError, read_mark

NEAR_SECONDS = 10.0
"""A directory costs nothing to ask."""
FAR_SECONDS = 300.0
"""A bucket costs a request: 300 a day."""
AGAIN_SECONDS = 30.0
"""How soon one that did not answer is asked again."""
OF_STORE = frozenset({EventKind.STORE_UNREACHABLE, EventKind.STORE_REFUSED, EventKind.STORE_FOREIGN})


@dataclass(slots=True, kw_only=True, eq=False)
class StoreWatch:
    """Reads the store's mark every so often."""

    kept: KeptStore
    tally: Tally
    steady: Callable[[], float]
    monotonic: Callable[[], float]
    reached_at: float | None = field(init=False, default=None)
    """When it answered last, by the steady clock."""
    fault: DrystoneError | None = field(init=False, default=None)
    """Why it is of no use now."""
    _asked: float = field(init=False, default=float("-inf"))
    _errors: int = field(init=False, default=0)

    async def once(self) -> None:
        """Ask it if that is due."""
        kept = self.kept
        if kept.proven is None:
            self.fault = kept.fault
            return
        if kept.claimed.lost:
            self.fault = StaleEpochError(kept.claimed.lost)
            return
        errors = sum(count.errors for count in self.tally.counts())
        rest = NEAR_SECONDS if isinstance(kept.place, DirectoryAddress) else FAR_SECONDS
        pause = AGAIN_SECONDS if self.fault is not None or errors > self._errors else rest
        if self.monotonic() - self._asked < min(pause, rest):
            return
        try:
            await asyncio.to_thread(lambda: read_mark(kept.store))
        except DrystoneError as error:
            self.fault = error
        else:
            self.fault, self.reached_at = None, self.steady()
        self._asked = self.monotonic()
        self._errors = sum(count.errors for count in self.tally.counts())

    def trouble(self) -> tuple[Trouble, Facts] | None:
        """Return what is wrong with it now."""
        if self.fault is None:
            return None
        return Trouble(kind=kind_of(self.fault), subject_id=self.kept.store_id), Facts(reason=str(self.fault))


def kind_of(fault: DrystoneError) -> EventKind:
    """Return what kind of trouble it is that a store cannot be used for this reason."""
    if isinstance(fault, KeysRefusedError):
        return EventKind.STORE_REFUSED
    if isinstance(fault, ForeignStoreError | StaleEpochError):
        return EventKind.STORE_FOREIGN
    return EventKind.STORE_UNREACHABLE

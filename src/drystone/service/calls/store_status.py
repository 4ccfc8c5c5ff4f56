"""Where the snapshot store is, whether it answers, whose it is, and what is asked of it."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from drystone.catalog import events, store_days
from drystone.catalog.events import EventSelection
from drystone.domain.event import INSTALLATION, Event, EventKind
from drystone.domain.store_days import StoreTraffic, days_left
from drystone.objects.address import DirectoryAddress
from drystone.service.caller import Caller
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Transactions
from drystone.service.upkeep import epoch
from drystone.service.upkeep.confirmation import held
from drystone.service.upkeep.store_days import DAY_SECONDS, day_of
from drystone.service.upkeep.store_watch import OF_STORE, StoreWatch
from drystone.service.views import StoreDayView, StoreState, StoreStatusView

DAYS_SHOWN: Final = 30
STATES: Final[Mapping[EventKind, StoreState]] = {
    EventKind.STORE_UNREACHABLE: "unreachable",
    EventKind.STORE_REFUSED: "refused",
    EventKind.STORE_FOREIGN: "foreign",
}
SENDS = frozenset({"put", "replace"})
READS = frozenset({"get", "get_range", "size", "clock"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """Tells it without a request to the store (S223)."""

    transactions: Transactions
    kept: KeptStore
    watch: StoreWatch

    async def describe(self, caller: Caller) -> StoreStatusView:
        """Return what is known.

        Raises:
            RefusalError: `NOT_ALLOWED` for any but an administrator.
        """
        caller.require_admin()
        trouble = self.watch.trouble()
        since = day_of(self.transactions.steady() - (DAYS_SHOWN - 1) * DAY_SECONDS)

        def look(conn: Connection) -> StoreStatusView:
            wanted = EventSelection(accounts=(INSTALLATION,), kinds=(tuple(OF_STORE),), limit=2)
            told = events.find(conn, wanted)[0]
            now = next((one for one in told if one.resolved_at is None), None)
            space = store_days.space_since(conn, since)
            return StoreStatusView(
                store_id=self.kept.store_id, place=str(self.kept.place),
                place_kind="directory" if isinstance(self.kept.place, DirectoryAddress) else "bucket",
                state="answers" if trouble is None else STATES[trouble[0].kind],
                fault="" if trouble is None else trouble[1].reason, reached_at=self.watch.reached_at,
                fault_since=None if trouble is None or now is None else now.first_seen_at,
                last_fault=_last(told), epoch=epoch.current(conn), held=held(conn) or "",
                days=tuple(_by_day(store_days.traffic_since(conn, since))), space=tuple(space),
                days_left=days_left(space),
            )  # fmt: skip

        return await self.transactions.read(look)


def _last(told: Iterable[Event]) -> Event | None:
    """Return the newest trouble that is over."""
    return next((one for one in told if one.resolved_at is not None), None)


def _by_day(traffic: Iterable[StoreTraffic]) -> Iterator[StoreDayView]:
    for day, found in itertools.groupby(traffic, key=lambda one: one.day):
        rows = list(found)

        def total(figure: str, kinds: frozenset[str] | None = None, rows: list[StoreTraffic] = rows) -> int:
            return sum(getattr(one, figure) for one in rows if kinds is None or one.kind in kinds)

        yield StoreDayView(
            day=day, writes=total("requests", SENDS), reads=total("requests", READS),
            lists=total("requests", frozenset({"list"})), deletes=total("requests", frozenset({"delete"})),
            sent_bytes=total("bytes", SENDS), received_bytes=total("bytes", READS), errors=total("errors"),
        )  # fmt: skip

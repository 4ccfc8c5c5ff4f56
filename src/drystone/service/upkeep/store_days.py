"""Keeps what is asked of the store, and how full it is, by day (S223, S370)."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from drystone.catalog import packs, store_days
from drystone.domain.store_days import SpaceOfDay, StoreTraffic
from drystone.domain.times import moment
from drystone.objects.measured import Tally
from drystone.service.room import Room
from drystone.service.transactions import Change, Transactions

KEPT_DAYS: Final = 400
"""Somewhat over a year: eight small rows a day, and one for each disk of which the store holds another amount."""
DAY_SECONDS: Final = 86_400.0
FIGURES = ("requests", "bytes", "errors")


@dataclass(slots=True, kw_only=True, eq=False)
class StoreDays:
    """The round that adds up. `kill -9` forgets the requests of a minute."""

    transactions: Transactions
    tally: Tally
    room: Room
    _kept: Counter[tuple[str, str]] = field(init=False, default_factory=Counter)
    """Of each kind and figure, what is in the rows of all that was counted since the start."""

    async def once(self) -> None:
        """Add what was asked since the last round to the rows of this day."""
        counted = self._counted()
        more = counted - self._kept
        day = day_of(self.transactions.steady())
        kinds = sorted({kind for kind, _ in more})
        traffic = [
            StoreTraffic(day=day, kind=kind, **{figure: more[kind, figure] for figure in FIGURES}) for kind in kinds
        ]  # fmt: skip
        free = max(0, self.room.look().above_floor_bytes)

        def keep(change: Change) -> None:
            store_days.add(change.conn, traffic)
            stored = packs.totals(change.conn).stored_bytes
            store_days.keep_space(change.conn, SpaceOfDay(day=day, stored_bytes=stored, free_bytes=free))
            store_days.keep_disks(change.conn, day)
            store_days.prune(change.conn, day_of(change.steady - KEPT_DAYS * DAY_SECONDS))

        await self.transactions.change(keep)
        self._kept = counted

    def _counted(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for count in self.tally.counts():
            found.update({(count.kind, figure): getattr(count, figure) for figure in FIGURES})
        return found


def day_of(at: float) -> str:
    """Return the day of a time, UTC."""
    return moment(at).date().isoformat()

"""Looks for troubles that last, in rows and around them, and makes the events the same (S220)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from drystone.catalog import events as rows
from drystone.domain.event import EventKind, Facts, Lasting, Trouble, folded
from drystone.service.room import Room
from drystone.service.rows import events, troubles
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep.backups import Backups
from drystone.service.upkeep.clock import SteadyClock
from drystone.service.upkeep.store_watch import OF_STORE, StoreWatch

LOW_BYTES: Final = 1 << 30
"""Below this much above the floor the next snapshot may be broken (P6)."""
ENOUGH_BYTES: Final = LOW_BYTES + (LOW_BYTES >> 2)
"""Space that was low is enough from here on: it would be told again and again otherwise."""
KEPT_S: Final = 90 * 86_400.0
"""How long an event is kept that is over."""
ACCOUNT_MAX: Final = 2000
"""Events of one account; what has not ended is bounded by kind (`FLOOD_MAX`)."""
STEP: Final = 500
AROUND = OF_STORE | {EventKind.SPACE_LOW, EventKind.BACKUP_FAILED, EventKind.CLOCK_DOUBTED}
"""What is seen around the rows."""
LASTING = AROUND | troubles.OF_ROWS
_PAST = tuple(kind for kind in EventKind if kind.ends_when_seen)


@dataclass(slots=True, kw_only=True, eq=False)
class Observation:
    """The round of events that last."""

    transactions: Transactions
    room: Room
    clock: SteadyClock
    store: StoreWatch
    backups: Backups
    _low: frozenset[str] = field(init=False, default=frozenset())
    """Places of which space was low when it was looked last."""

    async def once(self) -> None:
        """Begin and end what has begun and ended; writes only then."""
        around = list(self._around())

        def now(conn: Connection) -> Lasting:
            return folded(around) | troubles.lasting(conn)

        def same(conn: Connection) -> bool:
            known = rows.all_unresolved(conn, LASTING)
            return events.settled(known, now(conn)) and not troubles.gone(conn)

        def settle(change: Change) -> None:
            events.settle(change, LASTING, now(change.conn))
            troubles.end_gone(change)

        if not await self.transactions.read(same):
            await self.transactions.change(settle)

    async def prune(self) -> int:
        """Let go of events that are too old or too many (S221); return how many."""
        before = self.transactions.steady() - KEPT_S
        return await self.transactions.change(
            lambda change: rows.prune(change.conn, before, _PAST, ACCOUNT_MAX, STEP)
        )  # fmt: skip

    def _around(self) -> Iterator[tuple[Trouble, Facts]]:
        low = set()
        for place, space in self.room.places().items():
            left = max(0, space.above_floor_bytes)
            if left < (ENOUGH_BYTES if place in self._low else LOW_BYTES):
                low.add(place)
                yield Trouble(kind=EventKind.SPACE_LOW, subject_id=place), Facts(free_bytes=left)
        self._low = frozenset(low)
        clock = self.clock.view()
        if clock.doubted_since is not None:
            leap = round(clock.machine_at - clock.steady_at)
            yield Trouble(kind=EventKind.CLOCK_DOUBTED), Facts(seconds=leap, at=clock.doubted_since)
        of_store = self.store.trouble()
        if of_store is not None:
            yield of_store
        of_backups = self.backups.trouble()
        if of_backups is not None:
            yield of_backups

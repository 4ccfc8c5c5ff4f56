"""Figures of each account, kept every hour for charts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from drystone.catalog import accounts, history, meta
from drystone.catalog.database import Database
from drystone.domain.disk_types import GIB
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.history import HistoryPoint, thinned
from drystone.domain.ids import AccountId
from drystone.service.caller import Caller

HOUR_S: Final = 3600.0
HOURS_DEFAULT: Final = 7 * 24
POINTS_MAX: Final = 500
"""More than a chart has pixels worth telling apart."""
ACCOUNTS_AT_ONCE: Final = 100
PRUNED_MAX: Final = 10_000
KEPT = "history_hour"
"""Key of `meta`: the last hour whose points are all kept, hours since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Keeps and tells figures over time."""

    db: Database
    clock: Callable[[], float]
    days: int
    """How long points are kept."""

    async def due(self) -> int:
        """Keep the points of this hour if they are not kept yet, and let old ones go; return how many were kept.

        It may be cut off at any point, and is then done again from its beginning: a point that is there stays.
        """
        now = self.clock()
        hour = int(now // HOUR_S)
        if await self.db.read(lambda conn: meta.get(conn, KEPT)) == str(hour):
            return 0
        at, offset, kept = hour * HOUR_S, 0, 0
        while True:

            def some(conn: Connection, offset: int = offset) -> tuple[int, int]:
                found, _ = accounts.find(conn, offset=offset, limit=ACCOUNTS_AT_ONCE)
                added = 0
                for account in found:
                    # There was nothing to tell before it was created: its first point is of then.
                    begun = max(at, account.created_at)
                    if not history.there(conn, account.id, begun):
                        history.insert(conn, figures(conn, account.id, begun))
                        added += 1
                return len(found), added

            seen, added = await self.db.write(some)
            kept += added
            offset += seen
            if seen < ACCOUNTS_AT_ONCE:
                break

        def end(conn: Connection) -> None:
            history.prune(conn, now - self.days * 24 * HOUR_S, PRUNED_MAX)
            meta.put(conn, KEPT, str(hour))

        await self.db.write(end)
        return kept

    async def describe(self, caller: Caller, hours: int | None) -> tuple[HistoryPoint, ...]:
        """Return the caller's points of the last hours, oldest first, thinned to `POINTS_MAX`; the last one is now.

        Raises:
            RefusalError: `BAD_VALUE` for hours that are not kept.
        """
        hours = HOURS_DEFAULT if hours is None else hours
        if not 1 <= hours <= self.days * 24:
            raise RefusalError(Refusal.BAD_VALUE, f"Hours is {hours}; it must be 1 to {self.days * 24}.")
        now = self.clock()

        def look(conn: Connection) -> tuple[list[HistoryPoint], HistoryPoint]:
            since = history.since(conn, caller.account_id, now - hours * HOUR_S)
            return since, figures(conn, caller.account_id, now)

        points, last = await self.db.read(look)
        earlier = [point for point in points if point.at < now]
        return (*thinned(earlier, POINTS_MAX - 1), last)


def figures(conn: Connection, account_id: AccountId, at: float) -> HistoryPoint:
    """Return an account's figures as of now, dated `at`.

    Its cost does not follow the number of snapshots: their sums are kept by triggers.
    """
    disks = history.disk_sums(conn, account_id)
    usage, savings = accounts.usage(conn, account_id), history.savings(conn, account_id)
    return HistoryPoint(
        account_id=account_id, at=at, disks=disks.count, disks_bytes=disks.size_gib * GIB, snapshots=usage.snapshots,
        stored_bytes=usage.stored_bytes, logical_bytes=savings.size_gib * GIB, changed_bytes=savings.changed_bytes,
    )  # fmt: skip

"""What the store holds of each disk, now and by day."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from drystone.catalog import store_days
from drystone.domain.errors import Refusal, RefusalError
from drystone.service.caller import Caller
from drystone.service.calls.filters import check_filters, page
from drystone.service.requests import DiskSpaceQuery
from drystone.service.transactions import Transactions
from drystone.service.upkeep.store_days import DAY_SECONDS, KEPT_DAYS, day_of
from drystone.service.views import DiskSpaceView, Page

DAYS_DEFAULT: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpace:
    """Tells it without a request to the store (S370)."""

    transactions: Transactions

    async def describe(self, caller: Caller, query: DiskSpaceQuery) -> Page[DiskSpaceView]:
        """Return it of the caller's disks, or of these of them, the most first; unknown ids only make fewer of them.

        Raises:
            RefusalError: `NOT_ALLOWED` if another than an administrator asks for all accounts; `BAD_VALUE` for days
                that are not kept, or ids together with all accounts.
        """
        if query.all_accounts:
            caller.require_admin()
        if query.all_accounts and query.disk_ids:
            raise RefusalError(Refusal.BAD_VALUE, "Give DiskIds or AllAccounts, not both.")
        days = DAYS_DEFAULT if query.days is None else query.days
        if not 1 <= days <= KEPT_DAYS:
            raise RefusalError(Refusal.BAD_VALUE, f"Days is {days}; it must be 1 to {KEPT_DAYS}.")
        check_filters(frozenset(), query.disk_ids, ())
        offset, limit = page(query.offset, query.limit)
        since = day_of(self.transactions.steady() - (days - 1) * DAY_SECONDS)

        def look(conn: Connection) -> Page[DiskSpaceView]:
            if query.all_accounts:
                found, total = store_days.held_of_all(conn, offset, limit)
            else:
                found, total = store_days.held_of_account(conn, caller.account_id, query.disk_ids, offset, limit)
            told = store_days.disks_since(conn, [one.disk_id for one in found], since)
            views = [DiskSpaceView(held=one, days=tuple(told[one.disk_id])) for one in found]
            return Page(items=tuple(views), total=total)

        return await self.transactions.read(look)

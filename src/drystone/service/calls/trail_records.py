"""The trail as accounts and administrators read it."""

from dataclasses import dataclass, replace

from drystone.catalog import trail
from drystone.catalog.trail import TrailSelection
from drystone.domain.trail import OK, TrailEntry
from drystone.service.caller import Caller
from drystone.service.calls.attributes import instant
from drystone.service.calls.filters import check_filters, members, page
from drystone.service.requests import AuditQuery
from drystone.service.transactions import Transactions
from drystone.service.views import Page

_FILTERS = frozenset({"account-id", "action", "code", "outcome", "resource-id"})
_OUTCOMES = {OK: False, "REFUSED": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecords:
    """Describes the trail."""

    transactions: Transactions

    async def describe(self, caller: Caller, query: AuditQuery) -> Page[TrailEntry]:
        """Return the entries that match, newest first: an account's own, or to an administrator everybody's (S182).

        Raises:
            RefusalError: `BAD_FILTER`, `BAD_VALUE`, or `NOT_ALLOWED` for another than an
                administrator who asks for accounts.
        """
        selection = _selection(caller, query)
        # Counting what a filter lets through looks at every entry of the account.
        found, total = await self.transactions.read_in_turn(caller.account_id, lambda conn: trail.find(conn, selection))
        return Page(items=tuple(found), total=total)


def _selection(caller: Caller, query: AuditQuery) -> TrailSelection:
    check_filters(_FILTERS, (), query.filters)
    offset, limit = page(query.offset, query.limit)
    selection = TrailSelection(
        account_id=None if caller.admin else caller.account_id,  # S182
        begin_at=None if query.begin is None else instant(query.begin, "BeginTime"),
        end_at=None if query.end is None else instant(query.end, "EndTime"),
        offset=offset,
        limit=limit,
    )
    for name, values in query.filters:
        if name == "account-id":
            caller.require_admin("The filter `account-id`")
            selection = replace(selection, accounts=(*selection.accounts, values))
        elif name == "action":
            selection = replace(selection, actions=(*selection.actions, values))
        elif name == "code":
            selection = replace(selection, codes=(*selection.codes, values))
        elif name == "outcome":
            refused = tuple(_OUTCOMES[value] for value in members(name, values, _OUTCOMES))
            selection = replace(selection, refused=(*selection.refused, refused))
        else:
            selection = replace(selection, resources=(*selection.resources, values))
    return selection

"""The trail as accounts and administrators read it."""

from dataclasses import replace

from drystone.catalog import audit
from drystone.catalog.audit import AuditSelection
from drystone.catalog.database import Database
from drystone.domain.audit import OK, AuditEntry
from drystone.service.caller import Caller
from drystone.service.calls.attributes import instant
from drystone.service.calls.filters import check_filters, members, page
from drystone.service.requests import AuditQuery
from drystone.service.views import Page
from drystone.transfer.places import Places

_FILTERS = frozenset({"account-id", "action", "code", "outcome", "resource-id"})
_OUTCOMES = {OK: False, "REFUSED": True}


class AuditRecords:
    """Describes the trail.

    Args:
        db: The catalog.
        long_reads: Whose turn it is: counting what a filter lets through looks at every entry of the account (S183).
    """

    def __init__(self, *, db: Database, long_reads: Places) -> None:
        self._db = db
        self._long_reads = long_reads

    async def describe(self, caller: Caller, query: AuditQuery) -> Page[AuditEntry]:
        """Return the entries that match, newest first: an account's own, or to an administrator everybody's (S182).

        Raises:
            RefusalError: `InvalidFilter`, `InvalidParameterValue`, or `UnauthorizedOperation` for another than an
                administrator who asks for accounts.
        """
        selection = _selection(caller, query)
        async with self._long_reads.hold(caller.account_id):
            found, total = await self._db.read(lambda conn: audit.find(conn, selection))
        return Page(items=tuple(found), total=total)


def _selection(caller: Caller, query: AuditQuery) -> AuditSelection:
    check_filters(_FILTERS, (), query.filters)
    offset, limit = page(query.offset, query.limit)
    selection = AuditSelection(
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

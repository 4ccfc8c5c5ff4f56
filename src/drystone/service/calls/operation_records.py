"""Long jobs as their owner sees them."""

from dataclasses import dataclass, replace

from drystone.catalog import operations
from drystone.catalog.database import Database
from drystone.catalog.operations import OperationSelection
from drystone.domain.ids import OperationId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.service.caller import Caller
from drystone.service.calls.filters import check_filters, members, page
from drystone.service.requests import OperationQuery
from drystone.service.views import Page

_FILTERS = frozenset({"resource-id", "state", "kind"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRecords:
    """Describes operations of the caller's account."""

    db: Database

    async def describe(self, caller: Caller, query: OperationQuery) -> Page[Operation]:
        """Return the operations that match, newest first; unknown ids only make fewer of them.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        selection = _selection(caller, query)
        found, total = await self.db.read(lambda conn: operations.find(conn, selection))
        return Page(items=tuple(found), total=total)


def _selection(caller: Caller, query: OperationQuery) -> OperationSelection:
    check_filters(_FILTERS, query.operation_ids, query.filters)
    offset, limit = page(query.offset, query.limit)
    selection = OperationSelection(account_id=caller.account_id, offset=offset, limit=limit)
    if query.operation_ids:
        selection = replace(selection, ids=(tuple(OperationId(text) for text in query.operation_ids),))
    for name, values in query.filters:
        if name == "resource-id":
            selection = replace(selection, resources=(*selection.resources, values))
        elif name == "state":
            states = members(name, values, tuple(OperationState))
            selection = replace(selection, states=(*selection.states, states))
        else:
            kinds = members(name, values, tuple(OperationKind))
            selection = replace(selection, kinds=(*selection.kinds, kinds))
    return selection

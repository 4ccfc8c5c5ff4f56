"""Long jobs as their owner sees them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from drystone.catalog import operations
from drystone.catalog.database import Database
from drystone.catalog.operations import OperationSelection
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, OperationId
from drystone.domain.operation import Operation, OperationKind, OperationState, OperationStep, phase_spans
from drystone.service.caller import Caller
from drystone.service.calls.filters import check_filters, members, page
from drystone.service.requests import OperationQuery
from drystone.service.views import OperationHistory, Page

_FILTERS = frozenset({"resource-id", "state", "kind"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRecords:
    """Describes operations of the caller's account."""

    db: Database
    clock: Callable[[], float]

    async def describe(self, caller: Caller, query: OperationQuery) -> Page[Operation]:
        """Return the operations that match, newest first; unknown ids only make fewer of them.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        selection = _selection(caller, query)
        found, total = await self.db.read(lambda conn: operations.find(conn, selection))
        return Page(items=tuple(found), total=total)

    async def history(self, caller: Caller, operation_id: str) -> OperationHistory:
        """Return what an operation did so far, step by step.

        Raises:
            RefusalError: `NO_SUCH_THING`.
        """

        def look(conn: Connection) -> list[OperationStep]:
            found = owned_operation(conn, caller.account_id, operation_id)
            return operations.steps(conn, found.id)

        steps = await self.db.read(look)
        return OperationHistory(steps=tuple(steps), phases=phase_spans(steps, self.clock()))


def owned_operation(conn: Connection, account_id: AccountId, operation_id: str) -> Operation:
    """Return an operation of this account.

    Raises:
        RefusalError: `NO_SUCH_THING`, the same for one of another account.
    """
    found = operations.get(conn, OperationId(operation_id))
    if found is None or found.account_id != account_id:
        raise RefusalError(Refusal.NO_SUCH_THING, f"There is no operation {operation_id[:60]}.")
    return found


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

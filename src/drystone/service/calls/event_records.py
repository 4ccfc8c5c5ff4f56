"""Events as accounts and administrators read and acknowledge them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from drystone.catalog import events as rows
from drystone.catalog.events import EventSelection
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.event import INSTALLATION, EventKind, Severity
from drystone.domain.ids import AccountId
from drystone.service.caller import Caller
from drystone.service.calls.filters import IDS_MAX, check_filters, members, page, truths
from drystone.service.requests import EventQuery
from drystone.service.rows import events
from drystone.service.transactions import Change, Transactions
from drystone.service.views import EventPage

_FILTERS = frozenset({"kind", "severity", "subject-id", "resolved", "acknowledged"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecords:
    """What accounts see of events: their own, and administrators the installation's too (S222)."""

    transactions: Transactions

    async def describe(self, caller: Caller, query: EventQuery) -> EventPage:
        """Return the events that match; unknown ids only make fewer of them.

        Newest first, by when they were last seen; with `after` in the order of their changes, for who follows them.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        selection = _selection(caller, query)

        def look(conn: Connection) -> EventPage:
            found, total = rows.find(conn, selection)
            # Of the same moment: whoever goes on from here misses nothing, and is told nothing twice.
            cursor = rows.revision(conn)
            if query.after is not None and len(found) < total:
                cursor = found[-1].revision if found else query.after
            return EventPage(items=tuple(found), total=total, cursor=cursor)

        return await self.transactions.read(look)

    async def acknowledge(self, caller: Caller, event_ids: Sequence[str]) -> None:
        """Note that the caller has seen these events; those that somebody has seen already stay as they are.

        Raises:
            RefusalError: `BAD_VALUE`, or `NO_SUCH_THING` if one is not there or is not the caller's to see; nothing
                was changed.
        """
        if not 1 <= len(event_ids) <= IDS_MAX:
            raise RefusalError(Refusal.BAD_VALUE, f"{len(event_ids)} ids are given; 1 to {IDS_MAX} are allowed.")
        seen = visible_to(caller)

        def record(change: Change) -> None:
            found = rows.get_many(change.conn, event_ids)
            for event_id in event_ids:
                event = found.get(event_id)
                if event is None or event.account_id not in seen:
                    raise RefusalError(Refusal.NO_SUCH_THING, f"There is no event {event_id[:60]}.")
            for event in found.values():
                if event.acknowledged_at is None:
                    events.acknowledge(change, event, caller.account_id)

        await self.transactions.change(record)


def visible_to(caller: Caller) -> tuple[AccountId, ...]:
    """Return whose events a caller sees (S222)."""
    return (caller.account_id, INSTALLATION) if caller.admin else (caller.account_id,)


def _selection(caller: Caller, query: EventQuery) -> EventSelection:
    check_filters(_FILTERS, query.event_ids, query.filters)
    offset, limit = page(query.offset, query.limit)
    selection = EventSelection(accounts=visible_to(caller), offset=offset, limit=limit, after=query.after)
    if query.event_ids:
        selection = replace(selection, ids=(query.event_ids,))
    for name, values in query.filters:
        if name == "subject-id":
            selection = replace(selection, subjects=(*selection.subjects, values))
        elif name == "kind":
            selection = replace(selection, kinds=(*selection.kinds, members(name, values, tuple(EventKind))))
        elif name == "severity":
            wanted = members(name, values, tuple(Severity))
            kinds = tuple(kind for kind in EventKind if kind.severity in wanted)
            selection = replace(selection, kinds=(*selection.kinds, kinds))
        elif name == "resolved":
            selection = replace(selection, resolved=(*selection.resolved, truths(name, values)))
        else:
            selection = replace(selection, acknowledged=(*selection.acknowledged, truths(name, values)))
    return selection

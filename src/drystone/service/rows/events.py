"""Events as rows: noted in the transaction that finds a trouble, ended in the one that finds it gone (S220).

Two kinds of trouble are told apart. What *happens* is noted where it happens: a snapshot fails, a daemon dies. What
*lasts* can be seen at any time in rows and around them, a damaged snapshot or a full file system: `settle` makes the
events the same as what is there, so that no way into such a state or out of it can be forgotten.
"""

from collections.abc import Collection

import msgspec

from drystone.catalog import events
from drystone.domain.event import FLOOD_MAX, REASON_CHARS_MAX, Event, EventKind, Facts, Lasting, Trouble
from drystone.domain.ids import AccountId
from drystone.service.transactions import Change

NOTHING = Facts()


def note(change: Change, trouble: Trouble, facts: Facts = NOTHING) -> None:
    """Tell that a trouble happened: its event is counted, or begun if there is none that is not over.

    Beyond `FLOOD_MAX` troubles of one kind and account there is one event for all that are new (S221).
    """
    found = events.unresolved(change.conn, trouble)
    if found is None and events.count_unresolved(change.conn, trouble.of_many) >= FLOOD_MAX:
        trouble = trouble.of_many
        found = events.unresolved(change.conn, trouble)
    if found is None:
        _begin(change, trouble, facts, 1)
        return
    _set(change, found, facts=_short(facts), last_seen_at=change.at, count=found.count + 1)


def end(change: Change, trouble: Trouble) -> None:
    """Tell that a trouble is over; most often there was none."""
    found = events.unresolved(change.conn, trouble)
    if found is not None:
        _set(change, found, resolved_at=change.at)


def settle(change: Change, kinds: Collection[EventKind], lasting: Lasting) -> None:
    """Make the events of these kinds the same as the troubles that there are now."""
    known = {event.trouble: event for event in events.all_unresolved(change.conn, kinds)}
    for trouble, event in known.items():
        if trouble not in lasting:
            _set(change, event, resolved_at=change.at)
    for trouble, (facts, count) in lasting.items():
        assert trouble.kind in kinds, f"{trouble.kind} is settled elsewhere"
        there = known.get(trouble)
        if there is None:
            _begin(change, trouble, facts, count)
        elif there.count != count:
            _set(change, there, facts=_short(facts), last_seen_at=change.at, count=count)


def settled(known: Collection[Event], lasting: Lasting) -> bool:
    """Tell whether `settle` would change nothing."""
    return {event.trouble: event.count for event in known} == {
        trouble: count for trouble, (_, count) in lasting.items()
    }


def acknowledge(change: Change, event: Event, by: AccountId) -> None:
    """Note that somebody has seen an event; what has no end of its own is over then."""
    values: dict[str, object] = {"acknowledged_at": change.at, "acknowledged_by": by}
    if event.resolved_at is None and (event.kind.ends_when_seen or not event.subject_id):
        values["resolved_at"] = change.at
    _set(change, event, **values)


def _begin(change: Change, trouble: Trouble, facts: Facts, count: int) -> None:
    begun = Event(
        id=change.ids.event(), kind=trouble.kind, account_id=trouble.account_id, subject_id=trouble.subject_id,
        aspect=trouble.aspect, facts=_short(facts), first_seen_at=change.at, last_seen_at=change.at, count=count,
        revision=events.next_revision(change.conn),
    )  # fmt: skip
    events.insert(change.conn, begun)


def _set(change: Change, event: Event, **values: object) -> None:
    revision = events.next_revision(change.conn)
    events.compare_and_set(change.conn, event.id, expected={}, values={**values, "revision": revision})


def _short(facts: Facts) -> Facts:
    return msgspec.structs.replace(facts, reason=facts.reason[:REASON_CHARS_MAX])

"""Events: troubles that people are told of."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, or_, select
from sqlalchemy import delete as delete_from

from drystone.catalog import meta
from drystone.catalog.rows import Rows
from drystone.catalog.schema_told import UNRESOLVED, event
from drystone.domain.event import Event, EventKind, Trouble
from drystone.domain.ids import AccountId

REVISION = "event_revision"
"""Key of the row with the newest revision; it never goes back, whatever is pruned."""

_rows = Rows(event, Event)

insert = _rows.insert
get_many = _rows.get_many
compare_and_set = _rows.compare_and_set


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSelection:
    """Events of some accounts that meet every condition: each is a tuple of values, any of which will do."""

    accounts: tuple[AccountId, ...]
    ids: tuple[tuple[str, ...], ...] = ()
    kinds: tuple[tuple[str, ...], ...] = ()
    subjects: tuple[tuple[str, ...], ...] = ()
    resolved: tuple[tuple[bool, ...], ...] = ()
    acknowledged: tuple[tuple[bool, ...], ...] = ()
    after: int | None = None
    """Only those with a higher revision, which are then in the order of their changes."""
    offset: int = 0
    limit: int = 20


def revision(conn: Connection) -> int:
    """Return the newest revision."""
    return int(meta.get(conn, REVISION) or "0")


def next_revision(conn: Connection) -> int:
    """Take the next revision."""
    number = revision(conn) + 1
    meta.put(conn, REVISION, str(number))
    return number


def unresolved(conn: Connection, trouble: Trouble) -> Event | None:
    """Return the event of a trouble that is not over, if there is one."""
    query = select(event).where(
        UNRESOLVED, event.c.kind == trouble.kind, event.c.account_id == trouble.account_id,
        event.c.subject_id == trouble.subject_id, event.c.aspect == trouble.aspect,
    )  # fmt: skip
    found = _rows.all(conn, query)
    return found[0] if found else None


def all_unresolved(conn: Connection, kinds: Collection[EventKind]) -> list[Event]:
    """Return the events of these kinds that are not over, oldest first."""
    query = select(event).where(UNRESOLVED, event.c.kind.in_(list(kinds)))
    return _rows.all(conn, query.order_by(event.c.first_seen_at, event.c.id))


def count_unresolved(conn: Connection, many: Trouble) -> int:
    """Return how many troubles of one kind and account have an event that is not over."""
    query = select(func.count()).select_from(event)
    same = event.c.kind == many.kind, event.c.account_id == many.account_id
    number: int = conn.execute(query.where(UNRESOLVED, *same)).scalar_one()
    return number


def by_kind(conn: Connection) -> dict[EventKind, int]:
    """Return how many events of each kind are not over."""
    query = select(event.c.kind, func.count()).where(UNRESOLVED).group_by(event.c.kind)
    return {row[0]: row[1] for row in conn.execute(query)}


def find(conn: Connection, selection: EventSelection) -> tuple[list[Event], int]:
    """Return a page of the events that meet a selection, and the number of all that do.

    Newest first, by when they were last seen; with `after` the one that changed first comes first.
    """
    wanted: list[ColumnElement[bool]] = [event.c.account_id.in_(list(selection.accounts))]
    wanted += [event.c.id.in_(list(ids)) for ids in selection.ids]
    wanted += [event.c.kind.in_(list(kinds)) for kinds in selection.kinds]
    wanted += [event.c.subject_id.in_(list(subjects)) for subjects in selection.subjects]
    wanted += [event.c.resolved_at.is_not(None).in_(list(values)) for values in selection.resolved]
    wanted += [event.c.acknowledged_at.is_not(None).in_(list(values)) for values in selection.acknowledged]
    order = [event.c.last_seen_at.desc(), event.c.id]
    if selection.after is not None:
        wanted.append(event.c.revision > selection.after)
        order = [event.c.revision.asc()]
    total: int = conn.execute(select(func.count()).select_from(event).where(*wanted)).scalar_one()
    page = select(event).where(*wanted).order_by(*order)
    return _rows.all(conn, page.offset(selection.offset).limit(selection.limit)), total


def prune(conn: Connection, before: float, kinds: Collection[EventKind], most: int, limit: int) -> int:
    """Remove up to `limit` events that are too old, and of an account that has more than `most` the oldest (S221).

    Args:
        conn: The transaction.
        before: What was last seen before this time is too old, if it is over or of one of the kinds.
        kinds: Those that have no end of their own.
        most: Events of one account.
        limit: Of this call.

    Returns:
        How many went.
    """
    over = or_(event.c.resolved_at.is_not(None), event.c.kind.in_(list(kinds)))
    oldest = select(event.c.id).order_by(event.c.last_seen_at, event.c.id).limit(limit)
    gone = conn.execute(
        delete_from(event).where(event.c.id.in_(oldest.where(over, event.c.last_seen_at < before)))
    ).rowcount
    held = select(event.c.account_id, func.count()).group_by(event.c.account_id).having(func.count() > most)
    for account_id, number in conn.execute(held).all():
        extra = oldest.where(over, event.c.account_id == account_id).limit(min(limit, number - most))
        gone += conn.execute(delete_from(event).where(event.c.id.in_(extra))).rowcount
    return gone

"""Who changed what, and how it was answered."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, insert, literal, or_, select

from drystone.catalog import dialect
from drystone.catalog.schema import REFUSED_CALL, audit, audit_usage
from drystone.domain.ids import AccountId
from drystone.domain.trail import OK, TrailEntry

ENTRY_BYTES = 100
"""What an entry is counted for beside its texts: its numbers, and its place in the table and three indexes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailSelection:
    """Entries that meet every condition: each is a tuple of values, any of which will do."""

    account_id: AccountId | None
    """None: every account's."""
    accounts: tuple[tuple[str, ...], ...] = ()
    actions: tuple[tuple[str, ...], ...] = ()
    codes: tuple[tuple[str, ...], ...] = ()
    refused: tuple[tuple[bool, ...], ...] = ()
    resources: tuple[tuple[str, ...], ...] = ()
    begin_at: float | None = None
    end_at: float | None = None
    """The first moment that is not meant any more."""
    offset: int = 0
    limit: int = 20


_COLUMNS = [audit.c[name] for name in TrailEntry.__dataclass_fields__]
_TEXTS = ("account_id", "secret_id", "action", "request_id", "resource", "code", "source")


def append(conn: Connection, *entries: TrailEntry) -> None:
    """Add entries, the oldest first."""
    conn.execute(insert(audit), [_values(entry) for entry in entries])


def _values(entry: TrailEntry) -> dict[str, object]:
    values = {name: getattr(entry, name) for name in TrailEntry.__dataclass_fields__ if name != "id"}
    return {**values, "bytes": ENTRY_BYTES + sum(len(values[name].encode()) for name in _TEXTS)}


def find(conn: Connection, selection: TrailSelection) -> tuple[list[TrailEntry], int]:
    """Return a page of the entries that meet a selection, newest first, and the number of all that do."""
    wanted = list(_conditions(selection))
    if wanted:
        total: int = conn.execute(select(func.count()).select_from(audit).where(*_own(selection), *wanted)).scalar_one()
    else:
        mine = [] if selection.account_id is None else [audit_usage.c.account_id == selection.account_id]
        total = conn.execute(select(dialect.total(audit_usage.c.entries)).where(*mine)).scalar_one()
    page = select(*_COLUMNS).where(*_own(selection), *wanted).order_by(audit.c.id.desc())
    rows = conn.execute(page.offset(selection.offset).limit(selection.limit))
    return [TrailEntry(**row._mapping) for row in rows], total  # noqa: SLF001 - SQLAlchemy's public name


def _own(selection: TrailSelection) -> list[ColumnElement[bool]]:
    return [] if selection.account_id is None else [audit.c.account_id == selection.account_id]


def _conditions(selection: TrailSelection) -> Iterable[ColumnElement[bool]]:
    yield from (audit.c.account_id.in_(list(values)) for values in selection.accounts)
    yield from (audit.c.action.in_(list(values)) for values in selection.actions)
    yield from (audit.c.code.in_(list(values)) for values in selection.codes)
    yield from ((audit.c.code != OK).in_(list(values)) for values in selection.refused)
    yield from (or_(*map(_about, values)) for values in selection.resources)
    if selection.begin_at is not None:
        yield audit.c.at >= selection.begin_at
    if selection.end_at is not None:
        yield audit.c.at < selection.end_at


def _about(resource: str) -> ColumnElement[bool]:
    # Not LIKE: what is asked for may have its signs in it.
    return dialect.Contains(literal(" ").concat(audit.c.resource).concat(" "), f" {resource} ")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailUsage:
    """What the trail, or one account's part of it, takes."""

    entries: int
    bytes: int


def usage(conn: Connection) -> TrailUsage:
    """Return what the whole trail takes; its cost follows the number of accounts alone."""
    entries, size = (dialect.total(audit_usage.c[name]) for name in ("entries", "bytes"))
    row = conn.execute(select(entries, size)).one()
    return TrailUsage(entries=row[0], bytes=row[1])


def too_much(conn: Connection, before: float, most: TrailUsage) -> bool:
    """Return whether there is an entry older than this time, or more than there may be."""
    now, oldest = usage(conn), conn.execute(select(func.min(audit.c.at))).scalar_one()
    return now.entries > most.entries or now.bytes > most.bytes or (oldest is not None and oldest < before)


def prune(conn: Connection, before: float, limit: int) -> int:
    """Remove up to `limit` entries older than this time; return how many."""
    old = select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(limit)
    return conn.execute(delete(audit).where(audit.c.id.in_(old))).rowcount


def thin(conn: Connection, most: TrailUsage, limit: int) -> int:
    """Remove up to `limit` entries of one account if the trail takes more than it may; return how many.

    Refused calls go before any change, those of the account that has most of them first, of one account the oldest.
    """
    now = usage(conn)
    entries, size = now.entries - most.entries, now.bytes - most.bytes
    if entries <= 0 and size <= 0:
        return 0
    oldest = select(audit.c.id, audit.c.bytes).order_by(audit.c.id).limit(limit)
    refused = _holder_of_most(conn, audit_usage.c.refused_bytes)
    if refused is not None:
        oldest = oldest.where(audit.c.account_id == refused, REFUSED_CALL)
    else:
        oldest = oldest.where(audit.c.account_id == _holder_of_most(conn, audit_usage.c.bytes))
    gone: list[int] = []
    for number, of_it in conn.execute(oldest).all():
        if entries <= 0 and size <= 0:
            break
        gone.append(number)
        entries, size = entries - 1, size - of_it
    return conn.execute(delete(audit).where(audit.c.id.in_(gone))).rowcount


def _holder_of_most(conn: Connection, column: ColumnElement[int]) -> str | None:
    first = select(audit_usage.c.account_id).where(column > 0).order_by(column.desc()).limit(1)
    return conn.execute(first).scalar_one_or_none()

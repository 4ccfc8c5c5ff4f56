"""Who changed what, and how it was answered."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from drystone.catalog.schema import audit
from drystone.domain.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One call that changed something, or tried to."""

    at: float
    account_id: AccountId
    secret_id: str
    action: str
    request_id: str
    resource: str
    """Ids of what it was about, with commas between; empty when there is none."""
    code: str
    """The error code, or `OK`."""
    source: str
    """The caller's address."""


_COLUMNS = [audit.c[name] for name in AuditEntry.__dataclass_fields__]


def append(conn: Connection, entry: AuditEntry) -> None:
    """Add an entry."""
    conn.execute(insert(audit).values({column.name: getattr(entry, column.name) for column in _COLUMNS}))


def find(conn: Connection, *, account_id: AccountId | None, offset: int, limit: int) -> tuple[list[AuditEntry], int]:
    """Return a page of entries, newest first, and the number of all; `account_id` None means every account's."""
    wanted = [] if account_id is None else [audit.c.account_id == account_id]
    total: int = conn.execute(select(func.count()).select_from(audit).where(*wanted)).scalar_one()
    page = select(*_COLUMNS).where(*wanted).order_by(audit.c.id.desc()).offset(offset).limit(limit)
    return [AuditEntry(**row._mapping) for row in conn.execute(page)], total  # noqa: SLF001 - SQLAlchemy's public name


def prune(conn: Connection, before: float, limit: int) -> int:
    """Remove up to `limit` entries older than this time; return how many."""
    old = select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(limit)
    return conn.execute(delete(audit).where(audit.c.id.in_(old))).rowcount

"""Figures of accounts over time, and the sums that they are made of."""

from dataclasses import dataclass, fields

from sqlalchemy import Connection, Row, func, select
from sqlalchemy import delete as delete_from
from sqlalchemy import insert as insert_into

from drystone.catalog import dialect
from drystone.catalog.schema import VISIBLE_DISK, account_savings, disk, history_point
from drystone.domain.history import HistoryPoint
from drystone.domain.ids import AccountId

_NAMES = tuple(field.name for field in fields(HistoryPoint))
assert tuple(column.name for column in history_point.columns) == _NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Sums over the NORMAL snapshots of an account."""

    size_gib: int = 0
    """Of their disks."""
    changed_bytes: int = 0
    """What each found changed, or held if it was the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSums:
    """Sums over the disks of an account that clients see."""

    count: int
    attached: int
    size_gib: int


def savings(conn: Connection, account_id: AccountId) -> Savings:
    """Return the sums over an account's snapshots; zeros for an account that is not known."""
    columns = account_savings.c
    query = select(columns.size_gib, columns.changed_bytes).where(columns.account_id == account_id)
    row = conn.execute(query).one_or_none()
    return Savings() if row is None else Savings(size_gib=row.size_gib, changed_bytes=row.changed_bytes)


def disk_sums(conn: Connection, account_id: AccountId) -> DiskSums:
    """Return the sums over an account's disks."""
    query = select(
        func.count(), func.count(disk.c.instance_id), dialect.total(disk.c.size_gib)
    ).where(VISIBLE_DISK, disk.c.account_id == account_id)  # fmt: skip
    count, attached, size_gib = conn.execute(query).one()
    return DiskSums(count=count, attached=attached, size_gib=size_gib)


def insert(conn: Connection, point: HistoryPoint) -> None:
    """Add a point; a second one of the same account and time is an `sqlalchemy.exc.IntegrityError`."""
    conn.execute(insert_into(history_point).values({name: getattr(point, name) for name in _NAMES}))


def there(conn: Connection, account_id: AccountId, at: float) -> bool:
    """Tell whether an account has a point of exactly this time."""
    columns = history_point.c
    query = select(columns.at).where(columns.account_id == account_id, columns.at == at)
    return conn.execute(query).first() is not None


def since(conn: Connection, account_id: AccountId, at: float) -> list[HistoryPoint]:
    """Return an account's points from a time on, oldest first."""
    columns = history_point.c
    query = select(history_point).where(columns.account_id == account_id, columns.at >= at).order_by(columns.at)
    return [_point(row) for row in conn.execute(query)]


def prune(conn: Connection, before: float, limit: int) -> int:
    """Remove the points of up to `limit` accounts and times before this one, the oldest first; return how many."""
    columns = history_point.c
    oldest = select(columns.at).where(columns.at < before).order_by(columns.at).limit(limit)
    return conn.execute(delete_from(history_point).where(columns.at.in_(oldest))).rowcount


def _point(row: Row[tuple[object, ...]]) -> HistoryPoint:
    return HistoryPoint(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name

"""What was asked of the store and how full it was, a few small rows for each day."""

from collections.abc import Collection, Iterable
from dataclasses import fields

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, text, update

from drystone.catalog.schema import VISIBLE_DISK, disk, holding
from drystone.catalog.schema_told import disk_day, space_day, store_traffic
from drystone.domain.ids import AccountId, DiskId
from drystone.domain.store_days import BytesOfDay, DiskHeld, SpaceOfDay, StoreTraffic

assert tuple(column.name for column in store_traffic.columns) == tuple(one.name for one in fields(StoreTraffic))
assert tuple(column.name for column in space_day.columns) == tuple(one.name for one in fields(SpaceOfDay))

_KEEP_DISKS = text("""
INSERT INTO disk_day (disk_id, day, bytes)
SELECT held.owner_id, :day, held.bytes FROM (
    SELECT owner_id, CASE WHEN bytes < 0 THEN 0 ELSE bytes END AS bytes FROM holding WHERE owner_id LIKE 'disk-%'
) AS held
WHERE held.bytes <> COALESCE(
    (SELECT last.bytes FROM disk_day AS last WHERE last.disk_id = held.owner_id ORDER BY last.day DESC LIMIT 1), 0
)
ON CONFLICT (disk_id, day) DO UPDATE SET bytes = excluded.bytes
""")
_PRUNE_DISKS = text("""
DELETE FROM disk_day WHERE day < :before AND (bytes = 0 OR EXISTS (
    SELECT 1 FROM disk_day AS later
    WHERE later.disk_id = disk_day.disk_id AND later.day > disk_day.day AND later.day <= :before
))
""")
"""What it was on the first day that is kept stays, on whichever day it became that; a disk begins with nothing."""


def add(conn: Connection, more: Iterable[StoreTraffic]) -> None:
    """Add requests to those of their day."""
    columns = store_traffic.c
    for one in more:
        values = {"requests": one.requests, "bytes": one.bytes, "errors": one.errors}
        summed = {name: columns[name] + value for name, value in values.items()}
        there = update(store_traffic).where(columns.day == one.day, columns.kind == one.kind).values(summed)
        if conn.execute(there).rowcount == 0:
            conn.execute(insert(store_traffic).values(day=one.day, kind=one.kind, **values))


def keep_space(conn: Connection, space: SpaceOfDay) -> None:
    """Set what there is on a day, in the place of what was earlier on it."""
    values = {"day": space.day, "stored_bytes": space.stored_bytes, "free_bytes": space.free_bytes}
    if conn.execute(update(space_day).where(space_day.c.day == space.day).values(values)).rowcount == 0:
        conn.execute(insert(space_day).values(values))


def keep_disks(conn: Connection, day: str) -> None:
    """Set what the store holds of each disk on a day, where that is not what it held of it before (S370)."""
    conn.execute(_KEEP_DISKS, {"day": day})


def traffic_since(conn: Connection, day: str) -> list[StoreTraffic]:
    """Return the requests of the days from this one on, oldest first."""
    query = select(store_traffic).where(store_traffic.c.day >= day)
    rows = conn.execute(query.order_by(store_traffic.c.day, store_traffic.c.kind))
    return [StoreTraffic(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def space_since(conn: Connection, day: str) -> list[SpaceOfDay]:
    """Return how full it was on the days from this one on, oldest first."""
    rows = conn.execute(select(space_day).where(space_day.c.day >= day).order_by(space_day.c.day))
    return [SpaceOfDay(**row._mapping) for row in rows]  # noqa: SLF001 - as above


def disks_since(conn: Connection, disk_ids: Collection[DiskId], day: str) -> dict[DiskId, list[BytesOfDay]]:
    """Return on which days from this one on what is held of these disks became another, oldest first.

    The first of each disk is what it was on that day, on whichever day it became that.
    """
    columns, first = disk_day.c, disk_day.alias("first")
    begun = select(func.max(first.c.day)).where(first.c.disk_id == columns.disk_id, first.c.day <= day)
    query = select(disk_day).where(columns.disk_id.in_(list(disk_ids)))
    query = query.where(columns.day >= func.coalesce(begun.scalar_subquery(), day)).order_by(columns.day)
    found: dict[DiskId, list[BytesOfDay]] = {disk_id: [] for disk_id in disk_ids}
    for row in conn.execute(query):
        found[row.disk_id].append(BytesOfDay(day=row.day, bytes=row.bytes))
    return found


def held_of_account(
    conn: Connection, account_id: AccountId, disk_ids: Collection[str], offset: int, limit: int
) -> tuple[list[DiskHeld], int]:
    """Return what the store holds of an account's disks, or of these of them, the most first, and how many they are."""
    held = func.coalesce(holding.c.bytes, 0).label("held_bytes")
    query = select(disk.c.id.label("disk_id"), disk.c.name, disk.c.account_id, held)
    query = query.select_from(disk.outerjoin(holding, holding.c.owner_id == disk.c.id))
    query = query.where(VISIBLE_DISK, disk.c.account_id == account_id)
    if disk_ids:
        query = query.where(disk.c.id.in_(list(disk_ids)))
    return _held_page(conn, query.order_by(held.desc(), disk.c.id), offset, limit)


def held_of_all(conn: Connection, offset: int, limit: int) -> tuple[list[DiskHeld], int]:
    """Return the disks of which the store holds anything, also those that are gone, the most first, and how many."""
    columns = holding.c
    query = select(columns.owner_id.label("disk_id"), disk.c.name, disk.c.account_id, columns.bytes.label("held_bytes"))
    query = query.select_from(holding.outerjoin(disk, columns.owner_id == disk.c.id))
    query = query.where(columns.owner_id.like("disk-%"), columns.bytes > 0)
    return _held_page(conn, query.order_by(columns.bytes.desc(), columns.owner_id), offset, limit)


def _held_page(
    conn: Connection, query: Select[tuple[str, str, str, int]], offset: int, limit: int
) -> tuple[list[DiskHeld], int]:
    total = conn.execute(select(func.count()).select_from(query.order_by(None).subquery())).scalar_one()
    return [_held(row) for row in conn.execute(query.offset(offset).limit(limit))], total


def _held(row: Row[tuple[str, str, str, int]]) -> DiskHeld:
    return DiskHeld(**{**row._mapping, "held_bytes": max(0, row.held_bytes)})  # noqa: SLF001 - as above


def prune(conn: Connection, before: str) -> None:
    """Remove the days before this one."""
    for table in (store_traffic, space_day):
        conn.execute(delete(table).where(table.c.day < before))
    conn.execute(_PRUNE_DISKS, {"before": before})

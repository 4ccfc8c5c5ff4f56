"""What was asked of the store and how full it was, a few small rows for each day."""

from collections.abc import Iterable
from dataclasses import fields

from sqlalchemy import Connection, delete, insert, select, update

from drystone.catalog.schema_told import space_day, store_traffic
from drystone.domain.store_days import SpaceOfDay, StoreTraffic

assert tuple(column.name for column in store_traffic.columns) == tuple(one.name for one in fields(StoreTraffic))
assert tuple(column.name for column in space_day.columns) == tuple(one.name for one in fields(SpaceOfDay))


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


def traffic_since(conn: Connection, day: str) -> list[StoreTraffic]:
    """Return the requests of the days from this one on, oldest first."""
    query = select(store_traffic).where(store_traffic.c.day >= day)
    rows = conn.execute(query.order_by(store_traffic.c.day, store_traffic.c.kind))
    return [StoreTraffic(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def space_since(conn: Connection, day: str) -> list[SpaceOfDay]:
    """Return how full it was on the days from this one on, oldest first."""
    rows = conn.execute(select(space_day).where(space_day.c.day >= day).order_by(space_day.c.day))
    return [SpaceOfDay(**row._mapping) for row in rows]  # noqa: SLF001 - as above


def prune(conn: Connection, before: str) -> None:
    """Remove the days before this one."""
    for table in (store_traffic, space_day):
        conn.execute(delete(table).where(table.c.day < before))

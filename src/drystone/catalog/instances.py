"""Instances that disks are attached to."""

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from drystone.catalog.rows import Rows
from drystone.catalog.schema import disk, instance
from drystone.domain.ids import AccountId, InstanceId
from drystone.domain.instance import Instance

_rows = Rows(instance, Instance)

insert = _rows.insert
get = _rows.get
get_many = _rows.get_many
compare_and_set = _rows.compare_and_set
delete = _rows.delete


def find(
    conn: Connection, account_id: AccountId, *, ids: Collection[InstanceId], offset: int, limit: int
) -> tuple[list[Instance], int]:
    """Return a page of an account's instances, oldest first, and the number of all that match.

    Args:
        conn: A transaction.
        account_id: The owner.
        ids: Only these; none means all.
        offset: Matches to leave out at the start.
        limit: The most to return.
    """
    matches = [instance.c.account_id == account_id]
    if ids:
        matches.append(instance.c.id.in_(list(ids)))
    total: int = conn.execute(select(func.count()).select_from(instance).where(*matches)).scalar_one()
    page = select(instance).where(*matches).order_by(instance.c.created_at, instance.c.id)
    return _rows.all(conn, page.offset(offset).limit(limit)), total


def disk_counts(conn: Connection, ids: Collection[InstanceId]) -> dict[InstanceId, int]:
    """Return how many disks each of these instances has, whatever their state."""
    query = (
        select(disk.c.instance_id, func.count().label("disks"))
        .where(disk.c.instance_id.in_(list(ids)))
        .group_by(disk.c.instance_id)
    )
    counted = {row.instance_id: row.disks for row in conn.execute(query)}
    return {key: counted.get(key, 0) for key in ids}

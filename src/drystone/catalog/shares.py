"""Which snapshots are shared with which accounts."""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select

from drystone.catalog.rows import IDS_PER_STATEMENT
from drystone.catalog.schema import snapshot_share
from drystone.domain.ids import AccountId, SnapshotId
from drystone.domain.share import Share


def of_snapshots(conn: Connection, snapshot_ids: Iterable[SnapshotId]) -> dict[SnapshotId, tuple[Share, ...]]:
    """Return the shares of each of these snapshots that has any, in the order in which they were made."""
    found: dict[SnapshotId, tuple[Share, ...]] = {}
    wanted = list(dict.fromkeys(snapshot_ids))
    for at in range(0, len(wanted), IDS_PER_STATEMENT):
        query = select(snapshot_share).where(snapshot_share.c.snapshot_id.in_(wanted[at : at + IDS_PER_STATEMENT]))
        for share in _all(conn, query.order_by(snapshot_share.c.created_at, snapshot_share.c.account_id)):
            found[share.snapshot_id] = (*found.get(share.snapshot_id, ()), share)
    return found


def of_snapshot(conn: Connection, snapshot_id: SnapshotId) -> tuple[Share, ...]:
    """Return the shares of a snapshot, in the order in which they were made."""
    return of_snapshots(conn, [snapshot_id]).get(snapshot_id, ())


def get(conn: Connection, snapshot_id: SnapshotId, account_id: AccountId) -> Share | None:
    """Return the share of a snapshot with an account, if there is one."""
    query = select(snapshot_share).where(
        snapshot_share.c.snapshot_id == snapshot_id, snapshot_share.c.account_id == account_id
    )
    return next(iter(_all(conn, query)), None)


def add(conn: Connection, share: Share) -> None:
    """Add a share, unless it is there already."""
    if get(conn, share.snapshot_id, share.account_id) is None:
        values = {"snapshot_id": share.snapshot_id, "account_id": share.account_id, "created_at": share.created_at}
        conn.execute(insert(snapshot_share).values(values))


def remove(conn: Connection, snapshot_id: SnapshotId, account_ids: Collection[AccountId]) -> None:
    """Remove the shares of a snapshot with these accounts, as far as there are any."""
    conn.execute(
        delete(snapshot_share).where(
            snapshot_share.c.snapshot_id == snapshot_id, snapshot_share.c.account_id.in_(list(account_ids))
        )
    )


def remove_all(conn: Connection) -> int:
    """Remove every share of the installation; return how many there were."""
    return conn.execute(delete(snapshot_share)).rowcount


def _all(conn: Connection, query: Select[Any]) -> list[Share]:
    return [Share(snapshot_id=row[0], account_id=row[1], created_at=row[2]) for row in conn.execute(query)]

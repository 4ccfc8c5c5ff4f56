"""Disks."""

from collections.abc import Collection

from sqlalchemy import Connection, func, or_, select

from drystone.catalog import dialect
from drystone.catalog.rows import Rows
from drystone.catalog.schema import VISIBLE_DISK, disk, instance
from drystone.catalog.selection import Selection, conditions, searched
from drystone.domain.disk import Disk, DiskState
from drystone.domain.ids import AccountId, DiskId, InstanceId, SnapshotId
from drystone.domain.tracking import TrackingState

_rows = Rows(disk, Disk)

insert = _rows.insert
get = _rows.get
get_many = _rows.get_many
compare_and_set = _rows.compare_and_set
delete = _rows.delete


def find(conn: Connection, selection: Selection) -> tuple[list[Disk], int]:
    """Return a page of the disks that clients see and that meet a selection, and the number of all that do."""
    assert not selection.snapshot_states, "disks are not snapshots"
    wanted = conditions(disk, selection)
    wanted += [
        disk.c.instance_id.in_(
            select(instance.c.id).where(instance.c.account_id == selection.account_id, instance.c.name.in_(list(names)))
        )
        for names in selection.instance_names
    ]
    wanted += searched(disk, selection, disk.c.instance_id, instance)
    return _rows.page(conn, selection, VISIBLE_DISK, wanted)


def count(conn: Connection, account_id: AccountId) -> int:
    """Return how many disks of an account clients see."""
    query = select(func.count()).select_from(disk).where(VISIBLE_DISK, disk.c.account_id == account_id)
    total: int = conn.execute(query).scalar_one()
    return total


def held(conn: Connection, account_id: AccountId) -> tuple[int, int]:
    """Return how many disks an account has, those too that are being made or destroyed, and their GiB together."""
    query = select(func.count(), dialect.total(disk.c.size_gib)).where(disk.c.account_id == account_id)
    count, size_gib = conn.execute(query).one()
    return count, size_gib


def count_all(conn: Connection) -> int:
    """Return how many disks clients see, over all accounts."""
    total: int = conn.execute(select(func.count()).select_from(disk).where(VISIBLE_DISK)).scalar_one()
    return total


def of_account(conn: Connection, account_id: AccountId) -> list[Disk]:
    """Return the disks of an account that clients see, newest first."""
    query = select(disk).where(VISIBLE_DISK, disk.c.account_id == account_id)
    return _rows.all(conn, query.order_by(disk.c.created_at.desc(), disk.c.id))


def visible(conn: Connection, disk_ids: Collection[str]) -> frozenset[str]:
    """Return which of these disks clients see."""
    query = select(disk.c.id).where(VISIBLE_DISK, disk.c.id.in_(list(disk_ids)))
    return frozenset(conn.execute(query).scalars())


def everything(conn: Connection) -> list[Disk]:
    """Return all disks, hidden ones too, oldest first: for taking over daemons and for recovery."""
    return _rows.all(conn, select(disk).order_by(disk.c.created_at, disk.c.id))


def in_states(conn: Connection, states: Collection[DiskState]) -> list[Disk]:
    """Return the disks of all accounts in any of these states, oldest first."""
    query = select(disk).where(disk.c.state.in_(list(states)))
    return _rows.all(conn, query.order_by(disk.c.created_at, disk.c.id))


def with_backup_quota(conn: Connection, *, but: int | None) -> list[Disk]:
    """Return the disks that clients see and that may have backup points, oldest first.

    Args:
        conn: A transaction.
        but: Not those whose last backup point by itself was of this day.
    """
    query = select(disk).where(VISIBLE_DISK, disk.c.backup_quota > 0)
    if but is not None:
        query = query.where(or_(disk.c.backup_day.is_(None), disk.c.backup_day != but))
    return _rows.all(conn, query.order_by(disk.c.created_at, disk.c.id))


def unserved(conn: Connection) -> list[Disk]:
    """Return the ATTACHED disks that are neither served as NBD nor a block device: their daemon died."""
    query = select(disk).where(disk.c.state == DiskState.ATTACHED, disk.c.nbd_socket.is_(None), disk.c.device.is_(None))
    return _rows.all(conn, query.order_by(disk.c.created_at, disk.c.id))


def block_devices(conn: Connection) -> list[Disk]:
    """Return the ATTACHED disks that are block devices of the host."""
    query = select(disk).where(disk.c.state == DiskState.ATTACHED, disk.c.device.is_not(None))
    return _rows.all(conn, query.order_by(disk.c.created_at, disk.c.id))


def known(conn: Connection, disk_ids: Collection[DiskId]) -> frozenset[DiskId]:
    """Return which of these are disks of this installation."""
    return frozenset(conn.execute(select(disk.c.id).where(disk.c.id.in_(sorted(disk_ids)))).scalars())


def lost(conn: Connection) -> list[Disk]:
    """Return the disks whose tracking is LOST, oldest first."""
    query = select(disk).where(disk.c.tracking == TrackingState.LOST)
    return _rows.all(conn, query.order_by(disk.c.created_at, disk.c.id))


def any_hydrating(conn: Connection) -> bool:
    """Tell whether any disk is being filled from its source."""
    return conn.execute(select(disk.c.id).where(disk.c.hydrating).limit(1)).first() is not None


def of_instance(conn: Connection, instance_id: InstanceId) -> list[Disk]:
    """Return the disks that name this instance, whatever their state, oldest first."""
    query = select(disk).where(disk.c.instance_id == instance_id)
    return _rows.all(conn, query.order_by(disk.c.created_at, disk.c.id))


def of_instances(conn: Connection, instance_ids: Collection[InstanceId]) -> dict[InstanceId, list[Disk]]:
    """Return the disks that clients see and that name one of these instances, by instance, oldest first."""
    query = select(disk).where(VISIBLE_DISK, disk.c.instance_id.in_(list(instance_ids)))
    found: dict[InstanceId, list[Disk]] = {}
    for one in _rows.all(conn, query.order_by(disk.c.created_at, disk.c.id)):
        assert one.instance_id is not None, "it was selected by it"
        found.setdefault(one.instance_id, []).append(one)
    return found


def with_base(conn: Connection, snapshot_id: SnapshotId) -> list[Disk]:
    """Return every disk, of any account and in any state, whose base is this snapshot (A5)."""
    return _rows.all(conn, select(disk).where(disk.c.base_snapshot_id == snapshot_id).order_by(disk.c.id))


def carried(conn: Connection) -> dict[DiskId, frozenset[str]]:
    """Return the carry-over of every disk that has one: these maps are pinned (A5, L1)."""
    query = select(disk.c.id, disk.c.carry).where(disk.c.carry != frozenset())
    return {row.id: row.carry for row in conn.execute(query)}

"""Damage that a scrub found: which object cannot be read, and what of which snapshot that hides."""

from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select, update
from sqlalchemy import delete as delete_from

from drystone.catalog.rows import Rows
from drystone.catalog.schema import damage, pack, snapshot
from drystone.domain.blocks import Ranges
from drystone.domain.ids import SnapshotId
from drystone.domain.snapshot import SnapshotState


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Damage:
    """What one object's damage hides of one snapshot."""

    id: str
    """The snapshot's id and the object's name."""
    object: str
    kind: str
    """pack, map or manifest."""
    snapshot_id: SnapshotId
    ranges: Ranges
    """Blocks that cannot be served."""
    reason: str
    found_at: float


_rows = Rows(damage, Damage)


def replace(conn: Connection, value: Damage) -> None:
    """Record damage; what was recorded before of this snapshot and object goes."""
    _rows.delete(conn, value.id)
    _rows.insert(conn, value)


def damage_id(snapshot_id: SnapshotId, name: str) -> str:
    """Return the id of the row of a snapshot and an object."""
    return f"{snapshot_id} {name}"


def of_object(conn: Connection, name: str) -> list[Damage]:
    """Return what the damage of one object hides, by snapshot."""
    return _rows.all(conn, select(damage).where(damage.c.object == name).order_by(damage.c.snapshot_id))


def of_snapshot(conn: Connection, snapshot_id: SnapshotId) -> list[Damage]:
    """Return what is hidden of one snapshot, by object."""
    return _rows.all(conn, select(damage).where(damage.c.snapshot_id == snapshot_id).order_by(damage.c.object))


def everything(conn: Connection) -> list[Damage]:
    """Return all damage, the oldest first."""
    return _rows.all(conn, select(damage).order_by(damage.c.found_at, damage.c.id))


def objects(conn: Connection) -> list[tuple[str, str, int]]:
    """Return name, what is wrong, and how many snapshots it hits of each damaged object, the first found first."""
    first = func.min(damage.c.found_at)
    query = select(damage.c.object, func.min(damage.c.reason), func.count()).group_by(damage.c.object)
    return [(row[0], row[1], row[2]) for row in conn.execute(query.order_by(first, damage.c.object))]


def forget_object(conn: Connection, name: str) -> None:
    """Remove what was recorded of one object: it is whole, or gone."""
    conn.execute(delete_from(damage).where(damage.c.object == name))


def forget_maps(conn: Connection, snapshot_id: SnapshotId) -> None:
    """Remove what was recorded of a snapshot's maps and manifest: they were read again."""
    conn.execute(delete_from(damage).where(damage.c.snapshot_id == snapshot_id, damage.c.kind != "pack"))


def any_told(conn: Connection) -> bool:
    """Return whether any damage is recorded, or any snapshot said to be damaged."""
    told = select(snapshot.c.id).where(snapshot.c.damaged).limit(1)
    return any(conn.execute(query).first() is not None for query in (select(damage.c.id).limit(1), told))


def prune(conn: Connection) -> None:
    """Remove what was recorded of snapshots that clients do not see any more, and of packs that are gone (S28).

    Snapshots of which no damage is left are not said to be damaged any more.
    """
    normal = select(snapshot.c.id).where(snapshot.c.state == SnapshotState.NORMAL)
    gone = damage.c.snapshot_id.not_in(normal) | (
        (damage.c.kind == "pack") & damage.c.object.not_in(select(pack.c.object))
    )
    conn.execute(delete_from(damage).where(gone))
    whole = ~exists().where(damage.c.snapshot_id == snapshot.c.id)
    conn.execute(update(snapshot).where(snapshot.c.damaged, whole).values(damaged=False))

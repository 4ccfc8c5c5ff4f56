"""Extents of consumed checkpoints: carry-over that is not a snapshot's delta map (A10)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from drystone.catalog.rows import Rows
from drystone.catalog.schema import extent_map
from drystone.domain.blocks import EMPTY, Ranges, union
from drystone.domain.ids import DiskId

RANGES_MAX: Final = 1 << 20
"""Of one extent map: 16 MiB in its row. Scattered wider, they are joined: a superset is as right (A1)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExtentMap:
    """Addresses that may differ from a disk's base."""

    id: str
    """`extents:<sha256>`, as the disk's carry-over names it."""
    disk_id: DiskId
    ranges: Ranges
    blocks: int


_rows = Rows(extent_map, ExtentMap)

insert = _rows.insert
get = _rows.get
get_many = _rows.get_many
delete = _rows.delete


def ids_of(conn: Connection, disk_id: DiskId) -> frozenset[str]:
    """Return the ids of a disk's extent maps."""
    return frozenset(conn.execute(select(extent_map.c.id).where(extent_map.c.disk_id == disk_id)).scalars())


def union_of(conn: Connection, ids: Collection[str]) -> Ranges | None:
    """Return what the extent maps of these ids hold together; None if one is missing: then nothing is known."""
    found = get_many(conn, ids)
    if len(found) != len(set(ids)):
        return None
    return union(EMPTY, *(one.ranges for one in found.values()))


def keep_only(conn: Connection, disk_id: DiskId, ids: Collection[str]) -> int:
    """Remove the extent maps of a disk but those of `ids` (what its carry-over still names); return how many."""
    gone = ids_of(conn, disk_id) - frozenset(ids)
    for key in sorted(gone):
        _rows.delete(conn, key)
    return len(gone)

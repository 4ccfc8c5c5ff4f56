"""Rows whose copy outside the catalog is behind: a snapshot's attributes, a disk's description, the accounts' names.

Triggers note a row in the transaction that changes it, so that no way of changing it can forget to (S53).
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from drystone.catalog.schema import unpublished


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpublished:
    """One note; a further change of the same row is a note with another id."""

    id: int
    kind: str
    """snapshot, disk or account."""
    resource_id: str


def waiting(conn: Connection, limit: int, after: int = 0) -> list[Unpublished]:
    """Return up to `limit` notes with a larger id than `after`, the oldest first."""
    query = select(unpublished).where(unpublished.c.id > after).order_by(unpublished.c.id).limit(limit)
    return [
        Unpublished(id=row.id, kind=row.kind, resource_id=row.resource_id) for row in conn.execute(query).fetchall()
    ]


def drop(conn: Connection, note: Unpublished) -> bool:
    """Remove a note; return False if the row was changed since it was read: then the newer note stays."""
    return conn.execute(delete(unpublished).where(unpublished.c.id == note.id)).rowcount == 1

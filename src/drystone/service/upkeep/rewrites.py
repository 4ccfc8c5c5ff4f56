"""After packs were written again: the objects that are no longer in force go, when nobody can still read them (L8)."""

import asyncio

import structlog
from sqlalchemy import Connection

from drystone.catalog import pack_rewrites, packs, sessions
from drystone.domain.clock import age_s
from drystone.domain.errors import DrystoneError
from drystone.domain.pack_rewrite import PackRewrite, RewriteState, doomed
from drystone.domain.session import PackState, SessionState
from drystone.service.installation import Installation
from drystone.service.upkeep import collection, epoch

log = structlog.get_logger()
KEPT_SECONDS = 86_400.0
"""A writer that was cut off may still put its object: it is deleted again for this long."""


async def settle(installation: Installation) -> int:
    """Delete what rewritings have replaced or left behind; return the bytes that came back.

    The caller has found that deleting is allowed (`collection.stopped`), and holds the lock of collection. An object
    that cannot be deleted now is left for the next time.
    """

    def look(conn: Connection) -> list[tuple[PackRewrite, str, str | None]]:
        # Rows first, sessions second, in one transaction: a session opened later finds the new object (S32).
        rows = pack_rewrites.everything(conn)
        reading = {one.id for one in sessions.in_state(conn, SessionState.OPEN)}
        return [(row, name, _in_force(conn, row)) for row in rows if (name := doomed(row, reading)) is not None]

    freed = 0
    gone = await installation.db.read(look)
    if gone:
        await epoch.advance(installation)
    for row, name, in_force in gone:
        try:
            # Whatever the rows say, the last object of a pack stays.
            if in_force is not None:
                await asyncio.to_thread(installation.store.objects.size, in_force)
            await asyncio.to_thread(installation.store.objects.delete, name)
        except DrystoneError as error:
            log.warning("object.not_deleted", object=name, error=str(error))
            continue
        if row.state is RewriteState.SWITCHED:
            freed += await installation.db.write(lambda conn, row=row: _forget(conn, row))  # type: ignore[misc]
        elif row.ended_at is not None and age_s(row.ended_at, installation.steady()) > KEPT_SECONDS:
            await installation.db.write(lambda conn, row=row: pack_rewrites.delete(conn, row.id))  # type: ignore[misc]
    return freed


def _in_force(conn: Connection, row: PackRewrite) -> str | None:
    """Return the object that must be there before another one of the pack goes (S81)."""
    pack = packs.get(conn, row.pack_id)
    return pack.object if pack is not None and pack.state is PackState.LIVE else None


def _forget(conn: Connection, row: PackRewrite) -> int:
    freed = max(0, row.old_bytes - row.new_bytes)
    if pack_rewrites.delete(conn, row.id):
        collection.add_reclaimed(conn, freed)
    return freed


def abandon(conn: Connection, row: PackRewrite, at: float) -> None:
    """Give a rewriting up: its new object, if it was written, will never be in force."""
    pack_rewrites.compare_and_set(
        conn, row.id, expected={"state": RewriteState.WRITING}, values={"state": RewriteState.ABANDONED, "ended_at": at}
    )


def abandon_all(conn: Connection, at: float) -> None:
    """Give up every rewriting that is not switched; the caller holds the lock of collection, so nobody writes."""
    for row in pack_rewrites.in_state(conn, RewriteState.WRITING):
        abandon(conn, row, at)


def switched(conn: Connection, row: PackRewrite, *, new_bytes: int, at: float) -> None:
    """Record that the new object is in force; the old one goes when its readers have ended.

    S32: whoever reads now may hold the old object's index, and must have ended before it goes.
    """
    readers = {one.id for one in sessions.in_state(conn, SessionState.OPEN) if sessions.reads(conn, one.id)}
    values = {
        "state": RewriteState.SWITCHED, "waits_for": frozenset(readers), "new_bytes": new_bytes, "ended_at": at,
    }  # fmt: skip
    changed = pack_rewrites.compare_and_set(conn, row.id, expected={"state": RewriteState.WRITING}, values=values)
    # S31: a row that was given up is never switched, for its object may be gone by now.
    assert changed, f"rewriting {row.id} was given up while it was being written"

"""After packs were written again: the objects that are no longer in force go, when nobody can still read them (L8)."""

import asyncio
import functools
from collections.abc import Mapping

import structlog
from sqlalchemy import Connection

from drystone.catalog import pack_rewrites, packs, sessions
from drystone.domain.clock import age_s
from drystone.domain.errors import DrystoneError
from drystone.domain.pack_rewrite import PackRewrite, RewriteState, doomed
from drystone.domain.session import Pack, PackState, SessionState
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import collection, epoch
from drystone.snapstore.store import Store

log = structlog.get_logger()
KEPT_SECONDS = 86_400.0
"""A writer that was cut off may still put its object: it is deleted again for this long."""


async def settle(transactions: Transactions, kept: KeptStore) -> None:
    """Delete what rewritings have replaced or left behind.

    The caller has found that deleting is allowed (`collection.stopped`), and holds the lock of collection. An object
    that cannot be deleted now is left for the next time.
    """

    def look(conn: Connection) -> list[tuple[PackRewrite, str, str | None]]:
        # Rows first, sessions second, in one transaction: a session opened later finds the new object (S32).
        rows = pack_rewrites.everything(conn)
        reading = {one.id for one in sessions.in_state(conn, SessionState.OPEN)}
        return [(row, name, _in_force(conn, row)) for row in rows if (name := doomed(row, reading)) is not None]

    gone = [row for row in await transactions.read(look) if kept.pending.waits(row[1]) is None]
    if gone:
        await epoch.advance(transactions, kept)
    for row, name, in_force in gone:
        try:
            # Whatever the rows say, the last object of a pack stays.
            if in_force is not None:
                await asyncio.to_thread(kept.store.objects.size, in_force)
            if not await collection.removed(kept, name):
                continue
        except DrystoneError as error:
            log.warning("object.not_deleted", object=name, error=str(error))
            continue
        await transactions.change(functools.partial(_forget, row=row))


def _in_force(conn: Connection, row: PackRewrite) -> str | None:
    """Return the object that must be there before another one of the pack goes (S81)."""
    pack = packs.get(conn, row.pack_id)
    return pack.object if pack is not None and pack.state is PackState.LIVE else None


def _forget(change: Change, *, row: PackRewrite) -> None:
    """Drop the row of an object that is gone, unless a writer may still put it."""
    if row.state is not RewriteState.SWITCHED:
        if row.ended_at is not None and age_s(row.ended_at, change.steady) > KEPT_SECONDS:
            pack_rewrites.delete(change.conn, row.id)
    elif pack_rewrites.delete(change.conn, row.id):
        collection.add_reclaimed(change.conn, max(0, row.old_bytes - row.new_bytes))


def begin(change: Change, pack: Pack, store: Store) -> PackRewrite:
    """Record that a pack is being written again, before its new object is (S30)."""
    attempt = change.ids.hex128()
    row = PackRewrite(
        id=attempt, pack_id=pack.id, old_object=pack.object, old_bytes=pack.bytes, created_at=change.steady,
        new_object=store.pack_name(pack.session_id, pack.id, attempt),
    )  # fmt: skip
    pack_rewrites.insert(change.conn, row)
    return row


def abandon(change: Change, row: PackRewrite) -> None:
    """Give a rewriting up: its new object, if it was written, will never be in force."""
    values = {"state": RewriteState.ABANDONED, "ended_at": change.steady}
    pack_rewrites.compare_and_set(change.conn, row.id, expected={"state": RewriteState.WRITING}, values=values)


def abandon_all(change: Change) -> None:
    """Give up every rewriting that is not switched; the caller holds the lock of collection, so nobody writes."""
    for row in pack_rewrites.in_state(change.conn, RewriteState.WRITING):
        abandon(change, row)


def switch(
    change: Change, row: PackRewrite, pack: Pack, values: Mapping[str, object], *, new_bytes: int, version: str | None
) -> bool:
    """Put the new object in force, if the pack is as it was; return whether it is. If not, the rewriting is given up.

    Its version goes with it, also where that is unknown: the old object's is none of it (S274).

    S32: whoever reads now may hold the old object's index, and must have ended before it goes.
    """
    conn = change.conn
    unchanged = {"state": PackState.LIVE, "object": pack.object}
    values = {**values, "object": row.new_object, "bytes": new_bytes, "version": version}
    if not packs.compare_and_set(conn, pack.id, expected=unchanged, values=values):
        abandon(change, row)
        return False
    readers = {one.id for one in sessions.in_state(conn, SessionState.OPEN) if sessions.reads(conn, one.id)}
    ended = {
        "state": RewriteState.SWITCHED, "waits_for": frozenset(readers), "new_bytes": new_bytes,
        "ended_at": change.steady,
    }  # fmt: skip
    changed = pack_rewrites.compare_and_set(conn, row.id, expected={"state": RewriteState.WRITING}, values=ended)
    # S31: a row that was given up is never switched, for its object may be gone by now.
    assert changed, f"rewriting {row.id} was given up while it was being written"
    return True


def waiting_bytes(conn: Connection) -> int:
    """Return the bytes of replaced objects that somebody may be reading still."""
    return sum(row.old_bytes for row in pack_rewrites.in_state(conn, RewriteState.SWITCHED))

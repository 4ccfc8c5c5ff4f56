"""Garbage by name: what fenced sessions wrote is removed, again and again if need be (L6)."""

import asyncio

from sqlalchemy import Connection

from drystone.catalog import operations, pack_rewrites, sessions
from drystone.domain.clock import age_s
from drystone.domain.errors import DrystoneError
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.operation import OperationKind
from drystone.domain.session import Session
from drystone.service import collection
from drystone.service.confirmation import may_delete
from drystone.service.installation import Installation
from drystone.snapstore.collect import delete_manifest, delete_session_objects, list_session_objects
from drystone.snapstore.manifests import list_manifests
from drystone.snapstore.store import Store

KEPT_SECONDS = 7 * 86400.0
"""A fenced writer that was paused may still put objects: its session is swept for this long."""


SPENT_MAX = 200
"""Sessions that are looked at together: each costs two listings of a prefix."""


def clear_scratch(installation: Installation) -> None:
    """At start, after every disk was settled: remove scratch files that no frozen view stands on."""
    running = installation.db.read_sync(operations.unfinished)
    needed = {f"{row.disk_id}.raw" for row in running if row.kind is OperationKind.SNAPSHOT}
    for file in installation.layout.scratch.iterdir():
        if file.name not in needed:
            file.unlink()


def _manifests_of(store: Store, wanted: set[SessionId]) -> dict[SessionId, list[SnapshotId]]:
    found: dict[SessionId, list[SnapshotId]] = {}
    for entry in list_manifests(store):
        if entry.session in wanted:
            found.setdefault(entry.session, []).append(entry.snapshot)
    return found


def _rewritten(conn: Connection) -> set[SessionId]:
    return {SessionId(row.new_object.split("/")[-2]) for row in pack_rewrites.everything(conn)}


async def forget_spent(installation: Installation) -> int:
    """Drop sessions in force that ended long ago and of which nothing is left (S60); return how many.

    Writers and readers both: a server that takes a snapshot an hour would keep 9,000 rows a year. A session that ended
    as COMMITTED writes nothing more, so what is not in the store under its name now never will be, and no object is
    left without the row that lets it be deleted (L7).

    Raises:
        DrystoneError: The store cannot be listed; nothing was dropped.
    """
    before = installation.steady() - KEPT_SECONDS
    waiting = await installation.db.read(lambda conn: sessions.spent(conn, before, SPENT_MAX))
    if not waiting or not await may_delete(installation):
        return 0
    store = installation.store
    named = set(await asyncio.to_thread(_manifests_of, store, {session.id for session in waiting}))
    # A rewriting that was given up may still put its object, under the session that wrote the pack.
    named |= await installation.db.read(_rewritten)
    gone = [
        session.id
        for session in waiting
        if session.id not in named and not await asyncio.to_thread(list_session_objects, store, session.id)
    ]

    def drop(conn: Connection) -> int:
        # Looked at again in the transaction: rows that refer to it may have come since (a recovery, no other way).
        still = {session.id for session in sessions.spent(conn, before, SPENT_MAX)}
        return sum(sessions.delete(conn, name) for name in gone if name in still)

    return await installation.db.write(drop)


async def sweep(installation: Installation) -> None:
    """Remove what fenced sessions wrote and nobody needs; drop those that ended long ago. A failure is left for later.

    A session that was fenced stays so, and nothing new is made of what it wrote (L6): garbage stays garbage.
    """
    fenced = await installation.db.read(collection.garbage)
    if not fenced or not await may_delete(installation):
        return
    now = installation.steady()
    swept: list[Session] = []
    manifests = await asyncio.to_thread(_manifests_of, installation.store, {session.id for session in fenced})
    for session in fenced:
        try:
            # A writer that was fenced before its commit may have left a manifest: it goes first (S10).
            for snapshot_id in manifests.get(session.id, ()):
                await asyncio.to_thread(delete_manifest, installation.store, snapshot_id, session.id)
            await asyncio.to_thread(delete_session_objects, installation.store, session.id)
        except DrystoneError:
            continue
        if session.ended_at is not None and age_s(session.ended_at, now) > KEPT_SECONDS:
            swept.append(session)

    def drop(conn: Connection) -> None:
        for session in swept:
            sessions.delete(conn, session.id)

    if swept:
        await installation.db.write(drop)

"""Garbage by name: what fenced sessions wrote is removed, again and again if need be (L6)."""

import asyncio

from sqlalchemy import Connection

from drystone.catalog import operations, sessions
from drystone.domain.errors import DrystoneError
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.operation import OperationKind
from drystone.domain.session import Session, SessionState
from drystone.service.confirmation import may_delete
from drystone.service.installation import Installation
from drystone.snapstore.collect import delete_manifest, delete_session_objects
from drystone.snapstore.manifests import list_manifests
from drystone.snapstore.store import Store

KEPT_SECONDS = 7 * 86400.0
"""A fenced writer that was paused may still put objects: its session is swept for this long."""


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


async def sweep(installation: Installation) -> None:
    """Remove the objects of every fenced session; drop sessions that ended long ago. A failure is left for later."""
    fenced = await installation.db.read(lambda conn: sessions.in_state(conn, SessionState.FENCED))
    if not fenced or not await may_delete(installation):
        return
    at = installation.clock()
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
        if session.ended_at is not None and at - session.ended_at > KEPT_SECONDS:
            swept.append(session)

    def drop(conn: Connection) -> None:
        for session in swept:
            sessions.delete(conn, session.id)

    if swept:
        await installation.db.write(drop)

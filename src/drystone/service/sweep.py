"""Garbage by name: what fenced sessions wrote is removed, again and again if need be (L6)."""

import asyncio

from sqlalchemy import Connection

from drystone.catalog import sessions
from drystone.domain.errors import DrystoneError
from drystone.domain.session import Session, SessionState
from drystone.service.installation import Installation
from drystone.snapstore.collect import delete_session_objects

KEPT_SECONDS = 7 * 86400.0
"""A fenced writer that was paused may still put objects: its session is swept for this long."""


async def sweep(installation: Installation) -> None:
    """Remove the objects of every fenced session; drop sessions that ended long ago. A failure is left for later."""
    fenced = await installation.db.read(lambda conn: sessions.in_state(conn, SessionState.FENCED))
    at = installation.clock()
    swept: list[Session] = []
    for session in fenced:
        try:
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

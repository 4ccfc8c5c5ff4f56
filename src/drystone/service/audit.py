"""The trail of calls that change something."""

from collections.abc import Callable

from sqlalchemy import Connection

from drystone.catalog import audit
from drystone.catalog.audit import AuditEntry
from drystone.catalog.database import Database
from drystone.service.caller import Caller

KEPT_S = 400 * 86_400
"""Somewhat over a year: a yearly review finds all of it."""
PRUNED_MAX = 10
"""Old entries removed in passing by each new one."""


class Audit:
    """Keeps the trail.

    Args:
        db: The catalog.
        clock: This machine's clock, which entries are dated by.
        steady: The steady clock, by which old ones go.
    """

    def __init__(self, *, db: Database, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock
        self._steady = steady

    async def record(self, caller: Caller, resource: str, code: str) -> None:
        """Add an entry: it is on disk when this returns.

        Args:
            caller: Who called what.
            resource: Ids of what it was about; empty when there is none.
            code: The error code, or `OK`.
        """
        old = self._steady() - KEPT_S
        entry = AuditEntry(
            at=self._clock(),
            account_id=caller.account_id,
            secret_id=caller.secret_id,
            action=caller.action,
            request_id=caller.request_id,
            resource=resource,
            code=code,
            source=caller.source,
        )

        def add(conn: Connection) -> None:
            audit.prune(conn, old, PRUNED_MAX)
            audit.append(conn, entry)

        await self._db.write(add)

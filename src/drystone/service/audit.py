"""The trail of calls that change something."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from drystone.catalog import audit
from drystone.catalog.audit import AuditEntry
from drystone.catalog.database import Database
from drystone.domain.ids import AccountId
from drystone.service.caller import Caller

KEPT_S = 400 * 86_400
"""Somewhat over a year: a yearly review finds all of it."""
REFUSED_CHARS_MAX = 200
"""What a refused call named is cut to so much: it may name a hundred things that are not there."""
REFUSED_PER_MINUTE = 60
"""Refused calls of one account that are written in a minute; of the others the number is."""
ACCOUNTS_MAX = 10_000
"""Accounts whose refused calls are counted at a time; who is forgotten begins anew."""
NOT_WRITTEN = "NotWritten"
"""Code of the entry that tells how many refused calls were not written."""
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
        self._refused: dict[AccountId, _Refused] = {}

    async def record(self, caller: Caller, resource: str, code: str) -> None:
        """Add an entry: it is on disk when this returns. Of refused calls only so many are written (S158).

        Args:
            caller: Who called what.
            resource: Ids of what it was about; empty when there is none.
            code: The error code, or `OK`.
        """
        steady = self._steady()
        old = steady - KEPT_S
        refused = self._counted(caller.account_id, minute=int(steady // 60))
        if code != "OK":
            resource = resource[:REFUSED_CHARS_MAX]
            if refused.written >= REFUSED_PER_MINUTE:  # S158
                refused.left_out += 1
                return
            refused.written += 1
        untold, refused.untold = refused.untold, 0
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
            if untold:
                told = f"{untold} refused calls before this were not written"
                audit.append(conn, replace(entry, resource=told, code=NOT_WRITTEN))
            audit.append(conn, entry)

        await self._db.write(add)

    def _counted(self, account_id: AccountId, *, minute: int) -> "_Refused":
        """Return the counts of an account for this minute; what an earlier one left out is still to be told."""
        counts = self._refused.setdefault(account_id, _Refused(minute=minute))
        if counts.minute != minute:
            counts.minute, counts.written = minute, 0
            counts.untold, counts.left_out = counts.untold + counts.left_out, 0
        if len(self._refused) > ACCOUNTS_MAX:
            self._refused.pop(next(iter(self._refused)))
        return counts


@dataclass(slots=True, kw_only=True)
class _Refused:
    """Refused calls of one account in one minute.

    Attributes:
        minute: Which minute.
        written: How many of it were written.
        left_out: How many were not.
        untold: How many of earlier minutes were not, and no entry has said so yet.
    """

    minute: int
    written: int = 0
    left_out: int = 0
    untold: int = 0

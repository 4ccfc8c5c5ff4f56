"""The trail of calls that change something: how it is written, and what of it goes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from drystone.catalog import trail
from drystone.catalog.database import Database
from drystone.catalog.trail import TrailUsage
from drystone.domain.errors import DrystoneError
from drystone.domain.ids import AccountId
from drystone.domain.trail import OK, TrailEntry
from drystone.service.caller import Caller

KEPT_S = 400 * 86_400
"""Somewhat over a year: a yearly review finds all of it."""
REFUSED_CHARS_MAX = 200
"""What a refused call named is cut to so much: it may name a hundred things that are not there."""
REFUSED_PER_MINUTE = 60
"""Refused calls of one account that have an entry each in a minute; the others are counted."""
KINDS_MAX = 16
"""Kinds of refused calls (action and code) that are counted apart, for each account and minute."""
OTHER_KINDS = ("", "NotWritten")
"""Action and code under which all other kinds are counted."""
STEP = 500
"""Entries that one transaction adds or removes: about 10 ms of the writer, whose other users go between."""
STEPS_MAX = 20
"""Steps of one round; what is left waits for the next."""

Kind = tuple[str, str]
log = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class Audit:
    """Keeps the trail. It belongs to the event loop's thread."""

    db: Database
    clock: Callable[[], float]
    """This machine's clock, which entries are dated by."""
    steady: Callable[[], float]
    """The steady clock, by which old ones go."""
    most: TrailUsage
    _minute: int = field(init=False, default=0)
    # Both have accounts that exist: there are no more of them than rows of that table.
    _written: Counter[AccountId] = field(init=False, default_factory=Counter)
    _counted: dict[AccountId, Counter[Kind]] = field(init=False, default_factory=dict)

    async def record(self, caller: Caller, resource: str, code: str) -> None:
        """Add an entry: it is on disk when this returns. Of refused calls only so many are written (S158).

        Args:
            caller: Who called what.
            resource: Ids of what it was about; empty when there is none.
            code: The error code, or `OK`.
        """
        if code != OK:
            if not self._may_write(caller.account_id):  # S158
                self._count(caller.account_id, (caller.action, code), 1)
                return
            resource = resource[:REFUSED_CHARS_MAX]
        entry = TrailEntry(
            at=self.clock(),
            account_id=caller.account_id,
            secret_id=caller.secret_id,
            action=caller.action,
            request_id=caller.request_id,
            resource=resource,
            code=code,
            source=caller.source,
        )
        await self.db.write(lambda conn: trail.append(conn, entry))

    def _may_write(self, account_id: AccountId) -> bool:
        minute = int(self.steady() // 60)
        if minute != self._minute:
            self._minute = minute
            self._written.clear()
        if self._written[account_id] >= REFUSED_PER_MINUTE:
            return False
        self._written[account_id] += 1
        return True

    def _count(self, account_id: AccountId, kind: Kind, calls: int) -> None:
        counts = self._counted.setdefault(account_id, Counter())
        counts[kind if kind in counts or len(counts) < KINDS_MAX else OTHER_KINDS] += calls

    async def tell(self) -> None:
        """Write how many refused calls have no entry: one entry for each account, action and code (S180).

        After an error, and after a cancellation, they are told by the next call, some of them perhaps twice.
        """
        counted, self._counted = self._counted, {}
        left = [(account, kind, calls) for account, counts in counted.items() for kind, calls in counts.items()]
        try:
            while left:
                entries = [self._tally(*one) for one in left[:STEP]]
                await self.db.write(lambda conn, entries=entries: trail.append(conn, *entries))  # type: ignore[misc]
                del left[:STEP]
        finally:
            for one in left:
                self._count(*one)

    def _tally(self, account_id: AccountId, kind: Kind, calls: int) -> TrailEntry:
        action, code = kind
        return TrailEntry(
            at=self.clock(), account_id=account_id, secret_id="", action=action, request_id="", resource="",
            code=code, source="", calls=calls,
        )  # fmt: skip

    async def close(self) -> None:
        """Tell what has not been told, before an orderly end; if the catalog cannot take it, to the log."""
        try:
            await self.tell()
        except DrystoneError as error:
            counts = {f"{account} {' '.join(kind)}": calls for account, kinds in self._counted.items()
                      for kind, calls in kinds.items()}  # fmt: skip
            log.error("audit.untold", refused=counts, error=str(error))  # noqa: TRY400 - no bug

    async def prune(self) -> int:
        """Let go what is too old, and of what is more than may be kept the refused calls before the changes (S181).

        It goes in short transactions; what a cancelled round left is the next one's.

        Returns:
            How many entries went.
        """
        old = self.steady() - KEPT_S

        def step(conn: Connection) -> int:
            return trail.prune(conn, old, STEP) or trail.thin(conn, self.most, STEP)

        removed = 0
        for _ in range(STEPS_MAX):
            if not await self.db.read(lambda conn: trail.too_much(conn, old, self.most)):
                break
            removed += await self.db.write(step)
        return removed

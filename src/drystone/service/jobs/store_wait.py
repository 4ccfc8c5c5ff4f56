"""Waiting for a store that does not answer, said in the operation's row (S13)."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from drystone.catalog import operations
from drystone.domain.errors import StoreUnavailableError, UnavailableError
from drystone.domain.operation import Operation
from drystone.service.cancelling import breakable
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Change, Transactions
from drystone.snapstore.store import read_mark

log = structlog.get_logger()
WAIT_SECONDS_MAX = 30.0
"""The longest pause before a store that did not answer is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreWait:
    """How a snapshot waits."""

    transactions: Transactions
    kept: KeptStore

    async def until_it_answers(
        self,
        operation: Operation,
        why: StoreUnavailableError,
        waits: int,
        check: Callable[[Operation], Awaitable[None]],
    ) -> None:
        """Return once the store answers, the later the more often it was waited for; the row says what it waits for.

        Args:
            operation: The snapshot's.
            why: What the store failed of.
            waits: How often it was waited for before.
            check: Raises if waiting is of no use any more.
        """
        log.warning("snapshot.waits", snapshot_id=operation.snapshot_id, error=str(why))
        waiting = f"waits for the snapshot store: {why}"
        while True:
            await self.transactions.change(functools.partial(say_waiting, operation=operation, error=waiting))
            await breakable(asyncio.sleep(min(WAIT_SECONDS_MAX, 2.0 ** min(waits, 9))))
            await check(operation)
            try:
                await asyncio.to_thread(lambda: read_mark(self.kept.store))
            except UnavailableError as error:
                waiting = f"waits for the snapshot store: {error}"
            else:
                await self.transactions.change(functools.partial(say_waiting, operation=operation, error=""))
                return


def say_waiting(change: Change, *, operation: Operation, error: str) -> None:
    """Say what a snapshot waits for, unless it was given up meanwhile."""
    now = operations.get(change.conn, operation.id)
    if now is not None and not now.error_code:
        operations.update(change.conn, operation.id, updated_at=change.at, error=error)

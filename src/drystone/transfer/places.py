"""Places that tasks of several accounts wait for and hold, shared fairly."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.turns import Turns


class Places:
    """Fair shares of some places, see `Turns`. It belongs to the event loop's thread.

    Args:
        places: Places that one account alone may hold.
        reserve: Further places, one each for accounts that hold none.
    """

    def __init__(self, places: int, *, reserve: int) -> None:
        self._turns: Turns[asyncio.Future[None]] = Turns(places=places, reserve=reserve)

    @contextlib.asynccontextmanager
    async def hold(self, account: str, *, waiting_max: int | None = None) -> AsyncIterator[None]:
        """Wait for the account's turn, and hold a place while the block runs.

        Args:
            account: Whose share this takes from.
            waiting_max: How many of this account may wait already.

        Raises:
            RefusalError: `TOO_MUCH_AT_ONCE`: too many wait; nothing was begun.
        """
        waiting = self._turns.waiting(account)
        if waiting_max is not None and waiting >= waiting_max:
            raise RefusalError(
                Refusal.TOO_MUCH_AT_ONCE,
                f"{waiting} calls of this account wait for a worker already; wait for their answers, then try again.",
            )
        ticket = asyncio.get_running_loop().create_future()
        self._turns.ask(account, ticket)
        self._go_on()
        try:
            await ticket
        except asyncio.CancelledError:
            # It may have had its turn in the very moment in which it was cancelled.
            if ticket.done() and not ticket.cancelled():
                self._leave(account)
            else:
                self._turns.withdraw(account, ticket)
            raise
        try:
            yield
        finally:
            self._leave(account)

    def _leave(self, account: str) -> None:
        self._turns.leave(account)
        self._go_on()

    def _go_on(self) -> None:
        while (turn := self._turns.next()) is not None:
            account, ticket = turn
            if ticket.cancelled():
                # Its task has not yet been told, and will find that it waits no more.
                self._turns.leave(account)
            else:
                ticket.set_result(None)

"""Whose turn it is, where accounts share places: who holds the fewest, and of those who waits longest.

A value without clock and I/O; `transfer.places` is what tasks wait at.
"""

from collections import deque
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Places that accounts share (S156).

    `places` are for whoever comes. So many as `reserve` are kept for accounts that hold none: however much one account
    asks for, another finds a place at once, until as many others as there are in reserve have one each. Then who holds
    none is next when any place comes free, after those that held none and waited before.

    Args:
        places: Places that one account alone may hold.
        reserve: Further places, one each for accounts that hold none.
    """

    def __init__(self, *, places: int, reserve: int) -> None:
        assert places >= 1
        assert reserve >= 0
        self.places = places
        self.reserve = reserve
        self._waiting: dict[str, deque[T]] = {}
        self._held: dict[str, int] = {}
        self._since: dict[str, int] = {}
        """When each that waits came to its end of the line: when it began to wait, or had its last turn."""
        self._order = count()

    def waiting(self, account: str) -> int:
        """Return how many tickets of an account wait."""
        return len(self._waiting.get(account, ()))

    def held(self, account: str) -> int:
        """Return how many places an account holds."""
        return self._held.get(account, 0)

    def ask(self, account: str, ticket: T) -> None:
        """Let a ticket wait, behind the others of its account."""
        if account not in self._waiting:
            self._waiting[account] = deque()
            self._since[account] = next(self._order)
        self._waiting[account].append(ticket)

    def withdraw(self, account: str, ticket: T) -> None:
        """Forget a ticket, if it still waits."""
        line = self._waiting.get(account)
        if line is not None and ticket in line:
            line.remove(ticket)
            self._forget_if_idle(account)

    def next(self) -> tuple[str, T] | None:
        """Give a place to the account whose turn it is; None if no place is free, or nobody waits who may have it.

        Returns:
            The account, which holds one more place now, and its ticket.
        """
        total = sum(self._held.values())
        if total >= self.places + self.reserve or not self._waiting:
            return None
        account = min(self._waiting, key=lambda name: (self.held(name), self._since[name]))
        if total >= self.places and self.held(account) > 0:
            return None
        ticket = self._waiting[account].popleft()
        self._held[account] = self.held(account) + 1
        self._since[account] = next(self._order)
        self._forget_if_idle(account)
        return account, ticket

    def leave(self, account: str) -> None:
        """Give a place back."""
        left = self._held[account] - 1
        assert left >= 0
        if left:
            self._held[account] = left
        else:
            del self._held[account]

    def _forget_if_idle(self, account: str) -> None:
        # Whoever comes again is last in the line, so going and coming gains nobody a turn.
        if not self._waiting[account]:
            del self._waiting[account], self._since[account]

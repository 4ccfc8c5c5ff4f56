"""How often a password may be tried: by account and by address, or by session, in bounded memory."""

from collections.abc import Callable
from typing import Final

from drystone.api.admission import network_of
from drystone.api.limits import TokenBuckets

ACCOUNT_TRIES: Final = 10
ACCOUNT_S: Final = 60.0
"""After so many wrong passwords an account has one more try a minute: 14,400 a day against 10^31 generated ones."""
ADDRESS_TRIES: Final = 30
ADDRESS_S: Final = 20.0
TOLD_S: Final = 60.0
"""How often the log tells of tries beyond the limits: who makes them has no account, and may make many."""
NAME_CHARS_MAX: Final = 100


class LoginLimits:
    """Counts tries; a try that succeeds is given back, so that only failures count."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        # Apart, so that many addresses cannot make the accounts be forgotten.
        self._accounts = TokenBuckets(monotonic=monotonic)
        self._addresses = TokenBuckets(monotonic=monotonic)
        self._sessions = TokenBuckets(monotonic=monotonic)
        self._telling = TokenBuckets(monotonic=monotonic)
        self._refused = 0

    def begin(self, account: str, address: str) -> float:
        """Take a try.

        Returns:
            0 if there was one; otherwise how many seconds to wait.
        """
        wait_s = self._addresses.take((network_of(address),), rate_per_s=1 / ADDRESS_S, burst=ADDRESS_TRIES)
        if wait_s:
            return wait_s
        return self._accounts.take((account[:NAME_CHARS_MAX],), rate_per_s=1 / ACCOUNT_S, burst=ACCOUNT_TRIES)

    def begin_again(self, session: str) -> float:
        """Take a try of a session that is open: strangers, who have none, cannot use its tries up (S189).

        Returns:
            0 if there was one; otherwise how many seconds to wait.
        """
        return self._sessions.take((session,), rate_per_s=1 / ACCOUNT_S, burst=ACCOUNT_TRIES)

    def succeeded_again(self, session: str) -> None:
        """Give an open session's try back: the password was right."""
        self._sessions.give_back((session,), burst=ACCOUNT_TRIES)

    def refused(self) -> int:
        """Count a try beyond the limits.

        Returns:
            How many there were since this was last told; 0 if that was less than `TOLD_S` ago.
        """
        self._refused += 1
        if self._telling.take((), rate_per_s=1 / TOLD_S, burst=1):
            return 0
        told, self._refused = self._refused, 0
        return told

    def succeeded(self, account: str, address: str) -> None:
        """Give a try back: the password was right."""
        self._addresses.give_back((network_of(address),), burst=ADDRESS_TRIES)
        self._accounts.give_back((account[:NAME_CHARS_MAX],), burst=ACCOUNT_TRIES)

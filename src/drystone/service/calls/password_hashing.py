"""Hashing of passwords: argon2id, off the event loop, a few at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from drystone.domain.errors import Refusal, RefusalError

R = TypeVar("R")
AT_ONCE: Final = 2
"""Each takes 64 MiB and a core or more for a tenth of a second: guests come first."""
WAITING_MAX: Final = 16
TIME_COST: Final = 3
MEMORY_KIB: Final = 64 << 10
LANES: Final = 4
"""Source: RFC 9106, section 4, second recommended option."""
_SALT_CHARS: Final = 22
_HASH_CHARS: Final = 43
NOBODY: Final = f"$argon2id$v=19$m={MEMORY_KIB},t={TIME_COST},p={LANES}${'A' * _SALT_CHARS}${'A' * _HASH_CHARS}"
"""What a password is verified against when there is no account: it takes as long, and fails."""


class PasswordHashing:
    """Hashes and verifies on threads of its own; what is beyond `WAITING_MAX` is refused at once."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return the hash of a password under a new salt, with its parameters.

        Raises:
            RefusalError: `TOO_MUCH_AT_ONCE`: too many are waiting.
        """
        return await self._run(lambda: _hash(password))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Tell whether this is the password; None (no such account) takes as long as a wrong password.

        Raises:
            RefusalError: As `hash`.
        """
        found = await self._run(lambda: _matches(NOBODY if hashed is None else hashed, password))
        return found and hashed is not None

    async def _run(self, work: Callable[[], R]) -> R:
        if self._waiting >= WAITING_MAX:
            raise RefusalError(Refusal.TOO_MUCH_AT_ONCE, "Too many people are logging in; try again shortly.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _hash(password: str) -> str:
    # Most starts of the server, and all of the command line, never hash.
    from argon2 import PasswordHasher, Type  # noqa: PLC0415 - see above

    return PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID).hash(password)


def _matches(hashed: str, password: str) -> bool:
    from argon2 import PasswordHasher  # noqa: PLC0415 - as above
    from argon2.exceptions import VerifyMismatchError  # noqa: PLC0415

    try:
        return PasswordHasher().verify(hashed, password)
    except VerifyMismatchError:
        return False

"""A store to and from which only so many bytes go in a second."""

import fcntl
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from drystone.domain.errors import UnavailableError
from drystone.objects.around import Around, Kind

R = TypeVar("R")
_PLACE: Final = struct.Struct("<d")
AHEAD_S_MAX: Final = 3600.0
"""Nobody waits as long: what says so is of another boot of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """So many bytes a second of all processes that share a file.

    Attributes:
        bytes_per_s: How many.
        file: Has the time when all that was spent will have passed, by the machine's monotonic clock.
        monotonic: That clock.
        pause: Waits so many seconds.
    """

    bytes_per_s: float
    file: Path
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def spend(self, count: int) -> None:
        """Return once so many bytes have had their time; each caller waits for those before it.

        Raises:
            UnavailableError: The file cannot be used.
        """
        try:
            file = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                now = self.monotonic()
                raw = os.pread(file, _PLACE.size, 0)
                (free_s,) = _PLACE.unpack(raw) if len(raw) == _PLACE.size else (now,)
                free_s = (free_s if now <= free_s <= now + AHEAD_S_MAX else now) + count / self.bytes_per_s
                os.pwrite(file, _PLACE.pack(free_s), 0)
            finally:
                os.close(file)
        except OSError as error:
            raise UnavailableError(f"{self.file}: {error.strerror}") from error
        self.pause(free_s - now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited(Around):
    """An `ObjectStore` over another, whose bytes are spent: what is sent before, what is received after."""

    bandwidth: Bandwidth

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request when its bytes may go."""
        del kind, name
        if sent_bytes:
            self.bandwidth.spend(sent_bytes)
        answer = ask()
        if isinstance(answer, bytes):
            self.bandwidth.spend(len(answer))
        return answer

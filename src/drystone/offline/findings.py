"""What trying something has shown: one line each of what it is, what it means, what to do."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from drystone.domain.errors import DrystoneError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one try has shown."""

    name: str
    works: bool
    needed: bool
    """Whether nothing works without it."""
    ms: float
    seen: str
    """What is not as it should be, or is worth knowing; empty if nothing is."""
    means: str
    """What follows where it does not work."""
    do: str
    """What to do then."""


class WrongError(DrystoneError):
    """There was an answer, and not as it must be."""


def tried(name: str, ask: Callable[[], str | None], means: str, do: str, *, needed: bool) -> Finding:
    """Try something; what it raises is what was seen, and what it returns is worth knowing."""
    began, works = time.monotonic(), True
    try:
        seen = ask() or ""
    except DrystoneError as error:
        seen, works = str(error), False
    ms = round((time.monotonic() - began) * 1000, 1)
    return Finding(
        name=name, works=works, needed=needed, ms=ms, seen=seen, means="" if works else means, do="" if works else do
    )  # fmt: skip

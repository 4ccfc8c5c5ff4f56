"""A store that fails as services do, when a test says so."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from drystone.domain.errors import UnavailableError
from drystone.objects.around import Around, Kind

R = TypeVar("R")
BEFORE, AFTER = "before", "after"
"""A request that is not done, and one that is: both are answered by an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty(Around):
    """An `ObjectStore` over another; the next requests of a kind fail as `plan` has it.

    Attributes:
        plan: For a kind, what happens at its next requests: BEFORE, AFTER, or something to do first (a hang).
        asked: (kind, name) of all requests.
    """

    plan: dict[str, deque[str | Callable[[], None]]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def then(self, kind: str, *faults: str | Callable[[], None]) -> None:
        """Have the next requests of a kind meet these."""
        self.plan.setdefault(kind, deque()).extend(faults)

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request, or not."""
        del sent_bytes
        self.asked.append((kind, name))
        waiting = self.plan.get(kind)
        fault = waiting.popleft() if waiting else None
        if fault == BEFORE:
            raise UnavailableError(f"{kind} {name}: 503 SlowDown")
        if callable(fault):
            fault()
        answer = ask()
        if fault == AFTER:
            raise UnavailableError(f"{kind} {name}: the connection was reset")
        return answer

"""What an action is, and how a service finds its actions by name."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import ClassVar, TypeVar

from drystone.api.parameters import Parameters, Unsigned
from drystone.api.refusals import WireError
from drystone.domain.times import moment
from drystone.service.caller import Caller
from drystone.service.calls.use_cases import UseCases
from drystone.service.requests import PAGE_LIMIT

Fields = Mapping[str, object]
"""The fields of an answer, by wire name."""
Record = Callable[[Caller, str, str], Awaitable[None]]
"""Adds a row to the audit trail: who called what, on which resources, with what outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What actions work with."""

    calls: UseCases
    region: str
    """The one that is served here."""
    zone: tzinfo
    """Zone of the times that CBS writes without one."""
    clock: Callable[[], float]

    def local_time(self, at_s: float | None) -> str:
        """Return `2018-09-26 17:36:07` in the configured zone, or an empty string for no time."""
        if at_s is None:
            return ""
        return moment(at_s, self.zone).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


class Action(Parameters, frozen=True, kw_only=True):
    """One action: the class has its name, the fields are its parameters, and a call of it returns its answer."""

    changes: ClassVar[bool] = False
    """Whether it changes something, and so is written to the audit trail."""
    password_again: ClassVar[bool] = False
    """Whether it makes what outlives a browser's session: its password is given again (`Caller.require_password`)."""

    async def __call__(self, on: Context, caller: Caller) -> Fields | None:
        """Do it; what is returned are the answer's fields, None is an answer without any."""
        raise NotImplementedError


class Paged(Action, frozen=True, kw_only=True):
    """A list is answered in pages: 20 rows unless told, 100 at most."""

    offset: Unsigned | None = None
    limit: Unsigned | None = None

    @property
    def page(self) -> tuple[int, int]:
        """Offset and limit."""
        return self.offset or 0, PAGE_LIMIT if self.limit is None else self.limit


A = TypeVar("A", bound=Action)


class Service:
    """A versioned set of actions on the one endpoint; `read` and `change` decorate the actions that it has.

    Args:
        name: What the credential scope of a signature must name.
        version: The value of X-TC-Version.
        regional: Whether a call must name its region.
        not_served: Actions that it is known to have, and that are not served here.

    Attributes:
        actions: The actions that are built, by name.
        known: Names of all its actions, built or not.
    """

    def __init__(self, *, name: str, version: str, regional: bool, not_served: frozenset[str] = frozenset()) -> None:
        self.name = name
        self.version = version
        self.regional = regional
        self.actions: dict[str, type[Action]] = {}
        self.known = set(not_served)

    def read(self, action: type[A]) -> type[A]:
        """Add an action that changes nothing."""
        assert action.__name__ not in self.known, f"{action.__name__} is there twice"
        self.actions[action.__name__] = action
        self.known.add(action.__name__)
        return action

    def change(self, action: type[A]) -> type[A]:
        """Add an action that changes something."""
        action.changes = True
        return self.read(action)


def chosen_service(services: Sequence[Service], *, version: str, names: Sequence[str], action: str) -> Service:
    """Return the service that a call is for (S364). Several may have one version, as `tag` and `sts` do.

    Args:
        services: All that there are.
        version: What the call names.
        names: What may be the service's name, the surest first.
        action: Decides where no name does: at a bare address some clients have none.

    Raises:
        WireError: `NoSuchVersion`.
    """
    candidates = [service for service in services if service.version == version]
    if not candidates:
        versions = ", ".join(dict.fromkeys(service.version for service in services))
        raise WireError("NoSuchVersion", f"The version `{version[:50]}` does not exist; there are {versions}.")
    for name in names:
        for service in candidates:
            if service.name == name:
                return service
    return next((service for service in candidates if action in service.known), candidates[0])

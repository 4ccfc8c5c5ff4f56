"""What an action is, whichever service it belongs to."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drystone.api.parameters import Parameters, from_flat, from_json
from drystone.domain.errors import RefusalError
from drystone.service.caller import Caller

Fields = Mapping[str, object]
"""The fields of an answer, by wire name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action: what it takes and what it calls.

    Args:
        name: The wire name.
        parameters: The structure that its parameters decode to.
        run: Calls the use case and renders its result.
        changes: Whether it changes something, and so is written to the audit trail.
    """

    name: str
    parameters: type[Parameters]
    run: Callable[[Caller, Any], Awaitable[Fields]]
    changes: bool = False

    def decode(self, sent: bytes | Mapping[str, str]) -> Parameters:
        """Decode what was sent: a JSON body, or flattened parameters without the common ones."""
        return from_json(sent, self.parameters) if isinstance(sent, bytes) else from_flat(sent, self.parameters)


def chosen_service(services: Sequence["Service"], *, version: str, names: Sequence[str], action: str) -> "Service":
    """Return the service that a call is for. Several may have one version, as `tag` and `sts` of the public cloud do.

    Args:
        services: All that there are.
        version: What the call names.
        names: What may be the service's name, the surest first.
        action: Decides where no name does: at a bare address some clients have none.

    Raises:
        RefusalError: `NoSuchVersion`.
    """
    candidates = [service for service in services if service.version == version]
    if not candidates:
        versions = ", ".join(dict.fromkeys(service.version for service in services))
        raise RefusalError("NoSuchVersion", f"The version `{version[:50]}` does not exist; there are {versions}.")
    for name in names:
        for service in candidates:
            if service.name == name:
                return service
    return next((service for service in candidates if action in service.known), candidates[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A versioned set of actions on the one endpoint.

    Args:
        name: What the credential scope of a signature must name.
        version: The value of X-TC-Version.
        regional: Whether a call must name its region.
        actions: The actions that are built, by name.
        known: Names of all its actions, built or not.
    """

    name: str
    version: str
    regional: bool
    actions: Mapping[str, Action]
    known: frozenset[str]

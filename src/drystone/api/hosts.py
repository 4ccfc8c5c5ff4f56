"""Which names the server answers to: a page of somebody else's name, pointed at this address, gets nothing (S150)."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from drystone.api.admission import is_loopback, parsed
from drystone.api.envelope import CONTENT_TYPE, failure

_HOST: Final = re.compile(r"(?:https?://)?(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?/?")
_Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""


def host_name(host: str) -> str:
    """Return the name or address of a Host header in lower case, without its port; empty if it has no such form.

    Some official clients send their endpoint with its scheme.
    """
    match = _HOST.fullmatch(host.strip())
    return "" if match is None else match["name"].strip("[]").rstrip(".").lower()


class Hosts:
    """The names that requests may be for.

    A name can be made to lead here by whoever owns it, so that a browser takes our answers for theirs; an address, and
    `localhost`, cannot.

    Args:
        names: Names, or `*.` before one for every name below it; addresses of a machine in front of this one, too.
    """

    def __init__(self, names: Sequence[str]) -> None:
        lower = [name.lower() for name in names]
        self._names = frozenset(name for name in lower if not name.startswith("*."))
        self._below = tuple(name[1:] for name in lower if name.startswith("*."))

    def serves(self, host: str, local: str) -> bool:
        """Tell whether a request is for this server.

        Args:
            host: The header.
            local: The address at which the connection arrived.
        """
        name = host_name(host)
        if name in self._names or (name.endswith(self._below) if self._below else False):
            return True
        if is_loopback(name):
            return is_loopback(local) or not local
        address = parsed(name)
        return address is not None and address == parsed(local)


@dataclass(frozen=True, slots=True)
class HostGuard:
    """Answers what is for another name, and hands on the rest."""

    application: _Application
    hosts: Hosts
    request_id: Callable[[], str]

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
        """Serve one ASGI connection scope."""
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        server = scope.get("server")
        local = server[0] if server else ""
        # Without the header it is no browser, and nothing that is signed: a probe of a load balancer. One that is
        # given twice is refused where it matters.
        wrong = next((host for host in given if not self.hosts.serves(host, local)), None)
        if wrong is None:
            await self.application(scope, receive, send)
            return
        text = (
            f"The server does not answer to the name {host_name(wrong)[:100] or 'in Host'}; add it to host_names in "
            f"drystone.toml, or use the server's address."
        )
        if scope["path"] == "/":
            # Clients of the API show only what is in an envelope.
            status, kind, body = 200, CONTENT_TYPE, failure("InvalidRequest", text, self.request_id())
        else:
            status, kind, body = 421, b"text/plain; charset=utf-8", f"{text}\n".encode()
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

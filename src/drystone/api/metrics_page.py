"""The page `/metrics`: made once a second at most, off the event loop, and not for everybody."""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from drystone.api.admission import is_loopback
from drystone.api.hosts import host_name

FRESH_S: Final = 1.0
"""The page counts rows of the catalog; whoever asks more often gets the same page."""
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST.encode()


@dataclass(slots=True, kw_only=True, eq=False)
class MetricsPage:
    """Makes the page."""

    registry: CollectorRegistry
    token: str | None
    """What a reader elsewhere must send; None lets everybody read."""
    monotonic: Callable[[], float]
    _making: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _made_s: float = field(init=False, default=float("-inf"))
    _text: bytes = field(init=False, default=b"")

    def allows(self, scope: Mapping[str, Any]) -> bool:
        """Tell whether a request may read: it comes from this machine and for it, or it brings the token."""
        if self.token is None:
            return True
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope.get("client")
        # A proxy on this machine passes on the name that its clients use.
        here = client is not None and is_loopback(client[0]) and is_loopback(host_name(headers.get(b"host", "")))
        if here and b"x-forwarded-for" not in headers and b"forwarded" not in headers:
            return True
        scheme, _, given = headers.get(b"authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1", "replace"), self.token.encode()
        )

    async def text(self) -> bytes:
        """Return the page, at most a second old."""
        async with self._making:
            if self.monotonic() - self._made_s >= FRESH_S:
                self._text = await asyncio.to_thread(generate_latest, self.registry)
                self._made_s = self.monotonic()
            return self._text

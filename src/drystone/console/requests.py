"""What a browser sends, read and checked: cookies, origin, tokens, small bodies."""

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from drystone.api.app import Scope
from drystone.api.dispatch import DisconnectedError, Receive
from drystone.api.refusals import WireError
from drystone.console.replies import RefusedError
from drystone.service.calls.browser_sessions import OpenSession

COOKIE: Final = "drystone_session"
COOKIE_PATH: Final = "/console"
CSRF_HEADER: Final = "x-csrf-token"
JSON: Final = b"application/json"
LOGIN_BYTES_MAX: Final = 4096
BODY_S_MAX: Final = 10.0


def session_token(headers: Mapping[str, str]) -> str | None:
    """Return the session's token that a request carries, if any."""
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            return value
    return None


def session_cookie(token: str, *, age_s: float, secure: bool) -> str:
    """Return the `Set-Cookie` of a session; an empty token with age 0 removes it."""
    text = f"{COOKIE}={token}; Path={COOKIE_PATH}; Max-Age={int(age_s)}; HttpOnly; SameSite=Strict"
    return f"{text}; Secure" if secure else text


def came_by_https(scheme: str, headers: Mapping[str, str]) -> bool:
    """Tell whether the browser used https, here or before a proxy. A lie only makes a browser keep its own cookie."""
    return scheme == "https" or headers.get("x-forwarded-proto", "").strip().lower() == "https"


def same_origin(headers: Mapping[str, str]) -> bool:
    """Tell whether a request with an Origin comes from a page of this server; one without is no page's."""
    origin = headers.get("origin")
    if origin is None:
        return True
    scheme, separator, host = origin.strip().lower().partition("://")
    if not separator or scheme not in {"http", "https"}:
        return False
    return host == headers.get("host", "").strip().lower()


def csrf_holds(headers: Mapping[str, str], expected: str) -> bool:
    """Tell whether a request carries the token that only a page of this server can know."""
    given = headers.get(CSRF_HEADER, "")
    return hmac.compare_digest(given.encode("latin-1", "replace"), expected.encode())


def wants_console(method: str, query: bytes, headers: Mapping[str, str]) -> bool:
    """Tell whether a request for `/` is a person's browser, not a client of the API."""
    return (
        method in {"GET", "HEAD"}
        and "text/html" in headers.get("accept", "")
        and "authorization" not in headers
        and b"Action=" not in query
    )


def accepts_gzip(headers: Mapping[str, str]) -> bool:
    """Tell whether the client reads gzip."""
    codings = [part.strip().split(";") for part in headers.get("accept-encoding", "").lower().split(",")]
    return any(coding[0] == "gzip" and "q=0" not in [option.strip() for option in coding[1:]] for coding in codings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of a page."""

    scope: Scope
    headers: Mapping[str, str]
    receive: Receive

    @property
    def address(self) -> str:
        """Where it comes from."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def secure(self) -> bool:
        """Whether the browser used https."""
        return came_by_https(self.scope.get("scheme", "http"), self.headers)


def check_post(headers: Mapping[str, str]) -> None:
    """Raise RefusedError if a POST comes from another server's page, or sends no JSON."""
    if not same_origin(headers):
        raise RefusedError(
            HTTPStatus.FORBIDDEN, "AuthFailure.OriginNotAllowed", "The request comes from a page of another server."
        )
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.encode("latin-1", "replace") != JSON:
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "InvalidRequest", "Send application/json.")


def check_csrf(request: Request, opened: OpenSession) -> None:
    """Raise RefusedError if a request lacks the token of its session's pages."""
    if not csrf_holds(request.headers, opened.csrf_token):
        raise RefusedError(
            HTTPStatus.FORBIDDEN, "AuthFailure.CsrfTokenWrong", "The page is out of date; load it again."
        )


async def small_body(receive: Receive) -> bytes:
    """Return a small body.

    Raises:
        WireError: It is too long, or slow.
        DisconnectedError: The browser went away.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError
                body += message.get("body", b"")
                if len(body) > LOGIN_BYTES_MAX:
                    raise WireError("RequestSizeLimitExceeded", f"The body is longer than {LOGIN_BYTES_MAX} bytes.")
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise WireError("InvalidRequest", f"The body did not arrive within {BODY_S_MAX:g} s.") from None

"""What a browser sends, read: cookies, origin, tokens. Pure."""

import hmac
from collections.abc import Mapping
from typing import Final

COOKIE: Final = "drystone_session"
COOKIE_PATH: Final = "/console"
CSRF_HEADER: Final = "x-csrf-token"


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

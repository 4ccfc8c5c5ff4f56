"""What the console sends a browser: answers, refusals, files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from drystone.api.app import Send
from drystone.console.files import File

_SECURITY: Final = (
    (
        b"content-security-policy",
        # Styles: the component library writes them into the page.
        (
            b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
            b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        ),
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, a JSON body and further headers."""

    status: HTTPStatus = HTTPStatus.OK
    body: bytes = b"{}"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class RefusedError(Exception):
    """A request that ends before any call is made."""

    def __init__(self, status: HTTPStatus, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.answer = Answer(
            status=status, body=msgspec.json.encode({"Error": {"Code": code, "Message": message}}), headers=headers
        )


def too_often(wait_s: float) -> RefusedError:
    """Return the refusal of a try that comes too soon."""
    seconds = math.ceil(wait_s)
    return RefusedError(
        HTTPStatus.TOO_MANY_REQUESTS, "RequestLimitExceeded", f"Too many tries; try again in {seconds} s.",
        (b"retry-after", str(seconds).encode()),
    )  # fmt: skip


async def redirect(send: Send, to: str) -> None:
    """Send the browser to another address."""
    await send_whole(send, HTTPStatus.FOUND, b"", ((b"location", to.encode()), (b"cache-control", b"no-store")))


async def send_file(send: Send, file: File, status: HTTPStatus, *, gzip: bool) -> None:
    """Send a file of the console, compressed if the browser reads that."""
    headers = [(b"content-type", file.content_type.encode()), (b"cache-control", file.cache_control.encode())]
    body = file.body
    if file.gzipped is not None:
        headers.append((b"vary", b"Accept-Encoding"))
        if gzip:
            headers.append((b"content-encoding", b"gzip"))
            body = file.gzipped
    await send_whole(send, status, body, headers)


async def send_whole(send: Send, status: HTTPStatus, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Send a whole response, with the headers that protect every page."""
    every = [*headers, *_SECURITY, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status.value, "headers": every})
    await send({"type": "http.response.body", "body": body})

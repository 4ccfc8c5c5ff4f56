"""TLS at the door: certificates that are read anew when they change, and a handshake that is bounded like a head.

uvicorn and uvloop can do TLS, but take the certificate once, give a handshake a minute, and tell a client that speaks
plain HTTP nothing. The machine beneath is asyncio's own.
"""

import asyncio
import ssl
from asyncio import sslproto
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import structlog

from drystone.api.admission import Admission, Place
from drystone.api.connection import HEAD_S_MAX, plain_answer
from drystone.domain.errors import DrystoneError

LOOK_S: Final = 5.0
"""How often a new connection has the files looked at."""
CLOSE_S_MAX: Final = 60
"""How long the end of the encryption may take; a client that reads nothing is gone sooner."""
_HANDSHAKE: Final = 0x16
"""First byte of a ClientHello's record."""
_log = structlog.get_logger(__name__)


class CertificateError(DrystoneError):
    """The certificate or its key cannot be used; the message is one line that says what to do."""


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Return what connections are encrypted with: TLS 1.2 or newer.

    Raises:
        CertificateError: The files cannot be read, are not a certificate and a key, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a callback OpenSSL asks the terminal for the password of a key that has one.
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"cannot use {cert} with the key {key}: {error}; both must be PEM, the key without a password"
        ) from None
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")


@dataclass(slots=True, kw_only=True)
class Certificates:
    """The pair in use. When the files change a new pair is taken; a bad one is told and the old one stays (S149)."""

    cert: Path
    """The certificate, and those between it and its authority."""
    key: Path
    monotonic: Callable[[], float]
    _context: ssl.SSLContext = field(init=False)
    _seen: object = field(init=False)
    _looked_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._seen = self._stamp()
        self._context = server_context(self.cert, self.key)
        self._looked_s = self.monotonic()

    def context(self) -> ssl.SSLContext:
        """Return what the next connection is encrypted with; those that are open keep theirs."""
        now_s = self.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                self._take()
        return self._context

    def _take(self) -> None:
        try:
            self._context = server_context(self.cert, self.key)
        except CertificateError as error:
            # The other file may come a moment later; then the stamp is another one again.
            _log.error("tls.certificate_refused", reason=str(error))
        else:
            _log.info("tls.certificate_read", cert=str(self.cert))

    def _stamp(self) -> object:
        """What tells one state of the files from another."""
        found: list[tuple[int, int, int] | None] = []
        for path in (self.cert, self.key):
            try:
                status = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)


class TlsConnection(sslproto.SSLProtocol):
    """A connection until its handshake has ended, and the encryption of what is in it from then on.

    Args:
        admission: Who may stay: a handshake has a place like any head.
        connection: Makes what serves the connection, given its place.
    """

    max_size = 32 << 10
    """Bytes of the buffer that each connection reads into."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        admission: Admission,
        context: ssl.SSLContext,
        connection: Callable[[Place], asyncio.Protocol],
    ) -> None:
        self._admission = admission
        self._place: Place | None = None
        self._connection = connection
        self._first: memoryview | None = None
        self._began = False
        super().__init__(
            loop,
            asyncio.Protocol(),
            context,
            None,  # type: ignore[arg-type]  # nobody waits for the handshake
            server_side=True,
            ssl_handshake_timeout=int(HEAD_S_MAX),
            ssl_shutdown_timeout=CLOSE_S_MAX,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, if there is a place."""
        # uvloop's transports are of no class of asyncio's.
        self._raw = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._place = self._admission.enter(peer[0] if peer else "", self._raw.abort)
        if self._place is None:
            self._raw.abort()
            return
        self._set_app_protocol(self._connection(self._place))
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        if self._place is None:
            return
        self._admission.leave(self._place)
        super().connection_lost(exc)

    def get_buffer(self, n: int) -> memoryview:
        """Return where the next bytes go."""
        buffer: memoryview = super().get_buffer(n)
        self._first = None if self._began else buffer
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes; a client that speaks plain HTTP is told so."""
        if self._first is not None and nbytes:
            self._began = True
            if self._first[0] != _HANDSHAKE:
                self._raw.write(plain_answer("400 Bad Request", "This port speaks TLS: use https:// here."))
                self._raw.close()
                # The handshake's time limit ends a client that does not read this.
                return
        super().buffer_updated(nbytes)

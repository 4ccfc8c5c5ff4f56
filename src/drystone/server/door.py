"""What the server is reached by: plain or encrypted, under which address, and who may read its files."""

import resource
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from drystone.api.admission import is_loopback
from drystone.api.tls import Certificates
from drystone.config import Config
from drystone.domain.errors import ConfigError
from drystone.engine.layout import Layout
from drystone.server.certificates import fingerprint, own_certificate

OTHERS: Final = 0o077
DESCRIPTORS_KEPT: Final = 512
"""For the catalog, sockets of storage daemons and files of the store."""
CONNECTIONS_MIN: Final = 64
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How clients reach the server."""

    endpoint: str
    """URL for clients on this machine."""
    certificates: Certificates | None
    """What connections are encrypted with; None is plain HTTP."""
    ca: Path | None
    """What clients on this machine verify the certificate by, if it is not a public authority."""
    fingerprint: str | None
    """SHA-256 of a certificate of our own."""


def open_door(config: Config, listening: tuple[Any, ...], *, monotonic: Callable[[], float], now: float) -> Door:
    """Return how the server is reached at the address that it listens on; makes its own certificate where asked.

    Args:
        config: What the server is told.
        listening: The listener's address and port.
        monotonic: A clock in seconds that never goes back.
        now: Seconds since the epoch, UTC.

    Raises:
        DrystoneError: Plain HTTP would leave this machine and is not allowed, or the certificate cannot be used.
    """
    address, port = listening[:2]
    encrypted = config.tls == "self" or config.tls_cert is not None
    if not encrypted and not is_loopback(address) and not config.plain_http:
        raise ConfigError(
            f'host {config.host} is not this machine alone, and nothing is encrypted: set tls = "self" or tls_cert '
            f"and tls_key in drystone.toml; behind a TLS proxy on a trusted network, plain_http = true"
        )  # fmt: skip
    near = _WILDCARDS.get(address, address)
    mine: str | None = None
    if config.tls == "self":
        names = ("localhost", "127.0.0.1", "::1", near, *config.host_names)
        cert, key = own_certificate(config.data / "tls", names, now=now)
        ca: Path | None = cert
        mine = fingerprint(cert)
    elif config.tls_cert is not None and config.tls_key is not None:
        cert, key = config.data / config.tls_cert, config.data / config.tls_key
        ca = None if config.tls_ca is None else config.data / config.tls_ca
        # The address is hardly in a certificate; a name is.
        near = next((name for name in config.host_names if not name.startswith("*.")), near)
    else:
        return Door(endpoint=f"http://{_in_url(near)}:{port}", certificates=None, ca=None, fingerprint=None)
    return Door(
        endpoint=f"https://{_in_url(near)}:{port}",
        certificates=Certificates(cert=cert, key=key, monotonic=monotonic), ca=ca, fingerprint=mine,
    )  # fmt: skip


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def connections_allowed(config: Config) -> int:
    """Return how many connections there may be: as configured, but files and daemons need descriptors too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = min(config.connections_max, max(CONNECTIONS_MIN, soft - DESCRIPTORS_KEPT))
    if allowed < config.connections_max:
        _log.warning("door.connections_limited", configured=config.connections_max, allowed=allowed, descriptors=soft)
    return allowed


def mend_modes(layout: Layout) -> None:
    """Take from others what an earlier version let them read: directories were made as the umask had it (S152)."""
    for top in (layout.store, layout.data / "disks", layout.backups, layout.logs, layout.scratch, layout.run):
        for path in (top, *top.glob("*/"), *(top.glob("*/*/") if top == layout.store else ())):
            if path.is_symlink() or not path.is_dir():
                continue
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & OTHERS:
                path.chmod(mode & ~OTHERS)
                _log.warning("data.mode_mended", path=str(path), was=f"{mode:o}", now=f"{mode & ~OTHERS:o}")

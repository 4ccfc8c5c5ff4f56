"""How the application is served over HTTP."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import uvicorn
from uvicorn.server import ServerState

from drystone.api.admission import Admission, Place
from drystone.api.app import Scope, Send
from drystone.api.connection import IDLE_S, UNREAD_S, Connection
from drystone.api.dispatch import Receive
from drystone.api.tls import Certificates, TlsConnection

CONNECTIONS_MAX = 4096
CONNECTIONS_PER_ADDRESS = 1024
BACKLOG = 8192
"""Connections that wait to be accepted: beyond it a client waits for seconds. The kernel has a maximum of its own."""
SEND_BUFFER_BYTES: Final = 128 << 10
"""What the kernel takes of an answer that is not read: by itself it takes up to 4 MB, which nobody here sees. It counts
twice as much, for what it keeps beside the bytes."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, each of whose connections has bounds in the kernel too (S185).

    Raises:
        OSError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit both from here.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        # What fits the kernel's buffer is never seen unread above it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


Served = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""


class _NobodyIsThere(logging.Filter):
    """Leaves out of the log that an answer had nobody to go to: whoever sends nonsense without a key writes no log.

    A connection that is closed while a call of it runs is known to that call one turn of the loop later.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, RuntimeError) and "closed=True" in str(error))


def server_config(
    application: Served,
    *,
    host: str,
    port: int,
    connections_max: int = CONNECTIONS_MAX,
    connections_per_address: int = CONNECTIONS_PER_ADDRESS,
    certificates: Certificates | None = None,
) -> uvicorn.Config:
    """Return the settings of the HTTP server; the caller runs it and owns signals and logging.

    httptools takes a Host such as `http://127.0.0.1:8080`, which some official clients send; stricter servers
    answer 400 to it.

    Args:
        application: What is served.
        host: The address that it is served on.
        port: The port.
        connections_max: How many connections there may be.
        connections_per_address: How many of them one client may have.
        certificates: What connections are encrypted with; None serves plain HTTP.
    """
    logger = logging.getLogger("uvicorn.error")
    if not any(isinstance(one, _NobodyIsThere) for one in logger.filters):
        logger.addFilter(_NobodyIsThere())
    admission = Admission(most=connections_max, per_network=min(connections_per_address, connections_max))

    def connect(
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.BaseProtocol:
        def connection(place: Place | None) -> Connection:
            return Connection(config, server_state, app_state, _loop, admission=admission, place=place)

        if certificates is None:
            return connection(None)
        loop = _loop or asyncio.get_running_loop()
        return TlsConnection(loop, admission=admission, context=certificates.context(), connection=connection)

    return uvicorn.Config(
        application,
        host=host,
        port=port,
        # uvicorn calls it for each connection, and asks nothing else of it.
        http=cast("type[asyncio.Protocol]", connect),
        loop="uvloop",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        # Whoever sends nonsense writes no log.
        log_level="error",
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=10,
    )

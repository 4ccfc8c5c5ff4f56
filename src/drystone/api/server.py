"""How the application is served over HTTP."""

from collections.abc import Awaitable, Callable

import uvicorn

from drystone.api.app import Scope, Send
from drystone.api.dispatch import Receive

CONNECTIONS_MAX = 4096
BACKLOG = 2048


Served = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""


def server_config(application: Served, *, host: str, port: int) -> uvicorn.Config:
    """Return the settings of the HTTP server; the caller runs it and owns signals and logging.

    httptools takes a Host such as `http://127.0.0.1:8080`, which some official clients send; stricter servers
    answer 400 to it.
    """
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )

"""A small read-only NBD server for content that a Python object can produce: snapshots.

A bounded pool of threads works out all answers; each connection has two threads, and a bounded number of requests and
of bytes in flight (`connection`).
"""

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import structlog

from drystone.domain.errors import ProtocolError, UnavailableError
from drystone.nbd.connection import Buffer, Connection, Export, ExportProvider, FairPool, ServerLimits

_ACCEPT_PAUSE_S: Final = 0.1
"""Wait after a connection could not be accepted: mostly for want of descriptors, which others must give back."""

_WAITING: Final = "waiting/"
RECONNECTED_S: Final = 20.0
"""A client that has not come back for this long asks nothing: QEMU tries again at least every 16 s while it has a
request. Source: qemu block/nbd.c, nbd_reconnect_attempt, and nbd/client-connection.c."""

log = structlog.get_logger(__name__)


def waiting_name(pid: int) -> str:
    """Return the name of the export that tells how long the oldest unanswered request of a process has waited.

    Its size is that time in milliseconds. A process without a connection counts as waiting since the server began,
    until it would have come back if it had a request.
    """
    return f"{_WAITING}{pid}"


@dataclass(frozen=True, slots=True)
class _Told:
    """An export whose size is what it tells."""

    size_bytes: int

    def read(self, offset: int, length: int) -> Buffer:
        del offset
        return bytes(length)

    def extents(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        del offset
        return ((length, True),)


class NbdServer:
    """Serves a provider's exports on a unix socket that only this user may open.

    Listens when the constructor returns. Usable as a context manager.

    Args:
        socket_path: Where to listen. A socket that nobody answers on is replaced.
        provider: Finds exports by name.
        limits: Bounds.

    Raises:
        UnavailableError: Somebody listens there already, or the socket cannot be made.
    """

    def __init__(self, socket_path: Path, provider: ExportProvider, *, limits: ServerLimits | None = None) -> None:
        self._provider = provider
        self._limits = limits or ServerLimits()
        self._socket_path = socket_path
        self._listener = _listen(socket_path)
        self._pool = FairPool(self._limits.request_threads)
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._serving: dict[socket.socket, Connection] = {}
        self._began_s = time.monotonic()
        self._closed = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, name="nbd-accept", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, cut all connections and wait for their threads. May be called again."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            open_now = dict(self._connections)
        # Waking a blocked accept() needs shutdown(); close() alone leaves the thread waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        self._socket_path.unlink(missing_ok=True)
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in open_now.values():
            thread.join()
        self._pool.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                # Whatever it is, who is connected is served, and the next may be let in again.
                if not self._closed.wait(_ACCEPT_PAUSE_S):
                    log.error("nbd.accept_failed", socket_path=str(self._socket_path), error=str(error))  # noqa: TRY400
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="nbd-connection", daemon=True)
            with self._lock:
                refused = self._closed.is_set() or len(self._connections) >= self._limits.connections
                if not refused:
                    self._connections[connection] = thread
            if refused:
                log.warning("nbd.connection_refused", connections_max=self._limits.connections)
                connection.close()
                continue
            try:
                thread.start()
            except RuntimeError as error:
                log.error("nbd.accept_failed", socket_path=str(self._socket_path), error=str(error))  # noqa: TRY400
                self._forget(connection)

    def open(self, name: str) -> Export:
        """Return an export of the provider, or what `waiting_name` names."""
        pid = name.removeprefix(_WAITING)
        if pid == name or not pid.isdecimal():
            return self._provider.open(name)
        now_s = time.monotonic()
        with self._lock:
            theirs = [one.waiting_since_s(now_s) for one in self._serving.values() if one.pid == int(pid)]
        since_s = [since_s for since_s in theirs if since_s is not None]
        if not since_s and now_s - self._began_s < RECONNECTED_S:
            since_s = [self._began_s]
        return _Told(int(1000 * (now_s - min(since_s, default=now_s))))

    def names(self) -> Sequence[str]:
        """Return the provider's names."""
        return self._provider.names()

    def _serve(self, connection: socket.socket) -> None:
        try:
            serving = Connection(connection, self, self._pool, self._limits)
            with self._lock:
                self._serving[connection] = serving
            serving.run()
        except (ProtocolError, OSError, EOFError) as error:
            # A client that breaks the protocol or goes away harms only its own connection.
            log.info("nbd.connection_ended", reason=str(error) or type(error).__name__)
        except RuntimeError as error:
            log.error("nbd.connection_ended", reason=str(error))  # noqa: TRY400 - no thread to be had
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.pop(connection, None)
            self._serving.pop(connection, None)
        connection.close()


def _listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`, in place of a dead one."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
        # Nobody may connect before the mode is set: it is made under another name.
        making = path.with_name(f".{path.name}.{os.getpid()}")
        making.unlink(missing_ok=True)
        listener.bind(str(making))
        making.chmod(0o600)
        listener.listen(64)
        try:
            # A link never replaces what another server has put there meanwhile.
            os.link(making, path)
        finally:
            making.unlink()
    except OSError as error:
        listener.close()
        raise UnavailableError(f"cannot listen on {path}: {error}") from error
    return listener

"""A proxy between a client and a server of PostgreSQL that cuts the connection around a COMMIT."""

import contextlib
import socket
import threading
from enum import Enum
from pathlib import Path
from typing import Self

from tests.quiesce.databases import PostgreSql

_COMMIT = b"COMMIT\0"


class Cut(Enum):
    """Where the connection is cut."""

    NEVER = "never"
    BEFORE = "before the server has the COMMIT"
    IN = "while the server commits"
    AFTER = "after the server has answered, and before the client knows"


class CutProxy:
    """Listens as a server in a directory of its own; `cut` is done once, at the next COMMIT of a client.

    While `closed`, new connections are refused: from the cut on if it `closes`.
    """

    def __init__(self, directory: Path, behind: PostgreSql) -> None:
        self.directory = directory
        self.cut = Cut.NEVER
        self.closed = self.closes = False
        self.cuts = 0
        self._behind = str(behind.scratch / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in self._sockets:
            _close(one)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                if self.closed:
                    _close(client)
                    continue
                server = socket.socket(socket.AF_UNIX)
                self._sockets.append(server)
                server.connect(self._behind)
                answered = threading.Event()
                lost = threading.Event()
                self._start(self._requests, client, server, lost, answered)
                self._start(_answers, server, client, lost, answered)

    def _requests(
        self, client: socket.socket, server: socket.socket, lost: threading.Event, answered: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while sent := client.recv(1 << 16):
                if _COMMIT not in sent or self.cut is Cut.NEVER:
                    server.sendall(sent)
                    continue
                how, self.cut = self.cut, Cut.NEVER
                self.cuts += 1
                self.closed = self.closes
                lost.set()
                if how is not Cut.BEFORE:
                    server.sendall(sent)
                if how is Cut.AFTER:
                    assert answered.wait(10)
                break
        _close(client)
        _close(server)


def _answers(server: socket.socket, client: socket.socket, lost: threading.Event, answered: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while sent := server.recv(1 << 16):
            if lost.is_set():
                answered.set()
                continue
            client.sendall(sent)
    if not lost.is_set():
        _close(client)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

"""A storage daemon: one qemu-storage-daemon process, its two monitors, its NBD socket."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from drystone.domain.errors import UnavailableError, ungrouped
from drystone.engine import process
from drystone.engine.clients import NBD_SOCKET, Clients, Holdup
from drystone.engine.qmp import QmpConnection, QmpRefusedError

QUIT_SECONDS_MAX = 60.0
"""An orderly end flushes every disk; a slow drive may need its time."""
EXPORT_GONE_SECONDS_MAX = 10.0
Command = tuple[str, dict[str, Any]]
"""Name and arguments of a QMP command."""


class Daemon:
    """A running storage daemon that this process drives.

    It outlives us. `execute` raises `UnavailableError` once it is dead; nothing restarts it by itself.
    """

    def __init__(self, name: str, directory: Path, detached: process.Detached, qmp: QmpConnection) -> None:
        self.name = name
        self.directory = directory
        self._process = detached
        self._qmp = qmp
        self._clients = Clients(name, detached.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def nbd_socket(self) -> Path:
        """The unix socket on which it serves NBD."""
        return self.directory / NBD_SOCKET

    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process.alive()

    @classmethod
    async def start(
        cls, name: str, directory: Path, log: Path, environment: Mapping[str, str], *, alone: bool = False
    ) -> "Daemon":
        """Start a daemon with an empty graph.

        It runs in its directory: sockets are named from there, so that a directory may have any name (a comma ends an
        option) and a new one later.

        Raises:
            UnavailableError: It did not start; the message says why.
        """
        monitors = [
            part
            for index, file in enumerate(("qmp.sock", "qmp2.sock"))
            for part in (
                "--chardev", f"socket,id=monitor{index},path={file},server=on,wait=off",
                "--monitor", f"chardev=monitor{index}",
            )
        ]  # fmt: skip
        detached = await process.start(
            ("qemu-storage-daemon", "--pidfile", str(directory / "pid"),
             "--nbd-server", f"addr.type=unix,addr.path={NBD_SOCKET},max-connections=0", *monitors),
            directory=directory, log_file=log, ready=directory / "qmp2.sock", environment=environment,
            alone=alone,
        )  # fmt: skip
        qmp = await _connect(directory)
        return cls(name, directory, detached, qmp)

    @classmethod
    async def adopt(
        cls, name: str, directory: Path, known: Mapping[tuple[int, int], Sequence[int]] | None = None
    ) -> "Daemon | None":
        """Take over a daemon that runs already, or return None if none does.

        Raises:
            UnavailableError: It runs and does not answer.
        """
        detached = await asyncio.to_thread(process.adopt, directory, known)
        if detached is None:
            return None
        # Whoever drove it before may have died while a client held it up.
        with Clients(name, detached.pid).relieved() as holdup, _explained(holdup):
            qmp = await _connect(detached.directory)
        return cls(name, detached.directory, detached, qmp)

    def near(self, path: Path) -> Path:
        """Return a path below the data directory as the daemon is to be told it: from where it runs, if it can be."""
        return self._process.near(path)

    async def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - QMP is JSON
        """Run one QMP command, held up by no client (S125); see `QmpConnection.execute`."""
        with self._clients.relieved() as holdup, _explained(holdup):
            return await self._qmp.execute(command, arguments)

    async def execute_all(self, commands: Sequence[Command], *, may_be_refused: Sequence[Command] = ()) -> None:
        """Send commands at once, which the daemon runs one after the other: one wait instead of one for each.

        A refusal keeps none of the others from being run; all have been answered when this returns or raises.

        Args:
            commands: Names and arguments.
            may_be_refused: Further ones, which come last.

        Raises:
            QmpRefusedError: One of `commands` was refused: the first of these.
            UnavailableError: As `execute`; the outcome of all is unknown.
        """

        async def run(command: Command) -> QmpRefusedError | None:
            try:
                await self.execute(*command)
            except QmpRefusedError as error:
                return error
            return None

        with ungrouped(UnavailableError):
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(run(command)) for command in (*commands, *may_be_refused)]
        for task in running[: len(commands)]:
            refusal = task.result()
            if refusal is not None:
                raise refusal

    async def nodes(self) -> dict[str, dict[str, Any]]:
        """Return the graph's nodes by name."""
        found = await self.execute("query-named-block-nodes", {"flat": True})
        return {entry["node-name"]: entry for entry in found}

    async def exports(self) -> dict[str, dict[str, Any]]:
        """Return the exports by id."""
        return {entry["id"]: entry for entry in await self.execute("query-block-exports")}

    async def remove_exports(self, *names: str) -> None:
        """Take exports away that are there; their clients are cut off. They are gone when this returns."""
        there = await self.exports()
        going = [name for name in names if name in there]
        if not going:
            return
        for name in going:
            with contextlib.suppress(QmpRefusedError):  # It may have begun to go by itself.
                await self.execute("block-export-del", {"id": name, "mode": "hard"})
        try:
            # It answers meanwhile, and waits for the export's clients all the same.
            with self._clients.relieved(may_cut=False):
                async with asyncio.timeout(EXPORT_GONE_SECONDS_MAX):
                    while not (await self.exports()).keys().isdisjoint(going):
                        await asyncio.sleep(process.POLL_SECONDS)
        except TimeoutError as error:
            raise UnavailableError(f"exports of {self.name} do not go away: {', '.join(going)}") from error

    async def disconnect(self) -> None:
        """Leave the daemon running."""
        await self._qmp.close()

    async def quit(self) -> None:
        """End it in order: everything flushed, exit code 0 by its own word. It is gone when this returns.

        Raises:
            UnavailableError: It did not end in time, or was dead before; nothing may be concluded of its disks.
        """
        await self.execute("quit")
        await self._qmp.close()
        with self._clients.relieved():
            gone = await self._process.wait_gone(QUIT_SECONDS_MAX)
        if not gone:
            raise UnavailableError(f"storage daemon {self.name} (pid {self.pid}) was told to quit and still runs")

    async def kill(self) -> None:
        """End it at once; its disks' tracking is lost."""
        await self._qmp.close()
        await self._process.end(seconds=2.0)


@contextlib.contextmanager
def _explained(holdup: Holdup) -> Iterator[None]:
    """Add to what failed in time which client the daemon waits for."""
    try:
        yield
    except UnavailableError as error:
        if not holdup.reason:
            raise
        raise UnavailableError(f"{error}; {holdup.reason}") from error


async def _connect(directory: Path) -> QmpConnection:
    return await QmpConnection.connect((directory / "qmp.sock", directory / "qmp2.sock"))

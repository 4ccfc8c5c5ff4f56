"""One QMP connection to a storage daemon, with a time limit on every command."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu.qmp import ConnectError, ExecInterruptedError, ExecuteError, QMPClient, QMPError

from drystone.domain.errors import DrystoneError, UnavailableError

COMMAND_SECONDS_MAX = 30.0
"""No command of ours should take a second; one that takes this long means a stuck daemon."""
CONNECT_SECONDS_MAX = 5.0


class QmpRefusedError(DrystoneError):
    """The daemon answered a command with an error; the graph is as it was before the command."""


@dataclass(frozen=True, slots=True)
class QmpConnection:
    """A connected monitor. Commands may be sent from several tasks; each waits for its own reply.

    After `UnavailableError` the outcome of the command is unknown: inspect the daemon before acting again.
    """

    client: QMPClient
    path: Path

    @classmethod
    async def connect(cls, paths: tuple[Path, ...]) -> "QmpConnection":
        """Connect to the first monitor socket that answers; a monitor serves one client at a time.

        Raises:
            UnavailableError: None answered within the time limit.
        """
        reasons = []
        for path in paths:
            client = QMPClient(f"drystone-{path.parent.name}")
            try:
                async with asyncio.timeout(CONNECT_SECONDS_MAX):
                    await client.connect(str(path))
            except (ConnectError, TimeoutError, OSError) as error:
                reasons.append(f"{path.name}: {error!r}")
                await _disconnect(client)
                continue
            return cls(client, path)
        raise UnavailableError(f"no monitor of {paths[0].parent} answers ({'; '.join(reasons)})")

    async def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - QMP is JSON
        """Run one command and return what it returned.

        Raises:
            QmpRefusedError: The daemon refused; nothing changed.
            UnavailableError: The daemon died or did not answer in time; the outcome is unknown.
        """
        try:
            async with asyncio.timeout(COMMAND_SECONDS_MAX):
                return await self.client.execute(command, arguments)
        except ExecuteError as error:
            raise QmpRefusedError(f"{command}: {error}") from error
        except (ExecInterruptedError, QMPError, TimeoutError, OSError, EOFError) as error:
            raise UnavailableError(f"{command}: {self.path.parent.name} does not answer ({error!r})") from error

    async def close(self) -> None:
        """Leave the monitor; the daemon goes on."""
        await _disconnect(self.client)


async def _disconnect(client: QMPClient) -> None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            await client.disconnect()
    except (QMPError, OSError, EOFError, TimeoutError):
        return

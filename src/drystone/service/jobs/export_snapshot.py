"""Writing a snapshot into an image file of this host."""

import asyncio
import os
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection

from drystone.catalog import operations, sessions
from drystone.domain.errors import RefusalError, SpaceError, UnavailableError
from drystone.domain.ids import OperationId, SessionId
from drystone.domain.operation import Operation
from drystone.engine import convert
from drystone.engine.images import sync_file
from drystone.service import snapshot_server
from drystone.service.installation import Installation
from drystone.service.jobs import endings
from drystone.service.jobs.copying import Copying

NAMING = "NAMING"
ATTEMPTS_MAX = 3


class ExportSnapshot:
    """COPYING (into a file beside) → NAMING → done. Its session pins the snapshot from the call to the end (L6, F7)."""

    def __init__(self, installation: Installation) -> None:
        self._in = installation

    async def run(self, operation: Operation) -> None:
        """Copy what the snapshot server serves into a file beside, durably, and give it its name.

        Begins again after a crash. The name is given by a link: it never replaces what somebody made meanwhile.
        """
        path = Path(str(operation.payload["path"]))
        part = part_of(path, operation.id)
        if operation.phase != NAMING or not await asyncio.to_thread(_is_named, path, part, operation.payload["inode"]):
            await self._copy(operation, path, part)

        def end(conn: Connection) -> None:
            at = self._in.clock()
            sessions.commit(conn, SessionId(str(operation.payload["session"])), at=at)
            endings.done(conn, operation, at=at)

        await self._in.db.write(end)

    async def _copy(self, operation: Operation, path: Path, part: Path) -> None:
        copying = Copying(self._in, operation, part)
        assert operation.snapshot_id is not None
        for attempt in range(1, ATTEMPTS_MAX + 1):
            await asyncio.to_thread(part.unlink, missing_ok=True)
            served = await snapshot_server.serving(self._in, operation.snapshot_id)
            source = f"nbd+unix:///{served.export}?socket={quote(str(served.socket))}"
            try:
                await convert.convert(
                    source, "raw", part, str(operation.payload["format"]), on_percent=copying.note, guard=copying.guard
                )
                break
            except SpaceError:
                raise
            except UnavailableError:
                if attempt == ATTEMPTS_MAX:
                    raise
        found = part.stat()
        payload = {**operation.payload, "inode": [found.st_dev, found.st_ino]}
        at = self._in.clock()
        await self._in.db.write(
            lambda conn: operations.update(conn, operation.id, updated_at=at, phase=NAMING, payload=payload)
        )
        await asyncio.to_thread(_name, part, path)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Remove what was copied, let go of the snapshot, and end."""
        path = Path(str(operation.payload["path"]))
        try:
            await asyncio.to_thread(part_of(path, operation.id).unlink, missing_ok=True)
        except OSError as error:
            message = f"{message}; {part_of(path, operation.id)} could not be removed: {error.strerror}"

        def end(conn: Connection) -> None:
            at = self._in.clock()
            sessions.fence(conn, SessionId(str(operation.payload["session"])), at=at)
            endings.failed(conn, operation, at=at, code=code, message=message)

        await self._in.db.write(end)


def part_of(path: Path, operation_id: OperationId) -> Path:
    """Return where an export is copied to, beside its name."""
    return path.with_name(f".{operation_id}.part")


def _is_named(path: Path, part: Path, inode: object) -> bool:
    """Tell whether a crash came after the naming: then the name is the copied file's, and the other one goes."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if [found.st_dev, found.st_ino] != inode:
        return False
    part.unlink(missing_ok=True)
    return True


def _name(part: Path, path: Path) -> None:
    try:
        os.link(part, path)
    except FileExistsError as error:
        raise RefusalError("InvalidParameterValue", f"{path} was made by somebody else meanwhile.") from error
    except OSError as error:
        raise UnavailableError(f"{path} cannot be made: {error.strerror}") from error
    part.unlink()
    sync_file(path.parent)

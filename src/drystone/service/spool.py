"""What snapshots have written and the store does not have yet: files of this machine, by session (A13, S270)."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from drystone.domain.errors import IntegrityError
from drystone.domain.ids import SessionId
from drystone.durable_files import sync_file, write_durably
from drystone.objects.spooling import SpoolPlace, held_bytes
from drystone.service.room import Room

T = TypeVar("T")
log = structlog.get_logger()
_NOTE = "written.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """The spools of all snapshots of this installation.

    Attributes:
        room: Whose floor they leave to the disks.
        bytes_max: What they hold together at most; 0: everything goes into the store at once.
    """

    room: Room
    bytes_max: int

    def directory(self, session: SessionId) -> Path:
        """Return where a session's objects lie."""
        return self.room.layout.spool / session

    def place(self, session: SessionId) -> SpoolPlace | None:
        """Return where a session's writer may put its objects; None if it may not."""
        if not self.bytes_max:
            return None
        floor_bytes = self.room.look().floor_bytes
        return SpoolPlace(directory=str(self.directory(session)), bytes_max=self.bytes_max, floor_bytes=floor_bytes)

    def keep(self, session: SessionId, note: bytes) -> str:
        """Write durably what is to be known of a session's objects after a restart; return its SHA-256."""
        write_durably(self.directory(session) / _NOTE, note)
        return hashlib.sha256(note).hexdigest()

    def kept(self, session: SessionId, sha256: str) -> bytes:
        """Return what was kept.

        Raises:
            IntegrityError: It is not there, or not what was kept.
        """
        try:
            note = (self.directory(session) / _NOTE).read_bytes()
        except OSError as error:
            raise IntegrityError(f"the spool of the snapshot is gone: {error.strerror}") from error
        if hashlib.sha256(note).hexdigest() != sha256:
            raise IntegrityError("the spool of the snapshot is not what was written")
        return note

    def in_use(self) -> bool:
        """Tell whether anything may lie in a spool."""
        try:
            with os.scandir(self.room.layout.spool) as found:
                return any(entry.is_dir() for entry in found)
        except FileNotFoundError:
            return False

    def bytes_of(self, session: SessionId) -> int:
        """Return what a session's spool holds."""
        return held_bytes(self.directory(session))

    def remove(self, session: SessionId) -> None:
        """Let go of a session's spool, if there is one. Logs what it cannot."""
        self._remove(self.directory(session))

    def keep_only(self, sessions: Container[str]) -> None:
        """Remove the spools of all other sessions. Logs what it cannot."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.room.layout.spool) as found:
            for entry in found:
                if entry.name not in sessions and not entry.name.startswith("."):
                    self._remove(Path(entry.path))

    def _remove(self, directory: Path) -> None:
        try:
            shutil.rmtree(directory)
            sync_file(directory.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("spool.not_removed", directory=str(directory), error=str(error))

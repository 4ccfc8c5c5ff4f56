"""A catalog in SQLite: opened, migrated, and used by one writer and two readers.

A transaction is really begun (SQLAlchemy's advice for SQLite): `BEGIN IMMEDIATE` by the writer, so that what it reads
holds until its commit; `BEGIN` by a reader, which then sees one moment. A commit is on disk when it returns
(`synchronous=FULL` in WAL).
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from drystone.catalog.database import READERS, ThreadedDatabase, revisions
from drystone.catalog.migrations import HEAD, upgrade
from drystone.domain.errors import IntegrityError, SpaceError, UnavailableError, expected

R = TypeVar("R")


class MakeRoom(Protocol):
    """Frees some space for the database, if it can."""

    def __call__(self, *, at_start: bool) -> bool:
        """Do it, a server that is not open yet having the first claim; return whether there was any to free."""
        ...


def no_room(*, at_start: bool) -> bool:  # noqa: ARG001 - the protocol's parameter
    """Free nothing."""
    return False


BUSY_TIMEOUT_MS = 10_000
"""How long a statement waits for another process's write (a command line beside the server)."""
HELD_TIMEOUT_MS = 250
"""How long a write waits while another process holds the file for longer than that: waits in a row add up (S135)."""
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_BROKEN = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
    }
)
"""What the file system or the host has to do with."""
_BUSY_SHOWN = "The catalog is held by another program just now; try again."


class SqliteDatabase(ThreadedDatabase):
    """A catalog in a file. Made by `open`; safe to use from any thread and any event loop.

    Where a write finds no space and some could be made, it is run once more. After a write that waited for another
    process in vain, the next ones do not wait as long, until one goes through.
    """

    def __init__(self, *, writer: Engine, readers: Engine, make_room: MakeRoom) -> None:
        super().__init__()
        self._writer = writer
        self._make_room = make_room
        self._readers = readers
        self._held = False

    @classmethod
    def open(cls, path: Path, *, make_room: MakeRoom = no_room) -> Self:
        """Open a database, make it if it is not there (mode 0600), and bring its schema up to date.

        One that is up to date is not written to, so that it opens while another program holds it locked.

        Args:
            path: The file.
            make_room: Frees some space, if it can, when a write finds none.

        Raises:
            NewerSchemaError: The schema is not one that this version knows; nothing was changed.
            IntegrityError: The file is not a database, or a broken one.
            UnavailableError: It cannot be read or written now.
        """
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise expected(error) or UnavailableError(f"Cannot open the database {path}: {error.strerror}.") from error
        writer = _engine(path, begin="BEGIN IMMEDIATE", size=1, pragmas=())
        readers = _engine(path, begin="BEGIN", size=READERS, pragmas=("query_only=ON",))
        database = cls(writer=writer, readers=readers, make_room=make_room)
        try:
            if database._with_room(lambda: database.read_sync(revisions)) != [HEAD]:
                database._with_room(lambda: database.write_sync(_migrate))
        except BaseException:
            database.close()
            raise
        return database

    def read_sync(self, fn: Callable[[Connection], R]) -> R:
        """Run `fn` as `read` does, on this thread."""
        with _expected_errors(), self._readers.begin() as conn:
            return fn(conn)

    def write_sync(self, fn: Callable[[Connection], R]) -> R:
        """Run `fn` as `write` does, on this thread."""
        try:
            return self._write_once(fn)
        except _FullError:
            if not self._make_room(at_start=False):
                raise
        return self._write_once(fn)

    def _write_once(self, fn: Callable[[Connection], R]) -> R:
        began = False
        try:
            with _expected_errors(), self._writer.connect() as conn:
                _wait_at_most(conn, min(HELD_TIMEOUT_MS, BUSY_TIMEOUT_MS) if self._held else BUSY_TIMEOUT_MS)
                with conn.begin():
                    began, self._held = True, False
                    return fn(conn)
        except _BusyError:
            self._held = self._held or not began
            raise

    def _with_room(self, once: Callable[[], R]) -> R:
        """Do it as soon as there is room for what every connection needs: a log and an index beside the file."""
        while True:
            try:
                return once()
            except (_FullError, _BrokenError):
                if not self._make_room(at_start=True):
                    raise

    def close(self) -> None:
        """Finish what was begun, then close every connection."""
        super().close()
        self._readers.dispose()
        self._writer.dispose()


def _engine(path: Path, *, begin: str, size: int, pragmas: tuple[str, ...]) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        # Another thread than the one that made it may be given a connection; never two at once.
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's pool record
        connection.isolation_level = None  # The driver must not begin transactions of its own.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", *pragmas):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        conn.exec_driver_sql(begin)

    return engine


def _wait_at_most(conn: Connection, milliseconds: int) -> None:
    """Have the statements of a connection wait so long for another process."""
    if conn.info.get("waits_ms") != milliseconds:
        driver = conn.connection.driver_connection
        assert driver is not None
        driver.execute(f"PRAGMA busy_timeout={milliseconds}").close()
        conn.info["waits_ms"] = milliseconds


class _BusyError(UnavailableError):
    """Another process holds the file."""


class _FullError(SpaceError):
    """SQLite found no space: at any statement, or at the commit."""


class _BrokenError(UnavailableError):
    """SQLite met an I/O error, or could not open a file: that is what it calls no room for its index, too."""


@contextmanager
def _expected_errors() -> Iterator[None]:
    """Tell a full, busy or broken database from a bug in a statement."""
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError("The database is busy; try again.", shown=_BUSY_SHOWN) from error
    except (DatabaseError, sqlite3.DatabaseError) as error:
        cause = error.orig if isinstance(error, DatabaseError) else error
        # The low byte is the kind; the rest says more.
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise _FullError("The file system of the database is full.") from error
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise IntegrityError(f"The database is damaged: {cause}.") from error
        if code in _BUSY:
            raise _BusyError(f"The database cannot be used now: {cause}.", shown=_BUSY_SHOWN) from error
        if code in _BROKEN:
            shown = f"The catalog cannot be used now ({cause}); the host's administrator must look after it."
            raise _BrokenError(f"The database cannot be used now: {cause}.", shown=shown) from error
        raise


def _migrate(conn: Connection) -> None:
    present = revisions(conn)
    # Another program may just have done it.
    if present != [HEAD]:
        upgrade(conn, present)

"""A catalog in PostgreSQL: one writer at a time over all processes, and commits of which the answer was lost.

A write is READ COMMITTED and takes an advisory lock by a statement of its own before anything else: a statement sees
what was committed before *it* began, so one that took the lock and read would read what was there before it waited.
The server frees the lock of a process that stands still in a transaction. A commit is never cancelled: one that waits
for a standby would return as if it were made. A read is REPEATABLE READ READ ONLY, and so sees one moment.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, delete, event, func, insert, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from drystone.catalog.database import READERS, ThreadedDatabase, revisions
from drystone.catalog.migrations import HEAD, CatalogError, create, upgrade
from drystone.catalog.schema import commit_mark
from drystone.domain.errors import IntegrityError, OutcomeUnknownError, SpaceError, UnavailableError

R = TypeVar("R")
LOCK: Final = "SELECT pg_advisory_xact_lock(7239175498710893)"
"""The number is any that other programs in the same database do not use."""
WAIT_SECONDS = 10.0
"""How long a write waits for one of another process, and for this process's own."""
STANDING_SECONDS = 2.0
"""How long a process may stand still in a transaction before the server ends it."""
RUNS = 3
"""How often a transaction is begun of which it is known that it was not committed, the connection being lost."""
UNKNOWN_SECONDS = 30.0
"""How long the server is asked whether a transaction was committed."""
MARKS_KEPT = 100
"""Writers whose marks stay, the newest: each process that opens the database is one."""
_ASK_AGAIN_SECONDS = 0.1
_CONNECTION = {
    "connect_timeout": "5",
    "target_session_attrs": "read-write",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "11000",
}
"""A server that is gone is noticed in some ten seconds; a standby is no server of ours."""
STANDING = "idle_in_transaction_session_timeout"
_SESSION = {
    STANDING: int(STANDING_SECONDS * 1000),
    "lock_timeout": int(WAIT_SECONDS * 1000),
    # What an administrator has set for all would end a commit, or a migration.
    "statement_timeout": 0,
    "synchronous_commit": "on",
    "timezone": "'UTC'",
}
_FULL = frozenset({"53100"})
_DAMAGED = frozenset({"XX001", "XX002"})
_UNDECIDED = frozenset({"08007", "40003"})
"""What a server says of a commit of which it does not know."""
_PASSING = ("08", "25006", "25P03", "40", "53", "55P03", "57", "58")
"""Codes, or how they begin, of what may go another time: connections, locks, aborts, resources, the system."""


class PostgresDatabase(ThreadedDatabase):
    """A catalog in a database of PostgreSQL. Made by `open`; safe to use from any thread and any event loop."""

    def __init__(self, *, writer: Engine, readers: Engine) -> None:
        super().__init__()
        self._writer = writer
        self._readers = readers
        self._turn = threading.Lock()
        """Held through a write and the question whether it was committed."""
        self._name = ""
        self._opened = 0
        self._number = 0
        """Of this writer's newest transaction; none is used twice."""
        self._possible = {0}
        """What our mark may hold: our last commit, and what has been tried since with an outcome that is unknown."""

    @classmethod
    def open(cls, where: str) -> Self:
        """Open a database that was made for the catalog, and bring its schema up to date.

        Args:
            where: URL: `postgresql+psycopg://USER@HOST/DATABASE`, with libpq's own parameters.

        Raises:
            NewerSchemaError: The schema is not one that this version knows; nothing was changed.
            CatalogError: The database is not one that a catalog may be in.
            UnavailableError: It cannot be read or written now.
        """
        url = make_url(where)
        writer = _engine(url, size=1, isolation="READ COMMITTED", read_only=False)
        readers = _engine(url, size=READERS, isolation="REPEATABLE READ", read_only=True)
        database = cls(writer=writer, readers=readers)
        try:
            with _expected_errors(), writer.begin() as conn:
                database._begin_writing(conn)
        except BaseException:
            database.close()
            raise
        return database

    def read_sync(self, fn: Callable[[Connection], R]) -> R:
        """Run `fn` as `read` does, on this thread; again if the connection was lost, which changed nothing."""
        try:
            return self._read_once(fn)
        except _LostError:
            return self._read_once(fn)

    def _read_once(self, fn: Callable[[Connection], R]) -> R:
        with _expected_errors(), self._readers.begin() as conn:
            return fn(conn)

    def write_sync(self, fn: Callable[[Connection], R]) -> R:
        """Run `fn` as `write` does, on this thread; again where it is known that it was not committed."""
        if not self._turn.acquire(timeout=WAIT_SECONDS):
            raise UnavailableError("The database is busy; try again.", shown=_BUSY_SHOWN)
        try:
            for _ in range(RUNS - 1):
                try:
                    return self._write_once(fn)
                except _LostError:
                    continue
            return self._write_once(fn)
        finally:
            self._turn.release()

    def close(self) -> None:
        """Finish what was begun, then close every connection."""
        super().close()
        self._readers.dispose()
        self._writer.dispose()

    def _write_once(self, fn: Callable[[Connection], R]) -> R:
        """Run a transaction and commit it.

        Raises:
            _LostError: The connection was lost, and nothing was committed.
            OutcomeUnknownError: It was lost at the commit, and the server does not say.
        """
        self._number += 1
        number = self._number
        with _expected_errors(), self._writer.connect() as conn, conn.begin() as transaction:
            lock(conn)
            result = fn(conn)
            self._mark(conn, number)
            try:
                transaction.commit()
            except DBAPIError as error:
                if not _undecided(error):
                    raise
                self._possible.add(number)
        if number in self._possible and not self._was_committed(number):
            raise _LostError("The connection was lost at a commit, which was not made.")
        self._possible = {number}
        return result

    def _was_committed(self, number: int) -> bool:
        """Ask whether a transaction was committed.

        The lock comes first: a server that still works at the commit holds it, and the answer could change.

        Raises:
            OutcomeUnknownError: The server cannot be asked, or it has forgotten transactions.
        """
        found = self._asked()
        if found is None or found not in self._possible:
            raise OutcomeUnknownError(
                f"The database was lost at a commit, and has lost earlier ones too: {found} is not in {self._possible}."
            )
        self._possible = {found}
        return found == number

    def _asked(self) -> int | None:
        """Return the number of our last transaction, as soon as the server says it."""
        began = time.monotonic()
        while True:
            try:
                return self._marked()
            except UnavailableError as error:
                if time.monotonic() - began > UNKNOWN_SECONDS:
                    raise OutcomeUnknownError(
                        f"The database was lost at a commit, and has not said for {UNKNOWN_SECONDS:g} s whether it was "
                        "made."
                    ) from error
            time.sleep(_ASK_AGAIN_SECONDS)

    def _marked(self) -> int | None:
        with _expected_errors(), self._writer.begin() as conn:
            lock(conn)
            query = select(commit_mark.c.number).where(commit_mark.c.writer == self._name)
            found: int | None = conn.execute(query).scalar_one_or_none()
            return found

    def _begin_writing(self, conn: Connection) -> None:
        """Make or migrate the schema, and the mark of this writer."""
        lock(conn)
        # Alembic is imported meanwhile, and many rows may be changed.
        conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        kind = "SELECT current_setting('server_encoding') = 'UTF8' AND 'B' < 'a' AND 'z' < chr(228)"
        if not conn.exec_driver_sql(kind).scalar_one():
            raise CatalogError(
                "The database must hold UTF-8 and sort text by its bytes: make it with "
                "CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'."
            )
        present = revisions(conn)
        if not present:
            create(conn)
        elif present != [HEAD]:
            upgrade(conn, present)
        opened: int = conn.execute(select(func.coalesce(func.max(commit_mark.c.opened), 0) + 1)).scalar_one()
        conn.execute(delete(commit_mark).where(commit_mark.c.opened <= opened - MARKS_KEPT))
        self._name = conn.exec_driver_sql("SELECT gen_random_uuid()::text").scalar_one()
        self._opened = opened
        self._mark(conn, 0)

    def _mark(self, conn: Connection, number: int) -> None:
        """Note the number of the transaction, so that its commit can be asked for."""
        noted = update(commit_mark).where(commit_mark.c.writer == self._name).values(number=number)
        if conn.execute(noted).rowcount == 0:
            conn.execute(insert(commit_mark).values(writer=self._name, number=number, opened=self._opened))


def lock(conn: Connection) -> None:
    """Wait until no other process writes, and keep it so to the end of the transaction."""
    conn.exec_driver_sql(LOCK)


class _LostError(UnavailableError):
    """The connection was lost, and nothing was changed."""


_BUSY_SHOWN = "The catalog is held by another program just now; try again."
_SHOWN = "The catalog's database cannot be used now; the host's administrator must look after it."


def _engine(url: URL, *, size: int, isolation: str, read_only: bool) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        isolation_level=isolation,
        connect_args={name: value for name, value in _CONNECTION.items() if name not in url.query},
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's pool record
        connection.autocommit = True
        # Who only reads holds up nobody, and may take its time between two statements.
        for name, value in (_SESSION if not read_only else _SESSION | {STANDING: 0}).items():
            connection.execute(f"SET {name} = {value}")
        connection.autocommit = False
        connection.read_only = read_only

    return engine


def _undecided(error: DBAPIError) -> bool:
    """Return whether a failed commit may have been made all the same: the server went before it said."""
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _UNDECIDED


@contextmanager
def _expected_errors() -> Iterator[None]:
    """Tell a full, busy, lost or broken database from a bug in a statement."""
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError("The database is busy; try again.", shown=_BUSY_SHOWN) from error
    except DBAPIError as error:
        code = getattr(error.orig, "sqlstate", None)
        cause = str(error.orig).strip()
        if error.connection_invalidated:
            raise _LostError(f"The connection to the database was lost: {cause}.", shown=_SHOWN) from error
        if code in _FULL:
            raise SpaceError(f"The file system of the database is full: {cause}.") from error
        if code in _DAMAGED:
            raise IntegrityError(f"The database is damaged: {cause}.") from error
        if (code is None and not error.statement) or (code is not None and code.startswith(_PASSING)):
            shown = _BUSY_SHOWN if code == "55P03" else _SHOWN
            raise UnavailableError(f"The database cannot be used now: {cause}.", shown=shown) from error
        raise

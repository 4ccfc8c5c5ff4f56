"""What the code needs of a catalog's database: transactions, one writer at a time, and readers that see one moment."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from sqlalchemy import Connection, inspect

from drystone.domain.errors import UnavailableError

R = TypeVar("R")
READERS = 2
"""Reader threads: describes are short, and the machine's cores belong to the transfers."""
WAITING_MAX = 2000
"""Calls that wait for a thread, of one kind; more are told to come back. Far above what rate limits let through."""


class Database(Protocol):
    """A catalog's database; safe to use from any thread and any event loop.

    What is given to run must be a function of the connection alone: it may be run twice, and what it did the first time
    is then undone in the database and nowhere else. So ids and times are made outside of it and given.
    """

    async def read(self, fn: Callable[[Connection], R]) -> R:
        """Run `fn` on a reader thread in one read-only transaction and return what it returns.

        Raises:
            UnavailableError: Too many calls are waiting, or the database cannot be read now.
        """
        ...

    async def write(self, fn: Callable[[Connection], R]) -> R:
        """Run `fn` on the writer thread in one transaction, commit, and return what it returns.

        No other write, of any process, is between what `fn` reads and its commit. What `fn` raises rolls everything
        back and is raised here. A caller that is cancelled does not know whether the transaction was committed.

        Raises:
            SpaceError: The file system is full; nothing was changed.
            OutcomeUnknownError: The database was lost at the commit, and cannot be asked whether it was made.
            UnavailableError: Too many calls are waiting, or the database cannot be written now; nothing was changed.
        """
        ...

    def read_sync(self, fn: Callable[[Connection], R]) -> R:
        """Run `fn` as `read` does, on this thread."""
        ...

    def write_sync(self, fn: Callable[[Connection], R]) -> R:
        """Run `fn` as `write` does, on this thread."""
        ...

    def close(self) -> None:
        """Finish what was begun, then close every connection."""
        ...


class ThreadedDatabase(ABC):
    """The half of a `Database` that is the same for all: threads on which its transactions run."""

    def __init__(self) -> None:
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="catalog-write")
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="catalog-read")
        self._writes_waiting = 0
        self._reads_waiting = 0

    @abstractmethod
    def read_sync(self, fn: Callable[[Connection], R]) -> R:
        """Run a transaction that reads."""

    @abstractmethod
    def write_sync(self, fn: Callable[[Connection], R]) -> R:
        """Run a transaction that writes."""

    async def read(self, fn: Callable[[Connection], R]) -> R:
        """Run `read_sync` on a reader thread."""
        if self._reads_waiting >= WAITING_MAX:
            raise UnavailableError(f"{WAITING_MAX} reads of the database are waiting; try again.")
        self._reads_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._read_threads, self.read_sync, fn)
        finally:
            self._reads_waiting -= 1

    async def write(self, fn: Callable[[Connection], R]) -> R:
        """Run `write_sync` on the writer thread."""
        if self._writes_waiting >= WAITING_MAX:
            raise UnavailableError(f"{WAITING_MAX} writes to the database are waiting; try again.")
        self._writes_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._write_thread, self.write_sync, fn)
        finally:
            self._writes_waiting -= 1

    def close(self) -> None:
        """Finish what was begun."""
        self._write_thread.shutdown()
        self._read_threads.shutdown()


def revisions(conn: Connection) -> list[str]:
    """Return the revisions of a database's schema: one; none if it has no schema yet."""
    if not inspect(conn).has_table("alembic_version"):
        return []
    return list(conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalars())

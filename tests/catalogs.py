"""Catalogs for tests, in SQLite and in PostgreSQL: `open_catalog` opens one of the kind that the test runs with."""

import atexit
import contextlib
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog.connect import open_database
from drystone.catalog.database import Database
from drystone.catalog.sqlite import SqliteDatabase
from tests.quiesce.databases import PostgreSql, short_directory

SQLITE, POSTGRESQL = "sqlite", "postgresql"
KINDS = (SQLITE, POSTGRESQL)
sqlite_alone = pytest.mark.parametrize("catalog_kind", [SQLITE], indirect=True)
"""For a test that is about SQLite, in a module that runs with both."""
_kind = SQLITE
_made: list[str] = []
"""Databases of the server that were made for tests and not removed."""


@contextlib.contextmanager
def of_kind(wanted: str) -> Iterator[None]:
    """Have `open_catalog` open catalogs of this kind."""
    global _kind  # noqa: PLW0603 - what a test runs with
    before, _kind = _kind, wanted
    try:
        yield
    finally:
        _kind = before


def kind() -> str:
    """Return of which kind catalogs are now."""
    return _kind


@contextlib.contextmanager
def removed_after() -> Iterator[None]:
    """Remove the databases that are made within."""
    count = len(_made)
    try:
        yield
    finally:
        while len(_made) > count:
            run_statement(f'DROP DATABASE "{_made.pop()}" WITH (FORCE)')


def open_catalog(path: Path) -> Database:
    """Open the catalog that a path stands for; it is made, without rows, at the first time."""
    if _kind == POSTGRESQL:
        return open_database(url_of(path))
    if not path.exists():
        path.write_bytes(_empty_file())
    return SqliteDatabase.open(path)


def settings_of(path: Path) -> dict[str, Any]:
    """Return the settings of a server whose catalog is of the kind that the test runs with."""
    return {"catalog_url": url_of(path), "experimental": ("postgresql",)} if _kind == POSTGRESQL else {}


def url_of(path: Path, *, empty: bool = True, options: str = "") -> str:
    """Return the URL of the database that a path stands for; it is made at the first time.

    Args:
        path: What it is told from others by.
        empty: Whether it is made as a catalog without rows, or without a schema.
        options: How else to make it.
    """
    name = f"c{hashlib.sha256(str(path).encode()).hexdigest()[:24]}"
    if name not in _made:
        template = _empty_database() if empty else "template0"
        run_statement(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY {options}')
        _made.append(name)
    return url(name)


def url(name: str) -> str:
    """Return the URL of a database of the server."""
    return f"postgresql+psycopg://postgres@/{name}?host={server().scratch}"


def run_statement(statement: str) -> None:
    """Run a statement at the server, outside of any catalog."""
    import psycopg  # Most tests need none of it.

    with psycopg.connect(server().connection, autocommit=True) as connection:
        connection.execute(statement)


@functools.cache
def server() -> PostgreSql:
    """Start a server for the tests of this process; it ends with it."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    directory = stack.enter_context(short_directory(memory=True))
    started = PostgreSql(directory / "data", directory / "run")
    started.install()
    started.start("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB")
    stack.callback(started.stop)
    return started


@functools.cache
def _empty_database() -> str:
    name = "empty"
    run_statement(f"CREATE DATABASE {name}")
    open_database(url(name)).close()
    return name


@functools.cache
def _empty_file() -> bytes:
    with short_directory(memory=True) as directory:
        SqliteDatabase.open(directory / "catalog.db").close()
        return (directory / "catalog.db").read_bytes()

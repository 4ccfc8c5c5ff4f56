from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from drystone.catalog import accounts
from drystone.catalog.database import Database
from tests.catalog.catalog_values import OTHER, OWNER, account
from tests.catalogs import open_catalog


@pytest.fixture
def empty(tmp_path: Path, both_catalogs: str) -> Iterator[Database]:
    """A new database without rows, of each kind."""
    database = open_catalog(tmp_path / "catalog.db")
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def db(empty: Database) -> Database:
    """A new database with two accounts, of each kind."""

    def fill(conn: Connection) -> None:
        for name in (OWNER, OTHER):
            accounts.insert(conn, account(name))

    empty.write_sync(fill)
    return empty

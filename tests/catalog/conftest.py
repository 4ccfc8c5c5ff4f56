import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from drystone.catalog import accounts
from drystone.catalog.database import Database
from tests.catalog.catalog_values import OTHER, OWNER, account


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed database with two accounts: copying it is quicker than migrating one for each test."""
    path = tmp_path_factory.mktemp("template") / "catalog.db"
    database = Database.open(path)

    def fill(conn: Connection) -> None:
        for name in (OWNER, OTHER):
            accounts.insert(conn, account(name))

    try:
        database.write_sync(fill)
    finally:
        database.close()
    return path


@pytest.fixture
def db(tmp_path: Path, template: Path) -> Iterator[Database]:
    """A new database with two accounts."""
    database = Database.open(shutil.copy(template, tmp_path / "catalog.db"))
    try:
        yield database
    finally:
        database.close()

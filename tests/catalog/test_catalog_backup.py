"""Copies of the catalog: of one moment, private, bounded."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from drystone.catalog import meta
from drystone.catalog.backup import back_up, back_up_before_migration, made_at, newest_first, schema_of
from drystone.catalog.database import Database
from drystone.catalog.migrations import HEAD
from drystone.catalog.sqlite import SqliteDatabase
from drystone.domain.errors import IntegrityError


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = SqliteDatabase.open(tmp_path / "catalog.db")
    yield opened
    opened.close()


def test_a_copy_is_one_moment_whole_private_and_opens(tmp_path: Path, db: Database) -> None:
    db.write_sync(lambda conn: meta.put(conn, "a", "1"))
    backups = tmp_path / "backups"
    made = back_up(tmp_path / "catalog.db", backups, kind="catalog", at=1_700_000_000.25, kept=3)
    db.write_sync(lambda conn: meta.put(conn, "a", "2"))
    assert made.name == "catalog-20231114T221320.250000Z.db"
    assert made.stat().st_mode & 0o777 == 0o600
    assert backups.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in backups.iterdir()] == [made.name], "no log lies beside it"
    copy = SqliteDatabase.open(made)
    assert copy.read_sync(lambda conn: meta.get(conn, "a")) == "1"
    copy.close()


def test_old_copies_go_by_kind(tmp_path: Path, db: Database) -> None:
    backups = tmp_path / "backups"
    other = back_up(tmp_path / "catalog.db", backups, kind="before-reconcile", at=1.0, kept=1)
    made = [back_up(tmp_path / "catalog.db", backups, kind="catalog", at=at, kept=2) for at in (10.0, 30.0, 20.0, 40.0)]
    assert newest_first(backups, "catalog", 40.0) == [made[3], made[1]]
    assert other.exists()


def test_copies_that_a_wrong_clock_has_dated_ahead_do_not_push_out_the_others(tmp_path: Path, db: Database) -> None:
    """S117"""
    backups = tmp_path / "backups"

    def made(*at: float) -> list[Path]:
        return [back_up(tmp_path / "catalog.db", backups, kind="catalog", at=one, kept=3) for one in at]

    year = 365 * 86400.0
    ahead = made(year + 1, year + 2, year + 3)
    after = made(1000.0, 2000.0)
    assert newest_first(backups, "catalog", 2000.0) == [after[1], after[0], ahead[2]]
    assert [made_at(path) for path in after] == [1000.0, 2000.0]


def test_a_damaged_catalog_is_no_reason_to_drop_good_copies(tmp_path: Path, db: Database) -> None:
    catalog, backups = tmp_path / "catalog.db", tmp_path / "backups"
    good = back_up(catalog, backups, kind="catalog", at=1.0, kept=1)
    db.close()
    broken = tmp_path / "broken.db"
    data = bytearray(catalog.read_bytes())
    data[4096 : len(data) : 512] = b"\xff" * len(data[4096 : len(data) : 512])
    broken.write_bytes(data)
    with pytest.raises(IntegrityError):
        back_up(broken, backups, kind="catalog", at=2.0, kept=1)
    assert list(backups.iterdir()) == [good]


def test_a_copy_is_made_before_a_migration_only(tmp_path: Path, db: Database) -> None:
    catalog, backups = tmp_path / "catalog.db", tmp_path / "backups"
    assert back_up_before_migration(tmp_path / "none.db", backups, at=1.0, kept=2) is None
    assert schema_of(catalog) == HEAD
    assert back_up_before_migration(catalog, backups, at=1.0, kept=2) is None
    assert not backups.exists()
    connection = sqlite3.connect(catalog)
    connection.execute("UPDATE alembic_version SET version_num = '0001'").close()
    connection.commit()
    connection.close()
    made = back_up_before_migration(catalog, backups, at=1.0, kept=2)
    assert made is not None
    assert made.name.startswith("before-migration-0001-")
    assert schema_of(made) == "0001"

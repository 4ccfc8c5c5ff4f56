"""Copies of the catalog: of one moment, private, bounded; and notes of what is not published yet."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from drystone.catalog import accounts, disks, meta, snapshots, unpublished
from drystone.catalog.backup import back_up, back_up_before_migration, made_at, newest_first, schema_of
from drystone.catalog.database import Database
from drystone.catalog.migrations import HEAD
from drystone.domain.disk import DiskState
from drystone.domain.errors import IntegrityError
from drystone.domain.snapshot import SnapshotState
from tests.catalog.catalog_values import account, disk, snapshot


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path / "catalog.db")
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
    copy = Database.open(made)
    assert copy.read_sync(meta.everything) == {"a": "1"}
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


def notes(db: Database) -> list[tuple[str, str]]:
    found = db.read_sync(lambda conn: unpublished.waiting(conn, 100))
    return [(note.kind, note.resource_id) for note in found]


def forget(db: Database) -> None:
    for note in db.read_sync(lambda conn: unpublished.waiting(conn, 100)):
        assert db.write_sync(lambda conn, note=note: unpublished.drop(conn, note))  # type: ignore[misc]


def test_every_change_that_a_recovery_needs_is_noted(db: Database) -> None:
    """S53."""
    row = snapshot(state=SnapshotState.CREATING)
    owned = disk(account_id=row.account_id)
    db.write_sync(lambda conn: accounts.insert(conn, account(row.account_id)))
    assert notes(db) == [("account", row.account_id)]
    forget(db)
    db.write_sync(lambda conn: (snapshots.insert(conn, row), disks.insert(conn, owned)))
    assert notes(db) == [], "neither can be read by anybody yet"
    normal = {"state": SnapshotState.NORMAL}
    db.write_sync(lambda conn: snapshots.compare_and_set(conn, row.id, expected={}, values=normal))
    assert notes(db) == [("snapshot", row.id)]
    forget(db)
    for column, value in (
        ("name", "n"),
        ("deadline_at", 5.0),
        ("permanent", False),
        ("tags", (("k", "v"),)),
        ("suspect", True),
    ):
        values = {column: value}
        db.write_sync(lambda conn, to=values: snapshots.compare_and_set(conn, row.id, expected={}, values=to))  # type: ignore[misc]
        assert notes(db) == [("snapshot", row.id)], column
        forget(db)
    db.write_sync(lambda conn: snapshots.compare_and_set(conn, row.id, expected={}, values={"percent": 7}))
    db.write_sync(lambda conn: disks.compare_and_set(conn, owned.id, expected={}, values={"epoch": 7}))
    assert notes(db) == []
    db.write_sync(lambda conn: disks.compare_and_set(conn, owned.id, expected={}, values={"name": "x"}))
    assert notes(db) == [("disk", owned.id)]
    values = {"state": DiskState.TERMINATING}
    db.write_sync(lambda conn: disks.compare_and_set(conn, owned.id, expected={}, values=values))
    assert notes(db) == [("disk", owned.id)]


def test_a_change_while_the_one_before_is_published_is_not_lost(db: Database) -> None:
    """S53."""
    db.write_sync(lambda conn: accounts.insert(conn, account()))
    (note,) = db.read_sync(lambda conn: unpublished.waiting(conn, 100))
    assert db.write_sync(lambda conn: unpublished.drop(conn, note))
    owned = disk(account_id=account().id)
    db.write_sync(lambda conn: disks.insert(conn, owned))

    def rename(name: str) -> None:
        db.write_sync(lambda conn: disks.compare_and_set(conn, owned.id, expected={}, values={"name": name}))

    rename("one")
    (first,) = db.read_sync(lambda conn: unpublished.waiting(conn, 100))
    rename("two")
    assert not db.write_sync(lambda conn: unpublished.drop(conn, first))
    (second,) = db.read_sync(lambda conn: unpublished.waiting(conn, 100))
    assert second.id != first.id
    assert db.write_sync(lambda conn: unpublished.drop(conn, second))
    rename("three")
    assert notes(db) == [("disk", owned.id)]
    assert not db.write_sync(lambda conn: unpublished.drop(conn, second)), "ids are never used twice"

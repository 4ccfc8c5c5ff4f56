"""Notes of what is not published yet."""

from drystone.catalog import accounts, disks, snapshots, unpublished
from drystone.catalog.database import Database
from drystone.domain.disk import DiskState
from drystone.domain.snapshot import SnapshotState
from tests.catalog.catalog_values import account, disk, snapshot


def notes(db: Database) -> list[tuple[str, str]]:
    found = db.read_sync(lambda conn: unpublished.waiting(conn, 100))
    return [(note.kind, note.resource_id) for note in found]


def forget(db: Database) -> None:
    for note in db.read_sync(lambda conn: unpublished.waiting(conn, 100)):
        assert db.write_sync(lambda conn, note=note: unpublished.drop(conn, note))  # type: ignore[misc]


def test_every_change_that_a_recovery_needs_is_noted(empty: Database) -> None:
    """S53."""
    row = snapshot(state=SnapshotState.CREATING)
    owned = disk(account_id=row.account_id)
    empty.write_sync(lambda conn: accounts.insert(conn, account(row.account_id)))
    assert notes(empty) == [("account", row.account_id)]
    forget(empty)
    empty.write_sync(lambda conn: (snapshots.insert(conn, row), disks.insert(conn, owned)))
    assert notes(empty) == [], "neither can be read by anybody yet"
    normal = {"state": SnapshotState.NORMAL}
    empty.write_sync(lambda conn: snapshots.compare_and_set(conn, row.id, expected={}, values=normal))
    assert notes(empty) == [("snapshot", row.id)]
    forget(empty)
    for column, value in (
        ("name", "n"),
        ("deadline_at", 5.0),
        ("permanent", False),
        ("tags", (("k", "v"),)),
        ("suspect", True),
    ):
        values = {column: value}
        empty.write_sync(lambda conn, to=values: snapshots.compare_and_set(conn, row.id, expected={}, values=to))  # type: ignore[misc]
        assert notes(empty) == [("snapshot", row.id)], column
        forget(empty)
    empty.write_sync(lambda conn: snapshots.compare_and_set(conn, row.id, expected={}, values={"percent": 7}))
    empty.write_sync(lambda conn: disks.compare_and_set(conn, owned.id, expected={}, values={"epoch": 7}))
    assert notes(empty) == []
    empty.write_sync(lambda conn: disks.compare_and_set(conn, owned.id, expected={}, values={"name": "x"}))
    assert notes(empty) == [("disk", owned.id)]
    values = {"state": DiskState.TERMINATING}
    empty.write_sync(lambda conn: disks.compare_and_set(conn, owned.id, expected={}, values=values))
    assert notes(empty) == [("disk", owned.id)]


def test_a_change_while_the_one_before_is_published_is_not_lost(empty: Database) -> None:
    """S53."""
    empty.write_sync(lambda conn: accounts.insert(conn, account()))
    (note,) = empty.read_sync(lambda conn: unpublished.waiting(conn, 100))
    assert empty.write_sync(lambda conn: unpublished.drop(conn, note))
    owned = disk(account_id=account().id)
    empty.write_sync(lambda conn: disks.insert(conn, owned))

    def rename(name: str) -> None:
        empty.write_sync(lambda conn: disks.compare_and_set(conn, owned.id, expected={}, values={"name": name}))

    rename("one")
    (first,) = empty.read_sync(lambda conn: unpublished.waiting(conn, 100))
    rename("two")
    assert not empty.write_sync(lambda conn: unpublished.drop(conn, first))
    (second,) = empty.read_sync(lambda conn: unpublished.waiting(conn, 100))
    assert second.id != first.id
    assert empty.write_sync(lambda conn: unpublished.drop(conn, second))
    rename("three")
    assert notes(empty) == [("disk", owned.id)]
    assert not empty.write_sync(lambda conn: unpublished.drop(conn, second)), "ids are never used twice"

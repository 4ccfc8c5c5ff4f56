import pytest
from sqlalchemy import Connection

from drystone.catalog import sessions, snapshots
from drystone.catalog.database import Database
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.session import SessionState
from drystone.domain.snapshot import SnapshotState
from tests.catalog.catalog_values import session, snapshot

A, B, C = (SnapshotId(f"snap-{letter}") for letter in "abc")
FIRST, SECOND = SessionId("1" * 32), SessionId("2" * 32)


@pytest.fixture(autouse=True)
def _three_snapshots(db: Database) -> None:
    db.write_sync(lambda conn: [snapshots.insert(conn, snapshot(name)) for name in (A, B, C)])


def set_state(conn: Connection, name: SnapshotId, state: SnapshotState) -> None:
    snapshots.compare_and_set(conn, name, expected={}, values={"state": state})


def opened(db: Database, name: SessionId, *reads: SnapshotId) -> None:
    db.write_sync(lambda conn: sessions.open(conn, session(name), reads))


def test_an_open_session_pins_what_it_reads(db: Database) -> None:
    """F7, S12."""
    opened(db, FIRST, A, B)
    opened(db, SECOND, B, B)
    assert db.read_sync(sessions.pinned) == {A, B}
    assert db.read_sync(lambda conn: sessions.reads(conn, FIRST)) == {A, B}
    assert db.write_sync(lambda conn: sessions.commit(conn, FIRST, at=11.0))
    assert db.read_sync(sessions.pinned) == {B}
    assert db.write_sync(lambda conn: sessions.fence(conn, SECOND, at=12.0))
    assert db.read_sync(sessions.pinned) == set()
    ended = db.read_sync(lambda conn: sessions.get(conn, SECOND))
    assert ended is not None
    assert (ended.state, ended.ended_at) == (SessionState.FENCED, 12.0)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (SnapshotState.CREATING, Refusal.SNAPSHOT_CREATING),
        (SnapshotState.DELETING, Refusal.NO_SUCH_SNAPSHOT),
        (SnapshotState.GHOST, Refusal.NO_SUCH_SNAPSHOT),
        (None, Refusal.NO_SUCH_SNAPSHOT),
    ],
)
def test_a_session_opens_on_normal_snapshots_only(db: Database, state: SnapshotState | None, code: str) -> None:
    """L6."""
    if state is None:
        db.write_sync(lambda conn: snapshots.delete(conn, B))
    else:
        db.write_sync(lambda conn: set_state(conn, B, state))
    with pytest.raises(RefusalError) as caught:
        opened(db, FIRST, A, B)
    assert caught.value.kind == code
    assert db.read_sync(lambda conn: sessions.get(conn, FIRST)) is None
    assert db.read_sync(sessions.pinned) == set()


def test_an_ended_session_never_changes_again(db: Database) -> None:
    """L6, S10."""
    opened(db, FIRST, A)
    assert db.write_sync(lambda conn: sessions.fence(conn, FIRST, at=11.0))
    assert not db.write_sync(lambda conn: sessions.commit(conn, FIRST, at=12.0))
    assert not db.write_sync(lambda conn: sessions.fence(conn, FIRST, at=12.0))
    assert not db.write_sync(lambda conn: sessions.commit(conn, SECOND, at=12.0))
    found = db.read_sync(lambda conn: sessions.in_state(conn, SessionState.FENCED))
    assert [(s.id, s.ended_at) for s in found] == [(FIRST, 11.0)]


def test_transfer_keeps_pins_without_a_gap_even_on_deleting(db: Database) -> None:
    opened(db, FIRST, A, B)
    db.write_sync(lambda conn: set_state(conn, B, SnapshotState.DELETING))
    assert db.write_sync(lambda conn: sessions.transfer(conn, FIRST, session(SECOND), at=11.0))
    assert db.read_sync(sessions.pinned) == {A, B}
    assert db.read_sync(lambda conn: sessions.reads(conn, SECOND)) == {A, B}
    assert not db.write_sync(lambda conn: sessions.commit(conn, FIRST, at=12.0))
    assert db.write_sync(lambda conn: sessions.commit(conn, SECOND, at=12.0))


def test_transfer_from_an_ended_session_changes_nothing(db: Database) -> None:
    opened(db, FIRST, A)
    db.write_sync(lambda conn: sessions.fence(conn, FIRST, at=10.0))
    assert not db.write_sync(lambda conn: sessions.transfer(conn, FIRST, session(SECOND), at=11.0))
    assert db.read_sync(lambda conn: sessions.get(conn, SECOND)) is None


def test_reads_go_with_their_session(db: Database) -> None:
    opened(db, FIRST, A)
    db.write_sync(lambda conn: sessions.delete(conn, FIRST))
    assert db.read_sync(lambda conn: sessions.reads(conn, FIRST)) == frozenset()

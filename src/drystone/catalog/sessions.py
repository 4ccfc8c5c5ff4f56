"""Sessions: who pins what is read, and who may still commit (L6)."""

from collections.abc import Collection

from sqlalchemy import Connection, exists, func, or_, select, update
from sqlalchemy import insert as insert_into

from drystone.catalog import snapshots
from drystone.catalog.rows import Rows
from drystone.catalog.schema import pack, session, session_read, snapshot
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.session import Session, SessionState
from drystone.domain.snapshot import SnapshotState

_rows = Rows(session, Session)

get = _rows.get
get_many = _rows.get_many
delete = _rows.delete
"""Its reads go with it."""


def open(  # noqa: A001 - read as sessions.open
    conn: Connection, value: Session, reads: Collection[SnapshotId]
) -> None:
    """Open a session that pins `reads`.

    Raises:
        RefusalError: `NO_SUCH_SNAPSHOT` if one of them is not there or going,
            `SNAPSHOT_CREATING` if one is not NORMAL yet. Nothing was added.
    """
    assert value.state is SessionState.OPEN, f"{value.id} is {value.state}"
    found = snapshots.get_many(conn, reads)
    for snapshot_id in reads:
        snapshot = found.get(snapshot_id)
        if snapshot is None or not snapshot.state.visible:
            raise RefusalError(Refusal.NO_SUCH_SNAPSHOT, f"There is no snapshot {snapshot_id}.")
        if snapshot.state is not SnapshotState.NORMAL:
            raise RefusalError(
                Refusal.SNAPSHOT_CREATING,
                f"Snapshot {snapshot_id} is {snapshot.state}; wait until it is NORMAL.",
            )
    _add(conn, value, reads)


def transfer(conn: Connection, old: SessionId, new: Session, *, at: float) -> bool:
    """Fence session `old` and open `new` with its reads, so that they stay pinned without a gap.

    Args:
        conn: A transaction.
        old: The session of an attempt that is over.
        new: Its successor, OPEN.
        at: Now.

    Returns:
        Whether `old` was OPEN; otherwise nothing has changed.
    """
    assert new.state is SessionState.OPEN, f"{new.id} is {new.state}"
    if not fence(conn, old, at=at):
        return False
    _add(conn, new, reads(conn, old))
    return True


def commit(conn: Connection, session_id: SessionId, *, at: float) -> bool:
    """End a session as COMMITTED; return whether it was OPEN, otherwise nothing has changed."""
    return _end(conn, session_id, SessionState.COMMITTED, at)


def fence(conn: Connection, session_id: SessionId, *, at: float) -> bool:
    """End a session as FENCED: it can never commit. Return whether it was OPEN."""
    return _end(conn, session_id, SessionState.FENCED, at)


def adopt(conn: Connection, value: Session) -> None:
    """Add the session of a catalog that is gone; it reads nothing."""
    assert value.state is SessionState.ADOPTED, f"{value.id} is {value.state}"
    _rows.insert(conn, value)


def adopt_fenced(conn: Connection, session_id: SessionId) -> bool:
    """Make a FENCED session ADOPTED: a recovery found what it wrote in use. Return whether it was FENCED."""
    return _rows.compare_and_set(
        conn,
        session_id,
        expected={"state": SessionState.FENCED},
        values={"state": SessionState.ADOPTED, "deleted_at": None},
    )


def note_deleted(conn: Connection, session_id: SessionId, snapshot_id: SnapshotId | None, *, at: float) -> None:
    """Say that something which a session wrote was deleted: its snapshot, if it is told, or a pack.

    Args:
        conn: A transaction.
        session_id: Which.
        snapshot_id: The snapshot that it wrote; of a session that was adopted the row may not say it.
        at: Now, by the steady clock.
    """
    known = func.coalesce(session.c.snapshot_id, snapshot_id)
    conn.execute(update(session).where(session.c.id == session_id).values(deleted_at=at, snapshot_id=known))


def end(conn: Connection, session_id: SessionId, state: SessionState, *, at: float) -> bool:
    """End a session in any way (a recovery decides which); return whether it was OPEN."""
    assert state is not SessionState.OPEN
    return _end(conn, session_id, state, at)


def reads(conn: Connection, session_id: SessionId) -> frozenset[SnapshotId]:
    """Return the snapshots that a session names."""
    query = select(session_read.c.snapshot_id).where(session_read.c.session_id == session_id)
    return frozenset(conn.execute(query).scalars())


def in_state(conn: Connection, state: SessionState) -> list[Session]:
    """Return the sessions of a state, oldest first."""
    query = select(session).where(session.c.state == state).order_by(session.c.created_at, session.c.id)
    return _rows.all(conn, query)


def spent(conn: Connection, ended_before: float, limit: int) -> list[Session]:
    """Return up to `limit` sessions in force (COMMITTED, ADOPTED) of long ago that no row refers to.

    A session is of long ago if it has ended before `ended_before`, and what it wrote was deleted before, too.

    No pack is theirs, and no snapshot or ghost was made by them: whether an object in the store still bears their name
    is for the caller to find out.
    """
    query = (
        select(session)
        .where(
            session.c.state.in_([SessionState.COMMITTED, SessionState.ADOPTED]),
            session.c.ended_at < ended_before,
            or_(session.c.deleted_at.is_(None), session.c.deleted_at < ended_before),
            ~exists().where(pack.c.session_id == session.c.id),
            ~exists().where(snapshot.c.session_id == session.c.id),
        )
        .order_by(session.c.ended_at, session.c.id)
        .limit(limit)
    )
    return _rows.all(conn, query)


def pinned(conn: Connection) -> set[SnapshotId]:
    """Return the snapshots that OPEN sessions name (L4)."""
    query = (
        select(session_read.c.snapshot_id)
        .join(session, session.c.id == session_read.c.session_id)
        .where(session.c.state == SessionState.OPEN)
        .distinct()
    )
    return set(conn.execute(query).scalars())


def _add(conn: Connection, value: Session, names: Collection[SnapshotId]) -> None:
    _rows.insert(conn, value)
    for name in sorted(set(names)):
        conn.execute(insert_into(session_read).values(session_id=value.id, snapshot_id=name))


def _end(conn: Connection, session_id: SessionId, state: SessionState, at: float) -> bool:
    return _rows.compare_and_set(
        conn, session_id, expected={"state": SessionState.OPEN}, values={"state": state, "ended_at": at}
    )

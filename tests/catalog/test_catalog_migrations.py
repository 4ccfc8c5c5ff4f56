"""Steps of the schema over many rows: the server is down while they run, so they take time for each row once."""

import json
import sqlite3
from pathlib import Path

from sqlalchemy import create_engine

from drystone.catalog.migrations import upgrade

SESSIONS = 2000
STEPS_PER_ROW_MAX = 1000
"""Instructions of SQLite's machine for each session; a look at every operation for each takes 5,000."""


def test_the_snapshots_of_old_sessions_are_found_without_reading_all_operations_for_each(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as conn:
        upgrade(conn, (), to="0012")
        rows: sqlite3.Connection = conn.connection.driver_connection  # type: ignore[assignment]
        for i in range(SESSIONS):
            fill(rows, "session", id=f"ses-{i}", kind="snapshot", operation_id=None)
            fill(
                rows, "operation", id=f"op-{i}", kind="snapshot", snapshot_id=f"snap-{i}",
                payload=json.dumps({"session": f"ses-{i}"}),
            )  # fmt: skip
        fill(
            rows, "operation", id="op-other", kind="rollback", snapshot_id="x", payload=json.dumps({"session": "ses-0"})
        )
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 100
        return 0

    with engine.begin() as conn:
        rows = conn.connection.driver_connection  # type: ignore[assignment]
        rows.set_progress_handler(count, 100)
        upgrade(conn, ("0012",), to="0013")
        rows.set_progress_handler(None, 0)
        found = {row[0]: row[1] for row in conn.exec_driver_sql("SELECT id, snapshot_id FROM session")}
        indexes = {
            row[0] for row in conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE tbl_name = 'operation'")
        }
    engine.dispose()
    assert found == {f"ses-{i}": f"snap-{i}" for i in range(SESSIONS)}
    assert 0 < steps < SESSIONS * STEPS_PER_ROW_MAX
    assert "operation_session" not in indexes


def test_sessions_of_snapshots_that_were_deleted_say_when(tmp_path: Path) -> None:
    """S209: what lands late of them is known for that also after the step."""
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.db'}")
    with engine.begin() as conn:
        upgrade(conn, (), to="0015")
        rows: sqlite3.Connection = conn.connection.driver_connection  # type: ignore[assignment]
        for name, state, snapshot in (
            ("a", "COMMITTED", "snap-a"), ("b", "ADOPTED", "snap-b"), ("c", "FENCED", "snap-a"),
            ("d", "COMMITTED", None), ("e", "COMMITTED", "snap-e"),
        ):  # fmt: skip
            fill(rows, "session", id=name, kind="snapshot", state=state, snapshot_id=snapshot)
        for name, kind, state, at in (
            ("a", "delete_snapshot", "DONE", 5.0), ("b", "delete_snapshot", "RUNNING", 6.0),
            ("e", "snapshot", "DONE", 7.0),
        ):  # fmt: skip
            fill(rows, "operation", id=f"op-{name}", kind=kind, state=state, snapshot_id=f"snap-{name}", updated_at=at)
    with engine.begin() as conn:
        upgrade(conn, ("0015",), to="0016")
        found = {row[0]: row[1] for row in conn.exec_driver_sql("SELECT id, deleted_at FROM session")}
        indexes = {row[0] for row in conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'")}
    engine.dispose()
    assert found == {"a": 5.0, "b": None, "c": None, "d": None, "e": None}
    assert "operation_deletion" not in indexes


def fill(conn: sqlite3.Connection, table: str, **values: object) -> None:
    """Insert a row; what is not given and must be there is empty."""
    for _, name, kind, needed, default, _ in conn.execute(f"PRAGMA table_info({table})").fetchall():
        if needed and default is None:
            values.setdefault(name, "" if kind == "TEXT" else 0)
    columns = ", ".join(values)
    conn.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))

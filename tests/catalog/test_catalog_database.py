import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from drystone.catalog import accounts, database, meta, sqlite, trail, triggers
from drystone.catalog.connect import open_database
from drystone.catalog.database import Database
from drystone.catalog.migrations import HEAD, CatalogError, NewerSchemaError
from drystone.catalog.rows import HOST_ID
from drystone.catalog.schema import metadata
from drystone.catalog.sqlite import SqliteDatabase
from drystone.domain.errors import IntegrityError, Refusal, SpaceError, UnavailableError
from tests.catalog.catalog_values import account
from tests.catalogs import open_catalog


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    """A new database without rows, in SQLite."""
    opened = SqliteDatabase.open(tmp_path / "catalog.db")
    yield opened
    opened.close()


def known(conn: Connection) -> dict[str, str]:
    """Return what `meta` holds besides what every new catalog has."""
    return {key: value for key, value in meta.everything(conn).items() if key != HOST_ID}


def pragma(conn: Connection, name: str) -> object:
    return conn.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def objects_of(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    finally:
        connection.close()
    return dict(rows)


def test_file_is_private_and_every_connection_is_durable(tmp_path: Path, file: Database) -> None:
    meta_put = lambda conn: meta.put(conn, "a", "b")  # noqa: E731 - short
    file.write_sync(meta_put)
    for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    for run in (file.read_sync, file.write_sync):
        assert run(lambda conn: pragma(conn, "journal_mode")) == "wal"
        assert run(lambda conn: pragma(conn, "synchronous")) == 2
        assert run(lambda conn: pragma(conn, "foreign_keys")) == 1


def test_opens_a_path_and_refuses_other_databases(tmp_path: Path) -> None:
    open_database(tmp_path / "catalog.db").close()
    assert (tmp_path / "catalog.db").exists()
    for wrong in ("mysql://host/name", "catalog.db"):
        with pytest.raises(CatalogError):
            open_database(wrong)


def test_what_was_written_is_there_after_closing(tmp_path: Path, both_catalogs: str) -> None:
    first = open_catalog(tmp_path / "catalog.db")
    first.write_sync(lambda conn: meta.put(conn, "store_id", "s1"))
    first.write_sync(lambda conn: meta.put(conn, "store_id", "s2"))
    first.close()
    second = open_catalog(tmp_path / "catalog.db")
    assert second.read_sync(known) == {"store_id": "s2"}
    assert second.read_sync(lambda conn: meta.get(conn, "region")) is None
    second.close()


def test_an_exception_rolls_everything_back(empty: Database) -> None:
    def fail(conn: Connection) -> None:
        meta.put(conn, "a", "1")
        conn.execute(text("CREATE TABLE extra (a INTEGER)"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        empty.write_sync(fail)
    assert empty.read_sync(known) == {}
    # Changes of the schema are part of the transaction too: a migration that fails leaves nothing.
    assert not empty.read_sync(lambda conn: inspect(conn).has_table("extra"))


def test_readers_cannot_write(empty: Database) -> None:
    with pytest.raises(UnavailableError):
        empty.read_sync(lambda conn: meta.put(conn, "a", "1"))


def test_a_reader_sees_one_moment(empty: Database) -> None:
    def read(conn: Connection) -> tuple[object, object]:
        before = meta.get(conn, "a")
        empty.write_sync(lambda other: meta.put(other, "a", "1"))
        return before, meta.get(conn, "a")

    assert empty.read_sync(read) == (None, None)
    assert empty.read_sync(lambda conn: meta.get(conn, "a")) == "1"


def test_a_writer_holds_the_database_from_its_begin(tmp_path: Path, file: Database) -> None:
    other = sqlite3.connect(tmp_path / "catalog.db", timeout=0)

    def write(conn: Connection) -> None:
        # Nothing is written yet: only BEGIN IMMEDIATE keeps the other one out.
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

    try:
        file.write_sync(write)
        other.execute("BEGIN IMMEDIATE").close()
    finally:
        other.close()


def test_a_database_that_stays_locked_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 20)
    ours = SqliteDatabase.open(tmp_path / "catalog.db")
    other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE").close()
        with pytest.raises(UnavailableError):
            ours.write_sync(lambda conn: meta.put(conn, "a", "1"))
        other.execute("ROLLBACK").close()
        ours.write_sync(lambda conn: meta.put(conn, "a", "1"))
    finally:
        other.close()
        ours.close()


def test_no_increment_is_lost_among_many_writers(empty: Database) -> None:
    def increment(conn: Connection) -> None:
        meta.put(conn, "n", str(int(meta.get(conn, "n") or 0) + 1))

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(40):
                tasks.create_task(empty.write(increment))

    threads = [threading.Thread(target=empty.write_sync, args=(increment,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    asyncio.run(run())
    for thread in threads:
        thread.join()
    assert empty.read_sync(lambda conn: meta.get(conn, "n")) == "50"


def test_what_a_transaction_raises_reaches_the_awaiting_task(empty: Database) -> None:
    def fail(conn: Connection) -> None:
        meta.put(conn, "a", "1")
        raise KeyError

    for run in (empty.write, empty.read):
        with pytest.raises((KeyError, UnavailableError)):
            asyncio.run(run(fail))
    assert empty.read_sync(known) == {}


def test_too_many_waiting_calls_are_told_to_come_back(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAITING_MAX", 3)
    release = threading.Event()

    async def run() -> None:
        for call in (empty.write, empty.read):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(3):
                    tasks.create_task(call(lambda _conn: release.wait(10)))
                await asyncio.sleep(0)
                with pytest.raises(UnavailableError, match="3"):
                    await call(known)
                release.set()
            release.clear()
            assert await call(known) == {}

    asyncio.run(run())


def test_a_full_file_system_is_a_space_error(file: Database) -> None:
    def fill(conn: Connection) -> None:
        pages = int(str(pragma(conn, "page_count")))
        conn.exec_driver_sql(f"PRAGMA max_page_count={pages + 1}")
        meta.put(conn, "big", "x" * 100_000)

    with pytest.raises(SpaceError):
        file.write_sync(fill)
    assert file.read_sync(known) == {}


def test_what_is_not_a_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(b"precious notes " * 1000)
    with pytest.raises(IntegrityError):
        SqliteDatabase.open(path)
    assert path.read_bytes() == b"precious notes " * 1000


def test_a_directory_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="No such file"):
        SqliteDatabase.open(tmp_path / "no" / "catalog.db")


def test_migrations_make_exactly_the_schema(tmp_path: Path, file: Database) -> None:
    assert file.read_sync(lambda conn: compare_metadata(MigrationContext.configure(conn), metadata)) == []
    straight = tmp_path / "straight.db"
    engine = create_engine(f"sqlite:///{straight}")
    metadata.create_all(engine)
    with engine.begin() as conn:
        triggers.renew(conn)
    engine.dispose()
    wanted, made = objects_of(straight), objects_of(tmp_path / "catalog.db")
    # Comparing the metadata leaves out the conditions of partial indexes and the checks of tables.
    indexes = {name: " ".join(sql.split()) for name, sql in wanted.items() if sql.startswith("CREATE INDEX")}
    assert indexes == {name: " ".join(sql.split()) for name, sql in made.items() if sql.startswith("CREATE INDEX")}
    for name, sql in wanted.items():
        assert sql.count("CHECK") == made[name].count("CHECK"), name
        if sql.startswith("CREATE TRIGGER"):
            assert made[name] == sql
    assert {name for name in made if name not in wanted} == {"alembic_version"}


def test_head_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "drystone.catalog:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_newer_schema_is_refused_and_nothing_changed(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    SqliteDatabase.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'").close()
    connection.execute("DROP TABLE audit").close()
    connection.commit()
    connection.close()
    before = objects_of(path)
    with pytest.raises(NewerSchemaError, match="9999"):
        SqliteDatabase.open(path)
    assert objects_of(path) == before


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE client_token (x INTEGER)").close()
    connection.commit()
    connection.close()
    with pytest.raises(Exception, match="client_token"):
        SqliteDatabase.open(path)
    assert list(objects_of(path)) == ["client_token"]


def test_what_stays_locked_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 400)
    monkeypatch.setattr(sqlite, "HELD_TIMEOUT_MS", 5)
    ours = SqliteDatabase.open(tmp_path / "catalog.db")
    other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)

    def waited() -> float:
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            ours.write_sync(lambda conn: meta.put(conn, "a", "1"))
        return time.monotonic() - began

    try:
        for _ in range(2):
            other.execute("BEGIN IMMEDIATE").close()
            assert waited() >= 0.35
            # SQLite's own steps are of up to 0.1 s, whatever is asked for.
            assert sum(waited() for _ in range(4)) < 0.8
            other.execute("ROLLBACK").close()
            # A write that goes through forgets it: the next wait is a whole one again.
            ours.write_sync(lambda conn: meta.put(conn, "a", "1"))
    finally:
        other.close()
        ours.close()


def test_statements_that_are_wrong_stay_bugs(empty: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key") as caught:
        empty.write_sync(lambda conn: conn.execute(text("INSERT INTO account_usage VALUES ('x', 0, 0, 0)")))
    assert not isinstance(caught.value, UnavailableError)
    empty.write_sync(lambda conn: accounts.insert(conn, account()))
    assert empty.read_sync(lambda conn: len(known(conn))) == 0


def test_it_opens_and_is_read_while_another_program_holds_it_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteDatabase.open(tmp_path / "catalog.db").close()
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 50)
    holder = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    opened = SqliteDatabase.open(tmp_path / "catalog.db")
    assert opened.read_sync(known) == {}
    with pytest.raises(UnavailableError) as refused:
        opened.write_sync(lambda conn: meta.put(conn, "a", "b"))
    assert refused.value.shown is not None
    assert "another program" in refused.value.shown
    holder.execute("ROLLBACK")
    opened.write_sync(lambda conn: meta.put(conn, "a", "b"))
    holder.close()
    opened.close()


def test_a_write_that_finds_no_space_is_made_once_more_where_some_can_be_freed(tmp_path: Path) -> None:
    asked: list[bool] = []

    def make_room(*, at_start: bool) -> bool:
        asked.append(at_start)
        return len(asked) == 1

    opened = SqliteDatabase.open(tmp_path / "catalog.db", make_room=make_room)
    tries: list[int] = []

    def full(conn: Connection) -> str:
        tries.append(1)
        if len(tries) != 2:
            # What a statement or a commit finds on a full file system.
            raise sqlite3_error(sqlite3.SQLITE_FULL, conn)
        return "made"

    assert opened.write_sync(full) == "made"
    with pytest.raises(SpaceError):
        opened.write_sync(full)
    assert asked == [False, False]
    assert len(tries) == 3
    opened.close()


def sqlite3_error(code: int, _conn: Connection) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("made up")
    error.sqlite_errorcode = code
    return error


def test_the_trail_of_an_older_version_is_counted(tmp_path: Path) -> None:
    """Its entries had no size, and there were no sums."""
    path = tmp_path / "catalog.db"
    SqliteDatabase.open(path).close()
    connection = sqlite3.connect(path)
    for statement in (
        "DROP TRIGGER audit_usage_insert", "DROP TRIGGER audit_usage_delete", "DROP TABLE audit_usage",
        "DROP INDEX ix_audit_refused", "ALTER TABLE audit DROP COLUMN calls", "ALTER TABLE audit DROP COLUMN bytes",
        "UPDATE alembic_version SET version_num = '0013'", "DROP TABLE commit_mark",
        "DELETE FROM meta WHERE key = 'host_id'", "ALTER TABLE disk DROP COLUMN host_id",
        "ALTER TABLE disk DROP COLUMN backup_day", "DROP INDEX ix_snapshot_backup",
        *(f"DROP TRIGGER account_{name}" for name in (
            "usage_insert", "usage_delete", "usage_update", "savings_insert", "savings_delete", "savings_update"
        )),
        "DROP TRIGGER unpublished_snapshot", "ALTER TABLE snapshot DROP COLUMN backup_id",
        "DROP TABLE event", "DROP TRIGGER operation_step_first", "DROP TRIGGER operation_step_next",
        "DROP TRIGGER operation_steps_gone", "DROP TABLE operation_step",
        "DROP TABLE store_traffic", "DROP TABLE space_day", "DROP TABLE disk_day",
        "ALTER TABLE session DROP COLUMN deleted_at",
        "ALTER TABLE instance DROP COLUMN host_id", "ALTER TABLE operation DROP COLUMN host_id",
        "ALTER TABLE pack DROP COLUMN version", "ALTER TABLE snapshot DROP COLUMN versions",
        "ALTER TABLE disk DROP COLUMN encryption", "ALTER TABLE snapshot DROP COLUMN encrypted",
        "DROP INDEX ix_snapshot_policy", "ALTER TABLE snapshot DROP COLUMN policy_id",
        "ALTER TABLE snapshot DROP COLUMN slot", "ALTER TABLE snapshot DROP COLUMN policy_order",
        "DROP TABLE policy_run", "DROP TABLE policy_disk", "DROP TABLE policy_cursor", "DROP TABLE policy",
        "DROP TABLE tag",
        "DROP TABLE snapshot_share",
    ):  # fmt: skip
        connection.execute(statement).close()
    rows = [("1", "AKID", "CreateDisks", "r", "disk-1 中文", code, "::1") for code in ("OK", "OK", Refusal.BUSY)]
    connection.executemany(
        "INSERT INTO audit (at, account_id, secret_id, action, request_id, resource, code, source) "
        "VALUES (1.0, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    ).close()
    connection.commit()
    connection.close()
    database = SqliteDatabase.open(path)
    try:
        entries, total = database.read_sync(lambda conn: trail.find(conn, trail.TrailSelection(account_id=None)))
        assert (total, [entry.calls for entry in entries]) == (3, [1, 1, 1])
        before = database.read_sync(trail.usage)
        # The same as if this version had written them.
        again = [replace(entry, id=None) for entry in entries]
        database.write_sync(lambda conn: trail.append(conn, *again))
        after = database.read_sync(trail.usage)
        assert (after.entries, after.bytes) == (2 * before.entries, 2 * before.bytes)
        assert database.write_sync(lambda conn: trail.thin(conn, before, 2)) == 2
        entries, _ = database.read_sync(lambda conn: trail.find(conn, trail.TrailSelection(account_id=None)))
        assert {entry.code for entry in entries} == {"OK"}
    finally:
        database.close()

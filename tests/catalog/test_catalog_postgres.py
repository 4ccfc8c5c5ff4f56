"""What is PostgreSQL's alone: one writer over processes, commits of unknown outcome, databases that will not do."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, select, text, update
from sqlalchemy.exc import IntegrityError, InternalError

from drystone.catalog import accounts, meta, postgres, sessions, snapshots
from drystone.catalog.migrations import CatalogError, NewerSchemaError
from drystone.catalog.postgres import PostgresDatabase
from drystone.catalog.schema import commit_mark, metadata
from drystone.domain.errors import OutcomeUnknownError, RefusalError, UnavailableError
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.snapshot import SnapshotState
from tests import catalogs
from tests.catalog.catalog_values import OWNER, account, session, snapshot
from tests.catalog.cut_proxy import Cut, CutProxy
from tests.quiesce.databases import short_directory

RACES = 20
Opener = Callable[[], PostgresDatabase]
Reads = Callable[[Connection, Any], Any]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with catalogs.removed_after():
        yield catalogs.url_of(tmp_path / "catalog")


@pytest.fixture
def open_database(address: str) -> Iterator[Opener]:
    """Open the database once more, as another process would."""
    opened: list[PostgresDatabase] = []

    def open_one() -> PostgresDatabase:
        opened.append(PostgresDatabase.open(address))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def db(open_database: Opener) -> PostgresDatabase:
    database = open_database()
    database.write_sync(lambda conn: accounts.insert(conn, account(OWNER)))
    return database


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.002)


def somebody_waits() -> bool:
    """Whether a process waits for the writer's lock."""
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    return catalogs.server().query(query) != "0"


# --- one writer -----------------------------------------------------------------------------------------------------


class Race:
    """A session that opens on a snapshot, and a deletion that finds it pinned by nobody: one of the two must lose."""

    def __init__(self, number: int) -> None:
        self.snapshot = SnapshotId(f"snap-{number:08}")
        self.session = SessionId(f"{number:032}")
        self.looked = {"open": threading.Event(), "judge": threading.Event()}

    def stop(self, mine: str) -> None:
        """Stand between what is read and what is written until the other has read, or waits for the lock."""
        self.looked[mine].set()
        (other,) = (event for name, event in self.looked.items() if name != mine)
        wait_for(lambda: other.is_set() or somebody_waits())

    def open(self, conn: Connection, reads: Reads) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sessions, "snapshots", Stopping(reads, lambda: self.stop("open")))
            sessions.open(conn, session(self.session), [self.snapshot])

    def judge(self, conn: Connection, _reads: Reads) -> None:
        pinned = self.snapshot in sessions.pinned(conn)
        self.stop("judge")
        if not pinned:
            values = {"state": SnapshotState.DELETING}
            snapshots.compare_and_set(conn, self.snapshot, expected={"state": SnapshotState.NORMAL}, values=values)


class Stopping:
    """What `sessions` reads of snapshots, and a stop after it."""

    def __init__(self, reads: Reads, stop: Callable[[], None]) -> None:
        self._reads = reads
        self._stop = stop

    def get_many(self, conn: Connection, ids: Any) -> Any:
        found = self._reads(conn, ids)
        self._stop()
        return found


def both_win(ahead: PostgresDatabase, behind: PostgresDatabase, number: int, reads: Reads = snapshots.get_many) -> bool:
    """Race once; who begins first is another one each time. Return whether both won."""
    race = Race(number)
    ahead.write_sync(lambda conn: snapshots.insert(conn, snapshot(race.snapshot)))
    first, second = (race.open, race.judge) if number % 2 else (race.judge, race.open)
    name = "open" if number % 2 else "judge"
    thread = threading.Thread(target=lambda: ahead.write_sync(lambda conn: first(conn, snapshots.get_many)))
    thread.start()
    assert race.looked[name].wait(10)
    with contextlib.suppress(RefusalError):
        behind.write_sync(lambda conn: second(conn, reads))
    thread.join()
    row = ahead.read_sync(lambda conn: snapshots.get(conn, race.snapshot))
    assert row is not None
    return row.id in ahead.read_sync(sessions.pinned) and row.state is SnapshotState.DELETING


def test_a_session_and_a_deletion_never_both_win(db: PostgresDatabase, open_database: Opener) -> None:
    other = open_database()
    assert [number for number in range(RACES) if both_win(db, other, number)] == []


def test_without_the_lock_both_win(
    db: PostgresDatabase, open_database: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_database()
    monkeypatch.setattr(postgres, "lock", lambda _conn: None)
    assert [number for number in range(RACES) if both_win(db, other, number)] == list(range(RACES))


def test_with_the_lock_in_the_statement_that_reads_both_win(
    db: PostgresDatabase, open_database: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement sees what was committed before it began, however long it then waits."""
    other, real = open_database(), postgres.lock
    monkeypatch.setattr(postgres, "lock", lambda conn: None if conn.engine is other._writer else real(conn))

    def locked(conn: Connection, ids: Any) -> Any:
        (wanted,) = ids
        held = f"WITH held AS MATERIALIZED ({postgres.LOCK}) SELECT state FROM held, snapshot WHERE id = :id"
        state = conn.execute(text(held), {"id": wanted}).scalar_one()
        return {wanted: snapshot(wanted, state=SnapshotState(state))}

    judged_first = range(0, RACES, 2)
    assert [number for number in judged_first if both_win(db, other, number, locked)] == list(judged_first)


def test_no_increment_is_lost_among_processes(db: PostgresDatabase, open_database: Opener) -> None:
    def increment(conn: Connection) -> None:
        meta.put(conn, "n", str(int(meta.get(conn, "n") or 0) + 1))

    def many(database: PostgresDatabase) -> None:
        for _ in range(25):
            database.write_sync(increment)

    threads = [threading.Thread(target=many, args=(one,)) for one in (db, open_database(), open_database())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.read_sync(lambda conn: meta.get(conn, "n")) == "75"


def test_a_process_that_stands_still_in_a_transaction_loses_it(
    db: PostgresDatabase, open_database: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server frees its lock for the others; what it then commits is refused."""
    # Long enough for the others' transactions on a busy machine: the limit is theirs, too.
    monkeypatch.setitem(postgres._SESSION, "idle_in_transaction_session_timeout", 700)
    still, runs = open_database(), []

    def stand(conn: Connection) -> None:
        runs.append(meta.get(conn, "a"))
        meta.put(conn, "a", "still")
        db.write_sync(lambda other: meta.put(other, "a", f"run {len(runs)}"))

    with pytest.raises(UnavailableError, match="lost"):
        still.write_sync(stand)
    assert runs == [None, "run 1", "run 2"]
    assert db.read_sync(lambda conn: meta.get(conn, "a")) == "run 3"


# --- commits of unknown outcome ------------------------------------------------------------------------------------


@pytest.fixture
def proxy() -> Iterator[CutProxy]:
    with short_directory() as directory, CutProxy(directory, catalogs.server()) as made:
        yield made


@pytest.fixture
def cut_off(db: PostgresDatabase, address: str, proxy: CutProxy) -> Iterator[PostgresDatabase]:
    """The same database behind the proxy."""
    opened = PostgresDatabase.open(address.partition("?")[0] + f"?host={proxy.directory}")
    opened.write_sync(lambda conn: meta.put(conn, "n", "0"))
    yield opened
    opened.close()


class Increment:
    """Counts in the database, and how often it was run."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, conn: Connection) -> int:
        self.runs += 1
        number = int(meta.get(conn, "n") or 0) + 1
        meta.put(conn, "n", str(number))
        return number


def count(db: PostgresDatabase) -> str | None:
    return db.read_sync(lambda conn: meta.get(conn, "n"))


@pytest.mark.parametrize(("cut", "runs"), [(Cut.BEFORE, 2), (Cut.AFTER, 1)])
def test_a_commit_whose_answer_is_lost_is_made_once(
    db: PostgresDatabase, cut_off: PostgresDatabase, proxy: CutProxy, cut: Cut, runs: int
) -> None:
    for number in range(1, 6):
        increment, proxy.cut = Increment(), cut
        assert cut_off.write_sync(increment) == number
        assert increment.runs == runs
        assert count(db) == str(number)
    assert proxy.cuts == 5


@pytest.mark.parametrize("found", [1, 0])
def test_whoever_believes_the_wrong_outcome_is_found(
    db: PostgresDatabase, cut_off: PostgresDatabase, proxy: CutProxy, monkeypatch: pytest.MonkeyPatch, found: int
) -> None:
    """Planted: that a lost commit was never made, and that it always was."""
    monkeypatch.setattr(PostgresDatabase, "_was_committed", lambda _self, _number: bool(found))
    proxy.cut = Cut.BEFORE if found else Cut.AFTER
    assert cut_off.write_sync(Increment()) == (1 if found else 2)
    assert count(db) == ("0" if found else "2")


@contextlib.contextmanager
def stalled() -> Iterator[Callable[[], None]]:
    """Have the server wait in each commit for a standby that is not there, until told otherwise."""

    def standby(name: str) -> None:
        catalogs.run_statement(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        catalogs.run_statement("SELECT pg_reload_conf()")
        wait_for(lambda: catalogs.server().query("SHOW synchronous_standby_names") == name)

    standby("nobody")
    try:
        yield lambda: standby("")
    finally:
        standby("")


def commits_waiting() -> bool:
    return catalogs.server().query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != "0"


@pytest.mark.parametrize("look", ["with the lock", "without"])
def test_the_answer_is_asked_for_once_the_server_has_done_with_the_commit(
    db: PostgresDatabase, cut_off: PostgresDatabase, proxy: CutProxy, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """A server that is still at the commit does not show it; whoever looks without the lock (planted) counts twice."""
    increment, asked, real = Increment(), threading.Event(), PostgresDatabase._marked
    runs = 1 if look == "with the lock" else 2

    def marked(self: PostgresDatabase) -> int | None:
        asked.set()
        if look == "with the lock":
            return real(self)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(postgres, "lock", lambda _conn: None)
            return real(self)

    monkeypatch.setattr(PostgresDatabase, "_marked", marked)
    with stalled() as go_on:
        proxy.cut = Cut.IN
        thread = threading.Thread(target=cut_off.write_sync, args=(increment,))
        thread.start()
        wait_for(asked.is_set)
        wait_for(somebody_waits)
        assert commits_waiting()
        go_on()
        thread.join()
    assert increment.runs == runs
    assert count(db) == str(runs)


def test_an_outcome_that_cannot_be_asked_for_is_unknown_and_what_follows_is_right(
    db: PostgresDatabase, cut_off: PostgresDatabase, proxy: CutProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "UNKNOWN_SECONDS", 0.2)
    made = 0
    for cut in (Cut.AFTER, Cut.BEFORE, Cut.AFTER):
        proxy.cut, proxy.closes = cut, True
        with pytest.raises(OutcomeUnknownError):
            cut_off.write_sync(Increment())
        proxy.closed = proxy.closes = False
        made += cut is Cut.AFTER
        assert count(db) == str(made)
    for cut in (Cut.BEFORE, Cut.AFTER):
        # Its mark may be any of those that were not answered for.
        proxy.cut = cut
        made += 1
        assert cut_off.write_sync(Increment()) == made
        assert count(db) == str(made)


def test_a_database_that_has_lost_commits_says_nothing_of_the_last(
    db: PostgresDatabase, cut_off: PostgresDatabase, proxy: CutProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a standby that was behind and took over: that the mark is not there then proves nothing."""
    real = PostgresDatabase._marked

    def marked(self: PostgresDatabase) -> int | None:
        db.write_sync(lambda conn: conn.execute(update(commit_mark).values(number=0)))
        return real(self)

    monkeypatch.setattr(PostgresDatabase, "_marked", marked)
    increment, proxy.cut = Increment(), Cut.AFTER
    with pytest.raises(OutcomeUnknownError, match="lost earlier ones"):
        cut_off.write_sync(increment)
    assert increment.runs == 1


def end_connections() -> None:
    catalogs.server().query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
        "AND pid <> pg_backend_pid()"
    )


def test_connections_that_the_server_ends_are_made_anew(db: PostgresDatabase) -> None:
    db.write_sync(lambda conn: meta.put(conn, "n", "0"))
    assert count(db) == "0"
    end_connections()
    assert count(db) == "0"
    assert db.write_sync(Increment()) == 1
    runs: list[int] = []

    def ended_within(conn: Connection) -> int:
        runs.append(Increment()(conn))
        if len(runs) == 1:
            end_connections()
        return Increment()(conn)

    assert db.write_sync(ended_within) == 3
    assert runs == [2, 2]
    assert count(db) == "3"


def test_a_server_that_ends_in_a_commit_has_made_it_or_not(db: PostgresDatabase) -> None:
    """It is told to end while the commit waits, and answers neither yes nor no."""
    db.write_sync(lambda conn: meta.put(conn, "n", "0"))
    increment = Increment()
    with stalled() as go_on:
        thread = threading.Thread(target=db.write_sync, args=(increment,))
        thread.start()
        wait_for(commits_waiting)
        end_connections()
        go_on()
        thread.join()
    assert (increment.runs, count(db)) == (1, "1")


def test_a_statement_that_failed_and_was_passed_over_fails_the_transaction(db: PostgresDatabase) -> None:
    """PostgreSQL answers its commit as if it were made, and rolls back."""

    def passing_over(conn: Connection) -> None:
        meta.put(conn, "a", "1")
        with contextlib.suppress(IntegrityError):
            accounts.insert(conn, account(OWNER))

    with pytest.raises(InternalError):
        db.write_sync(passing_over)
    assert db.read_sync(lambda conn: meta.get(conn, "a")) is None


# --- opening --------------------------------------------------------------------------------------------------------


def structure(conn: Connection) -> set[tuple[object, ...]]:
    """Return every column, index, constraint, trigger and function of a catalog."""
    queries = (
        (
            "SELECT table_name, column_name, data_type, is_nullable, is_identity FROM information_schema.columns "
            "WHERE table_schema = 'public'"
        ),
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
        (
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace"
        ),
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    )
    return {tuple(row) for query in queries for row in conn.exec_driver_sql(query)}


def test_migrations_make_exactly_the_schema_of_a_new_catalog(db: PostgresDatabase) -> None:
    with catalogs.removed_after():
        address = catalogs.url_of(Path("/oldest"), empty=False)
        engine = create_engine(address)
        with engine.begin() as conn:
            conn.exec_driver_sql((Path(__file__).parent / "postgresql_0015.sql").read_text())
            conn.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
            conn.exec_driver_sql("INSERT INTO alembic_version VALUES ('0015')")
            # As triggers of that version: they are there while the tables change, and go at the end.
            conn.exec_driver_sql(
                "CREATE FUNCTION of_old() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
            )
            conn.exec_driver_sql(
                "CREATE TRIGGER of_old AFTER UPDATE OF state ON snapshot FOR EACH ROW EXECUTE FUNCTION of_old()"
            )
        engine.dispose()
        migrated = PostgresDatabase.open(address)
        assert migrated.read_sync(structure) == db.read_sync(structure)
        migrated.close()
    assert db.read_sync(lambda conn: compare_metadata(MigrationContext.configure(conn), metadata)) == []


def test_marks_of_the_newest_writers_are_kept(
    db: PostgresDatabase, open_database: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "MARKS_KEPT", 2)
    second, third = open_database(), open_database()
    query = select(commit_mark.c.writer).order_by(commit_mark.c.opened)
    assert db.read_sync(lambda conn: conn.execute(query).scalars().all()) == [second._name, third._name]
    # One that is open for longer than that many others writes its anew.
    db.write_sync(lambda conn: meta.put(conn, "a", "1"))
    assert db._name in db.read_sync(lambda conn: conn.execute(query).scalars().all())


def test_a_new_catalog_is_made_once_by_several_processes() -> None:
    with catalogs.removed_after(), ThreadPoolExecutor(4) as pool:
        address = catalogs.url_of(Path("/new"), empty=False)
        opened = list(pool.map(PostgresDatabase.open, [address] * 4))
        hosts = {one.read_sync(lambda conn: meta.get(conn, "host_id")) for one in opened}
        for one in opened:
            one.close()
    assert len(hosts) == 1
    assert hosts != {None}


def test_a_newer_schema_is_refused(db: PostgresDatabase, address: str) -> None:
    db.write_sync(lambda conn: conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerSchemaError, match="9999"):
        PostgresDatabase.open(address)


def test_a_database_that_sorts_by_a_language_is_refused() -> None:
    with catalogs.removed_after():
        address = catalogs.url_of(Path("/de"), empty=False, options="LOCALE_PROVIDER icu ICU_LOCALE 'de' LOCALE 'C'")
        with pytest.raises(CatalogError, match="LOCALE 'C'"):
            PostgresDatabase.open(address)


def test_a_server_that_is_not_there_is_unavailable_and_no_password_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        PostgresDatabase.open(f"postgresql+psycopg://me:topsecret@/catalog?host={tmp_path}")
    assert "topsecret" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_who_only_reads_may_think_between_two_statements(
    open_database: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds no lock. A writer that stands holds up all others, and is cut off."""
    monkeypatch.setitem(postgres._SESSION, postgres.STANDING, 100)
    db = open_database()

    def thinks(conn: Connection) -> int:
        conn.execute(text("SELECT 1"))
        time.sleep(0.3)
        return int(conn.execute(text("SELECT 2")).scalar_one())

    assert db.read_sync(thinks) == 2
    with pytest.raises(UnavailableError):
        db.write_sync(thinks)

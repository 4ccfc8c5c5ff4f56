"""Real databases in a real machine: what opens, what is damaged, and what a guest has its database do.

One machine opens all of them, as partitions of one disk; it takes minutes without KVM.
"""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drystone.domain.proof import Finding, ProofStep
from tests.images import MIB, copied, disk_of, made, mounted, overwrite
from tests.prove.machines import opened
from tests.quiesce.databases import MariaDb, PostgreSql, short_directory

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="servers are started as their own users, which needs root"),
]
OPENS, DAMAGED, NOT_PROVEN = Finding.OPENS, Finding.DAMAGED, Finding.NOT_PROVEN
MARK = str(1_900_000_000 + os.getpid())
"""How long a guest's command sleeps: whoever sees it among the host's processes sees what escaped."""


def _postgresql(base: Path) -> dict[str, Path]:
    image = made(base / "postgresql", "ext4", 256 * MIB)
    with mounted(image, base / "mount") as where:
        server = PostgreSql(where / "main" / "15", base / "run-postgresql")
        server.install()
        try:
            server.start("-c", "fsync=off", "-c", "max_wal_size=64MB")
            server.query("CREATE TABLE t AS SELECT n, repeat('x', 200) AS text FROM generate_series(1, 5000) AS n")
            server.query("CREATE INDEX i ON t (n)")
            server.query("CHECKPOINT")
            server.query("INSERT INTO t SELECT n, 'y' FROM generate_series(5001, 5100) AS n")
            subprocess.run(["sync", "-f", str(where)], check=True)
            images = {"PostgreSQL crashed": copied(image, "postgresql-crashed")}
            images["PostgreSQL log"] = copied(image, "postgresql-log")
            file = server.data / server.query("SELECT pg_relation_filepath('t')")
        finally:
            server.stop()
        subprocess.run(["sync", "-f", str(where)], check=True)
        images |= {
            f"PostgreSQL {name}": copied(image, f"postgresql-{name}")
            for name in ("stopped", "file", "no log", *ATTACKS)
        }
        overwrite(file, 20 * 8192 + 4096, 4096)
        subprocess.run(["sync", "-f", str(where)], check=True)
        images["PostgreSQL torn"] = copied(image, "postgresql-torn")
        os.truncate(server.data / "global" / "pg_control", 100)
    for how in ("log", "file", "no log"):
        with mounted(images[f"PostgreSQL {how}"], base / "mount") as where:
            PostgreSql(where / "main" / "15", base / "run-postgresql").harm(how)
    for name, (files, _, _) in ATTACKS.items():
        with mounted(images[f"PostgreSQL {name}"], base / "mount") as where:
            for file_name, text in files.items():
                (where / "main" / "15" / file_name).write_text(text)
    return {**images, "PostgreSQL control": image}


ATTACKS = {
    # What a guest puts into its data directory; what that shows, and in which words.
    "recovery": (
        {
            "recovery.signal": "",
            "postgresql.auto.conf": f"restore_command = 'sleep {MARK}'\nrecovery_end_command = 'sleep {MARK}'\n",
        },
        NOT_PROVEN, "restore_command",
    ),
    "libraries": (
        {
            "postgresql.auto.conf": "".join(
                f"{which}_preload_libraries = '/nowhere/evil.so'\n" for which in ("shared", "local", "session")
            )
            + f"archive_mode = on\narchive_command = 'sleep {MARK}'\n"
            + f"ssl = on\nssl_passphrase_command = 'sleep {MARK}'\n"
        },
        OPENS, "nothing to recover",
    ),
}  # fmt: skip


def _mariadb(base: Path) -> dict[str, Path]:
    image = made(base / "mariadb", "ext4", 256 * MIB)
    with mounted(image, base / "mount") as where:
        server = MariaDb(where / "mysql", base / "run-mariadb")
        server.install()
        try:
            server.start()
            server.query("CREATE DATABASE d; CREATE TABLE d.t (n INT PRIMARY KEY, x CHAR(200))")
            server.query("USE d; INSERT INTO t SELECT seq, REPEAT('x', 200) FROM seq_1_to_5000")
            server.query("CREATE TABLE d.a (n INT) ENGINE=Aria; INSERT INTO d.a VALUES (1)")
            assert server.query("SELECT COUNT(*) FROM d.t, d.a") == "5000"
            subprocess.run(["sync", "-f", str(where)], check=True)
            images = {"MariaDB crashed": copied(image, "mariadb-crashed"), "MariaDB log": copied(image, "mariadb-log")}
            server.query("INSERT INTO mysql.plugin VALUES ('evil', '../../../../../nowhere/evil.so')")
            server.query(
                "CREATE EVENT d.e ON SCHEDULE EVERY 1 SECOND DO SELECT LOAD_FILE('/etc/shadow') INTO OUTFILE '/tmp/x'"
            )
        finally:
            server.stop()
        (server.data / "my.cnf").write_text("[mysqld]\ninit_file=/etc/shadow\nplugin-load-add=/nowhere/evil.so\n")
        subprocess.run(["sync", "-f", str(where)], check=True)
        images |= {f"MariaDB {name}": copied(image, f"mariadb-{name}") for name in ("plugins", "file", "no log")}
        overwrite(server.data / "d" / "t.ibd", 20 * 16384 + 8192, 8192)
        subprocess.run(["sync", "-f", str(where)], check=True)
        images["MariaDB torn"] = copied(image, "mariadb-torn")
        overwrite(server.data / "ibdata1", 5 * 16384 + 4096, 16384)
    for how in ("log", "file", "no log"):
        with mounted(images[f"MariaDB {how}"], base / "mount") as where:
            MariaDb(where / "mysql", base / "run-mariadb").harm(how)
    return {**images, "MariaDB system": image}


@contextlib.contextmanager
def watching() -> Iterator[list[str]]:
    """Look all the while for a guest's command among this host's processes."""
    seen: list[str] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    line = entry.read_bytes()
                    if MARK.encode() in line:
                        seen.append(line.decode(errors="replace"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def databases() -> dict[str, ProofStep]:
    """What one machine says of several databases; of all of them the file systems are whole."""
    with short_directory(memory=True) as base:
        images = {**_mariadb(base), **_postgresql(base)}
        disk_of(images, base / "disk")
        for image in images.values():
            image.unlink()
        with watching() as seen:
            steps = opened(base / "disk", base / "s", databases=("mariadb", "postgresql"), seconds_max=3000.0)
    assert seen == []
    print(*steps, sep="\n")
    about = [step for step in steps if step.title.startswith(("MariaDB", "PostgreSQL"))]
    assert all(step.finding is OPENS for step in steps if step not in about), steps
    return dict(zip(images, about, strict=True))


@pytest.mark.parametrize(
    ("name", "expected", "detail"),
    [
        ("MariaDB crashed", OPENS, "recovered from its log"), ("MariaDB torn", DAMAGED, ""),
        ("MariaDB system", DAMAGED, ""), ("MariaDB plugins", OPENS, "nothing to recover"),
        ("PostgreSQL crashed", OPENS, "recovered from its log"), ("PostgreSQL stopped", OPENS, "nothing to recover"),
        ("MariaDB log", DAMAGED, ""), ("MariaDB file", DAMAGED, ""), ("MariaDB no log", NOT_PROVEN, "ib_logfile0"),
        ("PostgreSQL log", DAMAGED, "checkpoint"), ("PostgreSQL file", DAMAGED, "pg_amcheck"),
        ("PostgreSQL no log", NOT_PROVEN, "pg_wal"),
        ("PostgreSQL torn", DAMAGED, "pg_amcheck"), ("PostgreSQL control", DAMAGED, "pg_control"),
        *((f"PostgreSQL {name}", finding, detail) for name, (_, finding, detail) in ATTACKS.items()),
    ],
)  # fmt: skip
def test_each_database_is_told_apart(
    databases: dict[str, ProofStep], name: str, expected: Finding, detail: str
) -> None:
    step = databases[name]
    assert (step.finding, detail in step.detail) == (expected, True), step
    assert step.title == {"M": "MariaDB in /mysql", "P": "PostgreSQL in /main/15"}[name[0]]
    print(f"{name}: {step.seconds:.1f} s")


def test_a_database_that_waits_for_ever_is_told() -> None:
    """S192, in a real machine: what came before took longer than it may be idle, and was not cut off."""
    idle_s = 45.0
    with short_directory(memory=True) as base:
        image = made(base / "postgresql", "ext4", 256 * MIB)
        with mounted(image, base / "mount") as where:
            server = PostgreSql(where / "main", base / "run")
            server.install()
            try:
                server.start("-c", "fsync=off")
                server.query(
                    "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS "
                    "$$ BEGIN PERFORM pg_sleep(1000000); END $$"
                )
                server.query("CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()")
            finally:
                server.stop()
        steps = opened(image, base / "s", databases=("postgresql",), seconds_max=3000.0, idle_seconds_max=idle_s)
    assert (steps[-1].title, steps[-1].finding) == ("machine", NOT_PROVEN), steps
    assert "it hangs" in steps[-1].detail
    assert [step.finding for step in steps[:-1]] == [OPENS] * 5


def test_a_guest_that_forks_and_fills_memory_hits_its_machine_only() -> None:
    """An event trigger, which the checker's own extension fires: code of the guest, as its server's superuser."""
    program = f"b() {{ yes {MARK} | tail -n 1000000000 & b & b; }}; b; sleep {MARK}"
    function = f"BEGIN COPY (SELECT 1) TO PROGRAM '{program}'; END"
    with short_directory(memory=True) as base:
        image = made(base / "postgresql", "ext4", 256 * MIB)
        with mounted(image, base / "mount") as where:
            server = PostgreSql(where / "main", base / "run")
            server.install()
            try:
                server.start("-c", "fsync=off")
                server.query(f"CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS $$ {function} $$")
                server.query("CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()")
                assert server.query("SELECT count(*) FROM pg_event_trigger") == "1"
            finally:
                server.stop()
        with watching() as seen:
            steps = opened(image, base / "s", databases=("postgresql",), seconds_max=180.0, memory_mib=512)
    assert seen == []
    assert steps[-1].finding is NOT_PROVEN, steps

"""Steps against real servers, where they are installed: a lock that is held, that cannot be had, that always ends."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drystone.domain.quiesce import Step, StepKind
from drystone.quiesce.hold import Hold, holding
from drystone.quiesce.plan import Plan

SECONDS = 120.0
"""How long anything may take on a loaded machine."""
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin"
MARIADBD = shutil.which("mariadbd", path=PATH)
POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)


def ended(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    process.kill()
    process.wait()


def plan(step: Step) -> Plan:
    return Plan(steps=(step,), seconds_max=SECONDS, stop_at_failure=True, devices=(), never=(), path=PATH)


class Server:
    """A MariaDB server of its own, on a socket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "s"
        self.options = directory / "options.cnf"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MARIADBD is not None
        base = Path(MARIADBD).resolve().parent.parent
        data = self.directory / "data"
        install = shutil.which("mariadb-install-db", path=PATH)
        assert install is not None
        subprocess.run(
            [install, "--no-defaults", f"--basedir={base}", f"--datadir={data}", "--user=root", "--skip-test-db",
             "--auth-root-authentication-method=normal"],
            check=True, capture_output=True, env={"PATH": PATH},
        )  # fmt: skip
        self.process = subprocess.Popen(
            [MARIADBD, "--no-defaults", f"--basedir={base}", f"--datadir={data}", f"--socket={self.socket}",
             "--user=root", "--skip-networking", f"--log-bin={data}/bin", "--innodb-fast-shutdown=2",
             f"--lc-messages-dir={base}/share/mysql", f"--log-error={self.directory}/error.log",
             f"--pid-file={self.directory}/pid", "--skip-log-bin-compress"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.write_options("")
        deadline = time.monotonic() + SECONDS
        while self.query("SELECT 1") != "1":
            assert time.monotonic() < deadline, (self.directory / "error.log").read_text()[-2000:]
            time.sleep(0.1)
        self.query("CREATE DATABASE d; CREATE TABLE d.t (n INT)")

    def write_options(self, password: str) -> None:
        self.options.touch(mode=0o600)
        self.options.write_text(f"[client]\nsocket={self.socket}\nuser=root\npassword={password}\n")

    def query(self, text: str) -> str:
        ran = subprocess.run(
            ["mariadb", f"--defaults-extra-file={self.options}", "--batch", "--skip-column-names", "-e", text],
            capture_output=True, text=True, check=False, env={"PATH": PATH},
        )  # fmt: skip
        return ran.stdout.strip()

    def step(self, seconds: float = SECONDS) -> Step:
        return Step(kind=StepKind.MARIADB, option_file=str(self.options), seconds_max=seconds)

    def inserting(self) -> threading.Thread:
        thread = threading.Thread(target=self.query, args=("INSERT INTO d.t VALUES (1)",))
        thread.start()
        return thread

    def count(self) -> int:
        return int(self.query("SELECT COUNT(*) FROM d.t"))


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Server]:
    if MARIADBD is None or os.geteuid() != 0:
        pytest.skip("mariadb-server is not installed")
    with tempfile.TemporaryDirectory(prefix="drystone-") as directory:
        server = Server(Path(directory))
        try:
            server.start()
            yield server
        finally:
            if server.process is not None:
                ended(server.process)


def test_mariadb_is_locked_until_the_thaw(mariadb: Server) -> None:
    async def run() -> Hold:
        async with holding(plan(mariadb.step())) as hold:
            assert hold.held == [True], hold.events
            before = mariadb.count()
            writer = mariadb.inserting()
            await asyncio.to_thread(writer.join, 1.0)
            assert writer.is_alive()
            assert mariadb.count() == before
            assert await hold.thaw()
            await asyncio.to_thread(writer.join, SECONDS)
            assert mariadb.count() == before + 1
            return hold

    (locked, *_) = asyncio.run(run()).events
    assert "bin.0" in locked.detail


def test_mariadb_unlocks_when_the_freezer_is_killed(mariadb: Server) -> None:
    async def run() -> None:
        async with holding(plan(mariadb.step())) as hold:
            before = mariadb.count()
            watchdog = hold._process.pid
            (freezer,) = Path(f"/proc/{watchdog}/task/{watchdog}/children").read_text().split()
            writer = mariadb.inserting()
            os.kill(int(freezer), signal.SIGKILL)
            await asyncio.to_thread(writer.join, SECONDS)
            assert mariadb.count() == before + 1
            assert not await hold.thaw()

    asyncio.run(run())


def test_mariadb_says_why_there_is_no_lock(mariadb: Server) -> None:
    async def reason(step: Step) -> str:
        async with holding(plan(step)) as hold:
            assert hold.held == [False]
            return hold.events[0].detail

    # A transaction of somebody else's that locks the table: users wait for as long as the step may take, not longer.
    blocker = threading.Thread(target=mariadb.query, args=("LOCK TABLES d.t WRITE; SELECT SLEEP(15)",))
    blocker.start()
    try:
        deadline = time.monotonic() + SECONDS
        while "SLEEP" not in mariadb.query("SHOW FULL PROCESSLIST"):
            assert time.monotonic() < deadline
        began = time.monotonic()
        assert "no lock" in asyncio.run(reason(mariadb.step(seconds=3)))
        assert time.monotonic() - began < 14
    finally:
        blocker.join()
    mariadb.query("SET PASSWORD FOR root@localhost = PASSWORD('right')")
    mariadb.write_options("wrong")
    assert "Access denied" in asyncio.run(reason(mariadb.step()))
    mariadb.write_options("right")
    nobody = Step(kind=StepKind.MARIADB, option_file=str(mariadb.directory / "nothing"), seconds_max=SECONDS)
    assert "nothing" in asyncio.run(reason(nobody))


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Path]:
    if POSTGRES is None or os.geteuid() != 0:
        pytest.skip("postgresql is not installed")
    user = pwd.getpwnam("postgres").pw_name
    with tempfile.TemporaryDirectory(prefix="drystone-") as name:
        directory = Path(name)
        shutil.chown(directory, user)
        data = directory / "data"
        subprocess.run(
            [POSTGRES, "--no-sync", "-A", "trust", "-D", str(data)], check=True, capture_output=True, user=user, cwd="/"
        )
        process = subprocess.Popen(
            [str(POSTGRES.parent / "postgres"), "-D", str(data), "-k", name, "-c", "listen_addresses="],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd="/",
        )  # fmt: skip
        try:
            deadline = time.monotonic() + SECONDS
            while not (directory / ".s.PGSQL.5432").exists():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield directory
        finally:
            process.send_signal(signal.SIGQUIT)
            ended(process)


def test_postgresql_checkpoints_and_tells_its_position(postgresql: Path) -> None:
    async def run(connection: str) -> Hold:
        step = Step(kind=StepKind.POSTGRESQL, connection=connection, seconds_max=SECONDS)
        async with holding(plan(step)) as hold:
            await hold.thaw()
            return hold

    done = asyncio.run(run(f"host={postgresql} user=postgres dbname=postgres"))
    assert done.held == [True], done.events
    high, _, low = done.events[0].detail.splitlines()[-1].partition("/")
    assert int(high, 16) >= 0
    assert int(low, 16) > 0
    down = asyncio.run(run(f"host={postgresql}/nowhere user=postgres dbname=postgres"))
    assert down.held == [False]
    assert "nowhere" in down.events[0].detail

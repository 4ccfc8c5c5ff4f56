"""Steps against real servers: a lock that is held, that cannot be had, that always ends."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drystone.domain.quiesce import Step, StepKind
from drystone.quiesce.hold import Hold, holding
from drystone.quiesce.plan import Plan
from tests.quiesce.databases import PATH, SECONDS, MariaDb, PostgreSql, short_directory

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="servers are started as their own users, which needs root"),
]

SLEEPING = "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'"


def plan(step: Step) -> Plan:
    return Plan(steps=(step,), seconds_max=SECONDS, stop_at_failure=True, devices=(), never=(), path=PATH)


class Server(MariaDb):
    """A MariaDB server with a table that is written to."""

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
    with short_directory() as directory:
        server = Server(directory / "data", directory / "run")
        server.install()
        try:
            server.start()
            server.query("CREATE DATABASE d; CREATE TABLE d.t (n INT)")
            yield server
        finally:
            server.stop()


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


@pytest.mark.parametrize("loss", ["session", "server"])
def test_mariadb_notices_that_its_lock_was_lost(mariadb: Server, loss: str) -> None:
    """Its client waits for input, and does not hear of the session's end."""

    async def run() -> None:
        async with holding(plan(mariadb.step())) as hold:
            assert hold.held == [True]
            if loss == "session":
                mariadb.query(
                    "KILL " + mariadb.query("SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Sleep'")
                )
            else:
                mariadb.stop(signal.SIGKILL)
                mariadb.start()
            mariadb.query("INSERT INTO d.t VALUES (1)")
            assert not await hold.thaw()
            assert "the session with the lock had ended before" in [event.detail for event in hold.events]

    asyncio.run(run())


def test_mariadb_says_why_there_is_no_lock(mariadb: Server) -> None:
    async def reason(step: Step) -> str:
        async with holding(plan(step)) as hold:
            assert hold.held == [False]
            return hold.events[0].detail

    # A transaction of somebody else's that locks the table: users wait for as long as the step may take, not longer.
    blocker = threading.Thread(target=mariadb.query, args=("LOCK TABLES d.t WRITE; SELECT SLEEP(600)",))
    blocker.start()
    try:
        deadline = time.monotonic() + SECONDS
        while not (sleeping := mariadb.query(SLEEPING)):
            assert time.monotonic() < deadline
        assert "no lock" in asyncio.run(reason(mariadb.step(seconds=3)))
        assert mariadb.query(SLEEPING) == sleeping, "it waited for the lock's end"
    finally:
        mariadb.query(f"KILL QUERY {sleeping}")
        blocker.join()
    mariadb.query("SET PASSWORD FOR root@localhost = PASSWORD('right')")
    mariadb.write_options("wrong")
    assert "Access denied" in asyncio.run(reason(mariadb.step()))
    mariadb.write_options("right")
    nobody = Step(kind=StepKind.MARIADB, option_file=str(mariadb.scratch / "nothing"), seconds_max=SECONDS)
    assert "nothing" in asyncio.run(reason(nobody))


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSql]:
    with short_directory() as directory:
        server = PostgreSql(directory / "data", directory / "run")
        server.install()
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)


def test_postgresql_checkpoints_and_tells_its_position(postgresql: PostgreSql) -> None:
    async def run(connection: str) -> Hold:
        step = Step(kind=StepKind.POSTGRESQL, connection=connection, seconds_max=SECONDS)
        async with holding(plan(step)) as hold:
            await hold.thaw()
            return hold

    done = asyncio.run(run(postgresql.connection))
    assert done.held == [True], done.events
    high, _, low = done.events[0].detail.splitlines()[-1].partition("/")
    assert int(high, 16) >= 0
    assert int(low, 16) > 0
    down = asyncio.run(run(f"host={postgresql.scratch}/nowhere user=postgres dbname=postgres"))
    assert down.held == [False]
    assert "nowhere" in down.events[0].detail

"""The watchdog with commands: whatever is killed, what was frozen is thawed within the limit."""

import asyncio
import contextlib
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drystone.domain.quiesce import Step, StepKind
from drystone.quiesce.hold import Hold, QuiesceError, holding
from drystone.quiesce.plan import THAW, Plan, decode_event, decode_plan, encode_plan

SECONDS = 60.0
"""How long anything may take on a loaded machine."""


class World:
    """Two things that can be frozen: files that are there while they are."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"

    def program(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\ncd {self.directory}\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def step(self, name: str, freeze: str = "", seconds: float = SECONDS) -> Step:
        freeze = freeze or f"touch {name}.frozen; echo freeze {name} >> log"
        return Step(
            kind=StepKind.COMMAND, seconds_max=seconds,
            freeze=(self.program(f"{name}-freeze", freeze),),
            thaw=(self.program(f"{name}-thaw", f"rm -f {name}.frozen; echo thaw {name} >> log"),),
        )  # fmt: skip

    def frozen(self) -> set[str]:
        return {path.stem for path in self.directory.glob("*.frozen")}

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}: {self.lines()}"
            time.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def plan(*steps: Step, seconds: float = SECONDS, stop: bool = False) -> Plan:
    return Plan(
        steps=steps, seconds_max=seconds, stop_at_failure=stop, devices=(), never=(),
        path="/usr/sbin:/usr/bin:/sbin:/bin",
    )  # fmt: skip


def pids(hold: Hold) -> tuple[int, int]:
    """Return watchdog and freezer."""
    watchdog = hold._process.pid
    (freezer,) = Path(f"/proc/{watchdog}/task/{watchdog}/children").read_text().split()
    return watchdog, int(freezer)


def test_steps_are_held_in_order_and_let_go_in_reverse(world: World) -> None:
    async def run() -> None:
        async with holding(
            plan(world.step("a"), world.step("b", "touch b.frozen; echo freeze b >> log; echo at 7"))
        ) as hold:
            assert hold.held == [True, True]
            assert world.frozen() == {"a", "b"}
            assert [event.detail for event in hold.events if event.name == "freeze"] == ["", "at 7"]
            assert await hold.thaw()
            assert world.frozen() == set()
            assert await hold.thaw()

    asyncio.run(run())
    assert world.lines() == ["freeze a", "freeze b", "thaw b", "thaw a"]


def test_a_plan_survives_its_line(world: World) -> None:
    wanted = plan(world.step("a"), Step(kind=StepKind.FILESYSTEM, mount="/mnt"))
    assert decode_plan(encode_plan(wanted)) == wanted


@pytest.mark.parametrize("stop", [True, False])
def test_a_step_that_fails(world: World, *, stop: bool) -> None:
    async def run() -> Hold:
        steps = (world.step("a"), world.step("b", "echo no room; exit 3"), world.step("c"))
        async with holding(plan(*steps, stop=stop)) as hold:
            assert hold.held == [True, False, not stop]
            (failed,) = [event for event in hold.events if not event.ok]
            assert failed.detail.endswith("ended with 3: no room")
            assert await hold.thaw()
            return hold

    asyncio.run(run())
    assert world.frozen() == set()
    assert ("freeze c" in world.lines()) == (not stop)


@pytest.mark.clock
def test_a_hanging_step_is_given_up_within_its_time_with_its_children(world: World) -> None:
    async def run() -> None:
        step = world.step("a", "touch a.frozen; sleep 1000 & echo $! > child; wait", seconds=3.0)
        async with holding(plan(step)) as hold:
            assert hold.held == [False]
            await hold.thaw()

    began = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - began < SECONDS
    assert world.frozen() == set()
    child = int((world.directory / "child").read_text())
    world.wait(lambda: not _runs(child), "the hanging child's end")


@pytest.mark.clock
def test_the_time_is_up(world: World) -> None:
    async def run() -> None:
        async with holding(plan(world.step("a"), seconds=6.0)) as hold:
            await asyncio.to_thread(world.wait, lambda: not world.frozen(), "the thaw")
            # Too late: whoever thinks that it is still held must learn that it was not.
            assert not await hold.thaw()

    asyncio.run(run())


@pytest.mark.clock
def test_the_time_is_up_while_a_step_hangs(world: World) -> None:
    async def run() -> None:
        async with holding(plan(world.step("a"), world.step("b", "touch b.frozen; sleep 1000"), seconds=6.0)):
            raise AssertionError("not everything was held")

    with pytest.raises(QuiesceError):
        asyncio.run(run())
    assert world.frozen() == set()
    assert world.lines()[-1] == "thaw a"


@pytest.mark.parametrize("victim", ["watchdog", "freezer"])
def test_one_of_the_two_is_killed_while_all_is_held(world: World, victim: str) -> None:
    async def run() -> None:
        async with holding(plan(world.step("a"), world.step("b"))) as hold:
            watchdog, freezer = pids(hold)
            os.kill(watchdog if victim == "watchdog" else freezer, signal.SIGKILL)
            await asyncio.to_thread(world.wait, lambda: not world.frozen(), "the thaw")
            assert not await hold.thaw()

    asyncio.run(run())


@pytest.mark.clock
@pytest.mark.parametrize("victim", ["watchdog", "freezer", "both but the step"])
def test_killed_in_the_middle_of_a_step(world: World, victim: str) -> None:
    """The step that was under way must not freeze anything after the thaw."""
    gate = world.directory / "gate"
    slow = world.step("b", "echo begun >> log; while ! test -e gate; do sleep 0.05; done; touch b.frozen")

    async def run() -> None:
        task_plan = plan(world.step("a"), slow, seconds=20.0)
        process = await asyncio.create_subprocess_exec(
            *_command(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        assert process.stdin is not None
        process.stdin.write(encode_plan(task_plan))
        await asyncio.to_thread(world.wait, lambda: "begun" in world.lines(), "the second step")
        (freezer,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if victim == "freezer":
            os.kill(int(freezer), signal.SIGKILL)
        elif victim == "watchdog":
            os.kill(process.pid, signal.SIGKILL)
        else:
            # Drystone dies: its end of the pipe closes.
            process.stdin.close()
        if victim == "watchdog":
            gate.touch()  # The freezer lives, and finishes its step before it looks up.
        await asyncio.to_thread(world.wait, lambda: "thaw a" in world.lines() and not world.frozen(), "the thaw")
        gate.touch()
        await process.wait()

    asyncio.run(run())
    # A command that was left running would freeze now that its gate is open.
    time.sleep(0.3)
    assert world.frozen() == set()


POINTS = ("freeze a before", "freeze a after", "freeze b before", "freeze b after", "held",
          "thaw b before", "thaw b after", "thaw a before", "thaw a after")  # fmt: skip


def test_what_was_lost_unnoticed_was_not_held(world: World) -> None:
    """S43: the freezer dies with the sessions that it held; the watchdog hears of it only together with the thaw."""

    async def run() -> None:
        async with holding(plan(world.step("a"))) as hold:
            watchdog, freezer = pids(hold)
            os.kill(watchdog, signal.SIGSTOP)
            os.kill(freezer, signal.SIGKILL)
            asyncio.get_running_loop().call_later(0.1, os.kill, watchdog, signal.SIGCONT)
            assert not await hold.thaw()

    asyncio.run(run())
    assert world.frozen() == set()


@pytest.mark.clock
@pytest.mark.parametrize("victim", ["drystone", "watchdog", "freezer"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_point(world: World, point: str, victim: str) -> None:
    """S42: each program stops before and after its effect if that is the point, says so; then somebody is killed."""
    limit = 30.0
    (world.directory / "stop").write_text(point)
    pause = (
        'pause() { echo "$1" >> points; test "$(cat stop)" = "$1" || return 0; '
        "while ! test -e gate; do sleep 0.02; done; }\n"
    )

    def program(verb: str, name: str, effect: str) -> tuple[str]:
        text = f'{pause}pause "{verb} {name} before"; {effect} {name}.frozen; pause "{verb} {name} after"'
        return (world.program(f"{name}-{verb}", text),)

    steps = [
        Step(
            kind=StepKind.COMMAND, seconds_max=limit, freeze=program("freeze", name, "touch"),
            thaw=program("thaw", name, "rm -f"),
        )
        for name in ("a", "b")
    ]  # fmt: skip
    points = world.directory / "points"

    async def run() -> None:
        process = await asyncio.create_subprocess_exec(
            *_command(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(encode_plan(plan(*steps, seconds=limit)))
        if point == "held" or point.startswith("thaw"):
            while decode_event(await process.stdout.readline()).name != "held":
                pass
        if point.startswith("thaw"):
            process.stdin.write(THAW)
        if point != "held":
            await asyncio.to_thread(
                world.wait, lambda: points.exists() and point in points.read_text().splitlines(), point
            )
        (freezer,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        began = time.monotonic()
        if victim == "drystone":
            process.stdin.close()
        else:
            os.kill(process.pid if victim == "watchdog" else int(freezer), signal.SIGKILL)
        (world.directory / "gate").touch()
        await asyncio.to_thread(
            world.wait, lambda: not _runs(process.pid) and not _runs(int(freezer)), "the end of both"
        )
        assert world.frozen() == set()
        assert time.monotonic() - began < limit
        # Everything that was touched was let go of, also what had not come to its end.
        assert "thaw a after" in points.read_text().splitlines()
        process.stdin.close()
        await process.wait()

    asyncio.run(run())


def test_drystone_is_killed_and_commands_get_a_clean_environment(world: World) -> None:
    """A process that holds something dies by SIGKILL: the watchdog, which it started, thaws."""
    step = world.step("a", "touch a.frozen; env > environment; ls /proc/self/fd > descriptors")
    os.environ["SECRET_OF_TEST"] = "x"
    try:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                asyncio.run(_hold_for_ever(plan(step)))
            os._exit(0)
        world.wait(lambda: world.frozen() == {"a"} and (world.directory / "descriptors").exists(), "the freeze")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    finally:
        del os.environ["SECRET_OF_TEST"]
    world.wait(lambda: not world.frozen(), "the thaw")
    environment = (world.directory / "environment").read_text()
    assert "SECRET_OF_TEST" not in environment
    names = {line.partition("=")[0] for line in environment.splitlines()}
    assert names <= {"PATH", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}


async def _hold_for_ever(wanted: Plan) -> None:
    async with holding(wanted):
        await asyncio.sleep(1000)


def _command() -> tuple[str, ...]:
    return (sys.executable, "-m", "drystone.quiesce.watchdog")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, and between that and the reading
        return False

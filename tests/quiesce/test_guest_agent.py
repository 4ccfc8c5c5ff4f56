"""The guest agent's steps: against the real agent where its protocol counts, a fake one where it misbehaves."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drystone.domain.quiesce import Step, StepKind
from drystone.quiesce import guest_agent
from drystone.quiesce.guest_agent import GuestAgent, _Channel
from drystone.quiesce.hold import Hold, holding
from drystone.quiesce.plan import Plan
from drystone.quiesce.program import StepError

SECONDS = 60.0
QEMU_GA = shutil.which("qemu-ga", path=os.environ.get("PATH", "") + ":/usr/sbin")


def step(path: Path, seconds: float = SECONDS) -> Step:
    return Step(kind=StepKind.GUEST_AGENT, socket=str(path), seconds_max=seconds)


def say(connection: socket.socket, text: bytes) -> None:
    """Answer; whether anybody still listens is all the same to an agent."""
    with contextlib.suppress(OSError):
        connection.sendall(text)


class Agent:
    """An agent that follows the protocol, and can be told not to. It freezes nothing but itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frozen = False
        self.heard: list[str] = []
        self.answers: dict[str, Callable[[], bytes]] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connection = connection
            # A channel that was used before has the end of somebody else's answer in it.
            with contextlib.suppress(OSError), connection, connection.makefile("rb") as channel:
                say(connection, b'{"return": {}}\n{"re')
                for line in channel:
                    question = json.loads(line.lstrip(b"\xff"))
                    self.heard.append(question["execute"])
                    answer = self._answer(question)
                    if not answer:
                        break
                    say(connection, answer)

    def _answer(self, question: dict[str, dict[str, int]]) -> bytes:
        name = str(question["execute"])
        if name in self.answers:
            return self.answers[name]()
        if name == "guest-sync-delimited":
            # An older question's answer comes first.
            stale = b'\xff{"return": 1}\n'
            return stale + b"\xff" + json.dumps({"return": question["arguments"]["id"]}).encode() + b"\n"
        result: object = "frozen" if self.frozen else "thawed"
        if name == "guest-fsfreeze-freeze":
            self.frozen, result = True, 2
        elif name == "guest-fsfreeze-thaw":
            self.frozen, result = False, 2 * self.frozen
        return json.dumps({"return": result}).encode() + b"\n"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path / "qga.sock")
    try:
        yield made
    finally:
        made.close()


def held(wanted: Step, *, path: str = "/usr/bin:/bin", stop: bool = True) -> Hold:
    async def run() -> Hold:
        plan = Plan(steps=(wanted,), seconds_max=SECONDS, stop_at_failure=stop, devices=(), never=(), path=path)
        async with holding(plan) as hold:
            await hold.thaw()
            return hold

    return asyncio.run(run())


def test_frozen_and_thawed(agent: Agent) -> None:
    hold = held(step(agent.path))
    assert hold.held == [True]
    assert hold.events[0].detail == "2 file systems of the guest"
    assert not agent.frozen
    sync, status = "guest-sync-delimited", "guest-fsfreeze-status"
    assert agent.heard == [sync, "guest-fsfreeze-freeze", status, sync, "guest-fsfreeze-thaw", status]
    assert hold.events[-1].ok


@pytest.mark.parametrize(
    ("command", "answer", "reason"),
    [
        ("guest-fsfreeze-freeze", b"not json\n", "no JSON"),
        ("guest-fsfreeze-freeze", b'["return"]\n', "no result"),
        ("guest-fsfreeze-freeze", b'{"return": 0}\n', "froze no file system"),
        ("guest-fsfreeze-freeze", b'{"error": {"class": "GenericError", "desc": "no permission"}}\n', "no permission"),
        ("guest-fsfreeze-freeze", b"", "closed"),
        ("guest-fsfreeze-status", b'{"return": "thawed"}\n', "says that it is thawed"),
        ("guest-sync-delimited", b"\xff" + b"x" * (2 << 20), "does not come to an end"),
    ],
)
def test_an_agent_that_says_something_else(agent: Agent, command: str, answer: bytes, reason: str) -> None:
    agent.answers[command] = lambda: answer
    with pytest.raises(StepError, match=reason):
        GuestAgent(step(agent.path)).freeze()


@pytest.mark.clock
def test_an_agent_that_hangs_is_given_up_in_time_and_told_to_thaw(agent: Agent) -> None:
    """It froze and does not say so: the thaw is sent all the same."""

    def freezes_and_hangs() -> bytes:
        agent.frozen = True
        # Until whoever asked has gone.
        agent.connection.settimeout(SECONDS)
        agent.connection.recv(1)
        return b""

    agent.answers["guest-fsfreeze-freeze"] = freezes_and_hangs
    began = time.monotonic()
    hold = held(step(agent.path, seconds=2.0))
    assert hold.held == [False]
    assert "did not answer in time" in hold.events[0].detail
    assert time.monotonic() - began < SECONDS
    assert "guest-fsfreeze-thaw" in agent.heard
    assert not agent.frozen


@pytest.mark.clock
def test_a_thaw_is_sent_behind_a_freeze_that_outlasts_it(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left to send it when the freeze comes to its end."""
    hang = threading.Event()

    def freezes_late() -> bytes:
        hang.wait(SECONDS)
        agent.frozen = True
        return b'{"return": 2}\n'

    agent.answers["guest-fsfreeze-freeze"] = freezes_late
    monkeypatch.setattr(guest_agent, "THAW_SECONDS_MAX", 0.5)
    action = GuestAgent(step(agent.path, seconds=3.0))
    for act in (action.freeze, action.thaw):
        with pytest.raises(StepError, match="did not answer in time"):
            act()
    assert "guest-fsfreeze-thaw" not in agent.heard
    hang.set()
    deadline = time.monotonic() + SECONDS
    while "guest-fsfreeze-thaw" not in agent.heard or agent.frozen:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_guest_that_was_thawed_before_was_not_held(agent: Agent) -> None:
    async def run() -> None:
        plan = Plan(
            steps=(step(agent.path),), seconds_max=SECONDS, stop_at_failure=True, devices=(), never=(), path="/bin"
        )
        async with holding(plan) as hold:
            agent.frozen = False
            assert not await hold.thaw()
            assert "0 of 2 file systems of the guest were still frozen" in [event.detail for event in hold.events]

    asyncio.run(run())


def test_nobody_is_there(tmp_path: Path) -> None:
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(stale))
    file = tmp_path / "file"
    file.touch()
    for path, reason in (
        (stale, "nobody serves"), (tmp_path / "nothing", "nobody serves"), (file, "is not a socket")
    ):  # fmt: skip
        with pytest.raises(StepError, match=reason):
            GuestAgent(step(path)).freeze()
    # A guest that was never asked is not asked to thaw: the other steps' word keeps its worth.
    hold = held(step(stale), stop=False)
    assert [event.name for event in hold.events] == ["freeze", "held", "thaw", "end"]
    assert hold.events[2].ok


def test_the_watchdog_thaws_a_guest_when_the_freezer_is_killed(agent: Agent) -> None:
    async def run() -> None:
        plan = Plan(
            steps=(step(agent.path),), seconds_max=SECONDS, stop_at_failure=True, devices=(), never=(), path="/bin"
        )
        async with holding(plan) as hold:
            assert agent.frozen
            watchdog = hold._process.pid
            (freezer,) = Path(f"/proc/{watchdog}/task/{watchdog}/children").read_text().split()
            os.kill(int(freezer), 9)
            assert not await hold.thaw()

    asyncio.run(run())
    assert not agent.frozen


def test_libvirt_goes_through_virsh(tmp_path: Path) -> None:
    domain = Step(kind=StepKind.LIBVIRT, domain="db one", seconds_max=SECONDS)
    assert "virsh is not installed" in held(domain, path=str(tmp_path)).events[0].detail
    virsh = tmp_path / "virsh"
    virsh.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/asked
case "$5" in
  *guest-fsfreeze-freeze*) touch {tmp_path}/frozen; echo '{{"return":3}}' ;;
  *guest-fsfreeze-thaw*) rm -f {tmp_path}/frozen; echo '{{"return":3}}' ;;
  *) test -e {tmp_path}/frozen && echo '{{"return":"frozen"}}' || echo '{{"return":"thawed"}}' ;;
esac
"""
    )
    virsh.chmod(virsh.stat().st_mode | stat.S_IXUSR)
    hold = held(domain, path=f"{tmp_path}:/usr/bin:/bin")
    assert hold.held == [True]
    assert hold.events[0].detail == "3 file systems of the guest"
    assert hold.events[-1].ok
    assert not (tmp_path / "frozen").exists()
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("--quiet qemu-agent-command --domain=db one --timeout=")


def test_a_domain_that_does_not_answer_is_thawed_when_it_does(tmp_path: Path) -> None:
    """libvirt sends nothing while the agent owes an answer: the thaw is repeated, also when all have gone."""
    virsh = tmp_path / "virsh"
    virsh.write_text(
        f"""#!/bin/sh
case "$5" in
  *guest-fsfreeze-freeze*) touch {tmp_path}/frozen; exit 1 ;;
esac
test -e {tmp_path}/awake || exit 1
case "$5" in
  *guest-fsfreeze-thaw*) rm -f {tmp_path}/frozen; echo '{{"return":3}}' ;;
  *) echo '{{"return":"thawed"}}' ;;
esac
"""
    )
    virsh.chmod(virsh.stat().st_mode | stat.S_IXUSR)
    hold = held(Step(kind=StepKind.LIBVIRT, domain="db", seconds_max=SECONDS), path=f"{tmp_path}:/usr/bin:/bin")
    assert not hold.events[-1].ok
    assert (tmp_path / "frozen").exists()
    (tmp_path / "awake").touch()
    deadline = time.monotonic() + SECONDS
    while (tmp_path / "frozen").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_real_agent_answers_and_is_never_told_to_freeze_this_machine(tmp_path: Path) -> None:
    """With freezing switched off in the agent: it would freeze the file systems of whoever runs it, which is us."""
    assert QEMU_GA is not None, "./dev test installs qemu-guest-agent"
    path = tmp_path / "ga.sock"
    refused = "guest-fsfreeze-freeze,guest-fsfreeze-freeze-list,guest-fsfreeze-thaw"
    process = subprocess.Popen(
        [QEMU_GA, "-m", "unix-listen", "-p", str(path), "-t", str(tmp_path), "-f", str(tmp_path / "pid"),
         f"--block-rpcs={refused}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS
        while not path.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # Before anything else: this agent cannot freeze.
        with _Channel(str(path), time.monotonic() + SECONDS) as channel:
            channel.synchronise()
            told = channel.ask("guest-info")
        assert isinstance(told, dict)
        enabled = {command["name"]: command["enabled"] for command in told["supported_commands"]}
        assert not any(enabled[name] for name in refused.split(","))
        with pytest.raises(StepError, match=r"(?i)guest-fsfreeze-freeze has been disabled|not allowed|blocked"):
            GuestAgent(step(path)).freeze()
        # It speaks on: the refusal was an answer, not a broken channel.
        with pytest.raises(StepError, match=r"(?i)guest-fsfreeze-thaw has been disabled|not allowed|blocked"):
            GuestAgent(step(path)).thaw()
    finally:
        process.kill()
        process.wait()

"""The host's side with emulators that are none: whatever one says or does, it is bounded, and it ends.

What takes the emulator's place here has what a guest would have that broke out of its machine: the emulator's rights.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drystone.domain.errors import UnavailableError
from drystone.domain.proof import Finding, ProofStep, conclusion
from drystone.prove import appliance, machine, prover
from drystone.prove.prover import Prover
from tests.prove.machines import PATH, opened, served, settings
from tests.quiesce.databases import SECONDS, short_directory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="machines run as users of their own, which needs root")
BEGIN = """#!/usr/bin/python3
import os, re, socket, sys, time
line = " ".join(sys.argv)
channel = int(re.search(r"id=channel,fd=([0-9]+)", line)[1])
say = lambda text: os.write(channel, text)
tell = lambda finding, title, detail="": say(f"{finding}\\t0.000\\t{title}\\t{detail}\\n".encode())
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may read, with a clone."""
    with short_directory() as directory:
        (directory / "image").write_bytes(bytes(1 << 20))
        (directory / "private").mkdir(mode=0o700)
        yield directory


def path_with(place: Path, script: str) -> str:
    """Return a PATH on which the emulator is a script."""
    emulator = place / "bin" / machine.architecture().emulator
    emulator.parent.mkdir(exist_ok=True)
    emulator.write_text(BEGIN + textwrap.dedent(script))
    emulator.chmod(0o755)
    return f"{emulator.parent}:{PATH}"


def run(place: Path, script: str, **changed: Any) -> tuple[ProofStep, ...]:
    path = path_with(place, script)
    steps = opened(place / "image", place / "private" / "s", path=path, **changed)
    assert children() == []
    return steps


def children() -> list[str]:
    """Return what of this process's is still a machine."""
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in found if b"drystone.seconds" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_good_one(place: Path) -> None:
    steps = run(place, 'say(b"hello\\n"); tell("opens", "a", "b"); say(b"end\\n"); time.sleep(1000)')
    assert steps == (ProofStep(title="a", finding=Finding.OPENS, seconds=0.0, detail="b"),)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('print("Kernel panic", flush=True)', "it ended before it began: Kernel panic"),
        ('say(b"hello\\n"); print("no memory \\x1b[2J", flush=True)', "before it had tried everything: no memory"),
        ('say(b"opens\\n")', "it ended before it began"),
        ('say(b"hello\\n"); say(b"fine\\n"); time.sleep(1000)', "does not speak as a prover does"),
        ('say(b"hello\\n")\nwhile True: say(bytes(1 << 16))', "a line of over 1024 bytes"),
        ('say(b"hello\\n")\nwhile True: tell("opens", "x" * 200, "y" * 400)', "over 1000 steps"),
        ("while True: os.write(1, bytes(1 << 16))", "its console said over 4 MiB"),
        ("while True: os.write(2, b'x\\n' * 1000)", "its console said over 4 MiB"),
    ],
)
def test_whatever_it_says_is_bounded_and_nothing_is_proven_by_it(place: Path, script: str, reason: str) -> None:
    steps = run(place, script)
    finding, why = conclusion(steps)
    assert finding is Finding.NOT_PROVEN
    assert reason in why, why
    assert all(" " <= character <= "~" for character in why)
    assert len(steps) <= 1001


BEGUN = 'say(b"hello\\n"); tell("opens", "a")'
"""It begins within a second or two, also on a loaded machine."""


@pytest.mark.parametrize(
    ("script", "bounds", "reason"),
    [
        ("time.sleep(1000)", {"seconds_max": 1.0}, "together took over"),
        (f"{BEGUN}; time.sleep(1000)", {"seconds_max": 4.0}, "together took over"),
        (f"{BEGUN}\nwhile True: say(b'working\\n'); time.sleep(0.1)", {"seconds_max": 4.0}, "together took over"),
        ("time.sleep(1000)", {"idle_seconds_max": 1.0}, "it had not begun after 1 s"),
        (f"{BEGUN}; time.sleep(1000)", {"idle_seconds_max": 4.0}, "it hangs: for 0.0666667 minutes no step ended"),
        (f"{BEGUN}\nwhile True: say(b'working\\n')", {}, "10000 times that it works"),
    ],
    ids=["no hello", "too long", "too long at work", "no hello, idle", "hangs", "says too often that it works"],
)
def test_it_ends_when_its_time_is_up(place: Path, script: str, bounds: dict[str, float], reason: str) -> None:
    """S166, S192; what was told before stays."""
    began = time.monotonic()
    steps = run(place, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + script, **bounds)
    assert time.monotonic() - began < SECONDS
    finding, why = conclusion(steps)
    assert (finding, reason in why) == (Finding.NOT_PROVEN, True), why
    assert [step.title for step in steps] == (["a", "machine"] if "hello" in script else ["machine"])


def test_a_long_step_that_reads_is_not_taken_for_one_that_hangs(place: Path) -> None:
    """S192: it takes longer than a machine may be idle."""
    script = f"""
    {BEGUN}
    for _ in range(60):
        time.sleep(0.1)
        say(b"working\\n")
    tell("opens", "b")
    say(b"end\\n")
    """
    assert [step.title for step in run(place, script, idle_seconds_max=4.0)] == ["a", "b"]


def test_a_user_is_not_given_again_before_its_machine_is_gone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S165, where a machine that was ended hangs in the kernel: it is one that ends later here."""
    monkeypatch.setattr(prover, "DEATH_SECONDS_MAX", 0.05)
    monkeypatch.setattr(machine, "USERS_EACH", 2)
    stuck: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda pid, _signal: stuck.append(pid))

    async def nothing(_step: ProofStep) -> None: ...

    async def users() -> None:
        made = Prover(settings=settings(), environment={"PATH": path_with(place, 'say(b"fine\\n"); time.sleep(1000)')})
        seen = []
        try:
            for _ in range(2):
                with made.user() as user:
                    seen.append(user)
                    asked = prover.Asked(user=user, clone=place / "private" / "s", export="clone", databases=())
                    assert conclusion(await made.prove(asked, nothing))[0] is Finding.NOT_PROVEN
            assert len(stuck) == len(set(seen)) == 2
            with pytest.raises(UnavailableError, match="still there"), made.user():
                pass
        finally:
            for pid in stuck:
                os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(SECONDS):
            while True:
                with contextlib.suppress(UnavailableError), made.user() as user:
                    assert user in seen
                    break
                await asyncio.sleep(0.01)
            for process in made._last.values():
                await process.wait()

    with served(place / "image", place / "private" / "s"):
        asyncio.run(users())


def test_who_breaks_out_of_the_machine_has_no_rights_and_no_network(place: Path) -> None:
    """S165: as the emulator's user, with its limits, it tries what comes to mind."""
    secret = place / "secret"
    secret.write_text("of the host's")
    secret.chmod(0o600)
    (place / "private" / "disk").write_text("another one's")
    (place / "open").mkdir(mode=0o777)
    (place / "open").chmod(0o777)
    script = f"""
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    def tries(title, act):
        try:
            tell("damaged", title, str(act())[:100])
        except (OSError, MemoryError) as error:
            tell("opens", title, type(error).__name__)
    def network():
        with socket.socket() as one:
            one.settimeout(5)
            one.connect(("127.0.0.1", {_port()}))
    def write():
        with open("{place}/open/x", "w") as file:
            file.write("x")
    def forks():
        for _ in range(1000):
            if os.fork() == 0:
                time.sleep(1000)
    def abstract():
        with socket.socket(socket.AF_UNIX) as one:
            one.connect("\\0drystone-test")
    def vsock():
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as one:
            one.settimeout(5)
            one.connect((2, 22))
    def clone():
        with socket.socket(socket.AF_UNIX) as one:
            one.connect("{place}/private/s")
    def regain():
        os.setuid(0)
    def files():
        held = []
        try:
            while len(held) < 1000:
                held.append(os.open("/dev/null", 0))
        finally:
            for one in held:
                os.close(one)
    say(b"hello\\n")
    tries("shadow", lambda: open("/etc/shadow").read())
    tries("secret", lambda: open("{secret}").read())
    tries("disk", lambda: open("{place}/private/disk").read())
    tries("socket", clone)
    tries("network", network)
    tries("abstract", abstract)
    tries("vsock", vsock)
    tries("write", write)
    tries("root", regain)
    tries("server", lambda: os.kill({os.getpid()}, 0))
    tries("memory", lambda: bytearray(8 << 30))
    tries("descriptors", files)
    tries("mount", lambda: os.listdir(f"/proc/{os.getpid()}/fd"))
    status = open("/proc/self/status").read()
    for name, value in (("Uid", r"19[0-9]{{8}}"), ("Gid", r"19[0-9]{{8}}"), ("Groups", ""), ("CapEff", "0+"),
                        ("CapBnd", "0+"), ("NoNewPrivs", "1")):
        first = re.search(rf"^{{name}}:[ \\t]*(\\S*)", status, re.MULTILINE)[1]
        tell("opens" if re.fullmatch(value, first) else "damaged", name, first)
    numbers = [name for name in os.listdir("/proc/self/fd")]
    tell("opens" if len(numbers) <= 9 else "damaged", "descriptors", " ".join(numbers))
    tell("opens" if resource.getrlimit(resource.RLIMIT_CPU)[0] > 0 else "damaged", "processor")
    tries("forks", forks)
    say(b"end\\n")
    time.sleep(1000)
    """
    with _listening():
        steps = run(place, script)
    assert [step for step in steps if step.finding is not Finding.OPENS] == []
    assert len(steps) == 22
    deadline = time.monotonic() + SECONDS
    while _of_user(machine.users(os.getpid(), 2)):
        assert time.monotonic() < deadline, "a child of it is left"
        time.sleep(0.02)


def _of_user(users: range) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            text = entry.read_text()
            if int(text.partition("Uid:")[2].split()[0]) in users and "State:\tZ" not in text:
                found.append(entry.parent.name)
    return found


_SERVER: list[socket.socket] = []


def _port() -> int:
    server = socket.create_server(("127.0.0.1", 0))
    _SERVER.append(server)
    return int(server.getsockname()[1])


class _listening:  # noqa: N801 - used as a word
    def __enter__(self) -> None:
        self._abstract = socket.socket(socket.AF_UNIX)
        self._abstract.bind("\0drystone-test")
        self._abstract.listen()

    def __exit__(self, *_: object) -> None:
        self._abstract.close()
        for server in _SERVER:
            server.close()


def test_it_dies_with_whoever_started_it(place: Path) -> None:
    """S166: the server is killed, and nobody is there to end the machine."""
    path = path_with(place, 'say(b"hello\\n"); tell("opens", str(os.getpid())); time.sleep(1000)')
    program = (
        "import sys; from pathlib import Path; from tests.prove.machines import opened\n"
        "from drystone.prove import prover\n"
        "from drystone.prove.wire import decode_step\n"
        "prover.decode_step = lambda line: (print(decode_step(line).title, flush=True), decode_step(line))[1]\n"
        f"opened(Path({str(place / 'image')!r}), Path({str(place / 'private' / 's')!r}), path={path!r})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={"PATH": PATH, "PYTHONPATH": f".:{appliance.PACKAGE.parent}"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert pid not in {os.getpid(), process.pid}
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + SECONDS
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)


def test_a_processor_that_promises_what_it_does_not_keep(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KVM hangs: emulation takes its place, and KVM is not tried again."""
    (place / "kvm").touch()
    monkeypatch.setattr(prover, "KVM", place / "kvm")
    monkeypatch.setattr(prover, "KVM_SECONDS_MAX", 1.0)
    script = """
    if "-accel kvm" in line:
        time.sleep(1000)
    say(b"hello\\n"); tell("opens", "tcg" if "-accel tcg" in line else "?"); say(b"end\\n")
    time.sleep(1000)
    """
    made = Prover(settings=settings(kvm=True), environment={"PATH": path_with(place, script)})
    for number in range(2):
        steps = opened(place / "image", place / "private" / f"s{number}", prover=made)
        assert [step.title for step in steps] == ["tcg"]
        assert not made._kvm
    script = 'say(b"hello\\n"); tell("opens", "kvm" if "-accel kvm" in line else "?"); say(b"end\\n"); time.sleep(1000)'
    works = Prover(settings=settings(kvm=True), environment={"PATH": path_with(place, script)})
    assert [step.title for step in opened(place / "image", place / "private" / "s3", prover=works)] == ["kvm"]


def test_one_that_hangs_holds_up_no_other(place: Path) -> None:
    script = 'say(b"hello\\n"); line.count("=hang") or say(b"end\\n"); time.sleep(1000)'
    environment = {"PATH": path_with(place, script)}

    async def both() -> list[str]:
        made = Prover(settings=settings(), environment=environment)
        ended: list[str] = []
        users: list[int] = []

        async def one(name: str) -> None:
            async def note(_step: ProofStep) -> None: ...

            with made.user() as user:
                users.append(user)
                asked = prover.Asked(user=user, clone=place / "private" / "s", export=name, databases=())
                await made.prove(asked, note)
            ended.append(name)

        async with asyncio.TaskGroup() as tasks:
            hanging = tasks.create_task(one("hang"))
            for number in range(3):
                await one(f"clone{number}")
            hanging.cancel()
        assert len(set(users)) == 2
        return ended

    with served(place / "image", place / "private" / "s"):
        assert asyncio.run(both()) == ["clone0", "clone1", "clone2"]
    assert children() == []


@pytest.mark.parametrize("missing", ["emulator", "kernel", "packer", "clone"])
def test_what_is_missing_proves_nothing(place: Path, missing: str) -> None:
    """Never damaged, never good: not proven, and which package it takes."""
    everything = {name: name for name in ("prlimit", "nice", "unshare", "setpriv", "dpkg-query", "sqfstar", "qemu-nbd")}
    kind = machine.architecture()
    everything[kind.emulator] = kind.emulator
    if missing == "emulator":
        del everything[kind.emulator]
    if missing == "packer":
        del everything["sqfstar"]
    (place / "few").mkdir()
    for name in everything:
        found = next(Path(folder, name) for folder in PATH.split(":") if Path(folder, name).exists())
        (place / "few" / name).symlink_to(found)
    changed: dict[str, Any] = {"kernels": place} if missing == "kernel" else {}
    if missing == "clone":
        made = Prover(settings=settings(), environment={"PATH": PATH})

        async def run_without() -> tuple[ProofStep, ...]:
            async def note(_step: ProofStep) -> None: ...

            asked = prover.Asked(user=machine.USER_BASE, clone=place / "nothing", export="clone", databases=())
            return await made.prove(asked, note)

        steps = asyncio.run(run_without())
    else:
        steps = opened(place / "image", place / "private" / "s", path=str(place / "few"), **changed)
    (step,) = steps
    assert step.finding is Finding.NOT_PROVEN
    assert {"emulator": kind.package, "kernel": kind.kernel_package, "packer": "squashfs-tools", "clone": "No such"}[
        missing
    ] in step.detail

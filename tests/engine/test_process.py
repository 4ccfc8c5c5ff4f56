"""Processes that outlive the control plane: found by what they are, started with systemd or without."""

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drystone.domain.errors import Refusal, RefusalError, UnavailableError
from drystone.domain.ids import InstanceId
from drystone.engine import descriptors, process
from drystone.engine.process import Detached
from drystone.service.rows.quotas import check_descriptors

DAEMON = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(600)"


@pytest.fixture(autouse=True)
def systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has found out of systemd is not known to the next."""
    monkeypatch.setattr(process, "_systemd", process._Systemd())


@pytest.fixture
def started() -> Iterator[list[Detached]]:
    """What a test starts is ended with it."""
    made: list[Detached] = []
    yield made
    for one in made:
        asyncio.run(one.end())


@contextmanager
def running(*words: str, cwd: Path) -> Iterator[int]:
    """Run a program; yield its pid once it is that program."""
    child = subprocess.Popen(words, cwd=cwd)
    try:
        while not Path(f"/proc/{child.pid}/cmdline").read_bytes().startswith(b"sleep"):
            assert child.poll() is None
            time.sleep(0.01)
        yield child.pid
    finally:
        child.kill()
        child.wait()


def start(directory: Path, path: str | None = None, program: str = DAEMON, *, alone: bool = False) -> Detached:
    """Start a daemon that makes `ready` where it runs."""
    return asyncio.run(
        process.start(
            (sys.executable, "-c", program, "ready"), directory=directory, log_file=directory.with_suffix(".log"),
            ready=directory / "ready", environment={"PATH": path or os.environ["PATH"]}, alone=alone,
        )
    )  # fmt: skip


def test_found_under_every_name_and_without_a_pid_file(tmp_path: Path, started: list[Detached]) -> None:
    """S103."""
    run = tmp_path / "a b,c" / "run"
    run.parent.mkdir()
    one = start(run)
    started.append(one)
    (tmp_path / "link").symlink_to(run.parent)
    for name in (run, tmp_path / "link" / "run", run / ".." / "run"):
        found = process.adopt(name)
        assert found is not None
        assert (found.pid, found.directory) == (one.pid, run)
    (run / "pid").unlink()
    found = process.adopt(run)
    assert found is not None
    assert found.pid == one.pid
    moved = tmp_path / "moved"
    run.rename(moved)
    found = process.adopt(moved)
    assert found is not None
    assert (found.pid, found.directory) == (one.pid, moved)
    assert found.near(tmp_path / "store" / "nbd.sock") == Path("../store/nbd.sock")
    # Another is never started beside it, and its files stay.
    (moved / "nbd.sock").touch()
    with pytest.raises(UnavailableError, match=f"process {one.pid} runs in"):
        start(moved)
    assert (moved / "nbd.sock").exists()
    run.mkdir()
    assert process.adopt(run) is None


def test_a_shell_in_the_directory_and_a_pid_of_another_are_not_taken_for_it(tmp_path: Path) -> None:
    for words in (["sleep", "600"], ["sh", "-c", f"exec sleep 600 # --pidfile {tmp_path}/pid"]):
        with running(*words, cwd=tmp_path) as other:
            (tmp_path / "pid").write_text(f"{other}\n")
            assert process.adopt(tmp_path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="scopes are for root")
@pytest.mark.parametrize(
    ("script", "scoped"),
    [
        ('while [ $1 != -- ]; do shift; done; shift; exec env SCOPED=1 "$@"', True),
        ("echo Failed to connect to bus >&2; exit 1", False),
        ("sleep 600", False),
        ("trap '' TERM; while :; do sleep 0.1; done", False),
    ],
)  # fmt: skip
def test_systemd_is_used_if_it_answers(
    tmp_path: Path, started: list[Detached], monkeypatch: pytest.MonkeyPatch, script: str, *, scoped: bool
) -> None:
    monkeypatch.setattr(process, "SYSTEMD", tmp_path)
    monkeypatch.setattr(process, "SCOPE_SECONDS_MAX", 1.0)
    tool = tmp_path / "bin" / "systemd-run"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    path = f"{tool.parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    began = time.monotonic()
    one = start(tmp_path / "run", path)
    started.append(one)
    assert time.monotonic() - began < 10.0
    assert (b"SCOPED=1" in Path(f"/proc/{one.pid}/environ").read_bytes().split(b"\0")) is scoped
    # None is left of the try.
    running = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    assert [pid for pid in running if process._runs_in(pid, tmp_path / "run")] == [one.pid]


@pytest.mark.skipif(os.geteuid() != 0, reason="scopes are for root")
def test_a_systemd_that_hangs_is_waited_for_once(
    tmp_path: Path, started: list[Detached], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Daemons start one after the other: hundreds at a boot would take minutes."""
    tool = tmp_path / "bin" / "systemd-run"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho >> '{tmp_path}/asked'\nsleep 600\n")
    tool.chmod(0o755)
    monkeypatch.setattr(process, "SYSTEMD", tmp_path)
    monkeypatch.setattr(process, "SCOPE_SECONDS_MAX", 0.5)
    path = f"{tool.parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    for number in range(4):
        if number == 3:
            monkeypatch.setattr(process._systemd, "_not_before", time.monotonic())  # Ten minutes have passed.
        started.append(start(tmp_path / f"run{number}", path))
    assert (tmp_path / "asked").read_text() == "\n\n"


def test_all_processes_are_gone_through_once_for_all_directories(
    tmp_path: Path, started: list[Detached], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start after a reboot has hundreds of stale directories; thousands of processes run."""
    started.append(start(tmp_path / "run"))
    (tmp_path / "run" / "pid").write_text("1\n")
    stale = [tmp_path / f"ins-{number}" for number in range(20)]
    for directory in stale:
        directory.mkdir()
        (directory / "pid").write_text(f"{os.getpid()}\n")
    places = process.places()
    monkeypatch.setattr(process, "places", lambda: pytest.fail("gone through again"))
    assert [process.adopt(directory, places) for directory in stale] == [None] * 20
    found = process.adopt(tmp_path / "run", places)
    assert found is not None
    assert found.pid == started[0].pid
    assert process.adopt(tmp_path / "none", places) is None
    # With the pid file it is not needed at all, and neither where the caller has looked.
    (tmp_path / "run" / "pid").write_text(f"{found.pid}\n")
    assert process.adopt(tmp_path / "run") == found
    started.append(start(tmp_path / "new", alone=True))


def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="did not start: no luck"):
        start(tmp_path / "run", program="import sys; sys.exit('no luck')")


def test_the_last_descriptors_are_given_to_no_disk(tmp_path: Path) -> None:
    """S104."""
    with running("sleep", "600", cwd=tmp_path) as child:
        used = len(list(Path(f"/proc/{child}/fd").iterdir()))
        _soft, hard = resource.prlimit(child, resource.RLIMIT_NOFILE)
        for more in (0, 1, 5):
            limit = used + descriptors.RESERVE + descriptors.PER_DISK * more
            resource.prlimit(child, resource.RLIMIT_NOFILE, (limit, hard))
            assert descriptors.disks_more(child) == more
    with pytest.raises(RefusalError, match="2 more disks, not for 3: raise the server's limit") as refused:
        check_descriptors(InstanceId("ins-00000001"), adding=3, more=2)
    assert refused.value.kind == Refusal.INSTANCE_FULL
    check_descriptors(InstanceId("ins-00000001"), adding=2, more=2)


def test_a_server_raises_its_limit() -> None:
    code = (
        "import resource as r; from drystone.engine.descriptors import raise_limit; h = r.getrlimit(7)[1];"
        "r.setrlimit(7, (64, h)); raise_limit(); assert r.getrlimit(7) == (h, h)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

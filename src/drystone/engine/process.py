"""Starting processes that outlive the control plane, and finding them again.

Each runs in a directory of its own, has a mark in its environment, and is known by these two (S103): the kernel keeps
both for as long as it runs, whatever name its directory is reached by or was given since. The pid file only says where
to look first.
"""

import asyncio
import contextlib
import math
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from drystone.domain.errors import UnavailableError

log = structlog.get_logger()
POLL_SECONDS = 0.005
PF_KTHREAD = 0x00200000
"""Flag of a kernel thread in /proc/PID/stat. Source: linux/include/linux/sched.h."""
OOM_SCORE = -900
"""Storage daemons hold the guests' disks: the kernel should end nearly anything else first."""
MARK = ("DRYSTONE_DAEMON", "1")
PROC = Path("/proc")
SYSTEMD = Path("/run/systemd/system")
SCOPE = ("systemd-run", "--scope", "--quiet", "--collect", "--")
SCOPE_SECONDS_MAX = 3.0
"""systemd answers in milliseconds; where its bus is gone or hangs, guests must not wait for their disks."""


SCOPE_PAUSE_SECONDS = 600.0
"""How long a systemd that did not answer is not asked again: daemons start one after the other, hundreds at a boot."""


class _Systemd:
    """Whether systemd is asked for a scope; forgotten when this process ends."""

    def __init__(self) -> None:
        self._not_before = -math.inf

    def is_to_be_asked(self) -> bool:
        return time.monotonic() >= self._not_before

    def hangs(self) -> None:
        self._not_before = time.monotonic() + SCOPE_PAUSE_SECONDS


_systemd = _Systemd()


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """A long-lived process and the directory that it runs in."""

    pid: int
    directory: Path

    def alive(self) -> bool:
        """Tell whether it still runs; a pid that was given to another program does not count."""
        return _owned(self.pid, self.directory)

    def near(self, path: Path) -> Path:
        """Return a path as the process sees it from its directory, which stays right when that is moved."""
        return Path(os.path.relpath(path, self.directory)) if _runs_in(self.pid, self.directory) else path

    async def wait_gone(self, seconds: float) -> bool:
        """Wait until it has ended; tell whether it has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.alive():
                    await asyncio.sleep(POLL_SECONDS)
        return not self.alive()

    async def end(self, seconds: float = 5.0) -> None:
        """Send SIGTERM, then SIGKILL to what did not end in time; it is gone when this returns."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.alive():
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            await self.wait_gone(seconds)


def _owned(pid: int, directory: Path) -> bool:
    """Tell whether `pid` runs (a zombie does not) and is the process of this directory."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        arguments = (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    if fields[0] in "ZX":
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return False
    if not arguments:
        # It is exiting and may still hold its locks; a kernel thread, which a stale pid may name, never had any.
        return not int(fields[6]) & PF_KTHREAD
    words = arguments.split(b"\0")
    entering = words[:3] == [b"env", b"-C", os.fsencode(directory)]
    return entering or _runs_in(pid, directory) or _names(arguments, directory)


def _runs_in(pid: int, directory: Path) -> bool:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cwd").samefile(directory) and _marked(pid)
    return False


def _marked(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return os.fsencode("=".join(MARK)) in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    return False


def _names(arguments: bytes, directory: Path) -> bool:
    """Tell whether a file in `directory` is on the command line: a version before this one started it."""
    if b"qemu-storage-daemon" not in arguments and b"drystone.transfer.snapserver" not in arguments:
        return False
    for word in re.split(rb"[\0=,]", arguments):
        if word.startswith(b"/") and word.endswith((b".sock", b"/pid")):
            with contextlib.suppress(OSError):
                if Path(os.fsdecode(word)).parent.samefile(directory):
                    return True
    return False


def places() -> Mapping[tuple[int, int], Sequence[int]]:
    """Return which processes are in which directory, by its device and inode; one pass over /proc."""
    found: dict[tuple[int, int], list[int]] = {}
    for name in os.listdir(PROC):  # noqa: PTH208 - thousands
        if name.isdigit():
            with contextlib.suppress(OSError):
                place = os.stat(f"{PROC}/{name}/cwd")  # noqa: PTH116 - thousands
                found.setdefault((place.st_dev, place.st_ino), []).append(int(name))
    return found


def adopt(directory: Path, known: Mapping[tuple[int, int], Sequence[int]] | None = None) -> Detached | None:
    """Return the process of this directory, if it runs. Not for an event loop's thread: /proc may be large.

    Its pid file may be missing or stale, if whoever started it was killed at that moment or somebody has tidied up.

    Args:
        directory: The directory.
        known: What `places` returned, if nothing was started since; otherwise /proc is gone through if need be.
    """
    try:
        place = directory.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        pid = int((directory / "pid").read_text().strip() or "0")
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pid = 0
    if pid < 2 or not _owned(pid, directory):
        inside = (places() if known is None else known).get((place.st_dev, place.st_ino), ())
        pid = next((other for other in inside if _runs_in(other, directory)), 0)
    return Detached(pid=pid, directory=_own_name(pid, directory)) if pid else None


def _own_name(pid: int, directory: Path) -> Path:
    """Return the directory by the name that its process has for it: what is mounted in it is there under that name."""
    with contextlib.suppress(OSError):
        named = (PROC / str(pid) / "cwd").readlink()
        if named.samefile(directory):
            return named
    return directory


async def start(
    arguments: Sequence[str],
    *,
    directory: Path,
    log_file: Path,
    ready: Path,
    environment: Mapping[str, str],
    seconds: float = 30.0,
    alone: bool = False,
) -> Detached:
    """Start `arguments` in `directory` and a session of its own, so that it outlives us; wait until `ready` exists.

    The pid file is written before waiting, so that a crash of ours in between leaves it findable. Where systemd
    runs, it gets a scope of its own: else stopping our unit would end it too. Where that fails, it starts without.

    Args:
        arguments: Its words.
        directory: Where it runs; made if need be.
        log_file: Where it writes what it says.
        ready: A file that it makes.
        environment: Its environment, to which the mark is added.
        seconds: How long it may take.
        alone: Whether the caller has just seen, by `adopt`, that none runs in this directory.

    Raises:
        UnavailableError: It ended, or was not ready in time (and was ended); the message has its last line. Or another
            runs in this directory.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    other = None if alone else await asyncio.to_thread(adopt, directory)
    if other is not None:
        raise UnavailableError(f"process {other.pid} runs in {directory} already")
    for stale in directory.iterdir():
        # By name: looking at the mount point of a dead FUSE export is an error.
        if stale.suffix == ".sock" or stale.name == "pid":
            stale.unlink()
    if SYSTEMD.is_dir() and os.geteuid() == 0 and shutil.which(SCOPE[0]) is not None and _systemd.is_to_be_asked():
        process = _spawn((*SCOPE, *arguments), directory, log_file, environment)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SCOPE_SECONDS_MAX):
                while process.alive() and not _has_scope(process.pid):
                    await asyncio.sleep(POLL_SECONDS)
        if process.alive() and not _has_scope(process.pid):
            _systemd.hangs()
        # A program that has its scope and ended at once is started again without one, and says then what it lacks.
        if not process.alive() or not _has_scope(process.pid):
            log.warning("daemon.without_scope", directory=str(directory), reason="systemd-run does not answer or fails")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # With whatever it has started.
            await process.end(seconds=1.0)
            process = _spawn(arguments, directory, log_file, environment)
    else:
        process = _spawn(arguments, directory, log_file, environment)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not ready.exists() and process.alive():
                await asyncio.sleep(POLL_SECONDS)
    if not ready.exists() or not process.alive():
        await process.end()
        (directory / "pid").unlink(missing_ok=True)
        last = (log_file.read_text(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
        raise UnavailableError(f"{arguments[0]} for {directory.name} did not start: {last}")
    return process


def _has_scope(pid: int) -> bool:
    """Tell whether `systemd-run` has become the program, as it does in its scope."""
    with contextlib.suppress(OSError):
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        return words != [b""] and not any(word.endswith(SCOPE[0].encode()) for word in words)
    return False


def _spawn(arguments: Sequence[str], directory: Path, log_file: Path, environment: Mapping[str, str]) -> Detached:
    # `env` enters the directory, which posix_spawn cannot; it becomes the program, under the same pid.
    words = ("env", "-C", str(directory), "--", *arguments)
    for name in (words[0], arguments[0]):
        if shutil.which(name) is None:
            raise UnavailableError(f"{name} is not installed; run ./dev up, which installs it")
    executable = shutil.which(words[0])
    assert executable is not None
    # Not a subprocess of asyncio's: closing the event loop would kill it.
    pid = os.posix_spawn(
        executable, words, {**environment, MARK[0]: MARK[1]}, setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_file), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )  # fmt: skip
    (directory / "pid").write_text(f"{pid}\n")
    with contextlib.suppress(OSError):
        (PROC / str(pid) / "oom_score_adj").write_text(str(OOM_SCORE))
    return Detached(pid=pid, directory=directory)

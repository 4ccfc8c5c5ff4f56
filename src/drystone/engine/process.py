"""Starting processes that outlive the control plane, and finding them again."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drystone.domain.errors import UnavailableError

POLL_SECONDS = 0.005
PF_KTHREAD = 0x00200000
"""Flag of a kernel thread in /proc/PID/stat. Source: linux/include/linux/sched.h."""
OOM_SCORE = -900
"""Storage daemons hold the guests' disks: the kernel should end nearly anything else first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """A long-lived process and the directory that marks it as ours."""

    pid: int
    directory: Path

    def alive(self) -> bool:
        """Tell whether it still runs; a pid that was given to another program does not count."""
        return _owned(self.pid, self.directory)

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
    """Tell whether `pid` runs (a zombie does not), with `directory` on its command line."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    if fields[0] in "ZX":
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return False
    if not arguments:
        # It is exiting and may still hold its locks; a kernel thread, which a stale pid may name, never had any.
        return not int(fields[6]) & PF_KTHREAD
    return os.fsencode(directory) + b"/" in arguments


def adopt(directory: Path) -> Detached | None:
    """Return the process whose pid file lies in `directory`, if it still runs."""
    try:
        pid = int((directory / "pid").read_text().strip() or "0")
    except (FileNotFoundError, ValueError):
        return None
    process = Detached(pid=pid, directory=directory)
    return process if pid > 1 and process.alive() else None


async def start(
    arguments: Sequence[str],
    *,
    directory: Path,
    log: Path,
    ready: Path,
    environment: Mapping[str, str],
    seconds: float = 30.0,
) -> Detached:
    """Start `arguments` in a session of its own, so that it outlives us, and wait until `ready` exists.

    The pid file is written before waiting, so that a crash of ours in between leaves it findable. Where systemd
    runs, it gets a scope of its own: else stopping our unit would end it too.

    Raises:
        UnavailableError: It ended, or was not ready in time (and was ended); the message has its last line.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for stale in directory.iterdir():
        # By name: looking at the mount point of a dead FUSE export is an error.
        if stale.suffix == ".sock" or stale.name == "pid":
            stale.unlink()
    if Path("/run/systemd/system").is_dir() and os.geteuid() == 0:
        arguments = ("systemd-run", "--scope", "--quiet", "--collect", *arguments)
    executable = shutil.which(arguments[0])
    if executable is None:
        raise UnavailableError(f"{arguments[0]} is not installed; run ./dev up, which installs it")
    # Not a subprocess of asyncio's: closing the event loop would kill it.
    pid = os.posix_spawn(  # noqa: ASYNC221 - it returns as soon as the program is started
        executable, list(arguments), environment, setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )  # fmt: skip
    (directory / "pid").write_text(f"{pid}\n")
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))
    process = Detached(pid=pid, directory=directory)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not ready.exists() and process.alive():
                await asyncio.sleep(POLL_SECONDS)
    if not ready.exists() or not process.alive():
        await process.end()
        (directory / "pid").unlink(missing_ok=True)
        last = (log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
        raise UnavailableError(f"{arguments[0]} for {directory.name} did not start: {last}")
    return process

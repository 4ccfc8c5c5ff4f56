"""What each kind of step does: frozen in the freezer, thawed there or, when that has died, by the watchdog.

Thawing what is not frozen does nothing, so that it may be done twice.
"""

import contextlib
import errno
import fcntl
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drystone.domain.quiesce import THAW_SECONDS_MAX, Step, StepKind
from drystone.quiesce.plan import Plan

FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
"""`_IOWR('X', 119, int)` and 120. Source: linux/include/uapi/linux/fs.h."""
OUTPUT_BYTES_MAX = 2000
LOCKED = "drystone-locked"


class StepError(Exception):
    """A step could not be done."""


class Action(Protocol):
    """One step."""

    def freeze(self) -> str:
        """Hold it; return what is worth knowing of it.

        Raises:
            StepError: It is not held.
        """

    def thaw(self) -> str:
        """Let go of it, also if it was held in part or not at all.

        Raises:
            StepError: It may still be held.
        """


def action_of(step: Step, plan: Plan) -> Action:
    """Return the action of a step. Files that are needed to thaw are opened here, before anything is frozen.

    Raises:
        StepError: The step is refused.
    """
    environment = {"PATH": plan.path, "LANG": "C.UTF-8"}
    if step.kind is StepKind.FILESYSTEM:
        assert step.mount is not None
        return FileSystem(_open_mount(step.mount, plan), step.seconds_max)
    if step.kind is StepKind.COMMAND:
        return Command(step, environment)
    if step.kind is StepKind.MARIADB:
        return MariaDb(step, environment)
    return PostgreSql(step, environment)


# --- file systems ---------------------------------------------------------------------------------------------------


def _open_mount(mount: str, plan: Plan) -> int:
    """Open the root of a mounted file system if it is one that may be frozen; the descriptor is what is frozen later.

    Raises:
        StepError: It is not.
    """
    try:
        descriptor = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StepError(f"{mount} cannot be opened: {error.strerror}") from error
    device = os.fstat(descriptor).st_dev
    reason = None
    if device == Path("/").stat().st_dev:
        reason = "is the root file system"
    elif device in plan.never:
        reason = "holds Drystone's own data"
    elif device not in plan.devices:
        reason = f"is on device {os.major(device)}:{os.minor(device)}, which is not of this snapshot's disks"
    if reason is not None:
        os.close(descriptor)
        raise StepError(f"{mount} {reason}: it is not frozen")
    return descriptor


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A mounted file system, by a descriptor of its root."""

    descriptor: int
    seconds_max: float

    def freeze(self) -> str:
        """Write back and freeze. Written back first, so that writers stand for the little that is left only."""
        try:
            self._write_back()
            fcntl.ioctl(self.descriptor, FIFREEZE, 0)
        except OSError as error:
            raise StepError(f"FIFREEZE: {error.strerror}") from error
        return ""

    def _write_back(self) -> None:
        # This file system alone, by syncfs, which Python's library does not have and coreutils' `sync` calls.
        command = ["sync", "-f", f"/proc/self/fd/{self.descriptor}"]
        try:
            subprocess.run(command, check=False, pass_fds=(self.descriptor,), timeout=self.seconds_max)
        except subprocess.TimeoutExpired as error:
            raise StepError(f"it could not be written back within {self.seconds_max:g} s") from error

    def thaw(self) -> str:
        """Thaw; one that is not frozen says EINVAL."""
        try:
            fcntl.ioctl(self.descriptor, FITHAW, 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise StepError(f"FITHAW: {error.strerror}") from error
        return ""


# --- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """Two programs of the user's own."""

    step: Step
    environment: dict[str, str]

    def freeze(self) -> str:
        """Run the freeze command."""
        return run_bounded(self.step.freeze, self.environment, self.step.seconds_max)

    def thaw(self) -> str:
        """Run the thaw command."""
        return run_bounded(self.step.thaw, self.environment, THAW_SECONDS_MAX)


def run_bounded(arguments: tuple[str, ...], environment: dict[str, str], seconds: float) -> str:
    """Run a program without a shell, end it with all its children when its time is up; return its last output.

    Raises:
        StepError: It failed, did not end in time, or could not be run.
    """
    try:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
            cwd="/", start_new_session=True, preexec_fn=_as_others,  # noqa: PLW1509 - this process has one thread
        )  # fmt: skip
    except OSError as error:
        raise StepError(f"{arguments[0]} cannot be run: {error.strerror}") from error
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    try:
        output = _read_until(process.stdout.fileno(), deadline, None)
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise StepError(f"{arguments[0]} did not end within {seconds:g} s") from error
    finally:
        # A child that it left behind would go on holding what it holds.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    if code != 0:
        raise StepError(f"{arguments[0]} ended with {code}: {output[-200:]}")
    return output[-200:]


def _as_others() -> None:
    """The user's programs heed the signals that we ignore, and the kernel ends them as it would any other."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _read_until(descriptor: int, deadline: float, marker: str | None) -> str:
    """Read text until the marker, or the end of the stream; only the last part is kept.

    Raises:
        TimeoutError: The time is up.
    """
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while marker is None or marker.encode() not in text:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TimeoutError
            part = os.read(descriptor, 65536)
            if not part:
                break
            text = (text + part)[-OUTPUT_BYTES_MAX:]
    return text.decode(errors="replace").strip()


# --- databases ------------------------------------------------------------------------------------------------------


class MariaDb:
    """`FLUSH TABLES WITH READ LOCK`, held by MariaDB's own client program in one session.

    The lock ends with the session, and so with the client, whoever ends it. Waiting for it is bounded in the server
    too: there it holds up every other writer.
    """

    def __init__(self, step: Step, environment: dict[str, str]) -> None:
        self._step = step
        self._environment = environment
        self._client: subprocess.Popen[bytes] | None = None

    def freeze(self) -> str:
        """Lock, and return the position of the binary log."""
        wait = max(1, int(self._step.seconds_max) - 1)
        statements = (
            f"SET SESSION lock_wait_timeout={wait}; FLUSH TABLES WITH READ LOCK; SHOW MASTER STATUS; "
            f"SELECT @@global.gtid_binlog_pos; SELECT '{LOCKED}';\n"
        )
        assert self._step.option_file is not None
        try:
            self._client = subprocess.Popen(
                ["mariadb", f"--defaults-extra-file={self._step.option_file}", "--batch", "--skip-column-names",
                 "--unbuffered", f"--connect-timeout={wait}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment, cwd="/",
                start_new_session=True, preexec_fn=_as_others,  # noqa: PLW1509 - this process has one thread
            )  # fmt: skip
        except OSError as error:
            raise StepError(f"the client `mariadb` cannot be run: {error.strerror}") from error
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        try:
            self._client.stdin.write(statements.encode())
            self._client.stdin.flush()
            said = _read_until(self._client.stdout.fileno(), time.monotonic() + self._step.seconds_max, f"{LOCKED}\n")
        except (TimeoutError, BrokenPipeError) as error:
            self._end()
            raise StepError(f"no lock within {self._step.seconds_max:g} s") from error
        if LOCKED not in said:
            self._end()
            raise StepError(f"no lock: {said[-200:]}")
        return " ".join(said.replace(LOCKED, "").split())

    def thaw(self) -> str:
        """Unlock by ending the session."""
        if self._client is None:
            return ""
        lost = self._client.poll() is not None
        self._end()
        if lost:
            raise StepError("the session with the lock had ended before")
        return ""

    def _end(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        with contextlib.suppress(BrokenPipeError):
            assert client.stdin is not None
            client.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            client.wait(1.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(client.pid, signal.SIGKILL)
        client.wait()
        assert client.stdout is not None
        client.stdout.close()


@dataclass(frozen=True, slots=True)
class PostgreSql:
    """A checkpoint just before: recovery from the snapshot is then short. Nothing is held.

    PostgreSQL recovers from any instant of its disks, so its word needs no lock.
    """

    step: Step
    environment: dict[str, str]

    def freeze(self) -> str:
        """Checkpoint, and return the position of the write-ahead log."""
        assert self.step.connection is not None
        milliseconds = int(self.step.seconds_max * 1000)
        return run_bounded(
            ("psql", "--no-psqlrc", "--no-password", "--no-align", "--tuples-only", "--quiet", "-v", "ON_ERROR_STOP=1",
             "-d", self.step.connection, "-c", f"SET statement_timeout={milliseconds}", "-c", "CHECKPOINT",
             "-c", "SELECT pg_current_wal_lsn()"),
            self.environment, self.step.seconds_max,
        )  # fmt: skip

    def thaw(self) -> str:
        """There is nothing to thaw."""
        return ""

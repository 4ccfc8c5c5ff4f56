"""What each kind of step does: frozen in the freezer, thawed there or, when that has died, by the watchdog.

Thawing what is not frozen does nothing, so that it may be done twice.
"""

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drystone.domain.quiesce import THAW_SECONDS_MAX, Step, StepKind
from drystone.quiesce.filesystems import devices_of, path_devices, type_of
from drystone.quiesce.guest_agent import GuestAgent, Libvirt
from drystone.quiesce.plan import Plan
from drystone.quiesce.program import StepError, as_others, read_until, run_bounded

FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
"""`_IOWR('X', 119, int)` and 120. Source: linux/include/uapi/linux/fs.h."""
LOCKED = "drystone-locked"
STILL_LOCKED = "drystone-still-locked"
ANSWER_SECONDS_MAX = 2.0
"""A session that holds a lock and does nothing answers at once."""


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
    if step.kind is StepKind.GUEST_AGENT:
        return GuestAgent(step)
    if step.kind is StepKind.LIBVIRT:
        return Libvirt(step, environment)
    return PostgreSql(step, environment)


# --- file systems ---------------------------------------------------------------------------------------------------


def _open_mount(mount: str, plan: Plan) -> int:
    """Open the root of a mounted file system if it is one that may be frozen; the descriptor is what is frozen later.

    All devices that it stands on must be of this snapshot's disks: what is frozen is the whole of it.

    Raises:
        StepError: It is not.
    """
    try:
        descriptor = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StepError(f"{mount} cannot be opened: {error.strerror}") from error
    devices = devices_of(descriptor)
    foreign = sorted(devices - set(plan.devices))
    reason = None
    if devices & path_devices(Path("/")):
        reason = "is the root file system"
    elif devices & set(plan.never):
        reason = "holds Drystone's own data"
    elif foreign:
        listed = ", ".join(f"{os.major(number)}:{os.minor(number)}" for number in foreign)
        kind = type_of(descriptor) or "a file system"
        reason = f"is {kind} on device {listed}, which is not of this snapshot's disks"
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
                 "--unbuffered", "--skip-reconnect", f"--connect-timeout={wait}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment, cwd="/",
                start_new_session=True, preexec_fn=as_others,  # noqa: PLW1509 - this process has one thread
            )  # fmt: skip
        except OSError as error:
            raise StepError(f"the client `mariadb` cannot be run: {error.strerror}") from error
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        try:
            self._client.stdin.write(statements.encode())
            self._client.stdin.flush()
            said = read_until(self._client.stdout.fileno(), time.monotonic() + self._step.seconds_max, f"{LOCKED}\n")
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
        held = self._answers(self._client)
        self._end()
        if not held:
            raise StepError("the session with the lock had ended before")
        return ""

    def _answers(self, client: subprocess.Popen[bytes]) -> bool:
        """Return whether the session lives: the client alone, which waits for input, does not hear of its end."""
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            client.stdin.write(f"SELECT '{STILL_LOCKED}';\n".encode())
            client.stdin.flush()
            deadline = time.monotonic() + ANSWER_SECONDS_MAX
            return STILL_LOCKED in read_until(client.stdout.fileno(), deadline, f"{STILL_LOCKED}\n").splitlines()
        except (TimeoutError, BrokenPipeError):
            return False

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

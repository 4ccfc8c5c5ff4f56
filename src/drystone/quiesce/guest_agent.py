"""Freezing the file systems of a virtual machine through the QEMU guest agent in it: over its socket, or by libvirt.

Source: QEMU docs/interop/qemu-ga.rst and qga/qapi-schema.json (guest-sync-delimited, guest-fsfreeze-*).

A guest that is told to freeze and does not answer may still do so, later. So a thaw is always sent after it, on the
same channel, which the agent reads in order.
"""

import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from drystone.domain.quiesce import THAW_SECONDS_MAX, Step
from drystone.quiesce.program import StepError, run_bounded

DELIMITER = b"\xff"
"""Never part of JSON in UTF-8: what stands before it is left over from somebody else's question."""
ANSWER_BYTES_MAX = 1 << 20
THAWED = "thawed"
FROZEN = "frozen"

Ask = Callable[[str], object]
"""Sends one command and returns what the agent answered."""


class GuestAgent:
    """An agent on the socket that QEMU serves for its channel."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._made_in = os.getpid()
        self._asked = False
        """Whether a freeze may have reached the guest. Known in the freezer alone, a child of where this was made."""

    def freeze(self) -> str:
        """Freeze all file systems of the guest; say how many."""
        deadline = time.monotonic() + self._step.seconds_max
        with _Channel(self._step.socket, deadline) as channel:
            channel.synchronise()
            self._asked = True
            return _frozen(channel.ask)

    def thaw(self) -> str:
        """Thaw them; an agent with nothing frozen thaws nothing."""
        if os.getpid() != self._made_in and not self._asked:
            return ""
        with _Channel(self._step.socket, time.monotonic() + THAW_SECONDS_MAX) as channel:
            channel.synchronise()
            return _thawed(channel.ask)


class Libvirt:
    """The same for a domain of libvirt, which has the socket for itself; through `virsh`, without a shell."""

    def __init__(self, step: Step, environment: Mapping[str, str]) -> None:
        self._step = step
        self._environment = dict(environment)

    def freeze(self) -> str:
        """Freeze all file systems of the guest; say how many."""
        deadline = time.monotonic() + self._step.seconds_max
        return _frozen(lambda command: self._ask(command, deadline))

    def thaw(self) -> str:
        """Thaw them."""
        deadline = time.monotonic() + THAW_SECONDS_MAX
        return _thawed(lambda command: self._ask(command, deadline))

    def _ask(self, command: str, deadline: float) -> object:
        assert self._step.domain is not None
        program = shutil.which("virsh", path=self._environment["PATH"])
        if program is None:
            raise StepError("virsh is not installed on this host: libvirt's domains cannot be spoken to")
        seconds = max(1, int(deadline - time.monotonic()))
        said = run_bounded(
            (program, "--quiet", "qemu-agent-command", f"--domain={self._step.domain}", f"--timeout={seconds}",
             f"--cmd={json.dumps({'execute': command})}"),
            self._environment, deadline - time.monotonic(),
        )  # fmt: skip
        return _result(said.encode())


def _frozen(ask: Ask) -> str:
    count = ask("guest-fsfreeze-freeze")
    if not isinstance(count, int) or count <= 0:
        raise StepError("the guest froze no file system")
    status = ask("guest-fsfreeze-status")
    if status != FROZEN:
        raise StepError(f"the guest says that it is {str(status)[:40]}")
    return f"{count} file systems of the guest"


def _thawed(ask: Ask) -> str:
    ask("guest-fsfreeze-thaw")
    status = ask("guest-fsfreeze-status")
    if status != THAWED:
        raise StepError(f"the guest says that it is {str(status)[:40]}")
    return ""


class _Channel:
    """One connection, with one deadline for all that is said on it."""

    def __init__(self, path: str | None, deadline: float) -> None:
        assert path is not None
        self._path = path
        self._deadline = deadline
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._rest = b""

    def __enter__(self) -> Self:
        try:
            is_socket = stat.S_ISSOCK(Path(self._path).stat().st_mode)
            if is_socket:
                self._wait()
                self._socket.connect(self._path)
        except OSError as error:
            self._socket.close()
            reason = error.strerror or "it does not answer in time"
            raise StepError(f"nobody serves the guest agent's socket {self._path}: {reason}") from error
        if not is_socket:
            self._socket.close()
            raise StepError(f"{self._path} is not a socket")
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def synchronise(self) -> None:
        """Have the agent forget half a question, and pass over answers that were meant for somebody else."""
        identity = time.monotonic_ns() & 0x7FFF_FFFF_FFFF
        question = {"execute": "guest-sync-delimited", "arguments": {"id": identity}}
        self._send(DELIMITER + json.dumps(question).encode() + b"\n")
        while True:
            self._until(DELIMITER)
            if _result(self._until(b"\n")) == identity:
                return

    def ask(self, command: str) -> object:
        """Run one command; return its result."""
        self._send(json.dumps({"execute": command}).encode() + b"\n")
        return _result(self._until(b"\n"))

    def _send(self, text: bytes) -> None:
        try:
            self._wait()
            self._socket.sendall(text)
        except OSError as error:
            raise StepError("the guest agent takes nothing in time") from error

    def _until(self, end: bytes) -> bytes:
        while end not in self._rest:
            if len(self._rest) > ANSWER_BYTES_MAX:
                raise StepError("the guest agent does not come to an end")
            try:
                self._wait()
                part = self._socket.recv(65536)
            except OSError as error:
                raise StepError("the guest agent did not answer in time") from error
            if not part:
                raise StepError("the guest agent's channel was closed")
            self._rest += part
        text, _, self._rest = self._rest.partition(end)
        return text

    def _wait(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


def _result(text: bytes) -> object:
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise StepError(f"the guest agent answers no JSON: {text[:60]!r}") from error
    if not isinstance(answer, dict) or not ({"return", "error"} & answer.keys()):
        raise StepError(f"the guest agent answers no result: {text[:60]!r}")
    if "error" in answer:
        refusal = answer["error"]
        told = refusal.get("desc") if isinstance(refusal, dict) else refusal
        raise StepError(f"the guest agent refuses: {str(told)[:200]}")
    result: object = answer["return"]
    return result

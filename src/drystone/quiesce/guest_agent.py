"""Freezing the file systems of a virtual machine through the QEMU guest agent in it: over its socket, or by libvirt.

Source: QEMU docs/interop/qemu-ga.rst and qga/qapi-schema.json (guest-sync-delimited, guest-fsfreeze-*).

A guest that is told to freeze and does not answer may still do so, later. So a thaw is always sent behind it, without
waiting for any answer, on the same channel, which the agent reads in order. libvirt does not send while the agent owes
an answer: there the watchdog repeats the thaw until it is answered.
"""

import json
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
        self._asked = True
        """Whether a freeze may have reached the guest: not known where another process does the freezing."""
        self._frozen = 0

    def freeze(self) -> str:
        """Freeze all file systems of the guest; say how many."""
        self._asked = False
        deadline = time.monotonic() + self._step.seconds_max
        with _Channel(self._step.socket, deadline) as channel:
            channel.synchronise()
            self._asked = True
            self._frozen = _frozen(channel.ask)
            return _told(self._frozen)

    def thaw(self) -> str:
        """Thaw them; an agent with nothing frozen thaws nothing."""
        if not self._asked:
            return ""
        with _Channel(self._step.socket, time.monotonic() + THAW_SECONDS_MAX) as channel:
            channel.synchronise("guest-fsfreeze-thaw", "guest-fsfreeze-status")
            _judge_thaw(self._frozen, channel.answer(), channel.answer())
            return ""


class Libvirt:
    """The same for a domain of libvirt, which has the socket for itself; through `virsh`, without a shell."""

    def __init__(self, step: Step, environment: Mapping[str, str]) -> None:
        self._step = step
        self._environment = dict(environment)
        self._asked = True
        self._frozen = 0

    def freeze(self) -> str:
        """Freeze all file systems of the guest; say how many."""
        self._asked = False
        deadline = time.monotonic() + self._step.seconds_max
        self._frozen = _frozen(lambda command: self._ask(command, deadline))
        return _told(self._frozen)

    def thaw(self) -> str:
        """Thaw them."""
        if not self._asked:
            return ""
        deadline = time.monotonic() + THAW_SECONDS_MAX
        _judge_thaw(
            self._frozen, self._ask("guest-fsfreeze-thaw", deadline), self._ask("guest-fsfreeze-status", deadline)
        )
        return ""

    def _ask(self, command: str, deadline: float) -> object:
        assert self._step.domain is not None
        program = shutil.which("virsh", path=self._environment["PATH"])
        if program is None:
            raise StepError("virsh is not installed on this host: libvirt's domains cannot be spoken to")
        self._asked = True
        seconds = max(1, int(deadline - time.monotonic()))
        said = run_bounded(
            (program, "--quiet", "qemu-agent-command", f"--domain={self._step.domain}", f"--timeout={seconds}",
             f"--cmd={json.dumps({'execute': command})}"),
            self._environment, deadline - time.monotonic(),
        )  # fmt: skip
        return _result(said.encode())


def _frozen(ask: Ask) -> int:
    """Freeze; return how many file systems were."""
    count = ask("guest-fsfreeze-freeze")
    if not isinstance(count, int) or count <= 0:
        raise StepError("the guest froze no file system")
    status = ask("guest-fsfreeze-status")
    if status != FROZEN:
        raise StepError(f"the guest says that it is {str(status)[:40]}")
    return count


def _told(count: int) -> str:
    return f"{count} file systems of the guest"


def _judge_thaw(frozen: int, count: object, status: object) -> None:
    """Hold what a guest answered to a thaw against how many file systems this process knows to have been frozen."""
    if status != THAWED:
        raise StepError(f"the guest says that it is {str(status)[:40]}")
    # Restarted, or thawed by somebody else, such as the 10 s after which Windows thaws by itself.
    if not isinstance(count, int) or count < frozen:
        raise StepError(f"{str(count)[:40]} of {_told(frozen)} were still frozen")


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

    def synchronise(self, *commands: str) -> None:
        """Have the agent forget half a question, and pass over answers that were meant for somebody else.

        `commands` are sent along, before any answer is waited for; then `answer` is due for each.
        """
        identity = time.monotonic_ns() & 0x7FFF_FFFF_FFFF
        question = json.dumps({"execute": "guest-sync-delimited", "arguments": {"id": identity}})
        self._send(DELIMITER + question.encode() + b"\n" + b"".join(map(_command, commands)))
        while True:
            self._until(DELIMITER)
            if _result(self._until(b"\n")) == identity:
                return

    def ask(self, command: str) -> object:
        """Run one command; return its result."""
        self._send(_command(command))
        return self.answer()

    def answer(self) -> object:
        """Return the result of the oldest command that was sent and not answered."""
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


def _command(name: str) -> bytes:
    return json.dumps({"execute": name}).encode() + b"\n"


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

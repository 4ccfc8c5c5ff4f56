"""One step of a proof: a program, run to its end within its time, and what its words mean; files, read with bounds."""

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from drystone.domain.proof import Finding, ProofStep
from drystone.prove.wire import DETAIL_CHARACTERS_MAX

OUTPUT_BYTES_MAX = 1 << 20


class TrialError(Exception):
    """A step did not show that it opens; says what it has shown instead."""

    def __init__(self, finding: Finding, detail: str) -> None:
        super().__init__(detail)
        self.finding = finding


def damaged(detail: str) -> TrialError:
    """Return the error of a step that found damage."""
    return TrialError(Finding.DAMAGED, detail)


def not_proven(detail: str) -> TrialError:
    """Return the error of a step that found nothing out."""
    return TrialError(Finding.NOT_PROVEN, detail)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom files belong to, and who looks at them therefore."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Trials:
    """Runs steps one after the other and tells of each."""

    seconds_max: float
    """Of each program."""
    path: str
    """`PATH`."""
    tell: Callable[[ProofStep], None]
    """Given each step when it has ended."""
    environment: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Make the clean environment of all programs."""
        object.__setattr__(self, "environment", {"PATH": self.path, "LANG": "C.UTF-8", "HOME": "/"})

    def step(self, title: str, act: Callable[[], str]) -> bool:
        """Do one step and tell what it has shown; return whether it went well."""
        began = time.monotonic()
        try:
            finding, detail = Finding.OPENS, act()
        except TrialError as error:
            finding, detail = error.finding, str(error)
        except OSError as error:
            finding, detail = Finding.NOT_PROVEN, str(error)
        detail = " ".join(detail.split())[:DETAIL_CHARACTERS_MAX]
        seconds = round(time.monotonic() - began, 3)
        self.tell(ProofStep(title=title, finding=finding, seconds=seconds, detail=detail))
        return finding is Finding.OPENS

    def program(self, name: str, package: str) -> str:
        """Return where a program is.

        Raises:
            TrialError: It is not installed.
        """
        found = shutil.which(name, path=self.path)
        if found is None:
            raise not_proven(f"{name} is not installed on this host (package {package})")
        return found

    def run(self, *arguments: str, owner: Owner | None = None) -> tuple[int, str]:
        """Run a program to its end; return its status and the end of what it said.

        Raises:
            TrialError: It did not end in time; it and its children were killed.
        """
        with tempfile.TemporaryFile() as output:
            process = self.start(*arguments, owner=owner, output=output.fileno())
            try:
                code = process.wait(self.seconds_max)
            except subprocess.TimeoutExpired:
                raise not_proven(f"{Path(arguments[0]).name} did not end within {self.seconds_max:g} s") from None
            finally:
                end(process)
            size = output.seek(0, os.SEEK_END)
            output.seek(max(0, size - OUTPUT_BYTES_MAX))
            return code, output.read().decode(errors="replace")

    def start(self, *arguments: str, owner: Owner | None = None, output: int) -> "subprocess.Popen[bytes]":
        """Start a program in a session of its own, as `owner` without any privilege if one is given."""
        if owner is not None:
            arguments = (
                self.program("setpriv", "util-linux"), f"--reuid={owner.uid}", f"--regid={owner.gid}", "--clear-groups",
                "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--", *arguments,
            )  # fmt: skip
        return subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment, cwd="/",
            start_new_session=True,
        )  # fmt: skip


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program with all that it started; it has ended when this returns, unless the kernel holds it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5.0)


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that a guest made.

    Raises:
        TrialError: It is no ordinary file, but a link, a pipe, a device.
        OSError: It is not there, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise not_proven(f"{path.name} is a link") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise not_proven(f"{path.name} is no ordinary file")
        yield file


def read_file(path: Path, bytes_max: int) -> bytes:
    """Return the content of a file that a guest made.

    Raises:
        TrialError: It is no ordinary file, or larger than it ever is.
        OSError: It is not there, or cannot be read.
    """
    with open_file(path) as file:
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise not_proven(f"{path.name} has over {bytes_max} bytes")
    return content


def lines_with(text: str, pattern: "re.Pattern[str]") -> list[str]:
    """Return the lines that match."""
    return [line.strip() for line in text.splitlines() if pattern.search(line)]


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def first_of(found: Sequence[str], text: str) -> str:
    """Return the first of these lines, else the last of the text."""
    return found[0] if found else last_line(text)

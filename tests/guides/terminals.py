"""Terminals of somebody who follows a page: shells, a program that stays in one, a guest's console in another."""

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

POLL_S = 0.05


class GuideError(Exception):
    """A command failed, did not end, or did not print what the page shows."""


class Terminal:
    """One shell that is told blocks of code. What it prints is kept in a file.

    Args:
        name: Of the terminal; of its files too.
        place: Directory for these files.
        environment: Of the shell.
        directory: In which it begins.
    """

    def __init__(self, name: str, place: Path, environment: Mapping[str, str], directory: Path) -> None:
        self._place, self._name = place, name
        self._printed = place / f"{name}.txt"
        with self._printed.open("wb") as output:
            self._shell = subprocess.Popen(
                ["bash", "--norc", "--noprofile"], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
                env=environment, cwd=directory, text=True, start_new_session=True,
            )  # fmt: skip
        self._told = 0
        self._begun = 0
        """Where in the file what the last block printed begins."""
        self._write('trap \'printf "\\n==failed== %s: %s\\n" $? "$BASH_COMMAND"\' ERR\n')

    def _write(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(text)
        self._shell.stdin.flush()

    def run(self, script: str, *, seconds: float, until: str | None = None) -> str:
        """Run a block, and return what it printed.

        Args:
            script: The block.
            seconds: How long it may take.
            until: For a program that stays: what it prints when what follows on the page may begin.

        Raises:
            GuideError: A command failed, or the time is up.
        """
        self._told += 1
        file = self._place / f"{self._name}-{self._told}.sh"
        file.write_text(script)
        self._begun = self._printed.stat().st_size
        end = f"==done {self._told}=="
        # `return` and the end of a page's block are the same here; the page's shell goes on.
        self._write(f". {file}\n")
        if until is None:
            self._write(f"printf '\\n{end}\\n'\n")
        printed = self._wait(until or f"\n{end}\n", seconds)
        return printed.partition(f"\n{end}\n")[0]

    def type(self, script: str, *, seconds: float) -> str:
        """Type a block line by line into the program that runs in this terminal, a guest's shell; likewise."""
        self._begun = self._printed.stat().st_size
        for line in script.splitlines():
            self._told += 1
            self._write(f"{line}\necho ==typed-{self._told}-$?==\n")
            printed = self._wait(rf"==typed-{self._told}-\d+==", seconds, pattern=True)
            if f"==typed-{self._told}-0==" not in printed:
                raise GuideError(f"failed in the guest: {line}\n{printed}")
        return re.sub(r".*==typed-.*\n?", "", self.printed().replace("\r", ""))

    def type_last(self, script: str, *, seconds: float) -> str:
        """Type what ends the program in this terminal, and wait until it has ended."""
        self._begun = self._printed.stat().st_size
        self._write(script)
        deadline = time.monotonic() + seconds
        while Path(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children").read_text():
            if time.monotonic() > deadline:
                raise GuideError(f"has not ended within {seconds:.0f} s: {script}\n{self.printed()}")
            time.sleep(POLL_S)
        return self.printed()

    def printed(self) -> str:
        """Return what was printed since the last block began."""
        with self._printed.open("rb") as file:
            file.seek(self._begun)
            return file.read().decode(errors="replace")

    def _wait(self, text: str, seconds: float, *, pattern: bool = False) -> str:
        deadline = time.monotonic() + seconds
        while True:
            ended = self._shell.poll() is not None
            printed = self.printed()
            if "\n==failed== " in printed:
                raise GuideError(f"a command failed:\n{printed}")
            if re.search(text if pattern else re.escape(text), printed):
                return printed
            if ended:
                raise GuideError(f"the shell has ended:\n{printed}")
            if time.monotonic() > deadline:
                raise GuideError(f"not seen within {seconds:.0f} s: {text.strip()}\n{printed}")
            time.sleep(POLL_S)

    def close(self) -> None:
        """End the shell and what runs in its terminal."""
        with_group = os.getpgid(self._shell.pid)
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        if self._shell.poll() is None:
            os.killpg(with_group, 9)
        self._shell.wait()

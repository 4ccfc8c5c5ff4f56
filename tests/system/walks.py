"""Two walks through the server, call by call: `python -m tests.system.walks` (docs/understand/walks.md).

A disk is attached to an NBD instance and two snapshots of it are taken, in a real server with real storage daemons. A
profile function notes each function of Drystone that another one calls. What threads and workers do is not seen: a
transaction is one call.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType

import drystone
from drystone.server.serve import serve

SOURCE = str(Path(drystone.__file__).parent) + os.sep
BEGINNINGS = {"DiskLifecycle.attach", "Attach.run", "SnapshotLifecycle.create", "TakeSnapshot.run"}
LEFT_OUT = {"engine/process.py", "logs.py"}
"""Waiting for a process to start polls it, as often as the machine is slow."""
QUIET_S = 3.0


@dataclass(frozen=True, slots=True)
class Line:
    """One call: how deep below its beginning, in which file, of which function; the command, if it is one of QMP."""

    depth: int
    file: str
    name: str
    command: str = ""


@dataclass(slots=True)
class Walk:
    """What was called, in order."""

    lines: list[Line] = field(default_factory=list)
    frames: list[FrameType] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def enter(self, frame: FrameType) -> None:
        """Note a frame at its first step; a coroutine goes on in the same frame each time that it is resumed."""
        if id(frame) in self.seen:
            return
        self.seen.add(id(frame))
        self.frames.append(frame)  # Else its number would be given to another one.
        depth, above = 0, frame
        while above.f_code.co_qualname not in BEGINNINGS:
            if above.f_back is None:
                return
            above = above.f_back
            depth += _file(above.f_code) is not None and not _is_small(above.f_code)
        file = _file(frame.f_code)
        if file is None or file in LEFT_OUT or _is_small(frame.f_code):
            return
        name = frame.f_code.co_qualname
        command = str(frame.f_locals.get("command", "")) if name == "Daemon.execute" else ""
        self.lines.append(Line(depth, file, name, command))

    def returns(self) -> int:
        """Count the calls into another file than the caller's in which the walk has been before."""
        visited: set[str] = set()
        path: list[str] = []
        count = 0
        for line in self.lines:
            del path[line.depth :]
            path += [line.file] * (line.depth + 1 - len(path))
            caller = path[line.depth - 1] if line.depth else None
            count += caller is not None and caller != line.file and line.file in visited
            visited.add(line.file)
        return count

    def text(self) -> str:
        """Return the calls, each below the one that makes it, and the sums."""
        commands = [line.command for line in self.lines if line.command]
        tree = "\n".join(f"{'  ' * line.depth}{line.file} {line.name} {line.command}".rstrip() for line in self.lines)
        return (
            f"{tree}\ncalls {len(self.lines)}, files {len({line.file for line in self.lines})}, "
            f"returns {self.returns()}, QMP commands {len(commands)}, of them questions "
            f"{sum(command.startswith('query-') for command in commands)}"
        )


def _file(code: CodeType) -> str | None:
    return code.co_filename.removeprefix(SOURCE) if code.co_filename.startswith(SOURCE) else None


def _is_small(code: CodeType) -> bool:
    """Comprehensions, closures and what makes an object are no step of a walk."""
    return "<" in code.co_qualname or code.co_name.startswith("__")


def _drive(data: Path, walks: dict[str, Walk], now: list[Walk]) -> None:
    def drystone_command(*arguments: str) -> str:
        command = [sys.executable, "-m", "drystone", *arguments, "--data", str(data)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.strip()

    try:
        while not (data / "credentials.env").exists():
            time.sleep(0.1)
        disk = drystone_command("disk", "create", "--size", "10")
        for title, arguments in (
            ("attach", ("disk", "attach", disk, "--instance", "nbd")),
            ("first snapshot", ("snapshot", "create", disk)),
            ("snapshot", ("snapshot", "create", disk)),
        ):
            now[:] = [walks.setdefault(title, Walk())]
            drystone_command(*arguments)
            time.sleep(QUIET_S)
            now.clear()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Walk, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sums", action="store_true", help="print the sums alone")
    sums = parser.parse_args().sums
    walks: dict[str, Walk] = {}
    now: list[Walk] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            for walk in now:
                walk.enter(frame)

    with tempfile.TemporaryDirectory(prefix="drystone-walks-") as directory:
        data = Path(directory) / "data"
        driver = threading.Thread(target=_drive, args=(data, walks, now), daemon=True)
        driver.start()
        sys.setprofile(note)
        try:
            serve(data, 0)
        finally:
            sys.setprofile(None)
            driver.join()
            stop = [sys.executable, "-m", "drystone", "host", "stop", "--data", str(data)]
            subprocess.run(stop, capture_output=True, check=True, timeout=120)
    for title, walk in walks.items():
        text = walk.text()
        print(f"\n{title}\n{text.splitlines()[-1] if sums else text}")


if __name__ == "__main__":
    main()

"""Clients that hold up a storage daemon, each a process that can be stopped."""

import contextlib
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

POLL: Final = {"x86_64": "7", "aarch64": "73"}[platform.machine()]
CLIENT: Final = """
import select, socket, struct, sys, time
path, name, what, count, length = sys.argv[1], sys.argv[2].encode(), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
server = socket.socket(socket.AF_UNIX)
server.connect(path)
answers = server.makefile("rb")
answers.read(18)
server.sendall(struct.pack(">I", 3))
server.sendall(b"IHAVEOPT" + struct.pack(">II", 1, len(name)) + name)
answers.read(10)
def ask(command, at, length):
    server.sendall(struct.pack(">IHHQQI", 0x25609513, 0, command, at, at, length))
def wait(events):
    ready = select.poll()
    ready.register(server, events)
    ready.poll()
if what == "read":
    for at in range(count):
        ask(0, at * length, length)
elif what == "half":
    ask(1, 0, length)
    server.sendall(bytes(length // 2))
print("asked", flush=True)
if what == "idle":
    ready = select.poll()
    ready.register(0, select.POLLIN)
    ready.register(server, select.POLLIN)
    while 0 not in dict(ready.poll()):
        pass
elif what == "sleep":
    while not select.select([0], [], [], 0)[0]:
        time.sleep(0.05)
sys.stdin.readline()
if what == "read":
    for at in range(count):
        assert len(answers.read(16 + length)) == 16 + length
elif what == "write":
    ask(1, 0, length)
    server.setblocking(False)
    left = memoryview(bytes(length))
    while left:
        try:
            left = left[server.send(left):]
        except BlockingIOError:
            wait(select.POLLOUT)
    server.setblocking(True)
elif what == "half":
    server.sendall(bytes(length - length // 2))
if what in ("write", "half"):
    assert len(answers.read(16)) == 16
ask(0, 0, 4096)
assert len(answers.read(16 + 4096)) == 16 + 4096
print("answered", flush=True)
"""
"""Asks for something and goes on when it is told to: takes the answers of `read`, sends all of a `write` or the rest of
`half` a one. One that is `idle` polls meanwhile, as QEMU's and libnbd's clients do; all others do not,
and `sleep` is in no system call that has to do with its connection.

At the end it asks for more: it is as well as it was.
"""


class Client:
    """One such client."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def stop(self) -> None:
        """Suspend it, as a VM is by SIGSTOP."""
        os.kill(self.process.pid, signal.SIGSTOP)
        while Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)

    def resume(self) -> None:
        """Let it run again."""
        os.kill(self.process.pid, signal.SIGCONT)

    def tell(self) -> None:
        """Tell it to go on."""
        with contextlib.suppress(BrokenPipeError):
            print("go on", file=self.process.stdin, flush=True)

    def stop_in_mid_write(self, daemon: int) -> None:
        """Have it write while its daemon does not read, and suspend it when its socket is full."""
        os.kill(daemon, signal.SIGSTOP)
        try:
            self.tell()
            while Path(f"/proc/{self.process.pid}/syscall").read_text().split()[0] != POLL:
                time.sleep(0.001)
            self.stop()
        finally:
            os.kill(daemon, signal.SIGCONT)

    def is_well(self) -> bool:
        """Tell whether it has everything that it asked for, and got more when it asked."""
        assert self.process.stdout is not None
        return self.process.stdout.readline() == "answered\n"

    def goes_on(self) -> bool:
        """Resume it, tell it to go on, and tell whether it is well."""
        self.resume()
        self.tell()
        return self.is_well()


@contextlib.contextmanager
def client(
    socket: Path, export: str, what: str, *, count: int = 1, length: int = 1 << 20, user: int | None = None
) -> Iterator[Client]:
    """Run a client until the end of the block; what it asks for was sent when this begins."""
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(socket), export, what, str(count), str(length)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, user=user,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "asked\n"
            yield Client(process)
        finally:
            process.kill()

"""Snapshots beside clients that are stopped: `python -m tests.system.stuck_clients --snapshots 50`.

Three clients have a disk: `nbdcopy`, which reads all of it, `qemu-img bench`, which writes as a VM does (it is QEMU's
own NBD client), and, with `--half`, a program that sends half a write and hangs. Before each snapshot the first two run
and are suspended, as a VM is by SIGSTOP; afterwards they run again, and are looked at whether they were disconnected.
Every other snapshot is of a neighbour's disk in the same storage daemon. It tells the slowest call, the failed calls,
and the disconnected clients. `tests/system/test_stuck_clients.py` takes a few. With `--half` calls are expected to
fail: that program runs, so it is named and not disconnected (S125).
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.engine.stuck_clients import client
from tests.system.harness import Installation, installation

MIB = 1 << 20
RUNS_S = (0.05, 0.3)
"""How long the clients run before they are suspended."""


@dataclass(slots=True)
class Found:
    """What the snapshots took, and what it cost whom."""

    calls_s: list[float] = field(default_factory=list)
    freeze_ms: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    cut: Counter[str] = field(default_factory=Counter)
    suspended: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        ordered = sorted(self.calls_s)
        cut = ", ".join(f"{name} {self.cut[name]} of {count}" for name, count in sorted(self.suspended.items()))
        return (
            f"{len(ordered)} snapshots: call p50 {ordered[len(ordered) // 2]:.3f} s, slowest {ordered[-1]:.3f} s; "
            f"slowest instant {max(self.freeze_ms):.1f} ms; {len(self.failed)} failed; disconnected: {cut}"
        )


@contextlib.contextmanager
def running(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def run(system: Installation, snapshots: int, seed: int, *, half: bool, filled_mib: int = 512) -> Found:
    """Take so many snapshots; `half` is whether a program is there that sends half a write and hangs."""
    rng = random.Random(seed)
    stuck, neighbour = system.create_disk(), system.create_disk()
    for disk_id in (stuck, neighbour):
        system.attach(disk_id)
        system.write(disk_id, 0, rng.randbytes(MIB) * filled_mib)
    uri = system.detail(stuck)["NbdUri"]
    socket = Path(uri.partition("socket=")[2])
    programs = {
        "nbdcopy": ["nbdcopy", uri, "null:"],
        "qemu": ["qemu-img", "bench", "-w", "-q", "-f", "raw", "-c", "1000000", "-d", "8", "-s", "1M", uri],
    }
    found = Found()
    for number in range(snapshots):
        disk_id = (stuck, neighbour)[number % 2]
        with contextlib.ExitStack() as stack:
            processes = {name: stack.enter_context(running(words)) for name, words in programs.items()}
            hung = stack.enter_context(client(socket, stuck, "half", length=8 * MIB)) if half else None
            time.sleep(rng.uniform(*RUNS_S))
            for process in processes.values():
                os.kill(process.pid, signal.SIGSTOP)
            began = time.monotonic()
            code = system.code("CreateSnapshot", DiskId=disk_id, SnapshotName=f"stuck-{number}")
            found.calls_s.append(time.monotonic() - began)
            if code != "OK":
                found.failed.append(f"{number}: {code}")
            for process in processes.values():
                os.kill(process.pid, signal.SIGCONT)
            # One that was disconnected ends by itself with an error.
            time.sleep(0.2)
            for name, process in processes.items():
                found.suspended[name] += 1
                found.cut[name] += process.poll() not in {None, 0}
            if hung is not None:
                found.suspended["half a write"] += 1
                found.cut["half a write"] += not hung.goes_on()
        made = [one for one in system.call("DescribeSnapshots").SnapshotSet if one.SnapshotName == f"stuck-{number}"]
        for snapshot in made:
            system.wait_idle()
            left = system.call("DescribeSnapshots", SnapshotIds=[snapshot.SnapshotId]).SnapshotSet
            if not left and code == "OK":
                found.failed.append(f"{number}: given up after the call")
            if left:
                found.freeze_ms.append(system.record(snapshot.SnapshotId)["FreezeMs"])
                system.call("DeleteSnapshots", SnapshotIds=[snapshot.SnapshotId])
    return found


def main() -> int:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(prog="tests.system.stuck_clients")
    parser.add_argument("--snapshots", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--half", action="store_true", help="a program is there that sends half a write and hangs")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="stuck-", dir="/var/tmp") as directory,
        installation(Path(directory) / "data") as system,
    ):
        found = run(system, options.snapshots, options.seed, half=options.half)
        print(found)
        print(*found.failed, sep="\n")
    return int(bool(found.failed))


if __name__ == "__main__":
    sys.exit(main())

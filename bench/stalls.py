"""When the machine itself stood still: a virtual machine that has used up its share of its host is not run at all.

Nothing in the machine can see that but by the clock: one process per core, of a priority above all others, wakes up
every millisecond and writes down each time that it woke up late. A time at which all of them were late is one at
which no program could run, whichever; figures of latency are given with and without such times.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

INTERVAL_S = 0.001
LATE_S = 0.001
"""What the scheduler and the timer take at most where nobody else has the processor."""

Spans = NDArray[np.float64]
"""Shape (n, 2): start and stop, seconds since the epoch, in order and disjoint."""


def common(left: Spans, right: Spans) -> Spans:
    """Return the times that are in both."""
    found = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, stop = max(left[i, 0], right[j, 0]), min(left[i, 1], right[j, 1])
        if start < stop:
            found.append((start, stop))
        if left[i, 1] < right[j, 1]:
            i += 1
        else:
            j += 1
    return np.array(found, np.float64).reshape(-1, 2)


def stood_before(spans: Spans, at_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each time how many seconds of the spans lie before it."""
    if not len(spans):
        return np.zeros(len(at_s))
    total = np.cumsum(spans[:, 1] - spans[:, 0])
    corners = spans.reshape(-1)
    sums = np.stack((np.concatenate(([0.0], total[:-1])), total), axis=1).reshape(-1)
    before: NDArray[np.float64] = np.interp(at_s, corners, sums)
    return before


class Stalls:
    """Watches while the `with` block runs. Without the right to a real-time priority it says what was late for it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._watchers: list[subprocess.Popen[bytes]] = []
        self._files: list[Path] = []

    def __enter__(self) -> Self:
        for core in sorted(os.sched_getaffinity(0)):
            path = self._directory / f"stalls-{core}"
            path.touch()
            self._files.append(path)
            command = [sys.executable, "-m", "bench.stalls", str(core), str(path)]
            self._watchers.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        return self

    def __exit__(self, *_: object) -> None:
        for watcher in self._watchers:
            watcher.send_signal(signal.SIGKILL)
            watcher.wait()
            if watcher.stdin is not None:
                watcher.stdin.close()

    def spans(self) -> Spans:
        """Return the times until now at which every core was late."""
        found: Spans | None = None
        for path in self._files:
            # The last line may be half written.
            lines = path.read_text().rpartition("\n")[0].splitlines()
            mine = np.array([line.split() for line in lines], np.float64).reshape(-1, 2)
            found = mine if found is None else common(found, mine)
        return np.empty((0, 2)) if found is None else found

    def stood_s(self, start_s: float, stop_s: float) -> float:
        """Return for how many seconds of a span of time the machine stood still."""
        before = stood_before(self.spans(), np.array([start_s, stop_s]))
        return float(before[1] - before[0])

    def running_s(self, start_s: float, seconds: float) -> float:
        """Return for how many of the seconds from then on the machine did not stand still."""
        return seconds - self.stood_s(start_s, start_s + seconds)


def watch(core: int, path: Path) -> None:
    """Write down every time that this process woke up late, until it is killed or its parent has ended."""
    os.sched_setaffinity(0, {core})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
    parent = os.getppid()
    with path.open("a", buffering=1) as file:
        last = time.time()
        while os.getppid() == parent:
            time.sleep(INTERVAL_S)
            now = time.time()
            if now - last > INTERVAL_S + LATE_S:
                file.write(f"{last + INTERVAL_S:.6f} {now:.6f}\n")
            last = now


if __name__ == "__main__":
    watch(int(sys.argv[1]), Path(sys.argv[2]))

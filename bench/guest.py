"""A guest: fio over NBD, with the latency of each of its requests."""

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bench.stalls import Spans, stood_before


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Finished requests, in the order in which they finished."""

    ended_s: NDArray[np.float64]
    """Seconds since the epoch, to the millisecond."""
    latency_ms: NDArray[np.float64]

    def within(self, start_s: float, stop_s: float) -> "Requests":
        """Return the requests that ended in a span of time."""
        chosen = (self.ended_s >= start_s) & (self.ended_s < stop_s)
        return Requests(ended_s=self.ended_s[chosen], latency_ms=self.latency_ms[chosen])

    def slowest_across(self, start_s: float, stop_s: float, stalls: Spans) -> tuple[float, float]:
        """Return the longest latency, ms, of requests under way at some time of a span; with and without stalls."""
        # Ends are recorded to the millisecond.
        began_s = self.ended_s - self.latency_ms / 1000
        chosen = (self.ended_s >= start_s - 0.001) & (began_s <= stop_s + 0.001)
        if not chosen.any():
            return float("nan"), float("nan")
        stood_s = stood_before(stalls, self.ended_s[chosen]) - stood_before(stalls, began_s[chosen])
        latency_ms = self.latency_ms[chosen]
        return float(latency_ms.max()), float((latency_ms - stood_s * 1000).max())

    def rate(self, start_s: float, stop_s: float) -> float:
        """Return requests per second that ended in a span."""
        return len(self.within(start_s, stop_s).ended_s) / (stop_s - start_s)

    def percentile(self, start_s: float, stop_s: float, percent: float) -> float:
        """Return a percentile of the latency, ms, of requests that ended in a span."""
        return float(np.percentile(self.within(start_s, stop_s).latency_ms, percent))


class Guest:
    """A running fio. Ends when the `with` block ends."""

    def __init__(self, *, uri: str, directory: Path, pattern: str, size_bytes: int, depth: int, iops: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._log = directory / "guest_lat.1.log"
        self._log.unlink(missing_ok=True)
        command = [
            "fio", "--name=guest", "--ioengine=nbd", f"--uri={uri}", f"--rw={pattern}", "--bs=4k",
            f"--iodepth={depth}", f"--size={size_bytes}", "--time_based", "--runtime=3600", "--rwmixread=70",
            "--refill_buffers", f"--write_lat_log={directory / 'guest'}", "--log_unix_epoch=1", "--disable_slat=1",
            "--disable_clat=1",
        ]  # fmt: skip
        if iops:
            command += [f"--rate_iops={iops * 7 // 10},{iops * 3 // 10}"]
        self._output = directory / "fio.txt"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd=directory)
        # fio allocates its job and connects; what it does before that is not what is measured.
        time.sleep(1.5)
        if self._process.poll() is not None:
            raise RuntimeError(f"fio ended at once: {self._output.read_text()[-500:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def finish(self) -> Requests:
        """Stop it and return its requests.

        Raises:
            RuntimeError: It had ended before, so a request had failed.
        """
        if self._process.poll() is not None:
            raise RuntimeError(f"fio ended early: {self._output.read_text()[-500:]}")
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        if "error=" in (text := self._output.read_text()):
            raise RuntimeError(f"a request of the guest failed: {text[-500:]}")
        rows = np.loadtxt(self._log, delimiter=",", usecols=(0, 1), ndmin=2)
        return Requests(ended_s=rows[:, 0] / 1000, latency_ms=rows[:, 1] / 1e6)

"""Floods at the door, without a key, and what a neighbour with one feels of them.

`python -m tests.system.floods` starts a server and a neighbour, who calls DescribeDisks over a kept connection and over
new ones all the time, and sends it, one after the other: a header without an end; lines of headers without an end;
4,200 heads that are half sent, and as many bodies; 3.4 large v1 forms a second; `/metrics` 50 times a second. For each
it tells the neighbour's p99 before and during it, failed calls, and the server's memory. All come from the neighbour's
own address. It exits with 1 where the neighbour is hurt.

`--sources DIR` serves another version of the program. `tests/system/test_floods.py` runs a short one.
"""

import argparse
import contextlib
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from bench.client import CallError, Client

from drystone.client_settings import parse_credentials

CALLS_PER_S = 40.0
P99_MS_MAX = 1500.0
"""What the neighbour may feel on a loaded machine of two cores; without bounds it is seconds."""
GROWTH_MIB_MAX = 400.0
HALF_OPEN = 4200
FORM_BYTES = 1_000_000
FORM_HEAD = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What a neighbour's calls were like in one stretch of time."""

    count: int
    failed: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One flood."""

    name: str
    before: Calls
    during: Calls
    memory_before_mib: float
    memory_most_mib: float
    sent: str

    def wrong(self, *, p99_ms_max: float) -> list[str]:
        """Return how the neighbour was hurt."""
        found = []
        if self.during.failed:
            found.append(f"{self.during.failed} of {self.during.count} calls failed")
        if self.during.p99_ms > p99_ms_max:
            found.append(f"p99 {self.during.p99_ms:.0f} ms")
        if self.memory_most_mib - self.memory_before_mib > GROWTH_MIB_MAX:
            found.append(f"{self.memory_most_mib - self.memory_before_mib:.0f} MiB more memory")
        return found


# --- the neighbour ----------------------------------------------------------------------------------------------------


def _neighbour(environment: dict[str, str], end: Event, calls: Connection) -> None:
    """Call all the time, over a kept connection or a new one; send (when, seconds, whether it was well)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kept = Client(environment)
    due = time.monotonic()
    turn = 0
    while not end.is_set():
        turn += 1
        client = kept if turn % 4 else Client(environment)
        began = time.monotonic()
        try:
            client.call("DescribeDisks", Limit=1)
        except (OSError, HTTPException, CallError, ValueError):
            well = False
            kept.close()
            kept = Client(environment)
        else:
            well = True
        if client is not kept:
            client.close()
        calls.send((began, time.monotonic() - began, well))
        due = max(due + 1 / CALLS_PER_S, time.monotonic() - 1)
        end.wait(max(0.0, due - time.monotonic()))


class Neighbour:
    """A process that calls, and what became of its calls."""

    def __init__(self, environment: dict[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._end = context.Event()
        self._calls, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_neighbour, args=(environment, self._end, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._seen: list[tuple[float, float, bool]] = []

    def between(self, start: float, stop: float) -> Calls:
        """Return the calls that were begun in a stretch of time; waits for the last of them."""
        # A call that takes long counts where it began.
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not self._seen or self._seen[-1][0] < stop):
            with contextlib.suppress(EOFError):
                if self._calls.poll(0.2):
                    self._seen.append(self._calls.recv())
        found = [(seconds, well) for began, seconds, well in self._seen if start <= began < stop]
        times = sorted(seconds * 1000 for seconds, _ in found) or [float("inf")]
        return Calls(
            count=len(found), failed=sum(not well for _, well in found), p50_ms=times[len(times) // 2],
            p99_ms=times[min(len(times) - 1, len(times) * 99 // 100)], max_ms=times[-1],
        )  # fmt: skip

    def close(self) -> None:
        """End the process."""
        self._end.set()
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()
        self._calls.close()


# --- the floods -------------------------------------------------------------------------------------------------------

Flood = Callable[[int, float], str]
"""Sends for so many seconds to a port; returns what it sent."""


def _stream(port: int, seconds: float, opening: bytes, piece: bytes) -> str:
    """Send one head that does not end, again wherever it is cut off."""
    end, sent, cut = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            client.sendall(opening)
            while time.monotonic() < end:
                sent += client.send(piece)
        cut += 1
    return f"{sent / 1e6:.0f} MB, cut off {cut} times"


def endless_value(port: int, seconds: float) -> str:
    """One header whose value does not end."""
    return _stream(port, seconds, b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"v" * 65536)


def endless_lines(port: int, seconds: float) -> str:
    """Headers without an end."""
    return _stream(port, seconds, b"GET / HTTP/1.1\r\nHost: a\r\n", b"a: b\r\n" * 10_000)


def _held(port: int, seconds: float, count: int, opening: bytes) -> str:
    end = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        made = 0
        while made < count and time.monotonic() < end:
            with contextlib.suppress(OSError):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=2))
                client.sendall(opening)
            made += 1
        time.sleep(max(0.0, end - time.monotonic()))
    return f"{made} connections"


def half_open(port: int, seconds: float) -> str:
    """Heads that are half sent."""
    return _held(port, seconds, HALF_OPEN, b"GET / HTTP/1.1\r\nHost: a\r\n")


def half_bodies(port: int, seconds: float) -> str:
    """Bodies that are half sent."""
    head = FORM_HEAD + b"Content-Length: 60000\r\n\r\n"
    return _held(port, seconds, HALF_OPEN, head + b"a" * 8000)


def _ask(port: int, request: bytes) -> None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(request)
        while client.recv(65536):
            pass


def _paced(port: int, seconds: float, every_s: float, request: bytes) -> str:
    end, due, sent = time.monotonic() + seconds, time.monotonic(), 0
    threads: list[threading.Thread] = []
    while due < end:
        threads.append(threading.Thread(target=_ask, args=(port, request)))
        threads[-1].start()
        sent += 1
        due += every_s
        time.sleep(max(0.0, due - time.monotonic()))
    for thread in threads:
        thread.join()
    return f"{sent} requests"


def large_forms(port: int, seconds: float) -> str:
    """3.4 v1 forms of 1 MB a second, without a key."""
    fields = b"SecretId=AKIDnobody&Signature=x&Timestamp=1&Nonce=1&Action=DescribeDisks&Version=2017-03-12"
    filler = b"".join(b"&a%d=%%41" % at for at in range(9000))
    form = fields + filler + b"&z=" + b"%41" * ((FORM_BYTES - len(fields) - len(filler) - 4) // 3)
    head = FORM_HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(form)
    return _paced(port, seconds, 1 / 3.4, head + form)


def metrics(port: int, seconds: float) -> str:
    """`/metrics` 50 times a second."""
    return _paced(port, seconds, 1 / 50, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")


FLOODS: Sequence[Flood] = (endless_value, endless_lines, half_open, half_bodies, large_forms, metrics)


# --- all of it --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(data: Path, sources: Path | None) -> Iterator[tuple[int, dict[str, str]]]:
    """Serve an empty installation; yields the server's pid and what is in credentials.env."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "drystone.toml").write_text("rate_limits = false\n")
    variables = {**os.environ, **({} if sources is None else {"PYTHONPATH": str(sources)})}
    with (data / "server.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "drystone", "serve", "--data", str(data), "--port", "0"],
            stdout=subprocess.PIPE, stderr=log, text=True, env=variables,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("ready http"), (line, (data / "server.log").read_text()[-2000:])
        yield process.pid, parse_credentials((data / "credentials.env").read_text())
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _memory_mib(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def run(floods: Sequence[Flood], data: Path, *, seconds: float, sources: Path | None = None) -> Iterator[Result]:
    """Run floods against one server, one after the other."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with served(data, sources) as (pid, environment):
        port = int(environment["DRYSTONE_ENDPOINT"].rpartition(":")[2])
        neighbour = Neighbour(environment)
        try:
            neighbour.between(time.monotonic(), time.monotonic() + 1)
            for flood in floods:
                began = time.monotonic()
                time.sleep(seconds / 2)
                # What was the most memory so far is forgotten.
                Path(f"/proc/{pid}/clear_refs").write_text("5")
                memory_before = _memory_mib(pid, "VmRSS")
                flooded = time.monotonic()
                sent = flood(port, seconds)
                ended = time.monotonic()
                yield Result(
                    name=flood.__name__.replace("_", " "), before=neighbour.between(began, flooded),
                    during=neighbour.between(flooded, ended), memory_before_mib=memory_before,
                    memory_most_mib=_memory_mib(pid, "VmHWM"), sent=sent,
                )  # fmt: skip
                time.sleep(min(2.0, seconds / 2))
        finally:
            neighbour.close()


def main() -> int:
    """Run all floods and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=12, help="how long each flood is")
    parser.add_argument("--sources", type=Path, help="directory `src` of another version")
    parser.add_argument("--only", choices=[flood.__name__ for flood in FLOODS], action="append")
    options = parser.parse_args()
    chosen = [flood for flood in FLOODS if not options.only or flood.__name__ in options.only]
    hurt = 0
    print(f"{'flood':15} {'p50/p99/max before':>22} {'p50/p99/max during, ms':>24} {'failed':>9} {'MiB':>11}  sent")
    with tempfile.TemporaryDirectory(prefix="drystone-floods-") as directory:
        for one in run(chosen, Path(directory) / "data", seconds=options.seconds, sources=options.sources):
            wrong = one.wrong(p99_ms_max=P99_MS_MAX)
            hurt += bool(wrong)
            before, during = (
                f"{calls.p50_ms:.0f}/{calls.p99_ms:.0f}/{calls.max_ms:.0f}" for calls in (one.before, one.during)
            )
            print(
                f"{one.name:15} {before:>22} {during:>24} {one.during.failed:>4}/{one.during.count:<4} "
                f"{one.memory_before_mib:>4.0f}→{one.memory_most_mib:<5.0f}  {one.sent}"
                + (f"  HURT: {'; '.join(wrong)}" if wrong else ""),
                flush=True,
            )
    return 1 if hurt else 0


if __name__ == "__main__":
    sys.exit(main())

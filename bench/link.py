"""A network link for trials: a TCP proxy with latency, a rate and losses, which counts the requests of HTTP through it.

All connections together have the rate in each direction. A connection costs a round trip, as its handshake does. A
packet that is lost costs those behind it in its connection a round trip more, and nothing else; `capped` lets each
connection have no more than a sender that takes losses for congestion reaches with them. `link` runs it in a process
of its own, so that it takes no time of the one that measures.
"""

import argparse
import asyncio
import json
import math
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

CHUNK_BYTES = 64 << 10
UNDER_WAY_BYTES = 8 << 20
"""What a connection has on its way at most, each way: more than a round trip of any rate that is tried here."""
PACKET_BYTES = 1460
MATHIS = 1.22
"""Source: Mathis and others, The macroscopic behavior of the TCP congestion avoidance algorithm, 1997."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a link is like."""

    rtt_s: float = 0.0
    bytes_per_s: float = 0.0
    """0: no limit."""
    loss: float = 0.0
    """Share of the packets."""
    capped: bool = False

    @property
    def connection_bytes_per_s(self) -> float:
        """What one connection has at most each way; 0: no limit."""
        if not (self.capped and self.loss and self.rtt_s):
            return 0.0
        return MATHIS * PACKET_BYTES / (self.rtt_s * math.sqrt(self.loss))

    def lost_s(self, count: int) -> float:
        """Return by how much bytes come later because a packet of them was lost."""
        return self.rtt_s if self.loss and random.random() > (1 - self.loss) ** (count / PACKET_BYTES) else 0.0


@dataclass
class Lane:
    """What has a rate."""

    bytes_per_s: float
    free_s: float = field(default=0.0)

    def passes_s(self, at: float, count: int) -> float:
        """Return when bytes that come at a time have passed."""
        self.free_s = max(at, self.free_s) + (count / self.bytes_per_s if self.bytes_per_s else 0.0)
        return self.free_s


class Requests:
    """Requests of HTTP in what one connection sends."""

    def __init__(self, counts: "Counter[str]") -> None:
        self._counts = counts
        self._head = b""
        self._skip = 0

    def feed(self, data: bytes) -> None:
        """Take what was sent next."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            # An end may be cut in two.
            known = len(self._head)
            self._head += data[at : at + CHUNK_BYTES]
            end = self._head.find(b"\r\n\r\n", max(0, known - 3))
            if end < 0:
                at += CHUNK_BYTES
                continue
            at += end + 4 - known
            self._note(self._head[:end].decode("latin-1"))
            self._head = b""

    def _note(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        method, target, *_ = [*first.split(" "), "", ""]
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._skip = int(fields.get("content-length") or 0)
        if "transfer-encoding" in fields:
            self._counts["not understood"] += 1
        self._counts[kind_of(method, target)] += 1


def kind_of(method: str, target: str) -> str:
    """Return what a request to S3 is, as its price list has it."""
    parts = urlsplit(target)
    asked = parse_qs(parts.query, keep_blank_values=True)
    inside = "/" in parts.path.strip("/")
    if method == "GET" and not inside and {"list-type", "prefix", "delimiter", "marker"} & set(asked):
        return "list"
    if method == "POST" and "delete" in asked:
        return "delete many"
    if method in {"POST", "PUT"} and {"uploads", "uploadId"} & set(asked):
        return "part"
    return method.lower() if inside else "bucket"


class Proxy:
    """The link."""

    def __init__(self, to: int, shape: Shape) -> None:
        self._to, self._shape = to, shape
        self._there, self._back = (Lane(shape.bytes_per_s) for _ in range(2))
        self.counts: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        try:
            await asyncio.sleep(self._shape.rtt_s)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, far_writer, self._there, "sent", Requests(self.counts)))
                group.create_task(self._pass_on(far_reader, writer, self._back, "received", None))
        except (OSError, ExceptionGroup) as error:
            writer.close()
            if isinstance(error, ExceptionGroup) and error.split(OSError)[1] is not None:
                raise

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lane: Lane, way: str, seen: Requests | None
    ) -> None:
        """Pass bytes on until there are no more, each when it arrives."""
        shape = self._shape
        own = Lane(shape.connection_bytes_per_s)
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY_BYTES // CHUNK_BYTES)

        async def deliver() -> None:
            while (one := await under_way.get())[1]:
                wait = one[0] - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                writer.write(one[1])
                await writer.drain()
            writer.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            while data := await reader.read(CHUNK_BYTES):
                self.bytes[way] += len(data)
                if seen is not None:
                    seen.feed(data)
                passed = lane.passes_s(own.passes_s(time.monotonic(), len(data)), len(data))
                await under_way.put((passed + shape.rtt_s / 2 + shape.lost_s(len(data)), data))
                if own.bytes_per_s:
                    # It sends no quicker, so that others have the link meanwhile.
                    await asyncio.sleep(own.free_s - time.monotonic())
            await under_way.put((0.0, b""))


async def serve(port: int, to: int, shape: Shape) -> None:
    """Be the link; for each line of stdin tell what went through it since the last one. Ends with stdin."""
    proxy = Proxy(to, shape)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with await asyncio.start_server(proxy.connected, "127.0.0.1", port):
        print("ready", flush=True)
        while await lines.readline():
            print(json.dumps({"requests": proxy.counts, **proxy.bytes}), flush=True)
            proxy.counts.clear()
            proxy.bytes.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What went through a link."""

    sent_bytes: int
    received_bytes: int
    requests: dict[str, int]


class Link:
    """A link that runs.

    Attributes:
        port: Where it begins.
    """

    def __init__(self, port: int, process: "subprocess.Popen[str]") -> None:
        self.port = port
        self._process = process

    def take(self) -> Traffic:
        """Return what went through it since the last call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return Traffic(
            sent_bytes=told.get("sent", 0), received_bytes=told.get("received", 0), requests=told["requests"]
        )


@contextmanager
def link(
    to: int, *, rtt_ms: float, mbit_per_s: float = 0.0, loss_percent: float = 0.0, capped: bool = False
) -> Iterator[Link]:
    """Have a link to a local port.

    Args:
        to: Where it ends.
        rtt_ms: Its round trip.
        mbit_per_s: Its rate in each direction; 0 is no limit.
        loss_percent: Share of packets that are lost.
        capped: As in `Shape`.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [
        sys.executable, str(Path(__file__)), str(port), str(to), "--rtt-ms", str(rtt_ms), "--mbit", str(mbit_per_s),
        "--loss", str(loss_percent), *(["--capped"] if capped else []),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the link does not listen")
        yield Link(port, process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("to", type=int)
    parser.add_argument("--rtt-ms", type=float, default=0.0)
    parser.add_argument("--mbit", type=float, default=0.0)
    parser.add_argument("--loss", type=float, default=0.0, help="percent of packets")
    parser.add_argument("--capped", action="store_true")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(
            serve(
                options.port, options.to,
                Shape(
                    rtt_s=options.rtt_ms / 1000, bytes_per_s=options.mbit * 1e6 / 8, loss=options.loss / 100,
                    capped=options.capped,
                ),
            )
        )  # fmt: skip

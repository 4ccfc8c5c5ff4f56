"""A network link for trials: a TCP proxy that adds latency and has a rate; `python bench/link.py PORT TO --rtt-ms N`.

It loses nothing. All connections together have the rate in each direction. A connection costs a round trip, as its
handshake does. `Link` runs it in a process of its own, so that it takes no time of the one that measures.
"""

import argparse
import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

CHUNK_BYTES = 64 << 10
UNDER_WAY_BYTES = 8 << 20
"""What a connection has on its way at most, each way: more than a round trip of any rate that is tried here."""


@dataclass
class Direction:
    """One direction of the link, shared by all connections."""

    bytes_per_s: float
    latency_s: float
    free_s: float = field(default=0.0)

    def arrives_s(self, count: int) -> float:
        """Return when bytes that are sent now are there."""
        now = time.monotonic()
        self.free_s = max(now, self.free_s) + (count / self.bytes_per_s if self.bytes_per_s else 0.0)
        return self.free_s + self.latency_s


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
    """Pass bytes on until there are no more, each when it arrives."""
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
            await under_way.put((direction.arrives_s(len(data)), data))
        await under_way.put((0.0, b""))


async def serve(port: int, to: int, rtt_s: float, bytes_per_s: float) -> None:
    """Be the link until cancelled."""
    there, back = (Direction(bytes_per_s, rtt_s / 2) for _ in range(2))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(rtt_s)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)
            async with asyncio.TaskGroup() as group:
                group.create_task(pass_on(reader, far_writer, there))
                group.create_task(pass_on(far_reader, writer, back))
        except* OSError:
            writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", port) as server:
        await server.serve_forever()


@contextmanager
def link(to: int, *, rtt_ms: float, mbit_per_s: float = 0.0) -> Iterator[int]:
    """Have a link to a local port; yield the port at which it begins.

    Args:
        to: Where it ends.
        rtt_ms: Its round trip.
        mbit_per_s: Its rate in each direction; 0 is no limit.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    process = subprocess.Popen([
        sys.executable, str(Path(__file__)), str(port), str(to), "--rtt-ms", str(rtt_ms), "--mbit", str(mbit_per_s),
    ])  # fmt: skip
    try:
        end = time.monotonic() + 20
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError("the link does not listen")
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("to", type=int)
    parser.add_argument("--rtt-ms", type=float, default=0.0)
    parser.add_argument("--mbit", type=float, default=0.0)
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(options.port, options.to, options.rtt_ms / 1000, options.mbit * 1e6 / 8))

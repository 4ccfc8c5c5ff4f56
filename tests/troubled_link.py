"""A way to an S3 server that can be in trouble: slow, refusing everything, or hanging; changed while it is used."""

import asyncio
import contextlib
import threading
import time
from typing import Literal, Self

Trouble = Literal["fine", "slow", "refuses", "hangs"]
CHUNK_BYTES = 64 << 10
LOOK_S = 0.05
REFUSAL = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)  # fmt: skip


class TroubledLink:
    """A proxy before a local port, in a thread; use as a context manager.

    Attributes:
        port: Where it listens, once it is entered.
        bytes_per_s: What all connections together pass in each direction while it is `slow`.
    """

    def __init__(self, to: int, *, bytes_per_s: float = 1e6) -> None:
        self.port = 0
        self.bytes_per_s = bytes_per_s
        self._to = to
        self._trouble: Trouble = "fine"
        self._free_s = {"there": 0.0, "back": 0.0}
        self._connections: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._listening, self._ended = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)

    @property
    def trouble(self) -> Trouble:
        """What is the matter with it."""
        return self._trouble

    @trouble.setter
    def trouble(self, trouble: Trouble) -> None:
        self._trouble = trouble
        if trouble in {"fine", "refuses"}:
            # Whoever hung finds out, as when a machine comes back.
            self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in self._connections:
            writer.transport.abort()

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        async with server:
            await self._ended.wait()
            self._cut()
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.wait(others | {asyncio.ensure_future(asyncio.sleep(0))})

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            if self._trouble == "refuses":
                await self._refuse(reader, writer)
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
                self._connections.add(far_writer)
                await asyncio.gather(
                    self._pass_on(reader, far_writer, "there"), self._pass_on(far_reader, writer, "back")
                )
                self._connections.discard(far_writer)
        self._connections.discard(writer)
        writer.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [int(one[15:]) for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:")]
        left = sum(lengths)
        while left > 0 and (data := await reader.read(min(left, CHUNK_BYTES))):
            left -= len(data)
        writer.write(
            b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(REFUSAL)
            + (b"" if head.startswith(b"HEAD") else REFUSAL)
        )
        await writer.drain()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        while data := await reader.read(CHUNK_BYTES):
            while self._trouble == "hangs":
                await asyncio.sleep(LOOK_S)
            if self._trouble == "slow":
                self._free_s[way] = max(self._free_s[way], time.monotonic()) + len(data) / self.bytes_per_s
                await asyncio.sleep(self._free_s[way] - time.monotonic())
            writer.write(data)
            await writer.drain()
        writer.close()

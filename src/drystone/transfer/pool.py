"""Worker processes, kept warm, one job each at a time."""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Self, TypeVar

import msgspec
import structlog

from drystone.domain.errors import (
    UnavailableError,
)
from drystone.objects.measured import Tally
from drystone.transfer.failures import BUG, error_of
from drystone.transfer.jobs import Counts, Failure, Job, Message, Progress, Result
from drystone.transfer.places import Places

WAITING_MAX = 8
"""Calls of one account that may wait for a background worker: those that wait longer had better be asked again."""
_LINE_BYTES_MAX: Final = 128 << 20
"""Longest line of a worker: a result names every pack that was written, 230 bytes per 32 MiB of new data."""
START_ATTEMPTS: Final = 6
START_SECONDS: Final = 0.2
"""A process that cannot be started now (no memory, no descriptors, no processes) is tried again after 0.2 s, 0.4 s, …:
within 6 s in all, which a snapshot that waits for it can afford."""
R = TypeVar("R")

log = structlog.get_logger(__name__)


class WorkerPool:
    """Runs jobs in `size` processes; use as an async context manager.

    Args:
        size: Processes that the jobs of one account alone may have at once.
        reserve: Further processes, started when needed, one each for accounts that have none at work (S156).
        nice: Nice value of the workers.
        tally: Counts what they ask of stores.
        command: What to start, for tests.
    """

    def __init__(
        self,
        *,
        size: int,
        reserve: int = 1,
        nice: int = 10,
        tally: Tally | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        assert size > 0
        self._size = size
        self._tally = Tally() if tally is None else tally
        self._places = Places(size, reserve=reserve)
        self._command = command or (sys.executable, "-P", "-m", "drystone.transfer.worker", str(nice))
        self._idle: deque[asyncio.subprocess.Process] = deque()
        """Who holds a place and finds none here starts one."""
        self._running: set[asyncio.subprocess.Process] = set()
        self._closed = True

    async def __aenter__(self) -> Self:
        """Open the pool; a process starts with the first job that needs it, or with `warm`."""
        self._closed = False
        return self

    async def warm(self) -> None:
        """Start the processes that no job has started yet, so that the next jobs need not wait for that."""
        while len(self._running) < self._size:
            process = await self._replacement()
            if process is None:
                return
            self._idle.append(process)

    async def __aexit__(self, *_exception: object) -> None:
        """Kill the processes; jobs that still run fail."""
        self._closed = True
        for process in tuple(self._running):
            await self._kill(process)

    async def run(
        self,
        job: Job,
        result: type[R],
        on_progress: Callable[[Progress], None] | None = None,
        *,
        account: str = "",
        waiting_max: int | None = None,
    ) -> R:
        """Run a job in a free process, when it is the account's turn.

        Cancelling kills the process, so that afterwards the job does nothing any more.

        Args:
            job: What to do.
            result: The kind of result that this job has.
            on_progress: Called some times a second at most.
            account: Whose job it is; an empty text is the installation's own.
            waiting_max: Jobs of this account that may wait, further ones are refused; None where they are few anyhow.

        Raises:
            RefusalError: Too many jobs of the account wait; nothing was done.
            UnavailableError: No process can be started, or the worker died; how far it came is not known.
            DrystoneError: What the job raised.
            AssertionError: The worker met a bug.
        """
        if self._closed:
            raise UnavailableError("the worker pool is closed")
        async with self._places.hold(account, waiting_max=waiting_max):
            answer = await self._answer(job, on_progress)
        if isinstance(answer, Failure):
            raise error_of(answer)
        assert isinstance(answer, result), answer
        return answer

    async def _answer(self, job: Job, on_progress: Callable[[Progress], None] | None) -> Result | Failure:
        process = self._idle.popleft() if self._idle else None
        keep = False
        try:
            if process is None or process.returncode is not None:
                if process is not None:
                    await self._kill(process)
                process = await self._started()
            answer = await _converse(process, job, on_progress, self._tally)
            keep = not isinstance(answer, Failure) or answer.kind != BUG
        finally:
            place = process if keep else None
            try:
                if place is None and process is not None:
                    await self._kill(process)
                    place = await self._replacement()
            finally:
                if place is not None:
                    self._idle.append(place)
        return answer

    async def _started(self) -> asyncio.subprocess.Process:
        """Return a new process, tried for some times.

        Raises:
            UnavailableError: None can be started.
        """
        for attempt in range(START_ATTEMPTS - 1):
            try:
                return await self._start()
            except UnavailableError as error:
                if self._closed:
                    raise
                log.warning("pool.start_failed", attempt=attempt + 1, error=str(error))
            await asyncio.sleep(START_SECONDS * 2**attempt)
        return await self._start()

    async def _start(self) -> asyncio.subprocess.Process:
        if self._closed:
            raise UnavailableError("the worker pool is closed")
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES_MAX,
            )
        except (OSError, MemoryError) as error:
            raise UnavailableError(f"no worker process can be started: {error}") from error
        self._running.add(process)
        return process

    async def _replacement(self) -> asyncio.subprocess.Process | None:
        """Return a new process, or None: then one is started when it is next needed."""
        if self._closed:
            return None
        try:
            return await self._start()
        except UnavailableError as error:
            log.warning("pool.start_failed", error=str(error))
            return None

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        """Kill a process and wait for its end, also while being cancelled: it must not write afterwards."""
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        self._running.discard(process)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def _converse(
    process: asyncio.subprocess.Process, job: Job, on_progress: Callable[[Progress], None] | None, tally: Tally
) -> Result | Failure:
    """Send a job and return its answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        await process.stdin.drain()
        while True:
            line = await process.stdout.readline()
            if not line.endswith(b"\n"):
                raise UnavailableError(f"worker {process.pid} died")
            message: Message = msgspec.json.decode(line, type=Message)
            if isinstance(message, Counts):
                tally.add(*message.counts)
            elif not isinstance(message, Progress):
                return message
            elif on_progress is not None:
                on_progress(message)
    except (ConnectionError, ValueError) as error:
        raise UnavailableError(f"worker {process.pid}: {error}") from error

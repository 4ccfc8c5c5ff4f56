"""A worker process: `python -m drystone.transfer.worker [nice value]`.

Reads one job per line of JSON from its standard input, one at a time; prints progress lines and then one line with
the result or the failure. It ends when its standard input does, at once, also in the middle of a job: then its
parent is dead or has given the job up, and what it wrote is garbage of a session that will be fenced (L6).
"""

import contextlib
import ctypes
import os
import queue
import random  # noqa: TID251 - this module is its process's composition root
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

import msgspec
import structlog

from drystone.domain.errors import expected
from drystone.logs import configure_logs
from drystone.objects.address import open_objects
from drystone.objects.measured import Tally
from drystone.snapstore.far import far_from
from drystone.snapstore.key_files import keks_from
from drystone.snapstore.space import SpaceMemory
from drystone.snapstore.store import Store, reopen_store
from drystone.transfer.addresses import StoreAddress
from drystone.transfer.compaction import compact
from drystone.transfer.comparison import compare
from drystone.transfer.difference import differences
from drystone.transfer.failures import BUG, failure_of
from drystone.transfer.garbage import collect, deaths
from drystone.transfer.jobs import (
    CompareJob,
    Counts,
    DifferenceJob,
    Failure,
    Job,
    Message,
    Progress,
    Result,
    RollbackJob,
    SendJob,
    UploadJob,
)
from drystone.transfer.rollback import rollback
from drystone.transfer.scrub import mend, scrub
from drystone.transfer.sending import send_spooled
from drystone.transfer.space import space
from drystone.transfer.store_jobs import CollectJob, CompactJob, DeathsJob, MendJob, ScrubJob, SpaceJob
from drystone.transfer.upload import upload

_PROGRESS_S: Final = 0.2
_JOBS_WAITING: Final = 1
COUNTS_S: Final = 1.0
SWITCH_S: Final = 2e-4
"""A thread that comes back from libnbd (6 times per MiB) waits this long for the interpreter while others hash.

Hashing lets go of the interpreter for microseconds only, too short for a waiting thread to take it, so that it gets
it after this time; Python's own 5 ms would make reading 30 ms per MiB slower.
"""

_MALLOC_SETTINGS: Final = ((-1, 128 << 20), (-3, 32 << 20), (-8, 1))
"""M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of glibc's malloc.h: see `keep_freed_memory`."""

_PRINTING: Final = threading.Lock()
"""Progress, counts and answers come from several threads, each as a line."""

_TAKING: Final = threading.Lock()

log = structlog.get_logger(__name__)


def open_address(address: StoreAddress, tally: Tally | None = None, *, serves: bool = False) -> Store:
    """Open the store that a job names; `tally` counts what is asked of it, `serves` is as in `far_from`.

    Raises:
        DrystoneError: It cannot be opened.
    """
    objects = open_objects(address.objects, tally)
    return reopen_store(objects, address.store_id, far_from(address.objects, serves=serves), keks_from(address.objects))


class Kept:
    """The store that the last job had, for the next one: over a network its root objects and connections cost time.

    Its key never changes (I3), and whose it is the server looks at before a manifest and each deletion (S200).
    """

    def __init__(self) -> None:
        self._key: object = None
        self._store: Store | None = None

    @contextlib.contextmanager
    def lent(self, address: StoreAddress, tally: Tally | None, *, serves: bool) -> Iterator[Store]:
        """Open a store, or have the one that is open; after an error the next job opens it anew."""
        key = address, serves
        store = self._store if self._key == key else None
        if store is None:
            self._end()
            store = open_address(address, tally, serves=serves)
        self._key = self._store = None
        try:
            yield store
        except BaseException:
            store.close()
            raise
        if store.far is None:
            return
        self._key, self._store = key, store

    def _end(self) -> None:
        if self._store is not None:
            self._store.close()
        self._key = self._store = None


def execute(
    job: Job,
    progress: "ProgressLines",
    rng: random.Random,
    kept: Kept,
    memory: SpaceMemory | None = None,
    tally: Tally | None = None,
) -> Result:
    """Do one job; `kept` and `memory` are of the jobs before it, `tally` counts what it asks of the store.

    Raises:
        DrystoneError: As its function says.
    """
    # Who writes, checks or deletes is told by the store itself what it has (S207).
    serves = isinstance(job, RollbackJob | DifferenceJob)
    with kept.lent(job.store, tally, serves=serves) as store:
        return _execute(job, store, progress, rng, memory)


def _execute(
    job: Job, store: Store, progress: "ProgressLines", rng: random.Random, memory: SpaceMemory | None
) -> Result:
    if isinstance(job, UploadJob):
        return upload(job, store, rng, progress)
    if isinstance(job, SendJob):
        return send_spooled(job, store, progress)
    if isinstance(job, RollbackJob):
        return rollback(job, store, progress)
    if isinstance(job, DeathsJob):
        return deaths(job, store)
    if isinstance(job, CompactJob):
        return compact(job, store, rng, progress)
    if isinstance(job, SpaceJob):
        return space(job, store, memory)
    if isinstance(job, CompareJob):
        return compare(job, store)
    if isinstance(job, ScrubJob):
        return scrub(job, store, progress)
    if isinstance(job, MendJob):
        return mend(job, store, rng)
    if isinstance(job, DifferenceJob):
        return differences(job, store)
    assert isinstance(job, CollectJob)
    return collect(job, store, progress)


class ProgressLines:
    """Prints progress, at most five lines a second."""

    def __init__(self) -> None:
        self._last_s = float("-inf")

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        """Report; lines that come too soon are left out."""
        now_s = time.monotonic()
        if now_s - self._last_s >= _PROGRESS_S:
            self._last_s = now_s
            _print(Progress(done_bytes=done_bytes, total_bytes=total_bytes))


def keep_freed_memory() -> None:
    """Have up to 128 MiB that were freed stay with this process; only before it has threads.

    A pack's frames are made, stored and freed, 32 MiB at a time. Given back to the kernel, that memory is cleared and
    mapped anew for the next pack: a page fault for every 4 KiB that are stored. Without glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, value in _MALLOC_SETTINGS:
            mallopt(setting, value)


def main(arguments: list[str]) -> None:
    """Serve jobs until standard input ends."""
    # Ctrl-C in the server's terminal reaches this process, too. It ends with its input, once the server lets go of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Guests come first: with a nice value of 10 a worker gets a tenth of a core that a guest wants, all of it else.
    os.nice(int(arguments[0]) if arguments else 10)
    sys.setswitchinterval(SWITCH_S)
    keep_freed_memory()
    configure_logs("info")
    jobs: queue.Queue[bytes] = queue.Queue(_JOBS_WAITING)
    threading.Thread(target=_read_jobs, args=(jobs,), name="jobs", daemon=True).start()
    rng = random.SystemRandom()
    memory, tally, kept = SpaceMemory(), Tally(), Kept()
    threading.Thread(target=_tell_counts, args=(tally,), name="counts", daemon=True).start()
    while True:
        line = jobs.get()
        try:
            job = msgspec.json.decode(line, type=Job)
            answer: Result | Failure = execute(job, ProgressLines(), rng, kept, memory, tally)
        except Exception as error:
            why = expected(error)
            if why is None:
                # A bug ends the process, once its parent knows of it.
                log.exception("worker.bug")
                _print(Failure(kind=BUG, message=f"{type(error).__name__}: {error}"))
                raise
            answer = failure_of(why)
        _print_counts(tally)
        _print(answer)


def _read_jobs(jobs: queue.Queue[bytes]) -> None:
    """Pass lines on; end the process when there are no more."""
    for line in sys.stdin.buffer:
        try:
            jobs.put_nowait(line)
        except queue.Full:
            # Waiting here would miss the end of input; and the parent sends one job at a time.
            log.error("worker.too_many_jobs")  # noqa: TRY400 - there is nothing to trace
            os._exit(2)
    os._exit(0)


def _tell_counts(tally: Tally) -> None:
    """Say what was asked of the store while it is asked: whoever is killed in the middle has said most of it."""
    while True:
        time.sleep(COUNTS_S)
        _print_counts(tally)


def _print_counts(tally: Tally) -> None:
    # Whoever takes prints before the next takes: all of a job is told before its answer.
    with _TAKING:
        if counts := tally.take():
            _print(Counts(counts=counts))


def _print(message: Message) -> None:
    with _PRINTING:
        sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])

"""What a process that outlives its parent asks of a store, told in a file for whoever counts (S273)."""

import contextlib
import threading
from pathlib import Path
from typing import Final

import msgspec
import structlog

from drystone.objects.measured import Count, Tally

log = structlog.get_logger(__name__)
EVERY_S: Final = 1.0
"""What a process that is killed has not told."""


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a process has asked for since it began; `process` is another for each that ever runs."""

    process: str
    counts: tuple[Count, ...]


class Telling:
    """Writes a tally into a file again and again, from a thread of its own; use as a context manager.

    Args:
        tally: What to tell.
        file: Where. It is replaced as a whole, and need not survive a power cut.
        process: Names this process as no other that wrote there.
    """

    def __init__(self, tally: Tally, file: Path, process: str) -> None:
        self._tally, self._file, self._process = tally, file, process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counts", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        told: tuple[Count, ...] = ()
        last = False
        while not last:
            last = self._ended.wait(EVERY_S)
            counts = self._tally.counts()
            if counts != told:
                part = self._file.with_name(f".{self._file.name}")
                try:
                    part.write_bytes(msgspec.json.encode(Told(process=self._process, counts=counts)))
                    part.replace(self._file)
                except OSError as error:
                    log.warning("counts.not_told", file=str(self._file), error=str(error))
                else:
                    told = counts


class Listening:
    """Adds to a tally what is told in a file from now on: each request once, whoever makes it.

    What was told before is another's to have counted: nothing is counted twice over a restart of those who listen.

    Args:
        tally: To which.
        file: See `Telling`.
    """

    def __init__(self, tally: Tally, file: Path) -> None:
        self._tally, self._file = tally, file
        self._lock = threading.Lock()
        self._heard = self._told() or Told(process="", counts=())

    def listen(self) -> None:
        """Add what was not added yet; a file that is not there, or is not whole, tells nothing."""
        with self._lock:
            told = self._told()
            if told is not None:
                before = self._heard.counts if told.process == self._heard.process else ()
                self._tally.add(*told_since(told.counts, before))
                self._heard = told

    def _told(self) -> Told | None:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._file.read_bytes(), type=Told)
        return None


def told_since(counts: tuple[Count, ...], before: tuple[Count, ...]) -> tuple[Count, ...]:
    """Return what was counted since `before`."""
    known = {(one.store, one.kind): one for one in before}
    found = []
    for one in counts:
        old = known.get((one.store, one.kind))
        if one == old:
            continue
        found.append(one if old is None else Count(
            store=one.store, kind=one.kind, requests=one.requests - old.requests, bytes=one.bytes - old.bytes,
            errors=one.errors - old.errors, seconds=one.seconds - old.seconds,
        ))  # fmt: skip
    return tuple(found)

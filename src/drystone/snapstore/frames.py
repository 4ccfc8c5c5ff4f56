"""Frames of packs: neighbours by one request, several requests at once, and none twice at the same time (S206)."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from drystone.codec.map import PackRef
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.far import Far, each
from drystone.snapstore.packs import Frame, PackSource

FRAMES_AT_ONCE: Final = 16
"""Frames of one request, and those that one who reads holds: 4 MiB of a disk."""


@dataclass(frozen=True, slots=True)
class FrameKey:
    """A frame, as an entry of a map names it: number in a pack, and hash of its list."""

    ref: PackRef
    number: int
    expected: bytes


class FrameCache:
    """The frames of a source; thread-safe.

    Args:
        source: Where they come from.
        cache: For them.
        far: Of a store over a network.
    """

    def __init__(self, source: PackSource, cache: ByteCache[FrameKey, Frame], far: Far | None) -> None:
        self._source = source
        self._far = far
        self._cache = cache
        self._lock = threading.Lock()
        self._coming: dict[FrameKey, Future[Frame]] = {}

    def get(self, keys: Sequence[FrameKey]) -> list[Frame]:
        """Return frames, all different, at most `FRAMES_AT_ONCE`.

        Raises:
            IntegrityError, MissingPackError, UnavailableError: As `PackSource.frame`, of any of them.
        """
        found = [self._cache.get(key) for key in keys]
        missing = [key for key, frame in zip(keys, found, strict=True) if frame is None]
        if not missing:
            return [frame for frame in found if frame is not None]
        mine: dict[FrameKey, Future[Frame]] = {}
        others: dict[FrameKey, Future[Frame]] = {}
        with self._lock:
            for key in missing:
                coming = self._coming.get(key)
                if coming is None:
                    mine[key] = self._coming[key] = Future()
                else:
                    others[key] = coming
        # What this one asks for comes first: then nobody waits in a circle.
        faults = [one for one in each(self._far, lambda run: self._fetch(run, mine), _runs(list(mine))) if one]
        if faults:
            raise faults[0]
        coming_ones = mine | others
        return [coming_ones[key].result() if frame is None else frame for key, frame in zip(keys, found, strict=True)]

    def _fetch(self, run: Sequence[FrameKey], mine: dict[FrameKey, "Future[Frame]"]) -> BaseException | None:
        """Read a run; whoever waits for it is told, also of an error, which is returned."""
        fault: BaseException | None = None
        frames: list[Frame] = []
        try:
            frames = self._source.frames(run[0].ref, [(key.number, key.expected) for key in run])
            for key, frame in zip(run, frames, strict=True):
                self._cache.put(key, frame, len(frame.plain))
        except BaseException as error:  # noqa: BLE001 - it is told, and raised by whoever asked
            fault = error
        with self._lock:
            for key in run:
                del self._coming[key]
        for key in run if fault else ():
            mine[key].set_exception(fault)
        for key, frame in zip(run, frames, strict=False):
            mine[key].set_result(frame)
        return fault


def _runs(keys: list[FrameKey]) -> list[list[FrameKey]]:
    """Group neighbours."""
    runs: list[list[FrameKey]] = []
    for key in sorted(keys, key=lambda one: (one.ref.pack, one.number)):
        last = runs[-1][-1] if runs else None
        if last is not None and (last.ref, last.number + 1) == (key.ref, key.number) and len(runs[-1]) < FRAMES_AT_ONCE:
            runs[-1].append(key)
        else:
            runs.append([key])
    return runs

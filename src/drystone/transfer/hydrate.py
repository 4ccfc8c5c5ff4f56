"""Pull a disk's source into its image, beside everything else, by CMD_CACHE on a read-only export of the image."""

import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from drystone.domain.blocks import BLOCK_BYTES, Ranges, count, split
from drystone.domain.errors import UnavailableError
from drystone.nbd.client import NbdClient

PIECE_BYTES: Final = 1 << 20
DEPTH: Final = 8
_CREDIT_S: Final = 0.1
"""How much unused time may be made up for: more would be a burst after each wait of the source."""
_HELD_S: Final = 0.005
"""How often it is looked whether it may go on."""


def hydrate(
    client: NbdClient,
    ranges: Ranges,
    *,
    rate_bytes_per_s: int,
    stop: threading.Event,
    on_progress: Callable[[int, int], None],
    held: Callable[[], bool] = lambda: False,
) -> int:
    """Have the storage daemon copy `ranges` from the disk's backing into its image, durably.

    What was copied is flushed on the connection that asked for it (S9): a daemon that dies loses what it had not
    flushed, and its successor, asked to flush, knows nothing of that.

    No data flows through this process. It sets no dirty bits, keeps what the guest wrote, and may be run again
    from the beginning at any time. It blocks: run it in a thread.

    Args:
        client: Connected to the hydration export (on the image's node, below the throttle); closed by its owner.
        ranges: Blocks in which the source holds data.
        rate_bytes_per_s: Most bytes asked for per second; 0 is no limit.
        stop: Ends it early, within a second.
        on_progress: Called with (bytes copied, bytes in all) after each piece.
        held: Nothing more is asked for while it is true.

    Returns:
        Bytes copied: all of `ranges`, unless it was stopped.

    Raises:
        UnavailableError: The daemon or the source does not answer, or it was stopped while waiting for them.
    """
    total_bytes = count(ranges) * BLOCK_BYTES
    done_bytes = 0
    on_progress(0, total_bytes)
    paced = _paced(ranges, rate_bytes_per_s, stop, held)
    for _start, length in client.cache_ranges(paced, depth=DEPTH, piece_bytes=PIECE_BYTES, stop=stop.is_set):
        done_bytes += length
        on_progress(done_bytes, total_bytes)
    client.flush()
    return done_bytes


def hydrate_file(
    file: Path,
    ranges: Ranges,
    *,
    rate_bytes_per_s: int,
    stop: threading.Event,
    held: Callable[[], bool] = lambda: False,
) -> int:
    """As `hydrate`, by reading `ranges` of a file that is a copy-on-read view of the disk.

    Raises:
        UnavailableError: The file cannot be read: its daemon died, or it was taken away.
    """
    done_bytes = 0
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT)
    except OSError as error:
        raise UnavailableError(f"{file} cannot be opened: {error}") from error
    # Page-aligned, as direct I/O wants it: data that is only copied should not fill the page cache.
    with mmap.mmap(-1, PIECE_BYTES) as buffer:
        try:
            for start, length in _paced(ranges, rate_bytes_per_s, stop, held):
                if stop.is_set():
                    break
                view = memoryview(buffer)[:length]
                try:
                    read = os.preadv(descriptor, [view], start)
                finally:
                    view.release()
                if read != length:
                    raise UnavailableError(f"{file}: {read} bytes at {start}, expected {length}")
                done_bytes += length
            os.fsync(descriptor)
        except OSError as error:
            raise UnavailableError(f"{file} cannot be read: {error}") from error
        finally:
            os.close(descriptor)
    return done_bytes


def _paced(
    ranges: Ranges, rate_bytes_per_s: int, stop: threading.Event, held: Callable[[], bool]
) -> Iterator[tuple[int, int]]:
    """Yield (start byte, length) of pieces no sooner than the rate allows, and none while it is `held`."""
    due_s = time.monotonic()
    for start, past in split(ranges, PIECE_BYTES // BLOCK_BYTES):
        if rate_bytes_per_s > 0:
            now_s = time.monotonic()
            due_s = max(due_s, now_s - _CREDIT_S)
            if due_s > now_s and stop.wait(due_s - now_s):
                return
            due_s += (past - start) * BLOCK_BYTES / rate_bytes_per_s
        while held():
            if stop.wait(_HELD_S):
                return
        yield start * BLOCK_BYTES, (past - start) * BLOCK_BYTES

"""Serves snapshots over NBD: `python -m drystone.transfer.snapserver --help` says how it is started.

The export's name is a snapshot's id, or `ID/SESSION` where a failed attempt left a second manifest. It reads the
store alone, needs no catalog, and outlives the control plane: whoever starts it gives it a session of its own. It is
ready when its socket accepts; SIGTERM ends it.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from drystone.domain.blocks import BLOCK_BYTES, cover_bytes
from drystone.domain.errors import DrystoneError, UnavailableError
from drystone.domain.ids import SessionId, SnapshotId, StoreId
from drystone.logs import configure_logs
from drystone.nbd.connection import ServerLimits
from drystone.nbd.server import NbdServer
from drystone.objects.address import ObjectsAddress, open_objects
from drystone.objects.contract import NotFoundError
from drystone.objects.measured import Tally
from drystone.objects.retrying import ATTEMPTS
from drystone.objects.told_counts import Telling
from drystone.snapstore.far import far_from
from drystone.snapstore.key_files import keks_from
from drystone.snapstore.reader import Caches, SnapshotReader
from drystone.snapstore.store import Store, reopen_store
from drystone.transfer.boot_order import BootOrder
from drystone.transfer.worker import SWITCH_S

READERS_MAX: Final = 16
"""Snapshots that are kept open; more may be in use at once, one per connection at most."""
CACHE_BYTES: Final = 512 << 20
"""Memory of the caches that they share."""

FAR_THREADS: Final = 16
"""Requests of a store over a network that are answered at once."""

log = structlog.get_logger(__name__)


class SnapshotExport:
    """One snapshot as an NBD export; may be used by several threads."""

    def __init__(self, reader: SnapshotReader) -> None:
        self._reader = reader
        far = reader.store.far
        self._order = None if far is None or far.cache is None else BootOrder(reader, far, far.cache)

    @property
    def size_bytes(self) -> int:
        """The snapshot's size."""
        return self._reader.size_bytes

    def read(self, offset: int, length: int) -> bytearray:
        """Return verified bytes; see `Export.read`."""
        if self._order is not None:
            self._order.read(offset, length)
        with _as_unavailable():
            return self._reader.read(offset, length)

    def extents(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        """Return where data and zeros are; see `Export.extents`."""
        first, past = cover_bytes(offset, offset + length)
        with _as_unavailable():
            data = self._reader.data_ranges(first, past)
        found: list[tuple[int, bool]] = []
        at, stop = offset, offset + length
        for low, high in (data * BLOCK_BYTES).tolist():
            begin, end = max(low, at), min(high, stop)
            if begin > at:
                found.append((begin - at, True))
            if end > begin:
                found.append((end - begin, False))
            at = max(at, end)
        if at < stop:
            found.append((stop - at, True))
        return found


class SnapshotProvider:
    """Opens snapshots of a store and keeps the last used ones open.

    Args:
        store: Where they are.
        readers_max: How many are kept.
        cache_bytes: Memory of their caches together.
    """

    def __init__(self, store: Store, *, readers_max: int = READERS_MAX, cache_bytes: int = CACHE_BYTES) -> None:
        self._store = store
        self._readers_max = readers_max
        self._caches = Caches(cache_bytes)
        self._lock = threading.Lock()
        self._exports: OrderedDict[str, SnapshotExport] = OrderedDict()

    def open(self, name: str) -> SnapshotExport:
        """Return the export of a snapshot id, or of `ID/SESSION`.

        Raises:
            DrystoneError: There is no such snapshot, or it cannot be read now.
        """
        with self._lock:
            export = self._exports.get(name)
            if export is not None:
                self._exports.move_to_end(name)
                return export
        snapshot, _, session = name.partition("/")
        if not snapshot.replace("-", "").isalnum() or (name.partition("/")[1] and not _is_session(session)):
            raise NotFoundError(f"{name!r} is no snapshot")
        where = self._store.manifest_name(SnapshotId(snapshot), SessionId(session)) if session else snapshot
        export = SnapshotExport(SnapshotReader.open(self._store, where, self._caches))
        with self._lock:
            export = self._exports.setdefault(name, export)
            self._exports.move_to_end(name)
            while len(self._exports) > self._readers_max:
                self._exports.popitem(last=False)
        return export

    def names(self) -> Sequence[str]:
        """Return nothing: snapshots are asked for by name, and a store may hold a hundred thousand."""
        return ()


def _is_session(text: str) -> bool:
    return len(text) == 32 and set(text) <= set("0123456789abcdef")


class _as_unavailable:  # noqa: N801 - reads as a statement
    """What is not found now may be listed late: the client is told EIO and tries again."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NotFoundError):
            raise UnavailableError(str(error)) from error


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    parser = ArgumentParser(prog="drystone.transfer.snapserver")
    parser.add_argument("--objects", required=True, help="address of the object store, without keys")
    parser.add_argument("--store", required=True, help="id of the store")
    parser.add_argument("--attempts", type=int, default=ATTEMPTS, help="requests of a read, one each ten seconds")
    parser.add_argument("--counts", type=Path, required=True, help="file to tell in what was asked of the store")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to listen on")
    options = parser.parse_args(arguments)
    configure_logs("info")
    # Requests are answered by several threads that hash and decompress: as in a worker.
    sys.setswitchinterval(SWITCH_S)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        address = msgspec.json.decode(options.objects, type=ObjectsAddress)
        tally = Tally()
        objects = open_objects(address, tally, attempts=options.attempts, hedged=True)
        far = far_from(address, serves=True)
        # Over a network requests wait, and take no processor meanwhile.
        limits = ServerLimits() if far is None else ServerLimits(request_threads=FAR_THREADS)
        store = reopen_store(objects, StoreId(options.store), far, keks_from(address))
        counting = Telling(tally, options.counts, f"{os.getpid()}.{time.monotonic_ns()}")
        server = NbdServer(options.socket, SnapshotProvider(store), limits=limits)
        with contextlib.closing(store), counting, server:
            log.info("snapserver.ready", socket_path=str(options.socket))
            ended.wait()
    except DrystoneError as error:
        log.error("snapserver.failed", error=str(error))  # noqa: TRY400 - an expected failure needs no trace
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

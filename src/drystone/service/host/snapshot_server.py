"""The process from which disks that hydrate read their snapshot; it outlives the control plane, like the daemons."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from drystone.catalog import snapshots
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import SnapshotId, StoreId
from drystone.engine import process
from drystone.engine.graph import Backing
from drystone.engine.layout import Layout
from drystone.nbd.client import NbdClient
from drystone.nbd.server import NbdServer, waiting_name
from drystone.objects.address import DirectoryAddress, ObjectsAddress
from drystone.objects.measured import Tally
from drystone.objects.retrying import ATTEMPTS, LONGEST_S
from drystone.objects.told_counts import Listening
from drystone.service.transactions import Transactions

log = structlog.get_logger()
WAITED_MS_MAX = 100
"""A request this old may stay for minutes: whatever waits for it must not be begun (F13)."""
ANSWER_SECONDS_MAX = 1.0
CALM_SECONDS_MAX = 10.0
ASK_SECONDS = 0.02


class SlowSourceError(UnavailableError):
    """The snapshot that a disk is filled from is not read in time just now."""


class SnapshotServer:
    """The one snapshot server of this installation.

    Args:
        layout: Where its socket is.
        place: Where the store is.
        store_id: The store that it reads.
        environment: What it is given: PATH, and what it needs to reach a bucket.
        transactions: The catalog's.
        wait_s: How long a read waits for a bucket that does not answer.
        tally: Counts what it asks of a bucket.
    """

    def __init__(
        self,
        *,
        layout: Layout,
        place: ObjectsAddress,
        store_id: StoreId,
        environment: Mapping[str, str],
        transactions: Transactions,
        wait_s: float = 0.0,
        tally: Tally | None = None,
    ) -> None:
        self._layout = layout
        self._place = place
        self._attempts = ATTEMPTS + round(wait_s / LONGEST_S)
        self._store_id = store_id
        self._environment = environment
        self._transactions = transactions
        self._directory = layout.store_socket.parent
        self._counts = self._directory / "counts.json"
        self._listening = Listening(Tally() if tally is None else tally, self._counts)
        self._lock = asyncio.Lock()
        """Held while it is looked for or started: there is one."""

    async def ensure(self) -> None:
        """Have it running; storage daemons reconnect to a new one by themselves.

        Raises:
            UnavailableError: It does not start.
        """
        socket = self._layout.store_socket
        async with self._lock:
            running = await asyncio.to_thread(process.adopt, self._directory)
            if running is not None and socket.exists():
                if not await asyncio.to_thread(_reads_another, running.pid, self._place):
                    return
                log.info("snapserver.replaced", reason="the store was moved")
            if running is not None:
                await running.end()  # Who reads from it connects again.
            await asyncio.to_thread(self.count)  # The next one tells in the same file.
            await process.start(
                (sys.executable, "-P", "-m", "drystone.transfer.snapserver", "--objects",
                 msgspec.json.encode(self._place).decode(), "--attempts", str(self._attempts), "--store",
                 self._store_id, "--socket", str(socket), "--counts", str(self._counts)),
                directory=self._directory, log_file=self._layout.logs / "snapshot-server.log",
                ready=socket, environment=self._environment, alone=True,
            )  # fmt: skip

    def count(self) -> None:
        """Add to the tally what it has asked of the bucket since this was called last."""
        self._listening.listen()

    async def serving(self, snapshot_id: SnapshotId) -> Backing:
        """Have it running; return where it serves a snapshot.

        By the manifest that was committed: an attempt that was given up may have left another of the same snapshot,
        which is there until the next sweep (L6).

        Raises:
            UnavailableError: It does not start.
        """
        await self.ensure()
        row = await self._transactions.read(lambda conn: snapshots.get(conn, snapshot_id))
        session = None if row is None else row.session_id
        export = snapshot_id if session is None else f"{snapshot_id}/{session}"
        return Backing(socket=self._layout.store_socket, export=export)

    @contextlib.asynccontextmanager
    async def refusing(self, sizes: Mapping[str, int]) -> AsyncIterator[None]:
        """Within this it is ended, and whoever reads from it is told at once that he cannot (S271).

        Args:
            sizes: Bytes of the snapshots that may be read, by id.
        """
        await self.end()
        server = await asyncio.to_thread(NbdServer, self._layout.store_socket, _Refusing(sizes))
        try:
            yield
        finally:
            await asyncio.to_thread(server.close)

    async def end(self) -> None:
        """End it; no disk that hydrates may be open."""
        running = await asyncio.to_thread(process.adopt, self._directory)
        if running is not None:
            await running.end()
            await asyncio.to_thread(self.count)

    async def calm(self, pid: int) -> None:
        """Return once nothing that a storage daemon has asked for waits for long.

        A command that drains the daemon's graph waits for all that was asked for, and its guests wait with it (F13).

        Raises:
            SlowSourceError: There was no such moment in time, or the server does not answer.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + CALM_SECONDS_MAX
        while True:
            with contextlib.suppress(UnavailableError):
                if await asyncio.to_thread(_waited_ms, self._layout.store_socket, pid) <= WAITED_MS_MAX:
                    return
            if loop.time() >= end:
                raise SlowSourceError("the snapshot that the disk is filled from is not read in time; try again later")
            await asyncio.sleep(ASK_SECONDS)


class _Refused:
    """A snapshot of which nothing can be read."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """Refuse; see `Export.read`."""
        raise UnavailableError(f"the host stops: {length} bytes at {offset} are not read any more")

    def extents(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        """Say that all may be data; see `Export.extents`."""
        del offset
        return [(length, False)]


class _Refusing:
    """Snapshots of these sizes, by id."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes

    def open(self, name: str) -> _Refused:
        """Return one; see `ExportProvider.open`."""
        size_bytes = self._sizes.get(name.partition("/")[0])
        if size_bytes is None:
            raise UnavailableError(f"no disk that is open reads {name}")
        return _Refused(size_bytes)

    def names(self) -> Sequence[str]:
        """Return nothing; see `ExportProvider.names`."""
        return ()


def _reads_another(pid: int, place: ObjectsAddress) -> bool:
    """Tell whether a snapshot server reads another place than this one, whatever its name was when it started.

    Only what was seen counts: guests read from it, and a store that cannot be looked at for a moment has not moved.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        read: ObjectsAddress = msgspec.json.decode(words[words.index(b"--objects") + 1], type=ObjectsAddress)
        if not (isinstance(read, DirectoryAddress) and isinstance(place, DirectoryAddress)):
            return read != place
        here = Path(place.root).stat()
    except (OSError, ValueError):
        return False
    try:
        there = Path(read.root).stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def _waited_ms(socket: Path, pid: int) -> int:
    with NbdClient(socket, waiting_name(pid), timeout_s=ANSWER_SECONDS_MAX) as client:
        return client.size_bytes

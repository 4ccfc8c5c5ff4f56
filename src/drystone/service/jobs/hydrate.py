"""Filling a disk that was made from a snapshot, beside its use, by QEMU's CMD_CACHE (A7)."""

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from drystone.catalog import disks, operations, sessions, snapshots
from drystone.domain.blocks import Ranges, count, split
from drystone.domain.errors import Refusal, RefusalError, UnavailableError
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.operation import Operation
from drystone.domain.payloads import SessionPayload
from drystone.engine import graph
from drystone.engine.graph import RECONNECT_SECONDS
from drystone.engine.layout import Layout
from drystone.engine.volume import volume_of
from drystone.nbd.client import NbdClient
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.rows import endings
from drystone.service.rows.tracking import flight_of
from drystone.service.transactions import Change, Transactions
from drystone.snapstore.reader import SnapshotReader
from drystone.transfer.hydrate import hydrate, hydrate_file

WAIT_SECONDS = 0.2
ATTEMPTS_MAX = 5
SLICE_BLOCKS = 32768
"""128 MiB between two looks at whether anybody waits for the disk's content (resize, terminate)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hydrate:
    """COPYING → the image stands alone. Starts over after a crash: what is there is skipped."""

    transactions: Transactions
    operations: Operations
    locks: DiskLocks
    layout: Layout
    kept: KeptStore
    host: Host
    snapshot_server: SnapshotServer
    bytes_per_s: int
    _threads: ThreadPoolExecutor = field(init=False, default_factory=lambda: ThreadPoolExecutor(4, "hydrate"))
    """Of its own: copying may wait long, and must not hold up anything else."""

    async def run(self, operation: Operation) -> None:
        """Pull what the source snapshot holds into the image, then let go of it."""
        disk_id = operation.on_disk
        if volume_of(self.layout, disk_id).has_backing():
            await self._pull(operation, disk_id, operation.of_snapshot)
        # Also if the header has no backing any more: a crash may have left the open image with it.
        while not await self._let_go(disk_id):
            await asyncio.sleep(WAIT_SECONDS)

        def record(change: Change) -> None:
            values = {"hydrating": False, "hydration_percent": 100}
            disks.compare_and_set(change.conn, disk_id, expected={}, values=values)
            sessions.commit(change.conn, operation.payload_as(SessionPayload).session, at=change.at)
            endings.done(change, operation)

        await self.transactions.change(record)
        await self.host.release(disk_id)

    async def _pull(self, operation: Operation, disk_id: DiskId, source: SnapshotId) -> None:
        row = await self.transactions.read(lambda conn: snapshots.get(conn, source))
        # By the name of its manifest: an attempt that was given up may have left another.
        name = source if row is None or row.manifest is None else row.manifest
        store = self.kept.store
        ranges = await asyncio.to_thread(lambda: SnapshotReader.open(store, name).data_ranges())
        total, done = max(1, count(ranges)), 0
        pieces = list(split(ranges, SLICE_BLOCKS))
        for at in _batches(pieces):
            async with self.locks.image(disk_id):
                await self._pull_batch(disk_id, at)
            done += int((at[:, 1] - at[:, 0]).sum())
            percent = min(99, done * 100 // total)
            await self.transactions.change(functools.partial(_progress, operation=operation, percent=percent))

    async def _pull_batch(self, disk_id: DiskId, ranges: Ranges) -> None:
        """Copy some ranges. An attach, or a daemon that died, cuts the copying off: it is begun again."""
        for attempt in range(1, ATTEMPTS_MAX + 1):
            await self.snapshot_server.ensure()
            async with self.locks.graph(disk_id):
                _disk, live = await self.host.opened(disk_id)
                file = await live.export_hydration()
            stop = threading.Event()
            held = functools.partial(self.host.copying_held, disk_id)
            rate = self.bytes_per_s
            if file is None:
                export = graph.hydration_export_name(disk_id)
                copy: Callable[[], object] = functools.partial(_copy, live.nbd_socket, export, ranges, rate, stop, held)
            else:
                copy = functools.partial(hydrate_file, file, ranges, rate_bytes_per_s=rate, stop=stop, held=held)
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, copy)
            except UnavailableError:
                if attempt == ATTEMPTS_MAX:
                    raise
                await asyncio.sleep(WAIT_SECONDS)
            except BaseException:
                stop.set()
                raise
            else:
                return

    async def _let_go(self, disk_id: DiskId) -> bool:
        """Drop the backing, of which every batch is in the image durably (S9), whichever daemon has it open by now.

        Not beside a frozen view: QEMU has crashed when graphs changed below one.
        """
        async with self.locks.image(disk_id), self.locks.graph(disk_id):
            running = await self.transactions.read(lambda conn: operations.running_on_disk(conn, disk_id))
            if flight_of(running) is not None:
                return False
            if volume_of(self.layout, disk_id).has_backing():
                _disk, live = await self.host.opened(disk_id)
                await live.drop_backing()
            else:
                open_still = await self.host.running(await self.host.row(disk_id))
                if open_still is not None:
                    await open_still.drop_backing()
            return True

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Keep the disk as it is, reading through to its source, which stays pinned; go on a little later."""

        def gone(change: Change) -> bool:
            if disks.get(change.conn, operation.on_disk) is None:
                endings.failed(change, operation, code=code, message=message)
                return True
            prompt = {"error_prompt": f"hydrate: {message}"[:500]}
            disks.compare_and_set(change.conn, operation.on_disk, expected={}, values=prompt)
            return False

        if not await self.transactions.change(gone):
            await self.operations.put_off(operation, code, message)


def _progress(change: Change, *, operation: Operation, percent: int) -> None:
    if not operations.update(change.conn, operation.id, updated_at=change.at, percent=percent):
        reason = f"Disk {operation.disk_id} was terminated while it was filled."
        raise RefusalError(Refusal.NO_SUCH_DISK, reason)
    disks.compare_and_set(change.conn, operation.on_disk, expected={}, values={"hydration_percent": percent})


def _copy(
    socket: Path, export: str, ranges: Ranges, rate_bytes_per_s: int, stop: threading.Event, held: Callable[[], bool]
) -> None:
    with NbdClient(socket, export, timeout_s=RECONNECT_SECONDS) as client:
        hydrate(
            client, ranges, rate_bytes_per_s=rate_bytes_per_s, stop=stop, on_progress=lambda _done, _all: None,
            held=held,
        )  # fmt: skip


def _batches(pieces: list[tuple[int, int]]) -> list[Ranges]:
    """Group pieces so that each batch has at most `SLICE_BLOCKS` blocks."""
    batches: list[Ranges] = []
    rows: list[tuple[int, int]] = []
    blocks = 0
    for start, stop in pieces:
        if rows and blocks + stop - start > SLICE_BLOCKS:
            batches.append(np.array(rows, dtype=np.int64))
            rows, blocks = [], 0
        rows.append((start, stop))
        blocks += stop - start
    if rows:
        batches.append(np.array(rows, dtype=np.int64))
    return batches

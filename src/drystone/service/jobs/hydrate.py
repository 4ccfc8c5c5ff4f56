"""Filling a disk that was made from a snapshot, beside its use, by QEMU's CMD_CACHE (A7)."""

import asyncio
import functools
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from drystone.catalog import disks, operations, sessions, snapshots
from drystone.domain.blocks import Ranges, count, split
from drystone.domain.errors import RefusalError, UnavailableError
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.operation import Operation
from drystone.domain.payloads import SessionPayload
from drystone.engine import graph
from drystone.engine.graph import RECONNECT_SECONDS
from drystone.engine.volume import volume_of
from drystone.nbd.client import NbdClient
from drystone.service.host.host import Host
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.installation import Installation
from drystone.service.rows import endings
from drystone.service.rows.tracking import flight_of
from drystone.snapstore.reader import SnapshotReader
from drystone.transfer.hydrate import hydrate, hydrate_file

WAIT_SECONDS = 0.2
ATTEMPTS_MAX = 5
SLICE_BLOCKS = 32768
"""128 MiB between two looks at whether anybody waits for the disk's content (resize, terminate)."""


class Hydrate:
    """COPYING → the image stands alone. Starts over after a crash: what is there is skipped."""

    def __init__(self, installation: Installation, host: Host, snapshot_server: SnapshotServer) -> None:
        self._in = installation
        self._snapshot_server = snapshot_server
        self._host = host

    async def run(self, operation: Operation) -> None:
        """Pull what the source snapshot holds into the image, then let go of it."""
        assert operation.disk_id is not None
        assert operation.snapshot_id is not None
        disk_id, source = operation.disk_id, operation.snapshot_id
        if volume_of(self._in.layout, disk_id).has_backing():
            await self._pull(operation, disk_id, source)
        # Also if the header has no backing any more: a crash may have left the open image with it.
        while not await self._let_go(disk_id):
            await asyncio.sleep(WAIT_SECONDS)

        def record(conn: Connection) -> None:
            at = self._in.clock()
            disks.compare_and_set(conn, disk_id, expected={}, values={"hydrating": False, "hydration_percent": 100})
            sessions.commit(conn, operation.payload_as(SessionPayload).session, at=at)
            endings.done(conn, operation, at=at)

        await self._in.db.write(record)
        await self._host.release(disk_id)

    async def _pull(self, operation: Operation, disk_id: DiskId, source: SnapshotId) -> None:
        row = await self._in.db.read(lambda conn: snapshots.get(conn, source))
        # By the name of its manifest: an attempt that was given up may have left another.
        name = source if row is None or row.manifest is None else row.manifest
        ranges = await asyncio.to_thread(lambda: SnapshotReader.open(self._in.store, name).data_ranges())
        total, done = max(1, count(ranges)), 0
        pieces = list(split(ranges, SLICE_BLOCKS))
        for at in _batches(pieces):
            async with self._in.locks.image(disk_id):
                await self._pull_batch(disk_id, at)
            done += int((at[:, 1] - at[:, 0]).sum())
            percent = min(99, done * 100 // total)
            await self._in.db.write(
                lambda conn, now=percent: self._progress(conn, operation, disk_id, now)  # type: ignore[misc]
            )

    async def _pull_batch(self, disk_id: DiskId, ranges: Ranges) -> None:
        """Copy some ranges. An attach, or a daemon that died, cuts the copying off: it is begun again."""
        for attempt in range(1, ATTEMPTS_MAX + 1):
            await self._snapshot_server.ensure()
            async with self._in.locks.graph(disk_id):
                _disk, live = await self._host.opened(disk_id)
                file = await live.export_hydration()
            stop = threading.Event()
            held = functools.partial(self._host.copying_held, disk_id)
            rate = self._in.hydration_bytes_per_s
            if file is None:
                export = graph.hydration_export_name(disk_id)
                copy: Callable[[], object] = functools.partial(_copy, live.nbd_socket, export, ranges, rate, stop, held)
            else:
                copy = functools.partial(hydrate_file, file, ranges, rate_bytes_per_s=rate, stop=stop, held=held)
            try:
                await asyncio.get_running_loop().run_in_executor(self._in.hydration_threads, copy)
            except UnavailableError:
                if attempt == ATTEMPTS_MAX:
                    raise
                await asyncio.sleep(WAIT_SECONDS)
            except BaseException:
                stop.set()
                raise
            else:
                return

    def _progress(self, conn: Connection, operation: Operation, disk_id: DiskId, percent: int) -> None:
        if not operations.update(conn, operation.id, updated_at=self._in.clock(), percent=percent):
            raise RefusalError("ResourceNotFound.NotFound", f"Disk {disk_id} was terminated while it was filled.")
        disks.compare_and_set(conn, disk_id, expected={}, values={"hydration_percent": percent})

    async def _let_go(self, disk_id: DiskId) -> bool:
        """Drop the backing, of which every batch is in the image durably (S9), whichever daemon has it open by now.

        Not beside a frozen view: QEMU has crashed when graphs changed below one.
        """
        async with self._in.locks.image(disk_id), self._in.locks.graph(disk_id):
            running = await self._in.db.read(lambda conn: operations.running_on_disk(conn, disk_id))
            if flight_of(running) is not None:
                return False
            if volume_of(self._in.layout, disk_id).has_backing():
                _disk, live = await self._host.opened(disk_id)
                await live.drop_backing()
            else:
                open_still = await self._host.running(await self._host.row(disk_id))
                if open_still is not None:
                    await open_still.drop_backing()
            return True

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Keep the disk as it is, reading through to its source, which stays pinned; go on a little later."""
        assert operation.disk_id is not None
        disk_id = operation.disk_id

        def gone(conn: Connection) -> bool:
            if disks.get(conn, disk_id) is not None:
                prompt = {"error_prompt": f"hydrate: {message}"[:500]}
                disks.compare_and_set(conn, disk_id, expected={}, values=prompt)
                operations.update(conn, operation.id, updated_at=self._in.clock(), error_code=code, error=message)
                return False
            endings.failed(conn, operation, at=self._in.clock(), code=code, message=message)
            return True

        if not await self._in.db.write(gone):
            self._in.operations.wake_later(operation)


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

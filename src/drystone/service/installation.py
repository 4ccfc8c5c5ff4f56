"""What every use case and job is given: the parts of one running installation."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from drystone.catalog.database import READERS, Database
from drystone.domain.disk import Disk
from drystone.domain.disk_types import DISK_TYPES, GIB, Limits
from drystone.domain.errors import RefusalError
from drystone.domain.ids import AccountId, DiskId, IdSource, SessionId
from drystone.engine.ballast import Ballast
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout
from drystone.engine.space import Space, holds_file, largest_file_gib, look
from drystone.objects.address import DirectoryAddress
from drystone.service.operations import Operations
from drystone.service.rounds import Bugs
from drystone.snapstore.store import Store
from drystone.transfer.jobs import StoreAddress
from drystone.transfer.places import Places
from drystone.transfer.pool import WorkerPool

R = TypeVar("R")
WAITING_MAX = 8
"""Calls of one account that may wait for a background worker: those that wait longer had better be asked again."""


class DiskLocks:
    """Two locks per disk, kept while anybody holds or waits for them.

    `graph` is held by whoever changes what the storage daemon has of the disk (open, close, export, freeze, resize).
    `image` is held by whoever fills or replaces the disk's content (hydration, rollback, initialize) and by a resize;
    it is taken before `graph`.
    """

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    def graph(self, disk_id: str) -> asyncio.Lock:
        """Return the lock of the disk's graph."""
        return self._locks.setdefault(f"graph {disk_id}", asyncio.Lock())

    @contextlib.asynccontextmanager
    async def graphs(self, disk_ids: Iterable[str]) -> AsyncIterator[None]:
        """Hold the locks of several disks' graphs, taken in order of the ids: two holders never wait for each other."""
        async with contextlib.AsyncExitStack() as stack:
            for disk_id in sorted(set(disk_ids)):
                await stack.enter_async_context(self.graph(disk_id))
            yield

    def image(self, disk_id: str) -> asyncio.Lock:
        """Return the lock of the disk's content."""
        return self._locks.setdefault(f"image {disk_id}", asyncio.Lock())

    def forget(self, disk_id: str) -> None:
        """Drop the locks of a disk that is gone."""
        self._locks.pop(f"graph {disk_id}", None)
        self._locks.pop(f"image {disk_id}", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Everything that is made once, by the composition root."""

    db: Database
    clock: Callable[[], float]
    """This machine's clock, seconds since the epoch: what people are shown. It leaps; nothing is aged by it."""
    steady: Callable[[], float]
    """The steady clock (`service/upkeep/clock.py`): what ages and schedules that outlive the process go by (S115)."""
    monotonic: Callable[[], float]
    """Seconds by a clock that is never set: what durations within the process are measured by (S121)."""
    ids: IdSource
    layout: Layout
    store: Store
    workers: WorkerPool
    operations: Operations
    environment: Mapping[str, str]
    """What daemons that outlive us are given: PATH and no secrets."""
    throttle: bool
    scratch_bytes_max: int
    floor_bytes_max: int
    floor_percent: float
    hydration_bytes_per_s: int
    background: WorkerPool
    """For work that can wait: never takes a process from `workers`, and yields to them."""
    compaction_dead_percent: int
    locks: DiskLocks = field(default_factory=DiskLocks)
    epoch_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the store's epoch is written."""
    collection_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever counts what is dead, or deletes packs: a manifest must not go while it is looked at."""
    faulty_packs: dict[str, str] = field(default_factory=dict)
    """Objects that could not be compacted, and why: not tried again before the next start."""
    swept: dict[SessionId, float] = field(default_factory=dict)
    """When a fenced session's objects were last swept (`sweep`)."""
    hydration_threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "hydrate"))
    """Threads of their own: copying may wait long, and must not hold up anything else."""
    held_hydrations: set[str] = field(default_factory=set)
    """Disks of which nothing is to be copied now: a command is sent that waits for what was asked for (F13)."""
    held_devices: dict[DiskId, tuple[Path, int]] = field(default_factory=dict)
    """Loop devices that are open here, so that they stay (`HostDevices`)."""
    snapshot_server_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the snapshot server is looked for or started: there is one."""
    long_reads: Places = field(default_factory=lambda: Places(READERS - 1, reserve=0))
    """Whose turn it is to read much of the catalog (`read_in_turn`): never on all readers, whoever asks."""

    async def read_in_turn(self, account_id: AccountId, fn: Callable[[Connection], R]) -> R:
        """Read what takes long from the catalog, in turn with the other accounts (S183).

        The catalog's readers are few and serve who comes first: everybody's calls, and each look at a key, would stand
        behind such reads.
        """
        async with self.long_reads.hold(account_id):
            return await self.db.read(fn)

    @property
    def devices(self) -> HostDevices:
        """The block devices of this host that are disks."""
        return HostDevices(self.layout.run, self.held_devices)

    def store_address(self) -> StoreAddress:
        """Return where a worker finds the store, and what of its file system it leaves to the disks."""
        objects = DirectoryAddress(root=str(self.layout.store), floor_bytes=self.space().floor_bytes)
        return StoreAddress(objects=objects, store_id=self.store.store_id)

    @property
    def bugs(self) -> Bugs:
        """What was met that should not be."""
        return self.operations.bugs

    @property
    def ballast(self) -> Ballast:
        """What is given up where there is no room for what must be written."""
        return Ballast(self.layout.ballast)

    def space(self) -> Space:
        """Look at the file system of the disks."""
        return look(self.layout.data, floor_bytes_max=self.floor_bytes_max, floor_percent=self.floor_percent)

    def require_room(self, *, disks: int = 0) -> None:
        """Refuse a call for which the file system has no room: one that makes disks, or anything else.

        Raises:
            RefusalError: `ResourceInsufficient`, with the reason.
        """
        shortage = self.space().shortage(disks=disks)
        if shortage is not None:
            raise RefusalError("ResourceInsufficient", shortage)

    def require_scratch(self, size_gib: int) -> None:
        """Refuse a disk of which no snapshot could be taken: what is frozen needs a file of the disk's size.

        Raises:
            RefusalError: `InvalidParameterValue`, with the largest size.
        """
        scratch = self.layout.scratch
        if not holds_file(scratch, size_gib * GIB):
            most = largest_file_gib(scratch, size_gib)
            raise RefusalError(
                "InvalidParameterValue",
                f"DiskSize is {size_gib} GiB, and snapshots of it could not be taken here: the file system of the "
                f"server's scratch directory has files up to {most} GiB. Give at most that, or use xfs there.",
            )

    def limits(self, disk: Disk) -> Limits | None:
        """Return what the disk's throttle group enforces; None if throttling is off."""
        if not self.throttle:
            return None
        return DISK_TYPES[disk.type].limits(disk.size_gib, disk.throughput_performance)

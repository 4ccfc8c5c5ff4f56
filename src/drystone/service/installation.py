# ruff: noqa: D102 - it goes
"""What every use case and job is given: the parts of one running installation."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from drystone.catalog.database import Database
from drystone.domain.ids import AccountId, IdSource
from drystone.engine.ballast import Ballast
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout
from drystone.engine.space import Space
from drystone.service.disk_locks import DiskLocks
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.room import Room
from drystone.service.rounds import Bugs
from drystone.service.transactions import Transactions
from drystone.snapstore.store import Store
from drystone.transfer.addresses import StoreAddress
from drystone.transfer.places import Places
from drystone.transfer.pool import WorkerPool

R = TypeVar("R")


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
    scratch_bytes_max: int
    background: WorkerPool
    """For work that can wait: never takes a process from `workers`, and yields to them."""
    transactions: Transactions
    room: Room
    kept: KeptStore
    devices: HostDevices
    locks: DiskLocks = field(default_factory=DiskLocks)

    @property
    def compaction_dead_percent(self) -> int:
        return self.kept.dead_percent

    @property
    def epoch_lock(self) -> asyncio.Lock:
        return self.kept.epoch_lock

    @property
    def collection_lock(self) -> asyncio.Lock:
        return self.kept.collection_lock

    @property
    def faulty_packs(self) -> dict[str, str]:
        return self.kept.faulty_packs

    @property
    def long_reads(self) -> Places:
        return self.transactions.long_reads

    async def read_in_turn(self, account_id: AccountId, fn: Callable[[Connection], R]) -> R:
        return await self.transactions.read_in_turn(account_id, fn)

    def store_address(self) -> StoreAddress:
        return self.kept.address()

    @property
    def bugs(self) -> Bugs:
        """What was met that should not be."""
        return self.operations.bugs

    @property
    def ballast(self) -> Ballast:
        """What is given up where there is no room for what must be written."""
        return Ballast(self.layout.ballast)

    def space(self) -> Space:
        return self.room.look()

    def require_room(self, *, disks: int = 0) -> None:
        self.room.require(disks=disks)

    def require_scratch(self, size_gib: int) -> None:
        self.room.require_scratch(size_gib)

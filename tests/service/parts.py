"""The parts that the service's classes take, for tests that put some of them together."""

import itertools
import random
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, TypeVar

from drystone.catalog.database import Database
from drystone.domain.ids import IdSource
from drystone.engine.host_device import HostDevices
from drystone.engine.layout import Layout
from drystone.service.host.host import Host
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.installation import Installation
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.room import Room
from drystone.service.transactions import Change, Transactions

R = TypeVar("R")
_SEEDS = itertools.count(1000)
NOWHERE: Any = SimpleNamespace(store_id="st-1")
"""A store that nothing asks for anything."""


def transactions(db: Any, *, clock: Callable[[], float] = lambda: 1_700_000_000.0) -> Transactions:
    """Return the transactions of a catalog, or of what a test takes for one; both clocks are one."""
    return Transactions(db=db, clock=clock, steady=clock, rng=random.Random(1))


def changed(db: Database, record: Callable[[Change], R], *, at: float = 1_700_000_000.0) -> R:
    """Carry a change out as a loop or a call does, on this thread."""
    ids = IdSource(random.Random(next(_SEEDS)))
    return db.write_sync(lambda conn: record(Change(conn=conn, at=at, steady=at, ids=ids)))


def server_parts(
    db: Database,
    layout: Layout,
    *,
    clock: Callable[[], float],
    monotonic: Callable[[], float] | None = None,
    rng: random.Random | None = None,
    store: Any = NOWHERE,
    pool: Any = NOWHERE,
    environment: Mapping[str, str] | None = None,
    dead_percent: int = 20,
) -> Installation:
    """Return the parts of a server with this catalog: all clocks are one, nothing is throttled, there is no floor."""
    rng = rng or random.Random(1)
    transactions = Transactions(db=db, clock=clock, steady=clock, rng=rng)

    room = Room(layout=layout, floor_bytes_max=0, floor_percent=0)
    return Installation(
        db=db, clock=clock, steady=clock, monotonic=monotonic or clock, ids=IdSource(rng), layout=layout, store=store,
        workers=pool, transactions=transactions, room=room,
        kept=KeptStore(store=store, room=room, dead_percent=dead_percent),
        devices=HostDevices(layout.run, {}), operations=Operations(transactions), environment=environment or {},
        throttle=False, scratch_bytes_max=1, hydration_bytes_per_s=0, background=pool,
    )  # fmt: skip


def snapshot_server(parts: Installation) -> SnapshotServer:
    """Return the snapshot server of a server with these parts."""
    return SnapshotServer(
        layout=parts.layout, store_id=parts.store.store_id, environment=parts.environment,
        transactions=parts.transactions,
    )  # fmt: skip


def host(parts: Installation) -> Host:
    """Return this machine, as a server with these parts sees it."""
    return Host(parts, snapshot_server(parts))

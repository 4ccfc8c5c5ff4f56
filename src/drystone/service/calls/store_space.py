"""What snapshots and the store hold, what would come back, and collection by hand (L13)."""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from drystone.catalog import packs, sessions, snapshots
from drystone.domain.errors import Refusal, RefusalError, UnavailableError
from drystone.domain.ids import PackId, SessionId, SnapshotId
from drystone.domain.payloads import CompactPayload
from drystone.domain.session import Pack
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.objects.address import DirectoryAddress
from drystone.objects.contract import NotFoundError
from drystone.service.caller import Caller
from drystone.service.calls.snapshot_records import owned_snapshot
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import collection, compaction, rewrites
from drystone.service.upkeep.confirmation import held
from drystone.service.views import CollectionView, SetSpaceView, SnapshotSpaceView, StoreSpaceView
from drystone.snapstore.space import Member
from drystone.transfer.pool import WAITING_MAX, WorkerPool
from drystone.transfer.store_jobs import SpaceJob, SpaceResult

IDS_MAX = 1000
ATTEMPTS_MAX = 3
"""A deletion may end while the delta maps are read: then the tree is looked at again."""
LIST_SECONDS = 900.0
"""How long the listing of a bucket is good enough for people: each thousand objects cost a request."""
TOLD_MAX = 16
"""Answers that are kept; one of a thousand snapshots takes 100 KiB."""
_SHOWN = frozenset({SnapshotState.NORMAL, SnapshotState.DELETING})


@dataclass(slots=True, kw_only=True, eq=False)
class StoreSpace:
    """Tells space exactly: by the delta maps of whole trees, in a worker; never part of a plain describe call."""

    transactions: Transactions
    operations: Operations
    kept: KeptStore
    background: WorkerPool
    monotonic: Callable[[], float]
    _sizes: tuple[float, Counter[str]] | None = field(init=False, default=None)
    """When all objects were listed last, and what they take."""
    _told: dict[bytes, SpaceResult] = field(init=False, default_factory=dict)

    async def snapshots(self, caller: Caller, snapshot_ids: tuple[str, ...]) -> SetSpaceView:
        """Return what each of these NORMAL snapshots holds, and what deleting all of them would make dead.

        Raises:
            RefusalError: `NO_SUCH_SNAPSHOT`, `SNAPSHOT_CREATING`,
                `BAD_VALUE`, or `LINEAGE_UNKNOWN` after a recovery that found too little.
            DrystoneError: The store cannot be read.
        """
        wanted = list(dict.fromkeys(snapshot_ids))
        if not 1 <= len(wanted) <= IDS_MAX:
            raise RefusalError(Refusal.BAD_VALUE, f"{len(wanted)} ids are given; 1 to {IDS_MAX} are allowed.")
        found = await self._space(caller, wanted, frozenset(wanted))
        pinned = await self.transactions.read_in_turn(caller.account_id, sessions.pinned) & set(wanted)
        # What somebody reads is not collected before that ends: it does not come back now.
        free = await self._space(caller, wanted, frozenset(wanted) - pinned) if pinned else found
        shown = {one.snapshot: one for one in found.snapshots}
        dead = free.dead_bytes_by_pack
        rows = await self.transactions.read_in_turn(caller.account_id, lambda conn: packs.get_many(conn, dead))
        share = self.kept.dead_percent / 100
        return SetSpaceView(
            snapshots=tuple(
                SnapshotSpaceView(
                    snapshot_id=SnapshotId(one), unique_bytes=shown[SnapshotId(one)].unique_bytes,
                    shared_bytes=shown[SnapshotId(one)].shared_bytes,
                )
                for one in wanted
            ),
            dead_bytes=sum(found.dead_bytes_by_pack.values()),
            reclaimable_bytes=sum(
                size
                for name, size in free.dead_bytes_by_pack.items()
                if _due(rows.get(name), size, free.dead_blocks_by_pack[PackId(name)], share)
            ),
        )  # fmt: skip

    async def _space(self, caller: Caller, wanted: list[str], chosen: Collection[str]) -> SpaceResult:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            nodes, held = await self.transactions.read_in_turn(
                caller.account_id, lambda conn: _trees(conn, caller, wanted, chosen)
            )
            job = SpaceJob(store=self.kept.address(), nodes=nodes, packs=held)
            asked = hashlib.sha256(msgspec.json.encode(job)).digest()
            if asked in self._told:
                return self._told[asked]
            try:
                found = await self.background.run(job, SpaceResult, account=caller.account_id, waiting_max=WAITING_MAX)
            except (NotFoundError, UnavailableError):
                if attempt == ATTEMPTS_MAX:
                    raise
                continue
            # The same tree with the same packs, asked the same, has the same answer for ever.
            while len(self._told) >= TOLD_MAX:
                self._told.pop(next(iter(self._told)))
            self._told[asked] = found
            return found
        raise AssertionError("the last attempt returns or raises")

    async def store(self, caller: Caller) -> StoreSpaceView:
        """Return the sums over the whole store.

        Raises:
            RefusalError: `NOT_ALLOWED` for any but an administrator.
            DrystoneError: The store cannot be listed.
        """
        caller.require_admin()
        by_kind = await self._listed()
        cached = await asyncio.to_thread(_taken, self.kept.room.layout.store_cache)
        percent = self.kept.dead_percent

        def sums(conn: Connection) -> StoreSpaceView:
            every, due = packs.totals(conn), packs.totals(conn, percent / 100)
            return StoreSpaceView(
                stored_bytes=by_kind.total(), map_bytes=by_kind["maps"], snapshot_bytes=by_kind["snapshots"],
                cache_bytes=cached, pack_count=every.count, pack_bytes=every.stored_bytes,
                live_bytes=every.stored_bytes - every.dead_bytes, dead_bytes=every.dead_bytes,
                reclaimable_bytes=due.dead_bytes, reclaimed_bytes=collection.reclaimed(conn),
                waiting_bytes=rewrites.waiting_bytes(conn), dead_percent=percent,
                held=held(conn) or "",
            )  # fmt: skip

        return await self.transactions.read(sums)

    async def _listed(self) -> Counter[str]:
        """Return the bytes of all objects, by the folder that they are in; a bucket is listed seldom."""
        store, seldom = self.kept.store, not isinstance(self.kept.place, DirectoryAddress)
        if seldom and self._sizes is not None and self.monotonic() - self._sizes[0] < LIST_SECONDS:
            return self._sizes[1]
        prefix = store.name("")

        def sizes() -> Counter[str]:
            found: Counter[str] = Counter()
            for one in store.objects.list(prefix):
                found[one.name.removeprefix(prefix).partition("/")[0]] += one.size_bytes
            return found

        self._sizes = self.monotonic(), await asyncio.to_thread(sizes)
        return self._sizes[1]

    async def collect(self, caller: Caller, *, dry_run: bool, dead_percent: int | None) -> CollectionView:
        """Have packs that are dead in part written again, or only tell what that would do.

        Args:
            caller: An administrator.
            dry_run: Change nothing.
            dead_percent: Of which at least this share is dead; None: as configured; 0: of which anything is.

        Raises:
            RefusalError: `NOT_ALLOWED`, `BAD_VALUE`, or `BUSY` while a collection with
                another threshold is under way; nothing was begun.
        """
        caller.require_admin()
        percent = min(100, self.kept.dead_percent) if dead_percent is None else dead_percent
        if not 0 <= percent <= 100:
            raise RefusalError(Refusal.BAD_VALUE, f"Threshold is {percent}, and must be from 0 to 100.")

        if dry_run:
            return await self.transactions.read(lambda conn: _prospect(conn, percent))

        def begin(change: Change) -> CollectionView:
            due = _prospect(change.conn, percent)
            operation = compaction.begin(
                change, account_id=caller.account_id, dead_percent=percent, request_id=caller.request_id
            )
            if operation.payload_as(CompactPayload).dead_percent != percent:
                raise RefusalError(Refusal.BUSY, f"Collection {operation.id} is under way; wait until it has ended.")
            return replace(due, operation_id=operation.id)

        return await self.operations.begin(begin)


def _prospect(conn: Connection, percent: int) -> CollectionView:
    """Return what a collection would do that is not begun."""
    due = packs.totals(conn, percent / 100)
    return CollectionView(
        operation_id=None, dead_percent=percent, packs=due.count, pack_bytes=due.stored_bytes,
        dead_bytes=due.dead_bytes,
    )  # fmt: skip


def _due(pack: Pack | None, dead_bytes: int, dead_blocks: int, share: float) -> bool:
    """Tell whether a pack would be collected when so much more of it is dead."""
    if pack is None:
        return False
    wholly = pack.dead_blocks + dead_blocks >= pack.blocks
    return wholly or pack.dead_bytes + dead_bytes >= share * pack.bytes


def _trees(
    conn: Connection, caller: Caller, wanted: list[str], chosen: Collection[str]
) -> tuple[tuple[Member, ...], tuple[tuple[PackId, SessionId, str], ...]]:
    """Return the whole trees that the snapshots are in, and the packs that their sessions wrote."""
    rows: dict[SnapshotId, Snapshot] = {}
    for one in wanted:
        snapshot = owned_snapshot(conn, caller.account_id, one)
        if snapshot.state is not SnapshotState.NORMAL:
            raise RefusalError(Refusal.SNAPSHOT_CREATING, f"Snapshot {one} is {snapshot.state}.")
        if snapshot.id not in rows:
            rows.update((row.id, row) for row in snapshots.family(conn, snapshot.id))
    nodes = []
    for row in rows.values():
        if row.state is SnapshotState.CREATING:
            continue
        if row.delta_map is None or (row.parent_id is not None and row.parent_id not in rows):
            raise RefusalError(
                Refusal.LINEAGE_UNKNOWN,
                f"What {row.id} shares with others is not known since the catalog was recovered.",
            )
        nodes.append(
            Member(
                id=row.id,
                parent=row.parent_id,
                delta_map=row.delta_map,
                living=row.state in _SHOWN,
                chosen=row.id in chosen,
            )
        )
    written = packs.of_sessions(conn, [row.session_id for row in rows.values() if row.session_id is not None])
    return tuple(nodes), tuple((pack.id, pack.session_id, pack.object) for pack in written)


def _taken(directory: Path) -> int:
    """Return what the files of a directory take, zero if it is not there; files may go meanwhile."""
    taken = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                taken += os.lstat(f"{folder}/{name}").st_blocks * 512
            except OSError:
                continue
    return taken

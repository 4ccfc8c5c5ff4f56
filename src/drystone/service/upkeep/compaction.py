"""When packs are written again: what is due, by counts; the work itself is `service/jobs/compact.py` (L8)."""

from dataclasses import dataclass, field

from sqlalchemy import Connection

from drystone.catalog import accounts, operations, pack_rewrites, packs
from drystone.catalog.operations import OperationSelection
from drystone.domain.clock import recent
from drystone.domain.ids import AccountId, OperationId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.payloads import CompactPayload
from drystone.domain.session import PackState
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.rows.trees import prune_ghosts, spent_ghosts
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import collection, late_writes, rewrites
from drystone.service.upkeep.maps import collect_maps

PAUSE_AFTER_FAILURE_SECONDS = 600.0
_LOOKED_AT = 100
"""Candidates looked at to find one that is not known to be faulty."""


def running(conn: Connection) -> Operation | None:
    """Return the compaction that is under way; there is one at most."""
    return next((one for one in operations.unfinished(conn) if one.kind is OperationKind.COMPACT), None)


def begin(change: Change, *, account_id: AccountId, dead_percent: int, request_id: str) -> Operation:
    """Have packs of which at least `dead_percent` is dead written again; return the operation.

    If one is under way, that one is returned; what it is not to look at waits for the next.
    """
    return running(change.conn) or change.begin(
        OperationKind.COMPACT, account_id=account_id, request_id=request_id,
        payload=CompactPayload(dead_percent=dead_percent),
    )  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class Compaction:
    """Has packs written again when enough of them is dead, and the replaced objects deleted."""

    transactions: Transactions
    kept: KeptStore
    operations: Operations
    _maps_at: float | None = field(init=False, default=None)
    """When all maps were listed last."""

    async def once(self) -> None:
        """Have packs that are dead in part written again, the replaced deleted (L8), and spent ghosts with their maps.

        After a start and daily all packs and maps are looked at.

        Raises:
            DrystoneError: The store cannot be asked.
        """
        await self.delete_replaced()
        await self.begin_if_due()
        await self.delete_ghosts()
        at = self.transactions.steady()
        if self._maps_at is None or not recent(self._maps_at, at, collection.LISTED_SECONDS):
            # A server that died between a commit and what follows it may have left maps that nothing names.
            maps = await late_writes.adopt_unknown(self.transactions, self.kept)
            self._maps_at = at if await collect_maps(self.transactions, self.kept, maps) else None

    async def delete_replaced(self) -> None:
        """Delete dead packs, and objects that rewritings replaced and nobody reads any more.

        Raises:
            DrystoneError: The store cannot be asked.
        """

        def left(conn: Connection) -> bool:
            doomed = [pack.object for pack in packs.in_state(conn, PackState.DELETING)]
            replaced = [row.old_object for row in pack_rewrites.everything(conn)]
            return any(self.kept.pending.waits(name) is None for name in (*doomed, *replaced))

        if await self.transactions.read(left):
            async with self.kept.collection_lock:
                if await collection.stopped(self.transactions, self.kept) is None:
                    await collection.remove_doomed(self.transactions, self.kept)
                    await rewrites.settle(self.transactions, self.kept)

    async def delete_ghosts(self) -> None:
        """Delete ghosts that only now nothing needs, and the maps that they named.

        A deletion prunes its tree once. A disk that is terminated or rolled back later, an operation that ends and a
        pack that goes may each have been the last thing that needed a ghost.

        Raises:
            DrystoneError: The store cannot be asked.
        """

        def prune(change: Change) -> frozenset[str]:
            trees = [prune_ghosts(change.conn, snapshot_id) for snapshot_id in spent_ghosts(change.conn)]
            return frozenset[str]().union(*trees)

        if not await self.transactions.read(spent_ghosts):
            return
        async with self.kept.collection_lock:
            if await collection.stopped(self.transactions, self.kept) is None:
                await collect_maps(self.transactions, self.kept, await self.transactions.change(prune))

    async def begin_if_due(self) -> OperationId | None:
        """Begin a compaction if enough is thought dead in any pack, and deleting is allowed; return its operation.

        Raises:
            DrystoneError: The store cannot be asked.
        """
        percent = self.kept.dead_percent
        if percent > 100 or not await self.transactions.read(self._due):
            return None
        if await collection.stopped(self.transactions, self.kept) is not None:
            return None

        def start(change: Change) -> Operation:
            return begin(change, account_id=_owner(change.conn), dead_percent=percent, request_id="compaction")

        return (await self.operations.begin(start)).id

    def _due(self, conn: Connection) -> bool:
        found = packs.dying(conn, self.kept.dead_percent / 100, _LOOKED_AT)
        if running(conn) is not None or all(pack.object in self.kept.faulty_packs for pack in found):
            return False
        failed = OperationSelection(
            account_id=_owner(conn), kinds=((OperationKind.COMPACT,),), states=((OperationState.FAILED,),), limit=1
        )
        last, _ = operations.find(conn, failed)
        return not last or not recent(last[0].updated_at, self.transactions.clock(), PAUSE_AFTER_FAILURE_SECONDS)


def _owner(conn: Connection) -> AccountId:
    """Return the account that work of the installation itself is listed with: the first, an administrator's."""
    return accounts.find(conn, offset=0, limit=1)[0][0].id

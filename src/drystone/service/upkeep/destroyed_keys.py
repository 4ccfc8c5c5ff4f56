"""What follows once a disk's data key is to be destroyed: ghosts first, then its wraps, then what it sealed (S384)."""

import asyncio
from dataclasses import dataclass, field

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import destroyed_keys, packs, snapshots
from drystone.catalog.destroyed_keys import DestroyedKey
from drystone.domain.clock import recent
from drystone.domain.ids import DiskId
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.service.kept_store import KeptStore
from drystone.service.rows.destroying import LIVING
from drystone.service.rows.trees import prune_ghosts
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import collection, epoch
from drystone.service.upkeep.collection import LISTED_SECONDS
from drystone.service.upkeep.confirmation import may_delete
from drystone.service.upkeep.maps import collect_maps
from drystone.snapstore.data_keys import destroy_data_key, list_wraps
from drystone.snapstore.deletion import put_key_tombstone

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class DestroyedKeys:
    """Has the wraps go of keys that are to be destroyed, and those that land late; may be cut off at any step."""

    transactions: Transactions
    kept: KeptStore
    _looked_at: float | None = field(init=False, default=None)
    """When it was last seen that the store has no wrap of a destroyed key."""

    async def once(self) -> None:
        """Do what can be done now.

        Raises:
            DrystoneError: The catalog or the store cannot be asked; it is tried again.
        """
        known = await self.transactions.read(destroyed_keys.everything)
        if not known or self.kept.store.seals is None or not await may_delete(self.transactions, self.kept):
            return
        await self._remove_late([one for one in known if one.gone])
        for one in known:
            if not one.gone and not await self.transactions.read(lambda conn, one=one: _living(conn, one.disk)):  # type: ignore[misc]
                await self._destroy(one)
                async with self.kept.collection_lock:
                    await self._collect(one.disk)
                # Last: whatever was cut off before is done again.
                gone = msgspec.structs.replace(one, gone=True)
                await self.transactions.change(lambda change, gone=gone: destroyed_keys.put(change.conn, gone))  # type: ignore[misc]
                log.info("key.destroyed", key_id=one.key, disk_id=one.disk)

    async def _destroy(self, one: DestroyedKey) -> None:
        """Have no wrap of a key left, by a listing, and a tombstone before that; then what it sealed is garbage."""
        store = self.kept.store
        await epoch.advance(self.transactions, self.kept)
        await asyncio.to_thread(put_key_tombstone, store, one.key)
        await asyncio.to_thread(destroy_data_key, store.objects, store.store_id, one.key)
        assert store.seals is not None
        store.seals.keys.forget(one.key)
        await self.transactions.change(lambda change: _doom(change, one.disk))

    async def _remove_late(self, gone: list[DestroyedKey]) -> None:
        """Once a day: delete wraps that landed after the key was destroyed."""
        at, store = self.transactions.steady(), self.kept.store
        if not gone or (self._looked_at is not None and recent(self._looked_at, at, LISTED_SECONDS)):
            return
        found = await asyncio.to_thread(list_wraps, store.objects, store.store_id)
        for one in gone:
            if one.key in found:
                log.warning("key.wrap_landed_late", key_id=one.key, disk_id=one.disk)
                await asyncio.to_thread(put_key_tombstone, store, one.key)
                await asyncio.to_thread(destroy_data_key, store.objects, store.store_id, one.key)
        self._looked_at = at

    async def _collect(self, disk_id: DiskId) -> None:
        await collection.remove_doomed(self.transactions, self.kept)
        for name in await self.transactions.read(lambda conn: [row.id for row in _ghosts(conn, disk_id)]):
            let_go = await self.transactions.change(lambda change, name=name: prune_ghosts(change.conn, name))  # type: ignore[misc]
            await collect_maps(self.transactions, self.kept, let_go)


def _living(conn: Connection, disk_id: DiskId) -> bool:
    return any(row.encrypted for row in snapshots.of_disk(conn, disk_id, LIVING))


def _ghosts(conn: Connection, disk_id: DiskId) -> list[Snapshot]:
    return [row for row in snapshots.of_disk(conn, disk_id, [SnapshotState.GHOST]) if row.encrypted]


def _doom(change: Change, disk_id: DiskId) -> None:
    """Have what the sessions of a disk wrote be garbage by its name: its key is gone, and nobody can read it."""
    writers = [row.session_id for row in _ghosts(change.conn, disk_id) if row.session_id is not None]
    for pack in packs.of_sessions(change.conn, writers):
        collection.doom_pack(change.conn, pack)

"""The catalog's epoch, which the store repeats: how a catalog from an old backup is noticed (F5).

It rises with every snapshot that becomes NORMAL and with every one that is deleted, with every disk that comes or goes
and every deadline that changes (by triggers), in the same transaction; and once more before anything is deleted from
the store (S80). It is then published to the store. A catalog that was put back from before such a change finds a
higher one in the store.
"""

import asyncio

from sqlalchemy import Connection

from drystone.catalog import meta
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Transactions
from drystone.snapstore.store import StaleEpochError, publish_epoch, read_owner

KEY = "catalog_epoch"
OWNER = "owner"
"""Key of the row that says whose the store is."""


def raise_epoch(conn: Connection) -> None:
    """Raise the catalog's epoch in the caller's transaction; `publish` follows it."""
    meta.put(conn, KEY, str(current(conn) + 1))


def current(conn: Connection) -> int:
    """Return the catalog's epoch."""
    return int(meta.get(conn, KEY) or "0")


async def publish(transactions: Transactions, kept: KeptStore) -> None:
    """Have the store repeat the catalog's epoch. After a crash in between the store is behind, never ahead.

    Raises:
        StaleEpochError: The store is ahead, or another catalog's: nothing of it may be deleted by this one.
        UnavailableError, SpaceError: It cannot be written now; the next change publishes it.
    """
    store = kept.store
    async with kept.epoch_lock:
        epoch, owner = await transactions.read(lambda conn: (current(conn), meta.get(conn, OWNER)))
        if await asyncio.to_thread(read_owner, store) != owner:
            raise StaleEpochError(f"store {store.store_id} is owned by another catalog")
        await asyncio.to_thread(publish_epoch, store, epoch)


async def advance(transactions: Transactions, kept: KeptStore) -> None:
    """Let no older copy of this catalog be accepted from here on (S80).

    Called when it is in the rows what of the store is to be deleted, right before the first of it is: a copy from
    before that may need it. The store is asked whose it is: one that was taken over meanwhile is left alone (F6).

    Raises:
        DrystoneError: As `publish`; nothing may be deleted.
    """
    await transactions.change(lambda change: raise_epoch(change.conn))
    await publish(transactions, kept)

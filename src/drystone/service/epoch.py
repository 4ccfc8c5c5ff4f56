"""The catalog's epoch, which the store repeats: how a catalog from an old backup is noticed (F5).

It rises with every snapshot that becomes NORMAL and with every one that is deleted, in the same transaction, and is
then published to the store. A catalog that was put back from before such a change finds a higher one in the store.
"""

import asyncio

from sqlalchemy import Connection

from drystone.catalog import meta
from drystone.service.installation import Installation
from drystone.snapstore.store import publish_epoch

KEY = "catalog_epoch"


def raise_epoch(conn: Connection) -> None:
    """Raise the catalog's epoch in the caller's transaction; `publish` follows it."""
    meta.put(conn, KEY, str(current(conn) + 1))


def current(conn: Connection) -> int:
    """Return the catalog's epoch."""
    return int(meta.get(conn, KEY) or "0")


async def publish(installation: Installation) -> None:
    """Have the store repeat the catalog's epoch. After a crash in between the store is behind, never ahead.

    Raises:
        StaleEpochError: The store is ahead: nothing of it may be deleted by this catalog.
        UnavailableError, SpaceError: It cannot be written now; the next change publishes it.
    """
    async with installation.epoch_lock:
        epoch = await installation.db.read(current)
        await asyncio.to_thread(publish_epoch, installation.store, epoch)

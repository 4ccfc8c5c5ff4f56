"""Seeing that the store goes with this catalog, before anything of either is changed or destroyed (S202)."""

import asyncio
from pathlib import Path

import structlog
from sqlalchemy import Connection

from drystone.catalog import meta
from drystone.domain.claim import Standing
from drystone.domain.errors import DrystoneError, UnavailableError
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Transactions
from drystone.service.upkeep import epoch
from drystone.snapstore.claims import claimed_epoch, owned_by_another
from drystone.snapstore.far import far_from
from drystone.snapstore.reader_copy import keep_reader
from drystone.snapstore.store import Store, end_numbered_epoch, keep_key, open_store

log = structlog.get_logger()


class ForeignStoreError(DrystoneError):
    """The store goes with another catalog, or with a newer state of this one."""


def check(conn: Connection, store: Store, data: Path) -> None:
    """See that the store goes with a catalog.

    Args:
        conn: The catalog's.
        store: The store.
        data: The catalog's directory, for the message.

    Raises:
        ForeignStoreError: It does not.
        UnavailableError: It cannot be told now.
    """
    found, owner = epoch.look_at_start(conn, store), meta.get(conn, epoch.OWNER) or ""
    if found is Standing.TAKEN and owned_by_another(store, owner):
        raise ForeignStoreError(
            f"the snapshot store {store.store_id} is owned by another catalog; this one must not touch it"
        )
    if found is not Standing.HELD:
        raise ForeignStoreError(
            f"this catalog is older than its snapshot store (epoch {epoch.current(conn)} against "
            f"{claimed_epoch(store)}), or is a copy of one that has used it ({found.value}): put the newest catalog.db "
            f"back, or run `drystone store reconcile --data {data}`, which imports what it lacks"
        )


def keep_roots(store: Store, *, new: bool = False) -> None:
    """Have the store hold its mark, its key twice, and the reader; what cannot be written now is at the next start."""
    try:
        end_numbered_epoch(store)
        if keep_key(store) and not new:
            log.warning("store.key_written", store_id=store.store_id)
        keep_reader(store)
    except UnavailableError as error:
        log.warning("store.root_not_written", error=str(error))


class Proof:
    """Looks for a store that was not reached at the start, until it is.

    Args:
        transactions: The catalog's.
        kept: The store.
    """

    def __init__(self, *, transactions: Transactions, kept: KeptStore) -> None:
        self._transactions = transactions
        self._kept = kept

    async def once(self) -> None:
        """Look whether it is there now. What waits for it goes on by itself."""
        kept = self._kept
        if kept.proven is not None:
            return
        try:
            far = far_from(kept.place, serves=False)
            store = await asyncio.to_thread(open_store, kept.objects, kept.store_id, far)
            await self._transactions.read(lambda conn: check(conn, store, kept.room.layout.data))
        except DrystoneError as error:
            if str(error) != kept.why:
                say = log.warning if isinstance(error, UnavailableError) else log.error
                say("store.waits", place=str(kept.place), error=str(error))
            kept.why = str(error)
            return
        # Claimed before anything is changed; claimed again before a manifest or a deletion (S80, S201).
        await self._transactions.change(lambda change: epoch.begin(change.conn, change.ids.hex128()))
        await asyncio.to_thread(keep_roots, store)
        kept.proven = store
        log.info("store.reached", place=str(kept.place))
        await epoch.publish(self._transactions, kept)

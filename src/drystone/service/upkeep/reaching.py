"""Seeing that the store goes with this catalog, before anything of either is changed or destroyed (S202)."""

import asyncio
from dataclasses import replace
from pathlib import Path

import structlog

from drystone.catalog.database import Database
from drystone.domain.claim import Standing
from drystone.domain.errors import DrystoneError, UnavailableError
from drystone.domain.ids import IdSource
from drystone.objects.contract import NotFoundError, ObjectStore
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Transactions
from drystone.service.upkeep import epoch
from drystone.snapstore.claims import claimed_epoch, owned_by_another
from drystone.snapstore.far import far_from
from drystone.snapstore.key_files import keks_from
from drystone.snapstore.reader_copy import keep_reader
from drystone.snapstore.store import Store, end_numbered_epoch, keep_key, open_store

log = structlog.get_logger()


class ForeignStoreError(DrystoneError):
    """The store goes with another catalog, or with a newer state of this one, or is not there."""


def reach(db: Database, kept: KeptStore, objects: ObjectStore, ids: IdSource, *, new: bool = False) -> None:
    """Look whether the store is there and is this catalog's; if so, begin another start of the catalog with it (S200).

    Afterwards `kept.proven` is the store. Where it or the catalog cannot be used now, `kept.fault` says why, and all
    that was changed is a note of the epoch from which the catalog went on without its store.

    Args:
        db: The catalog's.
        kept: What is known of the store.
        objects: Where its objects are; `kept.objects` may be tried for longer.
        ids: Gives the incarnation.
        new: Whether it was just made.

    Raises:
        ForeignStoreError: It is not this catalog's, or not there.
        DrystoneError: The store or the catalog is damaged.
    """
    known = db.read_sync(epoch.known)
    if kept.began_at is None:
        kept.began_at = known.epoch
    known = replace(known, epoch=min(known.epoch, kept.began_at))
    try:
        store = open_store(objects, kept.store_id, far_from(kept.place, serves=False), keks_from(kept.place))
        check(known, store, kept.room.layout.data)
        # Claimed before anything is changed; claimed again before a manifest or a deletion (S80, S201).
        incarnation = ids.hex128()
        db.write_sync(lambda conn: epoch.begin(conn, incarnation))
    except NotFoundError as error:
        raise ForeignStoreError(
            f"{kept.place} does not have the snapshot store {kept.store_id} of this catalog ({error}); look whether it "
            "is the right place: none is made anew there"
        ) from error
    except UnavailableError as error:
        _wait(db, kept, known, error)
        return
    _keep_roots(store, new=new)
    kept.proven, kept.fault = store, None


def check(known: epoch.Known, store: Store, data: Path) -> None:
    """See that the store goes with a catalog.

    Args:
        known: What the catalog knows of it.
        store: The store.
        data: The catalog's directory, for the message.

    Raises:
        ForeignStoreError: It does not.
        UnavailableError: It cannot be told now.
    """
    found = epoch.look_at_start(known, store)
    if found is Standing.TAKEN and owned_by_another(store, known.claimant.owner):
        raise ForeignStoreError(
            f"the snapshot store {store.store_id} is owned by another catalog; this one must not touch it"
        )
    if found is not Standing.HELD:
        raise ForeignStoreError(
            f"this catalog is older than its snapshot store (epoch {known.current} against {claimed_epoch(store)}), or "
            f"is a copy of one that has used it ({found.value}): put the newest catalog.db back, or run "
            f"`drystone store reconcile --data {data}`, which imports what it lacks"
        )


def _wait(db: Database, kept: KeptStore, known: epoch.Known, error: UnavailableError) -> None:
    """Say for what is waited, and note the epoch from which the catalog goes on without its store."""
    if str(error) != str(kept.fault):
        log.warning("store.waits", place=str(kept.place), error=str(error))
    kept.fault = error
    if known.noted:
        return
    try:
        db.write_sync(lambda conn: epoch.begin_without_store(conn, known.epoch))
    except UnavailableError as failed:
        # Another program holds the catalog, or there is no room; the next look notes the same epoch.
        log.warning("store.wait_not_noted", error=str(failed))


def _keep_roots(store: Store, *, new: bool) -> None:
    """Have the store hold its mark, its key twice, and the reader; what cannot be written now is at the next start."""
    try:
        end_numbered_epoch(store)
        if keep_key(store) and not new:
            log.warning("store.key_written", store_id=store.store_id)
        keep_reader(store)
    except UnavailableError as error:
        log.warning("store.root_not_written", error=str(error))


class Reaching:
    """Looks for a store that was not reached at the start, until it is.

    Args:
        transactions: The catalog's.
        kept: The store.
        ids: Where incarnations come from.
    """

    def __init__(self, *, transactions: Transactions, kept: KeptStore, ids: IdSource) -> None:
        self._transactions = transactions
        self._kept = kept
        self._ids = ids

    async def once(self) -> None:
        """Look whether it is there now. What waits for it goes on by itself."""
        kept = self._kept
        if kept.proven is not None:
            return
        try:
            await asyncio.to_thread(reach, self._transactions.db, kept, kept.objects, self._ids)
        except DrystoneError as error:
            if str(error) != str(kept.fault):
                log.error("store.refused", place=str(kept.place), error=str(error))  # noqa: TRY400 - no bug
            kept.fault = error
            return
        if kept.fault is None:
            log.info("store.reached", place=str(kept.place))
            await epoch.publish(self._transactions, kept)

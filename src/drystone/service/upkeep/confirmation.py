"""What waits for a person after a recovery (F5, L11), and whether this catalog may delete anything of its store.

While the catalog is held nothing expires and nothing is collected: deletions that are asked for wait too, so that what
somebody takes for lost is still in the bucket.
"""

from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from drystone.catalog import meta
from drystone.service.caller import Caller
from drystone.service.kept_store import KeptStore
from drystone.service.rows.troubles import HELD
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import epoch
from drystone.snapstore.store import StaleEpochError

log = structlog.get_logger()


def held(conn: Connection) -> str | None:
    """Return why nothing may expire or be collected, None if it may."""
    return meta.get(conn, HELD)


def hold(conn: Connection, reason: str) -> None:
    """Hold expiry and collection, in the caller's transaction, until somebody confirms."""
    meta.put(conn, HELD, reason)


async def may_delete(transactions: Transactions, kept: KeptStore) -> bool:
    """Tell whether objects of the store may be deleted now (L7): nobody must confirm, and the store is ours.

    Its claims are listed again each time: another catalog may have taken it over meanwhile (F6).

    Raises:
        DrystoneError: The store cannot be read: nothing may be deleted.
    """
    reason = await transactions.read(held)
    if reason is not None:
        log.warning("collection.held", reason=reason)
        return False
    try:
        await epoch.publish(transactions, kept)
    except StaleEpochError as error:
        log.error("collection.stopped", reason=str(error))  # noqa: TRY400 - the store's state, not the code's fault
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The call by which an administrator ends the hold."""

    transactions: Transactions

    async def confirm(self, caller: Caller) -> str | None:
        """Let expiry and collection begin again; return why they were held, None if they were not.

        Raises:
            RefusalError: `NOT_ALLOWED` for any but an administrator.
        """
        caller.require_admin()

        def end(change: Change) -> str | None:
            reason = held(change.conn)
            if reason is not None:
                meta.remove(change.conn, HELD)
            return reason

        reason = await self.transactions.change(end)
        if reason is not None:
            log.info("store.confirmed", held=reason)
        return reason

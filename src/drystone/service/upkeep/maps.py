"""Maps that nothing names any more go."""

from collections.abc import Collection

import structlog
from sqlalchemy import Connection

from drystone.catalog import sessions
from drystone.domain.ids import SessionId
from drystone.domain.session import SessionState
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Transactions
from drystone.service.upkeep import collection, epoch

log = structlog.get_logger()


async def collect_maps(transactions: Transactions, kept: KeptStore, names: Collection[str]) -> bool:
    """Remove every map that a committed session of this catalog wrote and that nothing names any more (L1, L7, S15).

    Only `names` are looked at (S205): what something has just let go of, or all that a listing has shown before. They
    are judged in one transaction: a map whose session is committed by then is named, or never will be. What a snapshot
    that was left alone needs is named by its manifest only: while there is one, nothing is removed.

    Returns:
        Whether they were looked at; otherwise something keeps everything in the store, and it is to be tried again.
    """
    store = kept.store
    prefix = store.name("maps", "")
    listed = sorted(names)
    if not listed:
        return True
    reason = await collection.stopped(transactions, kept)
    if reason is not None:
        log.warning("maps.kept", reason=reason)
        return False

    def unnamed(conn: Connection) -> list[str]:
        named = collection.named_maps(conn)
        writers: dict[str, bool] = {}
        unneeded = []
        for name in listed:
            writer = name.removeprefix(prefix).partition("/")[0]
            if writer not in writers:
                row = sessions.get(conn, SessionId(writer))
                writers[writer] = row is not None and row.state in {SessionState.COMMITTED, SessionState.ADOPTED}
            if writers[writer] and name not in named:
                unneeded.append(name)
        return unneeded

    gone = [name for name in await transactions.read(unnamed) if kept.pending.waits(name) is None]
    if gone:
        await epoch.advance(transactions, kept)
    for name in gone:
        # One that the store keeps is in the next listing of all of them.
        await collection.removed(kept, name)
    return True

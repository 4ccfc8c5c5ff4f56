"""What is asked before anything of the store is deleted (L7), and the sums of what came back (L13)."""

import asyncio
import functools
from collections.abc import Iterable

import structlog
from sqlalchemy import Connection

from drystone.catalog import meta, pack_rewrites, packs, sessions, snapshots
from drystone.domain.clock import recent
from drystone.domain.errors import RetainedError
from drystone.domain.ids import PackId, SessionId
from drystone.domain.session import Pack, PackState, Session, SessionState
from drystone.domain.snapshot import SnapshotState
from drystone.service.kept_store import KeptStore
from drystone.service.rows.trees import around, carried
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import epoch, late_writes
from drystone.service.upkeep.confirmation import may_delete

log = structlog.get_logger()

RECLAIMED = "reclaimed_bytes"
"""Key of `meta`: bytes of all objects that collection and compaction have removed so far."""
_NAMED_MAX = 10
LISTED_SECONDS = 86_400.0
"""How long a listing of all manifests, or of all maps, is good for."""


async def stopped(transactions: Transactions, kept: KeptStore) -> str | None:
    """Return why nothing of the store may be deleted now, or None (L7).

    Asked by each thing that deletes, right before it begins: nobody must confirm, the store is ours, and every manifest
    in it is known. While a reason lasts, everything is kept and nothing is lost but space. Manifests are listed by the
    first that asks after a start, and again a day later: meanwhile nobody else can write one unseen (S200, S201).

    Raises:
        DrystoneError: The store cannot be asked, which is a reason, too.
    """
    if not await may_delete(transactions, kept):
        return "it waits for a person's confirmation, or another catalog has used the store"
    at, looked_at = transactions.steady(), kept.claimed.manifests_known_at
    if looked_at is not None and recent(looked_at, at, LISTED_SECONDS):
        return None
    unknown, done = await late_writes.unknown_manifests(transactions, kept)
    kept.claimed.manifests_known_at = at if done and not unknown else None
    if unknown:
        return f"manifests that the catalog does not know: {', '.join(unknown[:_NAMED_MAX])}"
    return None


def living_around(conn: Connection, found: Iterable[Pack]) -> tuple[str, ...]:
    """Return the manifests of the living snapshots that may show blocks of these packs: of their trees (L3, S205).

    Where the rows cannot say which trees these are, those of all living snapshots.
    """
    rows = around(conn, {pack.session_id for pack in found})
    if rows is None:
        return living_manifests(conn)
    living = {SnapshotState.NORMAL, SnapshotState.DELETING}
    return tuple(sorted(row.manifest for row in rows if row.state in living and row.manifest is not None))


def living_manifests(conn: Connection) -> tuple[str, ...]:
    """Return the manifests of every living snapshot of the installation, whatever the tree says (fail closed)."""
    rows = snapshots.in_states(conn, [SnapshotState.NORMAL, SnapshotState.DELETING])
    return tuple(row.manifest for row in rows if row.manifest is not None)


def garbage(conn: Connection) -> list[Session]:
    """Return the FENCED sessions whose objects nobody needs (L6, L7, S61), the oldest first.

    What a FENCED session wrote is in use all the same if a recovery took its snapshot for one that was committed.
    """
    fenced = sessions.in_state(conn, SessionState.FENCED)
    if not fenced:
        return []
    living = snapshots.in_states(conn, [SnapshotState.NORMAL, SnapshotState.DELETING])
    needed = {row.session_id for row in living} | {SessionId(name.split("/")[-2]) for name in named_maps(conn)}
    return [one for one in fenced if one.id not in needed and not packs.of_session(conn, one.id)]


def doom_pack(conn: Connection, pack: Pack) -> bool:
    """Mark a pack of which every block was proven dead; `remove_doomed` deletes it. Return whether it was LIVE."""
    expected = {"state": PackState.LIVE, "object": pack.object}
    return packs.compare_and_set(conn, pack.id, expected=expected, values={"state": PackState.DELETING})


async def remove_doomed(transactions: Transactions, kept: KeptStore) -> None:
    """Delete every pack that was marked, also those that a crash left, but for those that the store keeps for now.

    Raises:
        DrystoneError: The store refused; the rest is done next time.
    """

    def look(conn: Connection) -> list[tuple[Pack, list[str]]]:
        gone = packs.in_state(conn, PackState.DELETING)
        others: dict[PackId, list[str]] = {}
        for row in pack_rewrites.everything(conn) if gone else []:
            others.setdefault(row.pack_id, []).extend((row.old_object, row.new_object))
        return [(pack, sorted({pack.object, *others.get(pack.id, [])})) for pack in gone]

    doomed = [(pack, names) for pack, names in await transactions.read(look) if not any(map(kept.pending.waits, names))]
    if doomed:
        await epoch.advance(transactions, kept)
    for pack, names in doomed:
        if all([await removed(kept, name) for name in names]):
            await transactions.change(functools.partial(_forget, pack=pack))


async def removed(kept: KeptStore, name: str) -> bool:
    """Delete an object; return false if the store keeps it for now, so that its deletion is pending (S212).

    Raises:
        DrystoneError: The store refused otherwise, or does not answer.
    """
    try:
        await asyncio.to_thread(kept.store.objects.delete, name)
    except RetainedError:
        return False
    return True


def _forget(change: Change, *, pack: Pack) -> None:
    if packs.delete(change.conn, pack.id):
        sessions.note_deleted(change.conn, pack.session_id, None, at=change.steady)
        add_reclaimed(change.conn, pack.bytes)


def reclaimed(conn: Connection) -> int:
    """Return the bytes that came back since the installation was made."""
    return int(meta.get(conn, RECLAIMED) or "0")


def add_reclaimed(conn: Connection, size_bytes: int) -> None:
    """Count bytes that came back."""
    meta.put(conn, RECLAIMED, str(reclaimed(conn) + size_bytes))


def named_maps(conn: Connection) -> set[str]:
    """Return every map that a snapshot, a ghost, a disk's carry-over or an operation names (L1)."""
    named = carried(conn)
    for row in snapshots.everything(conn):
        if row.state is SnapshotState.GHOST:
            # A ghost needs its own map, for paths; not those that its manifest listed.
            named.update([row.delta_map] if row.delta_map is not None else [])
        else:
            named.update(row.maps)
    return named

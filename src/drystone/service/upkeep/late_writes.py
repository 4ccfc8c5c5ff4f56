"""What landed late, of writes that were given up, found by a listing of all manifests (S209, S210)."""

import asyncio
import contextlib
import itertools
from collections.abc import Collection

import structlog
from sqlalchemy import Connection

from drystone.catalog import pack_rewrites, packs, sessions, snapshots
from drystone.codec.map import PackRef
from drystone.domain.errors import IntegrityError, ProtocolError, RetainedError
from drystone.domain.ids import SessionId
from drystone.domain.late_writes import Known, Made, judge
from drystone.domain.session import Pack, Session, SessionState
from drystone.domain.snapshot import SnapshotState
from drystone.objects.contract import NotFoundError, ObjectEntry
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import epoch
from drystone.snapstore.deletion import delete_manifest
from drystone.snapstore.inventory import Listing, listing_of, packs_and_maps
from drystone.snapstore.manifests import list_shelf, made_of
from drystone.snapstore.packs import open_pack

log = structlog.get_logger()
PAGE = 5000
"""Names that are looked at together: a store of 10 TiB has 300,000 packs."""


async def unknown_manifests(transactions: Transactions, kept: KeptStore) -> tuple[list[str], bool]:
    """Find manifests in the store that no snapshot's row and no session of this catalog accounts for (S56).

    Those of snapshots that were deleted are deleted again, and tombstones of snapshots that live go. The caller has
    just seen that this catalog may delete.

    Returns:
        Their names, and whether everything was done about the others.

    Raises:
        DrystoneError: The store does not answer, or it may not be deleted any more.
    """
    store = kept.store
    shelf = await asyncio.to_thread(list_shelf, store)
    made = [entry.made for entry in shelf.manifests]
    known = await transactions.read(lambda conn: what_rows_say(conn, {*made, *shelf.tombstones}))
    found = judge(made, shelf.tombstones, shelf.attributes, known)
    if found.late or found.undone or found.bare:
        await epoch.advance(transactions, kept)
    for snapshot_id, session_id in sorted(found.late):
        log.warning("manifest.came_back", object=store.manifest_name(snapshot_id, session_id))
        with contextlib.suppress(RetainedError):
            await asyncio.to_thread(delete_manifest, store, snapshot_id, session_id)
    for snapshot_id in sorted(found.bare):
        with contextlib.suppress(RetainedError):
            await asyncio.to_thread(store.objects.delete, store.attributes_name(snapshot_id))
    done = await _undo(transactions, kept, found.undone)
    if found.orphaned:
        await transactions.change(lambda change: adopt(change, found.orphaned))
    return [entry.object for entry in shelf.manifests if entry.made in found.unknown], done


async def _undo(transactions: Transactions, kept: KeptStore, tombstones: Collection[Made]) -> bool:
    """Remove tombstones of snapshots that live; return False if somebody deletes now, for it may be these."""
    if not tombstones:
        return True
    if kept.collection_lock.locked():
        return False
    async with kept.collection_lock:
        known = await transactions.read(lambda conn: what_rows_say(conn, tombstones))
        for made in sorted(judge((), tombstones, (), known).undone):
            log.error("tombstone.undone", object=kept.store.tombstone_name(*made))
            with contextlib.suppress(RetainedError):
                await asyncio.to_thread(kept.store.objects.delete, kept.store.tombstone_name(*made))
    return True


async def adopt_unknown(transactions: Transactions, kept: KeptStore) -> frozenset[str]:
    """Have a row for each session that only its objects tell of, and for each pack that no row names.

    They landed late, after a recovery had looked, or are of a writer that did not know that it had lost the store. They
    are candidates, no more: like all that is thought dead they go when that was proven (L7).

    Returns:
        The names of all maps in the store.

    Raises:
        DrystoneError: The store does not answer.
    """
    entries, maps = packs_and_maps(kept.store), set[str]()

    def page() -> list[ObjectEntry]:
        return list(itertools.islice(entries, PAGE))

    while found := await asyncio.to_thread(page):
        listing = listing_of(kept.store, found)
        maps |= listing.maps
        await _adopt_unknown(transactions, kept, listing)
    return frozenset(maps)


async def _adopt_unknown(transactions: Transactions, kept: KeptStore, listing: Listing) -> None:
    def nameless(conn: Connection) -> list[PackRef]:
        # Read after the listing: what was being written then has a row now, or an open session.
        own = sessions.get_many(conn, {ref.session for ref in listing.packs})
        writing = {row.id for row in own.values() if row.state in {SessionState.OPEN, SessionState.FENCED}}
        rewritten = {row.pack_id for row in pack_rewrites.everything(conn)}
        known = packs.get_many(conn, [ref.pack for ref in listing.packs])
        return [
            ref
            for ref in listing.packs
            if ref.pack not in known and ref.pack not in rewritten and ref.session not in writing
        ]

    found = []
    for ref in await transactions.read(nameless):
        name, size_bytes = min(listing.packs[ref].items())
        with contextlib.suppress(NotFoundError, IntegrityError, ProtocolError):
            opened = await asyncio.to_thread(open_pack, kept.store, name, size_bytes)
            blocks = max(1, len(opened.index.dead))
            found.append(Pack(
                id=ref.pack, session_id=ref.session, object=name, bytes=size_bytes, blocks=blocks, dead_blocks=blocks,
                dead_bytes=size_bytes,
            ))  # fmt: skip

    def record(change: Change) -> None:
        known = sessions.get_many(change.conn, listing.sessions).keys()
        for session_id in sorted(listing.sessions - known):
            _adopt_session(change, session_id)
        there = packs.get_many(change.conn, [pack.id for pack in found])
        for pack in found:
            if pack.id not in there:
                log.warning("pack.came_back", object=pack.object)
                packs.insert(change.conn, pack)

    known = await transactions.read(lambda conn: sessions.get_many(conn, listing.sessions).keys())
    if found or listing.sessions - known:
        await transactions.change(record)


def what_rows_say(conn: Connection, listed: Collection[Made]) -> Known:
    """Return what rows say of what a listing has shown."""
    living, deleting = set(), set()
    for row in snapshots.in_states(conn, [SnapshotState.NORMAL, SnapshotState.DELETING]):
        if row.manifest is not None:
            living.add(made_of(row.manifest))
            if row.state is SnapshotState.DELETING:
                deleting.add(made_of(row.manifest))
    rows = sessions.get_many(conn, {session for _, session in listed}).values()
    return Known(
        living=frozenset(living),
        deleting=frozenset(deleting),
        writing=frozenset(row.id for row in rows if row.state in {SessionState.OPEN, SessionState.FENCED}),
        deleted=frozenset(
            (row.snapshot_id, row.id) for row in rows if row.deleted_at is not None and row.snapshot_id is not None
        ),
    )


def adopt(change: Change, tombstones: Collection[Made]) -> None:
    """Have a row for the session of each tombstone, by which the tombstone goes in its time."""
    for snapshot_id, session_id in sorted(tombstones):
        if sessions.get(change.conn, session_id) is None:
            _adopt_session(change, session_id)
        sessions.note_deleted(change.conn, session_id, snapshot_id, at=change.steady)


def _adopt_session(change: Change, session_id: SessionId) -> None:
    row = Session(id=session_id, kind="adopted", state=SessionState.ADOPTED, created_at=change.at, ended_at=change.at)
    sessions.adopt(change.conn, row)

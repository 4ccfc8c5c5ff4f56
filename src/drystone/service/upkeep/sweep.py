"""What has ended goes: objects of fenced sessions by name (L6), spent sessions, ended operations.

Its cost follows what ended, not how many snapshots there are: a session says where its manifest would lie (S137).
"""

import asyncio
import contextlib
from collections.abc import Container, Iterable
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from drystone.catalog import operations, pack_rewrites, sessions
from drystone.domain.clock import age_s, recent
from drystone.domain.errors import DrystoneError, RetainedError, UnavailableError
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.late_writes import Made
from drystone.domain.operation import OperationKind
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.session import Session, SessionState
from drystone.domain.settling import Phase
from drystone.engine.layout import Layout
from drystone.objects.address import S3Address
from drystone.objects.s3_rules import S3Rules
from drystone.service.kept_store import KeptStore
from drystone.service.spool import Spool
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import collection
from drystone.service.upkeep.collection import LISTED_SECONDS
from drystone.service.upkeep.confirmation import may_delete
from drystone.snapstore.deletion import (
    delete_manifest,
    delete_session_objects,
    list_session_objects,
    put_tombstone,
    remove_tombstone,
)
from drystone.snapstore.manifests import list_shelf
from drystone.snapstore.store import Store

log = structlog.get_logger()
KEPT_SECONDS = 7 * 86400.0
"""A fenced writer that was paused may still put objects: its session is swept for this long."""
MANIFEST_WRITERS = frozenset({"snapshot", "adopted"})
"""Kinds of session that may have written a manifest; nobody knows what an adopted one was for."""
SPENT_MAX = 200
"""Sessions that are looked at together: each costs two or three listings of a prefix."""
OPERATIONS_KEPT_SECONDS = 30 * 86400.0
"""How long ended operations stay listed (S138; the console says it, too),"""
OPERATIONS_KEPT_MAX = 50_000
"""and how many of them, about 50 MB of catalog,"""
OPERATIONS_KEPT_SECONDS_MIN = 86400.0
"""though none younger than a day: what has just failed is looked at."""
OPERATIONS_PRUNED_MAX = 5000
"""Rows that one transaction removes: others wait for it."""


async def clear_scratch(transactions: Transactions, layout: Layout) -> None:
    """At start, after every disk was settled: remove scratch files that no frozen view stands on (S24)."""
    running = await transactions.read(operations.unfinished)
    needed = {f"{row.disk_id}.raw" for row in running if row.kind is OperationKind.SNAPSHOT}
    await asyncio.to_thread(_remove_scratch, layout, needed)


async def clear_spool(transactions: Transactions, spool: Spool) -> None:
    """At start: remove the spools from which no snapshot goes on (S270)."""

    def needed(conn: Connection) -> set[SessionId]:
        return {
            one.payload_as(SnapshotPayload).session
            for one in operations.unfinished(conn)
            if one.kind is OperationKind.SNAPSHOT and one.phase == Phase.SPOOLED
        }

    await asyncio.to_thread(spool.keep_only, await transactions.read(needed))


def _remove_scratch(layout: Layout, needed: Container[str]) -> None:
    for file in layout.scratch.iterdir():
        # A file system of its own, mounted there, has `lost+found`.
        if file.name in needed or (file.is_dir() and not file.is_symlink()):
            continue
        try:
            file.unlink()
        except OSError as error:
            log.warning("scratch.not_removed", file=file.name, error=str(error))


class Sweep:
    """Removes what ended sessions have left, and their rows.

    Args:
        transactions: The catalog's.
        kept: The store.
    """

    def __init__(self, *, transactions: Transactions, kept: KeptStore) -> None:
        self._transactions = transactions
        self._kept = kept
        self._swept: dict[SessionId, float] = {}
        """When a fenced session's objects were last swept."""
        self._uploads_at: float | None = None

    async def tidy(self) -> None:
        """Remove the rows of what ended long ago: sessions, operations.

        Raises:
            DrystoneError: The catalog or the store cannot be asked now.
        """
        await self.forget_spent()
        await self.abort_uploads()
        await self._transactions.change(_prune_operations)

    async def abort_uploads(self) -> None:
        """Once a day, have parts removed that uploads to a bucket have left which nobody has ended.

        They are in no listing of objects, and are paid for. Only names below the place of this store are looked at.
        """
        at, place = self._transactions.steady(), self._kept.place
        if not isinstance(place, S3Address) or (self._uploads_at and recent(self._uploads_at, at, LISTED_SECONDS)):
            return
        if not await may_delete(self._transactions, self._kept):
            return
        self._uploads_at = at
        try:
            for upload in await asyncio.to_thread(S3Rules(place).abort_old):
                log.info("upload.aborted", object=upload.name, begun_at=upload.begun_at)
        except UnavailableError as error:
            log.warning("uploads.not_looked_at", error=str(error))

    async def sweep(self) -> None:
        """Remove what fenced sessions wrote and nobody needs; drop those that ended long ago. Failures are left.

        A session that was fenced stays so, and nothing new is made of what it wrote (L6): garbage stays garbage. Each
        is swept when it is first seen and again whenever it is twice as old, so ten times or so in its week.

        Raises:
            DrystoneError: The catalog or the store cannot be asked now.
        """
        at, swept, store = self._transactions.steady(), self._swept, self._kept.store
        fenced = await self._transactions.read(lambda conn: sessions.in_state(conn, SessionState.FENCED))
        for name in swept.keys() - {session.id for session in fenced}:
            swept.pop(name, None)  # Another sweep may be under way.
        due = {session.id for session in fenced if _due(session, swept.get(session.id), at)}
        if not due or not await may_delete(self._transactions, self._kept):
            return
        garbage = [one for one in await self._transactions.read(collection.garbage) if one.id in due]
        if any(session.deleted_at is None for session in garbage):
            await self._transactions.change(lambda change: _note_swept(change, garbage))
        shelves = await asyncio.to_thread(_shelves_of, store, garbage)
        # Of others something is needed all the same (S61): that may change, and is asked as seldom.
        swept.update(dict.fromkeys(due, at))
        over: list[Session] = []
        for session in garbage:
            try:
                old = _age(session, at) > KEPT_SECONDS
                if not old:
                    await asyncio.to_thread(_bury, store, session, shelves)
                await asyncio.to_thread(_sweep_one, store, session, shelves)
                if old and await asyncio.to_thread(_unbury, store, session):
                    over.append(session)
            except RetainedError:
                # The bucket keeps some of it: what is left is asked for at the next sweeps, and the row stays (S212).
                continue
            except DrystoneError as error:
                log.warning("sweep.failed", session_id=session.id, error=str(error))
                swept.pop(session.id, None)

        def drop(change: Change) -> None:
            for session in over:
                sessions.delete(change.conn, session.id)

        if over:
            await self._transactions.change(drop)

    async def forget_spent(self) -> int:
        """Drop sessions in force that ended long ago and of which nothing is left (S60); return how many.

        Writers and readers both: a server that takes a snapshot an hour would keep 9,000 rows a year. A write that was
        given up may have landed since: of a snapshot that this catalog deleted it is deleted again (S209). A week later
        nothing of a session lands any more, so that no object is left without the row that lets it be deleted (L7).

        Raises:
            DrystoneError: The store cannot be listed; nothing was dropped.
        """
        before, store = self._transactions.steady() - KEPT_SECONDS, self._kept.store
        waiting = await self._transactions.read(lambda conn: sessions.spent(conn, before, SPENT_MAX))
        if not waiting or not await may_delete(self._transactions, self._kept):
            return 0
        if any(session.deleted_at is not None for session in waiting):
            reason = await collection.stopped(self._transactions, self._kept)
            if reason is not None:
                # What the catalog does not know may need a map of them (S56).
                log.warning("sessions.kept", reason=reason)
                waiting = [session for session in waiting if session.deleted_at is None]
        needed = await self._transactions.read(_needed)
        shelves = await asyncio.to_thread(_shelves_of, store, waiting)
        gone = []
        for session in waiting:
            if session.id in needed:
                continue
            # What the bucket keeps is left, and the row stays (S212).
            with contextlib.suppress(RetainedError):
                if session.deleted_at is not None:
                    await asyncio.to_thread(_sweep_one, store, session, shelves)
                elif shelves.manifests_of(session):
                    continue
                if not await asyncio.to_thread(list_session_objects, store, session.id) and await asyncio.to_thread(
                    _unbury, store, session
                ):
                    gone.append(session.id)

        def drop(change: Change) -> int:
            # Looked at again in the transaction: rows that refer to it may have come since (by a recovery alone).
            still = {session.id for session in sessions.spent(change.conn, before, SPENT_MAX)}
            return sum(sessions.delete(change.conn, name) for name in gone if name in still)

        return await self._transactions.change(drop)


def _note_swept(change: Change, garbage: Iterable[Session]) -> None:
    """Say of sessions that a catalog has fenced which has the store: what they wrote is surely garbage (S61)."""
    for session in garbage:
        if session.deleted_at is None:
            sessions.note_deleted(change.conn, session.id, None, at=change.steady)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shelves:
    """What listings have shown of the snapshots that some sessions may have written."""

    manifests: frozenset[Made]
    tombstones: frozenset[Made]

    def manifests_of(self, session: Session) -> list[SnapshotId]:
        """Return the snapshots of which there is a manifest by a session."""
        return sorted(snapshot for snapshot, writer in self.manifests if writer == session.id)


def _shelves_of(store: Store, wanted: Iterable[Session]) -> _Shelves:
    """Look where these sessions may have written a manifest."""
    writers = {session.id: session.snapshot_id for session in wanted if session.kind in MANIFEST_WRITERS}
    # Of one whose snapshot nobody knows (of a catalog that is gone, or an earlier version) it may lie anywhere.
    places = {None} if None in writers.values() else set(writers.values())
    shelves = [list_shelf(store, place) for place in sorted(places, key=str)]
    return _Shelves(
        manifests=frozenset(one.made for shelf in shelves for one in shelf.manifests if one.session in writers),
        tombstones=frozenset(made for shelf in shelves for made in shelf.tombstones),
    )


def _sweep_one(store: Store, session: Session, shelves: _Shelves) -> None:
    """Remove what a session wrote; its manifest goes first (S10)."""
    for snapshot_id in shelves.manifests_of(session):
        delete_manifest(store, snapshot_id, session.id)
    delete_session_objects(store, session.id)


def _bury(store: Store, session: Session, shelves: _Shelves) -> None:
    """Have a tombstone say that a manifest is no snapshot which is not there, and may land yet (S210)."""
    made = _made(session)
    if made is not None and made not in shelves.tombstones:
        put_tombstone(store, *made)


def _unbury(store: Store, session: Session) -> bool:
    """Have the tombstone of a session go whose row goes; return whether it is gone."""
    made = _made(session)
    return made is None or remove_tombstone(store, *made)


def _made(session: Session) -> Made | None:
    if session.kind not in MANIFEST_WRITERS or session.snapshot_id is None:
        return None
    return session.snapshot_id, session.id


def _needed(conn: Connection) -> set[SessionId]:
    """Return the sessions of which something is in use, or is on its way, that no row of a pack or snapshot tells.

    Of a session that a recovery adopted no ghost says that others show its map. A rewriting that was given up may still
    put its object, under the session that wrote the pack.
    """
    names = [*collection.named_maps(conn), *(row.new_object for row in pack_rewrites.everything(conn))]
    return {SessionId(name.split("/")[-2]) for name in names}


def _age(session: Session, at: float) -> float:
    return age_s(session.created_at if session.ended_at is None else session.ended_at, at)


def _due(session: Session, last: float | None, at: float) -> bool:
    """Tell whether a fenced session is to be swept again."""
    if last is None or at < last:
        return True
    return _age(session, at) > KEPT_SECONDS or _age(session, at) >= 2 * _age(session, last)


def _prune_operations(change: Change) -> None:
    """Remove operations that ended long ago, or before very many others did (S138)."""
    crowded = operations.newest_ended_at(change.conn, OPERATIONS_KEPT_MAX)
    before = change.steady - OPERATIONS_KEPT_SECONDS
    if crowded is not None:
        before = max(before, min(crowded, change.steady - OPERATIONS_KEPT_SECONDS_MIN))
    operations.prune(change.conn, before, OPERATIONS_PRUNED_MAX)

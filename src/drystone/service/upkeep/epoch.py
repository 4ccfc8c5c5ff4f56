"""The catalog's epoch, and its claims to the store (F5, F6): how a copy of it, or one from a backup, is noticed.

The epoch rises with every start, before every manifest (S201), with every disk that comes or goes and every deadline
that changes (by triggers), and before anything is deleted from the store (S80). The store is then claimed at that
epoch (S200): a catalog that was put back from before, and a copy that runs beside, find that claim.
"""

import asyncio
import time
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection

from drystone.catalog import meta, sessions, snapshots
from drystone.domain.claim import Claimant, Incarnation, Standing
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.session import SessionState
from drystone.domain.snapshot import SnapshotState
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Transactions
from drystone.snapstore.claims import UnlistedClaimError, hold, remove_claims, standing_at_start
from drystone.snapstore.manifests import is_complete
from drystone.snapstore.store import StaleEpochError, Store, forget_numbered_epoch

KEY = "catalog_epoch"
OWNER = "owner"
"""Key of the row that says whose the store is."""
CLAIMS = "claims"
"""Key of the row that says what was claimed by which start."""
UNPROVEN = "unproven_epoch"
"""Key of the row with the epoch when a start did not reach the store. From there on it rises with each change of a
disk: in a catalog from a backup it would pass what others have claimed, and nobody would notice (S202)."""
OLD_CLAIMS_MAX = 16
"""So many claims that newer ones have followed are left to be removed together."""
LISTED_SECONDS_MAX = 30.0
"""How far a listing may be behind. Whoever gave up sooner and came back would have raised the epoch, and wait anew."""
LOOK_SECONDS = 1.0


def raise_epoch(conn: Connection) -> None:
    """Raise the catalog's epoch in the caller's transaction; `publish` follows it."""
    meta.put(conn, KEY, str(current(conn) + 1))


def current(conn: Connection) -> int:
    """Return the catalog's epoch."""
    return int(meta.get(conn, KEY) or "0")


def claimant(conn: Connection) -> Claimant:
    """Return what the catalog knows of its claims."""
    owner, told = meta.get(conn, OWNER) or "", meta.get(conn, CLAIMS)
    if told is None:
        return Claimant(owner=owner)
    return replace(msgspec.json.decode(told, type=Claimant), owner=owner)


def begin(conn: Connection, incarnation: str) -> None:
    """Begin another start of this catalog, with an incarnation that nobody else has (S200)."""
    raise_epoch(conn)
    meta.remove(conn, UNPROVEN)
    _remember(conn, claimant(conn).begun(incarnation, current(conn)))


def begin_without_store(conn: Connection, epoch: int) -> None:
    """Note that a start at `epoch` did not reach the store, which is looked at later; no incarnation begins before."""
    if meta.get(conn, UNPROVEN) is None:
        meta.put(conn, UNPROVEN, str(epoch))


def begin_anew(conn: Connection, incarnation: str, *, above: int) -> None:
    """Begin as one who takes the store over from whoever has claimed it, at `above` at most (L11)."""
    epoch = max(current(conn), above) + 1
    meta.remove(conn, UNPROVEN)
    meta.put(conn, KEY, str(epoch))
    first = Incarnation(id=incarnation, first=epoch)
    _remember(conn, Claimant(owner=meta.get(conn, OWNER) or "", pending=(first,)))


def _remember(conn: Connection, known: Claimant) -> None:
    meta.put(conn, CLAIMS, msgspec.json.encode(known).decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a catalog knows of its store, for the time while the store is asked: a transaction does not wait for that.

    Attributes:
        claimant: Its claims.
        epoch: The epoch that it had when it was last seen to hold the store.
        current: The epoch that it has.
        noted: Whether it is written down that it goes on without its store since `epoch`.
        unfinished: Of snapshots that are being made or were given up: session and snapshot.
    """

    claimant: Claimant
    epoch: int
    current: int
    noted: bool
    unfinished: tuple[tuple[SessionId, SnapshotId], ...]


def known(conn: Connection) -> Known:
    """Read what the catalog knows of its store."""
    now, unproven = current(conn), meta.get(conn, UNPROVEN)
    unfinished = []
    for state in (SessionState.OPEN, SessionState.FENCED):
        for session in sessions.in_state(conn, state):
            row = None if session.snapshot_id is None else snapshots.get(conn, session.snapshot_id)
            if session.snapshot_id is not None and (row is None or row.state is SnapshotState.CREATING):
                unfinished.append((session.id, session.snapshot_id))
    return Known(
        claimant=claimant(conn), epoch=now if unproven is None else int(unproven), current=now,
        noted=unproven is not None, unfinished=tuple(unfinished),
    )  # fmt: skip


def look_at_start(found: Known, store: Store) -> Standing:
    """Return what a catalog is to its store, before it begins (S200).

    A snapshot that is still being made here, and has its attributes in the store, became NORMAL in a later state of
    this catalog: it is a copy from just before (S201). Requests follow what is unfinished.

    Raises:
        DrystoneError: The store cannot be asked.
    """
    standing = standing_at_start(store, found.claimant, found.epoch)
    if standing is Standing.HELD and any(is_complete(store, made, session) for session, made in found.unfinished):
        return Standing.TAKEN
    return standing


async def publish(transactions: Transactions, kept: KeptStore) -> None:
    """Claim the store at the catalog's epoch, or see that it is claimed; one request and one listing, or one listing.

    After a crash the store is behind, never ahead.

    Raises:
        StaleEpochError: Another catalog, or another state of this one, has claimed it. Nothing of it may be deleted,
            and no snapshot be made, until the next start.
        UnavailableError, SpaceError: It cannot be claimed now, or the listing is behind; the next change tries again.
    """
    async with kept.epoch_lock:
        if kept.claimed.lost:
            raise StaleEpochError(kept.claimed.lost)
        epoch, known = await transactions.read(lambda conn: (current(conn), claimant(conn)))
        try:
            old = await asyncio.to_thread(hold, kept.store, known, epoch, held=kept.claimed.epoch)
        except StaleEpochError as error:
            kept.claimed.lost = str(error)
            raise
        kept.claimed.epoch = epoch
        if known.pending:
            await transactions.change(lambda change: _confirm(change.conn, known))
            await asyncio.to_thread(forget_numbered_epoch, kept.store)
        if known.pending or len(old) > OLD_CLAIMS_MAX:
            await asyncio.to_thread(remove_claims, kept.store, old)


def _confirm(conn: Connection, known: Claimant) -> None:
    """Forget the starts before the one whose claim was seen."""
    if claimant(conn) == known:
        _remember(conn, known.seen())


async def advance(transactions: Transactions, kept: KeptStore) -> None:
    """Let no older copy of this catalog be accepted from here on (S80, S201).

    Called when it is in the rows what of the store is to be deleted, right before the first of it is, for a copy from
    before may need it; and before a manifest is written, for a copy from before would not know it. The store is asked
    whose it is: one that was taken over meanwhile is left alone (F6). A listing that is behind is waited for.

    Raises:
        DrystoneError: As `publish`; nothing may be deleted or written.
    """
    await transactions.change(lambda change: raise_epoch(change.conn))
    end = time.monotonic() + LISTED_SECONDS_MAX
    while True:
        try:
            await publish(transactions, kept)
        except UnlistedClaimError:
            if time.monotonic() >= end:
                raise
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return

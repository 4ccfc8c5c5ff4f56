"""When packs are written again: what is due, by counts; the work itself is `service/jobs/compact.py` (L8)."""

from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import accounts, operations, pack_rewrites, packs
from drystone.catalog.operations import OperationSelection
from drystone.domain.clock import recent
from drystone.domain.ids import AccountId, OperationId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.payloads import CompactPayload
from drystone.domain.session import PackState
from drystone.service.installation import Installation
from drystone.service.upkeep import collection, rewrites
from drystone.service.upkeep.maps import collect_maps

FAULTY_MAX = 10_000
"""Packs that cannot be trusted and are remembered as such."""
PAUSE_AFTER_FAILURE_SECONDS = 600.0
_LOOKED_AT = 100
"""Candidates looked at to find one that is not known to be faulty."""


def running(conn: Connection) -> Operation | None:
    """Return the compaction that is under way; there is one at most."""
    return next((one for one in operations.unfinished(conn) if one.kind is OperationKind.COMPACT), None)


def begin(
    conn: Connection, installation: Installation, *, account_id: AccountId, dead_percent: int, request_id: str
) -> Operation:
    """Have packs of which at least `dead_percent` is dead written again; returns the operation, to be woken.

    If one is under way, that one is returned; what it is not to look at waits for the next.
    """
    under_way = running(conn)
    if under_way is not None:
        return under_way
    at = installation.clock()
    operation = Operation(
        id=installation.ids.operation(), kind=OperationKind.COMPACT, account_id=account_id, request_id=request_id,
        payload=CompactPayload(dead_percent=dead_percent), created_at=at, updated_at=at,
    )  # fmt: skip
    operations.insert(conn, operation)
    return operation


async def begin_if_due(installation: Installation) -> OperationId | None:
    """Begin a compaction if enough is thought dead in any pack, and deleting is allowed; return its operation.

    Raises:
        DrystoneError: The store cannot be asked.
    """
    percent = installation.compaction_dead_percent

    def due(conn: Connection) -> bool:
        found = packs.dying(conn, percent / 100, _LOOKED_AT)
        wanted = any(pack.object not in installation.faulty_packs for pack in found)
        return wanted and running(conn) is None and not _failed_lately(conn, installation)

    if percent > 100 or not await installation.db.read(due) or await collection.stopped(installation) is not None:
        return None

    def start(conn: Connection) -> Operation:
        owner = _owner(conn)
        return begin(conn, installation, account_id=owner, dead_percent=percent, request_id="compaction")

    operation = await installation.db.write(start)
    installation.operations.wake(operation.id)
    return operation.id


async def look_after(installation: Installation) -> None:
    """Delete objects that rewritings replaced and nobody reads any more; begin the next compaction if one is due.

    Raises:
        DrystoneError: The store cannot be asked.
    """

    def left(conn: Connection) -> bool:
        return bool(pack_rewrites.everything(conn) or packs.in_state(conn, PackState.DELETING))

    if await installation.db.read(left):
        async with installation.collection_lock:
            if await collection.stopped(installation) is None:
                await collection.remove_doomed(installation)
                await rewrites.settle(installation)
    await begin_if_due(installation)


def _owner(conn: Connection) -> AccountId:
    """Return the account that work of the installation itself is listed with: the first, an administrator's."""
    return accounts.find(conn, offset=0, limit=1)[0][0].id


def _failed_lately(conn: Connection, installation: Installation) -> bool:
    failed = OperationSelection(
        account_id=_owner(conn), kinds=((OperationKind.COMPACT,),), states=((OperationState.FAILED,),), limit=1
    )
    found, _ = operations.find(conn, failed)
    return bool(found) and recent(found[0].updated_at, installation.clock(), PAUSE_AFTER_FAILURE_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What a compaction with some threshold is expected to write again, by counts."""

    packs: int
    stored_bytes: int
    dead_bytes: int


def prospect(conn: Connection, dead_percent: int) -> Prospect:
    """Return what a compaction with this threshold would look at."""
    found = packs.totals(conn, dead_percent / 100)
    return Prospect(packs=found.count, stored_bytes=found.stored_bytes, dead_bytes=found.dead_bytes)


class PackRound:
    """What is done again and again for packs and maps."""

    def __init__(self, installation: Installation) -> None:
        self._in = installation
        self._maps_collected = False

    async def once(self) -> None:
        """Have packs that are dead in part written again, the replaced deleted (L8); once, collect maps."""
        await look_after(self._in)
        if not self._maps_collected:
            # A server that died between a commit and what follows it may have left maps that nothing names.
            self._maps_collected = await collect_maps(self._in)

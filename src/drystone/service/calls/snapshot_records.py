"""Snapshots as rows: describing them, and changing what may change (name, deadline)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import accounts, proofs, shares, snapshots
from drystone.catalog.database import Database
from drystone.catalog.selection import Selection
from drystone.domain.disk_types import GIB
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, DiskBackupId, SnapshotId
from drystone.domain.share import Share
from drystone.domain.snapshot import Snapshot
from drystone.service.caller import Caller
from drystone.service.calls.attributes import deadline, snapshot_name
from drystone.service.calls.filters import snapshot_record_selection, snapshot_selection
from drystone.service.requests import SnapshotChanges, SnapshotQuery
from drystone.service.views import Page, SnapshotOverview, SnapshotView


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecords:
    """Describes and modifies snapshots of the caller's account."""

    db: Database
    clock: Callable[[], float]
    """Seconds since the epoch, UTC, by this machine."""
    steady: Callable[[], float]
    """The same by the steady clock."""
    free_quota_gib: float = 0

    async def describe(self, caller: Caller, query: SnapshotQuery) -> Page[SnapshotView]:
        """Return the snapshots that match; an id that is unknown or another account's only makes fewer of them.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        return await self._page(snapshot_selection(caller.account_id, query))

    async def records(self, caller: Caller, query: SnapshotQuery) -> Page[SnapshotView]:
        """Return the caller's snapshots for their records (P7); no ids means all of them.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        selection = snapshot_record_selection(caller.account_id, query)

        def read(conn: Connection) -> Page[SnapshotView]:
            found, total = snapshots.find(conn, selection)
            found_proofs = proofs.get_many(conn, [snapshot.id for snapshot in found])
            views = (SnapshotView(snapshot=snapshot, proof=found_proofs.get(snapshot.id)) for snapshot in found)
            return Page(items=tuple(views), total=total)

        return await self.db.read(read)

    async def modify(self, caller: Caller, changes: SnapshotChanges) -> None:
        """Change a snapshot's name, or until when it is kept.

        A deadline makes it not permanent; permanent takes the deadline away, and the two together are refused.

        Raises:
            RefusalError: `NO_SUCH_SNAPSHOT`, `BAD_VALUE` or `MISSING`; nothing was
                changed.
        """
        now = self.clock()
        values = _wanted(changes, min(now, self.steady()))

        def change(conn: Connection) -> None:
            snapshot = owned_snapshot(conn, caller.account_id, changes.snapshot_id)
            if changes.permanent is False and changes.deadline is None and snapshot.deadline_at is None:
                raise RefusalError(
                    Refusal.BAD_VALUE,
                    f"Snapshot {snapshot.id} has no deadline; IsPermanent false needs a Deadline with it.",
                )
            if values.get("permanent") is False:
                check_not_shared(conn, snapshot, "given a deadline")
            changed = snapshots.compare_and_set(
                conn,
                snapshot.id,
                expected={"state": snapshot.state},
                values={**values, "modified_at": now},
            )
            assert changed, f"{snapshot.id} changed within a transaction"

        await self.db.write(change)

    async def copy_to_regions(self, caller: Caller, snapshot_id: str | None, regions: Sequence[str]) -> None:
        """Refuse to copy a snapshot to other regions: there is one.

        A refusal of the whole call ends a run of Terraform at once. A set of results that failed would not: some
        clients wait for the copies that such a set names.

        Raises:
            RefusalError: `MISSING`, `NO_SUCH_SNAPSHOT`, or `BAD_VALUE` for each region.
        """
        if not snapshot_id or not regions:
            raise RefusalError(Refusal.MISSING, "SnapshotId and DestinationRegions are needed.")
        await self.db.read(lambda conn: owned_snapshot(conn, caller.account_id, snapshot_id))
        raise RefusalError(
            Refusal.BAD_VALUE,
            f"DestinationRegions has `{regions[0][:60]}`; nothing can be copied there: there is one region here.",
        )

    async def overview(self, caller: Caller) -> SnapshotOverview:
        """Return how many NORMAL snapshots the caller has, and what they hold together, each stored byte once."""
        usage = await self.db.read(lambda conn: accounts.usage(conn, caller.account_id))
        stored_gib = usage.stored_bytes / GIB
        return SnapshotOverview(
            count=usage.normal_snapshots,
            stored_gib=stored_gib,
            free_quota_gib=self.free_quota_gib,
            billed_gib=max(0.0, stored_gib - self.free_quota_gib),
        )

    async def _page(self, selection: Selection) -> Page[SnapshotView]:
        def read(conn: Connection) -> Page[SnapshotView]:
            found, total = snapshots.find(conn, selection)
            known = shares.of_snapshots(conn, [snapshot.id for snapshot in found])
            views = (_view(snapshot, known.get(snapshot.id, ()), selection.account_id) for snapshot in found)
            return Page(items=tuple(views), total=total)

        return await self.db.read(read)


def _view(snapshot: Snapshot, shared: tuple[Share, ...], account_id: AccountId) -> SnapshotView:
    """Return what an account is shown of a snapshot: of another's only what a disk is made from (S341)."""
    if snapshot.account_id == account_id:
        since = shared[0].created_at if shared else None
        return SnapshotView(snapshot=snapshot, shares=len(shared), shared_at=since)
    own = next(share for share in shared if share.account_id == account_id)
    shown = Snapshot(
        id=snapshot.id, account_id=snapshot.account_id, disk_id=snapshot.disk_id, name=snapshot.name,
        state=snapshot.state, usage=snapshot.usage, size_gib=snapshot.size_gib, percent=snapshot.percent,
        created_at=snapshot.created_at, modified_at=own.created_at, deadline_at=snapshot.deadline_at,
        permanent=snapshot.permanent, zone=snapshot.zone,
    )  # fmt: skip
    return SnapshotView(snapshot=shown, shared_at=own.created_at, received=True)


def check_not_shared(conn: Connection, snapshot: Snapshot, what: str) -> None:
    """Refuse what the owner of a shared snapshot cannot do before sharing has ended (S341).

    Raises:
        RefusalError: `SHARED`.
    """
    shared = shares.of_snapshot(conn, snapshot.id)
    if shared:
        raise RefusalError(
            Refusal.SHARED,
            f"Snapshot {snapshot.id} is shared with {len(shared)} accounts; end that before it is {what}.",
        )


def owned_snapshot(conn: Connection, account_id: AccountId, snapshot_id: str) -> Snapshot:
    """Return a snapshot of this account that clients see.

    Raises:
        RefusalError: `NO_SUCH_SNAPSHOT`, the same for a snapshot of another account.
    """
    snapshot = snapshots.get(conn, SnapshotId(snapshot_id))
    seen = snapshot is not None and snapshot.state.visible and snapshot.backup_id is None
    if snapshot is None or snapshot.account_id != account_id or not seen:
        raise RefusalError(Refusal.NO_SUCH_SNAPSHOT, f"There is no snapshot {snapshot_id[:60]}.")
    return snapshot


def owned_backup(conn: Connection, account_id: AccountId, backup_id: str) -> Snapshot:
    """Return the snapshot that is a backup point of this account.

    Raises:
        RefusalError: `NO_SUCH_BACKUP`, the same for one of another account.
    """
    snapshot = snapshots.of_backup(conn, DiskBackupId(backup_id))
    if snapshot is None or snapshot.account_id != account_id or not snapshot.state.visible:
        raise RefusalError(Refusal.NO_SUCH_BACKUP, f"There is no backup point {backup_id[:60]}.")
    return snapshot


def _wanted(changes: SnapshotChanges, now: float) -> Mapping[str, object]:
    values: dict[str, object] = {}
    if changes.name is not None:
        if not changes.name:
            raise RefusalError(Refusal.BAD_VALUE, "SnapshotName is empty; give a name.")
        values["name"] = snapshot_name(changes.name)
    if changes.permanent and changes.deadline is not None:
        raise RefusalError(Refusal.BAD_VALUE, "A Deadline and IsPermanent true exclude each other.")
    if changes.deadline is not None:
        values |= {"permanent": False, "deadline_at": deadline(changes.deadline, now)}
    elif changes.permanent is not None:
        values["permanent"] = changes.permanent
        if changes.permanent:
            values["deadline_at"] = None
    if not values:
        raise RefusalError(Refusal.MISSING, "No attribute to change is given.")
    return values

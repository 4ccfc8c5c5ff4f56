"""What a recovery will need, kept where it will look for it (P10, F5, F11).

The attributes object beside a manifest, `disk.json` beside an image, and the names of the accounts in the store follow
the rows: triggers note each change, and this writes what is noted, again and again until it is written.
"""

import asyncio
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from drystone.catalog import accounts, disks, quiesce_profiles, snapshot_groups, snapshots, unpublished
from drystone.catalog.unpublished import Unpublished
from drystone.domain.disk import DiskState
from drystone.domain.errors import DrystoneError
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.snapshot_group import SnapshotGroup
from drystone.domain.times import moment
from drystone.engine.descriptions import write_disk, write_quiesce
from drystone.engine.layout import Layout
from drystone.service.disk_locks import DiskLocks
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Transactions
from drystone.service.upkeep import epoch
from drystone.snapstore.account_names import AccountName, write_accounts
from drystone.snapstore.manifests import Attributes, GroupAttributes, write_attributes

log = structlog.get_logger()
BATCH = 100
ACCOUNTS_MAX = 100_000
GONE = frozenset({DiskState.TERMINATING, DiskState.CREATING})


@dataclass(slots=True, kw_only=True, eq=False)
class Publication:
    """Writes what the catalog noted as unpublished; one at a time."""

    transactions: Transactions
    kept: KeptStore
    layout: Layout
    locks: DiskLocks
    _after: int = field(init=False, default=0)

    async def publish(self) -> None:
        """Have the store say the epoch, and write the oldest notes' rows.

        What cannot be written now is passed over and looked at in a later round.
        """
        await self._publish_epoch()
        if self.kept.claimed.lost:
            return  # S200: what another state of the catalog has written is newer.
        notes = await self.transactions.read(lambda conn: unpublished.waiting(conn, BATCH, self._after))
        # Behind the last note it begins again with the first: one that fails does not hold up the others.
        self._after = notes[-1].id if len(notes) == BATCH else 0
        for note in notes:
            try:
                await self._publish(note)
            except (DrystoneError, OSError) as error:
                log.warning("publication.failed", kind=note.kind, resource_id=note.resource_id, error=str(error))

    async def _publish_epoch(self) -> None:
        """What raised it by a trigger has nobody who publishes it (F5)."""
        claimed = self.kept.claimed
        if claimed.lost or await self.transactions.read(epoch.current) == claimed.epoch:
            return
        try:
            await epoch.publish(self.transactions, self.kept)
        except DrystoneError as error:
            log.warning("publication.failed", kind="epoch", error=str(error))

    async def _publish(self, note: Unpublished) -> None:
        """Write what a note is about, and drop the note; one of a disk in use has to wait."""
        if note.kind == "snapshot":
            await self._snapshot(SnapshotId(note.resource_id))
        elif note.kind == "disk":
            if not await self._disk(DiskId(note.resource_id)):
                return
        else:
            assert note.kind == "account", note
            await self._accounts()
        await self.transactions.change(lambda change: unpublished.drop(change.conn, note))

    async def _snapshot(self, snapshot_id: SnapshotId) -> None:
        def look(conn: Connection) -> tuple[Snapshot | None, SnapshotGroup | None]:
            row = snapshots.get(conn, snapshot_id)
            return row, None if row is None or row.group_id is None else snapshot_groups.get(conn, row.group_id)

        row, group = await self.transactions.read(look)
        if row is None or row.state is not SnapshotState.NORMAL:
            return
        await asyncio.to_thread(
            write_attributes, self.kept.store, snapshot_id, attributes_of(row, group), row.account_id
        )
        now = await self.transactions.read(lambda conn: snapshots.get(conn, snapshot_id))
        if now is None or now.state is not SnapshotState.NORMAL:
            # It is being deleted: who removed its manifest may have looked for attributes before they were here.
            name = self.kept.store.attributes_name(snapshot_id)
            await asyncio.to_thread(self.kept.store.objects.delete, name)

    async def _disk(self, disk_id: DiskId) -> bool:
        lock = self.locks.graph(disk_id)
        if lock.locked():
            return False  # A rollback holds it for hours: the others are not kept waiting.
        async with lock:
            disk = await self.transactions.read(lambda conn: disks.get(conn, disk_id))
            profile = await self.transactions.read(lambda conn: quiesce_profiles.get(conn, disk_id))
            # A disk that is being made is described by whoever makes it; one that goes must not come back.
            if disk is not None and disk.state not in GONE and self.layout.disk(disk_id).is_dir():
                await asyncio.to_thread(write_disk, self.layout, disk, self.kept.store_id)
                await asyncio.to_thread(write_quiesce, self.layout, disk_id, profile)
        return True

    async def _accounts(self) -> None:
        found, _ = await self.transactions.read(lambda conn: accounts.find(conn, offset=0, limit=ACCOUNTS_MAX))
        names = [AccountName(id=account.id, name=account.name, admin=account.admin) for account in found]
        await asyncio.to_thread(write_accounts, self.kept.store, names)


def attributes_of(snapshot: Snapshot, group: SnapshotGroup | None = None) -> Attributes:
    """Return what may change of a snapshot, as it is kept beside its manifest."""
    at = snapshot.deadline_at
    return Attributes(
        name=snapshot.name, deadline=None if at is None else moment(at).isoformat(),
        permanent=snapshot.permanent, tags=snapshot.tags, suspect=snapshot.suspect, policy=snapshot.policy_id,
        slot=snapshot.slot, policy_order=snapshot.policy_order, backup=snapshot.backup_id,
        group=None if group is None else GroupAttributes(
            id=group.id, name=group.name, instance=group.instance_id, tags=group.tags, pause_ms=group.pause_ms,
            taken_at=group.taken_at, created_at=group.created_at,
        ),
    )  # fmt: skip

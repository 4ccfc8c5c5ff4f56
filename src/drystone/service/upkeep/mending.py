"""Damaged packs written again from running disks that still have what was lost (L12)."""

from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from drystone.catalog import damages, disks, operations, packs, snapshots
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import DrystoneError
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.ids import DiskId
from drystone.domain.operation import OperationKind
from drystone.domain.session import Pack
from drystone.service.disk_locks import DiskLocks
from drystone.service.host.host import Host
from drystone.service.host.looks import look_at
from drystone.service.kept_store import KeptStore
from drystone.service.rows import events, troubles
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import collection, damage, rewrites
from drystone.transfer.addresses import Look
from drystone.transfer.pool import WorkerPool
from drystone.transfer.store_jobs import MendJob, MendResult

log = structlog.get_logger()
DISKS_MAX = 8
"""Disks that are asked for the content of damaged blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mending:
    """Writes a damaged pack again.

    It is a rewriting like compaction's (S30 to S33): a row first, then the object, then the switch; the old object goes
    when nobody can be reading it.
    """

    transactions: Transactions
    kept: KeptStore
    background: WorkerPool
    locks: DiskLocks
    host: Host

    async def mend(self, pack: Pack) -> Pack | None:
        """Write a pack again, and return it as it is then; None if it could not be, or nothing may be deleted now.

        Raises:
            DrystoneError: The worker or the store does not answer; the pack is as it was.
        """
        async with self.kept.collection_lock:
            if await collection.stopped(self.transactions, self.kept) is not None:
                return None
            looks = await self._sources(pack)
            if not looks:
                log.warning("mend.no_disk", pack_id=pack.id)
                return None
            # Whoever wrote under this lock before us has ended, or was killed: nothing refers to what it wrote.
            await self.transactions.change(rewrites.abandon_all)
            try:
                return await self._write_again(pack, tuple(looks.values()))
            finally:
                for disk_id in looks:
                    await self._look_away(disk_id)

    async def _write_again(self, pack: Pack, looks: tuple[Look, ...]) -> Pack | None:
        row = await self.transactions.change(lambda change: rewrites.begin(change, pack, self.kept.store))
        job = MendJob(store=self.kept.address(), pack=pack.object, attempt=row.id, disks=looks)
        try:
            result = await self.background.run(job, MendResult)
        except BaseException:
            await self.transactions.change(lambda change: rewrites.abandon(change, row))
            raise

        def switch(change: Change) -> Pack | None:
            if result.object is None:
                rewrites.abandon(change, row)
                return None
            assert result.object == row.new_object
            if not rewrites.switch(change, row, pack, {}, new_bytes=result.bytes, version=result.version):
                return None
            damage.forget(change.conn, pack.object)
            trouble = Trouble(kind=EventKind.DAMAGE_MENDED, subject_id=pack.id)
            events.note(change, trouble, Facts(object=pack.object, blocks=result.mended_blocks))
            troubles.settle_rows(change)
            return packs.get(change.conn, pack.id)

        now = await self.transactions.change(switch)
        log.info(
            "pack.mended" if now is not None else "pack.not_mended", pack_id=pack.id, old_object=pack.object,
            mended_blocks=result.mended_blocks, lost_blocks=result.lost_blocks,
        )  # fmt: skip
        return now

    async def _sources(self, pack: Pack) -> dict[DiskId, Look]:
        """Export the running disks that may hold what the pack lost."""

        def candidates(conn: Connection) -> list[Disk]:
            hit = {row.snapshot_id for row in damages.of_object(conn, pack.object)}
            owners = {row.disk_id for row in snapshots.get_many(conn, hit).values()}
            found = [
                disk
                for disk in disks.everything(conn)
                if disk.state in {DiskState.ATTACHED, DiskState.UNATTACHED}
                and not disk.hydrating
                and (disk.id in owners or disk.source_snapshot_id in hit or disk.base_snapshot_id in hit)
            ]
            # Its own disk first: it was written from there.
            return sorted(found, key=lambda disk: disk.id not in owners)[:DISKS_MAX]

        found: dict[DiskId, Look] = {}
        for disk in await self.transactions.read(candidates):
            try:
                async with self.locks.graph(disk.id):
                    live = await self.host.running(await self.host.row(disk.id))
                    if live is not None:
                        found[disk.id] = await look_at(live)
            except DrystoneError as error:
                log.warning("mend.disk_not_reached", disk_id=disk.id, error=str(error))
        return found

    async def _look_away(self, disk_id: DiskId) -> None:
        """Take the export of a disk away again, unless a comparison reads through it."""
        try:
            async with self.locks.graph(disk_id):
                running = await self.transactions.read(lambda conn: operations.running_on_disk(conn, disk_id))
                live = await self.host.running(await self.host.row(disk_id))
                if live is not None and all(one.kind is not OperationKind.COMPARE for one in running):
                    await live.remove_comparison()
        except DrystoneError as error:
            log.warning("mend.export_left", disk_id=disk_id, error=str(error))

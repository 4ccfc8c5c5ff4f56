"""Deleting a snapshot (L5): its manifest goes, it becomes a ghost, and packs that nobody needs any more go too."""

import asyncio
from dataclasses import dataclass

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import operations, packs, sessions, snapshots, verification
from drystone.domain import lineage
from drystone.domain.errors import Refusal, RetainedError, UnavailableError
from drystone.domain.ids import PackId, SessionId, SnapshotId
from drystone.domain.operation import Operation
from drystone.domain.payloads import DeletionPayload
from drystone.domain.session import Pack
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.objects.contract import NotFoundError
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.rows import endings
from drystone.service.rows.trees import prune_ghosts, tree_of
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import collection, epoch
from drystone.service.upkeep.compaction import Compaction
from drystone.service.upkeep.confirmation import may_delete
from drystone.service.upkeep.maps import collect_maps
from drystone.snapstore.deletion import delete_manifest
from drystone.snapstore.expected import UNTRUSTED
from drystone.snapstore.manifests import list_manifests
from drystone.transfer.pool import WorkerPool
from drystone.transfer.store_jobs import CollectJob, CollectResult, DeathsJob, DeathsResult

log = structlog.get_logger()
PACKS_PER_RUN = 1000
KEPT_SECONDS_MAX = 3600.0
"""So often it is looked whether the store lets a manifest go, which costs it no request before the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSnapshot:
    """DELETING → unpinned → dead blocks counted → manifest gone → GHOST → dead packs and maps gone.

    One deletion at a time counts dead blocks: two at once would each take the other for living.
    """

    transactions: Transactions
    operations: Operations
    kept: KeptStore
    workers: WorkerPool
    compaction: Compaction

    async def run(self, operation: Operation) -> None:
        """Go on from the phase in the row; every phase may be repeated."""
        try:
            if operation.phase != "GHOST":
                await self._see_whether_kept(operation.of_snapshot)
            await self._run(operation)
        except RetainedError as kept:
            # S212: nothing is wrong, and it is looked at again when it may go.
            seconds = min(kept.seconds + 1.0, KEPT_SECONDS_MAX)
            await self.operations.put_off(operation, Refusal.NOT_NOW, str(kept), seconds=seconds)

    async def _run(self, operation: Operation) -> None:
        snapshot_id = operation.of_snapshot
        if not await may_delete(self.transactions, self.kept):
            # S50: somebody must confirm first, or another catalog has the store; it is looked at again later.
            self.operations.wake_later(operation)
            return
        if operation.phase != "GHOST":
            if await self.transactions.read(lambda conn: snapshot_id in sessions.pinned(conn)):
                # A disk that hydrates may read it for hours: nothing is lost, the space comes back later.
                self.operations.wake_later(operation)
                return
            async with self.kept.collection_lock:
                await self._to_ghost(operation, snapshot_id)
        async with self.kept.collection_lock:
            await self._collect(snapshot_id)
            await self.transactions.change(lambda change: endings.done(change, operation))
        log.info("snapshot.deleted", snapshot_id=snapshot_id)
        await self.compaction.begin_if_due()

    async def _see_whether_kept(self, snapshot_id: SnapshotId) -> None:
        """Leave a snapshot alone whose manifest the store keeps: what dies with it is counted when it may go (S212)."""
        row = await self.transactions.read(lambda conn: snapshots.get(conn, snapshot_id))
        kept = None if row is None or row.manifest is None else self.kept.pending.waits(row.manifest)
        if kept is not None:
            raise kept

    async def _to_ghost(self, operation: Operation, snapshot_id: SnapshotId) -> None:
        def look(conn: Connection) -> tuple[Snapshot, DeathsJob | None, list[Snapshot]]:
            row = snapshots.get(conn, snapshot_id)
            assert row is not None
            if row.state is not SnapshotState.DELETING or row.manifest is None:
                return row, None, []
            tree = tree_of(conn, snapshot_id)
            assert lineage.may_become_ghost(tree.nodes[snapshot_id]), f"{snapshot_id} is pinned"  # S12
            death = next(iter(lineage.deaths(tree, [snapshot_id])))
            near = snapshots.get_many(conn, sorted(death.near))
            manifests = tuple(other.manifest for other in near.values() if other.manifest is not None)
            assert len(manifests) == len(death.near), "every living snapshot has a manifest"
            candidates = None if death.candidates is None else tuple(sorted(death.candidates))
            job = DeathsJob(store=self.kept.address(), manifest=row.manifest, near=manifests, candidate_maps=candidates)
            return row, job, list(near.values())

        row, job, near = await self.transactions.read(look)
        dead: dict[str, tuple[int, int]] = {}
        if job is not None:
            dead = await self._count_dead(operation, job, row, near)
            assert row.session_id is not None
            await epoch.advance(self.transactions, self.kept)
            await asyncio.to_thread(delete_manifest, self.kept.store, snapshot_id, row.session_id)

        def bury(change: Change) -> None:
            conn = change.conn
            expected = {"state": SnapshotState.DELETING}
            values = {"state": SnapshotState.GHOST, "modified_at": change.at}
            if snapshots.compare_and_set(conn, snapshot_id, expected=expected, values=values):
                for pack, (blocks, stored_bytes) in sorted(dead.items()):
                    packs.add_dead(conn, PackId(pack), blocks, stored_bytes)
                if row.session_id is not None:
                    sessions.note_deleted(conn, row.session_id, snapshot_id, at=change.steady)
            operations.update(conn, operation.id, updated_at=change.at, phase="GHOST", percent=50)

        await self.transactions.change(bury)

    async def _count_dead(
        self, operation: Operation, job: DeathsJob, row: Snapshot, near: list[Snapshot]
    ) -> dict[str, tuple[int, int]]:
        """Return what dies, (blocks, bytes) by pack; kept in the row: when the manifest is gone nobody can count.

        Until then it is counted anew: a neighbour that was deleted since the last attempt took this one for living, and
        what only the two of them saw would be counted by neither.

        Where nobody can say what dies, every pack that may lose something is thought dead: compaction looks at it, and
        proves what is (L4, L7). A snapshot that is damaged must not stay for ever for that.
        """
        current = await self.transactions.read(lambda conn: operations.get(conn, operation.id))
        assert current is not None
        known = current.payload_as(DeletionPayload)
        # Only an attempt that had counted may have deleted the manifest.
        if known.dead is not None and not await asyncio.to_thread(self._listed, job.manifest, operation.of_snapshot):
            # A row of the version before has no bytes.
            return {pack: (one, 0) if isinstance(one, int) else one for pack, one in known.dead.items()}
        try:
            found = await self.workers.run(job, DeathsResult, account=operation.account_id)
        except NotFoundError as error:
            if known.dead is not None:
                raise
            found = DeathsResult(blocks_by_pack={}, bytes_by_pack={}, fault=str(error))
        if found.near_missing and any(one.state is SnapshotState.DELETING for one in near):
            raise UnavailableError(f"a neighbour is just being deleted: {found.fault}")
        if found.fault:
            log.error("snapshot.deaths_unknown", snapshot_id=operation.snapshot_id, error=found.fault)

        def record(change: Change) -> dict[str, tuple[int, int]]:
            conn = change.conn
            dead = {pack: (blocks, found.bytes_by_pack[pack]) for pack, blocks in found.blocks_by_pack.items()}
            for pack in packs.get_many(conn, found.doubtful_packs).values():
                # Its index cannot say what each block takes: an even share of the pack.
                blocks, _ = dead[pack.id]
                dead[pack.id] = (blocks, pack.bytes * blocks // max(1, pack.blocks))
            if found.fault:
                dead |= {pack.id: (pack.blocks, 0) for pack in _written_on_the_way(conn, row)}
                verification.doubt(conn, (), {name for one in (row, *near) for name in one.maps})
            verification.doubt(conn, found.doubtful_packs, ())
            payload = msgspec.structs.replace(known, dead=dead, deaths_unknown=found.fault or "")
            operations.update(conn, operation.id, updated_at=change.at, payload=payload)
            return dead

        return await self.transactions.change(record)

    def _listed(self, manifest: str, snapshot_id: SnapshotId) -> bool:
        return any(entry.object == manifest for entry in list_manifests(self.kept.store, snapshot_id))

    async def _collect(self, snapshot_id: SnapshotId) -> None:
        """Remove packs whose every block is dead, ghosts that nothing needs, and maps that nothing names."""
        reason = await collection.stopped(self.transactions, self.kept)
        if reason is not None:
            # L7: what the catalog does not know may need any pack.
            log.error("collection.stopped", reason=reason)
            return
        faulty = self.kept.faulty_packs
        found = await self.transactions.read(lambda conn: packs.wholly_dead(conn, PACKS_PER_RUN + len(faulty)))
        dying = [pack for pack in found if pack.object not in faulty][:PACKS_PER_RUN]
        if dying:
            try:
                await self._collect_packs(snapshot_id, dying)
            except UNTRUSTED as error:
                # L7: a living snapshot cannot be read. What is thought dead is judged with the next deletion.
                log.error("collection.stopped", reason=str(error))  # noqa: TRY400 - the store's fault, not the code's
                return
        await collection.remove_doomed(self.transactions, self.kept)
        let_go = await self.transactions.change(lambda change: prune_ghosts(change.conn, snapshot_id))
        await collect_maps(self.transactions, self.kept, let_go)

    async def _collect_packs(self, snapshot_id: SnapshotId, dying: list[Pack]) -> None:
        job = CollectJob(
            store=self.kept.address(),
            packs=tuple(pack.object for pack in dying),
            living=await self.transactions.read(lambda conn: collection.living_around(conn, dying)),
        )
        result = await self.workers.run(job, CollectResult)
        dead = [pack for pack in dying if pack.object in set(result.dead)]
        for pack in dying:
            if pack.object in result.faults:
                log.error("pack.not_judged", pack_id=pack.id, object=pack.object, error=result.faults[pack.object])
        self.kept.distrust(result.faults)
        if len(dead) != len(dying):
            log.warning("packs.not_dead", snapshot_id=snapshot_id, candidates=len(dying), dead=len(dead))

        def record(change: Change) -> None:
            verification.doubt(change.conn, [pack.id for pack in dying if pack.object in result.faults], ())
            for pack in dead:
                collection.doom_pack(change.conn, pack)

        await self.transactions.change(record)

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Stay RUNNING: a deletion is only ever finished (S23). It is tried again at the next deletion or start."""
        await self.operations.put_off(operation, code, message)


def _written_on_the_way(conn: Connection, row: Snapshot) -> list[Pack]:
    """Return the packs that a snapshot can have blocks in: of its own session and of those above it (L3)."""
    by_id = {one.id: one for one in snapshots.family(conn, row.id)}
    writers: list[SessionId] = []
    at: Snapshot | None = row
    while at is not None:
        if at.session_id is not None:
            writers.append(at.session_id)
        at = None if at.parent_id is None else by_id.get(at.parent_id)
    return packs.of_sessions(conn, writers)

"""Scrub: everything stored is read on a schedule, within a bandwidth; damage is named, and mended where it can be."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import structlog
from sqlalchemy import Connection

from drystone.catalog import damages, disks, meta, operations, pack_rewrites, packs, proofs, snapshots
from drystone.catalog.damages import Damage, damage_id
from drystone.domain.blocks import BLOCK_BYTES, Ranges, normalize
from drystone.domain.clock import recent
from drystone.domain.disk import Disk, DiskState
from drystone.domain.disk_types import GIB
from drystone.domain.errors import DrystoneError
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.operation import OperationKind
from drystone.domain.pack_rewrite import PackRewrite
from drystone.domain.session import Pack, PackState
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.service.caller import Caller
from drystone.service.host.host import Host
from drystone.service.host.looks import look_at
from drystone.service.installation import Installation
from drystone.service.upkeep import collection, rewrites
from drystone.service.views import DamageView, StoreHealthView
from drystone.transfer.addresses import Look
from drystone.transfer.store_jobs import Fault, MendJob, MendResult, ScrubJob, ScrubResult

log = structlog.get_logger()
REQUESTED = "scrub_requested_at"
"""Row of the facts: everything that was written before this time is to be proven anew."""
DAY_SECONDS = 86400.0
SLICE_SECONDS = 2.0
"""About how long the background's worker is kept."""
PACKS_MAX = 8
PACK_BYTES = 32 << 20
SNAPSHOTS_MAX = 32
RECHECK_SECONDS = 600.0
"""Damage is looked at this often: it may be mended now, or newer snapshots may show it too."""
IDLE_SECONDS = 30.0
"""When nothing was due it is not looked again before this time: that reads all rows of packs."""
DISKS_MAX = 8
"""Disks that are asked for the content of damaged blocks."""
MAPS_REMEMBERED = 100_000
SHOWN_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubConfig:
    """How often everything is proven (0 days: only when asked for), and how fast; bytes per second, 0: no limit."""

    days: int
    bytes_per_s: int


class Scrub:
    """Proves packs, maps and manifests a few at a time. What was proven when is in the rows, so it outlives us."""

    def __init__(self, *, installation: Installation, host: Host, config: ScrubConfig) -> None:
        self._in = installation
        self._host = host
        self._config = config
        self._maps: dict[str, tuple[float, Fault | None]] = {}
        """Maps that were read: when, and what is wrong. Many snapshots list the same ones."""
        self._looked_at: dict[str, float] = {}
        """Damaged objects: when they were last looked at."""
        self._idle_until = 0.0
        """By the monotonic clock (S121)."""
        self._requests = 0
        self._unreached: dict[str, float] = {}
        """Packs that the store did not give: when. They must not hold up the others."""

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def once(self) -> None:
        """Prove what is due, as much of it as fits a slice; look after what is damaged.

        Raises:
            DrystoneError: The worker or the store does not answer; nothing is recorded of this slice.
        """
        if self._in.monotonic() < self._idle_until:
            return
        requests = self._requests
        now = self._in.steady()
        before = await self._in.db.read(self._before)
        rate = self._config.bytes_per_s
        number = PACKS_MAX if rate == 0 else max(1, min(PACKS_MAX, int(rate * SLICE_SECONDS / PACK_BYTES)))
        self._unreached = {
            name: at for name, at in self._unreached.items() if recent(at, now, RECHECK_SECONDS)
        }  # fmt: skip
        wanted = number + len(self._unreached)
        found = await self._in.db.read(lambda conn: proofs.packs_due(conn, before, now, wanted))
        due = [pack for pack in found if pack.object not in self._unreached][:number]
        if due:
            await self._prove_packs(due)
        taken = await self._in.db.read(lambda conn: proofs.snapshots_due(conn, before, now, SNAPSHOTS_MAX))
        if taken:
            await self._prove_snapshots(taken, before)
        await self._look_after_damage()
        if not due and not taken and requests == self._requests:
            self._idle_until = self._in.monotonic() + IDLE_SECONDS

    def _before(self, conn: Connection) -> float:
        """Return the time since which everything must have been proven, or written."""
        now = self._in.steady()
        requested = _requested(conn, now)
        if self._config.days == 0:
            return requested
        return max(requested, now - self._config.days * DAY_SECONDS)

    # --- packs --------------------------------------------------------------------------------------------------------

    async def _prove_packs(self, due: Sequence[Pack]) -> None:
        # A proof is as old as the beginning of its reading: what is asked for meanwhile is read again.
        at = self._in.steady()
        result = await self._scrub(packs=tuple(pack.object for pack in due))
        bad = {fault.object for fault in result.faults}
        missed = [pack.object for pack in due if pack.object not in bad and pack.object not in result.whole]
        self._unreached.update(dict.fromkeys(missed, at))
        await self._in.db.write(lambda conn: self._record_whole(conn, due, set(result.whole), at))
        for pack in due:
            if pack.object in bad:
                await self._examine(pack)

    def _record_whole(self, conn: Connection, looked_at: Iterable[Pack], whole: set[str], at: float) -> None:
        for pack in looked_at:
            if pack.object in whole:
                packs.compare_and_set(conn, pack.id, expected={"object": pack.object}, values={"proven_at": at})
                self._forget(conn, pack.object)

    async def _examine(self, pack: Pack) -> None:
        """Name what a damaged pack hides, mend it if a running disk still has it, and name what is left."""
        await self._name(pack)
        if not await self._in.db.read(lambda conn: damages.of_object(conn, pack.object)):
            return
        mended = await self._mend(pack)
        if mended is not None:
            await self._name(mended)

    async def _name(self, pack: Pack) -> None:
        """Look at one pack with every living snapshot, and record what was found."""
        at = self._in.steady()
        living = await self._in.db.read(collection.living_manifests)
        result = await self._scrub(packs=(pack.object,), living=living)

        def record(conn: Connection) -> list[Damage]:
            now = packs.get(conn, pack.id)
            if now is None or now.state is not PackState.LIVE or now.object != pack.object:
                return []  # It was written again, or is going: what was found of it is nobody's any more.
            self._forget(conn, pack.object)
            if pack.object in result.whole:
                packs.compare_and_set(conn, pack.id, expected={}, values={"proven_at": at})
                return []
            if not result.faults:
                return []
            found = self._hit(conn, result.faults, at)
            if not found and not result.unsure:
                # F12: only what a living snapshot shows is damage.
                packs.compare_and_set(conn, pack.id, expected={}, values={"proven_at": at})
            return found

        found = await self._in.db.write(record)
        self._looked_at[pack.object] = at
        _tell(found)
        if result.unsure and not found:
            # It is no proof that nobody shows it: a snapshot could not be asked. Later again.
            self._unreached[pack.object] = at
            log.error("scrub.damage_not_placed", object=pack.object, reason=result.faults[0].reason)
        elif result.faults and not found:
            log.warning("scrub.damage_nobody_sees", object=pack.object, reason=result.faults[0].reason)

    def _hit(self, conn: Connection, faults: Iterable[Fault], at: float) -> list[Damage]:
        by_manifest = {
            row.manifest: row for row in snapshots.in_states(conn, [SnapshotState.NORMAL]) if row.manifest is not None
        }
        found = []
        for fault in faults:
            row = None if fault.manifest is None else by_manifest.get(fault.manifest)
            if row is not None:
                found.append(self._damaged(conn, row, fault, "pack", at))
        return found

    # --- maps and manifests -------------------------------------------------------------------------------------------

    async def _prove_snapshots(self, taken: Sequence[Snapshot], before: float) -> None:
        doubted = {name for row in taken if row.proven_at == proofs.DOUBTED for name in row.maps}
        lately = {name for name, (at, _) in self._maps.items() if at >= before and name not in doubted}
        unread = sorted({name for row in taken for name in row.maps} - lately)
        manifests = tuple(row.manifest for row in taken if row.manifest is not None)
        at = self._in.steady()
        result = await self._scrub(maps=tuple(unread), manifests=manifests)
        if len(self._maps) > MAPS_REMEMBERED:
            self._maps.clear()
        wrong = {fault.object: fault for fault in result.faults}
        for name in unread:
            if name in wrong or name in result.whole:
                self._maps[name] = (at, wrong.get(name))

        def record(conn: Connection) -> list[Damage]:
            found = []
            for old in taken:
                row = snapshots.get(conn, old.id)
                if row is None or row.state is not SnapshotState.NORMAL or row.manifest is None:
                    continue
                read = row.manifest in wrong or row.manifest in result.whole
                if not read or any(name not in self._maps for name in row.maps):
                    continue  # The store did not answer for something: later.
                faults = [("map", self._maps[name][1]) for name in row.maps]
                faults.append(("manifest", wrong.get(row.manifest)))
                damages.forget_maps(conn, row.id)
                self._settle(conn, row.id)
                found += [
                    self._damaged(conn, row, fault, kind, at) for kind, fault in faults if fault is not None
                ]  # fmt: skip
                if not any(fault for _, fault in faults):
                    snapshots.compare_and_set(conn, row.id, expected={}, values={"proven_at": at})
            return found

        _tell(await self._in.db.write(record))

    # --- damage -------------------------------------------------------------------------------------------------------

    def _damaged(self, conn: Connection, row: Snapshot, fault: Fault, kind: str, at: float) -> Damage:
        everything: Ranges = normalize([(0, row.size_gib * GIB // BLOCK_BYTES)])
        ranges = everything if fault.ranges is None else np.array(fault.ranges, dtype=np.int64).reshape(-1, 2)
        found = Damage(
            id=damage_id(row.id, fault.object), object=fault.object, kind=kind, snapshot_id=row.id, ranges=ranges,
            reason=fault.reason, found_at=at,
        )  # fmt: skip
        damages.replace(conn, found)
        snapshots.compare_and_set(conn, row.id, expected={}, values={"damaged": True})
        return found

    def _forget(self, conn: Connection, name: str) -> None:
        """Remove what was recorded of an object; snapshots of which nothing else is damaged are whole again."""
        touched = {row.snapshot_id for row in damages.of_object(conn, name)}
        damages.forget_object(conn, name)
        for snapshot_id in touched:
            self._settle(conn, snapshot_id)

    def _settle(self, conn: Connection, snapshot_id: SnapshotId) -> None:
        if not damages.of_snapshot(conn, snapshot_id):
            snapshots.compare_and_set(conn, snapshot_id, expected={"damaged": True}, values={"damaged": False})

    async def _look_after_damage(self) -> None:
        """Look again at what is damaged: it may be whole, mendable, or shown by more snapshots by now."""
        if not await self._in.db.read(damages.any_told):
            self._looked_at.clear()
            return
        await self._in.db.write(damages.prune)
        known = await self._in.db.read(damages.everything)
        now = self._in.steady()
        requested = await self._in.db.read(lambda conn: _requested(conn, now))

        def seen(name: str) -> bool:
            at = self._looked_at.get(name, 0.0)
            return at >= requested and recent(at, now, RECHECK_SECONDS)

        due = {row.object for row in known if row.kind == "pack" and not seen(row.object)}
        rows = await self._in.db.read(lambda conn: packs.with_objects(conn, due)) if due else []
        for pack in rows[:PACKS_MAX]:
            await self._examine(pack)
        shown = {row.snapshot_id for row in known if row.kind != "pack"}
        again = [name for name in shown if not seen(name)]
        if again:
            found = await self._in.db.read(lambda conn: snapshots.get_many(conn, again))
            for name in again:
                self._looked_at[name] = now
            self._maps.clear()
            await self._prove_snapshots(list(found.values()), now)

    # --- mending (L12) ------------------------------------------------------------------------------------------------

    async def _mend(self, pack: Pack) -> Pack | None:
        """Have a damaged pack written again from disks that hold its content; return it as it is then.

        It is a rewriting like compaction's (S30 to S33): a row first, then the object, then the switch; the old object
        goes when nobody can be reading it.
        """
        async with self._in.collection_lock:
            if await collection.stopped(self._in) is not None:
                return None
            looks = await self._sources(pack)
            if not looks:
                log.warning("mend.no_disk", pack_id=pack.id)
                return None
            # Whoever wrote under this lock before us has ended, or was killed: nothing refers to what it wrote.
            await self._in.db.write(lambda conn: rewrites.abandon_all(conn, self._in.steady()))
            try:
                return await self._write_again(pack, tuple(looks.values()))
            finally:
                for disk_id in looks:
                    await self._look_away(disk_id)

    async def _write_again(self, pack: Pack, looks: tuple[Look, ...]) -> Pack | None:
        attempt = self._in.ids.hex128()
        name = self._in.store.pack_name(pack.session_id, pack.id, attempt)
        row = PackRewrite(
            id=attempt, pack_id=pack.id, old_object=pack.object, new_object=name, old_bytes=pack.bytes,
            created_at=self._in.steady(),
        )  # fmt: skip
        await self._in.db.write(lambda conn: pack_rewrites.insert(conn, row))
        job = MendJob(store=self._in.store_address(), pack=pack.object, attempt=row.id, disks=looks)
        try:
            result = await self._in.background.run(job, MendResult)
        except BaseException:
            await self._in.db.write(lambda conn: rewrites.abandon(conn, row, self._in.steady()))
            raise

        def switch(conn: Connection) -> Pack | None:
            at = self._in.steady()
            values = {"object": name, "bytes": result.bytes}
            unchanged = {"state": PackState.LIVE, "object": pack.object}
            if result.object is None or not packs.compare_and_set(conn, pack.id, expected=unchanged, values=values):
                rewrites.abandon(conn, row, at)
                return None
            assert result.object == name
            rewrites.switched(conn, row, new_bytes=result.bytes, at=at)
            self._forget(conn, pack.object)
            return packs.get(conn, pack.id)

        now = await self._in.db.write(switch)
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
        for disk in await self._in.db.read(candidates):
            try:
                async with self._in.locks.graph(disk.id):
                    live = await self._host.running(await self._host.row(disk.id))
                    if live is not None:
                        found[disk.id] = await look_at(live)
            except DrystoneError as error:
                log.warning("mend.disk_not_reached", disk_id=disk.id, error=str(error))
        return found

    async def _look_away(self, disk_id: DiskId) -> None:
        """Take the export of a disk away again, unless a comparison reads through it."""
        try:
            async with self._in.locks.graph(disk_id):
                running = await self._in.db.read(lambda conn: operations.running_on_disk(conn, disk_id))
                live = await self._host.running(await self._host.row(disk_id))
                if live is not None and all(one.kind is not OperationKind.COMPARE for one in running):
                    await live.remove_comparison()
        except DrystoneError as error:
            log.warning("mend.export_left", disk_id=disk_id, error=str(error))

    async def _scrub(
        self,
        *,
        packs: tuple[str, ...] = (),
        maps: tuple[str, ...] = (),
        manifests: tuple[str, ...] = (),
        living: tuple[str, ...] = (),
    ) -> ScrubResult:
        job = ScrubJob(
            store=self._in.store_address(), packs=packs, maps=maps, manifests=manifests, living=living,
            bytes_per_s=self._config.bytes_per_s,
        )  # fmt: skip
        return await self._in.background.run(job, ScrubResult)

    # --- what people see ----------------------------------------------------------------------------------------------

    async def request(self, caller: Caller) -> float:
        """Have everything that is stored now proven anew; return the time from which proofs count.

        Raises:
            RefusalError: `UnauthorizedOperation` for any but an administrator.
        """
        caller.require_admin()
        at = self._in.steady()
        await self._in.db.write(lambda conn: meta.put(conn, REQUESTED, repr(at)))
        self._requests += 1
        self._idle_until = 0.0
        return at

    async def health(self, caller: Caller) -> StoreHealthView:
        """Return how far the scrub is and what is damaged or suspect.

        Raises:
            RefusalError: `UnauthorizedOperation` for any but an administrator.
        """
        caller.require_admin()

        def look(conn: Connection) -> StoreHealthView:
            totals = proofs.totals(conn, self._before(conn), self._in.steady())
            found = damages.everything(conn)
            suspect = snapshots.suspect(conn)
            return StoreHealthView(
                packs=totals.packs, packs_due=totals.packs_due, oldest_proof_at=totals.oldest_at,
                snapshots=totals.snapshots, snapshots_due=totals.snapshots_due,
                requested_at=_requested(conn, self._in.steady()) or None,
                damaged_snapshots=len({row.snapshot_id for row in found}),
                suspect_snapshots=len(suspect), suspect=tuple(row.id for row in suspect[:SHOWN_MAX]),
                damages=tuple(map(_view, found[:SHOWN_MAX])),
            )  # fmt: skip

        return await self._in.db.read(look)


def _requested(conn: Connection, now: float) -> float:
    """Return since when everything was to be proven anew; 0.0 if nobody asked, or a clock that was wrong dated it."""
    at = float(meta.get(conn, REQUESTED) or 0.0)
    return at if recent(at, now, math.inf) else 0.0


def _view(row: Damage) -> DamageView:
    return DamageView(
        object=row.object, kind=row.kind, snapshot_id=row.snapshot_id, reason=row.reason, found_at=row.found_at,
        blocks=int((row.ranges[:, 1] - row.ranges[:, 0]).sum()),
        ranges=tuple((int(start), int(stop)) for start, stop in row.ranges[:SHOWN_MAX].tolist()),
    )  # fmt: skip


def _tell(found: Iterable[Damage]) -> None:
    for row in found:
        log.error(
            "scrub.damage", snapshot_id=row.snapshot_id, object=row.object, kind=row.kind, reason=row.reason,
            ranges=row.ranges[:10].tolist(),
        )  # fmt: skip

"""Scrub: everything stored is read on a schedule, within a bandwidth; damage is named, and mended where it can be."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from drystone.catalog import damages, meta, packs, snapshots, verification
from drystone.catalog.damages import Damage
from drystone.domain.clock import recent
from drystone.domain.errors import StoreUnavailableError
from drystone.domain.session import Pack, PackState
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.service.kept_store import KeptStore
from drystone.service.rows import troubles
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import collection, damage
from drystone.service.upkeep.mending import Mending
from drystone.transfer.pool import WorkerPool
from drystone.transfer.store_jobs import Fault, ScrubJob, ScrubResult

log = structlog.get_logger()
REQUESTED = "scrub_requested_at"
"""Row of the facts: everything that was written before this time is to be verified anew."""
DAY_SECONDS = 86400.0
SLICE_SECONDS = 2.0
"""About how long the background's worker is kept."""
PACKS_MAX = 8
PACK_BYTES = 32 << 20
SNAPSHOTS_MAX = 32
RECHECK_SECONDS = 600.0
"""Damage is looked at this often: it may be mended now, or newer snapshots may show it too."""
AWAY_SECONDS = 10.0
"""A store that does not answer is asked again after this time."""
IDLE_SECONDS = 30.0
"""When nothing was due it is not looked again before this time: that reads all rows of packs."""
MAPS_REMEMBERED = 100_000


@dataclass(slots=True, kw_only=True, eq=False)
class Scrub:
    """Verifies packs, maps and manifests a few at a time. What was verified when is in the rows: it outlives us."""

    transactions: Transactions
    kept: KeptStore
    background: WorkerPool
    mending: Mending
    monotonic: Callable[[], float]
    days: int
    """How often everything is verified; 0: only when asked for."""
    bytes_per_s: int
    """How fast; 0: no limit."""
    _maps: dict[str, tuple[float, Fault | None]] = field(init=False, default_factory=dict)
    """Maps that were read: when, and what is wrong. Many snapshots list the same ones."""
    _looked_at: dict[str, float] = field(init=False, default_factory=dict)
    """Damaged objects: when they were last looked at."""
    _idle_until: float = field(init=False, default=0.0)
    """By the monotonic clock (S121)."""
    _requests: int = field(init=False, default=0)
    _unreached: dict[str, float] = field(init=False, default_factory=dict)
    """Packs that the store did not give: when. They must not hold up the others."""

    async def once(self) -> None:
        """Verify what is due, as much of it as fits a slice; look after what is damaged.

        Raises:
            DrystoneError: The worker or the store does not answer; nothing is recorded of this slice.
        """
        if self.monotonic() < self._idle_until:
            return
        try:
            await self._slice()
        except StoreUnavailableError:
            self._idle_until = self.monotonic() + AWAY_SECONDS
            raise

    async def _slice(self) -> None:
        requests = self._requests
        now, before = await self.transactions.read(self.due)
        rate = self.bytes_per_s
        number = PACKS_MAX if rate == 0 else max(1, min(PACKS_MAX, int(rate * SLICE_SECONDS / PACK_BYTES)))
        self._unreached = {
            name: at for name, at in self._unreached.items() if recent(at, now, RECHECK_SECONDS)
        }  # fmt: skip
        wanted = number + len(self._unreached)
        found = await self.transactions.read(lambda conn: verification.packs_due(conn, before, now, wanted))
        due = [pack for pack in found if pack.object not in self._unreached][:number]
        if due:
            await self._verify_packs(due)
        taken = await self.transactions.read(lambda conn: verification.snapshots_due(conn, before, now, SNAPSHOTS_MAX))
        if taken:
            await self._verify_snapshots(taken, before)
        await self._look_after_damage()
        if not due and not taken and requests == self._requests:
            self._idle_until = self.monotonic() + IDLE_SECONDS

    def due(self, conn: Connection) -> tuple[float, float]:
        """Return the time, and the time since which everything must have been verified, or written."""
        now = self.transactions.steady()
        asked = requested(conn, now)
        return now, asked if self.days == 0 else max(asked, now - self.days * DAY_SECONDS)

    async def request(self) -> float:
        """Have everything that is stored now verified anew; return the time from which verification counts."""

        def note(change: Change) -> float:
            meta.put(change.conn, REQUESTED, repr(change.steady))
            return change.steady

        at = await self.transactions.change(note)
        self._requests += 1
        self._idle_until = 0.0
        return at

    # --- packs --------------------------------------------------------------------------------------------------------

    async def _verify_packs(self, due: Sequence[Pack]) -> None:
        # A pack is verified as of the beginning of its reading: what is asked for meanwhile is read again.
        at = self.transactions.steady()
        result = await self._read(packs=tuple(pack.object for pack in due))
        bad, whole = {fault.object for fault in result.faults}, set(result.whole)
        missed = [pack.object for pack in due if pack.object not in bad and pack.object not in whole]
        self._unreached.update(dict.fromkeys(missed, at))

        def record(change: Change) -> None:
            for pack in due:
                if pack.object in whole:
                    expected = {"object": pack.object}
                    packs.compare_and_set(change.conn, pack.id, expected=expected, values={"proven_at": at})
                    damage.forget(change.conn, pack.object)
            troubles.settle_rows(change)

        await self.transactions.change(record)
        for pack in due:
            if pack.object in bad:
                await self._examine(pack)

    async def _examine(self, pack: Pack) -> None:
        """Name what a damaged pack hides, mend it if a running disk still has it, and name what is left."""
        await self._name(pack)
        if not await self.transactions.read(lambda conn: damages.of_object(conn, pack.object)):
            return
        mended = await self.mending.mend(pack)
        if mended is not None:
            await self._name(mended)

    async def _name(self, pack: Pack) -> None:
        """Look at one pack with every living snapshot, and record what was found."""
        at = self.transactions.steady()
        living = await self.transactions.read(collection.living_manifests)
        result = await self._read(packs=(pack.object,), living=living)

        def record(change: Change) -> list[Damage]:
            conn = change.conn
            now = packs.get(conn, pack.id)
            if now is None or now.state is not PackState.LIVE or now.object != pack.object:
                return []  # It was written again, or is going: what was found of it is nobody's any more.
            damage.forget(conn, pack.object)
            whole = pack.object in result.whole
            found = [] if whole else self._hit(conn, result.faults, at)
            # F12: only what a living snapshot shows is damage.
            nobody_sees = bool(result.faults) and not found and not result.unsure
            if whole or nobody_sees:
                packs.compare_and_set(conn, pack.id, expected={}, values={"proven_at": at})
            troubles.settle_rows(change)
            return found

        found = await self.transactions.change(record)
        self._looked_at[pack.object] = at
        damage.tell(found)
        if result.unsure and not found:
            # That nobody shows it is not known: a snapshot could not be asked. Later again.
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
                found.append(damage.record(conn, row, fault, "pack", at))
        return found

    # --- maps and manifests -------------------------------------------------------------------------------------------

    async def _verify_snapshots(self, taken: Sequence[Snapshot], before: float) -> None:
        doubted = {name for row in taken if row.proven_at == verification.DOUBTED for name in row.maps}
        lately = {name for name, (at, _) in self._maps.items() if at >= before and name not in doubted}
        unread = sorted({name for row in taken for name in row.maps} - lately)
        manifests = tuple(row.manifest for row in taken if row.manifest is not None)
        at = self.transactions.steady()
        result = await self._read(maps=tuple(unread), manifests=manifests)
        if len(self._maps) > MAPS_REMEMBERED:
            self._maps.clear()
        wrong = {fault.object: fault for fault in result.faults}
        for name in unread:
            if name in wrong or name in result.whole:
                self._maps[name] = (at, wrong.get(name))

        def record(change: Change) -> list[Damage]:
            conn = change.conn
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
                damage.settle(conn, row.id)
                found += [
                    damage.record(conn, row, fault, kind, at) for kind, fault in faults if fault is not None
                ]  # fmt: skip
                if not any(fault for _, fault in faults):
                    snapshots.compare_and_set(conn, row.id, expected={}, values={"proven_at": at})
            troubles.settle_rows(change)
            return found

        damage.tell(await self.transactions.change(record))

    # --- damage -------------------------------------------------------------------------------------------------------

    async def _look_after_damage(self) -> None:
        """Look again at what is damaged: it may be whole, mendable, or shown by more snapshots by now."""
        if not await self.transactions.read(damages.any_told):
            self._looked_at.clear()
            return

        def prune(change: Change) -> None:
            damages.prune(change.conn)
            troubles.settle_rows(change)

        await self.transactions.change(prune)
        known = await self.transactions.read(damages.everything)
        now = self.transactions.steady()
        asked = await self.transactions.read(lambda conn: requested(conn, now))

        def seen(name: str) -> bool:
            at = self._looked_at.get(name, 0.0)
            return at >= asked and recent(at, now, RECHECK_SECONDS)

        due = {row.object for row in known if row.kind == "pack" and not seen(row.object)}
        rows = await self.transactions.read(lambda conn: packs.with_objects(conn, due)) if due else []
        for pack in rows[:PACKS_MAX]:
            await self._examine(pack)
        shown = {row.snapshot_id for row in known if row.kind != "pack"}
        again = [name for name in shown if not seen(name)]
        if again:
            found = await self.transactions.read(lambda conn: snapshots.get_many(conn, again))
            for name in again:
                self._looked_at[name] = now
            self._maps.clear()
            await self._verify_snapshots(list(found.values()), now)

    async def _read(self, **objects: tuple[str, ...]) -> ScrubResult:
        """Have objects read: `packs`, `maps`, `manifests`, and the manifests of the `living` that show them."""
        job = ScrubJob(store=self.kept.address(), bytes_per_s=self.bytes_per_s, **objects)
        return await self.background.run(job, ScrubResult)


def requested(conn: Connection, now: float) -> float:
    """Return since when everything was to be verified anew; 0.0 if nobody asked, or a wrong clock dated it."""
    at = float(meta.get(conn, REQUESTED) or 0.0)
    return at if recent(at, now, math.inf) else 0.0

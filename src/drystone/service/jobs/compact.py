"""Writing packs again without their dead blocks (L8), some at a time, as rows that survive a crash."""

from collections import Counter
from dataclasses import dataclass, field

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import operations, pack_rewrites, packs, verification
from drystone.domain.errors import Refusal
from drystone.domain.operation import Operation
from drystone.domain.pack_rewrite import PackRewrite
from drystone.domain.payloads import CompactionOutcome, CompactPayload
from drystone.domain.session import Pack, PackState
from drystone.service.cancelling import breakable
from drystone.service.kept_store import KeptStore
from drystone.service.operations import Operations
from drystone.service.rows import endings
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import collection, rewrites
from drystone.transfer.pool import WorkerPool
from drystone.transfer.store_jobs import CompactJob, CompactResult, PackTarget, PackVerdict

log = structlog.get_logger()
PACKS_PER_ROUND = 8
"""Written again together, with one look at the living snapshots; a deletion waits for a round at most."""
ROUNDS_MAX = 10_000
ATTEMPTS_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Compact:
    """Rounds of: rows WRITING → new objects written and read back → rows SWITCHED → old objects deleted, later.

    Safety is in the rows (S30 to S33), not in being alone. One round at a time holds the lock of collection, so that no
    manifest goes while a worker looks at it.
    """

    transactions: Transactions
    operations: Operations
    kept: KeptStore
    background: WorkerPool

    async def run(self, operation: Operation) -> None:
        """Go on until nothing is left to be written again; may be repeated from any moment."""
        wanted = operation.payload_as(CompactPayload)
        percent = self.kept.dead_percent if wanted.dead_percent is None else wanted.dead_percent
        sums = _Sums()
        seen: set[str] = set()
        async with self.kept.collection_lock:
            # A process that was killed may have written what its rows name; nothing refers to it.
            await self.transactions.change(rewrites.abandon_all)
        for _ in range(ROUNDS_MAX):
            async with self.kept.collection_lock:
                reason = await collection.stopped(self.transactions, self.kept)
                if reason is not None:
                    log.error("collection.stopped", reason=reason)
                    sums.note = reason
                    break
                more = await self._round(operation, percent, seen, sums)
                await collection.remove_doomed(self.transactions, self.kept)
                await rewrites.settle(self.transactions, self.kept)
                if not more:
                    break

        def end(change: Change) -> None:
            payload = msgspec.structs.replace(wanted, result=sums.result(change.conn))
            operations.update(change.conn, operation.id, updated_at=change.at, payload=payload)
            endings.done(change, operation)

        await self.transactions.change(end)
        log.info(
            "compaction.ended",
            operation_id=operation.id,
            rewritten=sums.packs["rewritten"],
            freed_bytes=sums.freed_bytes,
        )

    async def _round(self, operation: Operation, percent: int, seen: set[str], sums: "_Sums") -> bool:
        """Judge and write some packs; return whether there were any."""
        skip = seen | self.kept.faulty_packs.keys()

        def begin(change: Change) -> tuple[list[tuple[Pack, PackRewrite]], tuple[str, ...]]:
            # One SQL snapshot: what is dead in it stays dead (L8).
            wanted = packs.dying(change.conn, percent / 100, PACKS_PER_ROUND + len(skip))
            chosen = [pack for pack in wanted if pack.object not in skip][:PACKS_PER_ROUND]
            pairs = [(pack, rewrites.begin(change, pack, self.kept.store)) for pack in chosen]
            return pairs, collection.living_around(change.conn, chosen)

        pairs, living = await self.transactions.change(begin)
        if not pairs:
            return False
        seen.update(pack.object for pack, _ in pairs)
        job = CompactJob(
            store=self.kept.address(),
            packs=tuple(PackTarget(object=row.old_object, attempt=row.id) for _, row in pairs),
            living=living, dead_percent=percent,
        )  # fmt: skip
        try:
            verdicts = (await breakable(self.background.run(job, CompactResult))).packs
        except BaseException:
            await self.transactions.change(rewrites.abandon_all)
            raise
        found = list(zip(pairs, verdicts, strict=True))

        def record(change: Change) -> list[str]:
            outcomes = [_judge(change, pack, row, verdict) for (pack, row), verdict in found]
            verification.doubt(change.conn, [pack.id for (pack, _), verdict in found if verdict.fault], ())
            phase = f"{sums.packs['rewritten'] + outcomes.count('rewritten')} packs written again"
            operations.update(change.conn, operation.id, updated_at=change.at, phase=phase)
            return outcomes

        for ((pack, _), verdict), outcome in zip(found, await self.transactions.change(record), strict=True):
            sums.add(outcome, verdict, pack)
        seen.update(verdict.new_object for verdict in verdicts if verdict.new_object is not None)
        for (pack, _), verdict in found:
            if verdict.fault:
                log.error("pack.not_compacted", pack_id=pack.id, object=pack.object, error=verdict.fault)
        self.kept.distrust({pack.object: verdict.fault for (pack, _), verdict in found if verdict.fault})
        return True

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Try again some times; then end it: what was not written again is a candidate as before."""
        if operation.attempts + 1 < ATTEMPTS_MAX and code != Refusal.CANCELLED:
            await self.operations.put_off(operation, code, message)
        else:
            await self.transactions.change(
                lambda change: endings.failed(change, operation, code=code, message=message)
            )  # fmt: skip


def _judge(change: Change, pack: Pack, row: PackRewrite, verdict: PackVerdict) -> str:
    """Do to the rows what the verdict asks for; return what that was."""
    current = packs.get(change.conn, pack.id)
    # What died since the living snapshots were listed is not in the verdict, and stays counted.
    since_blocks = 0 if current is None else max(0, current.dead_blocks - pack.dead_blocks)
    since_bytes = 0 if current is None else max(0, current.dead_bytes - pack.dead_bytes)
    if verdict.new_object is not None:
        assert verdict.new_object == row.new_object
        left = verdict.blocks - verdict.dead_blocks
        values = {
            "blocks": left, "dead_blocks": min(left, since_blocks), "dead_bytes": min(verdict.new_bytes, since_bytes)
        }  # fmt: skip
        switched = rewrites.switch(
            change, row, pack, values, new_bytes=verdict.new_bytes, version=verdict.new_version
        )  # fmt: skip
        return "rewritten" if switched else "lost"
    # Nothing was written, unless the fault was found in what had been.
    if verdict.fault:
        rewrites.abandon(change, row)
        return "faulty"
    pack_rewrites.delete(change.conn, row.id)
    if verdict.dead_blocks == verdict.blocks:
        return "removed" if collection.doom_pack(change.conn, pack) else "lost"
    # The counts that made it a candidate were too high: as they are now, it is none.
    values = {"dead_blocks": verdict.dead_blocks + since_blocks, "dead_bytes": verdict.dead_bytes + since_bytes}
    unchanged = {"state": PackState.LIVE, "object": pack.object}
    packs.compare_and_set(change.conn, pack.id, expected=unchanged, values=values)
    return "kept"


@dataclass(slots=True)
class _Sums:
    """What one operation did, in all its attempts: packs by outcome, and the bytes that will come back."""

    packs: Counter[str] = field(default_factory=Counter)
    freed_bytes: int = 0
    note: str = ""

    def add(self, outcome: str, verdict: PackVerdict, pack: Pack) -> None:
        """Count one pack."""
        self.packs[outcome] += 1
        if outcome in {"rewritten", "removed"}:
            self.freed_bytes += pack.bytes - verdict.new_bytes

    def result(self, conn: Connection) -> CompactionOutcome:
        """Return what the operation's row says at its end; `waiting_bytes` come back when readers have ended."""
        return CompactionOutcome(
            rewritten_packs=self.packs["rewritten"], removed_packs=self.packs["removed"],
            faulty_packs=self.packs["faulty"], freed_bytes=self.freed_bytes,
            waiting_bytes=rewrites.waiting_bytes(conn), note=self.note,
        )  # fmt: skip

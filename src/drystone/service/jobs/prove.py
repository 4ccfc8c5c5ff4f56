"""Opening a snapshot to see that it opens: on a throw-away clone, never on the source."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from drystone.catalog import operations, proofs, sessions, snapshots
from drystone.domain.errors import DrystoneError, Refusal, SpaceError, ungrouped
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation
from drystone.domain.payloads import ProofOutcome, ProvePayload
from drystone.domain.proof import Finding, Proof, ProofStep, conclusion
from drystone.engine import throwaway
from drystone.engine.layout import Layout
from drystone.prove.prover import Asked, Prover
from drystone.service.cancelling import breakable
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.room import Room
from drystone.service.rows import endings, events
from drystone.service.transactions import Change, Transactions

log = structlog.get_logger()
ATTEMPTS_MAX = 3
_LEVELS = {Finding.OPENS: logging.INFO, Finding.NOT_PROVEN: logging.WARNING, Finding.DAMAGED: logging.ERROR}
"""Of the log: only for damage must somebody act."""
LOOK_SECONDS = 1.0
CLONE_BYTES_MIN = 256 << 20
"""Room that a clone must have above the floor: a database's recovery writes."""
PERCENT_PER_STEP = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Prove:
    """PROVING → done: a clone, a machine that opens it, both gone again, the finding in the catalog.

    Its session pins the snapshot from the call to the end (L6). After a crash what is left of the clone goes, by its
    name, and the proof begins anew (S90): the phases of a proof leave nothing that is worth keeping.
    """

    transactions: Transactions
    layout: Layout
    room: Room
    scratch_bytes_max: int
    """What the clone may take at most."""
    environment: Mapping[str, str]
    """Of the clone's daemon."""
    snapshot_server: SnapshotServer
    prover: Prover

    async def run(self, operation: Operation) -> None:
        """Prove and record. Whatever the finding is, the operation is DONE: that was its task."""
        await self._remove(operation)
        with self.prover.user() as user:
            began = self.transactions.steady()
            if operation.attempts >= ATTEMPTS_MAX:
                detail = f"it was interrupted {operation.attempts} times"
                steps: tuple[ProofStep, ...] = (_step("prover", detail),)
            else:
                steps = await self._steps(operation, user)
                await self._remove(operation)
        finding, reason = conclusion(steps)
        log.log(
            _LEVELS[finding], "snapshot.proven", snapshot_id=operation.snapshot_id,
            finding=finding.value, reason=reason, seconds=round(sum(step.seconds for step in steps), 1),
        )  # fmt: skip
        await self.transactions.change(lambda change: self._record(change, operation, steps, began))

    def _record(self, change: Change, operation: Operation, steps: tuple[ProofStep, ...], began: float) -> None:
        proof = _put(change, operation, steps, began)
        wanted = operation.payload_as(ProvePayload)
        sessions.commit(change.conn, wanted.session, at=change.at)
        outcome = ProofOutcome(finding=proof.finding.value, reason=proof.reason)
        payload = msgspec.structs.replace(wanted, result=outcome)
        operations.update(change.conn, operation.id, updated_at=change.at, payload=payload)
        endings.done(change, operation)

    async def _steps(self, operation: Operation, user: int) -> tuple[ProofStep, ...]:
        room = min(self.scratch_bytes_max, self.room.look().above_floor_bytes // 2)
        if room < CLONE_BYTES_MIN:
            raise SpaceError("free space is near the floor that belongs to the disks: there is no room for a clone")
        backing = await self.snapshot_server.serving(operation.of_snapshot)
        wanted = operation.payload_as(ProvePayload)
        row = await self.transactions.read(lambda conn: snapshots.get(conn, operation.of_snapshot))
        daemon = await throwaway.open_clone(
            self.layout,
            _clone(operation),
            backing=backing,
            size_gib=wanted.size_gib,
            encrypted=row is not None and row.encrypted,
            bytes_max=room,
            environment=self.environment,
        )
        try:
            steps = await breakable(self._watched(operation, user, daemon.nbd_socket, wanted.databases))
            if not daemon.alive():
                # S91: what was read after its death was no byte of the snapshot.
                return (_step("clone", f"its storage daemon died; up to {room >> 20} MiB may be written"),)
            return steps
        finally:
            await daemon.disconnect()

    async def _watched(
        self, operation: Operation, user: int, socket: Path, databases: tuple[str, ...]
    ) -> tuple[ProofStep, ...]:
        """Run the machine while the snapshot server is kept alive and the disks' space is looked after."""
        done = 0

        async def note(_step: ProofStep) -> None:
            nonlocal done
            done += 1
            percent = min(95, done * PERCENT_PER_STEP)
            await self.transactions.change(
                lambda change: operations.update(change.conn, operation.id, updated_at=change.at, percent=percent)
            )

        async def look() -> None:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                if self.room.look().above_floor_bytes <= 0:
                    raise SpaceError("free space reached the floor that belongs to the disks")
                await self.snapshot_server.ensure()

        with ungrouped(DrystoneError):
            async with asyncio.TaskGroup() as tasks:
                looking = tasks.create_task(look())
                asked = Asked(user=user, clone=socket, export=_clone(operation), databases=databases)
                steps = await self.prover.prove(asked, note)
                looking.cancel()
        return steps

    async def _remove(self, operation: Operation) -> None:
        await throwaway.remove_clone(self.layout, throwaway.name_of(_clone(operation)))

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take the clone away, let go of the snapshot, and say that nothing was proven."""
        await self._remove(operation)

        def end(change: Change) -> None:
            sessions.fence(change.conn, operation.payload_as(ProvePayload).session, at=change.at)
            # One that was cancelled says nothing of the snapshot: what was found before stays.
            if endings.failed(change, operation, code=code, message=message) and code != Refusal.CANCELLED:
                _put(change, operation, (_step("clone", message),), change.steady)

        await self.transactions.change(end)


def _put(change: Change, operation: Operation, steps: tuple[ProofStep, ...], began: float) -> Proof:
    """Record what was found, and return it."""
    finding, reason = conclusion(steps)
    proof = Proof(
        snapshot_id=operation.of_snapshot, account_id=operation.account_id, finding=finding, reason=reason,
        steps=steps, began_at=began, ended_at=change.steady,
    )  # fmt: skip
    if proofs.put(change.conn, proof):
        _tell(change, proof)
    return proof


def _tell(change: Change, proof: Proof) -> None:
    """Tell of a snapshot that does not open, of a disk whose newest proof proved nothing; or that it is over (S220)."""
    row = snapshots.get(change.conn, proof.snapshot_id)
    assert row is not None, "proofs.put has seen it"

    def trouble(subject_id: str) -> Trouble:
        return Trouble(kind=EventKind.PROOF_FAILED, account_id=row.account_id, subject_id=subject_id)

    facts = Facts(given=proof.finding.value, reason=proof.reason, snapshot_id=row.id, disk_id=row.disk_id)
    if proof.finding is Finding.DAMAGED:
        events.note(change, trouble(row.id), facts)
    elif proof.finding is Finding.NOT_PROVEN:
        events.note(change, trouble(row.disk_id), facts)
    else:
        for subject_id in (row.id, row.disk_id):
            events.end(change, trouble(subject_id))


def _clone(operation: Operation) -> DiskId:
    return operation.payload_as(ProvePayload).clone


def _step(title: str, detail: str) -> ProofStep:
    return ProofStep(title=title, finding=Finding.NOT_PROVEN, seconds=0.0, detail=detail)

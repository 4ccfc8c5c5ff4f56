"""Opening a snapshot to see that it opens: on a throw-away clone, never on the source."""

import asyncio
import logging
from pathlib import Path

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import openings, operations, sessions
from drystone.domain.errors import DrystoneError, SpaceError, ungrouped
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.opening import Finding, Opening, OpeningStep, conclusion
from drystone.domain.operation import Operation
from drystone.domain.payloads import ProofOutcome, ProvePayload
from drystone.engine import throwaway
from drystone.prove.prover import Asked, Prover
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.installation import Installation
from drystone.service.rows import endings

log = structlog.get_logger()
ATTEMPTS_MAX = 3
_LEVELS = {Finding.OPENS: logging.INFO, Finding.NOT_PROVEN: logging.WARNING, Finding.DAMAGED: logging.ERROR}
"""Of the log: only for damage must somebody act."""
LOOK_SECONDS = 1.0
CLONE_BYTES_MIN = 256 << 20
"""Room that a clone must have above the floor: a database's recovery writes."""
PERCENT_PER_STEP = 15


class Prove:
    """PROVING → done: a clone, a machine that opens it, both gone again, the finding in the catalog.

    Its session pins the snapshot from the call to the end (L6). After a crash what is left of the clone goes, by its
    name, and the proof begins anew (S90): the phases of a proof leave nothing that is worth keeping.
    """

    def __init__(self, installation: Installation, snapshot_server: SnapshotServer, prover: Prover) -> None:
        self._in = installation
        self._snapshot_server = snapshot_server
        self._prover = prover

    async def run(self, operation: Operation) -> None:
        """Prove and record. Whatever the finding is, the operation is DONE: that was its task."""
        await self._remove(operation)
        with self._prover.user() as user:
            began = self._in.steady()
            if operation.attempts >= ATTEMPTS_MAX:
                detail = f"it was interrupted {operation.attempts} times"
                steps: tuple[OpeningStep, ...] = (_step("prover", detail),)
            else:
                steps = await self._steps(operation, user)
                await self._remove(operation)
        finding, reason = conclusion(steps)
        log.log(
            _LEVELS[finding], "snapshot.proven", snapshot_id=operation.snapshot_id,
            finding=finding.value, reason=reason, seconds=round(sum(step.seconds for step in steps), 1),
        )  # fmt: skip
        await self._in.db.write(lambda conn: self._record(conn, operation, steps, began))

    def _record(self, conn: Connection, operation: Operation, steps: tuple[OpeningStep, ...], began: float) -> None:
        at = self._in.clock()
        finding, reason = conclusion(steps)
        opening = Opening(
            snapshot_id=_snapshot(operation), account_id=operation.account_id, finding=finding, reason=reason,
            steps=steps, began_at=began, ended_at=self._in.steady(),
        )  # fmt: skip
        openings.put(conn, opening)
        wanted = operation.payload_as(ProvePayload)
        sessions.commit(conn, wanted.session, at=at)
        payload = msgspec.structs.replace(wanted, result=ProofOutcome(finding=finding.value, reason=reason))
        operations.update(conn, operation.id, updated_at=at, payload=payload)
        endings.done(conn, operation, at=at)

    async def _steps(self, operation: Operation, user: int) -> tuple[OpeningStep, ...]:
        layout, space = self._in.layout, self._in.space()
        room = min(self._in.scratch_bytes_max, space.above_floor_bytes // 2)
        if room < CLONE_BYTES_MIN:
            raise SpaceError("free space is near the floor that belongs to the disks: there is no room for a clone")
        backing = await self._snapshot_server.serving(_snapshot(operation))
        wanted = operation.payload_as(ProvePayload)
        daemon = await throwaway.open_clone(
            layout,
            _clone(operation),
            backing=backing,
            size_gib=wanted.size_gib,
            bytes_max=room,
            environment=self._in.environment,
        )
        try:
            steps = await self._watched(operation, user, daemon.nbd_socket, wanted.databases)
            if not daemon.alive():
                # S91: what was read after its death was no byte of the snapshot.
                return (_step("clone", f"its storage daemon died; up to {room >> 20} MiB may be written"),)
            return steps
        finally:
            await daemon.disconnect()

    async def _watched(
        self, operation: Operation, user: int, socket: Path, databases: tuple[str, ...]
    ) -> tuple[OpeningStep, ...]:
        """Run the machine while the snapshot server is kept alive and the disks' space is looked after."""
        done = 0

        async def note(_step: OpeningStep) -> None:
            nonlocal done
            done += 1
            at, percent = self._in.clock(), min(95, done * PERCENT_PER_STEP)
            await self._in.db.write(lambda conn: operations.update(conn, operation.id, updated_at=at, percent=percent))

        async def look() -> None:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                if self._in.space().above_floor_bytes <= 0:
                    raise SpaceError("free space reached the floor that belongs to the disks")
                await self._snapshot_server.ensure()

        with ungrouped(DrystoneError):
            async with asyncio.TaskGroup() as tasks:
                looking = tasks.create_task(look())
                asked = Asked(user=user, clone=socket, export=_clone(operation), databases=databases)
                steps = await self._prover.prove(asked, note)
                looking.cancel()
        return steps

    async def _remove(self, operation: Operation) -> None:
        await throwaway.remove_clone(self._in.layout, throwaway.name_of(_clone(operation)))

    async def fail(self, operation: Operation, code: str, message: str) -> None:
        """Take the clone away, let go of the snapshot, and say that nothing was proven."""
        await self._remove(operation)

        def end(conn: Connection) -> None:
            at, ended = self._in.clock(), self._in.steady()
            steps = (_step("clone", message),)
            finding, reason = conclusion(steps)
            opening = Opening(
                snapshot_id=_snapshot(operation), account_id=operation.account_id, finding=finding, reason=reason,
                steps=steps, began_at=ended, ended_at=ended,
            )  # fmt: skip
            openings.put(conn, opening)
            sessions.fence(conn, operation.payload_as(ProvePayload).session, at=at)
            endings.failed(conn, operation, at=at, code=code, message=message)

        await self._in.db.write(end)


def _snapshot(operation: Operation) -> SnapshotId:
    assert operation.snapshot_id is not None
    return operation.snapshot_id


def _clone(operation: Operation) -> DiskId:
    return operation.payload_as(ProvePayload).clone


def _step(title: str, detail: str) -> OpeningStep:
    return OpeningStep(title=title, finding=Finding.NOT_PROVEN, seconds=0.0, detail=detail)

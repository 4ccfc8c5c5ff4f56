"""Opening a snapshot to see that it opens: on a throw-away clone, never on the source."""

import asyncio

import structlog
from sqlalchemy import Connection

from drystone.catalog import openings, operations, sessions
from drystone.domain.errors import DrystoneError, SpaceError
from drystone.domain.ids import DiskId, SessionId, SnapshotId
from drystone.domain.opening import Finding, Opening, OpeningStep, conclusion
from drystone.domain.operation import Operation
from drystone.engine import throwaway
from drystone.quiesce.prover_plan import ProverPlan
from drystone.quiesce.proving import prove
from drystone.service import snapshot_server
from drystone.service.installation import Installation
from drystone.service.jobs import endings

log = structlog.get_logger()
ATTEMPTS_MAX = 3
STEP_SECONDS_MAX = 4 * 3600.0
TOTAL_SECONDS_MAX = 12 * 3600.0
LOOK_SECONDS = 1.0
CLONE_BYTES_MIN = 256 << 20
"""Room that a clone must have above the floor: a database's recovery writes."""
PERCENT_PER_STEP = 15


class Prove:
    """PROVING → done: a clone, its devices, a prover on them, all of it gone again, the finding in the catalog.

    Its session pins the snapshot from the call to the end (L6). After a crash what is left of the clone goes, by its
    name, and the proof begins anew (S90): the phases of a proof leave nothing that is worth keeping.
    """

    def __init__(self, installation: Installation) -> None:
        self._in = installation
        self._one = asyncio.Lock()

    async def run(self, operation: Operation) -> None:
        """Prove and record. Whatever the finding is, the operation is DONE: that was its task."""
        began = self._in.steady()
        # One at a time: it reads the whole of file systems and databases, and guests come first.
        async with self._one:
            await self._remove(operation)
            if operation.attempts >= ATTEMPTS_MAX:
                detail = f"it was interrupted {operation.attempts} times"
                steps: tuple[OpeningStep, ...] = (_step("prover", detail),)
            else:
                steps = await self._steps(operation)
                await self._remove(operation)
        finding, reason = conclusion(steps)
        log.log(
            20 if finding is Finding.OPENS else 40, "snapshot.proven", snapshot_id=operation.snapshot_id,
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
        sessions.commit(conn, SessionId(str(operation.payload["session"])), at=at)
        result = {"finding": finding.value, "reason": reason}
        operations.update(conn, operation.id, updated_at=at, payload={**operation.payload, "result": result})
        endings.done(conn, operation, at=at)

    async def _steps(self, operation: Operation) -> tuple[OpeningStep, ...]:
        layout, space = self._in.layout, self._in.space()
        room = min(self._in.scratch_bytes_max, space.above_floor_bytes // 2)
        if room < CLONE_BYTES_MIN:
            raise SpaceError("free space is near the floor that belongs to the disks: there is no room for a clone")
        backing = await snapshot_server.serving(self._in, _snapshot(operation))
        size = operation.payload["size_gib"]
        kinds = operation.payload["databases"]
        assert isinstance(size, int)
        assert isinstance(kinds, list)
        daemon, volumes = await throwaway.open_clone(
            layout, _clone(operation), backing=backing, size_gib=size, bytes_max=room, environment=self._in.environment
        )
        try:
            plan = ProverPlan(
                volumes=tuple((volume.title, volume.device) for volume in volumes),
                databases=tuple(str(kind) for kind in kinds), seconds_max=STEP_SECONDS_MAX,
                path=self._in.environment["PATH"],
            )  # fmt: skip
            steps = await self._watched(operation, plan)
            if not daemon.alive():
                # S91: what was read after its death was no byte of the snapshot.
                return (_step("clone", f"its storage daemon died; up to {room >> 20} MiB may be written"),)
            return steps
        finally:
            await daemon.disconnect()

    async def _watched(self, operation: Operation, plan: ProverPlan) -> tuple[OpeningStep, ...]:
        """Run the prover while the snapshot server is kept alive and the disks' space is looked after."""
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
                await snapshot_server.ensure(self._in)

        try:
            async with asyncio.TaskGroup() as tasks:
                looking = tasks.create_task(look())
                steps = await prove(
                    plan, seconds_max=TOTAL_SECONDS_MAX, environment=self._in.environment, on_step=note
                )  # fmt: skip
                looking.cancel()
        except* DrystoneError as group:
            raise group.exceptions[0] from None
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
            sessions.fence(conn, SessionId(str(operation.payload["session"])), at=at)
            endings.failed(conn, operation, at=at, code=code, message=message)

        await self._in.db.write(end)


def _snapshot(operation: Operation) -> SnapshotId:
    assert operation.snapshot_id is not None
    return operation.snapshot_id


def _clone(operation: Operation) -> DiskId:
    return DiskId(str(operation.payload["clone"]))


def _step(title: str, detail: str) -> OpeningStep:
    return OpeningStep(title=title, finding=Finding.NOT_PROVEN, seconds=0.0, detail=detail)

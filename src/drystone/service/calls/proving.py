"""Proofs that snapshots open: asked for, and begun by schedule."""

from sqlalchemy import Connection

from drystone.catalog import disks, openings, operations, quiesce_profiles, sessions
from drystone.domain.disk import Disk
from drystone.domain.errors import RefusalError
from drystone.domain.ids import DiskId, InstanceId, OperationId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import ProvePayload
from drystone.domain.quiesce import QuiesceProfile, StepKind
from drystone.domain.session import Session
from drystone.domain.snapshot import Snapshot
from drystone.service.caller import Caller
from drystone.service.calls.quiescing import profiles_of
from drystone.service.calls.snapshot_records import owned_snapshot
from drystone.service.installation import Installation

UNDER_WAY_MAX = 64
HOUR_SECONDS = 3600.0
DATABASES = (StepKind.MARIADB, StepKind.POSTGRESQL)
"""Steps whose application can be started on a clone."""


class Proving:
    """The calls on proofs of opening.

    Args:
        installation: Where.
        allowed: Whether the configuration allows proofs.
        root: Whether the server runs as root: machines run as users of their own.
    """

    def __init__(self, *, installation: Installation, allowed: bool, root: bool) -> None:
        self._in = installation
        self._allowed = allowed
        self._root = root

    async def begin(self, caller: Caller, snapshot_id: str) -> OperationId:
        """Begin to open a snapshot on a throw-away clone; return the operation that does.

        Raises:
            RefusalError: `UnauthorizedOperation`, `UnsupportedOperation`, `InvalidSnapshotId.NotFound`,
                `ResourceUnavailable.SnapshotCreating` or `LimitExceeded`; nothing was begun.
        """
        caller.require_admin()
        if not self._allowed:
            raise RefusalError(
                "UnsupportedOperation",
                "Proofs are switched off by `prove = false` in drystone.toml: whoever runs the host may change it.",
            )
        if not self._root:
            raise RefusalError(
                "UnsupportedOperation",
                "Snapshots are opened in machines with users of their own, for which the server must run as root.",
            )

        def record(conn: Connection) -> Operation:
            snapshot = owned_snapshot(conn, caller.account_id, snapshot_id)
            proofs = [row for row in operations.unfinished(conn) if row.kind is OperationKind.PROVE]
            running = [row for row in proofs if row.account_id == caller.account_id]
            for row in running:
                if row.snapshot_id == snapshot.id:
                    return row
            if len(running) >= UNDER_WAY_MAX:
                raise RefusalError("LimitExceeded", f"{len(running)} proofs are under way; wait for some.")
            return self._insert(conn, snapshot, request_id=caller.request_id)

        operation = await self._in.db.write(record)
        self._in.operations.wake(operation.id)
        return operation.id

    async def begin_due(self) -> None:
        """Begin the proofs whose time has come, by the profiles of disks and instances."""
        if not (self._allowed and self._root):
            return
        for operation in await self._in.db.write(self._due):
            self._in.operations.wake(operation.id)

    def _due(self, conn: Connection) -> list[Operation]:
        made = []
        now = self._in.steady()
        for profile in quiesce_profiles.with_proofs(conn):
            assert profile.prove_every_h is not None
            every_s = profile.prove_every_h * HOUR_SECONDS
            for disk in _disks(conn, profile):
                snapshot = openings.due(conn, disk.id, now, every_s)
                if snapshot is not None:
                    made.append(self._insert(conn, snapshot, request_id="schedule"))
        return made

    def _insert(self, conn: Connection, snapshot: Snapshot, *, request_id: str) -> Operation:
        at = self._in.clock()
        session = Session(id=self._in.ids.session(), kind="prove", created_at=at)
        sessions.open(conn, session, [snapshot.id])
        operation = Operation(
            id=self._in.ids.operation(), kind=OperationKind.PROVE, account_id=snapshot.account_id,
            snapshot_id=snapshot.id, phase="PROVING", request_id=request_id, created_at=at, updated_at=at,
            payload=ProvePayload(
                session=session.id, clone=self._in.ids.disk(), size_gib=snapshot.size_gib,
                databases=_databases(conn, snapshot.disk_id),
            ),
        )  # fmt: skip
        operations.insert(conn, operation)
        return operation


def _databases(conn: Connection, disk_id: DiskId) -> tuple[str, ...]:
    """Return the kinds of databases that the disk's profile names; none if the disk is gone."""
    disk = disks.get(conn, disk_id)
    profiles = [] if disk is None else profiles_of(conn, [disk])
    kinds = {step.kind.value for profile in profiles for step in profile.steps if step.kind in DATABASES}
    return tuple(sorted(kinds))


def _disks(conn: Connection, profile: QuiesceProfile) -> list[Disk]:
    """Return the disks that a profile counts for."""
    if not profile.resource_id.startswith("ins-"):
        disk = disks.get(conn, DiskId(profile.resource_id))
        return [] if disk is None else [disk]
    attached = disks.of_instance(conn, InstanceId(profile.resource_id))
    own = quiesce_profiles.get_many(conn, [disk.id for disk in attached])
    return [disk for disk in attached if disk.id not in own]

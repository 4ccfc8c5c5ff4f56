"""Proofs that snapshots open: asked for, and begun by schedule."""

from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import disks, operations, proofs, quiesce_profiles
from drystone.domain.disk import Disk
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import DiskId, InstanceId, OperationId
from drystone.domain.operation import OperationKind
from drystone.domain.payloads import ProvePayload
from drystone.domain.quiesce import QuiesceProfile, StepKind
from drystone.domain.snapshot import Snapshot
from drystone.service.caller import Caller
from drystone.service.calls.quiescing import profiles_of
from drystone.service.calls.snapshot_records import owned_snapshot
from drystone.service.operations import Operations
from drystone.service.transactions import Change

UNDER_WAY_MAX = 64
HOUR_SECONDS = 3600.0
DATABASES = (StepKind.MARIADB, StepKind.POSTGRESQL)
"""Steps whose application can be started on a clone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proving:
    """The calls on proofs of opening."""

    operations: Operations
    allowed: bool
    root: bool
    """Whether the server runs as root: machines run as users of their own."""

    async def begin(self, caller: Caller, snapshot_id: str) -> OperationId:
        """Begin to open a snapshot on a throw-away clone; return the operation that does.

        Raises:
            RefusalError: `NOT_ALLOWED`, `NOT_OFFERED`, `NO_SUCH_SNAPSHOT`,
                `SNAPSHOT_CREATING` or `LIMIT`; nothing was begun.
        """
        caller.require_admin()
        if not self.allowed:
            raise RefusalError(
                Refusal.NOT_OFFERED,
                "Proofs are switched off by `prove = false` in drystone.toml: whoever runs the host may change it.",
            )
        if not self.root:
            raise RefusalError(
                Refusal.NOT_OFFERED,
                "Snapshots are opened in machines with users of their own, for which the server must run as root.",
            )

        def record(change: Change) -> OperationId:
            snapshot = owned_snapshot(change.conn, caller.account_id, snapshot_id)
            begun = [row for row in operations.unfinished(change.conn) if row.kind is OperationKind.PROVE]
            running = [row for row in begun if row.account_id == caller.account_id]
            for row in running:
                if row.snapshot_id == snapshot.id:
                    return row.id
            if len(running) >= UNDER_WAY_MAX:
                raise RefusalError(Refusal.LIMIT, f"{len(running)} proofs are under way; wait for some.")
            return _begin(change, snapshot, request_id=caller.request_id)

        return await self.operations.begin(record)

    async def begin_due(self) -> None:
        """Begin the proofs whose time has come, by the profiles of disks and instances."""
        if self.allowed and self.root:
            await self.operations.begin(_begin_due)


def _begin_due(change: Change) -> None:
    for profile in quiesce_profiles.with_proofs(change.conn):
        assert profile.prove_every_h is not None
        every_s = profile.prove_every_h * HOUR_SECONDS
        for disk in _disks(change.conn, profile):
            snapshot = proofs.due(change.conn, disk.id, change.steady, every_s)
            if snapshot is not None:
                _begin(change, snapshot, request_id="schedule")


def _begin(change: Change, snapshot: Snapshot, *, request_id: str) -> OperationId:
    session = change.open_session("prove", [snapshot.id])
    begun = change.begin(
        OperationKind.PROVE, account_id=snapshot.account_id, snapshot_id=snapshot.id, phase="PROVING",
        request_id=request_id,
        payload=ProvePayload(
            session=session, clone=change.ids.disk(), size_gib=snapshot.size_gib,
            databases=_databases(change.conn, snapshot.disk_id),
        ),
    )  # fmt: skip
    return begun.id


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

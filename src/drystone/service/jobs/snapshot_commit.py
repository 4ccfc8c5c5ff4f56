"""How a snapshot whose objects are durable becomes NORMAL (A3)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, operations, packs, sessions, snapshots, verification
from drystone.domain import tracking as algebra
from drystone.domain.clock import age_s
from drystone.domain.disk import Disk
from drystone.domain.errors import SnapshotBrokenError
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.operation import Operation
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.session import Pack
from drystone.domain.settling import Phase
from drystone.domain.snapshot import SnapshotRecord, SnapshotState
from drystone.service.rows import events, troubles
from drystone.service.rows.tracking import set_tracking, tracking_of
from drystone.service.rows.tracking_audit import judge_audit
from drystone.service.transactions import Change
from drystone.transfer.jobs import UploadJob, UploadResult

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A snapshot whose objects are durable; it is not NORMAL before `commit`."""

    operation: Operation
    session: SessionId
    result: UploadResult
    job: UploadJob

    def with_versions(self, versions: Mapping[str, str]) -> "Uploaded":
        """Return this with versions of what it wrote since, by name (S274)."""
        result = msgspec.structs.replace(self.result, versions={**self.result.versions, **versions})
        return replace(self, result=result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A snapshot that is NORMAL."""

    uploaded: Uploaded
    suspect: tuple[SnapshotId, ...]
    """Snapshots that are suspect from now on, because its audit found that tracking had lied."""

    def tell(self) -> None:
        """Log it, and what it took."""
        operation, result = self.uploaded.operation, self.uploaded.result
        if result.audit_lies:
            log.error(
                "audit.lie", disk_id=operation.disk_id, snapshot_id=operation.snapshot_id,
                blocks=result.audit_lie_blocks, ranges=result.audit_lies[:10], suspect=self.suspect[:100],
                suspect_count=len(self.suspect),
            )  # fmt: skip
        if result.alone or result.doubtful_packs or result.doubtful_maps:
            log.error(
                "snapshot.base_damaged", snapshot_id=operation.snapshot_id, reason=result.tracking_reason,
                packs=result.doubtful_packs[:10], maps=result.doubtful_maps[:10],
            )  # fmt: skip
        log.info(
            "snapshot.committed", snapshot_id=operation.snapshot_id, disk_id=operation.disk_id,
            tracking=result.tracking, stored_bytes=result.stored_bytes, changed_bytes=result.changed_bytes,
        )  # fmt: skip


def commit(change: Change, uploaded: Uploaded) -> Committed:
    """A3, in one transaction: session, snapshot, base, packs, operation.

    Raises:
        SnapshotBrokenError: It was given up meanwhile; the transaction must not be committed.
    """
    operation, session, result, job = uploaded.operation, uploaded.session, uploaded.result, uploaded.job
    conn, at = change.conn, change.at
    now = operations.get(conn, operation.id)
    assert now is not None
    on_its_way = now.phase in {Phase.FROZEN, Phase.SPOOLED}
    if not on_its_way or now.error_code or not sessions.commit(conn, session, at=at):
        raise SnapshotBrokenError("the snapshot was given up while it was uploaded")
    known = now.payload_as(SnapshotPayload)
    freeze = known.freeze
    disk = disks.get(conn, operation.on_disk)
    late = now.phase == Phase.SPOOLED and disk is not None and not algebra.records_still(tracking_of(disk), freeze)
    if disk is None or not (late or algebra.may_commit(tracking_of(disk), freeze)):
        raise SnapshotBrokenError("the disk was closed while its snapshot was uploaded")
    record = SnapshotRecord(
        tracking=result.tracking, tracking_reason=result.tracking_reason, read_bytes=result.read_bytes,
        changed_bytes=result.changed_bytes, stored_bytes=result.stored_bytes, requests=result.requests,
        freeze_ms=job.template.freeze_ms, duration_ms=round(age_s(operation.created_at, at) * 1000, 3),
        consistency=job.template.consistency, consistency_asked=known.consistency_asked,
        taken_at=known.taken_at, quiesce_ms=known.quiesce_ms,
        transcript=known.transcript,
        audited_blocks=result.audited_blocks, audit_complete=result.audit_complete,
        audit_lies=result.audit_lie_blocks,
    )  # fmt: skip
    made = snapshots.compare_and_set(
        conn, operation.of_snapshot, expected={"state": SnapshotState.CREATING},
        values={
            "state": SnapshotState.NORMAL, "percent": 100, "manifest": result.manifest, "session_id": session,
            "delta_map": result.map.object, "maps": result.maps,
            "record": record, "stored_bytes": result.stored_bytes, "modified_at": at,
            "versions": _versions(conn, freeze.base, result),
            # Its full map says nothing of how it differs from the base: it is a root (A1).
            **({"parent_id": None} if result.alone else {}),
        },
    )  # fmt: skip
    if not made:
        raise SnapshotBrokenError("the snapshot's row is gone")
    for part in result.packs:
        pack = Pack(
            id=part.pack, session_id=session, object=part.object, bytes=part.bytes, blocks=part.blocks,
            disk_id=disk.id, account_id=disk.account_id, version=result.versions.get(part.object),
        )  # fmt: skip
        packs.insert(conn, pack)
    verification.doubt(conn, result.doubtful_packs, result.doubtful_maps)
    freeze, suspect = judge_audit(conn, disk, operation.of_snapshot, freeze, result)
    reason = disk.tracking_reason or "unknown"
    if late:
        delta_map = result.map.object if result.map.kind == "delta" else None
        after = algebra.committed_late(tracking_of(disk), freeze, operation.of_snapshot, delta_map)
        reason = disk.tracking_reason or "the disk was closed before its snapshot was in the store"
    else:
        after = algebra.committed(tracking_of(disk), freeze, operation.of_snapshot)
    audited = {} if job.audit is None else {"audit_cursor": result.audit_next_block}
    set_tracking(change, disk, after, reason=reason, error_prompt="", **audited)
    operations.update(conn, operation.id, updated_at=at, phase=Phase.COMMITTED.value, percent=100)
    _tell(change, disk, operation.of_snapshot, record, result)
    return Committed(uploaded=uploaded, suspect=suspect)


def _versions(conn: Connection, base_id: SnapshotId | None, result: UploadResult) -> dict[str, str]:
    """Return the versions of the manifest and of all maps, where they are known; those of the base are in its row."""
    base = None if base_id is None else snapshots.get(conn, base_id)
    known = {**({} if base is None else base.versions), **result.versions}
    return {name: known[name] for name in (*result.maps, result.manifest) if name in known}


def _tell(change: Change, disk: Disk, snapshot_id: SnapshotId, record: SnapshotRecord, result: UploadResult) -> None:
    """Tell what of the snapshot is less than was wanted, and what is over because it was made (S220)."""

    def trouble(kind: EventKind) -> Trouble:
        return Trouble(kind=kind, account_id=disk.account_id, subject_id=disk.id)

    events.end(change, trouble(EventKind.SNAPSHOT_FAILED))
    asked, given = record.consistency_asked, record.consistency
    if asked is not None and asked != given:
        missed = [line for line in record.transcript if " failed" in line or line.startswith(("not", "nothing"))]
        facts = Facts(asked=asked, given=given, snapshot_id=snapshot_id, disk_id=disk.id, reason="; ".join(missed))
        events.note(change, trouble(EventKind.CONSISTENCY_REDUCED), facts)
    else:
        events.end(change, trouble(EventKind.CONSISTENCY_REDUCED))
    if result.audit_lies:
        facts = Facts(snapshot_id=snapshot_id, disk_id=disk.id, blocks=result.audit_lie_blocks)
        events.note(change, trouble(EventKind.TRACKING_WRONG), facts)
        troubles.settle_rows(change)

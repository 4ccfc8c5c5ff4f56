"""Recovery of disks: their rows from what lies beside their images, with tracking LOST (A6)."""

from dataclasses import replace

from sqlalchemy import Connection

from drystone.catalog import disks, extent_maps, quiesce_profiles, snapshots
from drystone.domain import tracking as algebra
from drystone.domain.disk import Disk, DiskState
from drystone.domain.disk_types import DISK_TYPES, GIB
from drystone.domain.errors import RefusalError
from drystone.domain.event import EventKind, Facts, Trouble
from drystone.domain.ids import SnapshotId
from drystone.domain.operation import OperationKind
from drystone.domain.payloads import SessionPayload
from drystone.domain.snapshot import SnapshotState
from drystone.engine.descriptions import FoundDisk, UnfitDisk
from drystone.service.rows import events
from drystone.service.rows.tracking import tracking_columns, tracking_of
from drystone.service.transactions import Change
from drystone.service.upkeep.evidence import Evidence, Report

_KEPT_STATES = frozenset({DiskState.UNATTACHED, DiskState.ATTACHED, DiskState.TORECYCLE})


def restore_disks(change: Change, evidence: Evidence, report: Report) -> None:
    """Make the rows say what disks lie on this host: those that are gone go, those without a row get one."""
    found = {one.description.id: one for one in evidence.found if isinstance(one, FoundDisk)}
    unfit = {one.directory.name: one.reason for one in evidence.found if isinstance(one, UnfitDisk)}
    for row in disks.everything(change.conn):
        extent_maps.keep_only(change.conn, row.id, ())
        here = found.pop(row.id, None)
        if here is None and row.id not in unfit:
            disks.delete(change.conn, row.id)
            report.disks_gone.append(row.id)
        elif here is not None and (why := _unfit(here)) is None:
            _restore(change, row, here, evidence.reason)
        elif row.state is DiskState.CREATING:
            # Nobody has seen it yet, and nobody goes on with it.
            disks.delete(change.conn, row.id)
            report.disks_unfit.append(f"{row.id}: it was still being made")
            unfit.pop(row.id, None)
        else:
            # The row stays as the only thing that says what the directory is; nothing is believed of its content.
            reason = unfit.get(row.id) or why
            _set(change, row, evidence.reason, error_prompt=f"{evidence.reason}: {reason}"[:500])
            report.disks_unfit.append(f"{row.id}: {reason}")
            unfit.pop(row.id, None)
    report.disks_unfit += [f"{name}: {reason}" for name, reason in unfit.items()]
    for here in found.values():
        why = _unfit(here)
        if why is not None:
            report.disks_unfit.append(f"{here.description.id}: {why}")
            continue
        _adopt(change, here, evidence.reason)
        report.disks_adopted.append(here.description.id)


def _unfit(here: FoundDisk) -> str | None:
    if here.size_bytes == 0 or here.size_bytes % GIB:
        return f"its image has {here.size_bytes} bytes, which is no number of GiB"
    if here.description.type not in DISK_TYPES:
        return f"its type {here.description.type!r} is unknown"
    return None


def _adopt(change: Change, here: FoundDisk, reason: str) -> None:
    told = here.description
    row = Disk(
        id=told.id, account_id=told.account_id, state=DiskState.UNATTACHED, size_gib=here.size_bytes // GIB,
        type=told.type, zone=told.zone, usage=told.usage, source_snapshot_id=told.source_snapshot_id,
        created_at=told.created_at, tracking_reason=reason, charge_type=told.charge_type,
    )  # fmt: skip
    disks.insert(change.conn, row)
    _restore(change, row, here, reason)


def _restore(change: Change, row: Disk, here: FoundDisk, reason: str) -> None:
    """Bring a disk's row up to what lies beside its image, and take up its hydration again."""
    told = here.description
    values: dict[str, object] = {
        "name": told.name, "size_gib": here.size_bytes // GIB, "type": told.type, "project_id": told.project_id,
        "portable": told.portable, "delete_with_instance": told.delete_with_instance, "tags": told.tags,
        "delete_snapshot": told.delete_snapshot, "throughput_performance": told.throughput_performance,
        "burst_performance": told.burst_performance, "encryption": told.encryption,
        "source_snapshot_id": told.source_snapshot_id,
        "hydrating": False, "hydration_percent": 100,
    }  # fmt: skip
    if row.state in {DiskState.ROLLBACKING, DiskState.DUMPING}:
        values["error_prompt"] = f"its content was being replaced ({row.state.value}) when the catalog was copied"
    if here.hydrating and told.source_snapshot_id is not None:
        try:
            values |= _hydrate(change, row, told.source_snapshot_id)
        except RefusalError as error:
            values["error_prompt"] = f"what was not read from its source is lost: {error.message}"[:500]
    _set(change, replace(row, size_gib=here.size_bytes // GIB), reason, **values)
    if here.quiesce is not None and here.quiesce.account_id == row.account_id:
        quiesce_profiles.put(change.conn, here.quiesce)


def _hydrate(change: Change, row: Disk, source: SnapshotId) -> dict[str, object]:
    session = change.open_session("hydrate", [source])
    change.begin(
        OperationKind.HYDRATE, account_id=row.account_id, request_id="", disk_id=row.id, snapshot_id=source,
        phase="COPYING", payload=SessionPayload(session=session),
    )  # fmt: skip
    return {"hydrating": True, "hydration_percent": 0}


def _set(change: Change, row: Disk, reason: str, **values: object) -> None:
    """Set a disk's row: at rest, tracking LOST, its newest good snapshot as the base of the next one (A11, A6)."""
    state = row.state
    if state not in _KEPT_STATES:
        state = DiskState.UNATTACHED if row.instance_id is None else DiskState.ATTACHED
    hydrating = bool(values.get("hydrating", row.hydrating))
    tracking = replace(algebra.lost(tracking_of(row)), base=_newest(change.conn, row, hydrating=hydrating))
    settled = {
        "state": state, "nbd_socket": None, "device": None, "rollback_percent": 0,
        **tracking_columns(tracking, reason=reason),
    }  # fmt: skip
    disks.compare_and_set(change.conn, row.id, expected={}, values={**settled, **values})
    if values.get("error_prompt"):
        trouble = Trouble(kind=EventKind.DISK_UNFIT, account_id=row.account_id, subject_id=row.id)
        events.note(change, trouble, Facts(reason=str(values["error_prompt"]), disk_id=row.id))


def _newest(conn: Connection, row: Disk, *, hydrating: bool) -> SnapshotId | None:
    """Return the base to compare the disk with: with LOST any good snapshot is right, and its own newest is nearest.

    While a disk hydrates, the blocks that its image lacks are taken for equal to the base (S55). They are its source's:
    its own snapshots may be of the image before this one, for a disk can be initialized.
    """
    own = [] if hydrating else snapshots.of_disk(conn, row.id, [SnapshotState.NORMAL])
    source = None if row.source_snapshot_id is None else snapshots.get(conn, row.source_snapshot_id)
    good = [one for one in own if not one.suspect and one.size_gib <= row.size_gib]
    if good:
        return good[-1].id
    if source is not None and source.state is SnapshotState.NORMAL and not source.suspect:
        return source.id if source.account_id == row.account_id else None  # S342
    return None

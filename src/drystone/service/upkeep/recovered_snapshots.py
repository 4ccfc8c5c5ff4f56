"""Recovery of snapshots: their rows, their groups, and the ghosts between them, from what the store shows."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from drystone.catalog import sessions, shares, snapshot_groups, snapshots
from drystone.codec.manifest import ANCESTRY_MAX, Manifest
from drystone.codec.sealed import SEALED_FORMAT
from drystone.domain.disk import UNNAMED
from drystone.domain.disk_types import GIB
from drystone.domain.ids import SnapshotId
from drystone.domain.snapshot import Snapshot, SnapshotRecord, SnapshotState
from drystone.domain.snapshot_group import SnapshotGroup, SnapshotGroupState
from drystone.domain.times import TIME_S_MAX
from drystone.service.transactions import Change
from drystone.service.upkeep.evidence import Evidence, Report, seconds
from drystone.snapstore.inventory import FoundSnapshot, Inventory
from drystone.snapstore.manifests import made_of

UNKNOWN = SnapshotId("unknown")
"""Parent of a snapshot whose real one nothing names any more: with it in a tree, everybody is a neighbour (L4)."""


def restore_snapshots(change: Change, evidence: Evidence, report: Report) -> None:
    """Make the rows say what snapshots the store has, their groups, and the places of those that are gone."""
    # S341: a catalog that is older than its store may have shares that were taken back since.
    shares.remove_all(change.conn)
    _snapshots(change, evidence, report)
    _groups(change, evidence.inventory)
    _ghosts(change, evidence.inventory)


def _snapshots(change: Change, evidence: Evidence, report: Report) -> None:
    inventory = evidence.inventory
    whole = {one.manifest.snapshot: one for one in inventory.snapshots}
    for row in snapshots.everything(change.conn):
        found = whole.pop(row.id, None)
        if row.state is SnapshotState.GHOST:
            if found is not None and row.manifest is None:
                # An earlier recovery knew it by name only; what was missing is there now.
                snapshots.delete(change.conn, row.id)
                whole[row.id] = found
            elif found is not None:
                report.left_alone.append(f"{found.object}: the catalog says that {row.id} was deleted")
            continue
        if found is not None:
            _keep(change, row, found, report)
        elif (
            row.manifest is not None
            and row.manifest in inventory.manifests
            and made_of(row.manifest) not in inventory.tombstones
        ):
            # Its manifest is there, and not all that it shows: it stays, so that what is left of it stays.
            snapshots.compare_and_set(
                change.conn,
                row.id,
                expected={},
                values={"suspect": True, "rolling_back": False, "modified_at": change.at},
            )
            report.snapshots_suspect.append(row.id)
        else:
            _bury(change, row, inventory.maps, report)
    writers = sessions.get_many(change.conn, [found.manifest.session for found in whole.values()])
    deleted = {(row.snapshot_id, row.id) for row in writers.values() if row.deleted_at is not None}
    for found in whole.values():
        if (found.manifest.snapshot, found.manifest.session) in deleted:
            # S209: a write that was given up landed after its snapshot had been deleted.
            report.left_alone.append(f"{found.object}: the catalog says that {found.manifest.snapshot} was deleted")
            continue
        snapshots.insert(change.conn, _imported(found, evidence.zone, at=change.at))
        report.snapshots_imported.append(found.manifest.snapshot)


def _keep(change: Change, row: Snapshot, found: FoundSnapshot, report: Report) -> None:
    """Bring a row up to date whose snapshot is whole in the store; one that was being made has been made."""
    values: dict[str, object] = {"rolling_back": False, **_attribute_values(found, row.deadline_at)}
    values["suspect"] = row.suspect or values.get("suspect", False)
    # A whole one that the row names is found: another is found only if that one is gone, or not whole.
    if row.manifest != found.object:
        state = SnapshotState.NORMAL if row.state is SnapshotState.CREATING else row.state
        made = _imported(found, row.zone, at=change.at)
        values |= {
            "state": state, "percent": 100, "session_id": made.session_id, "manifest": made.manifest,
            "delta_map": made.delta_map, "maps": made.maps, "record": made.record, "stored_bytes": made.stored_bytes,
            "parent_id": made.parent_id, "versions": {}, "modified_at": change.at,
        }  # fmt: skip
        report.snapshots_imported.append(row.id)
    snapshots.compare_and_set(change.conn, row.id, expected={"state": row.state}, values=values)


def _bury(change: Change, row: Snapshot, maps: frozenset[str], report: Report) -> None:
    """Let a snapshot go whose manifest is gone: it was deleted, or never made. Its place in the tree stays (L2)."""
    if row.state is SnapshotState.CREATING:
        snapshots.delete(change.conn, row.id)
        return
    own = row.delta_map if row.delta_map in maps else None
    snapshots.compare_and_set(
        change.conn, row.id, expected={},
        values={
            "state": SnapshotState.GHOST, "maps": (), "versions": {}, "delta_map": own, "rolling_back": False,
            "modified_at": change.at,
        },
    )  # fmt: skip
    report.snapshots_gone.append(row.id)


def _imported(found: FoundSnapshot, zone: str, *, at: float) -> Snapshot:
    manifest = found.manifest
    taken = manifest.record
    taken_at = seconds(manifest.taken_at)
    record = SnapshotRecord(
        tracking=taken.tracking, tracking_reason=taken.tracking_reason, read_bytes=taken.read_bytes,
        changed_bytes=taken.changed_bytes, stored_bytes=taken.stored_bytes, requests=taken.requests,
        freeze_ms=taken.freeze_ms, consistency=taken.consistency, taken_at=taken_at,
    )  # fmt: skip
    plain = Snapshot(
        id=manifest.snapshot, account_id=manifest.account, disk_id=manifest.disk, name=UNNAMED,
        state=SnapshotState.NORMAL, usage=manifest.disk_attributes.usage, percent=100,
        size_gib=max(1, -(-manifest.size_bytes // GIB)), created_at=taken_at, modified_at=at, zone=zone,
        parent_id=manifest.base,
        session_id=manifest.session, manifest=found.object, delta_map=manifest.maps[0].object,
        maps=tuple(part.object for part in manifest.maps), record=record, stored_bytes=taken.stored_bytes,
        encrypted=manifest.disk_attributes.encrypted,
    )  # fmt: skip
    return replace(plain, **_attribute_values(found, None))  # type: ignore[arg-type] # names and types of columns


def _attribute_values(found: FoundSnapshot, known: float | None) -> dict[str, object]:
    """Return what the object beside the manifest says: it is newer than a catalog from a backup (F5).

    Of a sealed store no deadline is believed that the catalog does not `know`: whoever has the bucket can put an older
    object back, which is rightly sealed, too. Such a snapshot is permanent until somebody chooses (S385).
    """
    attributes = found.attributes
    if attributes is None:
        return {}
    deadline = None if attributes.deadline is None else seconds(attributes.deadline) or TIME_S_MAX
    permanent = attributes.permanent
    if found.manifest.format == SEALED_FORMAT and deadline != known:
        deadline, permanent = None, True
    return {
        "name": attributes.name, "tags": attributes.tags, "suspect": attributes.suspect,
        "permanent": permanent, "deadline_at": deadline, "policy_id": attributes.policy, "slot": attributes.slot,
        "policy_order": attributes.policy_order, "backup_id": attributes.backup,
        **({} if attributes.group is None else {"group_id": attributes.group.id}),
    }  # fmt: skip


def _groups(change: Change, inventory: Inventory) -> None:
    """Add the groups that members name and that are not known: those that are left are of one instant still."""
    for found in inventory.snapshots:
        told = None if found.attributes is None else found.attributes.group
        if told is None or snapshot_groups.get(change.conn, told.id) is not None:
            continue
        group = SnapshotGroup(
            id=told.id, account_id=found.manifest.account, instance_id=told.instance, name=told.name, tags=told.tags,
            state=SnapshotGroupState.NORMAL, operation_id=change.ids.operation(), pause_ms=told.pause_ms,
            taken_at=told.taken_at, created_at=told.created_at, modified_at=change.at,
        )  # fmt: skip
        snapshot_groups.insert(change.conn, group)


def _ghosts(change: Change, inventory: Inventory) -> None:
    """Add the ancestors that manifests name and that are no snapshots any more, so that the tree is whole (L2)."""
    parents: dict[SnapshotId, SnapshotId | None] = {}
    owners: dict[SnapshotId, Manifest] = {}
    manifests = [one.manifest for one in inventory.snapshots]
    manifests += [one.manifest for one in inventory.left_alone if one.manifest is not None]
    for manifest in manifests:
        for child, parent in _edges(manifest):
            owners.setdefault(child, manifest)
            if parents.get(child, UNKNOWN) == UNKNOWN:
                parents[child] = parent
    for snapshot_id, parent in sorted(parents.items()):
        if snapshots.get(change.conn, snapshot_id) is None:
            manifest = owners[snapshot_id]
            ghost = Snapshot(
                id=snapshot_id, account_id=manifest.account, disk_id=manifest.disk, state=SnapshotState.GHOST,
                size_gib=1, created_at=seconds(manifest.taken_at), modified_at=change.at, zone="", parent_id=parent,
            )  # fmt: skip
            snapshots.insert(change.conn, ghost)


def _edges(manifest: Manifest) -> Iterable[tuple[SnapshotId, SnapshotId | None]]:
    """Yield (child, parent) along a manifest's ancestry; where it was cut off the parent is unknown."""
    way: list[SnapshotId | None] = [manifest.snapshot, *manifest.ancestry]
    way.append(UNKNOWN if len(manifest.ancestry) >= ANCESTRY_MAX else None)
    for child, parent in pairwise(way):
        if child is not None:
            yield child, parent

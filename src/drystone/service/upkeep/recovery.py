"""Bringing a catalog and its store together again: after the catalog was lost, or put back from a backup (L11, F5).

One transaction turns whatever rows there are, none at all included, into rows that say what the store and the host's
disks say. It destroys nothing: what is not in the store any more becomes a ghost, what the catalog lacks is imported,
tracking of every disk is LOST, and nothing expires or is collected before a person confirms.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise

from sqlalchemy import Connection, delete, select

from drystone.catalog import (
    accounts,
    disks,
    extent_maps,
    meta,
    operations,
    packs,
    quiesce_profiles,
    sessions,
    snapshot_groups,
    snapshots,
)
from drystone.catalog.schema import pack_rewrite, snapshot_group
from drystone.catalog.schema import session as session_table
from drystone.codec.manifest import ANCESTRY_MAX, Manifest
from drystone.domain import tracking as algebra
from drystone.domain.account import AccessKey, Account
from drystone.domain.disk import UNNAMED, Disk, DiskState
from drystone.domain.disk_types import DISK_TYPES, GIB
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, IdSource, SessionId, SnapshotId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.payloads import SessionPayload
from drystone.domain.session import Pack, Session, SessionState
from drystone.domain.snapshot import Snapshot, SnapshotRecord, SnapshotState
from drystone.domain.snapshot_group import SnapshotGroup, SnapshotGroupState
from drystone.domain.times import TIME_S_MAX, clamped
from drystone.engine.descriptions import FoundDisk, UnfitDisk
from drystone.service.rows.tracking import tracking_columns, tracking_of
from drystone.service.upkeep import collection, epoch
from drystone.service.upkeep.confirmation import hold
from drystone.snapstore.account_names import AccountName
from drystone.snapstore.inventory import FoundSnapshot, Inventory

UNKNOWN = SnapshotId("unknown")
"""Parent of a snapshot whose real one nothing names any more: with it in a tree, everybody is a neighbour (L4)."""
_KEPT_STATES = frozenset({DiskState.UNATTACHED, DiskState.ATTACHED, DiskState.TORECYCLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found outside the catalog.

    Attributes:
        inventory: The store's content.
        accounts: The accounts' names, as the store has them.
        found: The disks of this host.
        zone: Zone of what says none itself.
        store_epoch: The epoch that the store says.
        reason: What is being done, for the rows that say so.
    """

    inventory: Inventory
    accounts: tuple[AccountName, ...]
    found: tuple[FoundDisk | UnfitDisk, ...]
    zone: str
    store_epoch: int
    reason: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What was done, for the person who must confirm it."""

    snapshots_imported: list[str] = field(default_factory=list)
    snapshots_gone: list[str] = field(default_factory=list)
    snapshots_suspect: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    disks_adopted: list[str] = field(default_factory=list)
    disks_gone: list[str] = field(default_factory=list)
    disks_unfit: list[str] = field(default_factory=list)
    operations_given_up: list[str] = field(default_factory=list)
    accounts_made: list[str] = field(default_factory=list)
    keys: list[AccessKey] = field(default_factory=list)
    """Of the accounts that were made; their secrets are shown once."""


def reconcile(conn: Connection, evidence: Evidence, *, ids: IdSource, at: float) -> Report:
    """Make the rows say what was found, in the caller's transaction (S51); may be repeated.

    Args:
        conn: A transaction; its catalog may be empty.
        evidence: What was found.
        ids: Makes ids and keys.
        at: Now.
    """
    report = Report()
    report.left_alone = [f"{one.object}: {one.reason}" for one in evidence.inventory.left_alone]
    report.foreign = list(evidence.inventory.foreign)
    _accounts(conn, evidence, report, ids=ids, at=at)
    deleting = _give_up_operations(conn, evidence, report, at=at)
    _sessions(conn, evidence.inventory, at=at)
    _snapshots(conn, evidence, report, at=at)
    _groups(conn, evidence.inventory, ids=ids, at=at)
    _ghosts(conn, evidence.inventory, at=at)
    _packs(conn, evidence.inventory)
    _disks(conn, evidence, report, ids=ids, at=at)
    for snapshot_id in deleting:
        _delete_again(conn, snapshot_id, ids=ids, at=at)
    meta.put(conn, epoch.KEY, str(max(epoch.current(conn), evidence.store_epoch) + 1))
    hold(conn, evidence.reason)
    return report


def given_up(conn: Connection) -> frozenset[SessionId]:
    """Return the sessions that this catalog knows never to have committed: what they wrote is no snapshot (I1, L6)."""
    return frozenset(session.id for session in collection.garbage(conn))


# --- accounts -------------------------------------------------------------------------------------------------------


def _accounts(conn: Connection, evidence: Evidence, report: Report, *, ids: IdSource, at: float) -> None:
    """Make an account for each id that a manifest or a disk names; one of them administers if nobody does."""
    first_seen: dict[AccountId, float] = {}
    for one in evidence.inventory.snapshots:
        seen = _seconds(one.manifest.taken_at)
        first_seen[one.manifest.account] = min(seen, first_seen.get(one.manifest.account, seen))
    for disk in evidence.found:
        if isinstance(disk, FoundDisk):
            seen, account_id = disk.description.created_at, disk.description.account_id
            first_seen[account_id] = min(seen, first_seen.get(account_id, seen))
    named = {account.id: account for account in evidence.accounts}
    for name in evidence.accounts:
        first_seen.setdefault(name.id, at)
    earliest = min(first_seen.values(), default=at)
    present, _ = accounts.find(conn, offset=0, limit=1)
    administered = bool(present)
    wanted = sorted(first_seen, key=lambda one: (not (one in named and named[one].admin), first_seen[one], one))
    for number, account_id in enumerate(wanted):
        if accounts.get(conn, account_id) is not None:
            continue
        known = named.get(account_id)
        called = known.name if known is not None else f"recovered-{account_id}"
        if accounts.by_name(conn, called) is not None:
            called = f"{called}-{account_id}"
        # Without the store's own list the one that was there first administers, as it did when it was made.
        admin = not administered and (number == 0 if known is None else known.admin)
        # The oldest account is the one whose key the server writes to its credentials.
        since = earliest - 1 if admin else first_seen[account_id]
        account = Account(id=account_id, name=called, admin=admin, created_at=since)
        accounts.insert(conn, account)
        key = AccessKey(secret_id=ids.secret_id(), secret_key=ids.secret_key(), account_id=account_id, created_at=at)
        accounts.insert_key(conn, key)
        report.accounts_made.append(f"{account_id} {called}" + (" (administrator)" if admin else ""))
        report.keys.append(key)


# --- operations and sessions ----------------------------------------------------------------------------------------


def _give_up_operations(conn: Connection, evidence: Evidence, report: Report, *, at: float) -> list[SnapshotId]:
    """End what was under way when the catalog was copied: doing it now would do it to a later state.

    Returns:
        The snapshots that were being deleted.
    """
    deleting: list[SnapshotId] = []
    for operation in operations.unfinished(conn):
        if operation.kind is OperationKind.DELETE_SNAPSHOT and operation.snapshot_id is not None:
            deleting.append(operation.snapshot_id)
        operations.update(
            conn, operation.id, updated_at=at, state=OperationState.FAILED, error_code=Refusal.INTERNAL,
            error=f"given up: {evidence.reason}",
        )  # fmt: skip
        report.operations_given_up.append(f"{operation.id} {operation.kind.value}")
    conn.execute(delete(pack_rewrite))
    conn.execute(delete(snapshot_group).where(snapshot_group.c.state == SnapshotGroupState.CREATING))
    return deleting


def _delete_again(conn: Connection, snapshot_id: SnapshotId, *, ids: IdSource, at: float) -> None:
    """Take up a deletion again that somebody asked for, from its beginning; it waits for the confirmation."""
    row = snapshots.get(conn, snapshot_id)
    if row is not None and row.state is SnapshotState.DELETING:
        operation = Operation(
            id=ids.operation(), kind=OperationKind.DELETE_SNAPSHOT, account_id=row.account_id, disk_id=row.disk_id,
            snapshot_id=row.id, phase="DELETING", created_at=at, updated_at=at,
        )  # fmt: skip
        operations.insert(conn, operation)


def _sessions(conn: Connection, inventory: Inventory, *, at: float) -> None:
    """Adopt every session, unless this catalog knows that it never committed and nothing is made of it (L7, L11)."""
    for session in sessions.in_state(conn, SessionState.OPEN):
        # What it wrote may be part of later snapshots by now, also if it cannot be seen: a FENCED one would be swept.
        sessions.end(conn, session.id, SessionState.ADOPTED, at=at)
    known_garbage = given_up(conn)
    for session in sessions.in_state(conn, SessionState.FENCED):
        if session.id in inventory.in_use or session.id not in known_garbage:
            sessions.adopt_fenced(conn, session.id)
    known = set(conn.execute(select(session_table.c.id)).scalars())
    for session_id in sorted(inventory.sessions - known):
        sessions.adopt(
            conn, Session(id=session_id, kind="adopted", state=SessionState.ADOPTED, created_at=at, ended_at=at)
        )


# --- snapshots ------------------------------------------------------------------------------------------------------


def _snapshots(conn: Connection, evidence: Evidence, report: Report, *, at: float) -> None:
    inventory = evidence.inventory
    whole = {one.manifest.snapshot: one for one in inventory.snapshots}
    for row in snapshots.everything(conn):
        found = whole.pop(row.id, None)
        if row.state is SnapshotState.GHOST:
            if found is not None and row.manifest is None:
                # An earlier recovery knew it by name only; what was missing is there now.
                snapshots.delete(conn, row.id)
                whole[row.id] = found
            elif found is not None:
                report.left_alone.append(f"{found.object}: the catalog says that {row.id} was deleted")
            continue
        if found is not None:
            _keep(conn, row, found, report, at=at)
        elif row.manifest is not None and row.manifest in inventory.manifests:
            # Its manifest is there, and not all that it shows: it stays, so that what is left of it stays.
            snapshots.compare_and_set(
                conn, row.id, expected={}, values={"suspect": True, "rolling_back": False, "modified_at": at}
            )
            report.snapshots_suspect.append(row.id)
        else:
            _bury(conn, row, inventory.maps, report, at=at)
    for found in whole.values():
        snapshots.insert(conn, _imported(found, evidence.zone, at=at))
        report.snapshots_imported.append(found.manifest.snapshot)


def _keep(conn: Connection, row: Snapshot, found: FoundSnapshot, report: Report, *, at: float) -> None:
    """Bring a row up to date whose snapshot is whole in the store; one that was being made has been made."""
    values: dict[str, object] = {"rolling_back": False, **_attribute_values(found)}
    values["suspect"] = row.suspect or values.get("suspect", False)
    # A whole one that the row names is found: another is found only if that one is gone, or not whole.
    if row.manifest != found.object:
        state = SnapshotState.NORMAL if row.state is SnapshotState.CREATING else row.state
        made = _imported(found, row.zone, at=at)
        values |= {
            "state": state, "percent": 100, "session_id": made.session_id, "manifest": made.manifest,
            "delta_map": made.delta_map, "maps": made.maps, "record": made.record, "stored_bytes": made.stored_bytes,
            "parent_id": made.parent_id, "modified_at": at,
        }  # fmt: skip
        report.snapshots_imported.append(row.id)
    snapshots.compare_and_set(conn, row.id, expected={"state": row.state}, values=values)


def _bury(conn: Connection, row: Snapshot, maps: frozenset[str], report: Report, *, at: float) -> None:
    """Let a snapshot go whose manifest is gone: it was deleted, or never made. Its place in the tree stays (L2)."""
    if row.state is SnapshotState.CREATING:
        snapshots.delete(conn, row.id)
        return
    own = row.delta_map if row.delta_map in maps else None
    snapshots.compare_and_set(
        conn, row.id, expected={},
        values={
            "state": SnapshotState.GHOST, "maps": (), "delta_map": own, "rolling_back": False, "modified_at": at,
        },
    )  # fmt: skip
    report.snapshots_gone.append(row.id)


def _imported(found: FoundSnapshot, zone: str, *, at: float) -> Snapshot:
    manifest = found.manifest
    taken = manifest.record
    taken_at = _seconds(manifest.taken_at)
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
    )  # fmt: skip
    return replace(plain, **_attribute_values(found))  # type: ignore[arg-type] # names and types of columns


def _attribute_values(found: FoundSnapshot) -> dict[str, object]:
    """Return what the object beside the manifest says: it is newer than a catalog from a backup (F5)."""
    attributes = found.attributes
    if attributes is None:
        return {}
    return {
        "name": attributes.name, "tags": attributes.tags, "suspect": attributes.suspect,
        "permanent": attributes.permanent,
        "deadline_at": None if attributes.deadline is None else _seconds(attributes.deadline) or TIME_S_MAX,
        **({} if attributes.group is None else {"group_id": attributes.group.id}),
    }  # fmt: skip


def _groups(conn: Connection, inventory: Inventory, *, ids: IdSource, at: float) -> None:
    """Add the groups that members name and that are not known: those that are left are of one instant still."""
    for found in inventory.snapshots:
        told = None if found.attributes is None else found.attributes.group
        if told is None or snapshot_groups.get(conn, told.id) is not None:
            continue
        group = SnapshotGroup(
            id=told.id, account_id=found.manifest.account, instance_id=told.instance, name=told.name, tags=told.tags,
            state=SnapshotGroupState.NORMAL, operation_id=ids.operation(), pause_ms=told.pause_ms,
            taken_at=told.taken_at, created_at=told.created_at, modified_at=at,
        )  # fmt: skip
        snapshot_groups.insert(conn, group)


def _ghosts(conn: Connection, inventory: Inventory, *, at: float) -> None:
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
        if snapshots.get(conn, snapshot_id) is None:
            manifest = owners[snapshot_id]
            ghost = Snapshot(
                id=snapshot_id, account_id=manifest.account, disk_id=manifest.disk, state=SnapshotState.GHOST,
                size_gib=1, created_at=_seconds(manifest.taken_at), modified_at=at, zone="", parent_id=parent,
            )  # fmt: skip
            snapshots.insert(conn, ghost)


def _edges(manifest: Manifest) -> Iterable[tuple[SnapshotId, SnapshotId | None]]:
    """Yield (child, parent) along a manifest's ancestry; where it was cut off the parent is unknown."""
    way: list[SnapshotId | None] = [manifest.snapshot, *manifest.ancestry]
    way.append(UNKNOWN if len(manifest.ancestry) >= ANCESTRY_MAX else None)
    for child, parent in pairwise(way):
        if child is not None:
            yield child, parent


# --- packs ----------------------------------------------------------------------------------------------------------


def _packs(conn: Connection, inventory: Inventory) -> None:
    """Make the rows say which object holds each pack. What no snapshot names is a candidate, no more (L7)."""
    fenced = {session.id for session in sessions.in_state(conn, SessionState.FENCED)}
    # Of a deleted snapshot's session no manifest tells the disk; a catalog from a backup may.
    writers = {row.session_id: (row.disk_id, row.account_id) for row in packs.everything(conn)}
    writers |= {one.manifest.session: (one.manifest.disk, one.manifest.account) for one in inventory.snapshots}
    for row in packs.everything(conn):
        packs.delete(conn, row.id)
    for found in inventory.packs:
        if found.ref.session in fenced:
            continue  # Garbage by its name: the sweep removes it.
        blocks = max(found.blocks, 1)
        pack = Pack(
            id=found.ref.pack, session_id=found.ref.session, object=found.object, bytes=found.bytes, blocks=blocks,
            dead_blocks=0 if found.named else blocks, dead_bytes=0 if found.named else found.bytes,
        )  # fmt: skip
        disk_id, account_id = writers.get(pack.session_id, (None, None))
        pack = replace(pack, disk_id=disk_id, account_id=account_id)
        packs.insert(conn, pack)


# --- disks ----------------------------------------------------------------------------------------------------------


def _disks(conn: Connection, evidence: Evidence, report: Report, *, ids: IdSource, at: float) -> None:
    found = {one.description.id: one for one in evidence.found if isinstance(one, FoundDisk)}
    unfit = {one.directory.name: one.reason for one in evidence.found if isinstance(one, UnfitDisk)}
    for row in disks.everything(conn):
        extent_maps.keep_only(conn, row.id, ())
        here = found.pop(row.id, None)
        if here is None and row.id not in unfit:
            disks.delete(conn, row.id)
            report.disks_gone.append(row.id)
        elif here is not None and (why := _unfit(here)) is None:
            _restore_disk(conn, row, here, evidence.reason, ids=ids, at=at)
        elif row.state is DiskState.CREATING:
            # Nobody has seen it yet, and nobody goes on with it.
            disks.delete(conn, row.id)
            report.disks_unfit.append(f"{row.id}: it was still being made")
            unfit.pop(row.id, None)
        else:
            # The row stays as the only thing that says what the directory is; nothing is believed of its content.
            reason = unfit.get(row.id) or why
            _set_disk(conn, row, evidence.reason, error_prompt=f"{evidence.reason}: {reason}"[:500])
            report.disks_unfit.append(f"{row.id}: {reason}")
            unfit.pop(row.id, None)
    report.disks_unfit += [f"{name}: {reason}" for name, reason in unfit.items()]
    for here in found.values():
        why = _unfit(here)
        if why is not None:
            report.disks_unfit.append(f"{here.description.id}: {why}")
            continue
        _adopt_disk(conn, here, evidence.reason, ids=ids, at=at)
        report.disks_adopted.append(here.description.id)


def _unfit(here: FoundDisk) -> str | None:
    if here.size_bytes == 0 or here.size_bytes % GIB:
        return f"its image has {here.size_bytes} bytes, which is no number of GiB"
    if here.description.type not in DISK_TYPES:
        return f"its type {here.description.type!r} is unknown"
    return None


def _adopt_disk(conn: Connection, here: FoundDisk, reason: str, *, ids: IdSource, at: float) -> None:
    told = here.description
    row = Disk(
        id=told.id, account_id=told.account_id, state=DiskState.UNATTACHED, size_gib=here.size_bytes // GIB,
        type=told.type, zone=told.zone, usage=told.usage, source_snapshot_id=told.source_snapshot_id,
        created_at=told.created_at, tracking_reason=reason, charge_type=told.charge_type,
    )  # fmt: skip
    disks.insert(conn, row)
    _restore_disk(conn, row, here, reason, ids=ids, at=at)


def _restore_disk(conn: Connection, row: Disk, here: FoundDisk, reason: str, *, ids: IdSource, at: float) -> None:
    """Bring a disk's row up to what lies beside its image, and take up its hydration again."""
    told = here.description
    values: dict[str, object] = {
        "name": told.name, "size_gib": here.size_bytes // GIB, "type": told.type, "project_id": told.project_id,
        "portable": told.portable, "delete_with_instance": told.delete_with_instance, "tags": told.tags,
        "delete_snapshot": told.delete_snapshot, "throughput_performance": told.throughput_performance,
        "burst_performance": told.burst_performance, "source_snapshot_id": told.source_snapshot_id,
        "hydrating": False, "hydration_percent": 100,
    }  # fmt: skip
    if row.state in {DiskState.ROLLBACKING, DiskState.DUMPING}:
        values["error_prompt"] = f"its content was being replaced ({row.state.value}) when the catalog was copied"
    if here.hydrating and told.source_snapshot_id is not None:
        try:
            values |= _hydrate(conn, row, told.source_snapshot_id, ids=ids, at=at)
        except RefusalError as error:
            values["error_prompt"] = f"what was not read from its source is lost: {error.message}"[:500]
    _set_disk(conn, replace(row, size_gib=here.size_bytes // GIB), reason, **values)
    if here.quiesce is not None and here.quiesce.account_id == row.account_id:
        quiesce_profiles.put(conn, here.quiesce)


def _hydrate(conn: Connection, row: Disk, source: SnapshotId, *, ids: IdSource, at: float) -> dict[str, object]:
    session = Session(id=ids.session(), kind="hydrate", created_at=at)
    sessions.open(conn, session, [source])
    operation = Operation(
        id=ids.operation(), kind=OperationKind.HYDRATE, account_id=row.account_id, disk_id=row.id, snapshot_id=source,
        phase="COPYING", payload=SessionPayload(session=session.id), created_at=at, updated_at=at,
    )  # fmt: skip
    operations.insert(conn, operation)
    return {"hydrating": True, "hydration_percent": 0}


def _set_disk(conn: Connection, row: Disk, reason: str, **values: object) -> None:
    """Set a disk's row: at rest, tracking LOST, its newest good snapshot as the base of the next one (A11, A6)."""
    state = row.state
    if state not in _KEPT_STATES:
        state = DiskState.UNATTACHED if row.instance_id is None else DiskState.ATTACHED
    hydrating = bool(values.get("hydrating", row.hydrating))
    tracking = replace(algebra.lost(tracking_of(row)), base=_newest(conn, row, hydrating=hydrating))
    settled = {
        "state": state, "nbd_socket": None, "device": None, "rollback_percent": 0,
        **tracking_columns(tracking, reason=reason),
    }  # fmt: skip
    disks.compare_and_set(conn, row.id, expected={}, values={**settled, **values})


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
        return source.id
    return None


def _seconds(text: str) -> float:
    """Return an ISO 8601 time as seconds since the epoch; one that cannot be read is the epoch's begin."""
    try:
        return clamped(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return 0.0

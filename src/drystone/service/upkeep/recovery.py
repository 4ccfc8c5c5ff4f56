"""Bringing a catalog and its store together again: after the catalog was lost, or put back from a backup (L11, F5).

One transaction turns whatever rows there are, none at all included, into rows that say what the store and the host's
disks say. It destroys nothing: what is not in the store any more becomes a ghost, what the catalog lacks is imported,
tracking of every disk is LOST, and nothing expires or is collected before a person confirms.
"""

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection, delete, select

from drystone.catalog import accounts, operations, packs, sessions, snapshots
from drystone.catalog.schema import pack_rewrite, snapshot_group
from drystone.catalog.schema import session as session_table
from drystone.domain.account import AccessKey, Account
from drystone.domain.errors import Refusal
from drystone.domain.ids import AccountId, SessionId, SnapshotId
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.session import Pack, Session, SessionState
from drystone.domain.snapshot import SnapshotState
from drystone.domain.snapshot_group import SnapshotGroupState
from drystone.service.transactions import Change
from drystone.service.upkeep import collection, epoch, late_writes
from drystone.service.upkeep.confirmation import hold
from drystone.service.upkeep.evidence import Evidence, Report
from drystone.service.upkeep.recovered_disks import restore_disks
from drystone.service.upkeep.recovered_snapshots import restore_snapshots
from drystone.snapstore.inventory import Inventory


def reconcile(change: Change, evidence: Evidence, keys: Mapping[AccountId, AccessKey]) -> Report:
    """Make the rows say what was found, in the caller's transaction (S51); may be repeated.

    Args:
        change: A transaction; its catalog may be empty.
        evidence: What was found.
        keys: A new key for each account that may have to be made (`Evidence.new_keys`).
    """
    report = Report()
    report.left_alone = [f"{one.object}: {one.reason}" for one in evidence.inventory.left_alone]
    report.foreign = list(evidence.inventory.foreign)
    _accounts(change, evidence, keys, report)
    deleting = _give_up_operations(change, evidence, report)
    _sessions(change, evidence.inventory)
    restore_snapshots(change, evidence, report)
    _packs(change, evidence.inventory)
    restore_disks(change, evidence, report)
    # S343: without their disk they may be all that is left of it, and nobody would see them.
    snapshots.free_backups_without_disk(change.conn)
    for snapshot_id in deleting:
        _delete_again(change, snapshot_id)
    epoch.begin_anew(change.conn, change.ids.hex128(), above=evidence.store_epoch)
    hold(change.conn, evidence.reason)
    return report


def given_up(conn: Connection) -> frozenset[SessionId]:
    """Return the sessions that this catalog knows never to have committed: what they wrote is no snapshot (I1, L6).

    It knows that of those that it has swept. One that was fenced and never swept was maybe fenced by a catalog that had
    lost the store already: another state of it may have committed the snapshot (S61).
    """
    return frozenset(session.id for session in collection.garbage(conn) if session.deleted_at is not None)


def _accounts(change: Change, evidence: Evidence, keys: Mapping[AccountId, AccessKey], report: Report) -> None:
    """Make an account for each id that a manifest or a disk names; one of them administers if nobody does."""
    first_seen = evidence.first_seen()
    named = {account.id: account for account in evidence.accounts}
    for name in evidence.accounts:
        first_seen.setdefault(name.id, change.at)
    earliest = min(first_seen.values(), default=change.at)
    present, _ = accounts.find(change.conn, offset=0, limit=1)
    administered = bool(present)
    wanted = sorted(first_seen, key=lambda one: (not (one in named and named[one].admin), first_seen[one], one))
    for number, account_id in enumerate(wanted):
        if accounts.get(change.conn, account_id) is not None:
            continue
        known = named.get(account_id)
        called = known.name if known is not None else f"recovered-{account_id}"
        if accounts.by_name(change.conn, called) is not None:
            called = f"{called}-{account_id}"
        # Without the store's own list the one that was there first administers, as it did when it was made.
        admin = not administered and (number == 0 if known is None else known.admin)
        # The oldest account is the one whose key the server writes to its credentials.
        since = earliest - 1 if admin else first_seen[account_id]
        account = Account(id=account_id, name=called, admin=admin, created_at=since)
        accounts.insert(change.conn, account)
        accounts.insert_key(change.conn, keys[account_id])
        report.accounts_made.append(f"{account_id} {called}" + (" (administrator)" if admin else ""))
        report.keys.append(keys[account_id])


def _give_up_operations(change: Change, evidence: Evidence, report: Report) -> list[SnapshotId]:
    """End what was under way when the catalog was copied: doing it now would do it to a later state.

    Returns:
        The snapshots that were being deleted.
    """
    deleting: list[SnapshotId] = []
    for operation in operations.unfinished(change.conn):
        if operation.kind is OperationKind.DELETE_SNAPSHOT and operation.snapshot_id is not None:
            deleting.append(operation.snapshot_id)
        operations.update(
            change.conn, operation.id, updated_at=change.at, state=OperationState.FAILED, error_code=Refusal.INTERNAL,
            error=f"given up: {evidence.reason}",
        )  # fmt: skip
        report.operations_given_up.append(f"{operation.id} {operation.kind.value}")
    change.conn.execute(delete(pack_rewrite))
    change.conn.execute(delete(snapshot_group).where(snapshot_group.c.state == SnapshotGroupState.CREATING))
    return deleting


def _delete_again(change: Change, snapshot_id: SnapshotId) -> None:
    """Take up a deletion again that somebody asked for, from its beginning; it waits for the confirmation."""
    row = snapshots.get(change.conn, snapshot_id)
    if row is not None and row.state is SnapshotState.DELETING:
        change.begin(
            OperationKind.DELETE_SNAPSHOT, account_id=row.account_id, request_id="", disk_id=row.disk_id,
            snapshot_id=row.id, phase="DELETING",
        )  # fmt: skip


def _sessions(change: Change, inventory: Inventory) -> None:
    """Adopt every session, unless this catalog knows that it never committed and nothing is made of it (L7, L11)."""
    for session in sessions.in_state(change.conn, SessionState.OPEN):
        # What it wrote may be part of later snapshots by now, also if it cannot be seen: a FENCED one would be swept.
        sessions.end(change.conn, session.id, SessionState.ADOPTED, at=change.at)
    known_garbage = given_up(change.conn)
    for session in sessions.in_state(change.conn, SessionState.FENCED):
        if session.id in inventory.in_use or session.id not in known_garbage:
            sessions.adopt_fenced(change.conn, session.id)
    known = set(change.conn.execute(select(session_table.c.id)).scalars())
    made = {one.manifest.session: one.manifest.snapshot for one in inventory.snapshots}
    for session_id in sorted(inventory.sessions - known):
        row = Session(
            id=session_id, kind="adopted", state=SessionState.ADOPTED, created_at=change.at, ended_at=change.at,
            snapshot_id=made.get(session_id),
        )  # fmt: skip
        sessions.adopt(change.conn, row)
    late_writes.adopt(change, inventory.tombstones)


def _packs(change: Change, inventory: Inventory) -> None:
    """Make the rows say which object holds each pack. What no snapshot names is a candidate, no more (L7)."""
    fenced = {session.id for session in sessions.in_state(change.conn, SessionState.FENCED)}
    # Of a deleted snapshot's session no manifest tells the disk; a catalog from a backup may.
    writers = {row.session_id: (row.disk_id, row.account_id) for row in packs.everything(change.conn)}
    writers |= {one.manifest.session: (one.manifest.disk, one.manifest.account) for one in inventory.snapshots}
    versions = {row.object: row.version for row in packs.everything(change.conn)}
    for row in packs.everything(change.conn):
        packs.delete(change.conn, row.id)
    for found in inventory.packs:
        if found.ref.session in fenced:
            continue  # Garbage by its name: the sweep removes it.
        blocks = max(found.blocks, 1)
        pack = Pack(
            id=found.ref.pack, session_id=found.ref.session, object=found.object, bytes=found.bytes, blocks=blocks,
            dead_blocks=0 if found.named else blocks, dead_bytes=0 if found.named else found.bytes,
            version=versions.get(found.object),
        )  # fmt: skip
        disk_id, account_id = writers.get(pack.session_id, (None, None))
        pack = replace(pack, disk_id=disk_id, account_id=account_id)
        packs.insert(change.conn, pack)

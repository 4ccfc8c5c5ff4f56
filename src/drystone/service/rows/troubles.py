"""Troubles that rows show for as long as they last, and what is no trouble any more because its subject is gone."""

from collections.abc import Iterator

from sqlalchemy import Connection

from drystone.catalog import damages, disks, events, meta, operations, snapshots
from drystone.domain.event import Event, EventKind, Facts, Lasting, Trouble, folded
from drystone.domain.ids import AccountId
from drystone.domain.operation import OperationKind
from drystone.service.rows.events import end, settle
from drystone.service.transactions import Change

HELD = "held"
"""Key of the row of `meta` that says why nothing expires and nothing is collected; absent when nothing is held."""
OF_ROWS = frozenset({
    EventKind.SNAPSHOT_DAMAGED, EventKind.SNAPSHOT_SUSPECT, EventKind.OBJECT_DAMAGED, EventKind.TRACKING_LOST,
    EventKind.OPERATION_STUCK, EventKind.STORE_HELD,
})  # fmt: skip
_OF_SUBJECTS = frozenset({
    EventKind.SNAPSHOT_FAILED, EventKind.CONSISTENCY_REDUCED, EventKind.OPERATION_FAILED, EventKind.PROOF_FAILED,
    EventKind.TRACKING_WRONG, EventKind.DISK_UNFIT, EventKind.RUN_FAILED, EventKind.RUN_SKIPPED,
})  # fmt: skip
"""Noted where they happen; what they are about may go."""


STUCK_ATTEMPTS = 5
"""An operation that was begun so often, and failed each time, needs somebody: about a minute has passed."""
_REPLACING = frozenset({OperationKind.ROLLBACK, OperationKind.INITIALIZE})
"""While they run, tracking is LOST on purpose: it is good again when they end."""
_GIVEN_UP = frozenset({OperationKind.SNAPSHOT, OperationKind.SNAPSHOT_GROUP})


def lasting(conn: Connection) -> Lasting:
    """Return the troubles that rows show now."""
    return folded(_lasting(conn))


def settle_rows(change: Change) -> None:
    """Make the events the same as what rows show: for transactions that find damage, or find it gone."""
    settle(change, OF_ROWS, lasting(change.conn))


def gone(conn: Connection) -> list[Event]:
    """Return the events whose disk or snapshot is no longer there."""
    told = events.all_unresolved(conn, _OF_SUBJECTS)
    there = {
        "disk-": disks.visible(conn, [event.subject_id for event in told]),
        "snap-": snapshots.visible(conn, [event.subject_id for event in told]),
    }
    return [event for event in told if event.subject_id not in there.get(event.subject_id[:5], {event.subject_id})]


def end_gone(change: Change) -> None:
    """End those."""
    for event in gone(change.conn):
        end(change, event.trouble)


def _lasting(conn: Connection) -> Iterator[tuple[Trouble, Facts]]:
    for row in snapshots.doubtful(conn):
        kind = EventKind.SNAPSHOT_DAMAGED if row.damaged else EventKind.SNAPSHOT_SUSPECT
        trouble = Trouble(kind=kind, account_id=AccountId(row.account_id), subject_id=row.id)
        yield trouble, Facts(disk_id=row.disk_id)
    for name, reason, count in damages.objects(conn):
        yield (
            Trouble(kind=EventKind.OBJECT_DAMAGED, subject_id=name),
            Facts(object=name, reason=reason, snapshots=count),
        )
    unfinished = operations.unfinished(conn)
    replaced = {one.disk_id for one in unfinished if one.kind in _REPLACING}
    for disk in disks.lost(conn):
        if disk.base_snapshot_id is not None and disk.state.visible and disk.id not in replaced:
            trouble = Trouble(kind=EventKind.TRACKING_LOST, account_id=disk.account_id, subject_id=disk.id)
            yield trouble, Facts(reason=disk.tracking_reason, disk_id=disk.id)
    for one in unfinished:
        # What merely waits has no code; a snapshot can always be given up; a moment's trouble is none.
        if one.error_code and not one.is_cancelled and one.attempts >= STUCK_ATTEMPTS and one.kind not in _GIVEN_UP:
            trouble = Trouble(kind=EventKind.OPERATION_STUCK, account_id=one.account_id, subject_id=one.id)
            yield trouble, Facts(reason=one.error, operation_kind=one.kind.value, disk_id=one.disk_id)
    why = meta.get(conn, HELD)
    if why is not None:
        yield Trouble(kind=EventKind.STORE_HELD), Facts(reason=why)

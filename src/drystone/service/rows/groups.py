"""A group's operation and those of its members, as rows.

S40: a member is made NORMAL only in the transaction that makes all members NORMAL, and that transaction expects every
member FROZEN. So whoever fails one member fails the group: its operation finds that out and fails the others.
"""

from sqlalchemy import Connection

from drystone.catalog import operations, snapshot_groups
from drystone.domain.errors import Refusal
from drystone.domain.ids import SnapshotGroupId
from drystone.domain.operation import Operation, OperationState
from drystone.domain.payloads import GroupPayload, SnapshotPayload
from drystone.domain.settling import Phase
from drystone.service.rows import endings
from drystone.service.transactions import Change

_GIVEN_UP_FROM = frozenset({Phase.FREEZING.value, Phase.FROZEN.value, Phase.SPOOLED.value})


def group_of(leader: Operation) -> SnapshotGroupId:
    """Return the group that an operation makes."""
    return leader.payload_as(GroupPayload).group


def members_of(conn: Connection, leader: Operation) -> list[Operation]:
    """Return the operations of all members, as they are now, in order."""
    return list(operations.get_many(conn, leader.payload_as(GroupPayload).members).values())


def give_group_up(change: Change, leader: Operation, *, code: str, message: str) -> bool:
    """Record that no member will commit; their operations are settled next.

    Returns:
        False if the group is NORMAL already: then nothing has changed.
    """
    now = operations.get(change.conn, leader.id)
    assert now is not None
    if now.phase == Phase.COMMITTED:
        return False
    members = members_of(change.conn, leader)
    # The reason that one member was given up for is the reason of all.
    broken = [reason for member in members if (reason := member.payload_as(SnapshotPayload).break_reason)]
    failed = [member.failure for member in members if member.failure]
    reason = now.failure or next(iter([*broken, *failed]), message)
    values = {"error_code": now.error_code or code, "error": reason or "unknown"}
    for member in members:
        if member.state is OperationState.RUNNING and member.phase in _GIVEN_UP_FROM:
            # S34: whoever settles it makes it FAILING.
            operations.update(change.conn, member.id, updated_at=change.at, **values)
    operations.update(change.conn, leader.id, updated_at=change.at, phase=Phase.FAILING.value, **values)
    return True


def end_failed_group(change: Change, leader: Operation) -> bool:
    """Let a group that will never be NORMAL disappear, once all its members have.

    Returns:
        Whether they had; otherwise nothing has changed.
    """
    if any(member.state is OperationState.RUNNING for member in members_of(change.conn, leader)):
        return False
    now = operations.get(change.conn, leader.id)
    assert now is not None
    snapshot_groups.delete(change.conn, group_of(leader))
    endings.failed(change, leader, code=now.error_code or Refusal.INTERNAL, message=now.error)
    return True

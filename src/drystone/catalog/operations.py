"""Long jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, func, or_, select
from sqlalchemy import delete as delete_from

from drystone.catalog.rows import Rows
from drystone.catalog.schema import operation, operation_step
from drystone.domain.errors import Refusal
from drystone.domain.ids import AccountId, DiskId, OperationId, SnapshotId
from drystone.domain.operation import PAYLOADS, Operation, OperationKind, OperationState, OperationStep
from drystone.domain.payloads import Payload


class _Operations(Rows[Operation]):
    """Rows whose payload is of the type that their kind says."""

    def value(self, row: Row[Any]) -> Operation:
        fields = dict(zip(self._names, row, strict=False))
        return Operation(**{**fields, "payload": _payload(fields["kind"], fields["state"], fields["payload"])})


def _payload(kind: OperationKind, state: OperationState, text: str) -> Payload:
    try:
        return msgspec.json.decode(text, type=PAYLOADS[kind])
    except msgspec.ValidationError:
        # Nobody goes on with what has ended; an old version may have kept less of it.
        if state is OperationState.RUNNING:
            raise
        return Payload()


_rows = _Operations(operation, Operation)

insert = _rows.insert
get = _rows.get
get_many = _rows.get_many
compare_and_set = _rows.compare_and_set
delete = _rows.delete


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationSelection:
    """Operations of one account that meet every condition: each is a tuple of values, any of which will do."""

    account_id: AccountId
    ids: tuple[tuple[OperationId, ...], ...] = ()
    resources: tuple[tuple[str, ...], ...] = ()
    """Ids of disks, snapshots or instances."""
    states: tuple[tuple[str, ...], ...] = ()
    kinds: tuple[tuple[str, ...], ...] = ()
    offset: int = 0
    limit: int = 20


def update(conn: Connection, operation_id: OperationId, *, updated_at: float, **values: object) -> bool:
    """Set columns of a RUNNING operation; return whether it was RUNNING, otherwise nothing has changed."""
    return _rows.compare_and_set(
        conn,
        operation_id,
        expected={"state": OperationState.RUNNING},
        values={**values, "updated_at": updated_at},
    )


def unfinished(conn: Connection) -> list[Operation]:
    """Return the RUNNING operations, oldest first."""
    query = select(operation).where(operation.c.state == OperationState.RUNNING)
    return _rows.all(conn, query.order_by(operation.c.created_at, operation.c.id))


def running_on_disk(conn: Connection, disk_id: DiskId) -> list[Operation]:
    """Return the RUNNING operations of a disk, oldest first."""
    query = select(operation).where(operation.c.disk_id == disk_id, operation.c.state == OperationState.RUNNING)
    return _rows.all(conn, query.order_by(operation.c.created_at, operation.c.id))


def takes_snapshot(conn: Connection, snapshot_id: SnapshotId) -> Operation | None:
    """Return the operation that takes or took a snapshot; None if it is long ago."""
    query = select(operation).where(
        operation.c.snapshot_id == snapshot_id, operation.c.kind == OperationKind.SNAPSHOT
    )  # fmt: skip
    found = _rows.all(conn, query.order_by(operation.c.created_at.desc()).limit(1))
    return found[0] if found else None


def running_on_disks(conn: Connection, disk_ids: Sequence[str], kind: OperationKind) -> list[Operation]:
    """Return the RUNNING operations of one kind of any of these disks, oldest first."""
    query = select(operation).where(
        operation.c.disk_id.in_(list(disk_ids)), operation.c.kind == kind, operation.c.state == OperationState.RUNNING
    )
    return _rows.all(conn, query.order_by(operation.c.created_at, operation.c.id))


def any_running_outside_phase(conn: Connection, disk_ids: Sequence[str], kind: OperationKind, phase: str) -> bool:
    """Return whether a RUNNING operation of one kind of any of these disks is in another phase; reads no row."""
    query = select(operation.c.id).where(
        operation.c.disk_id.in_(list(disk_ids)), operation.c.kind == kind, operation.c.state == OperationState.RUNNING,
        operation.c.phase != phase,
    )  # fmt: skip
    return conn.execute(query.limit(1)).first() is not None


def running_of_account(conn: Connection, account_id: AccountId, kind: OperationKind) -> list[Operation]:
    """Return the RUNNING operations of one kind of an account, oldest first."""
    query = select(operation).where(
        operation.c.state == OperationState.RUNNING, operation.c.account_id == account_id, operation.c.kind == kind
    )
    return _rows.all(conn, query.order_by(operation.c.created_at, operation.c.id))


def find(conn: Connection, selection: OperationSelection) -> tuple[list[Operation], int]:
    """Return a page of the operations that meet a selection, newest first, and the number of all that do."""
    wanted = [operation.c.account_id == selection.account_id]
    wanted += [operation.c.id.in_(list(ids)) for ids in selection.ids]
    wanted += [_on_any(resources) for resources in selection.resources]
    wanted += [operation.c.state.in_(list(states)) for states in selection.states]
    wanted += [operation.c.kind.in_(list(kinds)) for kinds in selection.kinds]
    total: int = conn.execute(select(func.count()).select_from(operation).where(*wanted)).scalar_one()
    page = select(operation).where(*wanted).order_by(operation.c.created_at.desc(), operation.c.id.desc())
    return _rows.all(conn, page.offset(selection.offset).limit(selection.limit)), total


def steps(conn: Connection, operation_id: OperationId) -> list[OperationStep]:
    """Return what an operation did so far, the oldest that is kept first."""
    columns = [operation_step.c[name] for name in OperationStep.__dataclass_fields__]
    query = select(*columns).where(operation_step.c.operation_id == operation_id).order_by(operation_step.c.id)
    return [OperationStep(**row._mapping) for row in conn.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name


def failed_snapshots(conn: Connection, account_id: AccountId) -> list[Operation]:
    """Return the operations of an account whose snapshot failed and was not cancelled, oldest first."""
    query = select(operation).where(
        operation.c.account_id == account_id, operation.c.kind == OperationKind.SNAPSHOT,
        operation.c.state == OperationState.FAILED, operation.c.error_code != Refusal.CANCELLED,
    )  # fmt: skip
    return _rows.all(conn, query.order_by(operation.c.created_at, operation.c.id))


def prune(conn: Connection, before: float, limit: int) -> int:
    """Remove up to `limit` operations that ended before this time; return how many.

    Those of members stay while a group's operation runs: it looks at how they ended.
    """
    groups = select(func.min(operation.c.created_at)).where(
        operation.c.state == OperationState.RUNNING, operation.c.kind == OperationKind.SNAPSHOT_GROUP
    )
    oldest: float | None = conn.execute(groups).scalar_one()
    before = before if oldest is None else min(before, oldest)
    old = (
        select(operation.c.id)
        .where(operation.c.state != OperationState.RUNNING, operation.c.updated_at < before)
        .order_by(operation.c.updated_at)
        .limit(limit)
    )
    return conn.execute(delete_from(operation).where(operation.c.id.in_(old))).rowcount


def newest_ended_at(conn: Connection, count: int) -> float | None:
    """Return when the operation ended after which `count` others did; None if there are fewer."""
    query = select(operation.c.updated_at).order_by(operation.c.updated_at.desc()).offset(count).limit(1)
    at: float | None = conn.execute(query).scalar_one_or_none()
    return at


def _on_any(resources: Sequence[str]) -> ColumnElement[bool]:
    names = list(resources)
    return or_(operation.c.disk_id.in_(names), operation.c.snapshot_id.in_(names), operation.c.instance_id.in_(names))

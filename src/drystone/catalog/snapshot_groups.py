"""Snapshot groups. Their members are rows of `snapshots` that name them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from drystone.catalog.rows import Rows
from drystone.catalog.schema import VISIBLE_SNAPSHOT, snapshot, snapshot_group
from drystone.domain.ids import AccountId, SnapshotGroupId
from drystone.domain.snapshot_group import SnapshotGroup, SnapshotGroupState

_rows = Rows(snapshot_group, SnapshotGroup)

insert = _rows.insert
get = _rows.get
compare_and_set = _rows.compare_and_set
delete = _rows.delete


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotGroupSelection:
    """Groups of one account that meet every condition: each is a tuple of values, any of which will do."""

    account_id: AccountId
    ids: tuple[tuple[str, ...], ...] = ()
    names: tuple[tuple[str, ...], ...] = ()
    states: tuple[tuple[tuple[SnapshotGroupState, bool], ...], ...] = ()
    """(state, whether a disk is being rolled back to a member)."""
    snapshot_ids: tuple[tuple[str, ...], ...] = ()
    """A member has one of these ids."""
    offset: int = 0
    limit: int = 20


def find(conn: Connection, selection: SnapshotGroupSelection) -> tuple[list[SnapshotGroup], int]:
    """Return a page of the groups that meet a selection, newest first, and the number of all that do."""
    table = snapshot_group.c
    wanted = [table.account_id == selection.account_id]
    wanted += [table.id.in_(list(ids)) for ids in selection.ids]
    wanted += [table.name.in_(list(names)) for names in selection.names]
    wanted += [or_(*map(_shows, states)) for states in selection.states]
    wanted += [_has_member(snapshot.c.id.in_(list(ids))) for ids in selection.snapshot_ids]
    total: int = conn.execute(select(func.count()).select_from(snapshot_group).where(*wanted)).scalar_one()
    page = select(snapshot_group).where(*wanted).order_by(table.created_at.desc(), table.id.desc())
    return _rows.all(conn, page.offset(selection.offset).limit(selection.limit)), total


def forget_if_empty(conn: Connection, group_id: SnapshotGroupId) -> bool:
    """Remove the row of a group that no snapshot that clients see belongs to; return whether it went."""
    members = select(snapshot.c.id).where(VISIBLE_SNAPSHOT, snapshot.c.group_id == group_id).limit(1)
    return conn.execute(members).first() is None and _rows.delete(conn, group_id)


def _shows(pair: tuple[SnapshotGroupState, bool]) -> ColumnElement[bool]:
    state, rolling_back = pair
    rolling = _has_member(snapshot.c.rolling_back)
    return and_(snapshot_group.c.state == state, rolling if rolling_back else ~rolling)


def _has_member(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    members: Sequence[ColumnElement[bool]] = (snapshot.c.group_id == snapshot_group.c.id, condition)
    return exists(select(1).select_from(snapshot).where(VISIBLE_SNAPSHOT, *members).correlate(snapshot_group))

"""Snapshots, living ones and ghosts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, exists, false, func, not_, or_, select, update

from drystone.catalog import accounts
from drystone.catalog.dialect import total
from drystone.catalog.rows import IDS_PER_STATEMENT, Rows
from drystone.catalog.schema import DOUBTFUL_SNAPSHOT, VISIBLE_SNAPSHOT, disk, snapshot, snapshot_share
from drystone.catalog.selection import Selection, conditions, searched
from drystone.domain.ids import AccountId, DiskBackupId, DiskId, PolicyId, SessionId, SnapshotGroupId, SnapshotId
from drystone.domain.snapshot import Snapshot, SnapshotState

_rows = Rows(snapshot, Snapshot)

insert = _rows.insert
get = _rows.get
get_many = _rows.get_many
compare_and_set = _rows.compare_and_set
delete = _rows.delete
of_select = _rows.all


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskTotals:
    """Totals over the snapshots of one disk."""

    count: int = 0
    """CREATING and NORMAL."""
    stored_bytes: int = 0
    """Of the NORMAL ones."""


# Made once: describing one disk spends more on making this statement than on running it.
_TOTALS = (
    select(
        snapshot.c.disk_id,
        func.count(),
        total(snapshot.c.stored_bytes, where=snapshot.c.state == SnapshotState.NORMAL),
    )
    .where(
        snapshot.c.disk_id.in_(bindparam("disk_ids", expanding=True)),
        snapshot.c.state.in_([SnapshotState.CREATING, SnapshotState.NORMAL]),
        snapshot.c.backup_id.is_(None),
    )
    .group_by(snapshot.c.disk_id)
)


def find(conn: Connection, selection: Selection) -> tuple[list[Snapshot], int]:
    """Return a page of the snapshots that clients see and that meet a selection, and the number of all that do.

    Without conditions the number is the one that `account_usage` keeps, and the page is a range of a partial index:
    both cost the same whatever the number of snapshots.
    """
    assert not selection.instance_names, "snapshots are not attached"
    wanted = conditions(snapshot, selection)
    wanted += [or_(false(), *map(_shows, pairs)) for pairs in selection.snapshot_states]
    wanted += searched(snapshot, selection, snapshot.c.disk_id, disk)
    kept = (lambda: accounts.snapshot_count(conn, selection.account_id)) if selection.everything else None
    return _rows.page(conn, selection, VISIBLE_SNAPSHOT, wanted, kept)


def totals(conn: Connection, disk_ids: Collection[DiskId]) -> dict[DiskId, DiskTotals]:
    """Return the totals of each of these disks."""
    wanted = list(dict.fromkeys(disk_ids))
    found: dict[DiskId, DiskTotals] = {}
    for at in range(0, len(wanted), IDS_PER_STATEMENT):
        for row in conn.execute(_TOTALS, {"disk_ids": wanted[at : at + IDS_PER_STATEMENT]}):
            found[row[0]] = DiskTotals(count=row[1], stored_bytes=row[2])
    return {disk_id: found.get(disk_id, DiskTotals()) for disk_id in wanted}


def of_disk(conn: Connection, disk_id: DiskId, states: Collection[SnapshotState]) -> list[Snapshot]:
    """Return a disk's snapshots in any of these states, oldest first."""
    query = select(snapshot).where(snapshot.c.disk_id == disk_id, snapshot.c.state.in_(list(states)))
    return _rows.all(conn, query.order_by(snapshot.c.created_at, snapshot.c.id))


def of_policy(conn: Connection, policy_id: PolicyId, disk_id: DiskId | None = None) -> list[Snapshot]:
    """Return the snapshots that clients see and a policy had taken, of one disk or of all, the newest first."""
    query = select(snapshot).where(VISIBLE_SNAPSHOT, snapshot.c.policy_id == policy_id)
    if disk_id is not None:
        query = query.where(snapshot.c.disk_id == disk_id)
    return _rows.all(conn, query.order_by(snapshot.c.policy_order.desc(), snapshot.c.id))


def of_policy_and_disks(conn: Connection, policy_id: PolicyId) -> list[Snapshot]:
    """Return the snapshots that clients see, that a policy had taken, and whose disk is there."""
    query = select(snapshot).where(VISIBLE_SNAPSHOT, snapshot.c.policy_id == policy_id, _disk_there())
    return _rows.all(conn, query.order_by(snapshot.c.policy_order, snapshot.c.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyMark:
    """What changes when a snapshot of a policy may have to go."""

    count: int
    newest: int
    due: int
    """Whose deadline has come."""
    doubtful: int
    permanent: int


def policy_marks(conn: Connection, until: float) -> dict[PolicyId, PolicyMark]:
    """Return what the snapshots of each policy look like that are of disks that are there."""
    columns = snapshot.c

    def number(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count().filter(condition)

    query = (
        select(
            columns.policy_id, func.count(), func.coalesce(func.max(columns.policy_order), 0),
            number(columns.deadline_at <= until), number(or_(columns.suspect, columns.damaged)),
            number(columns.permanent),
        )
        .where(columns.policy_id.is_not(None), columns.state == SnapshotState.NORMAL, _disk_there())
        .group_by(columns.policy_id)
    )  # fmt: skip
    return {
        row[0]: PolicyMark(count=row[1], newest=row[2], due=row[3], doubtful=row[4], permanent=row[5])
        for row in conn.execute(query)
    }


def _disk_there() -> ColumnElement[bool]:
    return select(disk.c.id).where(disk.c.id == snapshot.c.disk_id).exists()


def policy_order(conn: Connection, policy_id: PolicyId, disk_id: DiskId) -> int:
    """Return the highest place of a policy's snapshots of a disk, whatever became of them; 0 if there was none."""
    query = select(func.max(snapshot.c.policy_order)).where(
        snapshot.c.policy_id == policy_id, snapshot.c.disk_id == disk_id
    )  # fmt: skip
    return conn.execute(query).scalar_one() or 0


def backups(conn: Connection, disk_ids: Collection[DiskId]) -> dict[DiskId, list[Snapshot]]:
    """Return the backup points that clients see of each of these disks, oldest first."""
    found: dict[DiskId, list[Snapshot]] = {disk_id: [] for disk_id in disk_ids}
    query = select(snapshot).where(
        VISIBLE_SNAPSHOT, snapshot.c.backup_id.is_not(None), snapshot.c.disk_id.in_(list(found))
    )
    for point in _rows.all(conn, query.order_by(snapshot.c.created_at, snapshot.c.id)):
        found[point.disk_id].append(point)
    return found


def backup_counts(conn: Connection, disk_ids: Collection[DiskId]) -> dict[DiskId, int]:
    """Return how many backup points each of these disks has, those that are being created, too."""
    query = select(snapshot.c.disk_id, func.count()).where(
        VISIBLE_SNAPSHOT, snapshot.c.backup_id.is_not(None), snapshot.c.disk_id.in_(list(disk_ids))
    )
    found = {row[0]: row[1] for row in conn.execute(query.group_by(snapshot.c.disk_id))}
    return {disk_id: found.get(disk_id, 0) for disk_id in disk_ids}


def of_backup(conn: Connection, backup_id: DiskBackupId) -> Snapshot | None:
    """Return the snapshot that is a backup point, if there is one."""
    found = _rows.all(conn, select(snapshot).where(snapshot.c.backup_id == backup_id))
    return found[0] if found else None


def free_backups_without_disk(conn: Connection) -> int:
    """Make snapshots of the backup points whose disk is not there; return how many there were."""
    gone = ~exists(select(disk.c.id).where(disk.c.id == snapshot.c.disk_id))
    wanted = update(snapshot).where(snapshot.c.backup_id.is_not(None), gone).values(backup_id=None)
    return conn.execute(wanted).rowcount


def of_session(conn: Connection, session_id: SessionId) -> Snapshot | None:
    """Return the snapshot, or ghost, that a session wrote; None if no row says."""
    found = _rows.all(conn, select(snapshot).where(snapshot.c.session_id == session_id))
    return found[0] if len(found) == 1 else None


def of_groups(conn: Connection, group_ids: Collection[SnapshotGroupId]) -> dict[SnapshotGroupId, list[Snapshot]]:
    """Return the members that clients see of each of these groups, by id."""
    found: dict[SnapshotGroupId, list[Snapshot]] = {group_id: [] for group_id in group_ids}
    query = select(snapshot).where(VISIBLE_SNAPSHOT, snapshot.c.group_id.in_(list(group_ids)))
    for member in _rows.all(conn, query.order_by(snapshot.c.id)):
        assert member.group_id is not None
        found[member.group_id].append(member)
    return found


def in_states(conn: Connection, states: Collection[SnapshotState]) -> list[Snapshot]:
    """Return the snapshots of all accounts in any of these states, oldest first."""
    query = select(snapshot).where(snapshot.c.state.in_(list(states)))
    return _rows.all(conn, query.order_by(snapshot.c.created_at, snapshot.c.id))


def count_all(conn: Connection) -> int:
    """Return how many snapshots clients see, over all accounts."""
    query = select(func.count()).select_from(snapshot).where(VISIBLE_SNAPSHOT, snapshot.c.backup_id.is_(None))
    counted: int = conn.execute(query).scalar_one()
    return counted


def family(conn: Connection, snapshot_id: SnapshotId) -> list[Snapshot]:
    """Return the whole tree that this snapshot is in, ghosts included (L2), oldest first; empty if it is unknown.

    A parent that has no row ends the way up.
    """
    up = select(snapshot.c.id, snapshot.c.parent_id).where(snapshot.c.id == snapshot_id).cte("up", recursive=True)
    parent = snapshot.alias("parent")
    up = up.union(select(parent.c.id, parent.c.parent_id).where(parent.c.id == up.c.parent_id))
    known = snapshot.alias("known")
    rootless = ~select(known.c.id).where(known.c.id == up.c.parent_id).exists()
    down = select(up.c.id).where(rootless).cte("down", recursive=True)
    child = snapshot.alias("child")
    down = down.union(select(child.c.id).where(child.c.parent_id == down.c.id))
    query = select(snapshot).where(snapshot.c.id.in_(select(down.c.id)))
    return _rows.all(conn, query.order_by(snapshot.c.created_at, snapshot.c.id))


def leaf_ghosts(conn: Connection) -> list[Snapshot]:
    """Return the ghosts, of all accounts, that no row descends from."""
    child = snapshot.alias("child")
    childless = ~select(child.c.id).where(child.c.parent_id == snapshot.c.id).exists()
    return _rows.all(conn, select(snapshot).where(snapshot.c.state == SnapshotState.GHOST, childless))


def suspect(conn: Connection) -> list[Snapshot]:
    """Return the NORMAL snapshots that are suspect (A12), oldest first."""
    query = select(snapshot).where(snapshot.c.suspect, snapshot.c.state == SnapshotState.NORMAL)
    return _rows.all(conn, query.order_by(snapshot.c.created_at, snapshot.c.id))


def doubtful(conn: Connection) -> Sequence[Row[SnapshotId, AccountId, DiskId, bool]]:
    """Return id, account, disk and whether it is damaged of all NORMAL snapshots that are suspect or damaged."""
    columns = snapshot.c.id, snapshot.c.account_id, snapshot.c.disk_id, snapshot.c.damaged
    query = select(*columns).where(DOUBTFUL_SNAPSHOT, snapshot.c.state == SnapshotState.NORMAL)
    return conn.execute(query.order_by(snapshot.c.account_id, snapshot.c.created_at, snapshot.c.id)).all()


def visible(conn: Connection, snapshot_ids: Collection[str]) -> frozenset[str]:
    """Return which of these snapshots clients see."""
    query = select(snapshot.c.id).where(VISIBLE_SNAPSHOT, snapshot.c.id.in_(list(snapshot_ids)))
    return frozenset(conn.execute(query).scalars())


def everything(conn: Connection) -> list[Snapshot]:
    """Return all snapshots of any state, oldest first."""
    return _rows.all(conn, select(snapshot).order_by(snapshot.c.created_at, snapshot.c.id))


def accounts_due(conn: Connection, until: float) -> list[AccountId]:
    """Return the accounts of which `due` has anything, by id."""
    query = select(snapshot.c.account_id).where(*_due(until)).distinct().order_by(snapshot.c.account_id)
    return list(conn.execute(query).scalars())


def due(conn: Connection, account_id: AccountId, until: float, limit: int) -> list[Snapshot]:
    """Return up to `limit` of an account's NORMAL snapshots, not permanent, whose deadline has come, earliest first.

    One that a disk is rolled back to is not among them, nor one that is shared (S341).
    """
    query = select(snapshot).where(*_due(until), snapshot.c.account_id == account_id)
    return _rows.all(conn, query.order_by(snapshot.c.deadline_at, snapshot.c.id).limit(limit))


def _due(until: float) -> tuple[ColumnElement[bool], ...]:
    return (
        snapshot.c.deadline_at <= until,
        snapshot.c.permanent.is_(False),
        snapshot.c.state == SnapshotState.NORMAL,
        snapshot.c.rolling_back.is_(False),
        # What a policy had taken of a disk that is there goes by its retention (S320).
        or_(snapshot.c.policy_id.is_(None), ~_disk_there()),
        ~exists(select(snapshot_share.c.snapshot_id).where(snapshot_share.c.snapshot_id == snapshot.c.id)),
    )


def _shows(pair: tuple[SnapshotState, bool]) -> ColumnElement[bool]:
    state, rolling_back = pair
    return and_(snapshot.c.state == state, snapshot.c.rolling_back.is_(rolling_back))


def newest_good(conn: Connection, account_id: AccountId) -> dict[DiskId, Snapshot]:
    """Return of each disk of an account the newest NORMAL snapshot that is neither damaged nor suspect."""
    normal = snapshot.c.account_id == account_id, snapshot.c.state == SnapshotState.NORMAL
    good = *normal, not_(snapshot.c.suspect), not_(snapshot.c.damaged), snapshot.c.backup_id.is_(None)
    newest = select(snapshot.c.disk_id, func.max(snapshot.c.created_at).label("at")).where(*good)
    of_disk = newest.group_by(snapshot.c.disk_id).subquery()
    same = and_(snapshot.c.disk_id == of_disk.c.disk_id, snapshot.c.created_at == of_disk.c.at)
    query = select(snapshot).join(of_disk, same).where(*good).order_by(snapshot.c.id)
    return {row.disk_id: row for row in _rows.all(conn, query)}

"""What a scrub has to verify next, and how far it is."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from drystone.catalog import packs, snapshots
from drystone.catalog.packs import of_select as packs_of
from drystone.catalog.schema import damage, pack, session, snapshot
from drystone.catalog.snapshots import of_select as snapshots_of
from drystone.domain.clock import TOLERANCE_S
from drystone.domain.ids import PackId
from drystone.domain.session import Pack, PackState
from drystone.domain.snapshot import Snapshot, SnapshotState

DOUBTED = -1.0
"""`proven_at` of what somebody else could not read: due at once, also where nothing is due by the calendar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationTotals:
    """How far a scrub is. Times are seconds since the epoch."""

    packs: int
    packs_due: int
    oldest_at: float | None
    """When the pack that waits longest was verified, or written if it never was."""
    snapshots: int
    snapshots_due: int


def packs_due(conn: Connection, before: float, now: float, limit: int) -> list[Pack]:
    """Return packs that were neither verified nor written since `before`, the longest ago first.

    What is dated ahead of now was dated by a clock that was wrong, and is due (`domain.clock.recent`). Those that are
    known to be damaged are not among them: they are looked at in their own time.
    """
    since = _pack_since()
    query = _whole_packs().where(_waits(since, before, now)).order_by(since, pack.c.id).limit(limit)
    return packs_of(conn, query)


def snapshots_due(conn: Connection, before: float, now: float, limit: int) -> list[Snapshot]:
    """Return NORMAL snapshots whose manifest and maps were neither verified nor written since `before`."""
    since = func.coalesce(snapshot.c.proven_at, snapshot.c.created_at)
    query = select(snapshot).where(
        snapshot.c.state == SnapshotState.NORMAL, _waits(since, before, now), _undamaged_maps()
    )
    return snapshots_of(conn, query.order_by(since, snapshot.c.id).limit(limit))


def doubt(conn: Connection, doubtful_packs: Collection[PackId], doubtful_maps: Collection[str]) -> None:
    """Have packs, and the snapshots that list maps, verified anew: they could not be read by somebody else."""
    for pack_id in doubtful_packs:
        packs.compare_and_set(conn, pack_id, expected={}, values={"proven_at": DOUBTED})
    if not doubtful_maps:
        return
    for row in snapshots.in_states(conn, [SnapshotState.NORMAL]):
        if not set(doubtful_maps).isdisjoint(row.maps):
            snapshots.compare_and_set(conn, row.id, expected={}, values={"proven_at": DOUBTED})


def totals(conn: Connection, before: float, now: float) -> VerificationTotals:
    """Return how many packs and snapshots there are, and how many wait for that.

    What is damaged counts from when it was last looked at: whoever asked for a scrub waits for that look, too.
    """
    since = _pack_since()
    whole = _whole_packs().add_columns(since.label("since")).subquery()
    written, due, oldest = conn.execute(
        select(
            func.count(),
            func.count().filter(_waits(whole.c.since, before, now)),
            func.min(func.nullif(whole.c.since, DOUBTED)),
        ).select_from(whole)
    ).one()
    looked_at = func.min(damage.c.found_at).label("looked_at")
    live = select(pack.c.object).where(pack.c.state == PackState.LIVE)
    bad_packs = select(looked_at).where(damage.c.kind == "pack", damage.c.object.in_(live)).group_by(damage.c.object)
    bad_maps = select(looked_at).where(damage.c.kind != "pack").group_by(damage.c.snapshot_id)
    bad, bad_due = _count(conn, bad_packs, before, now)
    shown = func.coalesce(snapshot.c.proven_at, snapshot.c.created_at)
    shown_count, shown_due = conn.execute(
        select(func.count(), func.count().filter(_waits(shown, before, now), _undamaged_maps())).where(
            snapshot.c.state == SnapshotState.NORMAL
        )
    ).one()
    _, shown_bad_due = _count(conn, bad_maps, before, now)
    return VerificationTotals(
        packs=written + bad, packs_due=due + bad_due, oldest_at=oldest, snapshots=shown_count,
        snapshots_due=shown_due + shown_bad_due,
    )  # fmt: skip


def _count(conn: Connection, looked_at: Select[Any], before: float, now: float) -> tuple[int, int]:
    """Return how many damaged things there are, and how many of them were not looked at since `before`."""
    times = looked_at.subquery()
    row = conn.execute(
        select(func.count(), func.count().filter(_waits(times.c.looked_at, before, now))).select_from(times)
    ).one()
    return int(row[0]), int(row[1])


def _waits(since: ColumnElement[float], before: float, now: float) -> ColumnElement[bool]:
    return or_(since < before, since > now + TOLERANCE_S)


def _pack_since() -> ColumnElement[float]:
    return func.coalesce(pack.c.proven_at, session.c.created_at)


def _whole_packs() -> Select[Any]:
    return (
        select(pack)
        .join(session, session.c.id == pack.c.session_id)
        .where(pack.c.state == PackState.LIVE, pack.c.object.not_in(select(damage.c.object)))
    )


def _undamaged_maps() -> ColumnElement[bool]:
    return snapshot.c.id.not_in(select(damage.c.snapshot_id).where(damage.c.kind != "pack"))

"""Packs: which object holds each, who wrote it, and how much of it may be dead."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, or_, select, update

from drystone.catalog.dialect import Least, total
from drystone.catalog.rows import IDS_PER_STATEMENT, Rows
from drystone.catalog.schema import holding, pack
from drystone.domain.ids import PackId, SessionId
from drystone.domain.session import Pack, PackState

_rows = Rows(pack, Pack)

insert = _rows.insert
get = _rows.get
get_many = _rows.get_many
compare_and_set = _rows.compare_and_set
delete = _rows.delete
of_select = _rows.all

# Made once, as each of the statements that nearly every call runs: to make one costs more than to run it.
_HELD = select(holding.c.owner_id, holding.c.bytes).where(holding.c.owner_id.in_(bindparam("owners", expanding=True)))


def of_session(conn: Connection, session_id: SessionId) -> list[Pack]:
    """Return the packs that a session wrote, by id."""
    return _rows.all(conn, select(pack).where(pack.c.session_id == session_id).order_by(pack.c.id))


def any_of(conn: Connection, session_id: SessionId) -> bool:
    """Return whether there is a pack that a session wrote."""
    return conn.execute(select(pack.c.id).where(pack.c.session_id == session_id).limit(1)).first() is not None


def of_sessions(conn: Connection, session_ids: Collection[SessionId]) -> list[Pack]:
    """Return the packs that any of these sessions wrote, by id."""
    wanted = sorted(set(session_ids))
    found: list[Pack] = []
    for at in range(0, len(wanted), IDS_PER_STATEMENT):
        found += _rows.all(conn, select(pack).where(pack.c.session_id.in_(wanted[at : at + IDS_PER_STATEMENT])))
    return sorted(found, key=lambda one: one.id)


def held(conn: Connection, owners: Collection[str]) -> dict[str, int]:
    """Return the living bytes that packs hold of each of these disks or accounts, whichever snapshots see them.

    Exact but for what died in a pack since it was last counted: what a deletion leaves to nobody is taken off with it.
    """
    wanted = sorted(set(owners))
    found: dict[str, int] = {}
    for at in range(0, len(wanted), IDS_PER_STATEMENT):
        for row in conn.execute(_HELD, {"owners": wanted[at : at + IDS_PER_STATEMENT]}):
            found[row.owner_id] = row.bytes
    return {owner: max(0, found.get(owner, 0)) for owner in wanted}


def add_dead(conn: Connection, pack_id: PackId, blocks: int, stored_bytes: int) -> bool:
    """Add to what is thought dead of a pack; return whether there is such a pack."""
    statement = (
        update(pack)
        .where(pack.c.id == pack_id)
        .values(
            dead_blocks=Least(pack.c.blocks, pack.c.dead_blocks + blocks),
            dead_bytes=Least(pack.c.bytes, pack.c.dead_bytes + stored_bytes),
        )
    )
    return conn.execute(statement).rowcount == 1


def dying(conn: Connection, dead_share: float, limit: int) -> list[Pack]:
    """Return up to `limit` LIVE packs of which at least `dead_share` (0 to 1) is thought dead, the worst first.

    By bytes; packs of which every block is thought dead are among them whatever their bytes.
    """
    share = pack.c.dead_bytes * 1.0 / pack.c.bytes
    worth = or_(share >= dead_share, pack.c.dead_blocks >= pack.c.blocks)
    query = select(pack).where(pack.c.state == PackState.LIVE, pack.c.dead_blocks > 0, worth)
    return _rows.all(conn, query.order_by(share.desc(), pack.c.id).limit(limit))


def wholly_dead(conn: Connection, limit: int) -> list[Pack]:
    """Return up to `limit` LIVE packs of which every block is thought dead, by id."""
    query = select(pack).where(pack.c.state == PackState.LIVE, pack.c.dead_blocks >= pack.c.blocks)
    return _rows.all(conn, query.order_by(pack.c.id).limit(limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackTotals:
    """Sums over all packs."""

    count: int
    stored_bytes: int
    dead_bytes: int


def totals(conn: Connection, dead_share: float = 0.0) -> PackTotals:
    """Return the sums over the packs of which at least `dead_share` (0 to 1) of the bytes is thought dead."""
    query = select(func.count(), total(pack.c.bytes), total(pack.c.dead_bytes))
    row = conn.execute(query.where(pack.c.dead_bytes >= dead_share * pack.c.bytes)).one()
    return PackTotals(count=row[0], stored_bytes=row[1], dead_bytes=row[2])


def in_state(conn: Connection, state: PackState) -> list[Pack]:
    """Return the packs in a state, by id."""
    return _rows.all(conn, select(pack).where(pack.c.state == state).order_by(pack.c.id))


def everything(conn: Connection) -> list[Pack]:
    """Return all packs, by id."""
    return _rows.all(conn, select(pack).order_by(pack.c.id))


def with_objects(conn: Connection, names: Collection[str]) -> list[Pack]:
    """Return the LIVE packs whose object is one of `names`, by id."""
    query = select(pack).where(pack.c.object.in_(list(names)), pack.c.state == PackState.LIVE)
    return _rows.all(conn, query.order_by(pack.c.id))

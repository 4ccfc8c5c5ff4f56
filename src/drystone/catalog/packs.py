"""Packs: which object holds each, who wrote it, and how much of it may be dead."""

from sqlalchemy import Connection, func, select, update

from drystone.catalog.rows import Rows
from drystone.catalog.schema import pack
from drystone.domain.ids import PackId, SessionId
from drystone.domain.session import Pack, PackState

_rows = Rows(pack, Pack)

insert = _rows.insert
get = _rows.get
get_many = _rows.get_many
compare_and_set = _rows.compare_and_set
delete = _rows.delete


def of_session(conn: Connection, session_id: SessionId) -> list[Pack]:
    """Return the packs that a session wrote, by id."""
    return _rows.all(conn, select(pack).where(pack.c.session_id == session_id).order_by(pack.c.id))


def add_dead(conn: Connection, pack_id: PackId, blocks: int) -> bool:
    """Add to the number of blocks of a pack that are thought dead; return whether there is such a pack."""
    statement = (
        update(pack)
        .where(pack.c.id == pack_id)
        .values(dead_blocks=func.min(pack.c.blocks, pack.c.dead_blocks + blocks))
    )
    return conn.execute(statement).rowcount == 1


def dying(conn: Connection, dead_share: float, limit: int) -> list[Pack]:
    """Return up to `limit` LIVE packs of which at least `dead_share` (0 to 1) is thought dead, the worst first."""
    dead = pack.c.dead_blocks * 1.0 / pack.c.blocks
    query = select(pack).where(pack.c.state == PackState.LIVE, pack.c.dead_blocks > 0, dead >= dead_share)
    return _rows.all(conn, query.order_by(dead.desc(), pack.c.id).limit(limit))


def everything(conn: Connection) -> list[Pack]:
    """Return all packs, by id."""
    return _rows.all(conn, select(pack).order_by(pack.c.id))

"""Rewritings of packs: what was begun, what has been switched, what is still to be deleted (L8)."""

from sqlalchemy import Connection, select

from drystone.catalog.rows import Rows
from drystone.catalog.schema import pack_rewrite
from drystone.domain.pack_rewrite import PackRewrite, RewriteState

_rows = Rows(pack_rewrite, PackRewrite)

insert = _rows.insert
get = _rows.get
compare_and_set = _rows.compare_and_set
delete = _rows.delete


def in_state(conn: Connection, state: RewriteState) -> list[PackRewrite]:
    """Return the rewritings in a state, oldest first."""
    query = select(pack_rewrite).where(pack_rewrite.c.state == state)
    return _rows.all(conn, query.order_by(pack_rewrite.c.created_at, pack_rewrite.c.id))


def everything(conn: Connection) -> list[PackRewrite]:
    """Return all rewritings, oldest first."""
    return _rows.all(conn, select(pack_rewrite).order_by(pack_rewrite.c.created_at, pack_rewrite.c.id))

"""How much of each account has expired lately, and the last look at the clocks."""

from dataclasses import asdict

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from drystone.catalog import meta
from drystone.catalog.schema import disk, expiry_tally, operation, snapshot
from drystone.domain.clock import ClockState
from drystone.domain.expiry import Tally
from drystone.domain.ids import AccountId

CLOCK = "clock"
"""Key of `meta`."""


def tally(conn: Connection, account_id: AccountId) -> Tally | None:
    """Return an account's tally; None if nothing of it has ever expired."""
    columns = expiry_tally.c
    query = select(columns.began_at, columns.expired).where(columns.account_id == account_id)
    row = conn.execute(query).one_or_none()
    return None if row is None else Tally(began_at=row.began_at, expired=row.expired)


def put_tally(conn: Connection, account_id: AccountId, value: Tally) -> None:
    """Keep an account's tally in place of what was there."""
    known = update(expiry_tally).where(expiry_tally.c.account_id == account_id)
    if conn.execute(known.values(asdict(value))).rowcount == 0:
        conn.execute(insert(expiry_tally).values(account_id=account_id, **asdict(value)))


def clock(conn: Connection) -> ClockState | None:
    """Return what was remembered of the last look at the clocks; None at the first start of this version."""
    text = meta.get(conn, CLOCK)
    return None if text is None else msgspec.json.decode(text, type=ClockState)


def put_clock(conn: Connection, state: ClockState) -> None:
    """Remember a look at the clocks."""
    meta.put(conn, CLOCK, msgspec.json.encode(state).decode())


def newest_stamp(conn: Connection) -> float | None:
    """Return the latest time that any row was made or changed at: it was that late once. None if there is none."""
    columns = (disk.c.created_at, snapshot.c.created_at, operation.c.updated_at)
    found = [conn.execute(select(func.max(column))).scalar_one_or_none() for column in columns]
    return max((at for at in found if at is not None), default=None)

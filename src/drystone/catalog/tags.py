"""Tags: those that resources have, and those that were made by name.

A tag is a key with a value. An account knows each that a resource of its own has, and each that it made by name (S362).
"""

from collections.abc import Collection

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    Subquery,
    Table,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    true,
)

from drystone.catalog.dialect import JsonElements, json_text
from drystone.catalog.schema import VISIBLE_DISK, VISIBLE_SNAPSHOT, disk, snapshot, snapshot_group
from drystone.catalog.schema_tags import tag
from drystone.catalog.selection import Condition, Selection, conditions
from drystone.domain.ids import AccountId

Pair = tuple[str, str]
_HAVE_TAGS = ((disk, VISIBLE_DISK), (snapshot, VISIBLE_SNAPSHOT), (snapshot_group, true()))
_HAVE_NAMES = ((disk, VISIBLE_DISK), (snapshot, VISIBLE_SNAPSHOT))
"""In the order of the ids, which begin with `disk` and `snap`: a page of both goes on where the last one ended."""


def put(conn: Connection, account_id: AccountId, pair: Pair, at: float) -> None:
    """Make a tag by name that was not made yet."""
    key, value = pair
    conn.execute(insert(tag).values(account_id=account_id, key=key, value=value, created_at=at))


def drop(conn: Connection, account_id: AccountId, pair: Pair) -> bool:
    """Forget a tag that was made by name; return whether it was there."""
    return conn.execute(delete(tag).where(*_named(account_id, pair))).rowcount == 1


def made(conn: Connection, account_id: AccountId, pair: Pair) -> bool:
    """Tell whether a tag was made by name."""
    return conn.execute(select(tag.c.key).where(*_named(account_id, pair))).first() is not None


def counts(conn: Connection, account_id: AccountId, key: str) -> tuple[int, int]:
    """Return how many keys were made by name, not counting this one, and how many values this one has."""
    mine = tag.c.account_id == account_id
    keys = select(func.count(tag.c.key.distinct())).where(mine, tag.c.key != key)
    values = select(func.count()).select_from(tag).where(mine, tag.c.key == key)
    return conn.execute(keys).scalar_one(), conn.execute(values).scalar_one()


def in_use(conn: Connection, account_id: AccountId, pair: Pair) -> bool:
    """Tell whether a resource that clients see has this tag."""
    key, value = pair
    wanted = Selection(account_id=account_id, tags=((key, (value,)),))
    return any(
        conn.execute(
            select(table.c.id)
            .where(visible, table.c.account_id == account_id, *conditions(table, wanted))
            .limit(1)
        ).first()
        is not None
        for table, visible in _HAVE_TAGS
    )  # fmt: skip


def keys(conn: Connection, account_id: AccountId, *, offset: int, limit: int) -> tuple[list[str], int]:
    """Return a page of the keys that an account knows, in order, and the number of all."""
    known = _known(account_id).c.key
    page = select(known).distinct().order_by(known).offset(offset).limit(limit)
    total: int = conn.execute(select(func.count(known.distinct()))).scalar_one()
    return list(conn.execute(page).scalars()), total


def pairs(
    conn: Connection, account_id: AccountId, *, keys: Collection[str], after: Pair | None, offset: int, limit: int
) -> tuple[list[Pair], int]:
    """Return a page of the tags that an account knows, in order, and the number of all.

    Args:
        conn: A transaction.
        account_id: Whose.
        keys: Only those with one of these keys; none means any.
        after: Only those after this one.
        offset: Tags to leave out at the start.
        limit: The most to return.
    """
    known = _known(account_id)
    wanted: list[ColumnElement[bool]] = [known.c.key.in_(list(keys))] if keys else []
    if after is not None:
        key, value = after
        wanted.append(or_(known.c.key > key, and_(known.c.key == key, known.c.value > value)))
    page = select(known.c.key, known.c.value).where(*wanted).order_by(known.c.key, known.c.value)
    total: int = conn.execute(select(func.count()).select_from(known).where(*wanted)).scalar_one()
    return [(row.key, row.value) for row in conn.execute(page.offset(offset).limit(limit))], total


def tagged(conn: Connection, wanted: Selection, *, after: str) -> list[tuple[str, tuple[Pair, ...]]]:
    """Return a page of the disks and snapshots that have tags, by id, with all that each has.

    Args:
        conn: A transaction.
        wanted: Whose, which tags they must have, and how many at most.
        after: Only ids after this one.
    """
    found: list[tuple[str, tuple[Pair, ...]]] = []
    for table, visible in _HAVE_NAMES:
        having: list[Condition] = [visible, table.c.account_id == wanted.account_id, table.c.id > after]
        having += [table.c.tags != (), *conditions(table, wanted)]
        page = select(table.c.id, table.c.tags).where(*having).order_by(table.c.id).limit(wanted.limit - len(found))
        found += [(row.id, row.tags) for row in conn.execute(page)]
    return found


def _named(account_id: AccountId, pair: Pair) -> tuple[ColumnElement[bool], ...]:
    key, value = pair
    return tag.c.account_id == account_id, tag.c.key == key, tag.c.value == value


def _known(account_id: AccountId) -> Subquery:
    named = select(tag.c.key, tag.c.value).where(tag.c.account_id == account_id)
    every: CompoundSelect[tuple[str, str]] = named.union(*(_had(account_id, *one) for one in _HAVE_TAGS))
    return every.subquery("known")


def _had(account_id: AccountId, table: Table, visible: Condition) -> Select[str, str]:
    one = JsonElements(table.c.tags).table_valued("value", name="one")
    key, value = (json_text(one.c.value, place) for place in (0, 1))
    return (
        select(key.label("key"), value.label("value"))
        .select_from(table.join(one, true()))
        .where(visible, table.c.account_id == account_id)
    )

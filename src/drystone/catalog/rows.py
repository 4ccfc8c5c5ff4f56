"""One table's rows as frozen values: insert, get, compare-and-set, delete, each within the caller's transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    TextClause,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from drystone.catalog.columns import NAME_SET
from drystone.catalog.schema import meta
from drystone.catalog.selection import Condition, Selection, bound, statements

V = TypeVar("V")
HOST_ID = "host_id"
"""Key of `meta`, and a column: which host a row belongs to."""
IDS_PER_STATEMENT = 500
"""Ids of one `IN`: below every database's limit of bound values."""


class Rows(Generic[V]):
    """The rows of `table` as values of the dataclass `kind`, whose fields are exactly the columns.

    But for `host_id`, the last column of some tables, which nothing reads yet: it is filled in as a row is made.

    A compare-and-set expects each named column to have the value given. A set of plain values means *any of these*
    (for example of states); for a column whose value is itself a set it means that set.
    """

    def __init__(self, table: Table, kind: type[V]) -> None:
        names = [field.name for field in fields(kind)]  # type: ignore[arg-type] # V is a dataclass
        columns = [column.name for column in table.columns]
        self._made_with: Mapping[str, object] = {}
        if columns[-1] == HOST_ID:
            self._made_with = {columns.pop(): select(meta.c.value).where(meta.c.key == HOST_ID).scalar_subquery()}
        assert names == columns, f"{kind.__name__} is not a row of {table.name}"
        (key,) = table.primary_key.columns
        self._table = table
        self._kind = kind
        self._names = tuple(names)
        self._key: Column[Any] = key
        self._one = select(table).where(key == bindparam("row_key"))

    def insert(self, conn: Connection, value: V) -> None:
        """Add a row; a row of the same key is an `sqlalchemy.exc.IntegrityError`."""
        conn.execute(insert(self._table).values(self._columns(value)))

    def get(self, conn: Connection, key: str) -> V | None:
        """Return the row of this key, if there is one."""
        row = conn.execute(self._one, {"row_key": key}).one_or_none()
        return None if row is None else self.value(row)

    def get_many(self, conn: Connection, keys: Iterable[str]) -> dict[str, V]:
        """Return the rows of these keys that exist, by key, in the order of `keys`."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, V] = {}
        for at in range(0, len(wanted), IDS_PER_STATEMENT):
            query = select(self._table).where(self._key.in_(wanted[at : at + IDS_PER_STATEMENT]))
            for row in conn.execute(query):
                found[getattr(row, self._key.name)] = self.value(row)
        return {key: found[key] for key in wanted if key in found}

    def compare_and_set(
        self, conn: Connection, key: str, *, expected: Mapping[str, object], values: Mapping[str, object]
    ) -> bool:
        """Set columns of one row if it is as expected.

        Returns:
            Whether it was, and now has the values; otherwise nothing has changed (there may be no such row).
        """
        assert values, "nothing to set"
        matches = [self._matches(name, wanted) for name, wanted in expected.items()]
        statement = update(self._table).where(self._key == key, *matches).values(dict(values))
        return conn.execute(statement).rowcount == 1

    def delete(self, conn: Connection, key: str) -> bool:
        """Remove the row of this key; return whether there was one."""
        return conn.execute(delete(self._table).where(self._key == key)).rowcount == 1

    def all(self, conn: Connection, query: Select[Any]) -> list[V]:
        """Return the values of a select of this table's columns."""
        return [self.value(row) for row in conn.execute(query)]

    def page(
        self,
        conn: Connection,
        selection: Selection,
        visible: TextClause,
        wanted: Sequence[Condition],
        count: Callable[[], int] | None = None,
    ) -> tuple[list[V], int]:
        """Return the page of a selection of the `visible` rows that are as `wanted` too, and the number of all of them.

        They are counted (by `count`, if there is a quicker way) only if the page does not show how many there are.
        """
        page, counted = statements(self._table, visible, selection)
        if wanted:
            page, counted = page.where(*wanted), counted.where(*wanted)
        values = bound(selection)
        found = [self.value(row) for row in conn.execute(page, values)]
        if len(found) < selection.limit and (found or selection.offset == 0):
            return found, selection.offset + len(found)
        if count is not None:
            return found, count()
        total: int = conn.execute(counted, values).scalar_one()
        return found, total

    def value(self, row: Row[Any]) -> V:
        """Return the value of a row of all of this table's columns, in order."""
        # By position: a select of this table has its columns in order, and names cost three times as much. The column
        # of the host comes last, and is no field.
        return self._kind(**dict(zip(self._names, row, strict=False)))

    def _columns(self, value: V) -> dict[str, object]:
        return {**self._made_with, **{name: getattr(value, name) for name in self._names}}

    def _matches(self, name: str, wanted: object) -> ColumnElement[bool]:
        column = self._table.columns[name]
        if isinstance(wanted, (set, frozenset)) and column.type is not NAME_SET:
            return column.in_(list(wanted))
        return column == wanted

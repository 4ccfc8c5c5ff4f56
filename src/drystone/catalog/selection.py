"""What a describe call asks of a table: which rows, in which order, which page."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Table,
    TextClause,
    and_,
    bindparam,
    exists,
    false,
    func,
    or_,
    select,
    true,
)

from drystone.catalog.dialect import Contains, JsonElements, json_text
from drystone.catalog.schema import snapshot_share
from drystone.domain.ids import AccountId
from drystone.domain.snapshot import SnapshotState

Condition = ColumnElement[bool] | TextClause


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Rows of one account that meet every condition, in an order, a page of them.

    `any_of` names columns: each must have one of the values given with it (no values: no rows). `tag_keys`,
    `tag_values` and `tags` are conditions on tags: one of the tags has one of the keys, the values; one of the values
    under that key.
    """

    account_id: AccountId
    own: bool = True
    """Whether the account's own rows are meant."""
    shared: bool = False
    """For snapshots: whether those are meant that others share with the account."""
    backups: bool = False
    """For snapshots: whether backup points are meant, which are not seen as snapshots (S343)."""
    any_of: tuple[tuple[str, tuple[object, ...]], ...] = ()
    tag_keys: tuple[tuple[str, ...], ...] = ()
    tag_values: tuple[tuple[str, ...], ...] = ()
    tags: tuple[tuple[str, tuple[str, ...]], ...] = ()
    instance_names: tuple[tuple[str, ...], ...] = ()
    """For disks: the name of the instance that has it."""
    snapshot_states: tuple[tuple[tuple[SnapshotState, bool], ...], ...] = ()
    """For snapshots: (state, whether a disk is being rolled back to it)."""
    search: tuple[str, ...] = ()
    """Words in small letters: each is a part of the name, the id, a tag, or what the row belongs to."""
    order_by: str = "created_at"
    descending: bool = True
    offset: int = 0
    limit: int = 20

    @property
    def everything(self) -> bool:
        """Whether no condition is given besides the account."""
        given = (
            self.any_of,
            self.tag_keys,
            self.tag_values,
            self.tags,
            self.instance_names,
            self.snapshot_states,
            self.search,
            self.shared,
            self.backups,
            not self.own,
        )
        return not any(given)


def conditions(table: Table, selection: Selection) -> list[ColumnElement[bool]]:
    """Return the conditions of a selection on the tags of `table`."""
    wanted = [_tagged(table.c.tags, keys=keys) for keys in selection.tag_keys]
    wanted += [_tagged(table.c.tags, values=values) for values in selection.tag_values]
    wanted += [_tagged(table.c.tags, keys=(key,), values=values) for key, values in selection.tags]
    return wanted


def searched(table: Table, selection: Selection, owner: Column[Any], owners: Table) -> list[ColumnElement[bool]]:
    """Return the conditions of a search: `owner` is the id of what a row belongs to, which has a name in `owners`.

    Letters beyond ASCII are found only as they are written: databases know no others' small letters alike.
    """

    def has(word: str) -> ColumnElement[bool]:
        tag = JsonElements(table.c.tags).table_valued("value", name="tag")
        texts = [json_text(tag.c.value, place) for place in (0, 1)]
        tagged = exists(select(1).select_from(tag).where(or_(*(_in_text(text, word) for text in texts))))
        called = select(owners.c.id).where(owners.c.account_id == selection.account_id, _in_text(owners.c.name, word))
        texts = [table.c.name, table.c.id, owner]
        return or_(*(_in_text(text, word) for text in texts), tagged, owner.in_(called))

    return [has(word) for word in selection.search]


def _in_text(column: ColumnElement[Any], word: str) -> ColumnElement[bool]:
    return Contains(func.lower(column), word)


def statements(table: Table, visible: TextClause, selection: Selection) -> tuple[Select[Any], Select[Any]]:
    """Return the statements of a page of a selection, and of the number of its rows, without conditions on tags.

    Rows that are equal by the order are ordered by id, so that pages do not overlap. `bound` returns what they bind.
    """
    columns = tuple(name for name, _ in selection.any_of)
    return _statements(
        table, visible, columns, selection.order_by, descending=selection.descending, own=selection.own,
        shared=selection.shared, backups=selection.backups,
    )  # fmt: skip


# Most calls list a page by one of a few: to make their statements anew takes longer than to run them.
@functools.lru_cache(maxsize=100)
def _statements(
    table: Table,
    visible: TextClause,
    columns: tuple[str, ...],
    order_by: str,
    *,
    descending: bool,
    own: bool,
    shared: bool,
    backups: bool,
) -> tuple[Select[Any], Select[Any]]:
    wanted: list[Condition] = [visible, _whose(table, own=own, shared=shared)]
    if "backup_id" in table.c:
        wanted.append(table.c.backup_id.is_not(None) if backups else table.c.backup_id.is_(None))
    wanted += [table.c[name].in_(bindparam(f"any_of_{n}", expanding=True)) for n, name in enumerate(columns)]
    order = [_ordered(column, descending=descending) for column in (table.c[order_by], table.c.id)]
    page = select(table).where(*wanted).order_by(*order)
    page = page.offset(bindparam("page_offset")).limit(bindparam("page_limit"))
    return page, select(func.count()).select_from(table).where(*wanted)


def _whose(table: Table, *, own: bool, shared: bool) -> ColumnElement[bool]:
    kinds: list[ColumnElement[bool]] = []
    if own:
        kinds.append(table.c.account_id == bindparam("account_id"))
    if shared:
        received = select(snapshot_share.c.snapshot_id).where(snapshot_share.c.account_id == bindparam("account_id"))
        kinds.append(and_(table.c.id.in_(received), table.c.state == SnapshotState.NORMAL))
    return or_(*kinds) if kinds else false()


def _ordered(column: Column[object], *, descending: bool) -> ColumnElement[object]:
    order = column.desc() if descending else column.asc()
    if not column.nullable:
        return order
    # No value is less than any: PostgreSQL would have it the other way round.
    return order.nulls_last() if descending else order.nulls_first()


def bound(selection: Selection) -> dict[str, object]:
    """Return what the statements of a selection bind."""
    values = {f"any_of_{n}": list(values) for n, (_, values) in enumerate(selection.any_of)}
    return {
        "account_id": selection.account_id,
        "page_offset": selection.offset,
        "page_limit": selection.limit,
        **values,
    }


def _tagged(
    column: Column[object], *, keys: Sequence[str] | None = None, values: Sequence[str] | None = None
) -> ColumnElement[bool]:
    tag = JsonElements(column).table_valued("value", name="tag")
    wanted: list[ColumnElement[bool]] = [true()]
    if keys is not None:
        wanted.append(json_text(tag.c.value, 0).in_(list(keys)))
    if values is not None:
        wanted.append(json_text(tag.c.value, 1).in_(list(values)))
    return exists(select(1).select_from(tag).where(*wanted))

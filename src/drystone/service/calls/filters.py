"""The filters, orders and pages of describe calls, translated to what the catalog can select.

Several filters must all match; of the values of one, any. A value that no row can have matches nothing; a name that
does not exist, and a value that cannot be meant, are refused.
"""

import string
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from drystone.catalog.selection import Selection
from drystone.domain.disk import DATA_DISK, POSTPAID, PREPAID, SYSTEM_DISK, DiskState
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId
from drystone.domain.snapshot import SnapshotState
from drystone.service.requests import BackupQuery, DiskQuery, Filters, SnapshotQuery

T = TypeVar("T")
LIMIT_MAX = 100
IDS_MAX = 100
FILTERS_MAX = 20
VALUES_MAX = 100
WORDS_MAX = 10
"""Of a search."""
DISK_ID_VALUES_MAX = 10
"""Values of the filter `disk-id` of DescribeSnapshots (CBS)."""
PRIVATE_SNAPSHOT, SHARED_SNAPSHOT = "PRIVATE_SNAPSHOT", "SHARED_SNAPSHOT"
"""What a snapshot is to who asks: its own, or another's who shares it."""
OFFSET_MAX = 2**62
"""More than any table has rows, and still an integer of the database."""
INTEGER_MAX = 2**63 - 1

Narrow = Callable[[Selection, str, tuple[str, ...]], Selection]
"""Adds a filter, by name and values, to a selection."""


def disk_selection(account_id: AccountId, query: DiskQuery) -> Selection:
    """Return what DescribeDisks selects.

    Raises:
        RefusalError: `BAD_FILTER` for a filter that does not exist, `BAD_VALUE` for anything else.
    """
    order_by = _one_of(query.order_field, "OrderField", {"CREATE_TIME": "created_at", "DEADLINE": "deadline_at"})
    return _selection(account_id, query.disk_ids, query.filters, _DISK_FILTERS, query, order_by)


def snapshot_selection(account_id: AccountId, query: SnapshotQuery) -> Selection:
    """Return what DescribeSnapshots selects.

    Raises:
        RefusalError: `BAD_FILTER` for a filter that does not exist, `BAD_VALUE` for anything else.
    """
    order_by = _one_of(query.order_field, "OrderField", {"CREATE_TIME": "created_at"})
    for name, values in query.filters:
        if name == "disk-id" and len(values) > DISK_ID_VALUES_MAX:
            raise RefusalError(
                Refusal.BAD_VALUE,
                f"The filter `disk-id` has {len(values)} values; at most {DISK_ID_VALUES_MAX} are allowed.",
            )
    known = {**_SNAPSHOT_FILTERS, "snapshot-type": _snapshot_type}
    selection = _selection(account_id, query.snapshot_ids, query.filters, known, query, order_by)
    own, shared = _snapshot_owners(query)
    return replace(selection, own=own, shared=shared)


def backup_selection(account_id: AccountId, query: BackupQuery) -> Selection:
    """Return what DescribeDiskBackups selects.

    Raises:
        RefusalError: `BAD_FILTER` for a filter that does not exist, `BAD_VALUE` for anything else.
    """
    order_by = _one_of(query.order_field, "OrderField", {"CREATE_TIME": "created_at"})
    asked = replace(query, order=query.order or "ASC")
    selection = _selection(account_id, (), query.filters, _BACKUP_FILTERS, asked, order_by)
    if query.backup_ids:
        check_filters(_BACKUP_FILTERS, query.backup_ids, query.filters)
        selection = _any_of(selection, "backup_id", query.backup_ids)
    return replace(selection, backups=True)


def _snapshot_owners(query: SnapshotQuery) -> tuple[bool, bool]:
    """Tell whether the caller's own snapshots are meant, and those that others share with it.

    What others share is seen where it is named by its id, or asked for by its type, and nowhere else: whoever shares
    something puts nothing into the lists that others work through. A filter by what is not shown of those, tags and
    project, has none of them: otherwise it would tell what they are (S341).
    """
    types = [set(values) for name, values in query.filters if name == "snapshot-type"]
    named = bool(query.snapshot_ids) or any(name == "snapshot-id" for name, _ in query.filters)
    hidden = any(name == "project-id" or name.startswith("tag") for name, _ in query.filters)
    own = all(PRIVATE_SNAPSHOT in one for one in types)
    shared = all(SHARED_SNAPSHOT in one for one in types) and (named or bool(types)) and not hidden
    return own, shared


def _snapshot_type(selection: Selection, name: str, values: tuple[str, ...]) -> Selection:
    members(name, values, _SNAPSHOT_TYPES)
    return selection


def disk_detail_selection(account_id: AccountId, query: DiskQuery) -> Selection:
    """Return what DescribeDiskDetails selects: also by a search, and in more orders than DescribeDisks.

    Raises:
        RefusalError: As `disk_selection`.
    """
    order_by = _one_of(query.order_field, "OrderField", _DISK_ORDERS)
    return _selection(account_id, query.disk_ids, query.filters, {**_DISK_FILTERS, **_SEARCH}, query, order_by)


def snapshot_record_selection(account_id: AccountId, query: SnapshotQuery) -> Selection:
    """Return what DescribeSnapshotRecords selects: also by a search, and in more orders than DescribeSnapshots.

    Raises:
        RefusalError: As `snapshot_selection`.
    """
    order_by = _one_of(query.order_field, "OrderField", _SNAPSHOT_ORDERS)
    return _selection(account_id, query.snapshot_ids, query.filters, {**_SNAPSHOT_FILTERS, **_SEARCH}, query, order_by)


def page(offset: int, limit: int, most: int = LIMIT_MAX) -> tuple[int, int]:
    """Return offset and limit as the catalog can use them.

    Raises:
        RefusalError: `BAD_VALUE` when the limit is not 1 to `most`, or the offset below 0.
    """
    if not 1 <= limit <= most:
        raise RefusalError(Refusal.BAD_VALUE, f"Limit is {limit}; it must be 1 to {most}.")
    if offset < 0:
        raise RefusalError(Refusal.BAD_VALUE, f"Offset is {offset}; it must not be negative.")
    return min(offset, OFFSET_MAX), limit


def check_filters(names: Collection[str], ids: Sequence[str], filters: Filters) -> None:
    """Refuse ids together with filters, too many of either, filters that are not in `names`, or without values.

    Raises:
        RefusalError: `BAD_FILTER` or `BAD_VALUE`.
    """
    if ids and filters:
        raise RefusalError(Refusal.BAD_VALUE, "Ids and Filters exclude each other; give one of them.")
    if len(ids) > IDS_MAX:
        raise RefusalError(Refusal.BAD_VALUE, f"{len(ids)} ids are given; at most {IDS_MAX} are allowed.")
    if len(filters) > FILTERS_MAX:
        raise RefusalError(Refusal.BAD_VALUE, f"{len(filters)} filters are given; at most {FILTERS_MAX} are allowed.")
    for name, values in filters:
        if name not in names and not (_TAG_PREFIX in names and name.startswith(_TAG_PREFIX)):
            known = ", ".join(sorted(known for known in names if known != _TAG_PREFIX))
            raise RefusalError(Refusal.BAD_FILTER, f"The filter `{name[:60]}` does not exist; there are {known}.")
        if not 1 <= len(values) <= VALUES_MAX:
            raise RefusalError(
                Refusal.BAD_VALUE,
                f"The filter `{name[:60]}` has {len(values)} values; 1 to {VALUES_MAX} are allowed.",
            )


def members(name: str, values: Sequence[str], allowed: Collection[str]) -> tuple[str, ...]:
    """Return the values of a filter of an enumeration.

    Raises:
        RefusalError: `BAD_VALUE` for one that is not `allowed`.
    """
    for value in values:
        if value not in allowed:
            raise RefusalError(
                Refusal.BAD_VALUE,
                f"The filter `{name}` has the value `{value[:60]}`; allowed are {', '.join(sorted(allowed))}.",
            )
    return tuple(values)


def truths(name: str, values: Sequence[str]) -> tuple[bool, ...]:
    """Return the values of a filter that takes true and false.

    Raises:
        RefusalError: `BAD_VALUE` for anything else.
    """
    return tuple(value == "true" for value in members(name, values, ("true", "false")))


def _selection(
    account_id: AccountId,
    ids: tuple[str, ...],
    filters: Filters,
    known: Mapping[str, Narrow],
    query: DiskQuery | SnapshotQuery | BackupQuery,
    order_by: str,
) -> Selection:
    check_filters(known, ids, filters)
    offset, limit = page(query.offset, query.limit)
    selection = Selection(
        account_id=account_id,
        order_by=order_by,
        descending=_one_of(query.order, "Order", {"DESC": True, "ASC": False}),
        offset=offset,
        limit=limit,
    )
    if ids:
        selection = _any_of(selection, "id", ids)
    for name, values in filters:
        selection = known.get(name, _tag)(selection, name, values)
    return selection


def _one_of(text: str | None, parameter: str, allowed: Mapping[str, T]) -> T:
    if text is None:
        return next(iter(allowed.values()))
    if text not in allowed:
        raise RefusalError(Refusal.BAD_VALUE, f"{parameter} is `{text[:60]}`; allowed are {', '.join(allowed)}.")
    return allowed[text]


def _any_of(selection: Selection, column: str, values: Sequence[object]) -> Selection:
    return replace(selection, any_of=(*selection.any_of, (column, tuple(values))))


def _column(column: str) -> Narrow:
    return lambda selection, _name, values: _any_of(selection, column, values)


def _enumeration(column: str, allowed: Collection[str]) -> Narrow:
    return lambda selection, name, values: _any_of(selection, column, members(name, values, allowed))


def _flag(column: str) -> Narrow:
    def narrow(selection: Selection, name: str, values: tuple[str, ...]) -> Selection:
        upper = members(name, [value.upper() for value in values], {"TRUE", "FALSE"})
        return _any_of(selection, column, [value == "TRUE" for value in upper])

    return narrow


def _always(allowed: Collection[str], met: str) -> Narrow:
    """A filter on what is the same for every row here: `met`."""

    def narrow(selection: Selection, name: str, values: tuple[str, ...]) -> Selection:
        given = members(name, [value.upper() for value in values], allowed)
        return selection if met in given else _nothing(selection, name, values)

    return narrow


def _number(column: str) -> Narrow:
    def narrow(selection: Selection, name: str, values: tuple[str, ...]) -> Selection:
        numbers = [int(value) for value in values if value.isascii() and value.isdigit() and len(value) < 20]
        if len(numbers) != len(values) or any(number > INTEGER_MAX for number in numbers):
            raise RefusalError(Refusal.BAD_VALUE, f"The filter `{name}` takes whole numbers from 0 on.")
        return _any_of(selection, column, numbers)

    return narrow


def _disk_state(selection: Selection, name: str, values: tuple[str, ...]) -> Selection:
    shown = {state.value for state in DiskState if state.visible}
    return _any_of(selection, "state", [DiskState(value) for value in members(name, values, shown)])


def _snapshot_state(selection: Selection, name: str, values: tuple[str, ...]) -> Selection:
    given = members(name, values, _SNAPSHOT_STATES)
    pairs = tuple(_SNAPSHOT_STATES[value] for value in given)
    known = tuple(pair for pair in pairs if pair is not None)
    return replace(selection, snapshot_states=(*selection.snapshot_states, known))


def _tag(selection: Selection, name: str, values: tuple[str, ...]) -> Selection:
    return replace(selection, tags=(*selection.tags, (name.removeprefix(_TAG_PREFIX), values)))


def _tag_key(selection: Selection, _name: str, values: tuple[str, ...]) -> Selection:
    return replace(selection, tag_keys=(*selection.tag_keys, values))


def _tag_value(selection: Selection, _name: str, values: tuple[str, ...]) -> Selection:
    return replace(selection, tag_values=(*selection.tag_values, values))


def _instance_name(selection: Selection, _name: str, values: tuple[str, ...]) -> Selection:
    return replace(selection, instance_names=(*selection.instance_names, values))


def _search(selection: Selection, name: str, values: tuple[str, ...]) -> Selection:
    words = tuple(word for value in values for word in value.translate(_SMALL).split())
    if len(words) > WORDS_MAX:
        raise RefusalError(Refusal.BAD_VALUE, f"The filter `{name}` has {len(words)} words; {WORDS_MAX} are allowed.")
    return replace(selection, search=(*selection.search, *words))


def _nothing(selection: Selection, _name: str, _values: tuple[str, ...]) -> Selection:
    return _any_of(selection, "id", ())


_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SEARCH: Mapping[str, Narrow] = {"search": _search}
_ORDERS: Mapping[str, str] = {"CREATE_TIME": "created_at", "NAME": "name", "STATE": "state", "DEADLINE": "deadline_at"}
_DISK_ORDERS: Mapping[str, str] = {**_ORDERS, "SIZE": "size_gib", "TYPE": "type"}
_SNAPSHOT_ORDERS: Mapping[str, str] = {**_ORDERS, "STORED_BYTES": "stored_bytes", "DISK_ID": "disk_id"}
_TAG_PREFIX = "tag:"
_SNAPSHOT_STATES: Mapping[str, tuple[SnapshotState, bool] | None] = {
    "NORMAL": (SnapshotState.NORMAL, False),
    "CREATING": (SnapshotState.CREATING, False),
    "ROLLBACKING": (SnapshotState.NORMAL, True),
    "COPYING_FROM_REMOTE": None,
    "CHECKING_COPIED": None,
    "TORECYCLE": None,
}
"""The documented states: what each is in the catalog, as (state, rolling back); None for what does not occur."""
_SNAPSHOT_TYPES = frozenset({PRIVATE_SNAPSHOT, SHARED_SNAPSHOT})
_USAGES = frozenset({DATA_DISK, SYSTEM_DISK})
_TAG_FILTERS: Mapping[str, Narrow] = {"tag-key": _tag_key, "tag-value": _tag_value, _TAG_PREFIX: _tag}
_DISK_FILTERS: Mapping[str, Narrow] = {
    "disk-id": _column("id"),
    "disk-name": _column("name"),
    "disk-type": _column("type"),
    "disk-state": _disk_state,
    "disk-usage": _enumeration("usage", _USAGES),
    "disk-charge-type": _enumeration("charge_type", {PREPAID, POSTPAID, "CDCPAID", "DEDICATED_CLUSTER_PAID"}),
    "portable": _flag("portable"),
    "project-id": _number("project_id"),
    "instance-id": _column("instance_id"),
    "instance-name": _instance_name,
    "instance-ip-address": _nothing,
    "zone": _column("zone"),
    "dedicated-cluster-id": _nothing,
    "cluster-group-id": _nothing,
    **_TAG_FILTERS,
}
_BACKUP_FILTERS: Mapping[str, Narrow] = {
    "disk-backup-id": _column("backup_id"),
    "disk-id": _column("disk_id"),
    "disk-usage": _enumeration("usage", _USAGES),
}
_SNAPSHOT_FILTERS: Mapping[str, Narrow] = {
    "snapshot-id": _column("id"),
    "snapshot-name": _column("name"),
    "snapshot-state": _snapshot_state,
    "snapshot-type": _always(_SNAPSHOT_TYPES, PRIVATE_SNAPSHOT),
    "disk-id": _column("disk_id"),
    "disk-usage": _enumeration("usage", _USAGES),
    "project-id": _number("project_id"),
    "zone": _column("zone"),
    "encrypt": _flag("encrypted"),
    **_TAG_FILTERS,
}

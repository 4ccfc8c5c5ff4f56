"""Tags of disks and snapshots, whichever service of the wire asks; and tags by themselves."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import disks, snapshots
from drystone.catalog import tags as tag_rows
from drystone.catalog.database import Database
from drystone.catalog.selection import Selection
from drystone.domain.disk import Disk
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId
from drystone.domain.snapshot import Snapshot
from drystone.service.caller import Caller
from drystone.service.calls.attributes import checked_tags
from drystone.service.calls.disk_records import owned_disk
from drystone.service.calls.filters import page
from drystone.service.calls.snapshot_records import owned_snapshot
from drystone.service.requests import Filters as TagFilters
from drystone.service.requests import Tags
from drystone.service.rows.quotas import check_per_call
from drystone.service.views import Page, Tagged

RESOURCES_PER_CHANGE = 10
TAGS_PER_CHANGE = 10
RESOURCES_PER_LOOK = 50
KEYS_PER_LOOK = 20
FILTERS_MAX = 6
FILTER_VALUES_MAX = 10
PAGE_MAX = 1000
RESOURCES_PAGE_MAX = 200
KEYS_MAX = 1000
VALUES_MAX = 1000
"""Limits of the tag service: of one call, of one page, and of what an account makes by name."""


def changed_tags(tags: Tags, replace: Tags, delete: Sequence[str]) -> Tags:
    """Return tags after a change: what is replaced keeps its place, what is new comes last.

    Raises:
        RefusalError: `TOO_MANY_TAGS`, or `BAD_VALUE` for what no tag may be.
    """
    kept = {key: value for key, value in tags if key not in delete}
    return checked_tags(tuple((kept | dict(replace)).items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceTags:
    """Tags of the caller's account. Of another account's resources it does not even tell that they are there (S361)."""

    db: Database
    clock: Callable[[], float]
    """Seconds since the epoch, UTC."""

    async def of(
        self, caller: Caller, resource_ids: Sequence[str], *, offset: int, limit: int
    ) -> Page[tuple[str, str, str]]:
        """Return a page of the tags of these disks and snapshots, those that there are: id, key and value.

        Raises:
            RefusalError: `MISSING`, `TOO_MANY` or `BAD_VALUE`.
        """
        offset, limit = page(offset, limit, PAGE_MAX)
        check_per_call("ResourceIds", len(resource_ids), RESOURCES_PER_LOOK)
        found = await self.db.read(lambda conn: _tags_of(conn, caller.account_id, resource_ids))
        rows = tuple((own_id, *tag) for own_id, tags in found.items() for tag in tags)
        return Page(items=rows[offset : offset + limit], total=len(rows))

    async def named(self, caller: Caller, resource_ids: Sequence[str], filters: TagFilters) -> Mapping[str, Tags]:
        """Return the tags of those of these disks and snapshots that have any and meet the filters, by id.

        Raises:
            RefusalError: `MISSING`, `TOO_MANY` or `BAD_VALUE`.
        """
        check_per_call("ResourceList", len(resource_ids), RESOURCES_PER_CHANGE)
        _check_filters(filters)
        found = await self.db.read(lambda conn: _tags_of(conn, caller.account_id, resource_ids))
        return {own_id: tags for own_id, tags in found.items() if tags and _meets(tags, filters)}

    async def find(self, caller: Caller, filters: TagFilters, *, after: str, limit: int) -> tuple[Tagged, ...]:
        """Return a page of the disks and snapshots that have tags and meet the filters, by id: those after this one.

        Raises:
            RefusalError: `BAD_VALUE`.
        """
        _, limit = page(0, limit, RESOURCES_PAGE_MAX)
        _check_filters(filters)
        wanted = Selection(
            account_id=caller.account_id, limit=limit,
            tag_keys=tuple((key,) for key, values in filters if not values),
            tags=tuple((key, values) for key, values in filters if values),
        )  # fmt: skip
        found = await self.db.read(lambda conn: tag_rows.tagged(conn, wanted, after=after))
        return tuple(Tagged(resource_id=resource_id, tags=tags) for resource_id, tags in found)

    async def change(
        self, caller: Caller, resource_ids: Sequence[str], *, replace: Tags = (), delete: Sequence[str] = ()
    ) -> Mapping[str, RefusalError]:
        """Replace and delete tags of disks and snapshots: of each all that is asked, or nothing (S360).

        Returns:
            Why those were refused that were, by id. If all were, the first refusal is raised instead.

        Raises:
            RefusalError: `MISSING`, `TOO_MANY`, `LIMIT`, `BAD_VALUE` or `NOT_TOGETHER`, and nothing was changed; or
                why the one that was named was refused: `NO_SUCH_DISK`, `NO_SUCH_SNAPSHOT`, `NO_SUCH_THING` or
                `TOO_MANY_TAGS`.
        """
        check_per_call("ResourceList", len(resource_ids), RESOURCES_PER_CHANGE)
        _check_change(replace, delete)
        now = self.clock()

        def change(conn: Connection) -> Mapping[str, RefusalError]:
            refused: dict[str, RefusalError] = {}
            for resource_id in resource_ids:
                try:
                    _retag(conn, _owned(conn, caller.account_id, resource_id), replace, delete, now)
                except RefusalError as refusal:
                    refused[resource_id] = refusal
            return refused

        refused = await self.db.write(change)
        if len(refused) == len(set(resource_ids)):
            raise next(iter(refused.values()))
        return refused

    async def keys(self, caller: Caller, *, offset: int, limit: int) -> Page[str]:
        """Return a page of the keys that the account knows.

        Raises:
            RefusalError: `BAD_VALUE`.
        """
        offset, limit = page(offset, limit, PAGE_MAX)
        found, total = await self.db.read(
            lambda conn: tag_rows.keys(conn, caller.account_id, offset=offset, limit=limit)
        )
        return Page(items=tuple(found), total=total)

    async def pairs(
        self, caller: Caller, keys: Sequence[str], *, after: tuple[str, str] | None = None, offset: int = 0, limit: int
    ) -> Page[tuple[str, str]]:
        """Return a page of the tags that the account knows: of these keys, or of all; `after` one, if it is given.

        Raises:
            RefusalError: `BAD_VALUE`.
        """
        offset, limit = page(offset, limit, PAGE_MAX)
        if len(keys) > KEYS_PER_LOOK:
            raise RefusalError(Refusal.BAD_VALUE, f"{len(keys)} keys are given; at most {KEYS_PER_LOOK} are allowed.")
        found, total = await self.db.read(
            lambda conn: tag_rows.pairs(
                conn, caller.account_id, keys=keys, after=after, offset=offset, limit=limit
            )
        )  # fmt: skip
        return Page(items=tuple(found), total=total)

    async def create(self, caller: Caller, key: str, value: str) -> None:
        """Make a tag by name: it is known from now on, whether a resource has it or not (S362).

        Raises:
            RefusalError: `BAD_VALUE`, `IN_USE` if it was made already, `LIMIT` where there are too many keys, or
                `TOO_MANY` where the key has too many values.
        """
        (pair,) = checked_tags([(key, value)])
        now = self.clock()

        def make(conn: Connection) -> None:
            if tag_rows.made(conn, caller.account_id, pair):
                raise RefusalError(Refusal.IN_USE, f"The tag `{key[:40]}` with this value was made already.")
            keys, values = tag_rows.counts(conn, caller.account_id, key)
            if keys >= KEYS_MAX:
                raise RefusalError(Refusal.LIMIT, f"There are {keys} tag keys; {KEYS_MAX} are allowed.")
            if values >= VALUES_MAX:
                raise RefusalError(
                    Refusal.TOO_MANY, f"The tag key `{key[:40]}` has {values} values; {VALUES_MAX} are allowed."
                )
            tag_rows.put(conn, caller.account_id, pair, now)

        await self.db.write(make)

    async def delete(self, caller: Caller, key: str, value: str) -> None:
        """Forget a tag that was made by name and that no resource has.

        Raises:
            RefusalError: `NO_SUCH_THING`, or `IN_USE` while a resource has it.
        """

        def forget(conn: Connection) -> None:
            if tag_rows.in_use(conn, caller.account_id, (key, value)):
                raise RefusalError(Refusal.IN_USE, f"A resource has the tag `{key[:40]}`; take it from there first.")
            if not tag_rows.drop(conn, caller.account_id, (key, value)):
                raise RefusalError(Refusal.NO_SUCH_THING, f"There is no tag `{key[:40]}` with this value.")

        await self.db.write(forget)


def _tags_of(conn: Connection, account_id: AccountId, resource_ids: Sequence[str]) -> Mapping[str, Tags]:
    """Return the tags of each of these that clients of this account see (S361)."""
    found: dict[str, Tags] = {}
    for resource_id in resource_ids:
        with contextlib.suppress(RefusalError):
            found[resource_id] = _owned(conn, account_id, resource_id).tags
    return found


def _meets(tags: Tags, filters: TagFilters) -> bool:
    had = dict(tags)
    return all(key in had and (not values or had[key] in values) for key, values in filters)


def _check_filters(filters: TagFilters) -> None:
    if len(filters) > FILTERS_MAX or any(len(values) > FILTER_VALUES_MAX for _, values in filters):
        raise RefusalError(
            Refusal.BAD_VALUE, f"At most {FILTERS_MAX} filters of {FILTER_VALUES_MAX} values each are allowed."
        )


def _check_change(replace: Tags, delete: Sequence[str]) -> None:
    if not replace and not delete:
        raise RefusalError(Refusal.MISSING, "No tag to set and none to delete is given.")
    if max(len(replace), len(delete)) > TAGS_PER_CHANGE:
        raise RefusalError(
            Refusal.LIMIT, f"{max(len(replace), len(delete))} tags are given; at most {TAGS_PER_CHANGE} are allowed."
        )
    checked_tags(replace)
    both = {key for key, _ in replace} & set(delete)
    if both:
        raise RefusalError(Refusal.NOT_TOGETHER, f"The tag key `{min(both)[:40]}` is to be both set and deleted.")


def _owned(conn: Connection, account_id: AccountId, resource_id: str) -> Disk | Snapshot:
    """Return a disk or a snapshot of this account that clients see.

    Raises:
        RefusalError: `NO_SUCH_DISK`, `NO_SUCH_SNAPSHOT`, or `NO_SUCH_THING` for what has no tags here.
    """
    if resource_id.startswith("disk-"):
        return owned_disk(conn, account_id, resource_id)
    if resource_id.startswith("snap-"):
        return owned_snapshot(conn, account_id, resource_id)
    raise RefusalError(Refusal.NO_SUCH_THING, f"There is no disk and no snapshot {resource_id[:100]}.")


def _retag(conn: Connection, resource: Disk | Snapshot, replace: Tags, delete: Sequence[str], now: float) -> None:
    """Change the tags of one resource.

    Raises:
        RefusalError: `TOO_MANY_TAGS`; nothing was changed.
    """
    tags = changed_tags(resource.tags, replace, delete)
    if tags == resource.tags:
        return
    if isinstance(resource, Disk):
        changed = disks.compare_and_set(conn, resource.id, expected={"state": resource.state}, values={"tags": tags})
    else:
        changed = snapshots.compare_and_set(
            conn, resource.id, expected={"state": resource.state}, values={"tags": tags, "modified_at": now}
        )
    assert changed, f"{resource.id} changed within a transaction"

"""Tags of disks and snapshots."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context
from drystone.api.parameters import MANY, Id, Ids, Parameters, Text, Texts, Unsigned, Word
from drystone.api.refusals import code_of
from drystone.api.tag.fields import CUSTOM, KeyedTag, TagPairs, keyed, pairs, wants_custom
from drystone.api.tag.known import PAGE, RESULTS
from drystone.api.tag.names import SERVICES, last_segment, name_of, resource_id, resource_ids
from drystone.api.tag.service import TAG
from drystone.domain.errors import RefusalError
from drystone.service.caller import Caller
from drystone.service.views import Page


class TagKeyObject(Parameters, frozen=True, kw_only=True):
    """A key of a tag that is to go."""

    tag_key: Text


class TagFilter(Parameters, frozen=True, kw_only=True):
    """A key, and values of which a tag has one; none means any."""

    tag_key: Text
    tag_value: Texts | None = None


class TagResource(TypedDict):
    """A tag of a resource."""

    TagKey: str
    TagValue: str
    ResourceId: str
    TagKeyMd5: str
    TagValueMd5: str
    ServiceType: str
    Category: str


class _ResourceTags(TypedDict):
    TotalCount: int
    Offset: int
    Limit: int
    Tags: list[TagResource]


@TAG.read
class DescribeResourceTagsByResourceIds(Action, frozen=True, kw_only=True):
    """List the tags of resources of one kind; those of other services than `cvm` and `cbs` have none here."""

    service_type: Word
    resource_prefix: Word
    resource_ids: Ids
    resource_region: Word
    offset: Unsigned | None = None
    limit: Unsigned | None = None
    category: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> _ResourceTags:
        offset, limit = self.offset or 0, PAGE if self.limit is None else self.limit
        found = await on.calls.tags.of(caller, self.resource_ids, offset=offset, limit=limit)
        if self.service_type not in SERVICES or self.resource_region != on.region or not wants_custom(self.category):
            found = Page(items=(), total=0)
        rows = [_row(self.service_type, *row) for row in found.items]
        return {"TotalCount": found.total, "Offset": offset, "Limit": limit, "Tags": rows}


def _row(service: str, own_id: str, key: str, value: str) -> TagResource:
    return {
        "TagKey": key, "TagValue": value, "ResourceId": own_id, "TagKeyMd5": _md5(key), "TagValueMd5": _md5(value),
        "ServiceType": service, "Category": CUSTOM,
    }  # fmt: skip


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@TAG.change
class ModifyResourceTags(Action, frozen=True, kw_only=True):
    """Set and delete tags of a resource: all that is asked, or nothing."""

    resource: Text
    replace_tags: TagPairs | None = None
    delete_tags: Annotated[tuple[TagKeyObject, ...], MANY] | None = None

    @property
    def resource_ids(self) -> tuple[str, ...]:
        """What the trail says."""
        return (last_segment(self.resource),)

    async def __call__(self, on: Context, caller: Caller) -> None:
        own_id = resource_id(self.resource, region=on.region, account_id=caller.account_id)
        gone = [tag.tag_key for tag in self.delete_tags or ()]
        await on.calls.tags.change(caller, [own_id], replace=pairs(self.replace_tags), delete=gone)


class FailedResource(TypedDict):
    """A resource of several that was refused."""

    Resource: str
    Code: str
    Message: str


class _Failed(TypedDict):
    FailedResources: list[FailedResource]


@TAG.change
class TagResources(Action, frozen=True, kw_only=True):
    """Set tags of several resources; if all are refused, so is the call."""

    resource_list: Texts
    tags: TagPairs

    @property
    def resource_ids(self) -> tuple[str, ...]:
        """What the trail says."""
        return tuple(last_segment(name) for name in self.resource_list)

    async def __call__(self, on: Context, caller: Caller) -> _Failed:
        names = resource_ids(self.resource_list, region=on.region, account_id=caller.account_id)
        refused = await on.calls.tags.change(caller, [*names.values()], replace=pairs(self.tags))
        return _failed(names, refused, caller.action)


@TAG.change
class UnTagResources(Action, frozen=True, kw_only=True):
    """Delete tags of several resources; if all are refused, so is the call."""

    resource_list: Texts
    tag_keys: Texts

    @property
    def resource_ids(self) -> tuple[str, ...]:
        """What the trail says."""
        return tuple(last_segment(name) for name in self.resource_list)

    async def __call__(self, on: Context, caller: Caller) -> _Failed:
        names = resource_ids(self.resource_list, region=on.region, account_id=caller.account_id)
        refused = await on.calls.tags.change(caller, [*names.values()], delete=self.tag_keys)
        return _failed(names, refused, caller.action)


def _failed(names: Mapping[str, str], refused: Mapping[str, RefusalError], action: str) -> _Failed:
    return {
        "FailedResources": [
            {
                "Resource": name,
                "Code": code_of(refused[own_id].kind, action),
                "Message": refused[own_id].message,
            }
            for name, own_id in names.items()
            if own_id in refused
        ]
    }


class ResourceTagMapping(TypedDict):
    """A resource by its name, and its tags."""

    Resource: str
    Tags: list[KeyedTag]


class _Resources(TypedDict):
    PaginationToken: str
    ResourceTagMappingList: list[ResourceTagMapping]


@TAG.read
class GetResources(Action, frozen=True, kw_only=True):
    """List resources that have tags: those that are named, as they were spelt, or all of a page."""

    resource_list: Texts | None = None
    tag_filters: Annotated[tuple[TagFilter, ...], MANY] | None = None
    pagination_token: Id | None = None
    max_results: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Resources:
        filters = tuple((one.tag_key, one.tag_value or ()) for one in self.tag_filters or ())
        whose = {"region": on.region, "account_id": caller.account_id}
        if self.resource_list:
            names = resource_ids(self.resource_list, **whose)
            found = await on.calls.tags.named(caller, [*names.values()], filters)
            shown = [_mapping(name, found[own_id]) for name, own_id in names.items() if own_id in found]
            return {"PaginationToken": "", "ResourceTagMappingList": shown}
        limit = RESULTS if self.max_results is None else self.max_results
        rows = await on.calls.tags.find(caller, filters, after=self.pagination_token or "", limit=limit)
        shown = [_mapping(name_of(row.resource_id, **whose), row.tags) for row in rows]
        return {"PaginationToken": rows[-1].resource_id if len(rows) == limit else "", "ResourceTagMappingList": shown}


def _mapping(name: str, tags: tuple[tuple[str, str], ...]) -> ResourceTagMapping:
    return {"Resource": name, "Tags": keyed(tags)}

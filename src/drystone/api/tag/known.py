"""Tags by themselves: those that resources have, and those that were made by name."""

from typing import TypedDict

from drystone.api.actions import Action, Context
from drystone.api.parameters import Text, Texts, Unsigned, Word
from drystone.api.tag.fields import KeyedTag, keyed, pair_of, token_of, wants_custom
from drystone.api.tag.service import TAG
from drystone.service.caller import Caller
from drystone.service.views import Page

PAGE = 15
RESULTS = 50
"""Documented: what a page has unless told."""


@TAG.change
class CreateTag(Action, frozen=True, kw_only=True):
    """Make a tag by name."""

    tag_key: Text
    tag_value: Text

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.tags.create(caller, self.tag_key, self.tag_value)


@TAG.change
class DeleteTag(Action, frozen=True, kw_only=True):
    """Forget a tag that no resource has."""

    tag_key: Text
    tag_value: Text

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.tags.delete(caller, self.tag_key, self.tag_value)


class _TagKeys(TypedDict):
    TotalCount: int
    Offset: int
    Limit: int
    Tags: list[str]


@TAG.read
class DescribeTagKeys(Action, frozen=True, kw_only=True):
    """List the keys of tags."""

    create_uin: Unsigned | None = None
    offset: Unsigned | None = None
    limit: Unsigned | None = None
    show_project: Unsigned | None = None
    category: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> _TagKeys:
        offset, limit = self.offset or 0, PAGE if self.limit is None else self.limit
        found = await on.calls.tags.keys(caller, offset=offset, limit=limit)
        if not wants_custom(self.category):
            found = Page(items=(), total=0)
        return {"TotalCount": found.total, "Offset": offset, "Limit": limit, "Tags": list(found.items)}


class _TagValues(TypedDict):
    TotalCount: int
    Offset: int
    Limit: int
    Tags: list[KeyedTag]


@TAG.read
class DescribeTagValues(Action, frozen=True, kw_only=True):
    """List the values of keys."""

    tag_keys: Texts
    create_uin: Unsigned | None = None
    offset: Unsigned | None = None
    limit: Unsigned | None = None
    category: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> _TagValues:
        offset, limit = self.offset or 0, PAGE if self.limit is None else self.limit
        found = await on.calls.tags.pairs(caller, self.tag_keys, offset=offset, limit=limit)
        if not self.tag_keys or not wants_custom(self.category):
            found = Page(items=(), total=0)
        return {"TotalCount": found.total, "Offset": offset, "Limit": limit, "Tags": keyed(found.items)}


class _Tags(TypedDict):
    PaginationToken: str
    Tags: list[KeyedTag]


@TAG.read
class GetTags(Action, frozen=True, kw_only=True):
    """List tags, a page after the other by token."""

    pagination_token: Text | None = None
    max_results: Unsigned | None = None
    tag_keys: Texts | None = None
    category: Word | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Tags:
        limit = RESULTS if self.max_results is None else self.max_results
        found = await on.calls.tags.pairs(
            caller, self.tag_keys or (), after=pair_of(self.pagination_token), limit=limit
        )  # fmt: skip
        if not wants_custom(self.category):
            found = Page(items=(), total=0)
        more = found.total > len(found.items)
        return {"PaginationToken": token_of(found.items[-1]) if more else "", "Tags": keyed(found.items)}

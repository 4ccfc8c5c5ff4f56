"""What parameters and answers of several actions of `tag` are made of."""

import base64
from typing import Annotated, TypedDict

import msgspec

from drystone.api.parameters import MANY, Parameters, Text, Word
from drystone.api.refusals import WireError
from drystone.service import requests

CUSTOM = "Custom"
"""The category of every tag here: there are none of the system's own."""
_CATEGORIES = (CUSTOM, "System", "All")


class TagPair(Parameters, frozen=True, kw_only=True):
    """A key and a value of the user's own."""

    tag_key: Text
    tag_value: Text
    category: Word | None = None


TagPairs = Annotated[tuple[TagPair, ...], MANY]


def pairs(tags: tuple[TagPair, ...] | None) -> requests.Tags:
    """Return tags as the use cases take them."""
    return tuple((tag.tag_key, tag.tag_value) for tag in tags or ())


class KeyedTag(TypedDict):
    """A key and a value of the user's own."""

    TagKey: str
    TagValue: str
    Category: str


def keyed(tags: requests.Tags) -> list[KeyedTag]:
    """Return a list of tags as this service writes them."""
    return [{"TagKey": key, "TagValue": value, "Category": CUSTOM} for key, value in tags]


def wants_custom(category: str | None) -> bool:
    """Tell whether tags of users are asked for.

    Raises:
        WireError: `InvalidParameterValue` for a category that there is not.
    """
    if category is not None and category not in _CATEGORIES:
        raise WireError("InvalidParameterValue", f"Category must be one of {', '.join(_CATEGORIES)}.")
    return category != "System"


def token_of(pair: tuple[str, str]) -> str:
    """Return the token of the page that begins after a tag."""
    return base64.urlsafe_b64encode(msgspec.json.encode(pair)).decode()


def pair_of(token: str | None) -> tuple[str, str] | None:
    """Return the tag that a page begins after, or None for the first page.

    Raises:
        WireError: `InvalidParameter.PaginationTokenInvalid`.
    """
    if not token:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=tuple[str, str])
    except (ValueError, msgspec.DecodeError) as error:
        raise WireError(
            "InvalidParameter.PaginationTokenInvalid", "The PaginationToken is not one of an answer before."
        ) from error

"""Typed decoding of an action's parameters, from JSON or from a flattened query or form.

An action's parameters are one `Parameters` struct. Decoding checks names, types, presence, and bounds by type: every
number has a least and a most, every text and every list a length, and no text has a zero byte, which some databases
cannot keep. What a value means, and the closer bound that goes with it, is decided by the use case. A test fails on a
parameter without a bound (S155).
"""

import re
from collections.abc import Mapping
from typing import Annotated, NoReturn, TypeVar

import msgspec

from drystone.api.refusals import WireError
from drystone.service import requests

INT64_MAX = (1 << 63) - 1
Unsigned = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
"""`uint64` of the API; SQL and every later floor hold 63 bits."""
Integer = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=INT64_MAX)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Hours = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
"""The longest that a use case allows is a year."""


def _text(chars_max: int) -> msgspec.Meta:
    return msgspec.Meta(max_length=chars_max, pattern=r"\A[^\x00]*\Z")


Word = Annotated[str, _text(256)]
"""One of a few words that the use case knows."""
Id = Annotated[str, _text(256)]
"""Ids have 26 characters at most, keys 36; a client's token has 64."""
Text = Annotated[str, _text(4096)]
"""Names and other texts of the user's own: the use case says how long each may be."""
PathText = Annotated[str, _text(4096)]
"""PATH_MAX of Linux."""
Time = Annotated[str, _text(64)]
"""A time with fractions and an offset has 32 characters; `attributes.deadline` says which may be asked for."""
MANY = msgspec.Meta(max_length=1000)
"""The most that any list may have; most take 100 or fewer."""
Ids = Annotated[tuple[Id, ...], MANY]
Numbers = Annotated[tuple[Unsigned, ...], MANY]
Words = Annotated[tuple[Word, ...], MANY]
Texts = Annotated[tuple[Text, ...], MANY]
Paths = Annotated[tuple[PathText, ...], MANY]
Arguments = Annotated[tuple[Text, ...], MANY]

NESTING_MAX = 8
"""Levels of a flattened name: no action has more than four (`Filters.0.Values.0`)."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """Base of every structure that a client may send; wire names are in Pascal case."""


class Filter(Parameters, frozen=True, kw_only=True):
    """One condition; values are alternatives."""

    name: Text
    values: Texts


class Tag(Parameters, frozen=True, kw_only=True):
    """A key and a value of the user's own."""

    key: Text
    value: Text


Filters = Annotated[tuple[Filter, ...], MANY]
Tags = Annotated[tuple[Tag, ...], MANY]


def conditions(filters: tuple[Filter, ...] | None) -> requests.Filters:
    """Return filters as the use cases take them."""
    return tuple((one.name, one.values) for one in filters or ())


def pairs(tags: tuple[Tag, ...] | None) -> requests.Tags:
    """Return tags as the use cases take them."""
    return tuple((tag.key, tag.value) for tag in tags or ())


P = TypeVar("P", bound=Parameters)

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`( - at `(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*?)`( - at `(?P<path>[^`]*)`)?", re.DOTALL)
_BEYOND = re.compile(
    r"Expected `(?P<kind>int|float|str|array)` (?P<bound>(?:[<>]=|of length|matching regex) ?.*)", re.DOTALL
)
_OF_THE_TYPE = frozenset({">= 0", f"<= {INT64_MAX}", f">= {-(1 << 63)}"})
"""Bounds of `uint64` and `int64` themselves: what is beyond is no value of that type."""
_WRONG = re.compile(r"(?P<reason>.*) - at `(?P<path>[^`]*)`", re.DOTALL)


def from_json(body: bytes, kind: type[P]) -> P:
    """Decode the JSON body of a call; an empty body is an empty object.

    Raises:
        WireError: `InvalidRequest` (not JSON), `UnknownParameter`, `MissingParameter`, `InvalidParameter` (no value
            of its type) or `InvalidParameterValue` (out of its bounds).
    """
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        _refuse(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError("InvalidRequest", f"The body is not valid JSON: {error}.") from error


def from_flat(flat: Mapping[str, str], kind: type[P]) -> P:
    """Decode flattened parameters such as `Filters.0.Values.0=disk-1`; booleans are `True` and `False`.

    Raises:
        WireError: `UnknownParameter`, `MissingParameter`, `InvalidParameter` (no value
            of its type) or `InvalidParameterValue` (out of its bounds).
    """
    try:
        return msgspec.convert(_nested(flat), type=kind, strict=False)
    except msgspec.ValidationError as error:
        _refuse(error)


def _refuse(error: msgspec.ValidationError) -> NoReturn:
    text = str(error)
    if match := _UNKNOWN.fullmatch(text):
        name = _joined(match["path"], match["name"])
        raise WireError("UnknownParameter", f"The parameter `{name}` is not known to this action.") from error
    if match := _MISSING.fullmatch(text):
        name = _joined(match["path"], match["name"])
        raise WireError("MissingParameter", f"The parameter `{name}` is missing.") from error
    if (match := _WRONG.fullmatch(text)) and (beyond := _BEYOND.fullmatch(match["reason"])):
        _refuse_bound(_joined(match["path"], ""), beyond["kind"], beyond["bound"], error)
    if match := _WRONG.fullmatch(text):
        name, reason = _joined(match["path"], ""), match["reason"].lower()
        raise WireError("InvalidParameter", f"The parameter `{name}` has a wrong type: {reason}.") from error
    raise WireError("InvalidParameter", f"The parameters have a wrong type: {text.lower()}.") from error


def _refuse_bound(name: str, kind: str, bound: str, error: msgspec.ValidationError) -> NoReturn:
    code = "InvalidParameterValue"
    if kind == "int" and bound in _OF_THE_TYPE:
        code = "InvalidParameter"
    elif kind == "array":
        code = "InvalidParameterValue.LimitExceeded"
    most = bound.rpartition(" ")[2]
    told = {
        "array": f"has too many entries; at most {most} are allowed",
        "str": "has a zero byte" if bound.startswith("matching") else f"is longer than {most} characters",
    }.get(kind, f"is out of bounds; it must be {bound}")
    raise WireError(code, f"The parameter `{name}` {told}.") from error


def _joined(path: str | None, name: str) -> str:
    """Return a name as clients flatten it: `$.Filters[0]`, `Values` gives `Filters.0.Values`."""
    parts = re.findall(r"[^.\[\]]+", (path or "").removeprefix("$"))
    return ".".join((*parts, *([name] if name else [])))[:200]


def _nested(flat: Mapping[str, str]) -> object:
    root: dict[str, object] = {}
    for name, value in flat.items():
        *outer, last = name.split(".")
        if len(outer) >= NESTING_MAX:
            raise WireError("InvalidParameter", f"The parameter `{name[:200]}` is nested too deeply.")
        node = root
        for part in outer:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise WireError("InvalidParameter", f"The parameter `{name[:200]}` is both a value and a group.")
            node = child
        if last in node:
            raise WireError("InvalidParameter", f"The parameter `{name[:200]}` is given twice.")
        node[last] = value
    return _listed(root)


def _listed(node: object) -> object:
    """Turn each group whose names are exactly 0, 1, ..., n-1 into a list."""
    if not isinstance(node, dict):
        return node
    indexes = [str(index) for index in range(len(node))]
    if node and set(node) == set(indexes):
        return [_listed(node[index]) for index in indexes]
    return {name: _listed(child) for name, child in node.items()}

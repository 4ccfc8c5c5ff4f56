"""Typed decoding of an action's parameters, from JSON or from a flattened query or form.

An action's parameters are one `Parameters` struct. Decoding checks names, types and presence only; what a value means
is decided by the use case.
"""

import re
from collections.abc import Mapping
from typing import Annotated, NoReturn, TypeVar

import msgspec

from drystone.domain.errors import RefusalError

Unsigned = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""`uint64` of the API; SQL and every later floor hold 63 bits."""
Integer = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]

NESTING_MAX = 8
"""Levels of a flattened name: no action has more than four (`Filters.0.Values.0`)."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """Base of every structure that a client may send; wire names are in Pascal case."""


P = TypeVar("P", bound=Parameters)

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`( - at `(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*?)`( - at `(?P<path>[^`]*)`)?", re.DOTALL)
_WRONG = re.compile(r"(?P<reason>.*) - at `(?P<path>[^`]*)`", re.DOTALL)


def from_json(body: bytes, kind: type[P]) -> P:
    """Decode the JSON body of a call; an empty body is an empty object.

    Raises:
        RefusalError: `InvalidRequest` (not JSON), `UnknownParameter`, `MissingParameter` or `InvalidParameter`.
    """
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        _refuse(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusalError("InvalidRequest", f"The body is not valid JSON: {error}.") from error


def from_flat(flat: Mapping[str, str], kind: type[P]) -> P:
    """Decode flattened parameters such as `Filters.0.Values.0=disk-1`; booleans are `True` and `False`.

    Raises:
        RefusalError: `UnknownParameter`, `MissingParameter` or `InvalidParameter`.
    """
    try:
        return msgspec.convert(_nested(flat), type=kind, strict=False)
    except msgspec.ValidationError as error:
        _refuse(error)


def _refuse(error: msgspec.ValidationError) -> NoReturn:
    text = str(error)
    if match := _UNKNOWN.fullmatch(text):
        name = _joined(match["path"], match["name"])
        raise RefusalError("UnknownParameter", f"The parameter `{name}` is not known to this action.") from error
    if match := _MISSING.fullmatch(text):
        name = _joined(match["path"], match["name"])
        raise RefusalError("MissingParameter", f"The parameter `{name}` is missing.") from error
    if match := _WRONG.fullmatch(text):
        name, reason = _joined(match["path"], ""), match["reason"].lower()
        raise RefusalError("InvalidParameter", f"The parameter `{name}` has a wrong type: {reason}.") from error
    raise RefusalError("InvalidParameter", f"The parameters have a wrong type: {text.lower()}.") from error


def _joined(path: str | None, name: str) -> str:
    """Return a name as clients flatten it: `$.Filters[0]`, `Values` gives `Filters.0.Values`."""
    parts = re.findall(r"[^.\[\]]+", (path or "").removeprefix("$"))
    return ".".join((*parts, *([name] if name else [])))[:200]


def _nested(flat: Mapping[str, str]) -> object:
    root: dict[str, object] = {}
    for name, value in flat.items():
        *outer, last = name.split(".")
        if len(outer) >= NESTING_MAX:
            raise RefusalError("InvalidParameter", f"The parameter `{name[:200]}` is nested too deeply.")
        node = root
        for part in outer:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise RefusalError("InvalidParameter", f"The parameter `{name[:200]}` is both a value and a group.")
            node = child
        if last in node:
            raise RefusalError("InvalidParameter", f"The parameter `{name[:200]}` is given twice.")
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

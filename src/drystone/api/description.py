"""The server's own description of its API: `python -m drystone.api.description` prints it as one JSON document.

What clients are generated from, the console's types first: every action that is served, its parameters as they are
decoded, and its answer's fields as they are typed. `./dev docs` writes it to `console/api.json`.
"""

import json
import sys
import types
import typing
from collections.abc import Iterable, Mapping

import msgspec

from drystone.api.actions import Action, Service
from drystone.api.answers import OneOf
from drystone.api.parameters import Parameters
from drystone.api.services import SERVICES
from drystone.domain.disk_types import DISK_TYPES

Field = dict[str, object]
Structures = dict[str, list[Field]]
_PLAIN: Mapping[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", object: "any"}


def description(services: Iterable[Service]) -> Mapping[str, object]:
    """Return the description of services; structures that fields name stand beside them, once each.

    A field that is not `required` may be left out of a call. Answers leave nothing out; `nullable` ones may be null.
    The limits of disk types are for clients that show them: a base, what each GiB adds, and the most.
    """
    structures: Structures = {}
    described = [
        {
            "name": service.name,
            "version": service.version,
            "actions": [_action(service.actions[name], structures) for name in sorted(service.actions)],
        }
        for service in services
    ]
    return {"services": described, "structures": dict(sorted(structures.items())), "disk_types": _disk_types()}


def _disk_types() -> Mapping[str, Mapping[str, tuple[float, float, float]]]:
    return {
        one.name: {
            "iops": (one.iops_base, one.iops_per_gib, one.iops_max),
            "mib_per_s": (one.mb_per_s_base, one.mb_per_s_per_gib, one.mb_per_s_max),
        }
        for one in DISK_TYPES.values()
    }


def _action(action: type[Action], structures: Structures) -> Field:
    answer = typing.get_type_hints(action.__call__, include_extras=True)["return"]
    return {
        "name": action.__name__,
        "changes": action.changes,
        "parameters": _parameters(action, structures),
        "answer": [] if answer is type(None) else _answer(answer, structures),
    }


def _parameters(kind: type[Parameters], structures: Structures) -> list[Field]:
    fields = []
    for field in msgspec.structs.fields(kind):
        described = _described(field.encode_name, field.type, structures, nullable=False)
        if field.required:
            described["required"] = True
        fields.append(described)
    return fields


def _answer(kind: type, structures: Structures) -> list[Field]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return [_described(name, hint, structures, nullable=True) | {"required": True} for name, hint in hints.items()]


def _described(name: str, hint: object, structures: Structures, *, nullable: bool) -> Field:
    field: Field = {"name": name}
    hint, may_be_null = _without_none(hint)
    hint, extras = _bare(hint)
    if typing.get_origin(hint) in {list, tuple}:
        field["list"] = True
        # Tuples are of any length: `tuple[str, ...]`.
        hint, extras = _bare(typing.get_args(hint)[0])
    if typing.get_origin(hint) in {list, tuple}:
        hint = object
    field["type"] = _type_name(hint, structures)
    if nullable and may_be_null:
        field["nullable"] = True
    for extra in extras:
        if isinstance(extra, OneOf):
            field["enum"] = list(extra.values)
        elif isinstance(extra, msgspec.Meta) and (extra.ge is not None or extra.le is not None):
            field |= {"minimum": extra.ge, "maximum": extra.le}
    return field


def _type_name(hint: object, structures: Structures) -> str:
    if hint in _PLAIN:
        return _PLAIN[hint]
    assert isinstance(hint, type), hint
    fields = _parameters(hint, structures) if issubclass(hint, Parameters) else _answer(hint, structures)
    known = structures.setdefault(hint.__name__, fields)
    assert known == fields, f"two structures are named {hint.__name__}"
    return hint.__name__


def _without_none(hint: object) -> tuple[object, bool]:
    if typing.get_origin(hint) not in {types.UnionType, typing.Union}:
        return hint, False
    others = [one for one in typing.get_args(hint) if one is not type(None)]
    assert len(others) == 1, hint
    return others[0], True


def _bare(hint: object) -> tuple[object, tuple[object, ...]]:
    if typing.get_origin(hint) is typing.Annotated:
        bare, *extras = typing.get_args(hint)
        return bare, tuple(extras)
    return hint, ()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(description(SERVICES), indent=1) + "\n")

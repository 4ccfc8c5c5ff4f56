"""docs/api.md, made from what is served and what is documented: `./dev docs` writes it, a test compares it."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tccli

from drystone.api.cbs import CBS
from drystone.api.cbs.service import NOT_SERVED
from drystone.api.description import description
from drystone.api.documented_codes import DOCUMENTED
from drystone.api.refusals import CBS as REFUSALS

HEAD = """# The actions of CBS

`./dev docs` makes this page. It compares what is served with the description of CBS 2017-03-12 that comes with
Tencent's `tccli`, and with the codes in the comments of its SDK for Go.

Parameters and fields are counted with those of all structures within them. Codes are those that an action can be
refused with here, of the ones documented for it; those that any action may give are left out. Most of the others are
about what does not exist here: balances, refunds, other zones, shared disks, images. Tests hold the page: each served
action takes every documented parameter and answers every documented field, and is refused with nothing that the table
of refusals (`api/refusals.py`) does not have.

"""
TABLE = """
| action | parameters | fields | codes |
| --- | --- | --- | --- |
"""
REFUSED = """
## What is not served

There are no remote disks here: what would make, change or price one answers `UnsupportedOperation`.

"""
API: Mapping[str, Any] = json.loads(
    (Path(tccli.__file__).parent / "services/cbs/v20170312/api.json").read_text(encoding="utf-8")
)


def page() -> str:
    """Return the text of the page."""
    count = f"{len(CBS.actions)} of {len(API['actions'])} actions are served.\n"
    rows = "".join(row(name) for name in sorted(CBS.actions))
    refused = "".join(f"- `{name}`\n" for name in sorted(NOT_SERVED))
    return HEAD + count + TABLE + rows + REFUSED + refused


def row(action: str) -> str:
    """Return the line of one action."""
    wanted, asked = set(documented(f"{action}Request")), set(served(action, "parameters"))
    shown, answered = set(documented(f"{action}Response")) - {"RequestId"}, set(served(action, "answer"))
    codes = DOCUMENTED[action]
    return (
        f"| `{action}` | {len(asked & wanted)} of {len(wanted)} | {len(answered & shown)} of {len(shown)} "
        f"| {len(codes & set(REFUSALS[action]))} of {len(codes)} |\n"
    )


def absent(action: str) -> set[str]:
    """Return the documented fields that an action does not answer."""
    return set(documented(f"{action}Response")) - {"RequestId"} - set(served(action, "answer"))


def documented(name: str, within: str = "") -> Iterator[str]:
    """Yield the names of the documented fields of an object, with those within them as in `Disk.Placement.Zone`."""
    for member in API["objects"][name]["members"]:
        if member.get("disabled"):
            continue
        path = f"{within}{member['name']}"
        yield path
        if member["member"] in API["objects"]:
            yield from documented(member["member"], f"{path}.")


_DESCRIBED: Mapping[str, Any] = json.loads(json.dumps(description([CBS])))
_ACTIONS = {action["name"]: action for action in _DESCRIBED["services"][0]["actions"]}


def served(action: str, what: str) -> Iterator[str]:
    """Yield the names of an action's parameters, or of its answer's fields, in the same way."""
    yield from _fields(_ACTIONS[action][what], "")


def _fields(fields: list[Mapping[str, Any]], within: str) -> Iterator[str]:
    for field in fields:
        path = f"{within}{field['name']}"
        yield path
        yield from _fields(_DESCRIBED["structures"].get(field["type"], []), f"{path}.")


if __name__ == "__main__":
    sys.stdout.write(page())

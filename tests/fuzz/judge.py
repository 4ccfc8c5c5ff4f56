"""What must be true after each call, whatever was sent."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tccli

from drystone.api.description import description
from drystone.api.services import SERVICES
from tests.api.real_service import by_action

BROKEN = frozenset({"InternalError", "ServiceUnavailable"})
IDS = re.compile(r"\b(?:disk|snap|csnap|ins|op)-[0-9a-z]{8,}\b")
LOGGED = frozenset({"error", "critical", "exception"})
_DOCUMENTED: Mapping[str, Mapping[str, Any]] = {
    service.name: json.loads(file.read_text(encoding="utf-8"))["objects"]
    for service in SERVICES
    for file in Path(tccli.__file__).parent.glob(
        f"services/{service.name}/v{service.version.replace('-', '')}/api.json"
    )
}
_PLAIN: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "any": object,
}  # fmt: skip
_DOCUMENTED_PLAIN: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "int": int, "int64": int, "uint64": int, "integer": int, "float": (int, float), "bool": bool,
    "datetime": str, "datetime_iso": str, "date": str, "timestamp_iso": str,
}  # fmt: skip


class ViolationError(AssertionError):
    """Something that must always be true is not."""


class Shapes:
    """The descriptions that answers are held against: the server's own, and the official ones where there are any."""

    def __init__(self) -> None:
        told: Any = description(SERVICES)
        self._structures: Mapping[str, Any] = told["structures"]
        answers = {
            (service["name"], action["name"]): action["answer"]
            for service in told["services"]
            for action in service["actions"]
        }
        self._answers = {
            name: (service.name, answers[service.name, name.rpartition(" ")[2]])
            for name, service in by_action(SERVICES).items()
        }

    def check(self, action: str, answer: Mapping[str, Any]) -> None:
        """Hold an answer against them."""
        service, fields = self._answers[action]
        sent = {name: value for name, value in answer.items() if name != "RequestId"}
        for problem in self._problems(action, fields, sent):
            raise ViolationError(f"{action} does not answer as described: {problem}")
        if service in _DOCUMENTED:
            sent.pop("DeprecatedWarning", None)  # The clients know it, and print it; the description does not.
            name = action.rpartition(" ")[2]
            for problem in _documented(_DOCUMENTED[service], f"{name}Response", sent, action):
                raise ViolationError(f"{action} does not answer as documented: {problem}")

    def _problems(self, path: str, fields: Sequence[Mapping[str, Any]], sent: object) -> Iterator[str]:
        if not isinstance(sent, dict):
            yield f"{path} is {type(sent).__name__}"
            return
        named = {field["name"]: field for field in fields}
        for name in sent.keys() ^ named.keys():
            yield f"{path}.{name} is {'not described' if name in sent else 'missing'}"
        for name, field in named.items():
            value = sent.get(name)
            if value is None:
                if name in sent and not field.get("nullable") and field["type"] != "any":
                    yield f"{path}.{name} is null"
                continue
            if bool(field.get("list")) != isinstance(value, list) and field["type"] != "any":
                yield f"{path}.{name} is {type(value).__name__}"
                continue
            for one in value if isinstance(value, list) else [value]:
                yield from self._one(f"{path}.{name}", field, one)

    def _one(self, path: str, field: Mapping[str, Any], value: object) -> Iterator[str]:
        kind = field["type"]
        if kind not in _PLAIN:
            yield from self._problems(path, self._structures[kind], value)
        elif not isinstance(value, _PLAIN[kind]) or (isinstance(value, bool) and kind in {"integer", "number"}):
            yield f"{path} is {value!r}"
        elif "enum" in field and value not in field["enum"]:
            yield f"{path} is {value!r}, none of {field['enum']}"


def _documented(objects: Mapping[str, Any], structure: str, sent: object, path: str) -> Iterator[str]:
    if not isinstance(sent, dict):
        yield f"{path} is {type(sent).__name__}"
        return
    members = {member["name"]: member for member in objects[structure]["members"]}
    for name, value in sent.items():
        if name not in members:
            yield f"{path}.{name} is not documented"
            continue
        member = members[name]
        if value is None:
            if member.get("value_allowed_null") is False:
                yield f"{path}.{name} is null"
            continue
        if (member["type"] == "list") != isinstance(value, list):
            yield f"{path}.{name} is {type(value).__name__}"
            continue
        kind = member["member"]
        for one in value if isinstance(value, list) else [value]:
            if kind in objects:
                yield from _documented(objects, kind, one, f"{path}.{name}")
            elif kind in _DOCUMENTED_PLAIN and not isinstance(one, _DOCUMENTED_PLAIN[kind]):
                yield f"{path}.{name} is {one!r}"


def check_code(action: str, body: bytes, answer: Mapping[str, Any]) -> str:
    """Return the code of an answer; none may say that the service is broken."""
    error = answer.get("Error")
    if error is None:
        return "OK"
    if not error["Message"] or "\n" in error["Message"]:
        raise ViolationError(f"{action} {body[:500]!r} is refused without one line of reason: {error}")
    if str(error["Code"]).partition(".")[0] in BROKEN:
        raise ViolationError(f"{action} {body[:500]!r} broke: {error}")
    return str(error["Code"])


def check_log(entries: Sequence[Mapping[str, Any]]) -> None:
    """No exception and no error may have been logged."""
    for entry in entries:
        if entry["log_level"] in LOGGED or "exc_info" in entry:
            raise ViolationError(f"the log has {entry}")


def rows_of(answer: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return the rows of a page, None if the answer is none."""
    if "TotalCount" not in answer:
        return None
    lists = [value for value in answer.values() if isinstance(value, list)]
    return lists[0] if len(lists) == 1 else None


def check_ids(action: str, sent: bytes, answer: Mapping[str, Any], foreign: frozenset[str]) -> None:
    """No answer may name what is another account's."""
    shown = answer
    if action == "DescribeAuditTrail" and "AuditEntrySet" in answer:
        # An account's trail repeats what its own calls named.
        shown = {"AuditEntrySet": [{**entry, "Resource": ""} for entry in answer["AuditEntrySet"]]}
    named = set(IDS.findall(json.dumps(shown))) & foreign
    # A refusal may repeat what was asked for; a list has no row of it.
    refused = "Error" in answer or bool(answer.get("FailedResources"))
    leaked = named - set(IDS.findall(sent.decode("utf-8", "replace"))) if refused else named
    if leaked:
        raise ViolationError(f"{action} {sent[:300]!r} names what is another account's: {sorted(leaked)[:3]}")


def check_trail(answer: Mapping[str, Any], account: str) -> None:
    """Of the trail, an account is shown its own entries alone."""
    for entry in answer.get("AuditEntrySet", ()):
        if entry["AccountId"] != account:
            raise ViolationError(f"account {account} is shown {entry}")


NOBODYS = "90000"
"""How ids begin that stand for others' ids: no id of a body is one of them already."""


def absent(body: bytes, foreign: frozenset[str]) -> bytes | None:
    """Return the body with ids that nobody has in place of others' ids; None if it names none of those."""
    text = body.decode("utf-8", "replace")
    named = sorted(set(IDS.findall(text)) & foreign)
    for place, one in enumerate(named):
        text = text.replace(one, nobodys(one, place))
    return text.encode() if named else None


def nobodys(one: str, place: int = 0) -> str:
    """Return an id of the same kind that nobody has; another one for each place."""
    prefix, _, rest = one.partition("-")
    return f"{prefix}-{NOBODYS}{place:0{len(rest) - len(NOBODYS)}d}"


def check_apart(
    action: str, body: bytes, answer: Mapping[str, Any], as_absent: Mapping[str, Any], foreign: frozenset[str]
) -> None:
    """A refusal for another's id must be that for nobody's."""
    told = [_told(one, foreign) for one in (answer, as_absent)]
    if told[0] != told[1]:
        raise ViolationError(f"{action} {body[:300]!r} tells another's id from nobody's: {told}")


def _told(answer: Mapping[str, Any], foreign: frozenset[str]) -> object:
    error = answer.get("Error")
    if error is None:
        return "OK"
    message = str(error["Message"]).rpartition(" (")[0]
    for one in set(IDS.findall(message)):
        if one in foreign or one.partition("-")[2].startswith(NOBODYS):
            message = message.replace(one, nobodys(one))
    return error["Code"], message

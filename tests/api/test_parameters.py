import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
import pytest
import tccli
from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.api import cbs
from drystone.api.actions import Action, Paged
from drystone.api.cbs.disks import AttachDisks, CreateDisks, DescribeDisks
from drystone.api.parameters import Filter, Parameters, Tag, from_flat, from_json
from drystone.api.refusals import WireError

API: Mapping[str, Any] = json.loads(
    (Path(tccli.__file__).parent / "services/cbs/v20170312/api.json").read_text(encoding="utf-8")
)
STRUCTURES = {
    kind.__name__: kind
    for module in (cbs.disks, cbs.disk_configs, cbs.snapshots, cbs.snapshot_groups)
    for kind in (*vars(module).values(), Filter, Tag)
    if isinstance(kind, type) and issubclass(kind, Parameters) and kind not in {Parameters, Action, Paged}
}
ACTIONS = {name: kind for name, kind in STRUCTURES.items() if name in API["actions"]}
UNDOCUMENTED = {
    ("AttachDisks", "InstanceType"), ("CreateDisks", "AutoSnapshotPolicyId"), ("DetachDisks", "InstanceType"),
}  # fmt: skip
EXAMPLE = {"int": 7, "bool": True, "string": "text"}
WRONG = {"int": "text", "bool": "text", "string": 7, "list": "text", "object": "text"}


def members(name: str) -> list[Mapping[str, Any]]:
    key = f"{name}Request" if name in API["actions"] else name
    return [member for member in API["objects"][key]["members"] if not member.get("disabled")]


def value_of(member: Mapping[str, Any]) -> object:
    if member["type"] == "object":
        return full(member["member"])
    if member["type"] == "list":
        item = "string" if member["member"] == "string" else "object"
        return [value_of({"type": item, "member": member["member"]}) for _ in range(2)]
    return EXAMPLE[member["type"]]


def full(name: str) -> dict[str, object]:
    """A structure with every documented parameter."""
    return {member["name"]: value_of(member) for member in members(name)}


def code_of(kind: type[Parameters], sent: object) -> str:
    try:
        from_json(json.dumps(sent).encode(), kind)
    except WireError as refusal:
        return refusal.code
    return "OK"


@pytest.mark.parametrize("name", sorted(STRUCTURES))
def test_names_types_and_presence_are_the_documented_ones(name: str) -> None:
    kind, documented = STRUCTURES[name], {member["name"]: member for member in members(name)}
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    extra = {field for field in fields if (name, field) in UNDOCUMENTED}
    assert set(fields) - extra == set(documented)
    for field, member in documented.items():
        assert fields[field].required == bool(member.get("required")), field
    sent = full(name)
    decoded = from_json(json.dumps(sent).encode(), kind)
    assert json.loads(msgspec.json.encode(decoded)) | dict.fromkeys(extra) == sent | dict.fromkeys(extra)
    for field, member in documented.items():
        assert code_of(kind, sent | {field: WRONG[member["type"]]}) == "InvalidParameter", field
        without = {key: value for key, value in sent.items() if key != field}
        assert code_of(kind, without) == ("MissingParameter" if member.get("required") else "OK"), field
        if not member.get("required"):
            assert code_of(kind, sent | {field: None}) == "OK", field
        if member["member"] == "uint64":
            assert code_of(kind, sent | {field: -1}) == "InvalidParameter", field
        if member["type"] == "int":
            for wrong in (True, 1.5, 1 << 64, "7"):
                assert code_of(kind, sent | {field: wrong}) == "InvalidParameter", field
    assert code_of(kind, sent | {"Surprise": 1}) == "UnknownParameter"


def flattened(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten as the official Python client does."""
    pairs = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else None
    if pairs is None:
        yield prefix, str(value)
        return
    for key, child in pairs:
        yield from flattened(child, f"{prefix}.{key}" if prefix else str(key))


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_flattened_is_the_same_as_json(name: str) -> None:
    sent = full(name)
    query = dict(parse_qsl(urlencode(list(flattened(sent)))))
    assert from_flat(query, STRUCTURES[name]) == from_json(json.dumps(sent).encode(), STRUCTURES[name])
    with pytest.raises(WireError) as refused:
        from_flat(query | {"Surprise": "1"}, STRUCTURES[name])
    assert refused.value.code == "UnknownParameter"


def test_lists_of_more_than_ten_keep_their_order() -> None:
    ids = [f"disk-{index:08d}" for index in range(25)]
    flat = {f"DiskIds.{index}": value for index, value in enumerate(ids)}
    assert from_flat(flat, DescribeDisks).disk_ids == tuple(ids)
    assert from_flat(dict(reversed(flat.items())), DescribeDisks).disk_ids == tuple(ids)


@pytest.mark.parametrize(
    ("flat", "code"),
    [
        ({"DiskIds.1": "a"}, "InvalidParameter"),
        ({"DiskIds.0": "a", "DiskIds.2": "b"}, "InvalidParameter"),
        ({"DiskIds": "a"}, "InvalidParameter"),
        ({"DiskIds": "a", "DiskIds.0": "b"}, "InvalidParameter"),
        ({"DiskIds.0": "a", "DiskIds": "b"}, "InvalidParameter"),
        ({"DiskIds.99999999999999999999": "a"}, "InvalidParameter"),
        ({"Filters.0.Name": "a"}, "MissingParameter"),
        ({"Filters.0.Name": "a", "Filters.0.Values.0": "b", "Filters.0.Value": "c"}, "UnknownParameter"),
        ({"Limit": "ten"}, "InvalidParameter"),
        ({"Limit": ""}, "InvalidParameter"),
        ({"Limit": "-1"}, "InvalidParameter"),
        ({"ReturnBindAutoSnapshotPolicy": "yes"}, "InvalidParameter"),
        ({".".join("a" * 50): "a"}, "InvalidParameter"),
        ({"": "a"}, "UnknownParameter"),
        ({"0": "a"}, "InvalidParameter"),
    ],
)
def test_bad_flattened_parameters(flat: Mapping[str, str], code: str) -> None:
    with pytest.raises(WireError) as refused:
        from_flat(flat, DescribeDisks)
    assert refused.value.code == code


def test_flattened_text_stays_text() -> None:
    flat = {"DiskIds.0": "null", "Filters.0.Name": "12", "Filters.0.Values.0": "True", "Order": "null"}
    decoded = from_flat(flat, DescribeDisks)
    assert decoded.disk_ids == ("null",)
    assert decoded.order == "null"
    assert decoded.filters is not None
    assert decoded.filters[0].values == ("True",)


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"{", "InvalidRequest", "not valid JSON"),
        (b"\xff\xfe", "InvalidRequest", "not valid JSON"),
        (b"[]", "InvalidParameter", "wrong type"),
        (b"null", "InvalidParameter", "wrong type"),
        (b'{"Limit": 1e999}', "InvalidParameter", "Limit"),
        (b'{"Filters": [{"Name": "a", "Values": [1]}]}', "InvalidParameter", "`Filters.0.Values.0`"),
        (b'{"Filters": [{"Name": "a"}]}', "MissingParameter", "`Filters.0.Values`"),
        (b'{"Filters": [{"Name": "a", "Values": [], "X": 1}]}', "UnknownParameter", "`Filters.0.X`"),
        (b'{"X": ' + b"[" * 100_000, "UnknownParameter", "`X`"),
        (b'{"DiskIds": ' + b"[" * 100_000, "InvalidParameter", "`DiskIds.0`"),
    ],
)
def test_bad_bodies(body: bytes, code: str, text: str) -> None:
    with pytest.raises(WireError, match=text.replace(".", r"\.")) as refused:
        from_json(body, DescribeDisks)
    assert refused.value.code == code


def test_an_empty_body_is_an_empty_object() -> None:
    assert from_json(b"", DescribeDisks) == DescribeDisks()


def test_the_csi_drivers_instance_type_is_tolerated() -> None:
    sent = {"InstanceId": "ins-00000001", "DiskIds": ["disk-00000001"], "InstanceType": "eks"}
    assert code_of(AttachDisks, sent) == "OK"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_parameters_or_a_refusal(body: bytes) -> None:
    for kind in (CreateDisks, DescribeDisks):
        try:
            from_json(body, kind)
        except WireError as refusal:
            refusal.message.encode()


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["DiskIds", "Filters", "Name", "Values", "Limit", "x"]), inner, max_size=3
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_gives_parameters_or_a_refusal(value: object) -> None:
    allowed = {"OK", "InvalidParameter", "MissingParameter", "UnknownParameter", "InvalidRequest"}
    assert code_of(DescribeDisks, value) in allowed


@settings(deadline=None)
@given(st.dictionaries(st.text(alphabet="Filters.01DkNameVu", max_size=20), st.text(max_size=5), max_size=6))
def test_any_flat_parameters_give_parameters_or_a_refusal(flat: Mapping[str, str]) -> None:
    with contextlib.suppress(WireError):
        from_flat(flat, DescribeDisks)

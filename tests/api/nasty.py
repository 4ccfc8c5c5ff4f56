"""A grammar of values that break programs, by the type of a parameter, as JSON text.

Texts and not values, for `1e999`, `NaN` and half a surrogate are no values of Python's `json`. One module, so that
every test and fuzzer that sends parameters sends these.
"""

import json
from collections.abc import Iterator

import msgspec
from msgspec import inspect

from drystone.api.parameters import Parameters

NOT_OF_THE_TYPE = ("null", "true", "[]", "{}", "[[]]", "NaN", "-Infinity", "1.5", "1e999", '"x"', "7")
HUGE = tuple(
    str(sign * number + more)
    for number in (1 << 31, 1 << 32, 1 << 53, 1 << 63, 1 << 64, 10**40)
    for sign in (1, -1)
    for more in (-1, 0, 1)
)
FLOATS = ("0", "-0.0", "5e-324", "1e308", "-1e308", "1e-7", "123456789.123456789")
TEXTS = (
    '""', '" "', '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udfff\\ud800"', '"\\uffff"', '"\\r\\n"', '"\\u202e"',
    '"%s%n%x"', '"\' OR 1=1; --"', '"../../../etc/passwd"', '"/"', '"-1"', '"${x}"', '"中文"', '"\U0010ffff"',
    '"e\\u0301"',
)  # fmt: skip
TIMES = tuple(
    f'"{text}"'
    for text in (
        "0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00-12:00",
        "1969-12-31T23:59:59Z", "2038-01-19T03:14:08Z", "2262-04-12T00:00:00Z", "9998-12-31T23:59:59-23:59",
        "9998-12-31T23:59:59+00:00", "9999-01-01T00:00:00+00:00", "9999-01-01T00:00:01+00:00",
        "9999-12-31T15:59:59+00:00", "9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59-12:00",
        "9999-12-31T23:59:59.999999+14:00", "9999-12-31T23:59:59.999999Z", "10000-01-01T00:00:00Z",
        "+10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "2030-06-30T23:59:60Z", "2030-02-30T00:00:00Z",
        "2030-01-01", "2030-01-01T00:00:00", "20300101T000000Z", "2030-W01-1T00:00:00Z", "2030-01-01T00:00:00+24:00",
        "2030-01-01T00:00:00+23:59:59", "2030-01-01T24:00:00Z", "1e999", "NaN",
    )
)  # fmt: skip


def values(kind: inspect.Type) -> Iterator[str]:
    """Yield JSON texts for a parameter of this type: its bounds, beyond them, of other types, and worse."""
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from values(one)
        return
    yield from NOT_OF_THE_TYPE
    if isinstance(kind, inspect.IntType):
        assert kind.ge is not None
        assert kind.le is not None
        yield from (str(bound + more) for bound in (kind.ge, kind.le) for more in (-1, 0, 1))
        yield from HUGE
    elif isinstance(kind, inspect.FloatType):
        assert kind.ge is not None
        assert kind.le is not None
        yield from (repr(bound + more) for bound in (kind.ge, kind.le) for more in (-1.0, 0.0, 1.0))
        yield from (*FLOATS, *HUGE)
    elif isinstance(kind, inspect.StrType):
        assert kind.max_length is not None
        yield from TEXTS
        yield from (json.dumps("é" * size) for size in (kind.max_length - 1, kind.max_length, kind.max_length + 1))
        yield from TIMES
    elif isinstance(kind, inspect.VarTupleType):
        assert kind.max_length is not None
        plain = example(kind.item_type)
        for count in (1, 2, kind.max_length, kind.max_length + 1):
            yield f"[{','.join([plain] * count)}]"
        yield from (f"[{one}]" for one in values(kind.item_type))
    elif isinstance(kind, inspect.StructType):
        fields = {field.encode_name: field for field in kind.fields}
        base = {name: example(field.type) for name, field in fields.items() if field.required}
        for name, field in fields.items():
            yield from (_object(base | {name: one}) for one in values(field.type))
    else:
        assert isinstance(kind, inspect.BoolType | inspect.NoneType), kind


def example(kind: inspect.Type) -> str:
    """Return the plainest JSON text of a type."""
    if isinstance(kind, inspect.UnionType):
        return example(kind.types[0])
    if isinstance(kind, inspect.StructType):
        return _object({field.encode_name: example(field.type) for field in kind.fields if field.required})
    if isinstance(kind, inspect.VarTupleType):
        return f"[{example(kind.item_type)}]"
    return {inspect.BoolType: "true", inspect.StrType: '"text"'}.get(type(kind), "1")


def bodies(kind: type[Parameters], base: dict[str, object]) -> Iterator[tuple[str, bytes]]:
    """Yield (parameter, body) of calls that differ from a good one in one parameter."""
    plain = {name: json.dumps(value) for name, value in base.items()}
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        for one in dict.fromkeys(values(inspect.type_info(field.type))):
            yield name, _object(plain | {name: one}).encode()


def unbounded(kind: object, path: str = "") -> Iterator[str]:
    """Yield the names of what has no bound in a type that may be sent."""
    found = kind if isinstance(kind, inspect.Type) else inspect.type_info(kind)
    if isinstance(found, inspect.UnionType):
        for one in found.types:
            yield from unbounded(one, path)
    elif isinstance(found, inspect.IntType | inspect.FloatType):
        if found.ge is None or found.le is None:
            yield path
    elif isinstance(found, inspect.StrType):
        # A text without a pattern may have a zero byte.
        if found.max_length is None or found.pattern is None:
            yield path
    elif isinstance(found, inspect.VarTupleType):
        if found.max_length is None:
            yield path
        yield from unbounded(found.item_type, f"{path}[]")
    elif isinstance(found, inspect.StructType):
        for field in found.fields:
            yield from unbounded(field.type, f"{path}.{field.encode_name}")
    elif not isinstance(found, inspect.BoolType | inspect.NoneType):
        yield path


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in members.items()) + "}"

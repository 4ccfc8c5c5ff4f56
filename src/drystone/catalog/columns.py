"""Column types: text and bytes to the frozen values of the domain, and back.

JSON text is canonical (no spaces, sorted keys and sets), so that equal values are equal text: a column of these types
can be compared in a compare-and-set.
"""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
import numpy as np
from sqlalchemy import LargeBinary, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from drystone.domain.blocks import Ranges
from drystone.domain.disk import DiskEncryption
from drystone.domain.event import Facts
from drystone.domain.policy import Retention, Spread, Trigger
from drystone.domain.proof import Finding, ProofStep
from drystone.domain.quiesce import Step, StepKind
from drystone.domain.snapshot import SnapshotRecord

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class EncodedText(TypeDecorator[T]):
    """A text column that holds `encode(value)`; None is NULL."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Text
    cache_ok: bool | None = True

    def __init__(self, encode: Callable[[T], str], decode: Callable[[str], T]) -> None:
        super().__init__()
        self.encode = encode
        self.decode = decode

    def process_bind_param(self, value: T | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the text of a value."""
        return None if value is None else self.encode(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> T | None:  # noqa: ANN401, ARG002 - SQLAlchemy's signature
        """Return the value of a text."""
        return None if value is None else self.decode(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], T | None]:  # noqa: ARG002 - as above
        """Return `process_result_value` without the two calls around it: a page of rows has hundreds of these."""
        decode = self.decode
        return lambda text: None if text is None else decode(text)


class RangesColumn(TypeDecorator[Ranges]):
    """Block ranges as pairs of little-endian 64-bit integers."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = LargeBinary
    cache_ok: bool | None = True

    def process_bind_param(self, value: Ranges | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the bytes of the ranges."""
        return None if value is None else np.ascontiguousarray(value, dtype="<i8").tobytes()

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Ranges | None:  # noqa: ANN401, ARG002 - SQLAlchemy's signature
        """Return the ranges, read-only."""
        if value is None:
            return None
        return np.frombuffer(value, dtype="<i8").astype(np.int64, copy=False).reshape(-1, 2)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _record_text(record: SnapshotRecord) -> str:
    return _dump({name: field for name, field in asdict(record).items() if field is not None and field != ()})


def _record(text: str) -> SnapshotRecord:
    fields = json.loads(text)
    return SnapshotRecord(**{**fields, "transcript": tuple(fields.get("transcript", ()))})


def _steps_text(steps: tuple[Step, ...]) -> str:
    return _dump([asdict(step) for step in steps])


def _steps(text: str) -> tuple[Step, ...]:
    return tuple(
        Step(
            **{
                **fields,
                "kind": StepKind(fields["kind"]),
                "freeze": tuple(fields["freeze"]),
                "thaw": tuple(fields["thaw"]),
            }
        )
        for fields in json.loads(text)
    )


def _proof_steps(text: str) -> tuple[ProofStep, ...]:
    return tuple(ProofStep(**{**fields, "finding": Finding(fields["finding"])}) for fields in json.loads(text))


def _given(value: Any) -> dict[str, object]:  # noqa: ANN401 - any dataclass
    return {name: one for name, one in asdict(value).items() if one not in (None, (), False)}


def _triggers(text: str) -> tuple[Trigger, ...]:
    return tuple(
        Trigger(
            hours=tuple(fields["hours"]), days_of_week=tuple(fields.get("days_of_week", ())),
            days_of_month=tuple(fields.get("days_of_month", ())), interval_days=fields.get("interval_days"),
        )
        for fields in json.loads(text)
    )  # fmt: skip


def _retention(text: str) -> Retention:
    fields = json.loads(text)
    if "spread" in fields:
        fields["spread"] = Spread(**fields["spread"])
    return Retention(**fields)


def enumeration(members: type[E]) -> EncodedText[E]:
    """Return the column type of an enumeration: any other value is a `ValueError`, both ways."""
    return EncodedText(lambda member: members(member).value, functools.cache(members))


# Most rows have no tags, and most lists of names are one of a few: values that nobody can change are made once.
_remembered = functools.lru_cache(maxsize=1024)

TAGS: EncodedText[tuple[tuple[str, str], ...]] = EncodedText(
    lambda tags: _dump([list(pair) for pair in tags]),
    _remembered(lambda text: tuple((key, value) for key, value in json.loads(text))),
)
"""Tags as `[[key, value], ...]`, in the order given."""
NAMES: EncodedText[tuple[str, ...]] = EncodedText(
    lambda names: _dump(list(names)), _remembered(lambda text: tuple(json.loads(text)))
)
"""A list of names, in order."""
NAME_SET: EncodedText[frozenset[str]] = EncodedText(
    lambda names: _dump(sorted(names)), _remembered(lambda text: frozenset(json.loads(text)))
)
"""A set of names, kept sorted."""
VERSIONS: EncodedText[Mapping[str, str]] = EncodedText(lambda value: _dump(dict(value)), _remembered(json.loads))
"""Versions of objects, by name."""
OBJECT: EncodedText[Any] = EncodedText(lambda value: _dump(dict(value)), json.loads)
"""A JSON object."""
PAYLOAD: EncodedText[Any] = EncodedText(
    lambda payload: msgspec.json.encode(payload, order="sorted").decode(), lambda text: text
)
"""What an operation remembers: a JSON object, which is read by the kind of its row (`catalog.operations`)."""
RECORD: EncodedText[SnapshotRecord] = EncodedText(_record_text, _remembered(_record))
"""The record of P7: a JSON object of the fields that are known."""
STEPS: EncodedText[tuple[Step, ...]] = EncodedText(_steps_text, _steps)
"""The steps of a quiesce profile."""
TRIGGERS: EncodedText[tuple[Trigger, ...]] = EncodedText(
    lambda triggers: _dump([_given(one) for one in triggers]), _remembered(_triggers)
)
"""When snapshots of a policy are due."""
RETENTION: EncodedText[Retention] = EncodedText(lambda kept: _dump(_given(kept)), _remembered(_retention))
"""How long they are kept."""
PROOF_STEPS: EncodedText[tuple[ProofStep, ...]] = EncodedText(
    lambda steps: _dump([asdict(step) for step in steps]), _proof_steps
)
"""What was tried to open a snapshot."""
ENCRYPTION: EncodedText[DiskEncryption] = EncodedText(
    lambda value: _dump(asdict(value)), lambda text: DiskEncryption(**json.loads(text))
)
"""How a disk is encrypted."""
FACTS: EncodedText[Facts] = EncodedText(
    lambda facts: msgspec.json.encode(facts, order="sorted").decode(),
    lambda text: msgspec.json.decode(text, type=Facts),
)
"""What is known of an event."""

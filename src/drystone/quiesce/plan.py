"""What the watchdog is asked, and what it says: one line of JSON each. Imported by a process that must start fast."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from drystone.domain.quiesce import Step, StepKind

LINE_BYTES_MAX = 1 << 20
THAW = b"thaw\n"
"""The one thing said to a watchdog after its plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to hold, and for how long at most."""

    steps: tuple[Step, ...]
    """In order of freezing."""
    seconds_max: float
    """From the first step on; then everything is thawed."""
    stop_at_failure: bool
    """A step that fails ends it: what was frozen is thawed at once."""
    devices: tuple[int, ...]
    """Numbers (`st_rdev`) of the devices that may be frozen: those of the snapshot's disks."""
    never: tuple[int, ...]
    """Numbers of devices that may not, whatever else is said: the root's, and that of Drystone's own data."""
    path: str
    """`PATH` for commands and clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What the watchdog says."""

    name: str
    """`freeze` and `thaw` of one step; `held` once all steps were done; `end`, the last one."""
    step: int = -1
    """Index of the step, for `freeze` and `thaw`."""
    ok: bool = True
    """Whether it was done. Of `end`: whether everything was held until the thaw was asked for."""
    ms: float = 0.0
    """How long it took. Of `end`: how long anything was held."""
    detail: str = ""
    """An error, or what the application said (a position in its log)."""


def encode_plan(plan: Plan) -> bytes:
    """Return the line."""
    return json.dumps(asdict(plan)).encode() + b"\n"


def decode_plan(line: bytes) -> Plan:
    """Return the plan of a line."""
    fields = json.loads(line)
    steps = tuple(_step(step) for step in fields.pop("steps"))
    return Plan(**{**fields, "steps": steps, "devices": tuple(fields["devices"]), "never": tuple(fields["never"])})


def encode_event(event: Event) -> bytes:
    """Return the line."""
    return json.dumps(asdict(event)).encode() + b"\n"


def decode_event(line: bytes) -> Event:
    """Return the event of a line."""
    return Event(**json.loads(line))


def _step(fields: Mapping[str, object]) -> Step:
    freeze, thaw = fields["freeze"], fields["thaw"]
    assert isinstance(freeze, list)
    assert isinstance(thaw, list)
    return Step(**{**fields, "kind": StepKind(str(fields["kind"])), "freeze": tuple(freeze), "thaw": tuple(thaw)})  # type: ignore[arg-type]

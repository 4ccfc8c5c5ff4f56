"""What the prover is asked, and what it says: one line of JSON each."""

import json
from dataclasses import asdict, dataclass

from drystone.domain.opening import Finding, OpeningStep

LINE_BYTES_MAX = 1 << 20
END = b"end\n"
"""Its last line: it has tried everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProverPlan:
    """What to open.

    Attributes:
        volumes: Block devices with what to call them.
        databases: Kinds of databases that must be on one of them: `mariadb`, `postgresql`.
        seconds_max: Of each step.
        path: `PATH` for all programs.
    """

    volumes: tuple[tuple[str, str], ...]
    databases: tuple[str, ...]
    seconds_max: float
    path: str


def encode_plan(plan: ProverPlan) -> bytes:
    """Return the line."""
    return json.dumps(asdict(plan)).encode() + b"\n"


def decode_plan(line: bytes) -> ProverPlan:
    """Return the plan of a line."""
    fields = json.loads(line)
    volumes = tuple((str(title), str(device)) for title, device in fields["volumes"])
    return ProverPlan(**{**fields, "volumes": volumes, "databases": tuple(fields["databases"])})


def encode_step(step: OpeningStep) -> bytes:
    """Return the line."""
    return json.dumps(asdict(step)).encode() + b"\n"


def decode_step(line: bytes) -> OpeningStep:
    """Return the step of a line."""
    fields = json.loads(line)
    return OpeningStep(**{**fields, "finding": Finding(fields["finding"])})

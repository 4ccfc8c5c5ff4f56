"""What the prover in the machine says to the host: one line of printable ASCII for each step, then `end`.

Whoever owns the machine writes these lines: every field is bounded, and what is not such a line is refused (S167).
"""

import re

from drystone.domain.errors import ProtocolError
from drystone.domain.proof import Finding, ProofStep

HELLO = b"hello\n"
"""The first line: the machine has started, and nothing of the clone was read yet."""
WORKING = b"working\n"
"""Between steps: something was read from the disks or written to them since the last line."""
WORKING_SECONDS = 10.0
"""How often that is looked at."""
WORKING_LINES_MAX = 10_000
"""More than come in the longest time that a proof may be given, a day."""
END = b"end\n"
"""The last line: everything was tried."""
LINE_BYTES_MAX = 1024
STEPS_MAX = 1000
TITLE_CHARACTERS_MAX = 200
DETAIL_CHARACTERS_MAX = 400
_LINE = re.compile(
    rb"(opens|damaged|not proven)\t([0-9]{1,6}\.[0-9]{3})\t([ -~]{1,%d})\t([ -~]{0,%d})\n"
    % (TITLE_CHARACTERS_MAX, DETAIL_CHARACTERS_MAX)
)


def printable(text: str, characters_max: int) -> str:
    """Return text as one line of printable ASCII, everything else escaped, cut to a length."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()[:characters_max].translate(_ESCAPED)


_ESCAPED = dict.fromkeys((*range(32), 127), "?")


def encode_step(step: ProofStep) -> bytes:
    """Return the line of a step."""
    title = printable(step.title, TITLE_CHARACTERS_MAX) or "?"
    detail = printable(step.detail, DETAIL_CHARACTERS_MAX)
    return f"{step.finding.value}\t{min(step.seconds, 999_999.0):.3f}\t{title}\t{detail}\n".encode("ascii")


def decode_step(line: bytes) -> ProofStep:
    """Return the step of a line.

    Raises:
        ProtocolError: It is none.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise ProtocolError(f"no line of a prover: {line[:60]!r}")
    finding, seconds, title, detail = (part.decode("ascii") for part in found.groups())
    return ProofStep(title=title, finding=Finding(finding), seconds=float(seconds), detail=detail)

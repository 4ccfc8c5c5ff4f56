"""What the machine says: lines survive, and what is none is refused, whoever wrote it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drystone.domain.errors import ProtocolError
from drystone.domain.proof import Finding, ProofStep
from drystone.prove.wire import END, HELLO, LINE_BYTES_MAX, decode_step, encode_step


def test_lines_survive() -> None:
    step = ProofStep(title="a", finding=Finding.DAMAGED, seconds=1.5, detail="x y")
    assert encode_step(step) == b"damaged\t1.500\ta\tx y\n"
    assert decode_step(encode_step(step)) == step


@given(st.text(), st.text(), st.floats(min_value=0, max_value=1e9), st.sampled_from(Finding))
def test_any_text_becomes_one_short_line(title: str, detail: str, seconds: float, finding: Finding) -> None:
    line = encode_step(ProofStep(title=title, finding=finding, seconds=seconds, detail=detail))
    assert len(line) <= LINE_BYTES_MAX
    assert line.count(b"\n") == 1
    assert decode_step(line).finding is finding


@given(st.binary(max_size=200))
def test_what_is_no_line_is_refused(line: bytes) -> None:
    """S167."""
    with pytest.raises(ProtocolError):
        decode_step(line)


@pytest.mark.parametrize(
    "line",
    [
        HELLO, END, b"", b"\n", b"opens\t1.0\ta\t\n", b"opens\t1.000\t\t\n", b"opens\t-1.000\ta\t\n",
        b"fine\t1.000\ta\t\n", b"opens\t1.000\ta\tb\tc\n", b"opens\t1.000\ta\t\x1b[2J\n",
        b"opens\t1.000\ta\t\xc3\xa4\n", b"opens\t1.000\ta\tb", b"opens\t1.000\ta\t" + b"x" * 401 + b"\n",
        b"opens\t1.000\ta\tb\nend\n", b"opens\t9999999.000\ta\t\n",
    ],
)  # fmt: skip
def test_these_are_none(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_step(line)

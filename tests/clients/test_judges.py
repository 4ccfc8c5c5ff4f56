"""Judges that need nothing that is not there already; `./dev judges` runs the others."""

from pathlib import Path

import pytest

from tests.clients import sdks
from tests.clients.__main__ import _verdict
from tests.clients.verdict import Verdict
from tests.system.harness import installation


def test_a_judge_says_one_line() -> None:
    assert Verdict(passed=2).line("a") == "pass     a: 2 ran, 2 passed, 0 failed"
    assert Verdict(passed=1, failures=("x",)).line("a") == "FAIL     a: 2 ran, 1 passed, 1 failed"
    assert Verdict(not_run="it is not there").line("a") == "not run  a: it is not there"
    assert Verdict(passed=1, not_run="more").line("a") == "pass     a: 1 ran, 1 passed, 0 failed; not run: more"


def test_a_judge_that_cannot_be_built_has_failed() -> None:
    def judge(_system: object, _scratch: Path) -> Verdict:
        raise FileNotFoundError("no npm")

    assert _verdict(judge, None, Path()).failures == ("no npm",)  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_sdk_for_python(tmp_path: Path) -> None:
    with installation(tmp_path / "data", f'host_names = ["{sdks.NAME}"]\n') as system:
        verdict = sdks.judged("python", system, tmp_path)
    assert (verdict.passed, verdict.failures) == (18, ())

"""The benchmark program: its arguments, its table, its arithmetic. What it measures is not tested here."""

import io
import json

import numpy as np
import pytest
from bench.__main__ import ROWS, parser
from bench.figures import Figure, as_object, as_table, at_least, at_most
from bench.guest import Requests
from bench.world import median, plan
from rich.console import Console


def test_arguments_choose_rows_and_sizes() -> None:
    options = parser().parse_args(["--only", "rescan", "api", "--quick", "--size-gb", "0.5"])
    assert options.only == ["rescan", "api"]
    assert options.quick
    assert plan(quick=options.quick, size_gb=options.size_gb).data_bytes == 500_000_000
    assert parser().parse_args([]).only is None
    assert plan(quick=False, size_gb=None).data_bytes == 5_000_000_000


@pytest.mark.parametrize("wrong", [["--only", "nonsense"], ["--size-gb", "0"], ["--size-gb", "nan"], ["--fast"]])
def test_wrong_arguments_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parser().parse_args(wrong)
    assert refused.value.code == 2
    assert f"argument {wrong[0]}:" in (said := capsys.readouterr().err) or f"unrecognized arguments: {wrong[0]}" in said


def test_every_row_of_the_design_is_there() -> None:
    assert set(ROWS) == {
        "create_snapshot", "guest_during_upload", "full_snapshot", "incremental", "rescan", "restore", "rollback",
        "api", "takeover",
    }  # fmt: skip


def test_goals_have_a_side_and_a_gap() -> None:
    assert at_most(50).met(50)
    assert not at_most(50).met(50.1)
    assert at_most(50).gap(100) == 2
    assert at_least(1000).met(1000)
    assert not at_least(1000).met(999)
    assert at_least(1000).gap(250) == 4


def test_table_and_json_tell_met_from_missed() -> None:
    figures = [
        Figure(row="api", what="calls", value=500, unit="calls/s", goal=at_least(1000)),
        median("api", "p99", [3, 1, 2], "ms", at_most(2)),
        Figure(row="takeover", what="seconds", value=1.234, unit="s", note="as is"),
    ]
    out = io.StringIO()
    Console(file=out, width=120).print(as_table(figures))
    lines = [line for line in out.getvalue().splitlines() if line.strip()]
    assert "missed 2 x" in lines[2]
    assert "≥ 1,000" in lines[2]
    assert "met" in lines[3]
    assert "1.23 s" in lines[4]
    found = json.loads(json.dumps(as_object({"cores": 2}, figures, {"rescan": "why"})))
    assert [row["met"] for row in found["figures"]] == [False, True, None]
    assert found["figures"][1]["samples"] == [3, 1, 2]
    assert found["figures"][1]["value"] == 2
    assert found["failures"] == {"rescan": "why"}


def test_slowest_across_a_span_counts_what_was_under_way() -> None:
    requests = Requests(ended_s=np.array([10.0, 11.0, 12.5, 14.0]), latency_ms=np.array([5.0, 900.0, 400.0, 7.0]))
    # The second had begun before the span and ended after its start; the third began in it and ended after it.
    assert requests.slowest_across(10.9, 12.2) == 900
    assert requests.slowest_across(11.5, 12.2) == 400
    assert requests.slowest_across(13.9, 14.1) == 7
    assert np.isnan(requests.slowest_across(20, 21))
    assert requests.rate(10, 12) == 1

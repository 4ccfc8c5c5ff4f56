"""The benchmark program: its arguments, its table, its arithmetic. What it measures is not tested here."""

import io
import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from bench.__main__ import ROWS, parser
from bench.figures import Figure, as_object, as_table, at_least, at_most
from bench.guest import Requests
from bench.stalls import Stalls, common, stood_before
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
    assert set(ROWS) >= {
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


def test_the_machine_stood_where_every_core_did() -> None:
    left = np.array([[1.0, 2.0], [3.0, 5.0], [8.0, 9.0]])
    right = np.array([[1.5, 3.5], [4.0, 4.5], [9.0, 10.0]])
    both = common(left, right)
    assert both.tolist() == [[1.5, 2.0], [3.0, 3.5], [4.0, 4.5]]
    assert stood_before(both, np.array([0.0, 1.75, 2.5, 3.25, 11.0])) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.5])
    assert stood_before(np.empty((0, 2)), np.array([1.0])).tolist() == [0.0]


@pytest.mark.clock
def test_watchers_that_are_stopped_are_late(tmp_path: Path) -> None:
    with Stalls(tmp_path) as stalls:
        began, deadline = time.time(), time.monotonic() + 60
        # Again, for a watcher that is stopped before it has begun notices nothing.
        while stalls.stood_s(began, time.time()) <= 0.3 and time.monotonic() < deadline:
            for number in (signal.SIGSTOP, signal.SIGCONT):
                time.sleep(0.5)
                for watcher in stalls._watchers:
                    watcher.send_signal(number)
            time.sleep(0.1)
        assert 0.3 < stalls.stood_s(began, time.time()) < time.time() - began


def test_slowest_across_a_span_counts_what_was_under_way() -> None:
    requests = Requests(ended_s=np.array([10.0, 11.0, 12.5, 14.0]), latency_ms=np.array([5.0, 900.0, 400.0, 7.0]))
    # The second had begun before the span and ended after its start; the third began in it and ended after it.
    none = np.empty((0, 2))
    assert requests.slowest_across(10.9, 12.2, none) == (900, 900)
    assert requests.slowest_across(11.5, 12.2, none) == (400, 400)
    assert requests.slowest_across(13.9, 14.1, none) == (7, 7)
    assert np.isnan(requests.slowest_across(20, 21, none)).all()
    # 0.7 s of the second, and 0.1 s of the third, nothing ran.
    stalls = np.array([[10.2, 10.9], [12.3, 12.4], [13.0, 13.5]])
    assert requests.slowest_across(10.9, 12.2, stalls) == pytest.approx((900, 300))
    assert requests.rate(10, 12) == 1

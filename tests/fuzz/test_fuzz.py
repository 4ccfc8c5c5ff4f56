"""A short run of the fuzzer, and what it must find. `./dev fuzz` runs for hours."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import judge
from tests.fuzz.judge import Shapes, ViolationError
from tests.fuzz.run import fuzz


@pytest.mark.timeout(300)
def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    outcome = fuzz(tmp_path / "data", seed=11, seconds=10)
    assert outcome.codes["OK"] > 5, outcome
    assert len(outcome.codes) > 3, outcome


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("plant", "focus", "words"),
    [
        ("late-deadline", "ModifySnapshotAttribute", "broke|log has"),
        ("forgotten-bound", "ModifyDiskAttributes", "broke|log has"),
        ("leaked-id", "DescribeDisks", "another account"),
        ("told-apart", "ModifySnapshotAttribute", "tells another's id from nobody's"),
        ("wrong-count", "DescribeDisks", "counts .* and has"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, plant: str, focus: str, words: str) -> None:
    with pytest.raises(ViolationError, match=words):
        fuzz(tmp_path / "data", seed=2, seconds=600, plant=plant, focus=focus)


def refused(code: str, message: str) -> Mapping[str, Any]:
    return {"Error": {"Code": code, "Message": f"{message} (aabbccddeeff)"}}


def test_the_judge_finds_each_kind_of_fault() -> None:
    own, foreign = "disk-aaaaaaaa", frozenset({"disk-bbbbbbbb"})
    with pytest.raises(ViolationError, match="broke"):
        judge.check_code("X", b"{}", refused("InternalError.ComponentError", "x"))
    with pytest.raises(ViolationError, match="one line"):
        judge.check_code("X", b"{}", refused("InvalidParameter", "x\ny"))
    with pytest.raises(ViolationError, match="log has"):
        judge.check_log([{"event": "x", "log_level": "error"}])
    with pytest.raises(ViolationError, match="log has"):
        judge.check_log([{"event": "x", "log_level": "warning", "exc_info": ValueError()}])
    judge.check_ids("X", b'{"DiskId":"disk-bbbbbbbb"}', refused("A", "There is no disk disk-bbbbbbbb."), foreign)
    for body, answer in (
        (b"{}", refused("A", "It is disk-bbbbbbbb's.")),
        (b'{"DiskIds":["disk-bbbbbbbb"]}', {"DiskSet": [{"DiskId": "disk-bbbbbbbb"}]}),
    ):
        with pytest.raises(ViolationError, match="another account"):
            judge.check_ids("X", body, answer, foreign)
    body = json.dumps({"DiskIds": [own, "disk-bbbbbbbb"]}).encode()
    assert judge.absent(body, foreign) == body.replace(b"disk-bbbbbbbb", b"disk-90000000")
    assert judge.absent(b"{}", foreign) is None
    several = frozenset({"disk-bbbbbbbb", "disk-cccccccc"})
    # Two ids stay two: a call that takes one at a time is refused for another reason.
    assert judge.absent(b'["disk-cccccccc","disk-bbbbbbbb"]', several) == b'["disk-90000001","disk-90000000"]'
    judge.check_apart("X", body, refused("A", "No disk-bbbbbbbb."), refused("A", "No disk-90000000."), foreign)
    with pytest.raises(ViolationError, match="nobody's"):
        judge.check_apart("X", body, refused("A", "Yes."), refused("A", "No."), foreign)


def test_the_judge_knows_the_shape_of_answers() -> None:
    shapes = Shapes()
    good: dict[str, Any] = {"TotalCount": 0, "SnapshotSet": [], "RequestId": "x"}
    shapes.check("DescribeSnapshots", good)
    wrongs: tuple[dict[str, Any], ...] = (
        {"TotalCount": "0"}, {"TotalCount": None}, {"SnapshotSet": [{}]}, {"SnapshotSet": "x"}, {"More": 1},
        {"TotalCount": True},
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(ViolationError, match="does not answer as described"):
            shapes.check("DescribeSnapshots", good | wrong)

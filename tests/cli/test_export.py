"""A snapshot on standard output."""

from pathlib import Path
from typing import Any

import pytest

from .conftest import Command, Time
from .fake_service import FakeService, operation, paged


@pytest.fixture
def exported(service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server of this machine that exports; the directory for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def export(given: dict[str, Any]) -> dict[str, Any]:
        path = Path(given["Path"])
        assert path.parent.parent == tmp_path
        path.write_text(f"{path.suffix} {given.get('Format')}")
        return {"OperationId": "op-aaaaaaaa"}

    service.on("ExportSnapshot", export)
    rows = [operation("op-aaaaaaaa", Kind="export")]
    service.on("DescribeOperations", paged("OperationSet", rows, "OperationId", "OperationIds"))
    return tmp_path


def left(directory: Path) -> list[str]:
    return [path.name for path in directory.glob("drystone-export-*")]


def test_an_image_is_printed_and_nothing_is_left(command: Command, exported: Path) -> None:
    done = command("snapshot", "export", "snap-aaaaaaaa", "-")
    assert (done.code, done.out, left(exported)) == (0, ".raw None", [])
    assert command("snapshot", "export", "snap-aaaaaaaa", "-", "--format", "qcow2").out == ".qcow2 qcow2"


def test_of_an_export_that_is_not_awaited_nothing_is_left(
    command: Command, service: FakeService, exported: Path, clock: Time
) -> None:
    running = [operation("op-aaaaaaaa", Kind="export", State="RUNNING", Phase="COPYING", Cancellable=True)]
    service.on("DescribeOperations", paged("OperationSet", running, "OperationId", "OperationIds"))
    service.on("CancelOperation", {})
    late = command("snapshot", "export", "snap-aaaaaaaa", "-", "--timeout", "2")
    assert (late.code, late.out, left(exported)) == (7, "", [])

    def interrupt() -> None:
        raise KeyboardInterrupt

    clock.meanwhile = interrupt
    stopped = command("snapshot", "export", "snap-aaaaaaaa", "-")
    assert (stopped.code, stopped.out, left(exported)) == (130, "", [])
    assert service.asked("CancelOperation") == [{"OperationId": "op-aaaaaaaa"}] * 2


def test_what_cannot_be_printed_is_refused(command: Command, service: FakeService, exported: Path) -> None:
    for options, said in (
        (("-", "--json"), "an image is printed alone"),
        (("-", "--no-wait"), "an image is printed alone"),
        (("--nope",), "--nope is no option"),
    ):
        refused = command("snapshot", "export", "snap-aaaaaaaa", *options)
        assert (refused.code, refused.out) == (2, "")
        assert said in refused.err
    assert service.asked("ExportSnapshot") == []

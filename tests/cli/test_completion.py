"""Names and ids are completed as the server has them; quickly, and without a word where it does not answer."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drystone.cli import naming
from drystone.cli.app import build_app, run
from drystone.cli.session import Outside

from .conftest import SECRET
from .fake_service import FakeService, RefusalError, disk, disk_detail, operation, paged, snapshot, snapshot_taken
from .test_process import PROGRAM, environment

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(
    service: FakeService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    real_time_outside: Outside,
) -> Complete:
    """Return the values that are offered for the last word."""
    for name, value in environment(service.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TENCENTCLOUD_SECRET_KEY", SECRET)

    def call(*words: str) -> list[str]:
        assert run(build_app(real_time_outside), ["__complete", *words]) == 0
        printed = capsys.readouterr()
        assert SECRET not in printed.out
        return [line.partition("\t")[0] for line in printed.out.partition("\x1fbegin\n")[2].splitlines()]

    return call


@pytest.fixture
def three(service: FakeService) -> None:
    """Three disks, of which two have one name, and a snapshot of the first."""
    names = {"disk-aaaaaaaa": "db", "disk-bbbbbbbb": "web", "disk-cccccccc": "web"}
    disks = [disk(identity, DiskName=name) for identity, name in names.items()]
    service.on("DescribeDisks", paged("DiskSet", disks, "DiskId", "DiskIds"))
    service.on("DescribeDiskDetails", paged("DiskDetailSet", list(map(disk_detail, names)), "DiskId", "DiskIds"))
    rows = [snapshot("snap-aaaaaaaa", SnapshotName="monday")]
    service.on("DescribeSnapshots", paged("SnapshotSet", rows, "SnapshotId", "SnapshotIds"))
    taken = [snapshot_taken("snap-aaaaaaaa")]
    service.on("DescribeSnapshotRecords", paged("SnapshotRecordSet", taken, "SnapshotId", "SnapshotIds"))


@pytest.mark.usefixtures("three")
def test_a_name_is_offered_where_one_thing_has_it_and_the_id_else(complete: Complete) -> None:
    everything = ["db", "disk-bbbbbbbb", "disk-cccccccc"]
    assert complete("disk", "show", "") == everything
    assert complete("disk", "delete", "db", "") == everything
    assert complete("snapshot", "create", "") == everything
    assert complete("snapshot", "list", "--disk", "") == everything
    # Whoever types an id gets ids; whoever types what both begin with, the name.
    assert complete("disk", "show", "disk-") == ["disk-aaaaaaaa", "disk-bbbbbbbb", "disk-cccccccc"]
    assert complete("disk", "show", "d")[0] == "db"


@pytest.mark.usefixtures("three")
def test_snapshots_of_a_disk(complete: Complete) -> None:
    assert complete("snapshot", "show", "") == ["monday"]
    assert complete("disk", "create", "--from-snapshot=mo") == ["monday"]
    assert complete("snapshot", "show", "db@") == ["monday", "db@latest", "db@monday"]
    assert complete("disk", "rollback", "db", "") == ["monday"]


def test_each_kind_of_thing_is_completed(complete: Complete, service: FakeService) -> None:
    rows = [operation("op-aaaaaaaa"), operation("op-bbbbbbbb")]
    service.on("DescribeOperations", paged("OperationSet", rows, "OperationId", "OperationIds"))
    event = {"EventId": "evt-1", "Message": "It failed."}
    service.on("DescribeEvents", {"TotalCount": 1, "Cursor": 1, "EventSet": [event]})
    for words, offered in (
        (("operation", "cancel"), ["op-aaaaaaaa", "op-bbbbbbbb"]),
        (("disk", "attach", "x", "--instance"), ["host"]),
        (("instance", "delete"), ["host"]),
        (("account", "password"), ["admin"]),
        (("snapshot-group", "show"), ["name of csnap-aaaaaaaa"]),
        (("events", "acknowledge"), ["evt-1"]),
    ):
        assert complete(*words, "") == offered, words


def test_nothing_is_offered_or_said_without_an_answer(
    complete: Complete, service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service.on("DescribeDisks", RefusalError("AuthFailure.SecretIdNotFound", "no such key"))
    assert complete("disk", "show", "") == []
    monkeypatch.setenv("DRYSTONE_ENDPOINT", "http://127.0.0.1:9")
    assert complete("disk", "show", "") == []
    assert complete("disk", "show", "--data", "/nowhere", "") == []
    assert capsys.readouterr().err == ""


def test_a_server_that_hangs_is_not_waited_for(
    complete: Complete, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "ANSWER_SECONDS", 0.2)
    rows = service.rules["DescribeDisks"][0]
    assert callable(rows)

    def late(given: dict[str, object]) -> dict[str, object]:
        time.sleep(1)
        return rows(given)

    service.on("DescribeDisks", late)
    began = time.monotonic()
    assert complete("disk", "show", "") == []
    assert time.monotonic() - began < 0.9


@pytest.mark.usefixtures("three")
def test_bash_asks_for_them(service: FakeService, tmp_path: Path) -> None:
    program = tmp_path / "drystone"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    script = (
        "source <(drystone completion print bash)\n"
        'COMP_WORDS=(drystone disk show ""); COMP_CWORD=3; _drystone; echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True,
        env=environment(service.endpoint) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("db disk-bbbbbbbb disk-cccccccc\n", "")

import io
import json
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

from drystone.cli.options import SoldType
from drystone.domain.disk_types import SOLD_TYPES

from .conftest import Command, Time
from .fake_service import (
    FakeService,
    RefusalError,
    disk,
    disk_detail,
    failure,
    operation,
    paged,
    snapshot,
    snapshot_taken,
)  # fmt: skip

DISK_KEYS = {
    "disk_id", "name", "state", "size_gib", "type", "instance_id", "nbd_uri", "device", "tracking", "hydrating",
    "hydration_percent",
}  # fmt: skip
SNAPSHOT_KEYS = {
    "snapshot_id", "disk_id", "state", "percent", "tracking", "tracking_reason", "read_bytes", "changed_bytes",
    "stored_bytes", "freeze_ms", "consistency",
}  # fmt: skip


def one_row(name: str, row: dict[str, Any]) -> dict[str, Any]:
    return {"TotalCount": 1, name: [row]}


def test_disk_show_json(command: Command, service: FakeService) -> None:
    service.on(
        "DescribeDisks", one_row("DiskSet", disk("disk-aaaaaaaa", DiskState="ATTACHED", InstanceId="ins-aaaaaaaa"))
    )
    service.on(
        "DescribeDiskDetails",
        one_row("DiskDetailSet", disk_detail("disk-aaaaaaaa", Device="/dev/disk/by-id/virtio-disk-aaaaaaaa")),
    )
    ended = command("disk", "show", "disk-aaaaaaaa", "--json")
    assert (ended.code, ended.err) == (0, "")
    shown = json.loads(ended.out)
    assert shown.keys() >= DISK_KEYS
    assert shown["device"] == "/dev/disk/by-id/virtio-disk-aaaaaaaa"
    assert shown["nbd_uri"] is None
    assert (shown["disk_id"], shown["size_gib"], shown["tags"]) == ("disk-aaaaaaaa", 20, {"team": "web"})
    assert service.versions == [("cbs", "2017-03-12"), ("drystone", "2026-11-01")]


def test_snapshot_show_json(command: Command) -> None:
    ended = command("snapshot", "show", "snap-aaaaaaaa", "--json")
    shown = json.loads(ended.out)
    assert shown.keys() >= SNAPSHOT_KEYS
    assert (shown["tracking"], shown["stored_bytes"], shown["freeze_ms"]) == ("delta", 4300, 12.5)
    assert shown["deadline_at"] is None


def test_snapshot_prove_shows_what_was_found_and_ends_with_it(command: Command, service: FakeService) -> None:
    service.on("ProveSnapshot", {"OperationId": "op-aaaaaaaa"})
    service.on("DescribeOperations", one_row("OperationSet", operation("op-aaaaaaaa", Kind="prove")))
    for finding, code in (("opens", 0), ("damaged", 1), ("not proven", 1)):
        step = {"Title": "disk: mount", "Finding": finding, "Seconds": 0.5, "Detail": ""}
        opening = {
            "Finding": finding, "Reason": "" if code == 0 else "why", "Steps": [step], "BeginTime": "a", "EndTime": "b",
        }  # fmt: skip
        taken = snapshot_taken("snap-aaaaaaaa", Opening=opening)
        service.on("DescribeSnapshotRecords", one_row("SnapshotRecordSet", taken))
        ended = command("snapshot", "prove", "snap-aaaaaaaa", "--json")
        shown = json.loads(ended.out)
        assert (ended.code, shown["finding"], shown["reason"]) == (code, finding, None if code == 0 else "why")
        assert shown["steps"] == [{"title": "disk: mount", "finding": finding, "seconds": 0.5, "detail": None}]
        assert ("why" in ended.err) == bool(code)
        # A person reads a table of the steps, not how a program would write them down.
        lines = command("snapshot", "show", "snap-aaaaaaaa").out.splitlines()
        (heading,) = [at for at, line in enumerate(lines) if "TITLE" in line]
        assert lines[heading].split() == ["steps", "TITLE", "FINDING", "SECONDS", "DETAIL"]
        assert lines[heading + 1].split() == ["disk:", "mount", *finding.split(), "0.5", "-"]
    assert service.asked("ProveSnapshot") == [{"SnapshotId": "snap-aaaaaaaa"}] * 3
    assert command("snapshot", "prove", "snap-aaaaaaaa", "--no-wait").out == "op-aaaaaaaa\n"


def test_snapshot_being_made_has_null_record(command: Command, service: FakeService) -> None:
    service.on(
        "DescribeSnapshots", one_row("SnapshotSet", snapshot("snap-cccccccc", SnapshotState="CREATING", Percent=5))
    )
    service.on("DescribeSnapshotRecords", {"TotalCount": 0, "SnapshotRecordSet": []})
    shown = json.loads(command("snapshot", "show", "snap-cccccccc", "--json").out)
    assert shown["state"] == "CREATING"
    assert shown["stored_bytes"] is None


@pytest.mark.parametrize("what", ["disk", "snapshot", "instance", "operation", "account"])
def test_lists_are_json_arrays_and_tables(command: Command, what: str) -> None:
    assert isinstance(json.loads(command(what, "list", "--json").out), list)
    table = command(what, "list")
    assert table.code == 0
    assert " ID" in table.out.splitlines()[0]


def test_table_shows_whole_ids_and_no_control_characters(command: Command, service: FakeService) -> None:
    rows = [disk("disk-aaaaaaaa", DiskName="[bold]\x1b[31mred\n" + "x" * 40)]
    service.on("DescribeDisks", paged("DiskSet", rows, "DiskId", "DiskIds"))
    out = command("disk", "list").out
    assert "disk-aaaaaaaa" in out
    assert "[bold]" in out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2


def test_all_pages_are_read_and_limit_holds(command: Command, service: FakeService) -> None:
    rows = [snapshot(f"snap-{number:08d}") for number in range(250)]
    taken = [snapshot_taken(f"snap-{number:08d}") for number in range(250)]
    service.on("DescribeSnapshots", paged("SnapshotSet", rows, "SnapshotId", "SnapshotIds"))
    service.on("DescribeSnapshotRecords", paged("SnapshotRecordSet", taken, "SnapshotId", "SnapshotIds"))
    listed = json.loads(command("snapshot", "list", "--json").out)
    assert [row["snapshot_id"] for row in listed] == [row["SnapshotId"] for row in rows]
    assert all(row["tracking"] == "delta" for row in listed)
    assert len(json.loads(command("snapshot", "list", "--json", "--limit", "120").out)) == 120


def test_a_row_that_moves_between_pages_is_listed_once(command: Command, service: FakeService) -> None:
    first = {"TotalCount": 101, "DiskSet": [disk(f"disk-{number:08d}") for number in range(100)]}
    second = {"TotalCount": 102, "DiskSet": [disk("disk-00000099"), disk("disk-00000100")]}
    service.on("DescribeDisks", first, second)
    assert len(json.loads(command("disk", "list", "--json").out)) == 101


def test_disk_create_sends_what_was_said(command: Command, service: FakeService) -> None:
    ended = command(
        "disk", "create", "--size", "20", "--type", "CLOUD_SSD", "--name", "db", "--tag", "a=b", "--tag", "c="
    )
    assert (ended.code, ended.out) == (0, "disk-aaaaaaaa\n")
    assert service.asked("CreateDisks") == [
        {
            "Placement": {"Zone": "ap-local-1"},
            "DiskChargeType": "POSTPAID_BY_HOUR",
            "DiskType": "CLOUD_SSD",
            "DiskSize": 20,
            "DiskName": "db",
            "Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}],
        },
    ]


def test_disk_create_waits_and_prints_records(command: Command, service: FakeService, clock: Time) -> None:
    service.on("CreateDisks", {"DiskIdSet": ["disk-aaaaaaaa", "disk-bbbbbbbb"]})
    shown = [disk("disk-aaaaaaaa"), disk("disk-bbbbbbbb")]
    service.on(
        "DescribeDisks",
        {"TotalCount": 0, "DiskSet": []},
        one_row("DiskSet", shown[0]),
        paged("DiskSet", shown, "DiskId", "DiskIds"),
    )
    ended = command("disk", "create", "--from-snapshot", "snap-aaaaaaaa", "--count", "2", "--json")
    assert ended.code == 0
    assert [row["disk_id"] for row in json.loads(ended.out)] == ["disk-aaaaaaaa", "disk-bbbbbbbb"]
    assert len(clock.slept) == 2
    one = command("disk", "create", "--size", "10", "--json")
    service.on("CreateDisks", {"DiskIdSet": ["disk-aaaaaaaa"]})
    assert one.code == 0
    assert json.loads(one.out)["disk_id"] == "disk-aaaaaaaa"


def test_disk_create_that_fails_says_why(command: Command, service: FakeService) -> None:
    service.on("DescribeDisks", {"TotalCount": 0, "DiskSet": []})
    failed = operation(
        "op-aaaaaaaa", Kind="create_disk", State="FAILED", ErrorCode="InternalError", ErrorMessage="no space"
    )
    service.on("DescribeOperations", one_row("OperationSet", failed))
    ended = command("disk", "create", "--size", "10")
    assert (ended.code, ended.out) == (1, "")
    assert "create_disk of disk-aaaaaaaa failed: no space [InternalError]" in ended.err


def test_disk_attach_prints_the_device(command: Command, service: FakeService) -> None:
    states = ["ATTACHING", "ATTACHED"]
    answers = [
        one_row("DiskSet", disk("disk-aaaaaaaa", DiskState=state, InstanceId="ins-aaaaaaaa")) for state in states
    ]
    service.on("DescribeDisks", *answers)
    service.on("DescribeDiskDetails", one_row("DiskDetailSet", disk_detail("disk-aaaaaaaa", Device="/dev/x")))
    ended = command("disk", "attach", "disk-aaaaaaaa", "--instance", "host")
    assert (ended.code, ended.out) == (0, "/dev/x\n")
    assert service.asked("AttachDisks") == [{"InstanceId": "ins-aaaaaaaa", "DiskIds": ["disk-aaaaaaaa"]}]


def test_attaching_what_is_attached_says_where_it_is(command: Command, service: FakeService) -> None:
    service.on("AttachDisks", RefusalError("InvalidDisk.Busy", "Disk disk-aaaaaaaa is attached already."))
    row = disk("disk-aaaaaaaa", DiskState="ATTACHED", InstanceId="ins-bbbbbbbb")
    service.on("DescribeDisks", one_row("DiskSet", row))
    service.on("DescribeDiskDetails", one_row("DiskDetailSet", disk_detail("disk-aaaaaaaa", Device="/dev/x")))
    ended = command("disk", "attach", "disk-aaaaaaaa", "--instance", "host")
    assert (ended.code, ended.err) == (4, "drystone: disk-aaaaaaaa is attached to ins-bbbbbbbb already, as /dev/x\n")
    service.on("DescribeDisks", one_row("DiskSet", disk("disk-aaaaaaaa", DiskState="EXPANDING")))
    assert "operation list" in command("disk", "attach", "disk-aaaaaaaa", "--instance", "host").err


@pytest.mark.parametrize(("source", "hinted"), [("snap-aaaaaaaa", True), (None, False)])
def test_a_copy_on_this_host_comes_with_a_hint(
    command: Command, service: FakeService, source: str | None, *, hinted: bool
) -> None:
    detail = disk_detail("disk-aaaaaaaa", Device="/dev/x", SourceSnapshotId=source)
    service.on("DescribeDisks", one_row("DiskSet", disk("disk-aaaaaaaa", DiskState="ATTACHED")))
    service.on("DescribeDiskDetails", one_row("DiskDetailSet", detail))
    ended = command("disk", "attach", "disk-aaaaaaaa", "--instance", "host")
    assert (ended.code, ended.out) == (0, "/dev/x\n")
    assert ("nouuid" in ended.err) == hinted


def test_attach_tells_a_new_failure_from_an_old_one(command: Command, service: FakeService, clock: Time) -> None:
    old = operation("op-00000000", Kind="attach", State="FAILED", ErrorMessage="old")
    new = operation("op-11111111", Kind="attach", State="FAILED", ErrorMessage="no loop device")
    service.on(
        "DescribeOperations",
        one_row("OperationSet", old),
        one_row("OperationSet", old),
        {"TotalCount": 2, "OperationSet": [old, new]},
    )
    ended = command("disk", "attach", "disk-aaaaaaaa", "--instance", "ins-aaaaaaaa")
    assert ended.code == 1
    assert "no loop device" in ended.err
    assert "old" not in ended.err
    assert len(clock.slept) == 1


def test_resize_init_rename_modify_detach(command: Command, service: FakeService) -> None:
    assert command("disk", "resize", "disk-aaaaaaaa", "--size", "20").out == "disk-aaaaaaaa\n"
    assert service.asked("ResizeDisk") == [{"DiskId": "disk-aaaaaaaa", "DiskSize": 20}]
    assert command("disk", "init", "disk-aaaaaaaa", "--yes").code == 0
    assert command("disk", "rename", "disk-aaaaaaaa", "new").code == 0
    assert command("disk", "modify", "disk-aaaaaaaa", "--type", "CLOUD_SSD").code == 0
    assert service.asked("ModifyDiskAttributes") == [
        {"DiskIds": ["disk-aaaaaaaa"], "DiskName": "new"},
        {"DiskIds": ["disk-aaaaaaaa"], "DiskType": "CLOUD_SSD"},
    ]
    assert command("disk", "detach", "disk-aaaaaaaa", "disk-bbbbbbbb").out == "disk-aaaaaaaa\ndisk-bbbbbbbb\n"


def test_names_stand_for_ids_when_unique(command: Command, service: FakeService) -> None:
    rows = [
        disk("disk-aaaaaaaa", DiskName="db"),
        disk("disk-bbbbbbbb", DiskName="web"),
        disk("disk-cccccccc", DiskName="web"),
    ]
    service.on("DescribeDisks", paged("DiskSet", rows, "DiskId", "DiskIds"))
    assert json.loads(command("disk", "show", "db", "--json").out)["disk_id"] == "disk-aaaaaaaa"
    several = command("disk", "delete", "web", "--yes")
    assert several.code == 2
    assert "disk-bbbbbbbb, disk-cccccccc" in several.err
    assert command("disk", "show", "none").code == 3
    assert service.asked("TerminateDisks") == []


def test_snapshot_create_waits_with_progress(command: Command, service: FakeService) -> None:
    def at(percent: int) -> dict[str, Any]:
        state = "CREATING" if percent < 100 else "NORMAL"
        return one_row("SnapshotSet", snapshot("snap-aaaaaaaa", SnapshotState=state, Percent=percent))

    service.on("DescribeSnapshots", *(at(percent) for percent in range(0, 101, 4)))
    ended = command("snapshot", "create", "disk-aaaaaaaa", "--name", "first")
    assert (ended.code, ended.out) == (0, "snap-aaaaaaaa\n")
    assert service.asked("CreateSnapshot") == [{"DiskId": "disk-aaaaaaaa", "SnapshotName": "first"}]
    lines = ended.err.splitlines()
    assert lines[-1] == "snap-aaaaaaaa CREATING 92%"
    assert 5 < len(lines) < 12


def test_a_short_wait_is_silent_and_no_wait_does_not_wait(command: Command, service: FakeService, clock: Time) -> None:
    assert command("snapshot", "create", "disk-aaaaaaaa").err == ""
    service.on(
        "DescribeSnapshots", one_row("SnapshotSet", snapshot("snap-aaaaaaaa", SnapshotState="CREATING", Percent=0))
    )
    ended = command("snapshot", "create", "disk-aaaaaaaa", "--no-wait", "--json")
    assert json.loads(ended.out)["state"] == "CREATING"
    assert clock.slept == []


def test_keep_days_and_deadline(command: Command, service: FakeService) -> None:
    assert command("snapshot", "create", "disk-aaaaaaaa", "--keep-days", "1").code == 0
    # 1,800,000,000 s is 2027-01-15T08:00:00Z.
    assert service.asked("CreateSnapshot")[0]["Deadline"] == "2027-01-16T08:01:00+00:00"
    assert command("snapshot", "create", "disk-aaaaaaaa", "--keep-days", "1", "--deadline", "x").code == 2
    assert command("snapshot", "modify", "snap-aaaaaaaa", "--permanent").code == 0
    assert service.asked("ModifySnapshotAttribute") == [{"SnapshotId": "snap-aaaaaaaa", "IsPermanent": True}]
    assert command("snapshot", "modify", "snap-aaaaaaaa").code == 2


def test_snapshot_that_fails_says_why(command: Command, service: FakeService) -> None:
    service.on("DescribeSnapshots", {"TotalCount": 0, "SnapshotSet": []})
    failed = operation("op-aaaaaaaa", State="FAILED", ErrorCode="InternalError", ErrorMessage="scratch is full")
    service.on("DescribeOperations", one_row("OperationSet", failed))
    ended = command("snapshot", "create", "disk-aaaaaaaa")
    assert (ended.code, ended.out) == (1, "")
    assert "scratch is full" in ended.err
    service.on("DescribeOperations", {"TotalCount": 0, "OperationSet": []})
    assert command("snapshot", "create", "disk-aaaaaaaa").code == 3


def test_rollback_waits_and_can_keep_what_was(command: Command, service: FakeService) -> None:
    rolling = disk("disk-aaaaaaaa", DiskState="ROLLBACKING", Rollbacking=True, RollbackPercent=40)
    rest = one_row("DiskSet", disk("disk-aaaaaaaa"))
    service.on("DescribeDisks", rest, one_row("DiskSet", rolling), rest)
    ended = command("snapshot", "rollback", "snap-bbbbbbbb", "--safety-snapshot", "--yes")
    assert (ended.code, ended.out) == (0, "disk-aaaaaaaa\n")
    assert service.asked("CreateSnapshot")[0]["SnapshotName"] == "before rollback to snap-bbbbbbbb"
    assert service.asked("ApplySnapshot") == [{"SnapshotId": "snap-bbbbbbbb", "DiskId": "disk-aaaaaaaa"}]
    order = [name for name, _ in service.calls]
    assert order.index("CreateSnapshot") < order.index("ApplySnapshot")


def test_rollback_that_fails(command: Command, service: FakeService) -> None:
    failed = operation("op-aaaaaaaa", Kind="rollback", State="FAILED", ErrorMessage="store unreadable")
    service.on("DescribeOperations", {"TotalCount": 0, "OperationSet": []}, one_row("OperationSet", failed))
    ended = command("snapshot", "apply", "snap-aaaaaaaa", "--disk", "disk-aaaaaaaa", "--yes")
    assert ended.code == 1
    assert "store unreadable" in ended.err


@pytest.mark.parametrize(
    "tokens",
    [
        ("disk", "delete", "disk-aaaaaaaa"),
        ("disk", "init", "disk-aaaaaaaa"),
        ("snapshot", "delete", "snap-aaaaaaaa"),
        ("snapshot", "rollback", "snap-aaaaaaaa"),
        ("instance", "delete", "ins-aaaaaaaa"),
        ("account", "key", "delete", "AKIDnew"),
    ],
)
def test_destructive_commands_need_yes_where_nobody_can_answer(
    command: Command, service: FakeService, tokens: tuple[str, ...]
) -> None:
    ended = command(*tokens)
    assert ended.code == 2
    assert "--yes" in ended.err
    assert all(name.startswith("Describe") for name, _ in service.calls)
    assert command(*tokens, "--yes").code == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("", 2)])
def test_a_person_is_asked(
    command: Command, service: FakeService, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    asked = Terminal()
    monkeypatch.setattr(sys, "stderr", asked)
    assert command("disk", "delete", "disk-aaaaaaaa").code == code
    assert "This deletes disk-aaaaaaaa with all data. Go on? [y/N]" in asked.getvalue()
    assert len(service.asked("TerminateDisks")) == (code == 0)


def test_progress_bar_on_a_terminal(command: Command, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    creating = one_row("SnapshotSet", snapshot("snap-aaaaaaaa", SnapshotState="CREATING", Percent=50))
    service.on("DescribeSnapshots", *[creating] * 12, one_row("SnapshotSet", snapshot("snap-aaaaaaaa")))
    assert command("snapshot", "create", "disk-aaaaaaaa").out == "snap-aaaaaaaa\n"


def test_a_size_is_shown_with_its_unit(command: Command) -> None:
    lines = [line.split() for line in command("snapshot", "overview").out.splitlines()]
    assert ["total_gib", "1.5", "GiB"] in lines
    assert ["size_gib", "20", "GiB"] in [
        line.split() for line in command("disk", "show", "disk-aaaaaaaa").out.splitlines()
    ]
    assert json.loads(command("snapshot", "overview", "--json").out)["total_gib"] == 1.5


def test_operation_wait(command: Command, service: FakeService) -> None:
    running = operation("op-aaaaaaaa", State="RUNNING", Percent=10)
    service.on(
        "DescribeOperations", one_row("OperationSet", running), one_row("OperationSet", operation("op-aaaaaaaa"))
    )
    assert json.loads(command("operation", "wait", "op-aaaaaaaa", "--json").out)["state"] == "DONE"
    service.on("DescribeOperations", one_row("OperationSet", operation("op-aaaaaaaa", State="FAILED")))
    assert command("operation", "wait", "op-aaaaaaaa").code == 1
    service.on("DescribeOperations", {"TotalCount": 0, "OperationSet": []})
    assert command("operation", "wait", "op-aaaaaaaa").code == 3
    assert command("operation", "show", "op-aaaaaaaa").code == 3


def test_operation_cancel_and_retry(command: Command, service: FakeService, clock: Time) -> None:
    running = operation("op-aaaaaaaa", State="RUNNING", Cancellable=True)
    ended = operation("op-aaaaaaaa", State="FAILED", ErrorCode="FailedOperation.Cancelled", Retriable=True)
    service.on("CancelOperation", {})
    service.on("DescribeOperations", one_row("OperationSet", running))
    asked = command("operation", "cancel", "op-aaaaaaaa")
    assert (asked.code, "--yes" in asked.err, service.asked("CancelOperation")) == (2, True, [])
    service.on("DescribeOperations", *[one_row("OperationSet", running)] * 3, one_row("OperationSet", ended))
    told = command("operation", "cancel", "op-aaaaaaaa", "--yes", "--json")
    assert (told.code, json.loads(told.out)["error_code"]) == (0, "FailedOperation.Cancelled")
    assert len(clock.slept) == 2
    service.on("CancelOperation", RefusalError("UnsupportedOperation", "Operation op-aaaaaaaa cannot be cancelled."))
    refused = command("operation", "cancel", "op-aaaaaaaa", "--yes")
    assert (refused.code, refused.out) == (1, "")
    assert "cannot be cancelled" in refused.err
    service.on("DescribeOperations", one_row("OperationSet", operation("op-aaaaaaaa", State="DONE")))
    assert "has ended already: DONE" in command("operation", "cancel", "op-aaaaaaaa").err
    service.on("RetryOperation", {"OperationId": "op-bbbbbbbb"})
    service.on("DescribeOperations", one_row("OperationSet", operation("op-bbbbbbbb")))
    assert command("operation", "retry", "op-aaaaaaaa").out == "op-bbbbbbbb\n"
    assert service.asked("RetryOperation") == [{"OperationId": "op-aaaaaaaa"}]


def test_operation_show_and_logs_tell_phases_and_steps(command: Command, service: FakeService) -> None:
    service.on("DescribeOperations", one_row("OperationSet", operation("op-aaaaaaaa")))
    shown = json.loads(command("operation", "show", "op-aaaaaaaa", "--json").out)
    assert shown["phases"] == [
        {"phase": "FROZEN", "seconds": 1.5, "ended": True, "began_at": "2026-11-22T09:36:07+00:00"}
    ]
    lines = command("operation", "logs", "op-aaaaaaaa", "--utc").out.splitlines()
    assert lines[0].split() == ["AT", "STATE", "PHASE", "ATTEMPTS", "ERROR", "MESSAGE"]
    assert lines[1].startswith("2026-11-22 09:36:07+00:00")


def test_waiting_has_an_end(command: Command, service: FakeService, clock: Time) -> None:
    service.on("DescribeOperations", one_row("OperationSet", operation("op-aaaaaaaa", State="RUNNING", Percent=10)))
    ended = command("operation", "wait", "op-aaaaaaaa", "--timeout", "5")
    assert ended.code == 7
    assert sum(clock.slept) == pytest.approx(5, abs=0.1)


def test_accounts_show_a_new_secret_once(command: Command, service: FakeService) -> None:
    ended = command("account", "create", "web", "--json")
    assert json.loads(ended.out) == {
        "account_id": "100000000001",
        "secret_id": "AKIDnew",
        "secret_key": "new-secret",
    }
    assert json.loads(command("account", "key", "create", "100000000001", "--json").out)["secret_key"] == "new-secret"
    assert "new-secret" not in command("account", "key", "list", "100000000001", "--json").out
    assert service.asked("CreateAccount") == [{"AccountName": "web"}]


def test_a_console_password_is_made_or_read_and_never_an_argument(
    command: Command, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.on("SetAccountPassword", {"Password": "made-one"})
    ended = command("account", "password", "admin", "--json")
    assert json.loads(ended.out) == {"account_name": "admin", "password": "made-one"}
    service.on("SetAccountPassword", {"Password": None})
    monkeypatch.setattr("sys.stdin", io.StringIO("my own password\nand more"))
    ended = command("account", "password", "admin", "--stdin")
    assert (ended.code, ended.out) == (0, "admin\n")
    assert "my own" not in ended.out + ended.err
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert command("account", "password", "admin", "--stdin").code == 2
    assert command("account", "password", "admin", "a password").code == 2
    assert service.asked("SetAccountPassword") == [
        {"AccountName": "admin"}, {"AccountName": "admin", "Password": "my own password"},
    ]  # fmt: skip


def test_instances_host_overview(command: Command, service: FakeService) -> None:
    assert command("instance", "create", "--kind", "NBD", "--name", "vm").out == "ins-aaaaaaaa\n"
    assert service.asked("CreateInstance") == [{"Kind": "NBD", "InstanceName": "vm"}]
    assert json.loads(command("instance", "show", "host", "--json").out)["kind"] == "HOST"
    assert command("instance", "show", "nbd").code == 3
    assert "5.0 GiB" in command("host", "show").out
    assert json.loads(command("host", "show", "--json").out)["daemons"] == [{"name": "d", "pid": 7, "disk_count": 1}]
    assert json.loads(command("snapshot", "overview", "--json").out)["total_gib"] == 1.5


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("InvalidParameterValue", 1),
        ("InsufficientSnapshotQuota", 1),
        ("InvalidDiskId.NotFound", 3),
        ("InvalidSnapshotId.NotFound", 3),
        ("InvalidDisk.Busy", 4),
        ("ResourceUnavailable.Attached", 4),
        ("ResourceInUse.DiskRollbacking", 4),
        ("AuthFailure.SignatureFailure", 5),
        ("AuthFailure.SecretIdNotFound", 5),
        ("UnauthorizedOperation", 5),
    ],
)
def test_refusals_have_documented_exit_codes(command: Command, service: FakeService, code: str, expected: int) -> None:
    service.on("TerminateDisks", RefusalError(code, "disk-aaaaaaaa is not\nas it should be"))
    ended = command("disk", "delete", "disk-aaaaaaaa", "--yes", "--json")
    assert (ended.code, ended.out) == (expected, "")
    assert len(ended.err.splitlines()) == 1
    assert "disk-aaaaaaaa is not as it should be" in ended.err
    assert f"[{code}]" in ended.err


def test_the_rate_limit_is_waited_for(command: Command, service: FakeService, clock: Time) -> None:
    refusal = RefusalError("RequestLimitExceeded", "too many")
    service.on("CreateSnapshot", refusal, refusal, {"SnapshotId": "snap-aaaaaaaa"})
    assert command("snapshot", "create", "disk-aaaaaaaa").code == 0
    assert clock.slept == [0.1, 0.2]
    service.on("CreateSnapshot", refusal)
    assert command("snapshot", "create", "disk-aaaaaaaa").code == 1
    assert len(service.asked("CreateSnapshot")) == 3 + 6


def test_only_the_rate_limit_is_tried_again(command: Command, service: FakeService) -> None:
    service.on("CreateSnapshot", RefusalError("InternalError", "broken"))
    assert command("snapshot", "create", "disk-aaaaaaaa").code == 1
    assert len(service.asked("CreateSnapshot")) == 1


def test_missing_things_are_not_found(command: Command) -> None:
    assert command("disk", "show", "disk-zzzzzzzz").code == 3
    assert command("snapshot", "show", "snap-zzzzzzzz").code == 3


def test_envelope_of_failure_is_what_the_service_sends() -> None:
    assert failure("A", "b")["Error"] == {"Code": "A", "Message": "b (0123456789ab)"}


def test_snapshots_are_shared_listed_and_not_shared_any_more(command: Command, service: FakeService) -> None:
    with_it: list[str] = []

    def shares(_parameters: dict[str, Any]) -> dict[str, Any]:
        return {"SharePermissionSet": [{"AccountId": one, "CreatedTime": "2026-09-21 14:13:20"} for one in with_it]}

    def modify(parameters: dict[str, Any]) -> dict[str, Any]:
        for one in parameters["AccountIds"]:
            (with_it.append if parameters["Permission"] == "SHARE" else with_it.remove)(one)
        return {}

    service.on("DescribeSnapshotSharePermission", shares)
    service.on("ModifySnapshotsSharePermission", modify)
    made = command("snapshot", "share", "snap-aaaaaaaa", "100000000002", "100000000003")
    assert (made.code, made.out) == (0, "snap-aaaaaaaa\n"), made.err
    assert service.asked("ModifySnapshotsSharePermission") == [
        {
            "SnapshotIds": ["snap-aaaaaaaa"], "AccountIds": ["100000000002", "100000000003"], "Permission": "SHARE",
        },
    ]  # fmt: skip
    listed = json.loads(command("snapshot", "shares", "snap-aaaaaaaa", "--json").out)
    assert [one["account_id"] for one in listed] == ["100000000002", "100000000003"]
    assert command("snapshot", "unshare", "snap-aaaaaaaa", "100000000003").code == 0
    assert with_it == ["100000000002"]
    assert command("snapshot", "unshare", "snap-aaaaaaaa").code == 0
    assert command("snapshot", "unshare", "snap-aaaaaaaa").code == 0
    assert with_it == []
    assert command("snapshot", "share", "snap-aaaaaaaa").code == 2
    command("snapshot", "list", "--shared")
    shared = {"Name": "snapshot-type", "Values": ["SHARED_SNAPSHOT"]}
    assert service.asked("DescribeSnapshots")[-1]["Filters"] == [shared]


def test_types_that_a_disk_may_be_made(command: Command) -> None:
    assert typing.get_args(SoldType) == SOLD_TYPES
    assert command("disk", "modify", "disk-aaaaaaaa", "--type", "CLOUD_BASIC").code == 2


def test_snapshot_group_commands(command: Command, service: FakeService) -> None:
    made = command("snapshot-group", "create", "disk-aaaaaaaa", "name of disk-bbbbbbbb", "--name", "n", "--tag", "a=b")
    assert (made.code, made.out) == (0, "csnap-aaaaaaaa\n"), made.err
    assert service.asked("CreateSnapshotGroup") == [
        {
            "DiskIds": ["disk-aaaaaaaa", "disk-bbbbbbbb"],
            "SnapshotGroupName": "n",
            "Tags": [{"Key": "a", "Value": "b"}],
        }
    ]
    shown = json.loads(command("snapshot-group", "show", "name of csnap-aaaaaaaa", "--json").out)
    assert shown["snapshots"] == {"snap-aaaaaaaa": "disk-aaaaaaaa", "snap-bbbbbbbb": "disk-bbbbbbbb"}
    assert (shown["state"], shown["pause_ms"], shown["instance_id"]) == ("NORMAL", 7.5, "ins-aaaaaaaa")
    (listed,) = json.loads(command("snapshot-group", "list", "--state", "NORMAL", "--json").out)
    assert listed == shown
    assert "7.5" in command("snapshot-group", "list").out
    refused = command("snapshot-group", "delete", "csnap-aaaaaaaa")
    assert (refused.code, service.asked("DeleteSnapshotGroup")) == (2, [])
    assert command("snapshot-group", "delete", "csnap-aaaaaaaa", "--yes").out == "csnap-aaaaaaaa\n"
    assert service.asked("DeleteSnapshotGroup") == [{"SnapshotGroupIds": ["csnap-aaaaaaaa"]}]
    for tokens in (("create",), ("delete", "--yes"), ("show",)):
        assert command("snapshot-group", *tokens).code == 2
    assert command("snapshot-group", "show", "csnap-99999999").code == 3


def test_snapshot_group_rollback_and_failure(command: Command, service: FakeService) -> None:
    back = command("snapshot-group", "rollback", "csnap-aaaaaaaa", "disk-bbbbbbbb", "--yes")
    assert (back.code, back.out) == (0, "disk-bbbbbbbb\n"), back.err
    assert command("snapshot-group", "rollback", "csnap-aaaaaaaa", "--yes").code == 0
    first, second = service.asked("ApplySnapshotGroup")
    assert first["ApplyDisks"] == [{"SnapshotId": "snap-bbbbbbbb", "DiskId": "disk-bbbbbbbb"}]
    assert [one["DiskId"] for one in second["ApplyDisks"]] == ["disk-aaaaaaaa", "disk-bbbbbbbb"]
    assert command("snapshot-group", "rollback", "csnap-aaaaaaaa", "disk-cccccccc", "--yes").code == 3
    service.on("DescribeSnapshotGroups", {"TotalCount": 0, "SnapshotGroupSet": []})
    gone = command("snapshot-group", "create", "disk-aaaaaaaa")
    assert (gone.code, "csnap-aaaaaaaa is gone" in gone.err) == (1, True)


def test_quiesce_commands(command: Command, service: FakeService, tmp_path: Path) -> None:
    file = tmp_path / "profile.toml"
    file.write_text(
        'mode = "prefer"\nfreeze_seconds_max = 3\n[[steps]]\nkind = "command"\nfreeze = ["/a", "b"]\nthaw = ["/c"]\n'
        '[[steps]]\nkind = "filesystem"\nmount = "/srv"\n'
    )
    made = command("quiesce", "set", "disk-aaaaaaaa", "--file", str(file), "--json")
    assert made.code == 0, made.err
    assert service.asked("SetQuiesceProfile") == [
        {
            "ResourceId": "disk-aaaaaaaa",
            "Mode": "prefer",
            "FreezeSecondsMax": 3,
            "Steps": [
                {"Kind": "command", "Freeze": ["/a", "b"], "Thaw": ["/c"]},
                {"Kind": "filesystem", "Mount": "/srv"},
            ],
        }
    ]
    shown = json.loads(command("quiesce", "show", "name of disk-aaaaaaaa", "--json").out)
    assert shown["steps"] == [{"kind": "filesystem", "seconds_max": 5.0, "mount": "/srv"}]
    assert "disk-aaaaaaaa" in command("quiesce", "list").out
    assert command("quiesce", "show", "disk-bbbbbbbb").code == 3
    assert command("quiesce", "delete", "disk-aaaaaaaa").out == "disk-aaaaaaaa\n"
    for text in ("mode = 1", "[[steps]]\nkind = 'command'\nshell = 'x'", "x", "steps = [1]"):
        file.write_text(text)
        refused = command("quiesce", "set", "disk-aaaaaaaa", "--file", str(file))
        assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert command("quiesce", "set", "disk-aaaaaaaa", "--file", str(tmp_path / "no")).code == 2


def test_quiesce_takes_the_name_of_a_disk_and_of_an_instance(command: Command, service: FakeService) -> None:
    named = {"Kind": "NBD", "Zone": "ap-local-1", "AttachedDiskCount": 0, "MaxAttachCount": 20, "CreateTime": "t"}
    rows = [{"InstanceId": f"ins-{end}", "InstanceName": name, **named} for end, name in (
        ("cccccccc", "vm1"), ("dddddddd", "name of disk-aaaaaaaa"), ("eeeeeeee", "twin"), ("ffffffff", "twin"),
    )]  # fmt: skip
    service.on("DescribeInstances", paged("InstanceSet", rows, "InstanceId", "InstanceIds"))
    for given, wanted in (
        ("vm1", "ins-cccccccc"), ("name of disk-bbbbbbbb", "disk-bbbbbbbb"), ("ins-dddddddd", "ins-dddddddd"),
        ("host", "ins-aaaaaaaa"),
    ):  # fmt: skip
        assert command("quiesce", "delete", given).out == f"{wanted}\n"
    nobody = command("quiesce", "delete", "vm2")
    assert (nobody.code, "no disk and no instance vm2" in nobody.err) == (3, True)
    assert command("quiesce", "delete", "twin").code == 2
    assert len(service.asked("DeleteQuiesceProfile")) == 4


def test_snapshots_of_a_deleted_disk_do_as_was_said_when_it_was_made_unless_said_here(
    command: Command, service: FakeService
) -> None:
    for options in ((), ("--delete-snapshots",), ("--no-delete-snapshots",)):
        assert command("disk", "delete", "disk-aaaaaaaa", "--yes", *options).code == 0
    assert [given.get("DeleteSnapshot") for given in service.asked("TerminateDisks")] == [None, 1, 0]
    assert "Their snapshots stay, except those with a deadline" in command("disk", "delete", "--help").out


def test_many_ids_go_in_parts_and_are_never_printed_all(command: Command, service: FakeService) -> None:
    ids = [f"snap-{number:08d}" for number in range(248)]
    service.on("DeleteSnapshots", {})
    done = command("snapshot", "delete", *ids, "--yes", "--json")
    assert done.code == 0
    assert [len(asked["SnapshotIds"]) for asked in service.asked("DeleteSnapshots")] == [100, 100, 48]
    assert json.loads(done.out)["deleted_snapshot_ids"] == ids
    service.on("DeleteSnapshots", {}, RefusalError("ResourceInUse", "One is in use."))
    done = command("snapshot", "delete", *ids, "--yes")
    assert done.code == 4
    (line,) = done.err.splitlines()
    assert "snap-00000100, snap-00000101" in line
    assert "and 95 more: One is in use." in line
    assert line.endswith("it was done for the first 100 of 248")
    asked = command("snapshot", "delete", *ids)
    assert asked.code == 2
    assert len(asked.err) < 300


@pytest.mark.parametrize(
    ("code", "advice", "wrong"),
    [
        ("AuthFailure.SignatureExpire", "timedatectl", "access key"),
        ("UnauthorizedOperation", "administrator", "the key is from"),
        ("AuthFailure.SecretIdNotFound", "the key is from {tmp_path}/server/credentials.env", "administrator"),
        ("InvalidInstance.NotSupported", "start it as root", "operation list"),
    ],
)
def test_advice_is_for_what_was_wrong(
    command: Command, service: FakeService, code: str, advice: str, wrong: str, tmp_path: Path
) -> None:
    service.on("DescribeDisks", RefusalError(code, "The reason: start it as root."))
    done = command("disk", "list")
    assert done.code != 0
    assert advice.format(tmp_path=tmp_path) in done.err
    assert wrong not in done.err


def test_what_is_unprotected_is_listed(command: Command, service: FakeService) -> None:
    row = {"DiskId": "disk-aaaaaaaa", "DiskName": "db", "Protected": False, "LastSnapshotId": None, "FailedCount": 2}
    service.on("DescribeProtection", one_row("DiskProtectionSet", row))
    (told,) = json.loads(command("protection", "--unprotected", "--json").out)
    assert (told["disk_id"], told["protected"], told["failed_count"]) == ("disk-aaaaaaaa", False, 2)
    (asked,) = service.asked("DescribeProtection")
    assert asked["Filters"] == [{"Name": "protected", "Values": ["false"]}]
    assert "disk-aaaaaaaa" in command("protection").out


EVENT = {
    "EventId": "evt-aaaaaaaa", "Kind": "space_low", "Severity": "warning", "OfInstallation": True, "SubjectId": "data",
    "Message": "Free space is low.", "Facts": {"Reason": "", "FreeBytes": 7, "DiskId": None},
    "FirstSeenTime": "2026-11-22T09:36:07+00:00", "LastSeenTime": "2026-11-22T09:36:07+00:00", "Count": 2,
    "ResolvedTime": None, "AcknowledgedTime": None, "AcknowledgedBy": "",
}  # fmt: skip


def test_events_are_listed_and_acknowledged(command: Command, service: FakeService) -> None:
    service.on("DescribeEvents", {**one_row("EventSet", EVENT), "Cursor": 7})
    (told,) = json.loads(command("events", "--unresolved", "--severity", "warning", "--json").out)
    assert (told["event_id"], told["facts"], told["resolved_at"]) == ("evt-aaaaaaaa", {"free_bytes": 7}, None)
    (asked,) = service.asked("DescribeEvents")
    assert {one["Name"]: one["Values"] for one in asked["Filters"]} == {"severity": ["warning"], "resolved": ["false"]}
    service.on("AcknowledgeEvents", {})
    assert command("events", "acknowledge", "evt-bbbbbbbb").out == "evt-bbbbbbbb\n"
    assert command("events", "acknowledge", "--all").out == "evt-aaaaaaaa\n"
    assert [one["EventIds"] for one in service.asked("AcknowledgeEvents")] == [["evt-bbbbbbbb"], ["evt-aaaaaaaa"]]
    for wrong in ([], ["evt-bbbbbbbb", "--all"]):
        assert command("events", "acknowledge", *wrong).code == 2


def test_events_are_followed_from_before_the_list_was_read(command: Command, service: FakeService) -> None:
    over = {**EVENT, "ResolvedTime": "2026-11-22T09:40:00+00:00"}
    pages: list[Any] = [
        {"TotalCount": 1, "EventSet": [EVENT], "Cursor": 7}, {"TotalCount": 1, "EventSet": [EVENT], "Cursor": 9},
        {"TotalCount": 1, "EventSet": [over], "Cursor": 9}, RefusalError("UnauthorizedOperation", "It ends here."),
    ]  # fmt: skip
    service.on("DescribeEvents", *pages)
    ended = command("events", "--follow", "--unresolved", "--json")
    told = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["resolved_at"] for one in told] == [None, "2026-11-22T09:40:00+00:00"]
    assert [one.get("After") for one in service.asked("DescribeEvents")] == [None, None, 7, 9]
    service.on("DescribeEvents", *pages)
    lines = command("events", "--follow", "--unresolved").out.splitlines()
    assert lines == [
        "2026-11-22T09:36:07+00:00  warning  Free space is low. (2 times)",
        "2026-11-22T09:36:07+00:00  over     Free space is low. (2 times)",
    ]


@pytest.mark.parametrize(
    ("asked", "given", "warned"), [(None, "crash", 0), ("filesystem", "crash", 1), ("filesystem", "filesystem", 0)]
)
def test_less_consistency_than_asked_is_one_line_of_warning(
    command: Command, service: FakeService, asked: str | None, given: str, warned: int
) -> None:
    taken = {**snapshot_taken("snap-aaaaaaaa"), "Consistency": given, "ConsistencyAsked": asked}
    service.on("DescribeSnapshotRecords", one_row("SnapshotRecordSet", taken))
    ended = command("snapshot", "create", "disk-aaaaaaaa")
    assert (ended.code, ended.out) == (0, "snap-aaaaaaaa\n")
    assert len(ended.err.splitlines()) == warned
    assert ("warning: snap-aaaaaaaa is crash-consistent" in ended.err) == bool(warned)


def test_the_audit_trail_is_listed(command: Command, service: FakeService) -> None:
    entry = {
        "EntryId": 7, "At": "2026-11-22T09:36:07+00:00", "AccountId": "100000000001", "SecretId": "", "Source": "",
        "Action": "TerminateDisks", "Resource": "", "Code": "InvalidDiskId.NotFound", "RequestId": "", "Calls": 117,
    }  # fmt: skip
    service.on("DescribeAuditTrail", one_row("AuditEntrySet", entry))
    ended = command(
        "audit", "list", "--account", "100000000001", "--resource", "disk-aaaaaaaa", "--outcome", "REFUSED",
        "--since", "2026-11-01T00:00:00+08:00", "--json",
    )  # fmt: skip
    assert json.loads(ended.out) == [{
        "entry_id": 7, "at": "2026-11-22T09:36:07+00:00", "account_id": "100000000001", "secret_id": None,
        "source": None, "action": "TerminateDisks", "resource": None, "code": "InvalidDiskId.NotFound",
        "request_id": None, "calls": 117,
    }]  # fmt: skip
    (asked,) = service.asked("DescribeAuditTrail")
    assert asked["BeginTime"] == "2026-11-01T00:00:00+08:00"
    assert {one["Name"]: one["Values"] for one in asked["Filters"]} == {
        "account-id": ["100000000001"], "resource-id": ["disk-aaaaaaaa"], "outcome": ["REFUSED"],
    }  # fmt: skip
    heading, line = command("audit", "list").out.splitlines()
    assert heading.split() == ["AT", "ACCOUNT", "ID", "ACTION", "CODE", "RESOURCE", "CALLS"]
    assert line.split()[-2:] == ["-", "117"]


def test_a_directory_that_the_environment_overrides_is_warned_of(
    command: Command, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"DRYSTONE_ENDPOINT": service.endpoint, "TENCENTCLOUD_SECRET_ID": "i", "TENCENTCLOUD_SECRET_KEY": "k"}
    for name, value in {**named, "DRYSTONE_DATA": str(tmp_path / "server")}.items():
        monkeypatch.setenv(name, value)
    ended = command("disk", "list", data=False)
    assert ended.code == 0
    assert ended.err.startswith(f"warning: DRYSTONE_DATA={tmp_path / 'server'} is not used")
    assert ended.err.count("\n") == 1
    assert command("disk", "list").err == ""


def test_what_was_cancelled_has_not_failed(command: Command, service: FakeService) -> None:
    code = "FailedOperation.Cancelled"
    rows = [
        operation("op-aaaaaaaa", State="FAILED", ErrorCode=code, ErrorMessage="It was cancelled."),
        operation("op-bbbbbbbb", State="FAILED", ErrorCode="InternalError", ErrorMessage="no space"),
        operation("op-cccccccc", State="RUNNING", ErrorCode=code),
    ]
    service.on("DescribeOperations", paged("OperationSet", rows, "OperationId", "OperationIds"))

    def listed(*options: str) -> list[str]:
        records = json.loads(command("operation", "list", "--json", *options).out)
        return [f"{one['operation_id'][3]} {one['state']}" for one in records]

    assert listed() == ["a CANCELLED", "b FAILED", "c CANCELLING"]
    assert listed("--state", "CANCELLED")[0] == "a CANCELLED"
    assert "a CANCELLED" not in listed("--state", "FAILED")
    assert [one["Filters"] for one in service.asked("DescribeOperations")[1:]] == [
        [{"Name": "state", "Values": ["FAILED"]}]
    ] * 2
    service.on("DescribeOperationHistory", {"StepSet": [{"At": "t", "Phase": "", "State": "FAILED", "Attempts": 1}]})
    steps = json.loads(command("operation", "logs", "op-aaaaaaaa", "--json").out)
    assert [one["state"] for one in steps] == ["CANCELLED"]
    waited = command("operation", "wait", "op-aaaaaaaa")
    assert (waited.code, "was cancelled; see `drystone operation show op-aaaaaaaa`" in waited.err) == (1, True)

"""Rolling back with what goes around it: said before, done in order, and gone on with where it ended."""

import json
from typing import Any

import pytest

from drystone.cli.wait import Step
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService, RefusalError, disk, disk_detail, operation, paged, snapshot

DISK = "disk-aaaaaaaa"
CHANGES = ("CreateSnapshot", "DetachDisks", "ApplySnapshot", "AttachDisks")


class Machine:
    """A disk whose state follows the calls."""

    def __init__(self, service: FakeService, *, instance: str = "ins-aaaaaaaa", last: str = "") -> None:
        self.state, self.instance, self.last = ("ATTACHED" if instance else "UNATTACHED"), instance, last or instance
        service.on("DescribeDisks", self.describe)
        service.on("DescribeDiskDetails", paged("DiskDetailSet", [disk_detail(DISK)], "DiskId", "DiskIds"))
        one = snapshot("snap-aaaaaaaa", SnapshotName="monday")
        service.on("DescribeSnapshots", paged("SnapshotSet", [one], "SnapshotId", "SnapshotIds"))
        service.on("DetachDisks", self.detach)
        service.on("AttachDisks", self.attach)
        self.service = service

    def describe(self, _given: dict[str, Any]) -> dict[str, Any]:
        row = disk(DISK, DiskName="db", DiskState=self.state, InstanceId=self.instance, LastAttachInsId=self.last)
        return {"TotalCount": 1, "DiskSet": [row]}

    def detach(self, _given: dict[str, Any]) -> dict[str, Any]:
        self.state, self.instance = "UNATTACHED", ""
        return {}

    def attach(self, given: dict[str, Any]) -> dict[str, Any]:
        self.state, self.instance = "ATTACHED", given["InstanceId"]
        return {}

    @property
    def changes(self) -> list[str]:
        return [name for name, _ in self.service.calls if name in CHANGES]


def test_it_detaches_rolls_back_and_attaches(command: Command, service: FakeService) -> None:
    machine = Machine(service)
    ended = command("disk", "rollback", "db", "monday", "--detach", "--attach-again", "--safety-snapshot", "--yes")
    assert (ended.code, ended.out) == (0, f"{DISK}\n")
    assert machine.changes == list(CHANGES)
    assert service.asked("ApplySnapshot") == [{"SnapshotId": "snap-aaaaaaaa", "DiskId": DISK}]
    assert (machine.state, machine.instance) == ("ATTACHED", "ins-aaaaaaaa")


def test_what_it_does_is_said_before_and_nothing_is_done_unless_somebody_agrees(
    command: Command, service: FakeService
) -> None:
    machine = Machine(service)
    ended = command("disk", "rollback", "db", "latest", "--detach", "--attach-again")
    assert (ended.code, machine.changes) == (2, [])
    assert (
        f"This detaches {DISK} from ins-aaaaaaaa, then sets {DISK} back to snap-aaaaaaaa, then attaches it to "
        "ins-aaaaaaaa again. What was written since is lost" in ended.err
    )
    agreed = command("disk", "rollback", "db", "latest", "--detach", "--attach-again", "--yes")
    assert (agreed.code, agreed.out) == (0, f"{DISK}\n")
    assert agreed.err.splitlines()[0].startswith(f"This detaches {DISK} from ins-aaaaaaaa, then sets {DISK} back")


def test_another_disk_s_snapshot_is_refused_before_anything_is_done(command: Command, service: FakeService) -> None:
    Machine(service)
    one = snapshot("snap-aaaaaaaa", DiskId="disk-cccccccc")
    service.on("DescribeSnapshots", paged("SnapshotSet", [one], "SnapshotId", "SnapshotIds"))
    ended = command("disk", "rollback", "db", "snap-aaaaaaaa", "--detach", "--yes")
    assert (ended.code, ended.out) == (1, "")
    assert f"snap-aaaaaaaa is a snapshot of disk-cccccccc, not of {DISK}" in ended.err
    assert not any(service.asked(action) for action in CHANGES)


def test_an_attached_disk_is_not_detached_unasked(command: Command, service: FakeService) -> None:
    machine = Machine(service)
    for tokens in (("disk", "rollback", "db", "monday", "--yes"), ("snapshot", "rollback", "db@monday", "--yes")):
        ended = command(*tokens)
        assert (ended.code, machine.changes) == (4, [])
        assert f"detach it first with `drystone disk detach {DISK}`, or give --detach" in ended.err


@pytest.mark.parametrize("refused", ["ApplySnapshot", "AttachDisks"])
def test_the_same_command_goes_on_where_it_ended(command: Command, service: FakeService, refused: str) -> None:
    machine = Machine(service)
    rules = service.rules[refused]
    service.on(refused, RefusalError("ResourceBusy", "not now"), *rules)
    tokens = ("disk", "rollback", "db", "monday", "--detach", "--attach-again", "--yes")
    first = command(*tokens)
    assert first.code == 4
    assert ("is detached" if refused == "ApplySnapshot" else "is rolled back") in first.err
    assert "the same command goes on" in first.err
    assert (machine.state, machine.instance) == ("UNATTACHED", "")
    second = command(*tokens)
    assert second.code == 0
    assert (machine.state, machine.instance) == ("ATTACHED", "ins-aaaaaaaa")
    assert len(service.asked("DetachDisks")) == 1


def test_one_that_runs_already_is_waited_for(command: Command, service: FakeService) -> None:
    machine = Machine(service, instance="", last="ins-aaaaaaaa")
    machine.state = "ROLLBACKING"
    running = operation(
        "op-aaaaaaaa", Kind="rollback", State="RUNNING", SnapshotId="snap-aaaaaaaa", DiskId=DISK
    )  # fmt: skip

    def asked(given: dict[str, Any]) -> dict[str, Any]:
        row = running
        if given.get("OperationIds"):
            machine.state, row = "UNATTACHED", {**running, "State": "DONE"}
        return {"TotalCount": 1, "OperationSet": [row]}

    service.on("DescribeOperations", asked)
    ended = command("disk", "rollback", "db", "monday", "--attach-again", "--safety-snapshot", "--yes")
    assert ended.code == 0
    assert machine.changes == ["AttachDisks"]


@pytest.mark.parametrize("tokens", [("--attach-again",), ("--attach-again", "--no-wait")])
def test_what_makes_no_sense_together_is_refused(
    command: Command, service: FakeService, tokens: tuple[str, ...]
) -> None:
    machine = Machine(service, instance="", last="")
    assert command("disk", "rollback", "db", "monday", "--yes", *tokens).code == 2
    assert machine.changes == []


@pytest.mark.parametrize("words", [("delete",), ("init",), ("rewrite",)])
def test_an_attached_disk_says_how_to_detach_it(command: Command, service: FakeService, words: tuple[str, ...]) -> None:
    Machine(service)
    yes = () if words == ("rewrite",) else ("--yes",)
    ended = command("disk", *words, "db", *yes)
    assert (ended.code, f"drystone disk detach {DISK}" in ended.err) == (4, True)
    assert all(name.startswith("Describe") for name, _ in service.calls)


def test_hints_after_the_result(command: Command, service: FakeService) -> None:
    assert "resize2fs" in command("disk", "resize", DISK, "--size", "20").err
    taken = service.rules["DescribeSnapshotRecords"][0]
    assert "sync -f" not in command("snapshot", "create", DISK).err

    def unchanged(given: dict[str, Any]) -> dict[str, Any]:
        assert callable(taken)
        answer = taken(given)
        return {**answer, "SnapshotRecordSet": [{**row, "ChangedBytes": 0} for row in answer["SnapshotRecordSet"]]}

    service.on("DescribeSnapshotRecords", unchanged)
    ended = command("snapshot", "create", DISK)
    assert (ended.out, "sync -f MOUNT" in ended.err) == ("snap-aaaaaaaa\n", True)


def test_wait_and_diff(command: Command, service: FakeService) -> None:
    assert command("snapshot", "wait", "snap-aaaaaaaa").out == "snap-aaaaaaaa\n"
    answer = {"SizeBytes": 1 << 30, "ChangedBytes": 4096, "BucketBytes": 1 << 29, "Buckets": [4096, 0]}
    service.on("DescribeSnapshotDifference", answer)
    shown = command("snapshot", "diff", "snap-aaaaaaaa").out
    assert "0-512 MiB" in shown
    assert "4.0 KiB" in shown
    assert "buckets" not in shown
    assert json.loads(command("snapshot", "diff", "snap-aaaaaaaa", "--json").out)["buckets"] == [4096, 0]
    service.calls.clear()
    command("snapshot", "diff", "snap-aaaaaaaa")
    assert command("snapshot", "diff", "snap-aaaaaaaa", "snap-bbbbbbbb").code == 0
    assert service.asked("DescribeSnapshotDifference") == [
        {"From": "snap-00000000", "To": "snap-aaaaaaaa"}, {"From": "snap-aaaaaaaa", "To": "snap-bbbbbbbb"},
    ]  # fmt: skip


def test_ctrl_c_while_waiting_names_what_goes_on(
    command: Command, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_given: object) -> Step:
        raise KeyboardInterrupt

    monkeypatch.setattr("drystone.cli.wait.percent_of", interrupted)
    ended = command("snapshot", "create", DISK)
    assert ended.code == 130
    assert ended.err == (
        "drystone: interrupted while waiting for snap-aaaaaaaa; it goes on in the server, see `drystone operation "
        "list`\n"
    )

"""What names stand for: one parser for every command."""

import json
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService, disk, operation, paged, snapshot

DISKS = [
    disk("disk-aaaaaaaa", DiskName="db"), disk("disk-bbbbbbbb", DiskName="web"), disk("disk-cccccccc", DiskName="web"),
    disk("disk-dddddddd", DiskName="d@ta"), disk("disk-eeeeeeee", DiskName="disk-aaaaaaaa"),
]  # fmt: skip
# The newest first, as the service lists them.
SNAPSHOTS = [
    snapshot("snap-99999999", SnapshotName="nightly", DiskId="disk-aaaaaaaa", SnapshotState="CREATING"),
    snapshot("snap-44444444", SnapshotName="nightly", DiskId="disk-bbbbbbbb"),
    snapshot("snap-33333333", SnapshotName="first", DiskId="disk-dddddddd"),
    snapshot("snap-22222222", SnapshotName="monday", DiskId="disk-aaaaaaaa"),
    snapshot("snap-11111111", SnapshotName="nightly", DiskId="disk-aaaaaaaa", SnapshotState="ROLLBACKING"),
    snapshot("snap-00000000", SnapshotName="db@monday", DiskId="disk-bbbbbbbb"),
]


@pytest.fixture
def named(service: FakeService) -> FakeService:
    service.on("DescribeDisks", paged("DiskSet", DISKS, "DiskId", "DiskIds"))
    service.on("DescribeSnapshots", paged("SnapshotSet", SNAPSHOTS, "SnapshotId", "SnapshotIds"))
    return service


def shown(command: Command, *tokens: str) -> dict[str, Any]:
    ended = command(*tokens, "--json")
    assert (ended.code, ended.err) == (0, "")
    value: dict[str, Any] = json.loads(ended.out)
    return value


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("snapshot", "show", "disk-cccccccc@latest"), "disk disk-cccccccc has no complete snapshot; "),
        (("snapshot", "show", "db@thursday"), "disk db has no snapshot thursday; `drystone snapshot list --disk db`"),
        (("snapshot", "show", "nowhere@latest"), "there is no snapshot nowhere@latest; "),
        (("disk", "rollback", "disk-cccccccc", "latest"), "disk disk-cccccccc has no complete snapshot; "),
        (
            ("disk", "rollback", "disk-bbbbbbbb", "monday"),
            "disk-bbbbbbbb has no snapshot monday; that is the name of snap-22222222 of disk-aaaaaaaa",
        ),
    ],
)
@pytest.mark.usefixtures("named")
def test_what_is_not_there_is_told_by_what_is(command: Command, words: tuple[str, ...], told: str) -> None:
    ended = command(*words)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith(f"drystone: {told}")


@pytest.mark.usefixtures("named")
def test_a_name_that_is_taken_is_warned_of(command: Command, service: FakeService) -> None:
    service.on("CreateSnapshot", {"SnapshotId": "snap-44444444"})
    for words, taken in (
        (("disk", "create", "--size", "20", "--name", "web"), "disk-bbbbbbbb, disk-cccccccc"),
        (("snapshot", "create", "db", "--name", "monday"), "snap-22222222"),
    ):
        ended = command(*words, "--no-wait")
        assert (ended.code, ended.err.count("\n")) == (0, 1)
        assert ended.err.startswith("warning: a ")
        assert f"already ({taken})" in ended.err
    # Another disk's snapshot of this name is no other meaning of DISK@NAME.
    for words in (
        ("disk", "create", "--size", "20", "--name", "new"),
        ("snapshot", "create", "web", "--name", "first"),
    ):
        ended = command(*(word if word != "web" else "disk-bbbbbbbb" for word in words), "--no-wait")
        assert (ended.code, ended.err) == (0, "")


def test_what_has_no_name_is_shown_as_such_to_people_alone(command: Command, service: FakeService) -> None:
    unnamed = disk("disk-aaaaaaaa", DiskName="未命名")
    service.on("DescribeDisks", paged("DiskSet", [unnamed], "DiskId", "DiskIds"))
    for words in (("disk", "list"), ("disk", "show", "disk-aaaaaaaa")):
        assert "未命名" not in command(*words).out
        assert "未命名" in command(*words, "--json").out


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("snap-22222222", "snap-22222222"),
        ("monday", "snap-22222222"),
        ("web@first", None),
        ("d@ta@first", "snap-33333333"),
        ("disk-dddddddd@first", "snap-33333333"),
        ("d@ta@latest", "snap-33333333"),
        # A snapshot that is still being made is not the latest: nothing can be done with it.
        ("db@latest", "snap-22222222"),
        ("disk-bbbbbbbb@nightly", "snap-44444444"),
    ],
)
@pytest.mark.usefixtures("named")
def test_a_snapshot_by_name_and_by_disk(command: Command, text: str, identity: str | None) -> None:
    if identity is None:
        assert command("snapshot", "show", text).code == 2
    else:
        assert shown(command, "snapshot", "show", text)["snapshot_id"] == identity


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("nightly", ("snap-99999999", "snap-44444444", "snap-11111111")),
        ("db@nightly", ("snap-99999999", "snap-11111111")),
        # It is a snapshot's name, and one of a disk's snapshots.
        ("db@monday", ("snap-00000000", "snap-22222222")),
        ("web@latest", ("disk-bbbbbbbb", "disk-cccccccc")),
    ],
)
def test_what_may_mean_several_is_refused_in_one_line_with_the_ids(
    command: Command, named: FakeService, text: str, ids: tuple[str, ...]
) -> None:
    for tokens in (("snapshot", "show", text), ("snapshot", "delete", text, "--yes"), ("snapshot", "prove", text)):
        ended = command(*tokens)
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
        assert all(one in ended.err for one in ids)
    assert all(name.startswith("Describe") for name, _ in named.calls)


def test_an_id_is_an_id_also_if_it_is_a_name(command: Command, named: FakeService) -> None:
    assert shown(command, "disk", "show", "disk-aaaaaaaa")["name"] == "db"
    assert not any("Filters" in asked for asked in named.asked("DescribeDisks"))


@pytest.mark.parametrize("text", ["none", "db@none", "none@latest", "@", "db@", "@latest"])
@pytest.mark.usefixtures("named")
def test_what_means_nothing_is_not_found(command: Command, text: str) -> None:
    ended = command("snapshot", "show", text)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (3, "", 1)


def test_the_option_disk_scopes_a_snapshot_s_name(command: Command, named: FakeService) -> None:
    ended = command("snapshot", "rollback", "nightly", "--disk", "disk-bbbbbbbb", "--yes", "--no-wait")
    assert (ended.code, ended.out) == (0, "disk-bbbbbbbb\n")
    assert named.asked("ApplySnapshot") == [{"SnapshotId": "snap-44444444", "DiskId": "disk-bbbbbbbb"}]


def test_every_command_takes_them(command: Command, named: FakeService) -> None:
    assert command("disk", "create", "--from-snapshot", "db@latest").code == 0
    assert named.asked("CreateDisks")[0]["SnapshotId"] == "snap-22222222"
    assert command("snapshot", "delete", "db@latest", "monday", "--yes").out.split() == ["snap-22222222"] * 2
    named.on("DescribeOperations", {"TotalCount": 1, "OperationSet": [operation("op-aaaaaaaa")]})
    assert command("operation", "list", "--resource", "db").code == 0
    assert command("operation", "list", "--resource", "db@latest").code == 0
    assert command("operation", "list", "--resource", "none").code == 3
    asked = [one["Filters"] for one in named.asked("DescribeOperations")]
    assert asked == [[{"Name": "resource-id", "Values": [one]}] for one in ("disk-aaaaaaaa", "snap-22222222")]
    assert command("quiesce", "show", "db").code == 0


def test_the_trail_knows_names_and_keeps_what_is_none(command: Command, named: FakeService) -> None:
    named.on("DescribeAuditTrail", {"TotalCount": 0, "AuditEntrySet": []})
    for text in ("db", "/srv/image.qcow2"):
        assert command("audit", "list", "--resource", text, "--account", "admin").code == 0
    assert [[one["Values"] for one in asked["Filters"]] for asked in named.asked("DescribeAuditTrail")] == [
        [["100000000001"], ["disk-aaaaaaaa"]], [["100000000001"], ["/srv/image.qcow2"]]
    ]  # fmt: skip


@pytest.mark.parametrize("account", ["admin", "100000000001"])
def test_accounts_by_id_or_name(command: Command, service: FakeService, account: str) -> None:
    service.on("SetAccountQuota", {})
    service.on("SetAccountPassword", {"Password": "made-one"})
    assert command("account", "key", "list", account).code == 0
    assert command("account", "key", "create", account).code == 0
    assert command("account", "quota", account, "--disks", "3").code == 0
    assert command("account", "password", account).code == 0
    for action in ("DescribeAccessKeys", "CreateAccessKey", "SetAccountQuota"):
        assert service.asked(action)[0]["AccountId"] == "100000000001"
    given = {"AccountName": "admin"} if account == "admin" else {"AccountId": account}
    assert service.asked("SetAccountPassword") == [given]
    assert command("account", "key", "list", "nobody").code == 3

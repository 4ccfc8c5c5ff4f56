"""The commands on snapshot policies."""

import json
from typing import Any

import pytest

from drystone.cli.given import numbers, periods, words
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService, RefusalError, paged

RUN = {
    "PolicyId": "asp-aaaaaaaa", "SlotTime": "2026-11-22T02:00:00+00:00", "DiskId": "disk-aaaaaaaa", "State": "failed",
    "Reason": "busy", "Detail": "It is.", "LateSeconds": 2, "Missed": 0, "Attempts": 3, "SnapshotId": None,
    "EndedTime": "2026-11-22T14:00:00+00:00",
}  # fmt: skip


def policy(identity: str, **changes: Any) -> dict[str, Any]:
    return {
        "PolicyId": identity, "PolicyName": f"name of {identity}", "Active": True, "TimeZone": "+08:00",
        "Triggers": [{"Hour": [2, 14], "DayOfWeek": [1, 4], "DayOfMonth": [], "IntervalDays": 0}],
        "IsPermanent": False, "RetentionDays": 7, "RetentionMonths": None, "RetentionAmount": None,
        "AdvancedRetentionPolicy": None, "Group": False, "SkipUnchanged": True, "CopiedFrom": None,
        "DiskIds": ["disk-aaaaaaaa"], "NextTimes": ["2026-11-23T02:00:00+00:00"], "LastRuns": [RUN],
        "CreateTime": "2026-11-22T09:36:07+00:00", "ModifyTime": "2026-11-22T09:36:07+00:00",
    } | changes  # fmt: skip


@pytest.fixture(autouse=True)
def policies(service: FakeService) -> FakeService:
    rows = [policy("asp-aaaaaaaa"), policy("asp-bbbbbbbb")]
    service.on("DescribePolicyDetails", paged("PolicyDetailSet", rows, "PolicyId", "PolicyIds"))
    day = {"Date": "2026-11-22", "RunTimes": [RUN["SlotTime"]], "GoneTimes": [], "Kept": 1}
    service.on("DescribePolicySimulation", {
        "TimeZone": "+08:00", "SimulatedPolicyDaySet": [day], "KeptTimes": [RUN["SlotTime"]],
    })  # fmt: skip
    service.on("DescribePolicyRuns", {"TotalCount": 2, "PolicyRunSet": [RUN, RUN | {"DiskId": "disk-bbbbbbbb"}]})
    service.on("CreateAutoSnapshotPolicy", {"AutoSnapshotPolicyId": "asp-aaaaaaaa", "NextTriggerTime": "t"})
    for action in (
        "SetPolicyOptions", "ModifyAutoSnapshotPolicyAttribute", "DeleteAutoSnapshotPolicies",
        "BindAutoSnapshotPolicy", "UnbindAutoSnapshotPolicy",
    ):  # fmt: skip
        service.on(action, {})
    return service


def test_a_policy_is_made_and_bound(command: Command, service: FakeService) -> None:
    made = command(
        "policy", "create", "nightly", "--at", "2,14", "--weekdays", "mon,thursday", "--keep", "5", "--zone",
        "Europe/Berlin", "--skip-unchanged", "--disk", "name of disk-bbbbbbbb", "--disk", "disk-aaaaaaaa",
    )  # fmt: skip
    assert (made.code, made.out) == (0, "asp-aaaaaaaa\n"), made.err
    trigger = {"Hour": [2, 14], "DayOfWeek": [1, 4]}
    assert service.asked("CreateAutoSnapshotPolicy") == [{"AutoSnapshotPolicyName": "nightly", "Policy": [trigger]}]
    assert service.asked("SetPolicyOptions") == [
        {"PolicyId": "asp-aaaaaaaa", "TimeZone": "Europe/Berlin", "SkipUnchanged": True, "RetentionAmount": 5}
    ]
    assert service.asked("BindAutoSnapshotPolicy") == [
        {"AutoSnapshotPolicyId": "asp-aaaaaaaa", "DiskIds": ["disk-bbbbbbbb", "disk-aaaaaaaa"]}
    ]


def test_what_cannot_be_is_refused_before_anything_is_made(command: Command, service: FakeService) -> None:
    service.on("DescribePolicySimulation", RefusalError("InvalidParameterValue", "`X` is no time zone here."))
    ended = command("policy", "create", "nightly", "--at", "2", "--zone", "X")
    assert (ended.code, service.asked("CreateAutoSnapshotPolicy")) == (1, [])
    assert "no time zone" in ended.err


def test_only_what_is_given_is_changed(command: Command, service: FakeService) -> None:
    assert command("policy", "modify", "name of asp-aaaaaaaa", "--inactive").code == 0
    assert command("policy", "modify", "asp-aaaaaaaa", "--keep-calendar", "7d,4w", "--no-group").code == 0
    assert command("policy", "modify", "asp-aaaaaaaa", "--at", "0", "--month-days", "1,31", "--name", "n").code == 0
    assert service.asked("ModifyAutoSnapshotPolicyAttribute") == [
        {"AutoSnapshotPolicyId": "asp-aaaaaaaa", "IsActivated": False},
        {
            "AutoSnapshotPolicyId": "asp-aaaaaaaa", "AutoSnapshotPolicyName": "n",
            "Policy": [{"Hour": [0], "DayOfMonth": [1, 31]}],
        },
    ]  # fmt: skip
    kept = {"AdvancedRetentionPolicy": {"Days": 7, "Weeks": 4}}
    assert service.asked("SetPolicyOptions") == [{"PolicyId": "asp-aaaaaaaa", "Group": False, **kept}]


def test_policies_are_shown(command: Command) -> None:
    (first, _) = json.loads(command("policy", "list", "--json").out)
    assert (first["when"], first["keep"], first["last_result"]) == ("mon,thu at 2,14", "7 days", "1 failed")
    shown = json.loads(command("policy", "show", "name of asp-aaaaaaaa", "--json").out)
    assert shown == first
    assert "asp-bbbbbbbb" in command("policy", "list").out


@pytest.mark.parametrize(("changes", "when", "keep"), [
    ({"RetentionDays": None, "RetentionAmount": 3}, "mon,thu at 2,14", "newest 3"),
    ({"RetentionDays": None, "IsPermanent": True}, "mon,thu at 2,14", "for ever"),
    (
        {"RetentionDays": None, "AdvancedRetentionPolicy": {"Days": 7, "Weeks": 4, "Months": 0, "Years": 1}},
        "mon,thu at 2,14", "7d,4w,0m,1y",
    ),
    (
        {"Triggers": [{"Hour": [0], "DayOfWeek": [], "DayOfMonth": [1], "IntervalDays": 0}]},
        "month days 1 at 0", "7 days",
    ),
    ({"Triggers": [{"Hour": [0], "DayOfWeek": [], "DayOfMonth": [], "IntervalDays": 1}]}, "every day at 0", "7 days"),
])  # fmt: skip
def test_schedules_are_told_in_words(
    command: Command, service: FakeService, changes: dict[str, Any], when: str, keep: str
) -> None:
    service.on("DescribePolicyDetails", {"TotalCount": 1, "PolicyDetailSet": [policy("asp-aaaaaaaa", **changes)]})
    (found,) = json.loads(command("policy", "list", "--json").out)
    assert (found["when"], found["keep"]) == (when, keep)


def test_disks_come_and_go_and_policies_too(command: Command, service: FakeService) -> None:
    assert command("policy", "bind", "asp-aaaaaaaa", "disk-aaaaaaaa").out == "asp-aaaaaaaa\n"
    assert command("policy", "unbind", "asp-aaaaaaaa", "disk-aaaaaaaa").code == 0
    named = {"AutoSnapshotPolicyId": "asp-aaaaaaaa", "DiskIds": ["disk-aaaaaaaa"]}
    assert service.asked("BindAutoSnapshotPolicy") == service.asked("UnbindAutoSnapshotPolicy") == [named]
    assert command("policy", "delete", "asp-aaaaaaaa").code == 2
    assert command("policy", "delete", "asp-aaaaaaaa", "--yes").out == "asp-aaaaaaaa\n"
    assert service.asked("DeleteAutoSnapshotPolicies") == [{"AutoSnapshotPolicyIds": ["asp-aaaaaaaa"]}]


def test_a_policy_is_simulated(command: Command, service: FakeService) -> None:
    ended = command("policy", "simulate", "name of asp-aaaaaaaa", "--keep-months", "2", "--days", "30")
    assert "2026-11-22" in ended.out
    assert "1 snapshots of each disk at the end" in ended.err
    assert command("policy", "simulate", "--at", "0", "--keep-forever").code == 0
    assert service.asked("DescribePolicySimulation") == [
        {"PolicyId": "asp-aaaaaaaa", "Days": 30, "RetentionMonths": 2},
        {"Policy": [{"Hour": [0], "IntervalDays": 1}], "Days": 365, "IsPermanent": True},
    ]


def test_runs_are_listed(command: Command, service: FakeService) -> None:
    ended = command("policy", "runs", "name of asp-aaaaaaaa", "--disk", "disk-aaaaaaaa", "--state", "failed", "--json")
    rows = json.loads(ended.out)
    assert [row["disk_id"] for row in rows] == ["disk-aaaaaaaa", "disk-bbbbbbbb"]
    assert (rows[0]["reason"], rows[0]["detail"], rows[0]["late_s"]) == ("busy", "It is.", 2)
    assert service.asked("DescribePolicyRuns")[0]["Filters"] == [
        {"Name": "policy-id", "Values": ["asp-aaaaaaaa"]}, {"Name": "disk-id", "Values": ["disk-aaaaaaaa"]},
        {"Name": "state", "Values": ["failed"]},
    ]  # fmt: skip


@pytest.mark.parametrize(("tokens", "told"), [
    (("create", "n"), "give the hours"),
    (("create", "n", "--every", "2"), "give the hours too"),
    (("create", "n", "--at", "x"), "are no hours"),
    (("create", "n", "--at", "1", "--weekdays", "mo,tue"), "no such days"),
    (("create", "n", "--at", "1", "--month-days", "1", "--every", "2"), "not several of them"),
    (("create", "n", "--at", "1", "--keep", "1", "--keep-forever"), "one way to keep"),
    (("create", "n", "--at", "1", "--keep-calendar", "7"), "no calendar"),
    (("modify", "asp-aaaaaaaa"), "nothing to change"),
    (("simulate",), "give a policy"),
    (("bind", "asp-aaaaaaaa"), "at least one disk"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(command: Command, tokens: tuple[str, ...], told: str) -> None:
    ended = command("policy", *tokens)
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert told in ended.err


def test_what_people_write() -> None:
    assert numbers("2, 14", "hours", "2") == [2, 14]
    assert words("Sunday,sat", ("sun", "mon", "sat")) == [0, 2]
    assert periods("7d, 3Y", {"d": "Days", "y": "Years"}) == {"Days": 7, "Years": 3}
    with pytest.raises(ValueError, match="no calendar"):
        periods("7d,8d", {"d": "Days"})

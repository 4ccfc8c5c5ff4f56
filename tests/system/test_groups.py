"""Groups on a real installation: one instant, all members or none, whatever is killed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drystone.domain.ids import DiskId
from tests.system.group_loop import Pair, ordered, run
from tests.system.harness import installation

MIB = 1 << 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A data and a log disk of an installation with little scratch; it may be killed, and is there afterwards."""
    settings = f"scratch_bytes_max = {16 * MIB}\n"
    with installation(Path(tmp_path_factory.mktemp("drystone")), settings) as system:
        made = Pair(system)
        made.make()
        yield made


def test_never_data_without_its_log(pair: Pair) -> None:
    pauses = run(pair, groups=3)
    assert all(pause > 0 for pause in pauses)


def test_the_check_sees_disks_that_were_not_cut_together() -> None:
    ordered([5, 6], [5, 7], [4, 6], [6, 8])
    with pytest.raises(AssertionError, match="data without its log"):
        ordered([5, 6], [5, 5], [4, 5], [6, 8])
    with pytest.raises(AssertionError, match="of a later time"):
        ordered([5, 6], [5, 8], [4, 5], [6, 8])
    with pytest.raises(AssertionError, match="not within the call"):
        ordered([5, 6], [5, 6], [4, 7], [6, 8])


def test_a_group_is_described_deleted_and_its_last_member_takes_it_along(pair: Pair) -> None:
    system = pair.system
    made = system.call(
        "CreateSnapshotGroup", DiskIds=[pair.data, pair.log], SnapshotGroupName="both",
        Tags=[{"Key": "team", "Value": "db"}],
    )  # fmt: skip
    group = made.SnapshotGroupId
    pair.wait_normal(group)
    (found,) = system.call(
        "DescribeSnapshotGroups",
        Filters=[
            {"Name": "snapshot-group-name", "Values": ["both"]},
            {"Name": "snapshot-group-state", "Values": ["NORMAL"]},
            {"Name": "snapshot-id", "Values": [pair.members(group)[1]]},
        ],
    ).SnapshotGroupSet
    assert (found.SnapshotGroupId, found.Percent, found.IsPermanent, found.DeadlineTime) == (group, 100, True, None)
    assert set(found.SnapshotIdSet) == set(pair.members(group))
    names = {system.snapshot(member).SnapshotName for member in found.SnapshotIdSet}
    assert names == {"both_0", "both_1"}
    records = [system.record(member) for member in found.SnapshotIdSet]
    assert {record["SnapshotGroupId"] for record in records} == {group}
    assert {record["FreezeMs"] for record in records} == {pair.pause_ms(group)}
    assert len({record["TakenAt"] for record in records}) == 1
    assert system.code("DescribeSnapshotGroups", Filters=[{"Name": "x", "Values": ["y"]}]) == "InvalidFilter"
    assert system.code("DescribeSnapshotGroups", Limit=101) == "InvalidParameter"
    system.call("DeleteSnapshots", SnapshotIds=[found.SnapshotIdSet[0]])
    assert pair.find(group).SnapshotIdSet == [found.SnapshotIdSet[1]]
    system.call("DeleteSnapshots", SnapshotIds=[found.SnapshotIdSet[1]])
    assert pair.find(group) is None
    other = system.call("CreateSnapshotGroup", DiskIds=[pair.data]).SnapshotGroupId
    pair.wait_normal(other)
    (member,) = pair.find(other).SnapshotIdSet
    system.call("DeleteSnapshotGroup", SnapshotGroupIds=[other])
    assert (pair.find(other), system.snapshot(member)) == (None, None)
    assert system.code("DeleteSnapshotGroup", SnapshotGroupId=other) == "InvalidSnapshotId.NotFound"
    assert system.code("DeleteSnapshotGroup") == "MissingParameter"


def test_what_is_no_instant_is_refused(pair: Pair) -> None:
    system = pair.system
    loose = system.create_disk()
    before = system.call("DescribeSnapshots").TotalCount
    assert system.code("CreateSnapshotGroup", DiskIds=[pair.data, loose]) == "InvalidDisk.NotSupported"
    elsewhere = str(system.own("CreateInstance", Kind="NBD")["InstanceId"])
    system.attach(loose, elsewhere)
    assert system.code("CreateSnapshotGroup", DiskIds=[pair.data, loose]) == "InvalidParameter"
    assert system.code("CreateSnapshotGroup", DiskIds=[]) == "MissingParameter"
    assert system.code("CreateSnapshotGroup", DiskIds=["disk-00000000"]) == "InvalidDiskId.NotFound"
    system.detach(loose)
    source = system.take(pair.data)
    served_apart = system.create_disk(SnapshotId=source)
    system.attach(served_apart)
    # Whether it is filled already or not, it is in a storage daemon of its own.
    code = system.code("CreateSnapshotGroup", DiskIds=[pair.data, served_apart])
    assert code == "ResourceUnavailable.NotSupported"
    with system.paused_workers():
        group, *_ = pair.take()
        assert system.code("CreateSnapshotGroup", DiskIds=[pair.log]) == "ResourceUnavailable.SnapshotCreating"
        assert system.code("DeleteSnapshotGroup", SnapshotGroupId=group) == "UnsupportedOperation.StateError"
    pair.wait_normal(group)
    system.call("DeleteSnapshotGroup", SnapshotGroupId=group)
    system.call("DeleteSnapshots", SnapshotIds=[source])
    system.wait(lambda: not system.detail(served_apart)["Hydrating"], "filled")
    for disk_id in (loose, served_apart):
        if system.disk(disk_id).DiskState == "ATTACHED":
            system.detach(disk_id)
    system.call("TerminateDisks", DiskIds=[loose, served_apart])
    system.wait_idle()
    assert system.call("DescribeSnapshots").TotalCount == before


def _rewrite(pair: Pair, seed: int) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    content = {disk_id: rng.bytes(2 * MIB) for disk_id in (pair.data, pair.log)}
    for disk_id, data in content.items():
        pair.system.write(disk_id, MIB, data)
    return content


def _check_members(pair: Pair, group: str, content: dict[str, bytes]) -> None:
    for member, disk_id in zip(pair.members(group), (pair.data, pair.log), strict=True):
        assert pair.system.stored(member).read(MIB, 2 * MIB) == content[disk_id]


def test_killed_while_it_uploads_the_group_goes_on_whole(pair: Pair) -> None:
    """S41."""
    system = pair.system
    content = _rewrite(pair, 1)
    with system.paused_workers():
        group, *_ = pair.take()
        _rewrite(pair, 2)
        system.kill()
    system.start()
    pair.wait_normal(group)
    system.wait_idle()
    _check_members(pair, group, content)


def test_a_member_that_breaks_takes_all_along(pair: Pair) -> None:
    """S40: scratch for one disk runs out: neither snapshot appears, guests notice nothing, the next group has all."""
    system = pair.system
    base, *_ = pair.take()
    pair.wait_normal(base)
    known = system.call("DescribeSnapshots").TotalCount
    with system.paused_workers():
        group, *_ = pair.take()
        system.write(pair.data, 64 * MIB, np.random.default_rng(3).bytes(32 * MIB))
        # Nothing changed since the base: let go sooner, the workers would be quicker than the guard of the scratch.
        scratch = system.layout.scratch_file(DiskId(pair.data))
        system.wait(lambda: not scratch.exists(), "scratch given up")
    system.wait(lambda: pair.find(group) is None, "the group's end")
    system.wait_idle()
    assert system.call("DescribeSnapshots").TotalCount == known
    assert "scratch" in system.disk(pair.log).ErrorPrompt
    content = _rewrite(pair, 4)
    next_group, *_ = pair.take()
    pair.wait_normal(next_group)
    _check_members(pair, next_group, content)
    assert {system.record(member)["Tracking"] for member in pair.members(next_group)} == {"delta"}
    live = system.read(pair.data, 64 * MIB, 32 * MIB)
    assert system.stored(pair.members(next_group)[0]).read(64 * MIB, 32 * MIB) == live


def test_a_daemon_that_dies_fails_the_whole_group(pair: Pair) -> None:
    """S40, S41."""
    system = pair.system
    known = system.call("DescribeSnapshots").TotalCount
    content = _rewrite(pair, 5)
    with system.paused_workers():
        group, *_ = pair.take()
        system.kill()
        system.kill_daemons()
    system.start()
    system.wait_idle()
    assert pair.find(group) is None
    assert system.call("DescribeSnapshots").TotalCount == known
    next_group, *_ = pair.take()
    pair.wait_normal(next_group)
    _check_members(pair, next_group, content)


def test_rolled_back_together(pair: Pair) -> None:
    system = pair.system
    content = _rewrite(pair, 6)
    group, *_ = pair.take()
    pair.wait_normal(group)
    _rewrite(pair, 7)
    data, log = pair.members(group)
    both = [{"SnapshotId": data, "DiskId": pair.data}, {"SnapshotId": log, "DiskId": pair.log}]
    apply = {"SnapshotGroupId": group, "ApplyDisks": both}
    assert system.code("ApplySnapshotGroup", **apply) == "UnsupportedOperation.StateError"
    system.call("DetachDisks", DiskIds=[pair.data, pair.log])
    for disk_id in (pair.data, pair.log):
        system.wait_state(disk_id, "UNATTACHED")
    crossed = [{"SnapshotId": log, "DiskId": pair.data}]
    assert system.code("ApplySnapshotGroup", SnapshotGroupId=group, ApplyDisks=crossed) == "InvalidParameter"
    assert system.code("ApplySnapshotGroup", SnapshotGroupId="csnap-00000000", ApplyDisks=both) == "InvalidParameter"
    assert system.code("ApplySnapshotGroup", SnapshotGroupId=group, ApplyDisks=both * 2) == "InvalidParameter"
    assert system.disk(pair.data).DiskState == "UNATTACHED"
    system.call("ApplySnapshotGroup", **apply)
    for disk_id in (pair.data, pair.log):
        system.wait_state(disk_id, "UNATTACHED")
    system.call("AttachDisks", InstanceId=system.nbd_instance, DiskIds=[pair.data, pair.log])
    for disk_id, wanted in content.items():
        system.wait_state(disk_id, "ATTACHED")
        assert system.read(disk_id, MIB, 2 * MIB) == wanted


def test_the_groups_of_another_account_are_not_seen(pair: Pair) -> None:
    system = pair.system
    key = system.own("CreateAccount", AccountName="other")
    group, *_ = pair.take()
    pair.wait_normal(group)
    ours = dict(system.environment)
    system.environment |= {
        "TENCENTCLOUD_SECRET_ID": key["SecretId"], "TENCENTCLOUD_SECRET_KEY": key["SecretKey"],
    }  # fmt: skip
    try:
        assert pair.find(group) is None
        assert system.code("DeleteSnapshotGroup", SnapshotGroupId=group) == "InvalidSnapshotId.NotFound"
        assert system.code("CreateSnapshotGroup", DiskIds=[pair.data]) == "InvalidDiskId.NotFound"
    finally:
        system.environment.clear()
        system.environment.update(ours)

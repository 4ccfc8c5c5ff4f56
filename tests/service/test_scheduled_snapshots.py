"""Snapshots of policies with real disks: taken alone and together, skipped where nothing was written."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from drystone.catalog import policies
from drystone.domain.ids import PolicyId
from drystone.nbd.client import NbdClient
from tests.api.real_service import ZONE, RealService, real_service

HOUR = 3600


async def due(service: RealService, policy: str) -> None:
    """Have the last slot of an hourly policy be due now, as if nobody had looked for two hours."""
    now = service.parts.transactions.steady()

    def set_back(conn: Any) -> None:
        policies.set_cursor(conn, PolicyId(policy), now - 2 * HOUR)
        values = {"anchored_at": now - 2 * HOUR}
        policies.compare_and_set(conn, policy, expected={}, values=values)

    await service.parts.db.write(set_back)


async def rounds(service: RealService, policy: str) -> list[Mapping[str, Any]]:
    """Do rounds until each run has ended, and return the runs, oldest first."""
    while True:
        await service.schedules.once()
        runs = (await service.call("DescribePolicyRuns", Filters=[{"Name": "policy-id", "Values": [policy]}]))[
            "PolicyRunSet"
        ]
        if all(run["EndedTime"] for run in runs):
            return sorted(runs, key=lambda run: (run["SlotTime"], run["DiskId"]))
        await asyncio.sleep(0.05)


def write(socket: str, disk: str) -> None:
    with NbdClient(Path(socket), disk) as client:
        client.pwrite(0, b"x" * 4096)
        client.flush()


async def history(service: RealService) -> None:
    made = await service.call(
        "CreateDisks", Placement={"Zone": ZONE}, DiskChargeType="POSTPAID_BY_HOUR", DiskType="CLOUD_SSD", DiskSize=20,
        DiskCount=3,
    )  # fmt: skip
    one, two, alone = made["DiskIdSet"]
    instance = (await service.call("CreateInstance", Kind="NBD"))["InstanceId"]
    await service.call("AttachDisks", InstanceId=instance, DiskIds=[one, two])
    every = [{"Hour": list(range(24)), "IntervalDays": 1}]
    policy = (await service.call("CreateAutoSnapshotPolicy", Policy=every))["AutoSnapshotPolicyId"]
    await service.call("SetPolicyOptions", PolicyId=policy, Group=True, SkipUnchanged=True, RetentionAmount=3)
    await service.call("BindAutoSnapshotPolicy", AutoSnapshotPolicyId=policy, DiskIds=[one, two, alone])
    bound = await service.call("DescribeDisks", DiskIds=[one], ReturnBindAutoSnapshotPolicy=True)
    assert bound["DiskSet"][0]["AutoSnapshotPolicyIds"] == [policy]
    await service.idle()

    await due(service, policy)
    runs = await rounds(service, policy)
    assert [run["State"] for run in runs] == ["done"] * 3
    shown = (await service.call("DescribeSnapshots"))["SnapshotSet"]
    assert {one["AutoSnapshotPolicyId"] for one in shown} == {policy}
    (group,) = (await service.call("DescribeSnapshotGroups"))["SnapshotGroupSet"]
    assert len(group["SnapshotIdSet"]) == 2
    assert group["AutoSnapshotPolicyId"] == policy
    assert group["SnapshotGroupName"].startswith("snap_")
    assert not shown[0]["IsPermanent"]

    # Nothing was written; all of the group are skipped, and so is the disk that is not in use.
    await service.parts.db.write(lambda conn: conn.exec_driver_sql("UPDATE policy_run SET slot = slot - 3600"))
    await due(service, policy)
    runs = await rounds(service, policy)
    assert sorted(str(run["Reason"]) for run in runs[3:]) == ["not in use", "unchanged", "unchanged"]
    assert {run["SnapshotId"] for run in runs[3:]} == {run["SnapshotId"] for run in runs[:3]}
    detail = (await service.call("DescribeDiskDetails", DiskIds=[alone]))["DiskDetailSet"][0]
    assert detail["Daemon"] is None, "it was closed again"

    # One of them is written to: both are taken.
    uri = (await service.call("DescribeDiskDetails", DiskIds=[one]))["DiskDetailSet"][0]["NbdUri"]
    await asyncio.to_thread(write, unquote(uri.partition("socket=")[2]), one)
    await service.parts.db.write(lambda conn: conn.exec_driver_sql("UPDATE policy_run SET slot = slot - 3600"))
    await due(service, policy)
    runs = await rounds(service, policy)
    assert sorted(str(run["Reason"]) for run in runs[6:]) == ["None", "None", "not in use"]
    assert (await service.call("DescribeSnapshots"))["TotalCount"] == 5
    assert service.parts.operations.bugs.counts == {}
    await service.call("DetachDisks", DiskIds=[one, two])


def test_a_policy_takes_its_disks(tmp_path: Path) -> None:
    """S304: a written block of one disk has its whole group taken."""

    async def all_of_it() -> None:
        async with real_service(tmp_path / "d") as service:
            await history(service)

    asyncio.run(all_of_it())

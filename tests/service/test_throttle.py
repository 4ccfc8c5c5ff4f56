"""How fast a disk in use is, as its daemon has it: what the row says, also after a change and after a start."""

import asyncio
from pathlib import Path
from typing import Any

from drystone.catalog import disks
from drystone.domain.disk_types import DISK_TYPES
from drystone.engine.graph import throttle_limits
from drystone.engine.layout import node
from tests.api.real_service import ZONE, RealService, real_service


async def _enforced(service: RealService, disk_id: str) -> Any:
    disk = await service.parts.db.read(lambda conn: disks.get(conn, disk_id))
    assert disk is not None
    live = await service.parts.host.running(disk)
    assert live is not None
    path = {"path": f"/objects/{node('limit', disk.id)}", "property": "limits"}
    found = await live.daemon.execute("qom-get", path)
    assert isinstance(found, dict)
    wanted = throttle_limits(DISK_TYPES[disk.type].limits(disk.size_gib, disk.throughput_performance))
    return {name: found[name] for name in wanted}, wanted


async def _changed_while_in_use(data: Path) -> None:
    async with real_service(data, throttle=True) as service:
        made = await service.call(
            "CreateDisks", Placement={"Zone": ZONE}, DiskChargeType="POSTPAID_BY_HOUR", DiskType="CLOUD_PREMIUM",
            DiskSize=500,
        )  # fmt: skip
        (disk_id,) = made["DiskIdSet"]
        instance = (await service.call("CreateInstance", Kind="NBD"))["InstanceId"]
        await service.call("AttachDisks", InstanceId=instance, DiskIds=[disk_id])
        await service.idle()
        seen = []
        for action, parameters in (
            ("DescribeDisks", {}),
            ("ModifyDiskAttributes", {"DiskIds": [disk_id], "DiskType": "CLOUD_HSSD"}),
            ("ModifyDiskExtraPerformance", {"DiskId": disk_id, "ThroughputPerformance": 300}),
            ("ModifyDiskExtraPerformance", {"DiskId": disk_id, "ThroughputPerformance": 0}),
        ):
            await service.call(action, **parameters)
            found, wanted = await _enforced(service, disk_id)
            assert found == wanted, action
            seen.append(wanted)
        assert seen[0] != seen[1] != seen[2] != seen[3] == seen[1]
        (shown,) = (await service.call("DescribeDisks"))["DiskSet"]
        assert (shown["MigratePercent"], shown["Migrating"], shown["ThroughputPerformance"]) == (100, False, 0)
        # The row was changed, and the server killed before its daemon was told (S340).
        await service.parts.db.write(
            lambda conn: disks.compare_and_set(conn, disk_id, expected={}, values={"throughput_performance": 300})
        )
        found, wanted = await _enforced(service, disk_id)
        assert found != wanted
        await service.parts.watch.take_over()
        found, wanted = await _enforced(service, disk_id)
        assert found == wanted


def test_a_disk_in_use_is_as_fast_as_its_row_says(tmp_path: Path) -> None:
    asyncio.run(_changed_while_in_use(tmp_path / "d"))

"""S157: an account's disks stay within its quota, also when calls come at once, and others do not feel it."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from drystone.domain.ids import AccountId
from tests.api.real_service import ZONE, RealService, real_service

pytestmark = pytest.mark.usefixtures("both_catalogs")

NEW: dict[str, Any] = {
    "Placement": {"Zone": ZONE},
    "DiskChargeType": "POSTPAID_BY_HOUR",
    "DiskType": "CLOUD_SSD",
    "DiskSize": 20,
}


async def _code(service: RealService, action: str, **parameters: object) -> str:
    answer = await service.send(action, json.dumps(parameters).encode())
    return str(answer.get("Error", {}).get("Code", "OK"))


def test_calls_at_once_never_exceed_the_number_of_disks(tmp_path: Path) -> None:
    async def body() -> None:
        async with real_service(tmp_path / "d", disks_per_account=3) as service:
            codes = Counter(await asyncio.gather(*(_code(service, "CreateDisks", **NEW) for _ in range(12))))
            assert codes == {"OK": 3, "ResourceInsufficient.OverQuota": 9}
            quotas = await service.call("DescribeQuotas")
            assert (quotas["DisksCount"], quotas["DisksMax"], quotas["DiskGib"]) == (3, 3, 60)
            # All disks of a call or none; another account has a quota of its own; the administrator gives more.
            other = AccountId((await service.call("CreateAccount", AccountName="other"))["AccountId"])
            assert len((await service.call("CreateDisks", account=other, DiskCount=3, **NEW))["DiskIdSet"]) == 3
            assert await _code(service, "SetAccountQuota", AccountId="0", Disks=9) == "ResourceNotFound"
            await service.call("SetAccountQuota", AccountId=service.admin, Disks=5)
            assert await _code(service, "CreateDisks", DiskCount=3, **NEW) == "ResourceInsufficient.OverQuota"
            assert await _code(service, "CreateDisks", DiskCount=2, **NEW) == "OK"
            await service.call("SetAccountQuota", AccountId=service.admin)
            assert (await service.call("DescribeQuotas"))["DisksMax"] == 3
            refused = await service.send("SetAccountQuota", b'{"AccountId":"%s"}' % other.encode(), account=other)
            assert refused["Error"]["Code"] == "UnauthorizedOperation"

    asyncio.run(body())


def test_growing_disks_at_once_never_exceeds_the_gib(tmp_path: Path) -> None:
    async def body() -> None:
        async with real_service(tmp_path / "d", disk_gib_per_account=110) as service:
            disks = (await service.call("CreateDisks", DiskCount=4, **NEW))["DiskIdSet"]
            await service.idle()
            codes = Counter(
                await asyncio.gather(*(_code(service, "ResizeDisk", DiskId=one, DiskSize=30) for one in disks))
            )
            assert codes == {"OK": 3, "ResourceInsufficient.OverQuota": 1}
            await service.idle()
            assert (await service.call("DescribeQuotas"))["DiskGib"] == 110
            assert await _code(service, "CreateDisks", **NEW) == "ResourceInsufficient.OverQuota"

    asyncio.run(body())

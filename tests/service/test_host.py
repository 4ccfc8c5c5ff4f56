"""What a start does with disks that make trouble."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId
from drystone.service.host import Host


def test_a_disk_that_cannot_be_closed_does_not_keep_the_others_from_being_served() -> None:
    released = []

    async def read(_rows: Any) -> list[Any]:
        return [SimpleNamespace(id=DiskId(f"disk-0000000{number}"), daemon=f"d{number}") for number in range(3)]

    async def release(disk_id: DiskId) -> None:
        if disk_id == "disk-00000001":
            raise UnavailableError("it does not answer")
        released.append(disk_id)

    host = SimpleNamespace(_in=SimpleNamespace(db=SimpleNamespace(read=read)), release=release)
    asyncio.run(Host.release_idle(cast("Any", host)))
    assert released == ["disk-00000000", "disk-00000002"]

"""Where this installation is: one region with one zone."""

from typing import TypedDict

from drystone.api.actions import Action, Context
from drystone.api.cvm.service import CVM
from drystone.service.caller import Caller

AVAILABLE = "AVAILABLE"


class ZoneInfo(TypedDict):
    """A zone."""

    Zone: str
    ZoneName: str
    ZoneId: str
    ZoneState: str


class _Zones(TypedDict):
    TotalCount: int
    ZoneSet: list[ZoneInfo]


@CVM.read
class DescribeZones(Action, frozen=True, kw_only=True):
    """List the zones."""

    async def __call__(self, on: Context, caller: Caller) -> _Zones:
        zones = await on.calls.instances.zones(caller)
        shown: list[ZoneInfo] = [
            {"Zone": zone, "ZoneName": zone, "ZoneId": str(number), "ZoneState": AVAILABLE}
            for number, zone in enumerate(zones, 1)
        ]
        return {"TotalCount": len(shown), "ZoneSet": shown}


class RegionInfo(TypedDict):
    """A region."""

    Region: str
    RegionName: str
    RegionState: str


class _Regions(TypedDict):
    TotalCount: int
    RegionSet: list[RegionInfo]


@CVM.read
class DescribeRegions(Action, frozen=True, kw_only=True):
    """List the regions."""

    async def __call__(self, on: Context, caller: Caller) -> _Regions:  # noqa: ARG002 - an action's signature
        region: RegionInfo = {"Region": on.region, "RegionName": on.region, "RegionState": AVAILABLE}
        return {"TotalCount": 1, "RegionSet": [region]}

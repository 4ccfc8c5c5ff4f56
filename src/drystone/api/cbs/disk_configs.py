"""Which disks may be had of CBS, and what they cost."""

from typing import TypedDict

from msgspec import field

from drystone.api.actions import Action, Context
from drystone.api.cbs.service import CBS
from drystone.api.parameters import Id, Unsigned, Word, Words
from drystone.domain.disk import PREPAID
from drystone.service import views
from drystone.service.caller import Caller
from drystone.service.requests import ConfigQuery


class Price(TypedDict):
    """What a disk costs: nothing."""

    OriginalPrice: float | None
    OriginalPriceHigh: str | None
    DiscountPrice: float | None
    DiscountPriceHigh: str | None
    UnitPrice: float | None
    UnitPriceHigh: str | None
    UnitPriceDiscount: float | None
    UnitPriceDiscountHigh: str | None
    ChargeUnit: str | None


def price(charge_type: str) -> Price:
    """Return a `Price` of zero: nothing is billed, and clients want the fields of the way of charging."""
    prepaid = charge_type == PREPAID
    amount, text = (0.0, "0") if prepaid else (None, None)
    unit_amount, unit_text = (None, None) if prepaid else (0.0, "0")
    return {
        "OriginalPrice": amount,
        "OriginalPriceHigh": text,
        "DiscountPrice": amount,
        "DiscountPriceHigh": text,
        "UnitPrice": unit_amount,
        "UnitPriceHigh": unit_text,
        "UnitPriceDiscount": unit_amount,
        "UnitPriceDiscountHigh": unit_text,
        "ChargeUnit": None if prepaid else "HOUR",
    }


class DiskConfig(TypedDict):
    """Sizes in which a type of disk may be had, GiB."""

    Available: bool
    DiskChargeType: str
    Zone: str
    InstanceFamily: str | None
    DiskType: str
    StepSize: int
    ExtraPerformanceRange: list[int] | None
    DeviceClass: str | None
    DiskUsage: str
    MinDiskSize: int
    MaxDiskSize: int
    Price: Price


class _DiskConfigs(TypedDict):
    DiskConfigSet: list[DiskConfig]


@CBS.read
class DescribeDiskConfigQuota(Action, frozen=True, kw_only=True):
    """List the disks that may be had."""

    inquiry_type: Word
    disk_charge_type: Word | None = None
    instance_families: Words | None = None
    disk_types: Words | None = None
    zones: Words | None = None
    memory: Unsigned | None = None
    disk_usage: Word | None = None
    cpu: Unsigned | None = field(default=None, name="CPU")
    dedicated_cluster_id: Id | None = None

    async def __call__(self, on: Context, caller: Caller) -> _DiskConfigs:
        query = ConfigQuery(
            inquiry_type=self.inquiry_type,
            charge_type=self.disk_charge_type,
            instance_families=self.instance_families or (),
            disk_types=self.disk_types or (),
            zones=self.zones or (),
            memory=self.memory,
            cpu=self.cpu,
            usage=self.disk_usage,
            dedicated_cluster_id=self.dedicated_cluster_id,
        )
        configs = await on.calls.disk_records.config_quota(caller, query)
        return {"DiskConfigSet": [_disk_config(config) for config in configs]}


def _disk_config(config: views.DiskConfig) -> DiskConfig:
    return {
        "Available": config.available,
        "DiskChargeType": config.charge_type,
        "Zone": config.zone,
        "InstanceFamily": None,
        "DiskType": config.disk_type,
        "StepSize": config.step_gib,
        "ExtraPerformanceRange": None if config.extra_performance_range is None else [*config.extra_performance_range],
        "DeviceClass": None,
        "DiskUsage": config.usage,
        "MinDiskSize": config.size_gib_min,
        "MaxDiskSize": config.size_gib_max,
        "Price": price(config.charge_type),
    }

"""How disks of CBS are charged for, and what that costs: nothing."""

from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context
from drystone.api.cbs.disk_configs import Price, price
from drystone.api.cbs.disks import DiskChargePrepaid
from drystone.api.cbs.service import CBS
from drystone.api.parameters import MANY, Id, Ids, Time, Unsigned, Word
from drystone.service.caller import Caller
from drystone.service.requests import NewDisks


class DetailPrice(Price):
    """What a part of a disk costs."""

    PriceName: str
    PriceTitle: str


class PrepayPrice(Price):
    """What a disk costs, with its parts."""

    DetailPrices: list[DetailPrice]


class _DiskPrice(TypedDict):
    DiskPrice: Price


class _PrepayDiskPrice(TypedDict):
    DiskPrice: PrepayPrice


def _prepay(charge_type: str) -> _PrepayDiskPrice:
    return {"DiskPrice": {**price(charge_type), "DetailPrices": []}}


@CBS.change
class ModifyDisksChargeType(Action, frozen=True, kw_only=True):
    """Make disks prepaid or postpaid."""

    disk_ids: Ids
    disk_charge_prepaid: DiskChargePrepaid | None = None
    disk_charge_postpaid: bool | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        prepaid = self.disk_charge_prepaid
        await on.calls.disk_charges.change_type(
            caller,
            self.disk_ids,
            months=prepaid.period if prepaid else None,
            renew_flag=prepaid.renew_flag if prepaid else None,
            postpaid=self.disk_charge_postpaid or False,
        )


@CBS.change
class ModifyDisksRenewFlag(Action, frozen=True, kw_only=True):
    """Keep whether disks are to be renewed."""

    disk_ids: Ids
    renew_flag: Word
    auto_renew_period: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.disk_charges.set_renew_flag(caller, self.disk_ids, self.renew_flag, self.auto_renew_period)


@CBS.change
class RenewDisk(Action, frozen=True, kw_only=True):
    """Renew a prepaid disk, also from the recycle bin."""

    disk_charge_prepaid: DiskChargePrepaid
    disk_id: Id

    async def __call__(self, on: Context, caller: Caller) -> None:
        prepaid = self.disk_charge_prepaid
        await on.calls.disk_charges.renew(
            caller,
            self.disk_id,
            months=prepaid.period,
            renew_flag=prepaid.renew_flag,
            aligned=bool(prepaid.cur_instance_deadline),
        )


@CBS.read
class InquiryPriceCreateDisks(Action, frozen=True, kw_only=True):
    """Tell what new disks would cost."""

    disk_charge_type: Word
    disk_type: Word
    disk_size: Unsigned
    project_id: Unsigned | None = None
    disk_count: Unsigned | None = None
    throughput_performance: Unsigned | None = None
    disk_charge_prepaid: DiskChargePrepaid | None = None
    disk_backup_quota: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _DiskPrice:
        prepaid = self.disk_charge_prepaid
        new = NewDisks(
            zone="",
            project_id=self.project_id or 0,
            charge_type=self.disk_charge_type,
            disk_type=self.disk_type,
            size_gib=self.disk_size,
            count=1 if self.disk_count is None else self.disk_count,
            throughput_performance=self.throughput_performance or 0,
            backup_quota=self.disk_backup_quota or 0,
            renew_flag=prepaid.renew_flag if prepaid else None,
            prepaid_period=prepaid.period if prepaid else None,
        )
        return {"DiskPrice": price(await on.calls.disk_charges.price_of_new(caller, new))}


@CBS.read
class InquiryPriceResizeDisk(Action, frozen=True, kw_only=True):
    """Tell what disks would cost at another size."""

    disk_size: Unsigned
    disk_id: Id | None = None
    project_id: Unsigned | None = None
    disk_ids: Ids | None = None

    async def __call__(self, on: Context, caller: Caller) -> _PrepayDiskPrice:
        ids = (self.disk_id,) if self.disk_id else self.disk_ids or ()
        together = bool(self.disk_id and self.disk_ids)
        return _prepay(await on.calls.disk_charges.price_of_resizing(caller, ids, self.disk_size, given_twice=together))


@CBS.read
class InquiryPriceRenewDisks(Action, frozen=True, kw_only=True):
    """Tell what it would cost to renew disks."""

    disk_ids: Ids
    disk_charge_prepaids: Annotated[tuple[DiskChargePrepaid, ...], MANY] | None = None
    new_deadline: Time | None = None
    project_id: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _PrepayDiskPrice:
        prepaids = self.disk_charge_prepaids
        months = None if prepaids is None else [one.period for one in prepaids]
        return _prepay(
            await on.calls.disk_charges.price_of_renewal(
                caller, self.disk_ids, months, another_deadline=bool(self.new_deadline)
            )
        )


@CBS.read
class InquirePriceModifyDiskExtraPerformance(Action, frozen=True, kw_only=True):
    """Tell what a disk would cost with other bought throughput."""

    throughput_performance: Unsigned
    disk_id: Id

    async def __call__(self, on: Context, caller: Caller) -> _DiskPrice:
        charged = await on.calls.disk_charges.price_of_throughput(caller, self.disk_id, self.throughput_performance)
        return {"DiskPrice": price(charged)}


@CBS.read
class InquirePriceModifyDiskBackupQuota(Action, frozen=True, kw_only=True):
    """Tell what a disk would cost with another quota of backup points."""

    disk_id: Id
    disk_backup_quota: Unsigned

    async def __call__(self, on: Context, caller: Caller) -> _DiskPrice:
        charged = await on.calls.disk_charges.price_of_backup_quota(caller, self.disk_id, self.disk_backup_quota)
        return {"DiskPrice": price(charged)}

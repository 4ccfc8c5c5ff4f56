"""How disks are charged for: kept as it is asked, priced at nothing.

Nothing is billed here. What is kept decides one thing only: a prepaid disk that is terminated stays in the recycle bin
for its days, and to renew it brings it back from there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from drystone.catalog import disks
from drystone.domain.disk import POSTPAID, PREPAID, Disk, DiskState
from drystone.domain.errors import PassingError, Refusal, RefusalError
from drystone.domain.times import TIME_S_MAX
from drystone.service.caller import Caller
from drystone.service.calls.disk_records import check_not_in_bin, owned_disk
from drystone.service.calls.new_disks import (
    MONTH_SECONDS,
    check_backup_quota,
    check_extra,
    check_new,
    check_period,
    check_renew_flag,
    check_throughput,
)
from drystone.service.calls.patience import patiently
from drystone.service.requests import NewDisks
from drystone.service.rows import quotas
from drystone.service.transactions import Change, Transactions

PER_CALL = 100
RENEWED_MONTHS_MAX = 120
"""So far ahead a deadline may be renewed to."""
_STEADY = frozenset({DiskState.UNATTACHED, DiskState.ATTACHED})


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCharges:
    """Changes how the caller's disks are charged for, and tells what that costs."""

    transactions: Transactions
    zone: str
    disks_per_call: int

    async def change_type(
        self, caller: Caller, disk_ids: Sequence[str], *, months: int | None, renew_flag: str | None, postpaid: bool
    ) -> None:
        """Make disks prepaid or postpaid, all that are named or none; one that is already stays as it is.

        Args:
            caller: Who asks.
            disk_ids: The disks.
            months: For prepaid: from now on.
            renew_flag: For prepaid; None leaves what the disk has.
            postpaid: Whether they are to be postpaid.

        Raises:
            RefusalError: `MISSING`, `BAD_VALUE`, `TOO_MANY`, `NO_SUCH_DISK`, `NOT_ELASTIC`, `DISK_UNFIT`, `NOT_NOW`.
        """
        ids = _distinct(disk_ids)
        if postpaid == (months is not None):
            raise RefusalError(
                Refusal.MISSING if months is None else Refusal.BAD_VALUE,
                "Give either DiskChargePrepaid or DiskChargePostpaid true.",
            )
        if months is not None:
            check_period("Period", months)
        if renew_flag is not None:
            check_renew_flag(renew_flag)

        def change(change: Change, disk: Disk) -> Mapping[str, object]:
            _require_elastic(disk)
            _require_steady(disk)
            if disk.charge_type == (PREPAID if months is not None else POSTPAID):
                return {}
            if months is None:
                return {"charge_type": POSTPAID, "prepaid_period": None, "deadline_at": None}
            until = _later(change) + months * MONTH_SECONDS
            return {
                "charge_type": PREPAID, "prepaid_period": months, "deadline_at": until,
                "renew_flag": renew_flag or disk.renew_flag, "delete_with_instance": False,
            }  # fmt: skip

        await self._change(caller, ids, change)

    async def set_renew_flag(
        self, caller: Caller, disk_ids: Sequence[str], renew_flag: str, months: int | None
    ) -> None:
        """Keep the renewal flag of disks, and by how many months a prepaid one would be renewed; all or none.

        Raises:
            RefusalError: `BAD_VALUE`, `TOO_MANY`, `MISSING` or `NO_SUCH_DISK`; nothing was changed.
        """
        ids = _distinct(disk_ids)
        check_renew_flag(renew_flag)
        if months is not None:
            check_period("AutoRenewPeriod", months)

        def change(_change: Change, disk: Disk) -> Mapping[str, object]:
            kept = {"prepaid_period": months} if months is not None and disk.charge_type == PREPAID else {}
            return {"renew_flag": renew_flag, **kept}

        await self._change(caller, ids, change)

    async def renew(self, caller: Caller, disk_id: str, *, months: int, renew_flag: str | None, aligned: bool) -> None:
        """Renew a prepaid disk by some months; one in the recycle bin is as it was before it went there.

        Raises:
            RefusalError: `BAD_VALUE`, `NO_SUCH_DISK`, `NOT_ELASTIC`, `DISK_UNFIT` or `NOT_NOW`; nothing was changed.
        """
        check_period("Period", months)
        if renew_flag is not None:
            check_renew_flag(renew_flag)
        if aligned:
            raise RefusalError(Refusal.BAD_VALUE, "Instances have no deadline here; leave CurInstanceDeadline out.")

        def change(change: Change, disk: Disk) -> Mapping[str, object]:
            _require_elastic(disk)
            if disk.charge_type != PREPAID:
                raise RefusalError(
                    Refusal.DISK_UNFIT, f"Disk {disk.id} is {disk.charge_type}; only {PREPAID} disks are renewed."
                )
            values: dict[str, object] = {"renew_flag": renew_flag or disk.renew_flag}
            now = _later(change)
            until = now
            if disk.state is DiskState.TORECYCLE:
                # What its deadline was is forgotten there: it has the months from now on.
                values["state"] = DiskState.UNATTACHED
            else:
                _require_steady(disk)
                until = max(now, disk.deadline_at or now)
            until += months * MONTH_SECONDS
            if until > min(now + RENEWED_MONTHS_MAX * MONTH_SECONDS, TIME_S_MAX):
                raise RefusalError(
                    Refusal.BAD_VALUE,
                    f"Disk {disk.id} would be paid for {RENEWED_MONTHS_MAX} months ahead and more; renew it later.",
                )
            return {**values, "deadline_at": until}

        await self._change(caller, _distinct([disk_id]), change)

    # --- prices -------------------------------------------------------------------------------------------------------

    async def price_of_new(self, caller: Caller, new: NewDisks) -> str:  # noqa: ARG002 - the same for every account
        """Return how such disks, in whatever zone, would be charged for: in that form their price is said.

        Raises:
            RefusalError: As CreateDisks would refuse it, of what no row is needed for.
        """
        assert new.size_gib is not None
        check_new(replace(new, zone=self.zone), zone=self.zone, disks_per_call=self.disks_per_call, sealed=False)
        quotas.check_size(new.disk_type, new.size_gib)
        check_extra(new, new.size_gib)
        return new.charge_type

    async def price_of_resizing(
        self, caller: Caller, disk_ids: Sequence[str], size_gib: int, *, given_twice: bool = False
    ) -> str:
        """Return how disks are charged for that would be resized; several as the first of them.

        Args:
            caller: Who asks.
            disk_ids: The disks.
            size_gib: What they would have.
            given_twice: Whether both of the parameters that name disks are given.

        Raises:
            RefusalError: `MISSING`, `TOO_MANY`, `NO_SUCH_DISK`, `NOT_ELASTIC`, or `BAD_VALUE` for a smaller size.
        """
        if given_twice:
            raise RefusalError(Refusal.BAD_VALUE, "DiskId and DiskIds exclude each other; give one of them.")

        def check(disk: Disk) -> None:
            _require_elastic(disk)
            if size_gib < disk.size_gib:
                raise RefusalError(
                    Refusal.BAD_VALUE, f"DiskSize is {size_gib} GiB; disk {disk.id} has {disk.size_gib} already."
                )
            quotas.check_size(disk.type, size_gib)

        return await self._priced(caller, disk_ids, check)

    async def price_of_renewal(
        self, caller: Caller, disk_ids: Sequence[str], months: Sequence[int] | None, *, another_deadline: bool
    ) -> str:
        """Return how disks would be charged for that are renewed.

        Args:
            caller: Who asks.
            disk_ids: The disks.
            months: Of each; None if they are not given.
            another_deadline: Whether a deadline is given in place of them.

        Raises:
            RefusalError: `MISSING`, `TOO_MANY`, `BAD_VALUE`, `NO_SUCH_DISK` or `NOT_ELASTIC`.
        """
        if months is None and not another_deadline:
            raise RefusalError(Refusal.MISSING, "Give DiskChargePrepaids, or NewDeadline.")
        if months is not None:
            if len(months) != len(disk_ids):
                raise RefusalError(
                    Refusal.BAD_VALUE,
                    f"{len(disk_ids)} DiskIds and {len(months)} DiskChargePrepaids are given; give one for each.",
                )
            for count in months:
                check_period("Period", count)
        await self._priced(caller, disk_ids, _require_elastic)
        return PREPAID

    async def price_of_throughput(self, caller: Caller, disk_id: str, mb_per_s: int) -> str:
        """Return how a disk is charged for that would have so much bought throughput.

        Raises:
            RefusalError: `NO_SUCH_DISK` or `BAD_VALUE`.
        """
        return await self._priced(caller, [disk_id], lambda disk: check_throughput(disk.type, mb_per_s))

    async def price_of_backup_quota(self, caller: Caller, disk_id: str, count: int) -> str:
        """Return how a disk is charged for that might have so many backup points.

        Raises:
            RefusalError: `NO_SUCH_DISK` or `BAD_VALUE`.
        """
        check_backup_quota(count)
        return await self._priced(caller, [disk_id], lambda _disk: None)

    async def _priced(self, caller: Caller, disk_ids: Sequence[str], check: Callable[[Disk], None]) -> str:
        ids = _distinct(disk_ids)

        def read(conn: Connection) -> str:
            found = [owned_disk(conn, caller.account_id, disk_id) for disk_id in ids]
            for disk in found:
                check(disk)
            return found[0].charge_type

        return await self.transactions.read(read)

    async def _change(
        self, caller: Caller, ids: Sequence[str], values_of: Callable[[Change, Disk], Mapping[str, object]]
    ) -> None:
        def record(change: Change) -> None:
            found = [owned_disk(change.conn, caller.account_id, disk_id) for disk_id in ids]
            for disk, values in [(disk, values_of(change, disk)) for disk in found]:
                if values:
                    expected = {"state": disk.state}
                    changed = disks.compare_and_set(change.conn, disk.id, expected=expected, values=values)
                    assert changed, "rows do not change under a writing transaction"

        await patiently(lambda: self.transactions.change(record))


def _later(change: Change) -> float:
    """Return now, by the clock that is ahead: what was paid for is not cut short by one that is behind."""
    return max(change.at, change.steady)


def _require_elastic(disk: Disk) -> None:
    if not disk.portable:
        raise RefusalError(Refusal.NOT_ELASTIC, f"Disk {disk.id} is not elastic.")


def _require_steady(disk: Disk) -> None:
    check_not_in_bin(disk)
    if disk.state not in _STEADY:
        kind = PassingError if disk.state.passing else RefusalError
        raise kind(Refusal.NOT_NOW, f"Disk {disk.id} is {disk.state.value}; try again when it is not.")


def _distinct(disk_ids: Sequence[str]) -> list[str]:
    quotas.check_per_call("DiskIds", len(disk_ids), PER_CALL)
    return list(dict.fromkeys(disk_ids))

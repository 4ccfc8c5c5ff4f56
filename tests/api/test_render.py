from dataclasses import replace

import pytest

from drystone.api.cbs.disk_configs import price
from drystone.api.cbs.disks import Disk as DiskFields
from drystone.api.cbs.disks import disk_fields
from drystone.api.cbs.snapshots import Snapshot as SnapshotFields
from drystone.api.cbs.snapshots import snapshot_fields
from drystone.domain.disk import PREPAID, Disk, DiskState
from drystone.domain.ids import InstanceId
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.service.views import DiskView, SnapshotView
from tests.api.fakes import DISK, SNAPSHOT, context

CREATED_S = DISK.created_at


def disk(row: Disk, *, policies: bool = False, snapshot_bytes: int = 0) -> DiskFields:
    view = DiskView(disk=row, snapshot_count=0, snapshot_bytes=snapshot_bytes)
    return disk_fields(view, context(8), policies=policies, now_s=CREATED_S)


def snapshot(row: Snapshot) -> SnapshotFields:
    return snapshot_fields(SnapshotView(snapshot=row), context(8))


@pytest.mark.parametrize(
    ("state", "instance", "attached"),
    [
        (DiskState.UNATTACHED, None, False),
        (DiskState.ATTACHING, "ins-00000001", False),
        (DiskState.ATTACHED, "ins-00000001", True),
        (DiskState.DETACHING, "ins-00000001", True),
        (DiskState.EXPANDING, "ins-00000001", True),
        (DiskState.EXPANDING, None, False),
        (DiskState.ROLLBACKING, None, False),
    ],
)
def test_attached_follows_the_state(state: DiskState, instance: str | None, attached: bool) -> None:  # noqa: FBT001 - a column of the table
    fields = disk(replace(DISK, state=state, instance_id=None if instance is None else InstanceId(instance)))
    assert fields["DiskState"] == state.value
    assert fields["Attached"] is attached
    assert fields["InstanceId"] == (instance or "")
    assert fields["InstanceType"] == ("CVM" if instance else "")
    assert fields["Rollbacking"] is (state is DiskState.ROLLBACKING)


def test_rollback_percent_counts_only_while_rolling_back() -> None:
    assert disk(replace(DISK, state=DiskState.ROLLBACKING, rollback_percent=40))["RollbackPercent"] == 40
    assert disk(replace(DISK, rollback_percent=40))["RollbackPercent"] == 100


def test_a_prepaid_disk_has_its_deadline() -> None:
    fields = disk(replace(DISK, charge_type=PREPAID, deadline_at=CREATED_S + 30.5 * 86_400, prepaid_period=1))
    assert fields["DiskChargeType"] == "PREPAID"
    assert fields["DeadlineTime"] == "2018-10-27 05:36:07"
    assert fields["DifferDaysOfDeadline"] == 30
    assert disk(replace(DISK, charge_type=PREPAID, deadline_at=None))["DifferDaysOfDeadline"] is None


def test_a_shareable_disk_lists_its_instances_and_has_no_snapshots() -> None:
    fields = disk(replace(DISK, shareable=True))
    assert fields["InstanceIdList"] == ["ins-00000001"]
    assert fields["SnapshotAbility"] is False
    assert disk(replace(DISK, shareable=True, instance_id=None))["InstanceIdList"] == []


def test_policies_are_null_unless_asked_for() -> None:
    assert disk(DISK)["AutoSnapshotPolicyIds"] is None
    assert disk(DISK, policies=True)["AutoSnapshotPolicyIds"] == []


@pytest.mark.parametrize(("stored", "mib"), [(0, 0), (1, 1), (1 << 20, 1), ((1 << 20) + 1, 2)])
def test_snapshot_size_is_mib_rounded_up(stored: int, mib: int) -> None:
    assert disk(DISK, snapshot_bytes=stored)["SnapshotSize"] == mib


def test_a_disk_that_was_never_attached() -> None:
    assert disk(replace(DISK, last_attach_instance_id=None))["LastAttachInsId"] is None


def test_a_permanent_snapshot_has_no_deadline() -> None:
    assert snapshot(replace(SNAPSHOT, permanent=True, deadline_at=None))["DeadlineTime"] == ""
    assert snapshot(replace(SNAPSHOT, permanent=True))["DeadlineTime"] == ""


def test_snapshot_states() -> None:
    assert snapshot(replace(SNAPSHOT, rolling_back=True))["SnapshotState"] == "ROLLBACKING"
    creating = snapshot(replace(SNAPSHOT, state=SnapshotState.CREATING, percent=3))
    assert (creating["SnapshotState"], creating["Percent"]) == ("CREATING", 3)


@pytest.mark.parametrize(
    ("hours", "text"), [(8, "2018-09-26 17:36:07"), (0, "2018-09-26 09:36:07"), (-3.5, "2018-09-26 06:06:07")]
)
def test_the_zone_of_local_times_is_configured(hours: float, text: str) -> None:
    assert context(hours).local_time(CREATED_S + 0.999) == text


def test_prices_are_zero_in_the_fields_of_the_way_of_charging() -> None:
    postpaid, prepaid = price("POSTPAID_BY_HOUR"), price(PREPAID)
    assert {name for name, value in postpaid.items() if value is not None} == {
        "UnitPrice", "UnitPriceHigh", "UnitPriceDiscount", "UnitPriceDiscountHigh", "ChargeUnit",
    }  # fmt: skip
    assert {name for name, value in prepaid.items() if value is not None} == {
        "OriginalPrice", "OriginalPriceHigh", "DiscountPrice", "DiscountPriceHigh",
    }  # fmt: skip

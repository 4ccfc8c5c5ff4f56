"""How disks are charged for: kept, and nothing else; what is renewed comes out of the recycle bin."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drystone.domain.disk import POSTPAID, PREPAID, DiskState
from drystone.domain.errors import Refusal
from drystone.service.calls.disk_charges import RENEWED_MONTHS_MAX, DiskCharges
from drystone.service.calls.new_disks import MONTH_SECONDS
from drystone.service.requests import NewDisks
from tests.service.parts import transactions
from tests.service.records_world import NOW, OTHER, ZONE, World, caller, refusal, run, with_accounts

pytestmark = pytest.mark.usefixtures("both_catalogs")
AUTO, MANUAL = "NOTIFY_AND_AUTO_RENEW", "NOTIFY_AND_MANUAL_RENEW"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with with_accounts(tmp_path / "catalog.db") as world:
        yield world


@pytest.fixture
def charges(world: World) -> DiskCharges:
    return DiskCharges(transactions=transactions(world.db), zone=ZONE, disks_per_call=50)


def prepaid(charges: DiskCharges, *disk_ids: str, months: int = 2, flag: str | None = None) -> None:
    run(charges.change_type(caller(), disk_ids, months=months, renew_flag=flag, postpaid=False))


def test_a_disk_becomes_prepaid_and_postpaid_again(world: World, charges: DiskCharges) -> None:
    before = world.disk("disk-a", delete_with_instance=True)
    prepaid(charges, "disk-a", flag=AUTO)
    made = world.stored_disk("disk-a")
    assert (made.charge_type, made.prepaid_period, made.renew_flag) == (PREPAID, 2, AUTO)
    assert made.deadline_at == NOW + 2 * MONTH_SECONDS
    assert not made.delete_with_instance
    # Asked again, by a client that lost the answer, it has no more months.
    prepaid(charges, "disk-a", months=12)
    assert world.stored_disk("disk-a") == made
    run(charges.change_type(caller(), ["disk-a"], months=None, renew_flag=None, postpaid=True))
    after = world.stored_disk("disk-a")
    assert (after.charge_type, after.prepaid_period, after.deadline_at) == (POSTPAID, None, None)
    assert after.state is before.state


def test_of_several_disks_all_change_or_none(world: World, charges: DiskCharges) -> None:
    first = world.disk("disk-a")
    others: dict[str, dict[str, Any]] = {
        "disk-o": {"account_id": OTHER}, "disk-b": {"state": DiskState.TORECYCLE}, "disk-c": {"portable": False},
        "disk-d": {"state": DiskState.DUMPING},
    }  # fmt: skip
    for disk_id, fields in others.items():
        world.disk(disk_id, **fields)
        call = charges.change_type(caller(), ["disk-a", disk_id], months=1, renew_flag=None, postpaid=False)
        assert refusal(call) in {Refusal.NO_SUCH_DISK, Refusal.DISK_UNFIT, Refusal.NOT_ELASTIC, Refusal.NOT_NOW}
        assert world.stored_disk("disk-a") == first


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, Refusal.MISSING),
        ({"months": 1, "postpaid": True}, Refusal.BAD_VALUE),
        ({"months": 13}, Refusal.BAD_VALUE),
        ({"months": 0}, Refusal.BAD_VALUE),
        ({"months": 1, "renew_flag": "SOMETIMES"}, Refusal.BAD_VALUE),
    ],
)
def test_a_wrong_change_is_refused(world: World, charges: DiskCharges, given: dict[str, Any], kind: Refusal) -> None:
    world.disk("disk-a")
    wanted = {"months": None, "renew_flag": None, "postpaid": False} | given
    assert refusal(charges.change_type(caller(), ["disk-a"], **wanted)) == kind


def test_the_renewal_flag_is_kept(world: World, charges: DiskCharges) -> None:
    world.disk("disk-a")
    world.disk("disk-p", charge_type=PREPAID, prepaid_period=1)
    run(charges.set_renew_flag(caller(), ["disk-a", "disk-p"], AUTO, 3))
    kept = {disk.id: (disk.renew_flag, disk.prepaid_period) for disk in map(world.stored_disk, ("disk-a", "disk-p"))}
    assert kept == {"disk-a": (AUTO, None), "disk-p": (AUTO, 3)}
    assert refusal(charges.set_renew_flag(caller(), ["disk-a"], "NEVER", None)) == Refusal.BAD_VALUE
    assert refusal(charges.set_renew_flag(caller(), ["disk-a"], MANUAL, 13)) == Refusal.BAD_VALUE
    assert refusal(charges.set_renew_flag(caller(OTHER), ["disk-a"], MANUAL, None)) == Refusal.NO_SUCH_DISK
    assert refusal(charges.set_renew_flag(caller(), [], MANUAL, None)) == Refusal.MISSING
    assert refusal(charges.set_renew_flag(caller(), ["disk-a"] * 101, MANUAL, None)) == Refusal.TOO_MANY


def renew(charges: DiskCharges, disk_id: str, months: int = 1) -> Any:
    return charges.renew(caller(), disk_id, months=months, renew_flag=None, aligned=False)


def test_a_renewed_disk_has_more_months(world: World, charges: DiskCharges) -> None:
    world.disk("disk-a", charge_type=PREPAID, deadline_at=NOW + 5)
    run(renew(charges, "disk-a"))
    assert world.stored_disk("disk-a").deadline_at == NOW + 5 + MONTH_SECONDS
    world.disk("disk-b", charge_type=PREPAID, deadline_at=NOW - 5)
    run(renew(charges, "disk-b"))
    assert world.stored_disk("disk-b").deadline_at == NOW + MONTH_SECONDS
    for _ in range(3):
        run(renew(charges, "disk-a", 36))
    assert world.stored_disk("disk-a").deadline_at == NOW + 5 + 109 * MONTH_SECONDS
    assert RENEWED_MONTHS_MAX == 120
    assert refusal(renew(charges, "disk-a", 36)) == Refusal.BAD_VALUE


def test_a_renewed_disk_comes_out_of_the_recycle_bin(world: World, charges: DiskCharges) -> None:
    world.disk("disk-a", charge_type=PREPAID, deadline_at=NOW + 5, state=DiskState.TORECYCLE)
    run(renew(charges, "disk-a", 3))
    back = world.stored_disk("disk-a")
    assert (back.state, back.deadline_at) == (DiskState.UNATTACHED, NOW + 3 * MONTH_SECONDS)


def test_what_cannot_be_renewed(world: World, charges: DiskCharges) -> None:
    world.disk("disk-a")
    world.disk("disk-o", charge_type=PREPAID, account_id=OTHER)
    world.disk("disk-g", charge_type=PREPAID, state=DiskState.TERMINATING)
    world.disk("disk-r", charge_type=PREPAID, state=DiskState.ROLLBACKING)
    world.disk("disk-p", charge_type=PREPAID)
    assert refusal(renew(charges, "disk-a")) == Refusal.DISK_UNFIT
    assert refusal(renew(charges, "disk-o")) == Refusal.NO_SUCH_DISK
    assert refusal(renew(charges, "disk-g")) == Refusal.NO_SUCH_DISK
    assert refusal(renew(charges, "disk-r")) == Refusal.NOT_NOW
    assert refusal(renew(charges, "disk-p", 25)) == Refusal.BAD_VALUE
    aligned = charges.renew(caller(), "disk-p", months=1, renew_flag=None, aligned=True)
    assert refusal(aligned) == Refusal.BAD_VALUE


def test_prices_are_asked_for_as_the_thing_itself(world: World, charges: DiskCharges) -> None:
    world.disk("disk-a")
    world.disk("disk-p", charge_type=PREPAID, type="CLOUD_HSSD", size_gib=500)
    new = NewDisks(zone="", charge_type=PREPAID, prepaid_period=1, disk_type="CLOUD_SSD", size_gib=20)
    assert run(charges.price_of_new(caller(), new)) == PREPAID
    assert run(charges.price_of_resizing(caller(), ["disk-a"], 10)) == POSTPAID
    assert run(charges.price_of_renewal(caller(), ["disk-p"], [1], another_deadline=False)) == PREPAID
    assert run(charges.price_of_throughput(caller(), "disk-p", 650)) == PREPAID
    assert run(charges.price_of_backup_quota(caller(), "disk-a", 1024)) == POSTPAID
    small = NewDisks(zone="", charge_type=POSTPAID, disk_type="CLOUD_SSD", size_gib=19)
    for call, kind in (
        (charges.price_of_new(caller(), small), Refusal.BAD_VALUE),
        (charges.price_of_resizing(caller(), ["disk-a"], 9), Refusal.BAD_VALUE),
        (charges.price_of_resizing(caller(), [], 10), Refusal.MISSING),
        (charges.price_of_resizing(caller(), ["disk-a"], 10, given_twice=True), Refusal.BAD_VALUE),
        (charges.price_of_renewal(caller(), ["disk-p"], None, another_deadline=False), Refusal.MISSING),
        (charges.price_of_renewal(caller(), ["disk-p"], [1, 2], another_deadline=False), Refusal.BAD_VALUE),
        (charges.price_of_throughput(caller(), "disk-p", 651), Refusal.BAD_VALUE),
        (charges.price_of_backup_quota(caller(OTHER), "disk-a", 1), Refusal.NO_SUCH_DISK),
        (charges.price_of_backup_quota(caller(), "disk-a", 1025), Refusal.BAD_VALUE),
    ):
        assert refusal(call) == kind

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import disks as disk_rows
from drystone.domain.disk import POSTPAID, PREPAID, DiskState
from drystone.domain.disk_types import DISK_TYPES
from drystone.domain.errors import Refusal
from drystone.domain.ids import InstanceId, SnapshotId
from drystone.domain.snapshot import SnapshotState
from drystone.domain.tracking import TrackingState
from drystone.service.requests import ConfigQuery, DiskChanges, DiskQuery
from tests.service.records_world import OTHER, ZONE, World, caller, refusal, run, with_accounts

pytestmark = pytest.mark.usefixtures("both_catalogs")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, catalog_kind: str) -> Iterator[World]:
    """Four disks of one account, one of another and two that are hidden; nothing here changes them."""
    world = World.open(tmp_path_factory.mktemp("disks") / "catalog.db")
    world.add_accounts()
    world.instance("ins-1", name="web")
    world.instance("ins-2", name="web", account_id=OTHER)
    world.disk("disk-a", created_at=1.0, name="one", tags=(("env", "prod"), ("team", "x")), deadline_at=9.0)
    world.disk("disk-b", created_at=2.0, name="two", tags=(("env", "test"),), type="CLOUD_SSD", deadline_at=7.0)
    world.disk(
        "disk-c",
        created_at=3.0,
        state=DiskState.ATTACHED,
        instance_id=InstanceId("ins-1"),
        charge_type=PREPAID,
        usage="SYSTEM_DISK",
        portable=False,
        project_id=5,
        zone="ap-other-1",
        deadline_at=8.0,
        tags=(("test", "env"),),
    )
    world.disk("disk-d", created_at=3.0, state=DiskState.EXPANDING, deadline_at=8.0)
    world.disk("disk-o", created_at=4.0, account_id=OTHER, name="one", instance_id=InstanceId("ins-2"))
    world.disk("disk-x", state=DiskState.CREATING)
    world.disk("disk-y", state=DiskState.TERMINATING)
    yield world
    world.db.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with with_accounts(tmp_path / "catalog.db") as made:
        yield made


def found(world: World, **query: Any) -> str:
    page = run(world.disks.describe(caller(), DiskQuery(**query)))
    assert page.total == len(page.items)
    return "".join(view.disk.id[-1] for view in page.items)


def test_newest_first_and_only_what_is_theirs_and_shown(shown: World) -> None:
    assert found(shown) == "dcba"
    page = run(shown.disks.describe(caller(OTHER), DiskQuery()))
    assert [view.disk.id for view in page.items] == ["disk-o"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([("disk-id", "disk-a", "disk-c", "disk-o", "disk-x")], "ca"),
        ([("disk-name", "one")], "a"),
        ([("disk-name", "one", "two", "none")], "ba"),
        ([("disk-type", "CLOUD_SSD")], "b"),
        ([("disk-type", "CLOUD_NEW")], ""),
        ([("disk-state", "UNATTACHED")], "ba"),
        ([("disk-state", "ATTACHED", "EXPANDING")], "dc"),
        ([("disk-usage", "SYSTEM_DISK")], "c"),
        ([("disk-usage", "DATA_DISK", "SYSTEM_DISK")], "dcba"),
        ([("disk-charge-type", "PREPAID")], "c"),
        ([("disk-charge-type", "POSTPAID_BY_HOUR")], "dba"),
        ([("portable", "FALSE")], "c"),
        ([("portable", "true")], "dba"),
        ([("project-id", "5")], "c"),
        ([("project-id", "0", "5")], "dcba"),
        ([("instance-id", "ins-1")], "c"),
        ([("instance-id", "ins-2")], ""),
        ([("instance-name", "web")], "c"),
        ([("instance-name", "db")], ""),
        ([("instance-ip-address", "10.0.0.1")], ""),
        ([("zone", ZONE)], "dba"),
        ([("dedicated-cluster-id", "cluster-1")], ""),
        ([("cluster-group-id", "group-1")], ""),
        ([("tag-key", "env")], "ba"),
        ([("tag-key", "env", "test")], "cba"),
        ([("tag-value", "env")], "c"),
        ([("tag-value", "prod", "x")], "a"),
        ([("tag:env", "prod")], "a"),
        ([("tag:env", "prod", "test")], "ba"),
        ([("tag:env", "x")], ""),
        ([("tag:env", "prod"), ("tag:team", "x")], "a"),
        ([("tag:env", "test"), ("tag:team", "x")], ""),
        ([("disk-name", "one"), ("disk-name", "two")], ""),
        ([("zone", ZONE), ("disk-type", "CLOUD_PREMIUM"), ("disk-state", "UNATTACHED")], "a"),
    ],
)
def test_every_filter(shown: World, filters: list[tuple[str, ...]], expected: str) -> None:
    assert found(shown, filters=tuple((name, values) for name, *values in filters)) == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"filters": (("disk-colour", ("red",)),)}, Refusal.BAD_FILTER),
        ({"filters": (("snapshot-id", ("snap-1",)),)}, Refusal.BAD_FILTER),
        ({"filters": (("zone", ()),)}, Refusal.BAD_VALUE),
        ({"filters": (("disk-id", ("d",) * 101),)}, Refusal.BAD_VALUE),
        ({"filters": (("zone", (ZONE,)),) * 21}, Refusal.BAD_VALUE),
        ({"filters": (("disk-state", ("CREATING",)),)}, Refusal.BAD_VALUE),
        ({"filters": (("portable", ("perhaps",)),)}, Refusal.BAD_VALUE),
        ({"filters": (("project-id", ("-1",)),)}, Refusal.BAD_VALUE),
        ({"filters": (("project-id", ("9" * 19,)),)}, Refusal.BAD_VALUE),
        ({"filters": (("project-id", ("9" * 30,)),)}, Refusal.BAD_VALUE),
        ({"filters": (("disk-usage", ("DISK",)),)}, Refusal.BAD_VALUE),
        ({"filters": (("disk-charge-type", ("FREE",)),)}, Refusal.BAD_VALUE),
        ({"filters": (("zone", (ZONE,)),), "disk_ids": ("disk-a",)}, Refusal.BAD_VALUE),
        ({"disk_ids": ("disk-a",) * 101}, Refusal.BAD_VALUE),
        ({"limit": 0}, Refusal.BAD_VALUE),
        ({"limit": 101}, Refusal.BAD_VALUE),
        ({"offset": -1}, Refusal.BAD_VALUE),
        ({"order": "UP"}, Refusal.BAD_VALUE),
        ({"order_field": "NAME"}, Refusal.BAD_VALUE),
    ],
)
def test_what_cannot_be_meant_is_refused(shown: World, query: dict[str, Any], code: str) -> None:
    assert refusal(shown.disks.describe(caller(), DiskQuery(**query))) == code


def test_unknown_and_foreign_ids_only_make_fewer_rows(shown: World) -> None:
    assert found(shown, disk_ids=("disk-a", "disk-o", "disk-x", "nonsense", "disk-d")) == "da"
    assert found(shown, disk_ids=("disk-o",)) == ""


def test_order(shown: World) -> None:
    assert found(shown, order="ASC") == "abcd"
    assert found(shown, order="DESC", order_field="CREATE_TIME") == "dcba"
    assert found(shown, order_field="DEADLINE") == "adcb"
    assert found(shown, order_field="DEADLINE", order="ASC") == "bcda"


def test_pages_follow_each_other(shown: World) -> None:
    def page(offset: int) -> tuple[str, int]:
        answer = run(shown.disks.describe(caller(), DiskQuery(offset=offset, limit=3)))
        return "".join(view.disk.id[-1] for view in answer.items), answer.total

    assert [page(0), page(3), page(6), page(2**64)] == [("dcb", 4), ("a", 4), ("", 4), ("", 4)]


def test_totals_of_snapshots(world: World) -> None:
    world.disk("disk-a")
    world.disk("disk-b")
    world.snapshot("snap-1")
    world.snapshot("snap-2")
    world.snapshot("snap-3", state=SnapshotState.CREATING)
    world.snapshot("snap-4", state=SnapshotState.GHOST)
    world.pack("a1", bytes=10)
    # What a deleted snapshot wrote and another one sees is held, what nobody sees is not.
    world.pack("a2", bytes=20, dead_bytes=15)
    views = {view.disk.id[-1]: view for view in run(world.disks.describe(caller(), DiskQuery())).items}
    assert (views["a"].snapshot_count, views["a"].snapshot_bytes) == (3, 15)
    assert (views["b"].snapshot_count, views["b"].snapshot_bytes) == (0, 0)


def test_details(world: World) -> None:
    world.instance("ins-1")
    world.disk(
        "disk-a",
        state=DiskState.ATTACHED,
        instance_id=InstanceId("ins-1"),
        nbd_socket="/srv/my disks/a?b.sock",
        tracking=TrackingState.LIVE,
        tracking_reason="started",
        base_snapshot_id=SnapshotId("snap-1"),
        epoch=3,
        daemon="d1",
    )
    world.disk("disk-o", account_id=OTHER)
    (detail,) = run(world.disks.details(caller(), DiskQuery())).items
    assert detail.nbd_uri == "nbd+unix:///disk-a?socket=/srv/my%20disks/a%3Fb.sock"
    assert (detail.device, detail.tracking, detail.epoch, detail.daemon) == (None, "LIVE", 3, "d1")
    assert run(world.disks.details(caller(), DiskQuery(disk_ids=("disk-o",)))).total == 0
    assert run(world.disks.details(caller(), DiskQuery(disk_ids=("disk-a", "disk-o"), offset=1))).total == 1
    assert refusal(world.disks.details(caller(), DiskQuery(limit=101))) == Refusal.BAD_VALUE


def modify(world: World, *disk_ids: str, **changes: Any) -> None:
    run(world.disks.modify(caller(), DiskChanges(disk_ids=disk_ids, **changes)))


def modify_code(world: World, *disk_ids: str, **changes: Any) -> str:
    before = world.db.read_sync(disk_rows.everything)
    code = refusal(world.disks.modify(caller(), DiskChanges(disk_ids=disk_ids, **changes)))
    assert world.db.read_sync(disk_rows.everything) == before
    assert world.applied == []
    return code


def test_modify_changes_all_that_are_named(world: World) -> None:
    world.disk("disk-a", portable=False)
    world.disk("disk-b", type="CLOUD_HSSD", size_gib=460)
    world.disk("disk-c")
    modify(world, "disk-a", "disk-b", "disk-a", name="new", portable=True, project_id=3, delete_with_instance=True)
    for name in ("disk-a", "disk-b"):
        disk = world.stored_disk(name)
        assert (disk.name, disk.portable, disk.project_id, disk.delete_with_instance) == ("new", True, 3, True)
    assert world.stored_disk("disk-c").name == "未命名"
    modify(world, "disk-b", burst_operation="CREATE")
    assert world.stored_disk("disk-b").burst_performance
    modify(world, "disk-b", burst_operation="CANCEL", delete_with_instance=False)
    assert not world.stored_disk("disk-b").burst_performance
    assert world.applied == []


def test_modify_is_all_or_nothing_and_blind_to_others(world: World) -> None:
    world.disk("disk-a")
    world.disk("disk-o", account_id=OTHER)
    world.disk("disk-x", state=DiskState.CREATING)
    for other in ("disk-o", "disk-x", "disk-none", "nonsense"):
        assert modify_code(world, "disk-a", other, name="new") == Refusal.NO_SUCH_DISK
    world.disk("disk-p", charge_type=PREPAID)
    assert modify_code(world, "disk-a", "disk-p", delete_with_instance=True) == Refusal.DISK_UNFIT


@pytest.mark.parametrize(
    ("fields", "changes", "code"),
    [
        ({}, {}, Refusal.MISSING),
        ({}, {"name": ""}, Refusal.BAD_VALUE),
        ({}, {"name": "x" * 61}, Refusal.BAD_VALUE),
        ({}, {"name": "盘" * 21}, Refusal.BAD_VALUE),
        ({}, {"name": "a\nb"}, Refusal.BAD_VALUE),
        ({}, {"portable": False}, Refusal.BAD_VALUE),
        ({}, {"project_id": 2**63}, Refusal.BAD_VALUE),
        ({"portable": False}, {"project_id": 1}, Refusal.DISK_UNFIT),
        ({"charge_type": PREPAID}, {"delete_with_instance": True}, Refusal.DISK_UNFIT),
        ({"usage": "SYSTEM_DISK"}, {"delete_with_instance": True}, Refusal.DISK_UNFIT),
        ({}, {"burst_operation": "MORE"}, Refusal.BAD_VALUE),
        ({}, {"burst_operation": "CREATE"}, Refusal.NOT_SOLD),
        (
            {"type": "CLOUD_HSSD", "size_gib": 459},
            {"burst_operation": "CREATE"},
            Refusal.NOT_SOLD,
        ),
        ({"state": DiskState.TORECYCLE}, {"name": "new"}, Refusal.DISK_UNFIT),
        ({}, {"disk_type": "CLOUD_SSD", "name": "new"}, Refusal.BAD_VALUE),
        ({}, {"disk_type": "FLOPPY"}, Refusal.BAD_VALUE),
        ({"type": "CLOUD_SSD", "size_gib": 20}, {"disk_type": "CLOUD_PREMIUM"}, Refusal.DISK_UNFIT),
        ({}, {"disk_type": "CLOUD_BASIC"}, Refusal.NOT_SOLD),
        ({"size_gib": 19}, {"disk_type": "CLOUD_SSD"}, Refusal.NOT_SOLD),
        (
            {"size_gib": 20, "state": DiskState.ROLLBACKING},
            {"disk_type": "CLOUD_SSD"},
            Refusal.NOT_NOW,
        ),
        ({"size_gib": 20, "state": DiskState.TORECYCLE}, {"disk_type": "CLOUD_SSD"}, Refusal.DISK_UNFIT),
    ],
)
def test_modify_refuses_and_changes_nothing(
    world: World, fields: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    world.disk("disk-a", **fields)
    assert modify_code(world, "disk-a", **changes) == code


def test_modify_limits_what_one_call_names(world: World) -> None:
    world.disk("disk-a", size_gib=20)
    world.disk("disk-b", size_gib=20)
    assert modify_code(world, name="new") == Refusal.MISSING
    assert modify_code(world, *["disk-a"] * 101, name="new") == Refusal.TOO_MANY
    assert modify_code(world, "disk-a", "disk-b", disk_type="CLOUD_SSD") == Refusal.BAD_VALUE


def test_names_of_sixty_bytes_fit(world: World) -> None:
    world.disk("disk-a")
    modify(world, "disk-a", name="盘" * 20)
    assert world.stored_disk("disk-a").name == "盘" * 20


@pytest.mark.parametrize("state", [DiskState.UNATTACHED, DiskState.ATTACHED])
def test_a_better_type_is_kept_and_applied(world: World, state: DiskState) -> None:
    world.disk("disk-a", size_gib=20, type="CLOUD_BASIC", state=state)
    for name in ("CLOUD_PREMIUM", "CLOUD_SSD", "CLOUD_TSSD"):
        modify(world, "disk-a", disk_type=name)
        assert world.stored_disk("disk-a").type == name
        assert world.applied[-1] == world.stored_disk("disk-a")


def test_asking_again_for_a_type_applies_it_again(world: World) -> None:
    world.disk("disk-a", size_gib=20)
    for _ in range(2):
        modify(world, "disk-a", disk_type="CLOUD_SSD")
    assert [disk.type for disk in world.applied] == ["CLOUD_SSD"] * 2


def buy(world: World, disk_id: str, mb_per_s: int) -> None:
    run(world.disks.modify_throughput(caller(), disk_id, mb_per_s))


def test_bought_throughput_is_kept_and_applied(world: World) -> None:
    """S340: what the daemon is told is the row as it is when it is told."""
    world.disk("disk-a", size_gib=461, type="CLOUD_HSSD", state=DiskState.ATTACHED)
    for mb_per_s in (650, 1, 0, 0):
        buy(world, "disk-a", mb_per_s)
        assert world.stored_disk("disk-a").throughput_performance == mb_per_s
        assert world.applied[-1] == world.stored_disk("disk-a")
    world.disk("disk-b")
    buy(world, "disk-b", 0)  # Terraform sends that for disks of every type.
    assert len(world.applied) == 5


@pytest.mark.parametrize(
    ("fields", "mb_per_s", "kind"),
    [
        ({}, 1, Refusal.DISK_UNFIT),
        ({"type": "CLOUD_HSSD", "size_gib": 460}, 1, Refusal.DISK_UNFIT),
        ({"type": "CLOUD_HSSD", "size_gib": 461}, 651, Refusal.BAD_VALUE),
        ({"type": "CLOUD_TSSD", "size_gib": 461}, 3651, Refusal.BAD_VALUE),
        ({"type": "CLOUD_HSSD", "size_gib": 461, "state": DiskState.ROLLBACKING}, 1, Refusal.BUSY),
        ({"type": "CLOUD_HSSD", "size_gib": 461, "state": DiskState.TORECYCLE}, 0, Refusal.DISK_UNFIT),
        ({"account_id": OTHER}, 0, Refusal.NO_SUCH_DISK),
    ],
)
def test_throughput_is_refused_and_nothing_is_changed(
    world: World, fields: dict[str, Any], mb_per_s: int, kind: Refusal
) -> None:
    before = world.disk("disk-a", **fields)
    assert refusal(world.disks.modify_throughput(caller(), "disk-a", mb_per_s)) == kind
    assert world.stored_disk("disk-a") == before
    assert world.applied == []


def test_what_there_is_none_of_is_asked_for_as_everything_else(world: World) -> None:
    run(world.disks.none_of(caller(), ("zone",), filters=(("zone", ("a",)),)))
    for given, kind in (
        ({"filters": (("size", ("a",)),)}, Refusal.BAD_FILTER),
        ({"filters": (("zone", ("a",)),), "ids": ("x",)}, Refusal.BAD_VALUE),
        ({"page": (0, 101)}, Refusal.BAD_VALUE),
    ):
        assert refusal(world.disks.none_of(caller(), ("zone",), **given)) == kind


def test_the_type_of_anothers_disk_is_not_found(world: World) -> None:
    world.disk("disk-o", account_id=OTHER, size_gib=20)
    assert modify_code(world, "disk-o", disk_type="CLOUD_SSD") == Refusal.NO_SUCH_DISK


def config(world: World, **query: Any) -> list[tuple[str, str, bool]]:
    answer = run(world.disks.config_quota(caller(), ConfigQuery(**{"inquiry_type": "INQUIRY_CBS_CONFIG"} | query)))
    for entry in answer:
        kind = DISK_TYPES[entry.disk_type]
        assert (entry.size_gib_min, entry.size_gib_max, entry.zone) == (kind.size_gib_min, kind.size_gib_max, ZONE)
        assert (entry.usage, entry.step_gib) == ("DATA_DISK", 1)
    return [(entry.disk_type, entry.charge_type, entry.available) for entry in answer]


def test_config_quota(world: World) -> None:
    everything = config(world)
    assert len(everything) == 2 * len(DISK_TYPES)
    assert ("CLOUD_BASIC", POSTPAID, False) in everything
    assert ("CLOUD_PREMIUM", PREPAID, True) in everything
    assert config(world, disk_types=("CLOUD_SSD",), charge_type=POSTPAID, zones=(ZONE, "ap-x")) == [
        ("CLOUD_SSD", POSTPAID, True)
    ]
    assert config(world, zones=("ap-x",)) == []
    assert config(world, usage="SYSTEM_DISK") == []
    assert config(world, charge_type="CDCPAID") == []
    hssd, premium = (
        run(
            world.disks.config_quota(
                caller(),
                ConfigQuery(inquiry_type="INQUIRY_CVM_CONFIG", charge_type=POSTPAID, disk_types=(name,)),
            )
        )[0]
        for name in ("CLOUD_HSSD", "CLOUD_PREMIUM")
    )
    assert (hssd.extra_performance_range, premium.extra_performance_range) == ((0, 650), None)


@pytest.mark.parametrize(
    "query",
    [{"inquiry_type": "ALL"}, {"charge_type": "FREE"}, {"usage": "DISK"}, {"disk_types": ("FLOPPY",)}],
)
def test_config_quota_refuses(world: World, query: dict[str, Any]) -> None:
    asked = ConfigQuery(**{"inquiry_type": "INQUIRY_CBS_CONFIG"} | query)
    assert refusal(world.disks.config_quota(caller(), asked)) == Refusal.BAD_VALUE


def test_disk_numbers_of_instances(world: World) -> None:
    world.instance("ins-1")
    world.instance("ins-2")
    world.instance("ins-o", account_id=OTHER)
    for name in ("a", "b"):
        world.disk(f"disk-{name}", instance_id=InstanceId("ins-1"), state=DiskState.ATTACHED)
    answer = run(world.disks.instances_disk_num(caller(), ("ins-2", "ins-1", "ins-o", "ins-none")))
    assert [(n.instance_id, n.attached, n.attached_max) for n in answer] == [("ins-2", 0, 20), ("ins-1", 2, 20)]
    assert refusal(world.disks.instances_disk_num(caller(), ())) == Refusal.MISSING
    assert refusal(world.disks.instances_disk_num(caller(), ("i",) * 101)) == Refusal.TOO_MANY

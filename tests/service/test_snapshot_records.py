from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drystone.domain.disk_types import GIB
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import DiskId, InstanceId
from drystone.domain.snapshot import SnapshotRecord, SnapshotState
from drystone.service.requests import SnapshotChanges, SnapshotQuery
from drystone.service.rows.quotas import (
    SnapshotLimits,
    SnapshotUse,
    check_instance,
    check_per_call,
    check_snapshot,
    snapshot_use,
)
from tests.service.records_world import NOW, OTHER, World, caller, refusal, run, with_accounts

pytestmark = pytest.mark.usefixtures("both_catalogs")


def at(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat()


DAY = 86_400.0


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, catalog_kind: str) -> Iterator[World]:
    """Four snapshots of one account, one of another and two that are hidden; nothing here changes them."""
    world = World.open(tmp_path_factory.mktemp("snapshots") / "catalog.db")
    world.add_accounts()
    world.snapshot("snap-a", created_at=1.0, name="one", tags=(("env", "prod"),), project_id=4)
    world.snapshot("snap-b", created_at=2.0, name="two", state=SnapshotState.CREATING)
    world.snapshot("snap-c", created_at=3.0, disk_id="disk-b", rolling_back=True, zone="ap-x", tags=(("env", "t"),))
    world.snapshot("snap-d", created_at=4.0, usage="SYSTEM_DISK")
    world.snapshot("snap-o", created_at=5.0, account_id=OTHER, name="one")
    world.snapshot("snap-x", state=SnapshotState.DELETING)
    world.snapshot("snap-y", state=SnapshotState.GHOST)
    yield world
    world.db.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with with_accounts(tmp_path / "catalog.db") as made:
        yield made


def found(world: World, **query: Any) -> str:
    page = run(world.snapshots.describe(caller(), SnapshotQuery(**query)))
    assert page.total == len(page.items)
    return "".join(view.snapshot.id[-1] for view in page.items)


def test_newest_first_and_only_what_is_theirs_and_shown(shown: World) -> None:
    assert found(shown) == "dcba"
    assert found(shown, order="ASC", order_field="CREATE_TIME") == "abcd"
    page = run(shown.snapshots.describe(caller(OTHER), SnapshotQuery()))
    assert ([view.snapshot.id for view in page.items], page.total) == (["snap-o"], 1)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([("snapshot-id", "snap-a", "snap-o", "snap-x")], "a"),
        ([("snapshot-name", "one")], "a"),
        ([("snapshot-state", "NORMAL")], "da"),
        ([("snapshot-state", "CREATING")], "b"),
        ([("snapshot-state", "ROLLBACKING")], "c"),
        ([("snapshot-state", "CREATING", "ROLLBACKING")], "cb"),
        ([("snapshot-state", "NORMAL", "ROLLBACKING", "TORECYCLE")], "dca"),
        ([("snapshot-state", "COPYING_FROM_REMOTE")], ""),
        ([("snapshot-state", "NORMAL"), ("snapshot-state", "CREATING")], ""),
        ([("snapshot-type", "PRIVATE_SNAPSHOT")], "dcba"),
        ([("snapshot-type", "SHARED_SNAPSHOT")], ""),
        ([("snapshot-type", "SHARED_SNAPSHOT", "PRIVATE_SNAPSHOT")], "dcba"),
        ([("disk-id", "disk-b")], "c"),
        ([("disk-usage", "SYSTEM_DISK")], "d"),
        ([("project-id", "4")], "a"),
        ([("zone", "ap-x")], "c"),
        ([("encrypt", "FALSE")], "dcba"),
        ([("encrypt", "true")], ""),
        ([("tag-key", "env")], "ca"),
        ([("tag-value", "prod")], "a"),
        ([("tag:env", "t")], "c"),
        ([("disk-id", "disk-a"), ("snapshot-state", "NORMAL")], "da"),
    ],
)
def test_every_filter(shown: World, filters: list[tuple[str, ...]], expected: str) -> None:
    assert found(shown, filters=tuple((name, values) for name, *values in filters)) == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"filters": (("disk-name", ("x",)),)}, Refusal.BAD_FILTER),
        ({"filters": (("snapshot-name", ()),)}, Refusal.BAD_VALUE),
        ({"filters": (("disk-id", tuple(f"disk-{n}" for n in range(11))),)}, Refusal.BAD_VALUE),
        ({"filters": (("snapshot-state", ("GHOST",)),)}, Refusal.BAD_VALUE),
        ({"filters": (("snapshot-type", ("PUBLIC",)),)}, Refusal.BAD_VALUE),
        ({"filters": (("zone", ("z",)),), "snapshot_ids": ("snap-a",)}, Refusal.BAD_VALUE),
        ({"limit": 0}, Refusal.BAD_VALUE),
        ({"limit": 101}, Refusal.BAD_VALUE),
        ({"order_field": "DEADLINE"}, Refusal.BAD_VALUE),
        ({"order": "asc"}, Refusal.BAD_VALUE),
    ],
)
def test_what_cannot_be_meant_is_refused(shown: World, query: dict[str, Any], code: str) -> None:
    assert refusal(shown.snapshots.describe(caller(), SnapshotQuery(**query))) == code


def test_pages_and_ids(shown: World) -> None:
    page = run(shown.snapshots.describe(caller(), SnapshotQuery(offset=1, limit=2)))
    assert ([view.snapshot.id[-1] for view in page.items], page.total) == (["c", "b"], 4)
    assert found(shown, snapshot_ids=("snap-a", "snap-o", "snap-y", "nonsense")) == "a"
    assert found(shown, filters=(("disk-id", tuple(f"disk-{letter}" for letter in "abcdefghij")),)) == "dcba"


def test_records_and_isolation(world: World) -> None:
    world.snapshot("snap-a", record=SnapshotRecord(tracking="delta", changed_bytes=4096))
    world.snapshot("snap-o", account_id=OTHER)
    (view,) = run(world.snapshots.records(caller(), SnapshotQuery())).items
    assert (view.snapshot.id, view.snapshot.record.changed_bytes) == ("snap-a", 4096)
    assert run(world.snapshots.records(caller(), SnapshotQuery(snapshot_ids=("snap-o",)))).total == 0
    assert refusal(world.snapshots.records(caller(), SnapshotQuery(limit=0))) == Refusal.BAD_VALUE


def modify(world: World, **changes: Any) -> None:
    run(world.snapshots.modify(caller(), SnapshotChanges(snapshot_id="snap-a", **changes)))


def test_modify(world: World) -> None:
    world.snapshot("snap-a")
    modify(world, name="快" * 60)
    after = world.stored_snapshot("snap-a")
    assert (after.name, after.permanent, after.modified_at) == ("快" * 60, True, NOW)
    modify(world, deadline=at(2 * DAY))
    after = world.stored_snapshot("snap-a")
    assert (after.permanent, after.deadline_at) == (False, NOW + 2 * DAY)
    modify(world, permanent=False, deadline=at(3 * DAY))
    assert world.stored_snapshot("snap-a").deadline_at == NOW + 3 * DAY
    modify(world, permanent=False, name="n")
    assert world.stored_snapshot("snap-a").deadline_at == NOW + 3 * DAY
    modify(world, permanent=True)
    after = world.stored_snapshot("snap-a")
    assert (after.permanent, after.deadline_at, after.name) == (True, None, "n")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, Refusal.MISSING),
        ({"name": ""}, Refusal.BAD_VALUE),
        ({"name": "x" * 61}, Refusal.BAD_VALUE),
        ({"permanent": False}, Refusal.BAD_VALUE),
        ({"permanent": True, "deadline": at(2 * DAY)}, Refusal.BAD_VALUE),
        ({"deadline": at(DAY - 301)}, Refusal.BAD_VALUE),
        ({"deadline": at(-DAY)}, Refusal.BAD_VALUE),
        ({"deadline": "2033-01-01T00:00:00"}, Refusal.BAD_VALUE),
        ({"deadline": "next week"}, Refusal.BAD_VALUE),
        ({"deadline": "0001-01-01T00:00:00+14:00"}, Refusal.BAD_VALUE),
        ({"deadline": ""}, Refusal.BAD_VALUE),
    ],
)
def test_modify_refuses_and_changes_nothing(world: World, changes: dict[str, Any], code: str) -> None:
    before = world.snapshot("snap-a")
    asked = SnapshotChanges(snapshot_id="snap-a", **changes)
    assert refusal(world.snapshots.modify(caller(), asked)) == code
    assert world.stored_snapshot("snap-a") == before


def test_deadlines_of_any_offset_and_of_a_clock_that_is_minutes_off(world: World) -> None:
    world.snapshot("snap-a")
    modify(world, deadline=at(DAY - 299))
    assert world.stored_snapshot("snap-a").deadline_at == NOW + DAY - 299
    there = datetime.fromtimestamp(NOW + 2 * DAY, UTC) + timedelta(hours=8)
    modify(world, deadline=there.replace(tzinfo=None).isoformat() + "+08:00")
    assert world.stored_snapshot("snap-a").deadline_at == NOW + 2 * DAY
    modify(world, deadline=at(2 * DAY).replace("+00:00", "Z"))
    assert world.stored_snapshot("snap-a").deadline_at == NOW + 2 * DAY


def test_modify_finds_only_what_is_theirs_and_shown(world: World) -> None:
    world.snapshot("snap-o", account_id=OTHER)
    world.snapshot("snap-g", state=SnapshotState.GHOST)
    for name in ("snap-o", "snap-g", "snap-none", "x" * 500):
        asked = SnapshotChanges(snapshot_id=name, name="new")
        assert refusal(world.snapshots.modify(caller(), asked)) == Refusal.NO_SUCH_SNAPSHOT
    assert world.stored_snapshot("snap-o").name == "未命名"


def test_overview(world: World) -> None:
    assert run(world.snapshots.overview(caller())).billed_gib == 0
    world.snapshot("snap-a")
    world.snapshot("snap-b")
    world.snapshot("snap-c", state=SnapshotState.CREATING)
    world.snapshot("snap-o", account_id=OTHER)
    world.pack("a1", bytes=GIB)
    world.pack("a2", bytes=GIB, dead_bytes=GIB // 2)
    world.pack("a3", bytes=GIB, account_id=OTHER)
    totals = run(world.snapshots.overview(caller()))
    assert (totals.count, totals.stored_gib, totals.free_quota_gib, totals.billed_gib) == (2, 1.5, 1, 0.5)


PLENTY = SnapshotUse(of_disk=0, of_account=0, disks=1, stored_bytes=0)


@pytest.mark.parametrize(
    ("use", "limits", "allowed"),
    [
        ({"of_disk": 63}, {}, True),
        ({"of_disk": 64}, {}, False),
        ({"of_disk": 64}, {"per_disk": 65}, True),
        ({"of_account": 127}, {}, True),
        ({"of_account": 128}, {}, False),
        ({"of_account": 128, "disks": 2}, {}, True),
        ({"of_account": 64, "disks": 0}, {}, False),
        ({"of_account": 5, "disks": 9}, {"per_region": 5}, False),
        ({"of_account": 4}, {"per_region": 5}, True),
        ({"stored_bytes": 5 * GIB}, {}, True),
        ({"stored_bytes": 5 * GIB}, {"gib_per_region": 5}, False),
        ({"stored_bytes": 5 * GIB - 1}, {"gib_per_region": 5}, True),
    ],
)
def test_snapshot_quotas(use: dict[str, int], limits: dict[str, int], *, allowed: bool) -> None:
    fields = {name: getattr(PLENTY, name) for name in ("of_disk", "of_account", "disks", "stored_bytes")}
    asked = SnapshotUse(**(fields | use))
    if allowed:
        check_snapshot(DiskId("disk-a"), asked, SnapshotLimits(**limits))
        return
    with pytest.raises(RefusalError) as caught:
        check_snapshot(DiskId("disk-a"), asked, SnapshotLimits(**limits))
    assert caught.value.kind == Refusal.SNAPSHOT_QUOTA


def test_snapshot_use_counts_what_is_shown(world: World) -> None:
    world.disk("disk-a")
    world.disk("disk-b")
    world.snapshot("snap-a", stored_bytes=7)
    world.snapshot("snap-b", state=SnapshotState.CREATING, stored_bytes=9)
    world.snapshot("snap-c", disk_id="disk-b", stored_bytes=1)
    world.snapshot("snap-d", state=SnapshotState.GHOST)
    world.snapshot("snap-o", account_id=OTHER, disk_id="disk-o")
    # What snapshots stored when they were taken says nothing: what is still held counts.
    world.pack("a1", bytes=20, dead_bytes=12)
    world.pack("a2", bytes=5, account_id=OTHER)
    use = world.db.read_sync(lambda conn: snapshot_use(conn, caller().account_id, DiskId("disk-a")))
    assert use == SnapshotUse(of_disk=2, of_account=3, disks=2, stored_bytes=8)


def test_limits_of_instances_and_calls() -> None:
    check_instance(InstanceId("ins-1"), attached=18, adding=2, attached_max=20)
    with pytest.raises(RefusalError) as caught:
        check_instance(InstanceId("ins-1"), attached=18, adding=3, attached_max=20)
    assert caught.value.kind == Refusal.INSTANCE_FULL
    check_per_call("DiskIds", 10, 10)
    for count, code in ((11, Refusal.TOO_MANY), (0, Refusal.MISSING)):
        with pytest.raises(RefusalError) as caught:
            check_per_call("DiskIds", count, 10)
        assert caught.value.kind == code

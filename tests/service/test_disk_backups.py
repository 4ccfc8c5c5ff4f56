"""Backup points: what is seen, counted and deleted of them (S343), and that there is one a day (S344)."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drystone.catalog import accounts, disks, snapshots
from drystone.domain.disk import DiskState
from drystone.domain.errors import PassingError, Refusal, RefusalError
from drystone.domain.ids import DiskBackupId, DiskId, SnapshotId
from drystone.domain.snapshot import SnapshotState
from drystone.service.calls.disk_backups import DAY_S, DiskBackups
from drystone.service.calls.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.operations import Operations
from drystone.service.requests import BackupQuery, DiskQuery, NewSnapshot, SnapshotQuery
from drystone.service.rows.deletions import going_along, mark_terminating
from drystone.service.rows.quotas import SnapshotLimits
from drystone.service.transactions import Transactions
from tests.api.real_service import ZONE, real_service
from tests.service.parts import changed, of_parts
from tests.service.records_world import NOW, OTHER, World, caller, refusal, run, with_accounts

pytestmark = pytest.mark.usefixtures("both_catalogs")


class Points:
    """The use cases, over a lifecycle that freezes nothing: rows become as its first transaction makes them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.refused: RefusalError | None = None
        nothing: Any = None
        clock = lambda: world.now  # noqa: E731 - short
        made = Transactions(db=world.db, clock=clock, steady=clock, rng=random.Random(1))
        operations = Operations(made)
        operations.wake = lambda _operation_id: None  # type: ignore[method-assign, assignment]
        self.lifecycle = of_parts(
            SnapshotLifecycle, transactions=made, operations=operations, ids=world.ids, host=nothing, kept=nothing,
            locks=nothing, layout=nothing, devices=nothing, room=nothing, limits=SnapshotLimits(per_disk=2),
            quiescing=nothing,
        )  # fmt: skip
        stub: Any = SimpleNamespace(take_point=self._take)
        self.calls = DiskBackups(transactions=made, operations=operations, ids=world.ids, lifecycle=stub)
        self.transactions = made

    async def _take(self, _caller: Any, disk_id: DiskId, template: Any, check: Any) -> None:
        if self.refused is not None:
            raise self.refused

        def record(change: Any) -> None:
            disk = disks.get(change.conn, disk_id)
            check(change.conn, disk)
            snapshots.insert(change.conn, template(change, disk))

        await self.transactions.change(record)

    def end(self) -> None:
        """Make everything NORMAL that is CREATING."""
        for point in self.of("disk-a"):
            self.world.db.write_sync(
                lambda conn, point=point: snapshots.compare_and_set(  # type: ignore[misc]
                    conn, point.id, expected={}, values={"state": SnapshotState.NORMAL, "percent": 100}
                )
            )

    def of(self, disk_id: str) -> list[Any]:
        return self.world.db.read_sync(lambda conn: snapshots.backups(conn, [DiskId(disk_id)])[DiskId(disk_id)])

    def quota(self, count: int) -> None:
        run(self.calls.set_quota(caller(), "disk-a", count))

    def make(self, name: str = "by hand") -> DiskBackupId:
        made = run(self.calls.create(caller(), "disk-a", name))
        self.end()
        return made

    def round(self) -> list[str]:
        run(self.calls.due())
        self.end()
        return [point.name for point in self.of("disk-a")]


@pytest.fixture
def points(tmp_path: Path) -> Iterator[Points]:
    with with_accounts(tmp_path / "catalog.db") as world:
        world.disk("disk-a")
        yield Points(world)


def test_a_backup_point_is_no_snapshot(points: Points) -> None:
    """S343: not in lists, not by its id, not in sums and quotas; a disk says how many it has."""
    points.quota(2)
    first = points.make()
    points.world.now += 5
    second = points.make("second")
    page = run(points.calls.describe(caller(), BackupQuery()))
    assert [(one.backup_id, one.name) for one in page.items] == [(first, "by hand"), (second, "second")]
    assert page.total == 2
    hidden = page.items[0].id
    for query in (SnapshotQuery(), SnapshotQuery(snapshot_ids=(hidden,))):
        assert run(points.world.snapshots.describe(caller(), query)).total == 0
        assert run(points.world.snapshots.records(caller(), query)).total == 0
    assert run(points.world.snapshots.overview(caller())).count == 0
    usage = points.world.db.read_sync(lambda conn: accounts.usage(conn, page.items[0].account_id))
    assert (usage.snapshots, usage.stored_bytes) == (0, 0)
    (view,) = run(points.world.disks.describe(caller(), DiskQuery())).items
    assert (view.backup_count, view.snapshot_count, view.disk.backup_quota) == (2, 0, 2)
    assert refusal(points.calls.create(caller(), "disk-a", "third")) == Refusal.BACKUP_QUOTA


def test_what_is_asked_of_backup_points(points: Points) -> None:
    points.quota(2)
    one = points.make()

    def seen(account: Any = None, **query: Any) -> list[Any]:
        asked = caller() if account is None else caller(account)
        return [point.backup_id for point in run(points.calls.describe(asked, BackupQuery(**query))).items]

    assert seen(backup_ids=(one, "dbp-none")) == [one]
    assert seen(filters=(("disk-id", ("disk-a",)), ("disk-backup-id", (one,)))) == [one]
    assert seen(filters=(("disk-usage", ("SYSTEM_DISK",)),)) == []
    assert seen(OTHER, backup_ids=(one,)) == []
    for query, kind in (
        (BackupQuery(filters=(("zone", ("z",)),)), Refusal.BAD_FILTER),
        (BackupQuery(backup_ids=(one,), filters=(("disk-id", ("disk-a",)),)), Refusal.BAD_VALUE),
        (BackupQuery(order_field="SIZE"), Refusal.BAD_VALUE),
    ):
        assert refusal(points.calls.describe(caller(), query)) == kind


def test_the_quota_is_one_of_the_disk(points: Points) -> None:
    assert refusal(points.calls.create(caller(), "disk-a", None)) == Refusal.BACKUP_QUOTA
    assert refusal(points.calls.set_quota(caller(), "disk-a", 1025)) == Refusal.BAD_VALUE
    assert refusal(points.calls.set_quota(caller(OTHER), "disk-a", 1)) == Refusal.NO_SUCH_DISK
    points.quota(2)
    points.make()
    points.make()
    assert refusal(points.calls.set_quota(caller(), "disk-a", 1)) == Refusal.BAD_VALUE
    assert refusal(points.calls.create(caller(), "disk-a", "x" * 101)) == Refusal.BAD_VALUE
    run(points.calls.delete(caller(), [one.backup_id for one in points.of("disk-a")]))
    assert points.of("disk-a") == []
    points.quota(0)


def test_what_cannot_be_deleted_or_applied(points: Points) -> None:
    points.quota(2)
    run(points.calls.create(caller(), "disk-a", None))
    (creating,) = points.of("disk-a")
    assert refusal(points.calls.delete(caller(), [creating.backup_id])) == Refusal.SNAPSHOT_CREATING
    assert refusal(points.calls.delete(caller(OTHER), [creating.backup_id])) == Refusal.NO_SUCH_BACKUP
    points.end()

    def apply(backup_id: str, disk_id: str, **given: bool) -> Any:
        return points.calls.apply(caller(), backup_id, disk_id, **({"auto_stop": False, "auto_start": False} | given))

    points.world.disk("disk-b")
    assert refusal(apply("dbp-none", "disk-a")) == Refusal.NO_SUCH_BACKUP
    assert refusal(apply(creating.backup_id, "disk-b")) == Refusal.BAD_VALUE
    assert refusal(apply(creating.backup_id, "disk-a", auto_start=True)) == Refusal.BAD_VALUE
    run(apply(creating.backup_id, "disk-a"))
    assert points.world.stored_disk("disk-a").state is DiskState.ROLLBACKING
    assert refusal(points.calls.delete(caller(), [creating.backup_id])) == Refusal.BUSY


def test_backup_points_go_with_their_disk(points: Points) -> None:
    """S343: also where snapshots stay."""
    points.quota(1)
    points.make()
    (point,) = points.of("disk-a")
    points.world.snapshot("snap-s", permanent=False)
    disk = points.world.stored_disk("disk-a")

    def terminate(change: Any) -> None:
        assert [one.id for one in going_along(change.conn, disk.id)] == ["snap-s"]
        mark_terminating(change, disk, (), request_id="r")

    changed(points.world.db, terminate)
    assert points.world.stored_snapshot(point.id).state is SnapshotState.DELETING
    assert points.world.stored_snapshot("snap-s").state is SnapshotState.NORMAL


def test_a_backup_point_becomes_a_snapshot(points: Points) -> None:
    points.quota(2)
    one = points.make()
    (point,) = points.of("disk-a")
    convert = points.lifecycle.create
    new = NewSnapshot(disk_backup_id=one, name="kept", tags=(("a", "b"),))
    assert refusal(convert(caller(OTHER), new)) == Refusal.NO_SUCH_BACKUP
    assert refusal(convert(caller(), NewSnapshot(disk_backup_id=one, disk_id="disk-b"))) == Refusal.BAD_VALUE
    assert run(convert(caller(), new)) == point.id
    (view,) = run(points.world.snapshots.describe(caller(), SnapshotQuery())).items
    assert (view.snapshot.name, view.snapshot.tags, view.snapshot.backup_id) == ("kept", (("a", "b"),), None)
    assert run(points.world.snapshots.overview(caller())).count == 1
    assert points.of("disk-a") == []
    assert refusal(convert(caller(), new)) == Refusal.NO_SUCH_BACKUP
    # Its place in the disk's quota is free; that of snapshots counts it.
    points.make()
    run(convert(caller(), NewSnapshot(disk_backup_id=points.of("disk-a")[0].backup_id)))
    third = points.make()
    assert refusal(convert(caller(), NewSnapshot(disk_backup_id=third))) == Refusal.SNAPSHOT_QUOTA
    run(points.calls.delete(caller(), [third]))
    run(points.calls.create(caller(), "disk-a", None))
    (creating,) = points.of("disk-a")
    call = convert(caller(), NewSnapshot(disk_backup_id=creating.backup_id))
    assert refusal(call) == Refusal.BACKUP_CREATING


def test_one_a_day_is_taken_by_itself_and_the_oldest_of_those_goes(points: Points) -> None:
    """S344."""
    points.world.now = 20_000 * DAY_S + 3600.0
    points.quota(2)
    assert points.round() == []  # From the next day on.
    names = []
    for day in range(1, 5):
        points.world.now = (20_000 + day) * DAY_S + 60.0
        for hour in range(3):
            points.world.now += hour * 3600.0
            names = points.round()
    assert names == ["daily_20241007", "daily_20241008"]
    # What somebody asks for takes the place of one that was taken by itself, and stays.
    points.make()
    names = points.round()
    assert names == ["daily_20241008", "by hand"]
    points.world.now += DAY_S
    assert points.round() == ["daily_20241008", "by hand", "daily_20241009"]
    assert points.round() == ["by hand", "daily_20241009"]
    points.make("another")
    points.round()
    points.world.now += DAY_S
    points.round()
    assert points.round() == ["by hand", "another"]


def test_what_passes_is_tried_again_that_day(points: Points) -> None:
    points.quota(1)
    points.world.now += DAY_S
    points.refused = PassingError(Refusal.BUSY, "It is busy.")
    assert points.round() == []
    points.refused = None
    assert len(points.round()) == 1
    points.world.now += DAY_S
    points.world.db.write_sync(
        lambda conn: disks.compare_and_set(conn, "disk-a", expected={}, values={"state": DiskState.TORECYCLE})
    )
    points.round()
    assert points.world.stored_disk("disk-a").backup_day == int((points.world.now - DAY_S) // DAY_S)


def test_a_clock_that_was_ahead_stops_nothing(points: Points) -> None:
    points.quota(1)
    ahead = int(NOW // DAY_S) + 400
    points.world.db.write_sync(
        lambda conn: disks.compare_and_set(conn, "disk-a", expected={}, values={"backup_day": ahead})
    )
    assert len(points.round()) == 1
    assert len(points.round()) == 1
    assert points.world.stored_disk("disk-a").backup_day == int(NOW // DAY_S)


def test_without_their_disk_they_are_snapshots(points: Points) -> None:
    """S343: after a recovery they may be all that is left of it."""
    points.world.snapshot("snap-g", disk_id=DiskId("disk-gone"), backup_id=DiskBackupId("dbp-gone"))
    points.world.snapshot("snap-h", backup_id=DiskBackupId("dbp-here"))
    assert points.world.db.write_sync(snapshots.free_backups_without_disk) == 1
    seen = run(points.world.snapshots.describe(caller(), SnapshotQuery())).items
    assert [view.snapshot.id for view in seen] == [SnapshotId("snap-g")]


def test_two_rounds_at_once_begin_one(points: Points) -> None:
    """S344: both have found that it is due."""
    points.quota(2)
    points.world.now += DAY_S
    slot = int(points.world.now // DAY_S) * DAY_S
    found = points.world.stored_disk("disk-a")
    run(points.calls._take(caller(), found, "daily", slot=slot))
    points.end()
    assert refusal(points.calls._take(caller(), found, "daily", slot=slot)) == Refusal.BUSY
    assert len(points.of("disk-a")) == 1


async def _lived(data: Path) -> None:
    async with real_service(data) as service:
        new: dict[str, Any] = {
            "Placement": {"Zone": ZONE},
            "DiskChargeType": "POSTPAID_BY_HOUR",
            "DiskType": "CLOUD_PREMIUM",
        }
        (disk,) = (await service.call("CreateDisks", **new, DiskSize=10, DiskBackupQuota=3))["DiskIdSet"]
        made = []
        for name in ("first", "second", "third"):
            made.append((await service.call("CreateDiskBackup", DiskId=disk, DiskBackupName=name))["DiskBackupId"])
            listed = await service.call("DescribeDiskBackups", DiskBackupIds=[made[-1]])
            assert listed["TotalCount"] == 1  # At once: Terraform dereferences the first of it.
            await service.idle()
        shown = (await service.call("DescribeDiskBackups"))["DiskBackupSet"]
        assert [(one["DiskBackupName"], one["DiskBackupState"], one["Percent"]) for one in shown] == [
            ("first", "NORMAL", 100), ("second", "NORMAL", 100), ("third", "NORMAL", 100),
        ]  # fmt: skip
        full = await service.send("CreateDiskBackup", json.dumps({"DiskId": disk}).encode())
        assert full["Error"]["Code"] == "ResourceInsufficient.OverQuota"
        assert (await service.call("DescribeSnapshots"))["TotalCount"] == 0
        await service.call("ApplyDiskBackup", DiskBackupId=made[0], DiskId=disk)
        await service.idle()
        kept = (await service.call("CreateSnapshot", DiskBackupId=made[1], SnapshotName="kept"))["SnapshotId"]
        await service.call("DeleteDiskBackups", DiskBackupIds=[made[0]])
        (view,) = (await service.call("DescribeDisks"))["DiskSet"]
        assert (view["DiskBackupCount"], view["DiskBackupQuota"], view["SnapshotCount"]) == (1, 3, 1)
        await service.call("TerminateDisks", DiskIds=[disk])
        await service.idle()
        assert (await service.call("DescribeDiskBackups"))["TotalCount"] == 0
        (left,) = (await service.call("DescribeSnapshots"))["SnapshotSet"]
        assert (left["SnapshotId"], left["SnapshotState"], left["SnapshotName"]) == (kept, "NORMAL", "kept")


def test_the_life_of_backup_points(tmp_path: Path) -> None:
    """S343."""
    asyncio.run(_lived(tmp_path / "d"))

"""A disk that is stopped again and again without a snapshot: its carry-over stays one extent map (S36)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection

from drystone.catalog import disks, extent_maps, operations
from drystone.codec.checkpoint import extents_name
from drystone.domain import tracking as algebra
from drystone.domain.blocks import EMPTY, Ranges, normalize, union
from drystone.domain.disk import Disk
from drystone.domain.ids import DiskId, OperationId, SessionId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.tracking import Checkpoint, FileIdentity, TrackingState
from drystone.nbd.client import NbdClient
from drystone.service.rows import carry_over
from drystone.service.rows.tracking import tracking_columns, tracking_of
from tests.service.records_world import NOW, OWNER, World, run
from tests.service.test_live_disks import DISK as SERVED
from tests.service.test_live_disks import Site

pytestmark = pytest.mark.usefixtures("both_catalogs")

DISK = DiskId("disk-a")
FILE = FileIdentity(device=1, inode=1, size=1, mtime_ns=1, ctime_ns=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World.open(tmp_path / "catalog.db")
    made.add_accounts()
    made.disk(DISK, tracking=TrackingState.STOPPED, carry=frozenset({"maps/delta"}))
    yield made
    made.db.close()


def row(conn: Connection) -> Disk:
    found = disks.get(conn, DISK)
    assert found is not None
    return found


def stop_and_start(conn: Connection, written: Ranges) -> Disk:
    """Stop the disk with what was written as its checkpoint, and open it again."""
    before = tracking_of(row(conn))
    if before.state is TrackingState.LIVE:
        before = algebra.stopped(before)
    name = extents_name(DISK, before.epoch, written)
    checkpoint = Checkpoint(format=1, disk=DISK, epoch=before.epoch, identity=FILE, extents=name)
    opened = algebra.opened(before, checkpoint, bitmap="b")
    after = carry_over.carry_checkpoint(conn, DISK, opened, name, written)
    columns = tracking_columns(after, reason=carry_over.MISSING_REASON)
    assert disks.compare_and_set(conn, DISK, expected={}, values=columns)
    return row(conn)


def carried(conn: Connection) -> Ranges:
    named = [name for name in row(conn).carry if algebra.is_extents_id(name)]
    assert len(named) <= 1
    assert extent_maps.ids_of(conn, DISK) == frozenset(named)
    found = extent_maps.union_of(conn, named)
    assert found is not None
    return found


def test_what_was_written_between_stops_is_carried_by_one_map(world: World) -> None:
    everything = EMPTY
    for number in range(5):
        # Also twice the same, and once nothing.
        written = EMPTY if number == 2 else normalize([(7 * (number // 2), 7 * (number // 2) + 3), (1000, 1001)])
        everything = union(everything, written)
        after = world.db.write_sync(lambda conn, written=written: stop_and_start(conn, written))  # type: ignore[misc]
        assert after.tracking == TrackingState.LIVE
        assert "maps/delta" in after.carry
        assert len(after.carry) == 2
        assert np.array_equal(world.db.read_sync(carried), everything)


def test_maps_that_an_earlier_version_left_are_joined(world: World) -> None:
    parts = [normalize([(number * 10, number * 10 + 1)]) for number in range(3)]
    names = [f"extents:{number:064x}" for number in range(3)]

    def fill(conn: Connection) -> None:
        for name, ranges in zip(names, parts, strict=True):
            extent_maps.insert(conn, extent_maps.ExtentMap(id=name, disk_id=DISK, ranges=ranges, blocks=1))
        disks.compare_and_set(conn, DISK, expected={}, values={"carry": frozenset(names)})

    world.db.write_sync(fill)
    world.db.write_sync(lambda conn: stop_and_start(conn, normalize([(99, 100)])))
    assert np.array_equal(world.db.read_sync(carried), union(*parts, normalize([(99, 100)])))


def test_a_wide_scatter_is_carried_coarsely_and_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry_over, "RANGES_MAX", 3)
    everything = EMPTY
    for first in (0, 5):
        written = normalize([(at, at + 1) for at in range(first, 100, 10)])
        everything = union(everything, written)
        world.db.write_sync(lambda conn, written=written: stop_and_start(conn, written))  # type: ignore[misc]
    found = world.db.read_sync(carried)
    assert len(found) == 3
    assert np.array_equal(union(found, everything), found)


def test_a_map_that_is_not_there_is_lost_tracking(world: World) -> None:
    world.db.write_sync(lambda conn: stop_and_start(conn, normalize([(0, 1)])))
    world.db.write_sync(lambda conn: extent_maps.keep_only(conn, DISK, ()))
    after = world.db.write_sync(lambda conn: stop_and_start(conn, normalize([(5, 6)])))
    assert (after.tracking, after.carry, after.bitmap) == (TrackingState.LOST, frozenset(), "b")
    assert after.tracking_reason == carry_over.MISSING_REASON
    assert len(world.db.read_sync(carried)) == 0


def test_what_an_operation_in_flight_reads_stays(world: World) -> None:
    first = world.db.write_sync(lambda conn: stop_and_start(conn, normalize([(0, 1)])))
    freeze = algebra.frozen(tracking_of(first), new_bitmap="b1")
    operation = Operation(
        id=OperationId("op-1"), kind=OperationKind.SNAPSHOT, account_id=OWNER, disk_id=DISK, phase="COMMITTED",
        payload=SnapshotPayload(freeze=freeze, session=SessionId("5e" * 16)), created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    world.db.write_sync(lambda conn: operations.insert(conn, operation))
    second = world.db.write_sync(lambda conn: stop_and_start(conn, normalize([(5, 6)])))
    named = {name for name in first.carry | second.carry if algebra.is_extents_id(name)}
    assert len(named) == 2
    assert world.db.read_sync(lambda conn: extent_maps.ids_of(conn, DISK)) == named


def test_a_host_carries_one_map_whatever_was_written_between_its_stops(tmp_path: Path) -> None:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    site = Site(world, tmp_path)

    async def rounds() -> None:
        async with site.served():
            for block in (3, 9):
                await site.served_by.serving.revive(SERVED)
                with NbdClient(site.socket(), SERVED) as client:
                    client.pwrite(block * 4096, b"x" * 4096)
                await site.host.close(SERVED)
                site.change(nbd_socket=None)
            await site.served_by.serving.revive(SERVED)

    run(rounds())
    carry = site.row().carry
    assert len(carry) == 1
    found = world.db.read_sync(lambda conn: extent_maps.union_of(conn, carry))
    assert found is not None
    assert found.tolist() == [[3, 4], [9, 10]]
    assert world.db.read_sync(lambda conn: extent_maps.ids_of(conn, SERVED)) == carry
    world.db.close()

"""Bases of disks that are NORMAL whatever is deleted when (S11)."""

import asyncio
import functools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from drystone.catalog import disks, operations, sessions, snapshots
from drystone.domain.blocks import BLOCK_BYTES, union
from drystone.domain.disk import Disk, DiskState
from drystone.domain.ids import DiskId, OperationId, SessionId, SnapshotId
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.payloads import InitializePayload
from drystone.domain.session import Session
from drystone.domain.tracking import TrackingState
from drystone.service.jobs import initialize
from drystone.service.jobs.initialize import Initialize
from drystone.service.rows import bases
from drystone.service.rows.deletions import mark_deleting
from drystone.snapstore.layers import delta_addresses
from tests.blocks import to_blocks
from tests.catalog.catalog_values import OWNER
from tests.catalog.catalog_values import disk as disk_row
from tests.service.crash_points import FIRST, LAST, MIDDLE, Scene, built
from tests.service.parts import changed, of_parts
from tests.service.records_world import NOW
from tests.service.store_world import BLOCKS

CLONE = DiskId("disk-0000000c")
PIN = SessionId("ab" * 16)


@pytest.fixture(scope="module")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with built(tmp_path_factory.mktemp("bases")) as scene:
        yield scene


@pytest.fixture
def scene(begin: Scene) -> Scene:
    """A disk that was made from the last snapshot, while it is initialized."""
    made = begin.copy(begin.content)
    made.open()
    row = disk_row(CLONE, size_gib=1, state=DiskState.DUMPING, base_snapshot_id=LAST, source_snapshot_id=LAST,
                   epoch=1, tracking=TrackingState.STOPPED)  # fmt: skip

    def fill(conn: Connection) -> None:
        disks.insert(conn, row)
        sessions.open(conn, Session(id=PIN, kind="hydrate", created_at=NOW), [LAST])
        operations.insert(conn, Operation(
            id=OperationId("op-init"), kind=OperationKind.INITIALIZE, account_id=OWNER, disk_id=CLONE,
            payload=InitializePayload(session=PIN), created_at=NOW, updated_at=NOW,
        ))  # fmt: skip

    made.db.write_sync(fill)
    return made


def delete(scene: Scene, *names: SnapshotId) -> None:
    for name in names:
        row = scene.db.read_sync(functools.partial(snapshots.get, key=name))
        assert row is not None
        assert changed(scene.db, functools.partial(mark_deleting, snapshot=row, request_id="r"))


def clone(conn: Connection) -> Disk:
    found = disks.get(conn, CLONE)
    assert found is not None
    return found


def holds(scene: Scene, base: SnapshotId | None) -> None:
    """A1 for a disk that holds what the last snapshot holds; and the next snapshot can begin."""
    row = scene.db.read_sync(clone)
    assert (row.base_snapshot_id, row.tracking) == (base, TrackingState.STOPPED)
    carried = to_blocks(union(*(delta_addresses(scene.store, name) for name in sorted(row.carry))))
    before = bytes(BLOCKS * BLOCK_BYTES) if base is None else scene.truth[base]
    parts = [slice(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES) for block in range(BLOCKS)]
    differs = {block for block, part in enumerate(parts) if scene.truth[LAST][part] != before[part]}
    assert differs
    assert differs <= carried
    session = Session(id=SessionId("cd" * 16), kind="snapshot", created_at=NOW)
    scene.db.write_sync(lambda conn: sessions.open(conn, session, [] if base is None else [base]))


@pytest.mark.parametrize(
    ("deleted", "base"), [([LAST], MIDDLE), ([MIDDLE, LAST], FIRST), ([FIRST, MIDDLE, LAST], None)]
)
def test_a_disk_is_initialized_from_what_is_deleted_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, deleted: list[SnapshotId], base: SnapshotId | None
) -> None:
    async def make_image(*_: object, epoch: int) -> None:
        assert epoch == 2
        delete(scene, *deleted)

    async def close(_disk: DiskId) -> None:
        pass

    async def row(_disk: DiskId) -> Disk:
        return scene.db.read_sync(clone)

    monkeypatch.setattr(initialize, "make_image", make_image)
    operation = scene.db.read_sync(lambda conn: operations.get(conn, OperationId("op-init")))
    assert operation is not None

    async def volume(_disk: Disk) -> None:
        pass

    host: Any = SimpleNamespace(close=close, row=row, volume=volume)
    asyncio.run(of_parts(Initialize, scene.made, host=host).run(operation))
    # It is filled from its source, which stays as long as that takes.
    following = [one for one in scene.db.read_sync(operations.unfinished) if one.kind is OperationKind.HYDRATE]
    assert [one.snapshot_id for one in following] == [LAST]
    holds(scene, base)


def test_a_start_moves_bases_that_are_not_normal(scene: Scene) -> None:
    assert asyncio.run(bases.mend_bases(scene.made.transactions)) == 0
    delete(scene, LAST)
    moved = scene.db.read_sync(clone)
    # What an earlier version left.
    back = {"base_snapshot_id": LAST, "carry": frozenset()}
    scene.db.write_sync(lambda conn: disks.compare_and_set(conn, CLONE, expected={}, values=back))
    assert asyncio.run(bases.mend_bases(scene.made.transactions)) == 1
    assert scene.db.read_sync(clone) == moved
    holds(scene, MIDDLE)
    assert asyncio.run(bases.mend_bases(scene.made.transactions)) == 0


def test_a_base_that_is_gone_altogether_is_none_and_tracking_is_lost(scene: Scene) -> None:
    back = {"base_snapshot_id": cast("SnapshotId", "snap-unknown")}
    scene.db.write_sync(lambda conn: disks.compare_and_set(conn, CLONE, expected={}, values=back))
    assert asyncio.run(bases.mend_bases(scene.made.transactions)) == 1
    row = scene.db.read_sync(clone)
    assert (row.base_snapshot_id, row.tracking) == (None, TrackingState.LOST)
    assert row.tracking_reason

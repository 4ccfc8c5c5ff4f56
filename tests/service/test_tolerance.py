"""One damaged object in the store must not end the snapshots of a disk: what it hides is stored or compared anew."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self, cast

import pytest
from sqlalchemy import Connection

from drystone.catalog import disks
from drystone.domain import tracking as algebra
from drystone.domain.blocks import BLOCK_BYTES, EMPTY
from drystone.domain.tracking import TrackingState
from drystone.engine.volume import Qcow2Volume
from drystone.objects.address import DirectoryAddress
from drystone.service.jobs.rollback import Rollback
from drystone.service.rows.deletions import mark_deleting
from drystone.snapstore.reader import SnapshotReader
from drystone.transfer import comparison
from drystone.transfer.addresses import Look, StoreAddress
from drystone.transfer.jobs import CompareJob
from drystone.transfer.ranges_file import read_ranges
from tests.memory_store import MemoryStore
from tests.service.crash_points import (
    DISK,
    FIRST,
    LAST,
    MIDDLE,
    NEW,
    Looked,
    Scene,
    built,
    deleting,
    freeze,
    quick_directory,
    run,
    scrub_of,
    take,
)
from tests.service.parts import changed, of_parts
from tests.service.records_world import NOW
from tests.service.store_world import BLOCKS


@pytest.fixture(scope="module")
def begin() -> Iterator[Scene]:
    with quick_directory() as place, built(place) as begin:
        yield begin


@pytest.fixture
def scene(begin: Scene) -> Scene:
    made = begin.copy(begin.content)
    made.open()
    return made


def lose_tracking(scene: Scene) -> None:
    def lose(conn: Connection) -> None:
        assert disks.compare_and_set(conn, DISK, expected={}, values={"tracking": TrackingState.LOST, "carry": ()})

    scene.db.write_sync(lose)


def shown(scene: Scene) -> bool:
    """Whether the new snapshot shows what was frozen."""
    reader = SnapshotReader.open(scene.store, cast("str", scene.row(NEW).manifest))
    return bool(reader.read(0, BLOCKS * BLOCK_BYTES) == scene.truth[NEW][: BLOCKS * BLOCK_BYTES])


def reason(scene: Scene) -> str:
    told = scene.row(NEW).record.tracking_reason
    manifest = SnapshotReader.open(scene.store, cast("str", scene.row(NEW).manifest)).manifest
    assert manifest.record.tracking_reason == told
    return told


@pytest.mark.parametrize("gone", [False, True])
def test_the_audit_leaves_out_what_an_old_pack_cannot_tell(scene: Scene, *, gone: bool) -> None:
    """S38."""
    good = {}
    for name in [pack.object for pack in scene.packs_of(FIRST)]:
        good[name] = scene.flip(name, -80)
        if gone:
            MemoryStore.delete(scene.objects, name)
    freeze(scene)
    run(scene, take)
    made = scene.row(NEW)
    assert made.state.value == "NORMAL"
    assert made.record.tracking == "delta"
    assert not made.record.audit_lies
    assert "the audit left out" in reason(scene)
    assert scene.doubted()
    assert scene.doubted() <= set(good)
    for name, raw in good.items():
        MemoryStore.replace(scene.objects, name, raw)
    assert shown(scene)


@pytest.mark.parametrize("gone", [False, True])
def test_a_rescan_stores_anew_what_an_old_pack_cannot_tell(scene: Scene, *, gone: bool) -> None:
    """S38."""
    lose_tracking(scene)
    for name in [pack.object for pack in scene.packs_of(FIRST)]:
        scene.flip(name, -80)
        if gone:
            MemoryStore.delete(scene.objects, name)
    freeze(scene)
    run(scene, take)
    # The snapshot needs nothing of the damaged packs any more.
    assert shown(scene)
    assert scene.row(NEW).record.tracking == "rescan"
    assert "stored anew" in reason(scene)
    assert scene.row(NEW).parent_id == LAST
    assert scene.doubted()


def test_a_carry_over_that_cannot_be_read_makes_a_rescan(scene: Scene) -> None:
    """S38."""
    run(scene, deleting(LAST))
    disk = scene.db.read_sync(lambda conn: disks.get(conn, DISK))
    assert disk is not None
    assert disk.carry
    for name in disk.carry:
        scene.flip(name, 60)
    freeze(scene)
    run(scene, take)
    assert shown(scene)
    assert scene.row(NEW).record.tracking == "rescan"
    assert scene.row(NEW).parent_id == MIDDLE
    assert "carry-over" in reason(scene)
    # Nothing that tracking said was a lie, and nobody is suspect for it.
    assert not scene.row(NEW).record.audit_lies
    after = scene.db.read_sync(lambda conn: disks.get(conn, DISK))
    assert after is not None
    assert (after.base_snapshot_id, after.tracking, after.carry) == (NEW, TrackingState.LIVE, frozenset())


@pytest.mark.parametrize("bad", ["page", "directory", "manifest"])
def test_on_a_base_that_cannot_be_read_nothing_is_built(scene: Scene, bad: str) -> None:
    """S38."""
    lose_tracking(scene)
    base = scene.row(LAST)
    if bad == "manifest":
        scene.flip(cast("str", base.manifest), 20)
    else:
        scene.flip(base.maps[-1], 60 if bad == "page" else -80)
    freeze(scene)
    run(scene, take)
    assert shown(scene)
    made = scene.row(NEW)
    assert (made.record.tracking, made.parent_id, len(made.maps)) == ("full", None, 1)
    manifest = SnapshotReader.open(scene.store, cast("str", made.manifest)).manifest
    assert (manifest.base, manifest.ancestry) == (None, ())
    assert f"without {LAST}" in reason(scene)
    # Deleted, its whole map is carried: it differs from nothing at all in no other block.
    changed(scene.db, lambda change: mark_deleting(change, made, request_id="r"))
    disk = scene.db.read_sync(lambda conn: disks.get(conn, DISK))
    assert disk is not None
    assert (disk.base_snapshot_id, disk.carry) == (None, frozenset({made.maps[0]}))


def test_maps_that_cannot_be_merged_stay_as_they_are(scene: Scene) -> None:
    maps = scene.row(LAST).maps
    good = scene.flip(maps[1], 60)
    freeze(scene)
    run(scene, take)
    made = scene.row(NEW)
    assert made.state.value == "NORMAL"
    assert made.maps[1:] == maps
    assert "could not be merged" in reason(scene)
    assert {LAST, MIDDLE} <= scene.doubted()
    # The scrub, which had read these maps a moment ago, reads them again and tells the damage.
    scene.made = replace(scene.made, clock=lambda: NOW + 1.0)
    scrub: Any = scrub_of(scene)
    scrub._maps = dict.fromkeys(made.maps, (NOW + 1.0, None))
    run(scene, lambda _scene: scrub.once())
    assert scene.row(LAST).damaged
    MemoryStore.replace(scene.objects, maps[1], good)
    assert shown(scene)


def test_a_rollback_whose_path_cannot_be_read_compares_everything(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S38."""
    monkeypatch.setattr(Qcow2Volume, "recorded", lambda _volume: (None, EMPTY, None))
    monkeypatch.setattr(algebra, "checkpoint_fault", lambda *_: None)
    disk = scene.db.read_sync(lambda conn: disks.get(conn, DISK))
    assert disk is not None
    disk = replace(disk, tracking=TrackingState.STOPPED, bitmap=None, daemon=None)
    rollback = of_parts(Rollback, scene.made, host=None)
    assert asyncio.run(rollback._may_differ(disk, FIRST)) is not None
    scene.flip(cast("str", scene.row(MIDDLE).delta_map), 60)
    assert asyncio.run(rollback._may_differ(disk, FIRST)) is None
    assert scene.doubted() == {MIDDLE, LAST}


def test_a_comparison_takes_for_different_what_a_pack_cannot_tell(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """S38."""

    class Disk(Looked):
        def zeros(self, start: int, stop: int) -> Any:
            del start, stop
            return EMPTY

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(comparison, "looking", lambda _look: Disk(scene))
    job = CompareJob(
        store=StoreAddress(objects=DirectoryAddress(root="/nowhere"), store_id=scene.store.store_id),
        manifest=cast("str", scene.row(LAST).manifest), disk=Look(file="/nowhere"), start_block=0,
        seconds_max=60.0, found=str(tmp_path / "found"), yielding=False,
    )  # fmt: skip
    assert not len(read_ranges(comparison.compare(job, scene.store).found))
    bad = scene.packs_of(FIRST)[0].object
    scene.flip(bad, -80)
    result = comparison.compare(job, scene.store)
    reader = SnapshotReader.open(scene.store, job.manifest)
    seen = reader.visible(0, BLOCKS)
    hidden = {
        block for block in range(BLOCKS)
        if seen.frames[block] >= 0
        and reader.packs[int(seen.table.packs[seen.frames[block]])].pack == result.doubtful_packs[0]
    }  # fmt: skip
    assert hidden
    found = {block for start, stop in read_ranges(result.found).tolist() for block in range(start, stop)}
    assert found == hidden

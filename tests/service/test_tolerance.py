"""One damaged object in the store must not end the snapshots of a disk: what it hides is stored or compared anew."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self, cast

import pytest
from sqlalchemy import Connection

from drystone.catalog import disks, packs, proofs, snapshots
from drystone.domain import tracking as algebra
from drystone.domain.blocks import BLOCK_BYTES, EMPTY
from drystone.domain.snapshot import Snapshot
from drystone.domain.tracking import TrackingState
from drystone.engine import checkpoints
from drystone.objects.memory import MemoryStore
from drystone.service.jobs.rollback import Rollback
from drystone.service.rows.deletions import mark_deleting
from drystone.snapstore.reader import SnapshotReader
from drystone.transfer import comparison
from drystone.transfer.jobs import CompareJob, Look, StoreAddress
from drystone.transfer.ranges_file import read_ranges
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


def flip(scene: Scene, name: str, at: int) -> bytes:
    """Damage an object; return what it was."""
    good = bytes(scene.objects.get(name))
    raw = bytearray(good)
    raw[at] ^= 1
    MemoryStore.replace(scene.objects, name, bytes(raw))
    return good


def row(scene: Scene, name: Any) -> Snapshot:
    found = scene.db.read_sync(lambda conn: snapshots.get(conn, name))
    assert found is not None
    return found


def first_packs(scene: Scene) -> list[str]:
    session = row(scene, FIRST).session_id
    assert session is not None
    return [pack.object for pack in scene.db.read_sync(lambda conn: packs.of_session(conn, session))]


def lose_tracking(scene: Scene) -> None:
    def lose(conn: Connection) -> None:
        assert disks.compare_and_set(conn, DISK, expected={}, values={"tracking": TrackingState.LOST, "carry": ()})

    scene.db.write_sync(lose)


def shown(scene: Scene) -> bool:
    """Whether the new snapshot shows what was frozen."""
    reader = SnapshotReader.open(scene.store, cast("str", row(scene, NEW).manifest))
    return bool(reader.read(0, BLOCKS * BLOCK_BYTES) == scene.truth[NEW][: BLOCKS * BLOCK_BYTES])


def doubted(scene: Scene) -> set[str]:
    """What a scrub is to look at although no day of it has come."""
    found = scene.db.read_sync(lambda conn: proofs.packs_due(conn, 0.0, NOW, 100))
    rows = scene.db.read_sync(lambda conn: proofs.snapshots_due(conn, 0.0, NOW, 100))
    return {pack.object for pack in found} | {one.id for one in rows}


def reason(scene: Scene) -> str:
    told = row(scene, NEW).record.tracking_reason
    manifest = SnapshotReader.open(scene.store, cast("str", row(scene, NEW).manifest)).manifest
    assert manifest.record.tracking_reason == told
    return told


@pytest.mark.parametrize("gone", [False, True])
def test_the_audit_leaves_out_what_an_old_pack_cannot_tell(scene: Scene, *, gone: bool) -> None:
    """S38."""
    good = {}
    for name in first_packs(scene):
        good[name] = flip(scene, name, -80)
        if gone:
            MemoryStore.delete(scene.objects, name)
    freeze(scene)
    run(scene, take)
    made = row(scene, NEW)
    assert made.state.value == "NORMAL"
    assert made.record.tracking == "delta"
    assert not made.record.audit_lies
    assert "the audit left out" in reason(scene)
    assert doubted(scene)
    assert doubted(scene) <= set(good)
    for name, raw in good.items():
        MemoryStore.replace(scene.objects, name, raw)
    assert shown(scene)


@pytest.mark.parametrize("gone", [False, True])
def test_a_rescan_stores_anew_what_an_old_pack_cannot_tell(scene: Scene, *, gone: bool) -> None:
    """S38."""
    lose_tracking(scene)
    for name in first_packs(scene):
        flip(scene, name, -80)
        if gone:
            MemoryStore.delete(scene.objects, name)
    freeze(scene)
    run(scene, take)
    # The snapshot needs nothing of the damaged packs any more.
    assert shown(scene)
    assert row(scene, NEW).record.tracking == "rescan"
    assert "stored anew" in reason(scene)
    assert row(scene, NEW).parent_id == LAST
    assert doubted(scene)


def test_a_carry_over_that_cannot_be_read_makes_a_rescan(scene: Scene) -> None:
    """S38."""
    run(scene, deleting(LAST))
    disk = scene.db.read_sync(lambda conn: disks.get(conn, DISK))
    assert disk is not None
    assert disk.carry
    for name in disk.carry:
        flip(scene, name, 60)
    freeze(scene)
    run(scene, take)
    assert shown(scene)
    assert row(scene, NEW).record.tracking == "rescan"
    assert row(scene, NEW).parent_id == MIDDLE
    assert "carry-over" in reason(scene)
    # Nothing that tracking said was a lie, and nobody is suspect for it.
    assert not row(scene, NEW).record.audit_lies
    after = scene.db.read_sync(lambda conn: disks.get(conn, DISK))
    assert after is not None
    assert (after.base_snapshot_id, after.tracking, after.carry) == (NEW, TrackingState.LIVE, frozenset())


@pytest.mark.parametrize("bad", ["page", "directory", "manifest"])
def test_on_a_base_that_cannot_be_read_nothing_is_built(scene: Scene, bad: str) -> None:
    """S38."""
    lose_tracking(scene)
    base = row(scene, LAST)
    if bad == "manifest":
        flip(scene, cast("str", base.manifest), 20)
    else:
        flip(scene, base.maps[-1], 60 if bad == "page" else -80)
    freeze(scene)
    run(scene, take)
    assert shown(scene)
    made = row(scene, NEW)
    assert (made.record.tracking, made.parent_id, len(made.maps)) == ("full", None, 1)
    manifest = SnapshotReader.open(scene.store, cast("str", made.manifest)).manifest
    assert (manifest.base, manifest.ancestry) == (None, ())
    assert f"without {LAST}" in reason(scene)
    # Deleted, its whole map is carried: it differs from nothing at all in no other block.
    scene.db.write_sync(lambda conn: mark_deleting(conn, scene.made, made, request_id="r", at=NOW))
    disk = scene.db.read_sync(lambda conn: disks.get(conn, DISK))
    assert disk is not None
    assert (disk.base_snapshot_id, disk.carry) == (None, frozenset({made.maps[0]}))


def test_maps_that_cannot_be_merged_stay_as_they_are(scene: Scene) -> None:
    maps = row(scene, LAST).maps
    good = flip(scene, maps[1], 60)
    freeze(scene)
    run(scene, take)
    made = row(scene, NEW)
    assert made.state.value == "NORMAL"
    assert made.maps[1:] == maps
    assert "could not be merged" in reason(scene)
    assert {LAST, MIDDLE} <= doubted(scene)
    # The scrub, which had read these maps a moment ago, reads them again and tells the damage.
    scene.made = replace(scene.made, clock=lambda: NOW + 1.0)
    scrub: Any = scrub_of(scene)
    scrub._maps = dict.fromkeys(made.maps, (NOW + 1.0, None))
    run(scene, lambda _scene: scrub.once())
    assert row(scene, LAST).damaged
    MemoryStore.replace(scene.objects, maps[1], good)
    assert shown(scene)


def test_a_rollback_whose_path_cannot_be_read_compares_everything(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S38."""
    monkeypatch.setattr(checkpoints, "read", lambda _path: (None, EMPTY))
    monkeypatch.setattr(checkpoints, "identity", lambda _path: None)
    monkeypatch.setattr(algebra, "checkpoint_fault", lambda *_: None)
    disk = scene.db.read_sync(lambda conn: disks.get(conn, DISK))
    assert disk is not None
    disk = replace(disk, tracking=TrackingState.STOPPED, bitmap=None, daemon=None)
    rollback = Rollback(scene.made, cast("Any", None))
    assert asyncio.run(rollback._may_differ(disk, FIRST)) is not None
    flip(scene, cast("str", row(scene, MIDDLE).delta_map), 60)
    assert asyncio.run(rollback._may_differ(disk, FIRST)) is None
    assert doubted(scene) == {MIDDLE, LAST}


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
        store=StoreAddress(root="/nowhere", store_id=scene.store.store_id, floor_bytes=0),
        manifest=cast("str", row(scene, LAST).manifest), disk=Look(file="/nowhere"), start_block=0,
        seconds_max=60.0, found=str(tmp_path / "found"), yielding=False,
    )  # fmt: skip
    assert not len(read_ranges(comparison.compare(job, scene.store).found))
    bad = first_packs(scene)[0]
    flip(scene, bad, -80)
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

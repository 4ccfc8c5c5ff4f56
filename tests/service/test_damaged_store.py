"""What a damaged or missing object must not hold up: deletions, collection, compaction and proofs of the others."""

import asyncio
from typing import Any

import pytest

from drystone.catalog import operations, packs, snapshots
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import SnapshotId
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.snapshot import SnapshotState
from drystone.service.upkeep import collection, compaction
from drystone.snapstore.living import Living
from drystone.snapstore.packs import open_pack
from drystone.transfer import garbage
from drystone.transfer.store_jobs import CollectJob, DeathsJob
from tests.memory_store import MemoryStore
from tests.sealed_stores import reopen
from tests.service import parts
from tests.service.store_world import World, consistent, packs_in_store
from tests.service.test_compaction import compaction_of, delete
from tests.snapstore.model_snapshots import STORE_ID

FIRST, MIDDLE, LAST = (SnapshotId(f"snap-{number:08d}") for number in range(3))


def compact_all(world: World, made: Any) -> None:
    asyncio.run(parts.compaction(made).once())
    found = world.db.read_sync(compaction.running)
    if found is not None:
        asyncio.run(parts.compact(made).run(found))


def nothing_dead(world: World, made: Any) -> None:
    """No pack holds a block that no living snapshot shows."""
    consistent(world)
    living = Living.open(made.store, world.db.read_sync(collection.living_manifests))
    for name in packs_in_store(world):
        index = open_pack(made.store, name).index
        assert (living.mask(index) | index.dead).all(), name


# --- deletion ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [False, True])
def test_a_snapshot_goes_although_an_index_is_damaged(world: World, *, gone: bool) -> None:
    made = world.open()
    good = {}
    for pack in world.packs_of(FIRST):
        good[pack.object] = world.flip(pack.object, -80)
        if gone:
            MemoryStore.delete(world.objects, pack.object)
    delete(made, FIRST)
    assert world.row(FIRST).state is SnapshotState.GHOST
    assert {one.kind for one in world.db.read_sync(operations.unfinished)} <= {OperationKind.COMPACT}
    dying = [pack for pack in world.db.read_sync(packs.everything) if pack.dead_blocks]
    assert all(pack.dead_bytes for pack in dying)
    # What is not known to be whole is told to the scrub, and is neither deleted nor written again.
    assert world.doubted() & set(good)
    assert gone or set(good) <= packs_in_store(world).keys()
    for name, raw in good.items():
        MemoryStore.replace(world.objects, name, raw)
    made.kept.faulty_packs.clear()
    compact_all(world, made)
    world.check()
    nothing_dead(world, made)


@pytest.mark.parametrize("gone", [False, True])
def test_a_snapshot_goes_although_its_map_is_damaged(world: World, *, gone: bool) -> None:
    made = world.open()
    name = world.row(MIDDLE).delta_map
    assert name is not None
    good = world.flip(name, 60)
    if gone:
        MemoryStore.delete(world.objects, name)
    before = packs_in_store(world)
    delete(made, MIDDLE)
    assert world.row(MIDDLE).state is SnapshotState.GHOST
    # L7: the last one lists that map, too: nothing of the store goes while that cannot be read.
    assert packs_in_store(world) == before
    assert world.doubted() >= {LAST}
    MemoryStore.replace(world.objects, name, good)
    world.check()
    # What nobody could count is found by who looks, and nothing else goes.
    compact_all(world, made)
    world.check()
    nothing_dead(world, made)
    delete(made, FIRST)
    compact_all(world, made)
    world.check()
    nothing_dead(world, made)


@pytest.mark.parametrize("bad", ["damaged", "gone"])
def test_a_snapshot_goes_although_its_manifest_is_damaged(world: World, bad: str) -> None:
    made = world.open()
    name = world.row(LAST).manifest
    assert name is not None
    world.flip(name, 30)
    if bad == "gone":
        MemoryStore.delete(world.objects, name)
    delete(made, LAST)
    found = world.db.read_sync(lambda conn: snapshots.get(conn, LAST))
    assert found is None or found.state is SnapshotState.GHOST
    compact_all(world, made)
    world.check()
    nothing_dead(world, made)


def test_an_outage_is_no_damage(world: World) -> None:
    made = world.open()

    class Away(MemoryStore):
        def get_range(self, name: str, start: int, stop: int) -> bytes:
            if "/packs/" in name:
                raise UnavailableError("not now")
            return MemoryStore.get_range(self, name, start, stop)

    first, near = world.row(FIRST).manifest, world.row(MIDDLE).manifest
    assert first is not None
    assert near is not None
    job = DeathsJob(store=made.kept.address(), manifest=first, near=(near,))
    away = reopen(Away(world.objects.content()), STORE_ID)
    assert sum(garbage.deaths(job, made.store).bytes_by_pack.values()) > 0
    with pytest.raises(UnavailableError):
        garbage.deaths(job, away)


def test_a_pack_that_cannot_be_judged_keeps_no_other(world: World) -> None:
    """S14."""
    made = world.open()
    names = [pack.object for pack in world.db.read_sync(packs.everything)]
    bad = world.packs_of(LAST)[0].object
    job = CollectJob(store=made.kept.address(), packs=tuple(names), living=())
    assert garbage.collect(job, made.store, lambda _done, _total: None).dead == tuple(names)
    world.flip(bad, -80)
    result = garbage.collect(job, made.store, lambda _done, _total: None)
    assert (set(result.dead), set(result.faults)) == (set(names) - {bad}, {bad})
    others = {pack.object for pack in world.packs_of(MIDDLE)}
    delete(made, LAST)
    assert bad in made.kept.faulty_packs
    assert bad in world.doubted()
    delete(made, MIDDLE)
    assert bad in packs_in_store(world)
    assert not packs_in_store(world).keys() & others
    world.check()


# --- compaction -------------------------------------------------------------------------------------------------------


def test_a_missing_pack_keeps_no_other_from_being_written_again(world: World) -> None:
    made = world.open()
    delete(made, FIRST)
    delete(made, MIDDLE)
    candidates = world.db.read_sync(lambda conn: packs.dying(conn, 0.2, 100))
    assert len(candidates) > 1
    good = bytes(world.objects.get(candidates[0].object))
    MemoryStore.delete(world.objects, candidates[0].object)
    operation = compaction_of(world.db)
    asyncio.run(parts.compact(made).run(operation))
    ended = world.db.read_sync(lambda conn: operations.get(conn, operation.id))
    assert ended is not None
    assert ended.state is OperationState.DONE
    now = {pack.id: pack.object for pack in world.db.read_sync(packs.everything)}
    assert now[candidates[0].id] == candidates[0].object
    assert all(now.get(pack.id) != pack.object for pack in candidates[1:])
    assert list(made.kept.faulty_packs) == [candidates[0].object]
    assert world.doubted() == {candidates[0].object}
    MemoryStore.replace(world.objects, candidates[0].object, good)
    world.check()

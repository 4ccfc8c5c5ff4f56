"""Ghosts go with the last thing that needs them, whatever that was, and their maps with them (L1, L2, S205)."""

import asyncio
import functools

from sqlalchemy import Connection

from drystone.catalog import disks, packs, snapshots
from drystone.domain.ids import SnapshotId
from drystone.domain.snapshot import SnapshotState
from drystone.service.rows.trees import prune_ghosts
from tests.catalog.catalog_values import disk
from tests.service import parts
from tests.service.store_world import World

FIRST, MIDDLE, LAST = (SnapshotId(f"snap-{number:08d}") for number in range(3))


def maps_left(world: World) -> set[str]:
    return {name for name in world.objects.content() if "/maps/" in name}


def drop_packs(world: World, name: SnapshotId) -> None:
    """Have all packs that a snapshot wrote be gone, as a compaction would."""
    for one in world.packs_of(name):
        world.db.write_sync(functools.partial(packs.delete, key=one.id))
        world.objects.delete(one.object)


def bury(world: World) -> None:
    """Have all three be ghosts; only what the last one wrote is there still."""

    def change(conn: Connection) -> None:
        for name in (FIRST, MIDDLE, LAST):
            snapshots.compare_and_set(conn, name, expected={}, values={"state": SnapshotState.GHOST})

    world.db.write_sync(change)
    for name in (FIRST, MIDDLE):
        drop_packs(world, name)
    for stale in [one for one in world.objects.content() if one.endswith(".manifest")]:
        world.objects.delete(stale)


def test_a_ghost_with_packs_stays_and_so_do_those_above_it(world: World) -> None:
    world.open()
    bury(world)
    world.db.write_sync(lambda conn: prune_ghosts(conn, LAST))
    assert {row.id for row in world.db.read_sync(snapshots.everything)} == {FIRST, MIDDLE, LAST}
    world.close()


def test_ghosts_and_their_maps_go_after_the_last_pack(world: World) -> None:
    made = world.open()
    bury(world)
    compaction = parts.compaction(made)
    asyncio.run(compaction.once())
    assert maps_left(world)
    drop_packs(world, LAST)
    asyncio.run(compaction.once())
    assert world.db.read_sync(snapshots.everything) == []
    assert not maps_left(world)
    world.close()


def test_a_carried_map_goes_after_the_disk_that_carried_it(world: World) -> None:
    made = world.open()
    carried = world.row(LAST).delta_map
    assert carried is not None
    based = disk(carry=frozenset({carried}))
    world.db.write_sync(lambda conn: disks.insert(conn, based))
    bury(world)
    drop_packs(world, LAST)
    compaction = parts.compaction(made)
    asyncio.run(compaction.once())
    assert carried in maps_left(world)
    let_go = {"carry": frozenset[str]()}
    world.db.write_sync(lambda conn: disks.compare_and_set(conn, based.id, expected={}, values=let_go))
    asyncio.run(compaction.once())
    assert not maps_left(world)
    world.close()

"""What was given up lands late: of a deleted snapshot it is deleted again, whoever finds it (S209)."""

import asyncio

import pytest
from sqlalchemy import Connection, update

from drystone.catalog import operations, sessions, snapshots
from drystone.catalog.schema import session as session_table
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.operation import Operation
from drystone.service.rows.deletions import mark_deleting
from drystone.service.transactions import Change
from drystone.service.upkeep import collection
from tests.memory_store import MemoryStore
from tests.service import parts
from tests.service.parts import ServerParts
from tests.service.store_world import World

LAST = SnapshotId("snap-00000002")


def deleted(world: World, made: ServerParts) -> tuple[SessionId, dict[str, bytes]]:
    """Delete the last snapshot; return its session, and what the store had of it."""
    row = world.row(LAST)
    assert row.session_id is not None
    session = row.session_id

    def told(conn: Connection) -> None:
        # As a server writes it; this world's rows are of an older one.
        conn.execute(update(session_table).where(session_table.c.id == session).values(snapshot_id=LAST))

    world.db.write_sync(told)
    before = {name: raw for name, raw in world.objects.content().items() if session in name}

    def mark(change: Change) -> list[Operation]:
        mark_deleting(change, row, request_id="r")
        return change.begun

    async def delete() -> None:
        for operation in await made.transactions.change(mark):
            await parts.delete_snapshot(made).run(operation)

    asyncio.run(delete())
    assert world.db.read_sync(lambda conn: snapshots.get(conn, LAST)) is None
    assert not [name for name in world.objects.content() if session in name]
    return session, before


def test_a_manifest_that_comes_back_is_deleted_again(world: World) -> None:
    made = world.open()
    session, before = deleted(world, made)
    (name,) = (one for one in before if one.endswith(".manifest"))
    MemoryStore.put(world.objects, name, before[name])
    made.kept.claimed.manifests_known_at = None
    assert asyncio.run(collection.stopped(made.transactions, made.kept)) is None
    assert name not in world.objects.content()
    # Where no row says that this catalog deleted it, somebody may have put it back: it stops collection.
    MemoryStore.put(world.objects, name, before[name])
    world.db.write_sync(lambda conn: operations.prune(conn, float("inf"), 100))
    made.kept.claimed.manifests_known_at = None
    assert session in str(asyncio.run(collection.stopped(made.transactions, made.kept)))
    assert name in world.objects.content()
    world.close()


@pytest.mark.parametrize("known", [True, False])
def test_packs_and_maps_that_come_back_go_with_their_sessions_row(world: World, *, known: bool) -> None:
    made = world.open()
    session, before = deleted(world, made)
    for name, raw in before.items():
        MemoryStore.put(world.objects, name, raw)
    if not known:
        world.db.write_sync(lambda conn: operations.prune(conn, float("inf"), 100))
    assert asyncio.run(parts.sweep(made).forget_spent()) == known
    assert bool([name for name in world.objects.content() if session in name]) != known
    assert (world.db.read_sync(lambda conn: sessions.get(conn, session)) is None) == known
    world.check()
    world.close()

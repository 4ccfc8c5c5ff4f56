"""Sessions that have ended: what is left of them goes, and then they do."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection

from drystone.catalog import packs, sessions, snapshots
from drystone.domain.ids import PackId, SessionId, SnapshotId
from drystone.domain.session import Session, SessionState
from drystone.objects.memory import MemoryStore
from drystone.service import sweep
from tests.service.store_world import World, build_world
from tests.snapstore.model_snapshots import STORE_ID

READER, WRITER, LATE = (SessionId(digit * 32) for digit in "def")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build_world(tmp_path / "catalog.db")


def add(conn: Connection, name: SessionId, *, ended: float, state: SessionState = SessionState.COMMITTED) -> None:
    sessions.open(conn, Session(id=name, kind="x", created_at=ended), [])
    sessions.end(conn, name, state, at=ended)


def left(conn: Connection) -> set[SessionId]:
    return {one.id for state in SessionState for one in sessions.in_state(conn, state)}


def test_sessions_of_which_nothing_is_left_are_forgotten_a_week_later(world: World) -> None:
    made = world.open()
    now = made.clock()

    def fill(conn: Connection) -> None:
        add(conn, READER, ended=now - sweep.KEPT_SECONDS - 1)
        add(conn, WRITER, ended=now - sweep.KEPT_SECONDS - 1, state=SessionState.ADOPTED)
        add(conn, LATE, ended=now - sweep.KEPT_SECONDS + 1)

    world.db.write_sync(fill)
    before = world.db.read_sync(left)
    name = f"{STORE_ID}/maps/{WRITER}/{'0' * 32}"
    MemoryStore.put(world.objects, name, b"a map that something may name")
    assert asyncio.run(sweep.forget_spent(made)) == 1
    assert world.db.read_sync(left) == before - {READER}, "snapshots and packs name the first three"
    MemoryStore.delete(world.objects, name)
    assert asyncio.run(sweep.forget_spent(made)) == 1
    assert world.db.read_sync(left) == before - {READER, WRITER}
    assert asyncio.run(sweep.forget_spent(made)) == 0
    world.close()


def test_a_session_stays_while_a_row_names_it(world: World) -> None:
    made = world.open()
    name = SnapshotId("snap-00000000")
    row = world.db.read_sync(lambda conn: snapshots.get(conn, name))
    assert row is not None
    assert row.session_id is not None
    writer = row.session_id
    for kept in [one for one in world.objects.content() if writer in one]:
        MemoryStore.delete(world.objects, kept)
    assert asyncio.run(sweep.forget_spent(made)) == 0
    world.db.write_sync(lambda conn: snapshots.delete(conn, name))
    assert asyncio.run(sweep.forget_spent(made)) == 0, "its packs have rows"
    found = world.db.read_sync(lambda conn: packs.of_session(conn, writer))
    world.db.write_sync(lambda conn: [packs.delete(conn, PackId(pack.id)) for pack in found])
    assert asyncio.run(sweep.forget_spent(made)) == 1
    world.close()


def test_what_rows_name_is_not_swept_although_its_session_was_fenced(world: World) -> None:
    """A catalog that an earlier version reconciled has such rows (S61)."""
    made = world.open()
    name = SnapshotId("snap-00000001")

    def fenced(conn: Connection) -> None:
        row = snapshots.get(conn, name)
        assert row is not None
        assert row.session_id is not None
        for pack in packs.of_session(conn, row.session_id):
            packs.delete(conn, pack.id)
        sessions.delete(conn, row.session_id)
        add(conn, row.session_id, ended=made.clock(), state=SessionState.FENCED)
        add(conn, WRITER, ended=made.clock(), state=SessionState.FENCED)

    world.db.write_sync(fenced)
    before = set(world.objects.content())
    MemoryStore.put(world.objects, f"{STORE_ID}/maps/{WRITER}/{'0' * 32}", b"what a fenced writer left")
    asyncio.run(sweep.sweep(made))
    assert set(world.objects.content()) == before
    world.check()
    world.close()


def test_nothing_is_forgotten_by_a_catalog_that_may_not_delete(world: World) -> None:
    made = world.open()
    world.db.write_sync(lambda conn: add(conn, READER, ended=1.0))
    MemoryStore.replace(world.objects, f"{STORE_ID}/owner", b'{"format":1,"owner":"another"}')
    assert asyncio.run(sweep.forget_spent(made)) == 0
    world.close()

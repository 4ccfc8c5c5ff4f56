"""What was given up lands late: of what was deleted it is deleted again, whoever finds it (S209, S210)."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, delete, update

from drystone.catalog import meta, operations, packs, sessions, snapshots
from drystone.catalog.schema import session as session_table
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.late_writes import Made
from drystone.domain.operation import Operation
from drystone.domain.session import Session, SessionState
from drystone.domain.snapshot import SnapshotState
from drystone.service.rows import troubles
from drystone.service.rows.deletions import mark_deleting
from drystone.service.transactions import Change
from drystone.service.upkeep import collection, late_writes, recovery, sweep
from drystone.service.upkeep.evidence import Evidence, Report
from drystone.snapstore.claims import claimed_epoch
from drystone.snapstore.deletion import put_tombstone
from drystone.snapstore.inventory import DELETED, take_inventory
from drystone.snapstore.manifests import list_shelf
from tests.memory_store import MemoryStore
from tests.service import parts
from tests.service.parts import ServerParts
from tests.service.records_world import NOW
from tests.service.store_world import World

FIRST, LAST = SnapshotId("snap-00000000"), SnapshotId("snap-00000002")
WEEK = sweep.KEPT_SECONDS


def named(world: World, name: SnapshotId) -> SessionId:
    """Have a session's row say what it wrote, as a server writes it; this world's rows are of an older one."""
    session = world.row(name).session_id
    assert session is not None

    def told(conn: Connection) -> None:
        conn.execute(update(session_table).where(session_table.c.id == session).values(snapshot_id=name))

    world.db.write_sync(told)
    return session


def deleted(world: World, made: ServerParts, name: SnapshotId = LAST) -> tuple[SessionId, dict[str, bytes]]:
    """Delete a snapshot; return its session, and what the store had of it."""
    session, row = named(world, name), world.row(name)
    before = {name: raw for name, raw in world.objects.content().items() if session in name}

    def mark(change: Change) -> list[Operation]:
        mark_deleting(change, row, request_id="r")
        return change.begun

    async def run() -> None:
        for operation in await made.transactions.change(mark):
            await parts.delete_snapshot(made).run(operation)

    asyncio.run(run())
    return session, before


def stopped(made: ServerParts) -> str | None:
    """Look at all manifests, as after a start."""
    made.kept.claimed.manifests_known_at = None
    return asyncio.run(collection.stopped(made.transactions, made.kept))


def forgotten(made: ServerParts, *, after: float) -> int:
    made.transactions.steady = lambda: NOW + after
    return asyncio.run(parts.sweep(made).forget_spent())


def left(world: World, session: SessionId) -> list[str]:
    """What the store has of a session."""
    return [name for name in world.objects.content() if session in name]


def recovered(world: World, made: ServerParts) -> Report:
    """Lose the catalog, and make one from the store; nobody needs to confirm it."""

    def lose(conn: Connection) -> None:
        for table in ("snapshot", "pack", "operation", "session"):
            conn.execute(delete(session_table.metadata.tables[table]))

    world.db.write_sync(lose)
    evidence = Evidence(
        inventory=take_inventory(made.store), accounts=(), found=(), zone="z", store_epoch=claimed_epoch(made.store),
        reason="recovered",
    )  # fmt: skip
    keys = evidence.new_keys(made.ids, at=NOW)
    report = made.transactions.change_sync(lambda change: recovery.reconcile(change, evidence, keys))
    world.db.write_sync(lambda conn: meta.remove(conn, troubles.HELD))
    return report


def test_a_tombstone_is_there_before_the_manifest_goes_and_goes_last(world: World) -> None:
    made = world.open()
    session, before = deleted(world, made)
    tombstone = made.store.tombstone_name(LAST, session)
    changes = [name for _, name in world.objects.changes if session in name and "/snapshots/" in name]
    assert changes == [tombstone, made.store.manifest_name(LAST, session)]
    assert left(world, session) == [tombstone]
    row = world.db.read_sync(lambda conn: sessions.get(conn, session))
    assert row is not None
    assert row.deleted_at == NOW
    assert forgotten(made, after=WEEK - 1) == 0
    assert left(world, session) == [tombstone]
    # What landed meanwhile goes with it, also what no session's name is part of.
    attributes = made.store.attributes_name(LAST)
    for name, raw in {**before, attributes: b"{}"}.items():
        MemoryStore.put(world.objects, name, raw)
    assert forgotten(made, after=WEEK + 1) == 1
    assert left(world, session) == []
    assert attributes not in world.objects.content()
    world.check()
    world.close()


def test_a_manifest_that_comes_back_is_deleted_again(world: World) -> None:
    made = world.open()
    session, before = deleted(world, made)
    (name,) = (one for one in before if one.endswith(".manifest"))
    tombstone = made.store.tombstone_name(LAST, session)

    def forget() -> None:
        world.db.write_sync(lambda conn: conn.execute(update(session_table).values(deleted_at=None)))

    def unbury() -> None:
        MemoryStore.delete(world.objects, tombstone)

    def forget_all() -> None:
        unbury()
        forget()

    cases: list[tuple[Callable[[], None], bool]] = [
        (lambda: None, True),
        (unbury, True),  # by the row
        (forget, True),  # by the tombstone, which has the row say it again
        (forget_all, False),
    ]
    for happens, goes in cases:
        happens()
        MemoryStore.put(world.objects, name, before[name])
        # Where nothing says that it was deleted, somebody may have put it back: it stops collection.
        assert (stopped(made) is None) == goes
        assert (name not in world.objects.content()) == goes
    world.close()


@pytest.mark.parametrize("known", [True, False])
def test_packs_and_maps_that_come_back_go_with_their_sessions_row(world: World, *, known: bool) -> None:
    made = world.open()
    session, before = deleted(world, made)
    for name, raw in before.items():
        MemoryStore.put(world.objects, name, raw)
    if not known:
        world.db.write_sync(lambda conn: conn.execute(update(session_table).values(deleted_at=None)))
    assert forgotten(made, after=WEEK + 1) == known
    assert bool(left(world, session)) != known
    assert (world.db.read_sync(lambda conn: sessions.get(conn, session)) is None) == known
    world.check()
    world.close()


def test_a_pack_that_was_deleted_keeps_its_sessions_row_for_a_week(world: World) -> None:
    """Its snapshot was deleted long before: until then it was written again, by whoever compacts."""
    made = world.open()
    session, _ = deleted(world, made, FIRST)
    assert world.row(FIRST).state is SnapshotState.GHOST, "others show its packs"
    made.transactions.steady = lambda: NOW + 50 * WEEK
    for name in (SnapshotId("snap-00000001"), LAST):
        deleted(world, made, name)
    row = world.db.read_sync(lambda conn: sessions.get(conn, session))
    assert row is not None
    assert row.deleted_at == NOW + 50 * WEEK
    assert forgotten(made, after=51 * WEEK - 1) == 0
    assert forgotten(made, after=51 * WEEK + 1) == 3
    assert list_shelf(made.store).tombstones == frozenset()
    world.close()


def test_a_map_that_others_show_stays_whatever_became_of_its_session(world: World) -> None:
    """L1: after a recovery no ghost tells that the session is needed; its packs may all be gone."""
    made = world.open()
    session, _ = deleted(world, made, FIRST)

    def forget(conn: Connection) -> None:
        for pack in packs.of_session(conn, session):
            packs.delete(conn, pack.id)
        snapshots.delete(conn, FIRST)

    world.db.write_sync(forget)
    before = left(world, session)
    assert forgotten(made, after=WEEK + 1) == 0
    assert left(world, session) == before
    world.check()
    world.close()


def test_while_a_manifest_is_unknown_nothing_of_a_deleted_session_goes(world: World) -> None:
    """S56: it may show a map of that session."""
    made = world.open()
    session, before = deleted(world, made)
    for name, raw in before.items():
        if not name.endswith(".manifest"):
            MemoryStore.put(world.objects, name, raw)
    stray = made.store.manifest_name(SnapshotId("snap-0000dead"), SessionId("0d" * 16))
    MemoryStore.put(world.objects, stray, b"of whom")
    came_back = left(world, session)
    made.kept.claimed.manifests_known_at = None
    assert forgotten(made, after=WEEK + 1) == 0
    assert left(world, session) == came_back
    MemoryStore.delete(world.objects, stray)
    assert forgotten(made, after=WEEK + 1) == 1
    assert left(world, session) == []
    world.close()


def test_a_recovery_without_any_row_obeys_tombstones(world: World) -> None:
    made = world.open()
    session, before = deleted(world, made)
    (name,) = (one for one in before if one.endswith(".manifest"))
    # It landed before the recovery, with all that it shows.
    for one, raw in before.items():
        MemoryStore.put(world.objects, one, raw)
    report = recovered(world, made)
    assert LAST not in report.snapshots_imported
    assert report.left_alone == [f"{name}: {DELETED}"]
    assert stopped(made) is None
    assert name not in world.objects.content()
    # And after it.
    MemoryStore.put(world.objects, name, before[name])
    assert stopped(made) is None
    assert name not in world.objects.content()
    # Its packs have rows, and go as all that are dead. A week later nothing lands any more.
    asyncio.run(parts.compaction(made).begin_if_due())
    for found in world.db.read_sync(operations.unfinished):
        asyncio.run(parts.compact(made).run(found))
    assert forgotten(made, after=WEEK + 1) == 1
    assert left(world, session) == []
    world.close()


def test_a_recovery_asks_for_a_tombstone_that_a_listing_does_not_show(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.open()
    session, before = deleted(world, made)
    for one, raw in before.items():
        MemoryStore.put(world.objects, one, raw)
    tombstone, real = made.store.tombstone_name(LAST, session), MemoryStore.list
    monkeypatch.setattr(
        type(world.objects), "list", lambda self, prefix: (one for one in real(self, prefix) if one.name != tombstone)
    )
    found = take_inventory(made.store)
    assert found.tombstones == {(LAST, session)}
    assert LAST not in {one.manifest.snapshot for one in found.snapshots}
    world.close()


def test_a_catalog_from_before_the_deletion_lets_go_of_what_has_a_tombstone(world: World) -> None:
    """It was being deleted, and may vanish at any moment: a late answer to that is not noticed."""
    made = world.open()
    session = named(world, LAST)
    put_tombstone(made.store, LAST, session)
    evidence = Evidence(
        inventory=take_inventory(made.store), accounts=(), found=(), zone="z", store_epoch=9, reason="reconciled"
    )
    report = made.transactions.change_sync(lambda change: recovery.reconcile(change, evidence, {}))
    assert report.snapshots_gone == [LAST]
    assert world.row(LAST).state is SnapshotState.GHOST
    world.db.write_sync(lambda conn: meta.remove(conn, troubles.HELD))
    assert stopped(made) is None
    assert made.store.manifest_name(LAST, session) not in world.objects.content()
    world.close()


def compacted(world: World, made: ServerParts) -> None:
    """Do what a day does."""
    rounds = parts.compaction(made)
    for _ in range(2):
        asyncio.run(rounds.once())
        for found in world.db.read_sync(operations.unfinished):
            asyncio.run(parts.compact(made).run(found))


@pytest.mark.parametrize("page", [1, 5000])
def test_what_only_its_objects_tell_of_goes_when_it_was_proven_dead(
    world: World, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """It landed after a recovery had looked, or is of a writer that did not know that it had lost the store."""
    monkeypatch.setattr(late_writes, "PAGE", page)
    made = world.open()
    session, before = deleted(world, made)
    MemoryStore.put(world.objects, made.store.name("packs", "of-nobody"), b"")
    assert forgotten(made, after=WEEK + 1) == 1
    for name, raw in before.items():
        if not name.endswith(".manifest"):
            MemoryStore.put(world.objects, name, raw)
    compacted(world, made)
    assert left(world, session) == []
    assert forgotten(made, after=3 * WEEK) == 1
    world.check()
    world.close()


def test_a_pack_that_no_row_names_stays_if_a_snapshot_shows_it(world: World) -> None:
    """L7."""
    made = world.open()
    session = named(world, FIRST)
    there = left(world, session)
    rows = world.packs_of(FIRST)
    world.db.write_sync(lambda conn: [packs.delete(conn, pack.id) for pack in rows])
    compacted(world, made)
    assert {pack.id for pack in world.packs_of(FIRST)} == {pack.id for pack in rows}
    assert len(left(world, session)) == len(there)
    world.check()
    world.close()


def test_what_is_being_written_is_not_adopted(world: World) -> None:
    made = world.open()
    session, before = deleted(world, made)
    open_one = Session(id=SessionId("0e" * 16), kind="snapshot", created_at=NOW, snapshot_id=SnapshotId("snap-new"))
    world.db.write_sync(lambda conn: sessions.open(conn, open_one, []))
    written = {name.replace(session, open_one.id): raw for name, raw in before.items() if ".manifest" not in name}
    for name, raw in written.items():
        MemoryStore.put(world.objects, name, raw)
    compacted(world, made)
    assert set(left(world, open_one.id)) == set(written)
    world.close()


def test_a_tombstone_of_a_snapshot_that_lives_goes(world: World) -> None:
    """It landed late, of a deletion that an older catalog does not know which was put back since."""
    made = world.open()
    session = named(world, LAST)
    put_tombstone(made.store, LAST, session)

    async def while_somebody_deletes() -> None:
        async with made.kept.collection_lock:
            assert await collection.stopped(made.transactions, made.kept) is None

    made.kept.claimed.manifests_known_at = None
    asyncio.run(while_somebody_deletes())
    assert list_shelf(made.store).tombstones == {(LAST, session)}
    assert asyncio.run(collection.stopped(made.transactions, made.kept)) is None, "it is looked at again"
    assert list_shelf(made.store).tombstones == frozenset()
    world.check()
    world.close()


def test_attributes_without_a_manifest_go(world: World) -> None:
    """They landed late, or are of a writer that had lost the store."""
    made = world.open()
    names = [made.store.attributes_name(name) for name in (SnapshotId("snap-0000dead"), LAST)]
    for name in names:
        MemoryStore.put(world.objects, name, b"{}")
    assert stopped(made) is None
    assert [name in world.objects.content() for name in names] == [False, True]
    world.close()


@pytest.mark.parametrize("known", [True, False])
def test_a_tombstone_that_nobody_knows_goes_in_its_time(world: World, *, known: bool) -> None:
    made = world.open()
    orphan: Made = (SnapshotId("snap-0000dead"), SessionId("0d" * 16))
    if known:
        # A recovery has adopted it, as other objects have its name, and the tombstone landed after.
        row = Session(id=orphan[1], kind="adopted", state=SessionState.ADOPTED, created_at=NOW, ended_at=NOW)
        world.db.write_sync(lambda conn: sessions.adopt(conn, row))
    put_tombstone(made.store, *orphan)
    assert stopped(made) is None
    assert forgotten(made, after=WEEK - 1) == 0
    assert list_shelf(made.store).tombstones == {orphan}
    assert forgotten(made, after=WEEK + 1) == 1
    assert list_shelf(made.store).tombstones == frozenset()
    world.close()


def test_what_was_given_up_before_its_manifest_landed_has_a_tombstone_for_a_week(world: World) -> None:
    made = world.open()
    given_up = Session(
        id=SessionId("fe" * 16), kind="snapshot", created_at=NOW, snapshot_id=SnapshotId("snap-0000000f")
    )

    def fenced(conn: Connection) -> None:
        sessions.open(conn, given_up, [])
        sessions.end(conn, given_up.id, SessionState.FENCED, at=NOW)

    world.db.write_sync(fenced)
    asyncio.run(parts.sweep(made).sweep())
    assert list_shelf(made.store).tombstones == {(given_up.snapshot_id, given_up.id)}
    made.transactions.steady = lambda: NOW + WEEK + 1
    asyncio.run(parts.sweep(made).sweep())
    assert list_shelf(made.store).tombstones == frozenset()
    assert world.db.read_sync(lambda conn: sessions.get(conn, given_up.id)) is None
    world.close()

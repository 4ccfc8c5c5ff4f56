"""Deletion, compaction and space over a real catalog and a store in memory, cut off at every step."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from drystone.catalog import disks, operations, pack_rewrites, packs, sessions, snapshots
from drystone.catalog.backup import back_up
from drystone.catalog.database import Database
from drystone.domain.errors import Refusal, UnavailableError
from drystone.domain.ids import DiskId, SessionId, SnapshotId
from drystone.domain.operation import Operation, OperationState
from drystone.domain.pack_rewrite import PackRewrite, RewriteState
from drystone.domain.payloads import CompactionOutcome, CompactPayload
from drystone.domain.session import Session
from drystone.service.rows.deletions import mark_deleting
from drystone.service.transactions import Change
from drystone.service.upkeep import compaction, confirmation, epoch, rewrites
from drystone.snapstore.claims import claimed_epoch
from drystone.snapstore.store import StaleEpochError
from tests.catalog.catalog_values import OWNER, disk
from tests.claims import claim_on
from tests.memory_store import MemoryStore
from tests.service import parts
from tests.service.parts import ServerParts
from tests.service.records_world import NOW, caller, refusal
from tests.service.store_world import CutError, Power, World, consistent, packs_in_store
from tests.snapstore.model_snapshots import STORE_ID
from tests.twice import undone_first

DISK = DiskId("disk-00000001")
ADMIN = caller(OWNER, admin=True)


def delete(made: ServerParts, name: str) -> None:
    """Delete a snapshot to the end; what it makes due is begun, and not run."""

    def mark(change: Change) -> Operation:
        row = snapshots.get(change.conn, SnapshotId(name))
        assert row is not None
        assert mark_deleting(change, row, request_id="r")
        return change.begun[0]

    asyncio.run(parts.delete_snapshot(made).run(asyncio.run(made.transactions.change(mark))))


def test_a_copy_of_the_catalog_from_a_round_is_older_than_the_store(world: World, tmp_path: Path) -> None:
    """It would give up the objects that are in force by now; those before them are gone (S80)."""
    made = world.open()
    delete(made, "snap-00000000")
    delete(made, "snap-00000001")
    copies: list[Path] = []
    real = made.background.run

    async def run(job: Any, result: Any) -> Any:
        copies.append(back_up(world.path, tmp_path / "copies", kind="catalog", at=NOW, kept=3))
        return await real(job, result)

    cast("Any", made.background).run = run
    asyncio.run(parts.compact(made).run(compaction_of(world.db)))
    assert claimed_epoch(made.store) == world.db.read_sync(epoch.current)
    world.close()
    shutil.copy(copies[0], world.path)
    again = world.open()
    old = world.db.read_sync(pack_rewrites.everything)
    assert [row.old_object in world.content for row in old] == [False] * len(old) != []
    assert world.db.read_sync(epoch.current) < claimed_epoch(again.store)
    world.close()


def test_the_last_object_of_a_pack_is_never_deleted(world: World) -> None:
    """S81."""
    made = world.open()
    pack = made.db.read_sync(packs.everything)[0]
    other = made.store.pack_name(pack.session_id, pack.id, "ab" * 16)
    made.store.objects.put(other, made.store.objects.get(pack.object))
    made.store.objects.delete(pack.object)
    row = PackRewrite(
        id="ab" * 16, pack_id=pack.id, old_object=pack.object, new_object=other, state=RewriteState.ABANDONED,
        created_at=NOW, ended_at=NOW,
    )  # fmt: skip
    made.db.write_sync(lambda conn: pack_rewrites.insert(conn, row))
    asyncio.run(rewrites.settle(made.transactions, made.kept))
    assert other in world.objects.content()
    made.store.objects.put(pack.object, made.store.objects.get(other))
    asyncio.run(rewrites.settle(made.transactions, made.kept))
    assert other not in world.objects.content()
    world.close()


def test_a_store_that_was_taken_over_is_left_alone(world: World) -> None:
    """Asked right before the first delete, whatever was found before (F6)."""
    made = world.open()
    asyncio.run(epoch.publish(made.transactions, made.kept))
    claim_on(made.store, owner="ff" * 16)
    before = world.objects.content()
    for _ in range(2):
        with pytest.raises(StaleEpochError, match="another catalog at epoch"):
            asyncio.run(epoch.advance(made.transactions, made.kept))
        assert world.objects.content() == before
    assert not asyncio.run(confirmation.may_delete(made.transactions, made.kept))
    world.close()


def test_what_an_older_catalog_would_undo_raises_the_epoch(world: World) -> None:
    made = world.open()
    publication = parts.publication(made)
    kept = SnapshotId("snap-00000001")
    seen = [claimed_epoch(made.store)]

    def change(what: Callable[[Connection], object]) -> None:
        made.db.write_sync(what)
        asyncio.run(publication._publish_epoch())
        seen.append(claimed_epoch(made.store))

    change(lambda conn: snapshots.compare_and_set(conn, kept, expected={}, values={"permanent": True}))
    change(lambda conn: snapshots.compare_and_set(conn, kept, expected={}, values={"deadline_at": NOW}))
    change(lambda conn: disks.insert(conn, disk(id=DiskId("disk-new"))))
    change(lambda conn: disks.compare_and_set(conn, DiskId("disk-new"), expected={}, values={"size_gib": 99}))
    change(lambda conn: disks.delete(conn, DiskId("disk-new")))
    assert seen == sorted(set(seen)), "each is published"
    change(lambda conn: snapshots.compare_and_set(conn, kept, expected={}, values={"percent": 7}))
    assert seen[-1] == seen[-2]
    world.close()


def compaction_of(db: Database) -> Operation:
    found = db.read_sync(compaction.running)
    assert found is not None
    return found


def test_a_deletion_begins_compaction_which_ends_with_nothing_dead(world: World) -> None:
    made = world.open()
    before = sum(packs_in_store(world).values())
    told = asyncio.run(parts.store_space(made).snapshots(ADMIN, ("snap-00000000", "snap-00000001")))
    delete(made, "snap-00000000")
    delete(made, "snap-00000001")
    world.check()
    store = asyncio.run(parts.store_space(made).store(ADMIN))
    removed = before - sum(packs_in_store(world).values())
    assert store.dead_bytes + removed == pytest.approx(told.dead_bytes, rel=0.01)
    assert told.reclaimable_bytes == told.dead_bytes  # half of each pack, and more
    asyncio.run(parts.compact(made).run(compaction_of(world.db)))
    world.check()
    consistent(world)
    assert before - sum(packs_in_store(world).values()) == pytest.approx(told.dead_bytes, rel=0.01)
    shown = asyncio.run(parts.store_space(made).snapshots(ADMIN, ("snap-00000002",))).snapshots[0]
    held = world.db.read_sync(lambda conn: packs.held(conn, [DISK, OWNER]))
    # What is left is its alone. Indexes (1 % of packs as small as these) are no snapshot's.
    assert held[DISK] == held[OWNER] == pytest.approx(shown.unique_bytes + shown.shared_bytes, rel=0.02)
    after = asyncio.run(parts.store_space(made).store(ADMIN))
    assert (after.dead_bytes, after.waiting_bytes) == (0, 0)
    assert after.reclaimed_bytes == before - sum(packs_in_store(world).values())
    assert after.live_bytes / after.stored_bytes >= 0.8
    assert asyncio.run(parts.compaction(made).begin_if_due()) is None
    world.close()


def test_every_cut_of_a_compaction_loses_nothing_and_is_resumed(world: World, tmp_path: Path) -> None:
    """S20."""
    made = world.open()
    delete(made, "snap-00000000")
    delete(made, "snap-00000001")
    world.close()
    base, content = world.path.read_bytes(), dict(world.content)
    for cut in range(200):
        path = tmp_path / str(cut) / "catalog.db"
        path.parent.mkdir()
        path.write_bytes(base)
        one = World(path=path, content=dict(content), truth=world.truth)
        made = one.open(Power(cut))
        operation = compaction_of(one.db)
        try:
            asyncio.run(parts.compact(made).run(operation))
            ended = True
        except CutError:
            ended = False
        one.check()
        one.close()
        made = one.open()
        if not ended:
            asyncio.run(parts.compact(made).run(operation))
        asyncio.run(parts.compaction(made).once())
        one.check()
        consistent(one)
        found = one.db.read_sync(lambda conn, wanted=operation.id: operations.get(conn, wanted))  # type: ignore[misc]
        assert found is not None
        assert found.state is OperationState.DONE
        assert one.db.read_sync(lambda conn: pack_rewrites.in_state(conn, RewriteState.WRITING)) == []
        one.close()
        if ended:
            assert cut >= 8
            return
    pytest.fail("it never came to its end")


def test_what_a_reader_may_hold_is_kept_until_it_has_ended(world: World) -> None:
    """S32."""
    made = world.open()
    delete(made, "snap-00000000")
    session = Session(id=SessionId("ee" * 16), kind="hydrate", created_at=NOW)
    world.db.write_sync(lambda conn: sessions.open(conn, session, [SnapshotId("snap-00000002")]))
    before = set(packs_in_store(world))
    asyncio.run(parts.compact(made).run(compaction_of(world.db)))
    rows = world.db.read_sync(lambda conn: pack_rewrites.in_state(conn, RewriteState.SWITCHED))
    assert rows
    assert {row.old_object for row in rows} <= set(packs_in_store(world)) & before
    told = asyncio.run(parts.store_space(made).store(ADMIN))
    assert told.waiting_bytes == sum(row.old_bytes for row in rows)
    pinned = asyncio.run(parts.store_space(made).snapshots(ADMIN, ("snap-00000002",)))
    assert pinned.dead_bytes > pinned.reclaimable_bytes == 0
    asyncio.run(parts.compaction(made).once())
    assert {row.old_object for row in rows} <= set(packs_in_store(world))
    world.db.write_sync(lambda conn: sessions.commit(conn, session.id, at=NOW))
    asyncio.run(parts.compaction(made).once())
    consistent(world)
    world.check()
    world.close()


def test_nothing_is_collected_from_a_store_that_holds_what_is_not_known(world: World) -> None:
    made = world.open()
    delete(made, "snap-00000000")
    before = packs_in_store(world)
    foreign = f"{STORE_ID}/snapshots/snap-ffffffff/{'f' * 32}.manifest"
    MemoryStore.put(world.objects, foreign, b"somebody's")
    # As after a start, or a day later: then all manifests are listed (S205).
    made.kept.claimed.manifests_known_at = None
    operation = compaction_of(world.db)
    asyncio.run(parts.compact(made).run(operation))
    assert packs_in_store(world) == before
    ended = world.db.read_sync(lambda conn: operations.get(conn, operation.id))
    assert ended is not None
    assert foreign in str(ended.payload_as(CompactPayload).result)
    assert asyncio.run(parts.compaction(made).begin_if_due()) is None
    world.close()


def test_a_pack_that_cannot_be_trusted_is_left_and_not_tried_for_ever(world: World) -> None:
    made = world.open()
    delete(made, "snap-00000000")
    victim = world.db.read_sync(lambda conn: packs.dying(conn, 0.2, 1))[0]
    raw = bytearray(world.objects.get(victim.object))
    raw[-80] ^= 1  # Of its index: a byte of a block may be one that is dead.
    MemoryStore.replace(world.objects, victim.object, bytes(raw))
    asyncio.run(parts.compact(made).run(compaction_of(world.db)))
    assert victim.object in packs_in_store(world)
    assert list(made.kept.faulty_packs) == [victim.object]
    assert asyncio.run(parts.compaction(made).begin_if_due()) is None
    world.close()


def test_packs_are_counted_once_by_a_transaction_that_is_run_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.open()
    delete(made, "snap-00000000")
    monkeypatch.setattr(made.db, "write", undone_first(made.db.write))
    operation = compaction_of(world.db)
    dying = world.db.read_sync(lambda conn: packs.dying(conn, 0.2, 10))
    asyncio.run(parts.compact(made).run(operation))
    ended = world.db.read_sync(lambda conn: operations.get(conn, operation.id))
    assert ended is not None
    outcome = ended.payload_as(CompactPayload).result
    assert isinstance(outcome, CompactionOutcome)
    assert outcome.rewritten_packs == len(dying) > 0
    assert ended.phase == f"{len(dying)} packs written again"
    world.close()


def test_a_job_that_fails_is_tried_again_and_then_ended(world: World) -> None:
    made = world.open()
    delete(made, "snap-00000000")
    operation = compaction_of(world.db)

    async def refuse(*_: object) -> None:
        raise UnavailableError("no worker")

    made.background.run = refuse  # type: ignore[method-assign, assignment]

    async def attempts() -> None:
        with pytest.raises(UnavailableError):
            await parts.compact(made).run(operation)
        for attempt in range(5):
            await parts.compact(made).fail(replace(operation, attempts=attempt), Refusal.INTERNAL, "no worker")

    asyncio.run(attempts())
    ended = world.db.read_sync(lambda conn: operations.get(conn, operation.id))
    assert ended is not None
    assert ended.state is OperationState.FAILED
    assert asyncio.run(parts.compaction(made).begin_if_due()) is None  # for a while
    assert world.db.read_sync(lambda conn: pack_rewrites.in_state(conn, RewriteState.WRITING)) == []
    world.check()
    world.close()


def test_collection_by_hand(world: World) -> None:
    made = world.open()
    space = parts.store_space(made)
    assert refusal(space.collect(caller(), dry_run=True, dead_percent=None)) == Refusal.NOT_ALLOWED
    assert refusal(space.store(caller())) == Refusal.NOT_ALLOWED
    assert refusal(space.collect(ADMIN, dry_run=True, dead_percent=101)) == Refusal.BAD_VALUE
    delete(made, "snap-00000000")
    due = compaction_of(world.db)
    thought = asyncio.run(space.collect(ADMIN, dry_run=True, dead_percent=None))
    assert thought.operation_id is None
    assert thought.packs > 0
    assert thought.dead_bytes > 0
    assert refusal(space.collect(ADMIN, dry_run=False, dead_percent=0)) == Refusal.BUSY
    assert asyncio.run(space.collect(ADMIN, dry_run=False, dead_percent=20)).operation_id == due.id
    assert refusal(space.snapshots(ADMIN, ("snap-00000000",))) == Refusal.NO_SUCH_SNAPSHOT
    assert refusal(space.snapshots(ADMIN, ())) == Refusal.BAD_VALUE
    world.close()

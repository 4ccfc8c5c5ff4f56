"""A bucket keeps objects for a time, whoever deletes them: that is pending, and holds up nothing else (S212)."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from drystone.catalog import operations, packs, snapshots
from drystone.domain.errors import RetainedError
from drystone.domain.ids import SnapshotId
from drystone.domain.operation import Operation, OperationState
from drystone.domain.session import PackState
from drystone.objects.around import Around, Kind
from drystone.objects.contract import ObjectEntry
from drystone.objects.retained import Pending, Waiting
from drystone.service.rows.deletions import mark_deleting
from drystone.service.transactions import Change
from drystone.service.upkeep import epoch
from tests.service import parts
from tests.service.parts import ServerParts
from tests.service.store_world import World

R = TypeVar("R")
LAST = SnapshotId("snap-00000002")
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked(Around):
    """It keeps the objects whose names have this in them."""

    what: set[str]
    asked: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        del sent_bytes
        if kind == "delete" and any(part in name for part in self.what):
            self.asked.append(name)
            raise RetainedError(f"the bucket keeps the object {name}", seconds=2 * HOUR_S)
        return ask()

    def pages(self, prefix: str) -> Iterator[ObjectEntry]:
        self.listed.append(prefix)
        return self.inner.list(prefix)


def locked(made: ServerParts, *what: str) -> tuple[Locked, list[float]]:
    """Have the server's bucket keep some objects; return it, and the time by which the server waits."""
    now = [0.0]
    made.kept.pending = Pending(monotonic=lambda: now[0])
    bucket = Locked(inner=made.store.objects, what=set(what))
    made.kept.proven = replace(made.store, objects=Waiting(inner=bucket, pending=made.kept.pending))
    return bucket, now


async def deleting(world: World, made: ServerParts) -> Operation:
    def mark(change: Change) -> list[Operation]:
        mark_deleting(change, world.row(LAST), request_id="r")
        return change.begun

    (operation,) = await made.transactions.change(mark)
    await parts.delete_snapshot(made).run(operation)
    return operation


def row_of(world: World, operation: Operation) -> Operation:
    found = world.db.read_sync(lambda conn: operations.get(conn, operation.id))
    assert found is not None
    return found


def test_a_snapshot_whose_manifest_is_kept_waits_and_is_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world.open()
    bucket, now = locked(made, ".manifest")
    before = {name for name in world.objects.content() if "/epochs/" not in name}
    later: list[float | None] = []

    async def history() -> Operation:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "call_later", lambda seconds, *_what: later.append(seconds))
        operation = await deleting(world, made)
        # Looked at again and again, the bucket is asked once, and nothing is counted anew.
        counted = world.objects.reads
        for _ in range(5):
            await parts.delete_snapshot(made).run(row_of(world, operation))
        assert world.objects.reads == counted
        assert len(bucket.asked) == 1
        found = row_of(world, operation)
        assert found.state is OperationState.RUNNING
        assert "keeps the object" in str(found.error)
        assert later == [HOUR_S] * 6
        assert before <= set(world.objects.content())
        bucket.what.clear()
        now[0] += 3 * HOUR_S
        await parts.delete_snapshot(made).run(row_of(world, operation))
        return operation

    operation = asyncio.run(history())
    assert row_of(world, operation).state is OperationState.DONE
    assert made.kept.pending.count() == 0
    assert world.db.read_sync(lambda conn: snapshots.get(conn, LAST)) is None
    world.check()
    world.close()


def test_packs_and_maps_that_are_kept_hold_up_no_deletion_and_go_later(world: World) -> None:
    made = world.open()
    session = world.row(LAST).session_id
    assert session is not None
    bucket, now = locked(made, f"packs/{session}", f"maps/{session}")

    def dying(conn: Connection) -> int:
        return len(packs.in_state(conn, PackState.DELETING))

    def epoch_now() -> int:
        return world.db.read_sync(epoch.current)

    async def history() -> None:
        operation = await deleting(world, made)
        assert row_of(world, operation).state is OperationState.DONE
        left = {name for name in world.objects.content() if f"packs/{session}" in name}
        assert set(bucket.asked) == left
        assert made.kept.pending.count() == len(left) > 0
        assert world.db.read_sync(dying) > 0
        at, asked = epoch_now(), len(bucket.asked)
        compaction = parts.compaction(made)
        await compaction.once()
        bucket.listed.clear()
        for _ in range(5):
            await compaction.once()
        assert (len(bucket.asked), bucket.listed) == (asked, []), "it is not asked again before the time"
        assert epoch_now() == at, "and the store is not claimed for it"
        bucket.what.clear()
        now[0] += 3 * HOUR_S
        # With the last pack its ghost goes, and then the map that this named (S205).
        for _ in range(2):
            await parts.compaction(made).once()

    asyncio.run(history())
    assert world.db.read_sync(dying) == 0
    assert not [name for name in world.objects.content() if f"/{session}/" in name]
    assert made.kept.pending.count() == 0
    world.check()
    world.close()


def test_old_claims_that_are_kept_hold_up_no_change(world: World) -> None:
    made = world.open()
    bucket, _now = locked(made, "epochs/")
    for _ in range(3 * epoch.OLD_CLAIMS_MAX):
        asyncio.run(epoch.advance(made.transactions, made.kept))
    assert len(bucket.asked) == len(set(bucket.asked)) > epoch.OLD_CLAIMS_MAX
    world.close()

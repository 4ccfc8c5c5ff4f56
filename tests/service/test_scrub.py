"""What counts as a proof, and since when."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from drystone.catalog import damages, events, packs, snapshots, verification
from drystone.domain.errors import UnavailableError
from drystone.domain.event import EventKind
from drystone.domain.ids import SnapshotId
from drystone.service.operations import Operations
from drystone.service.upkeep.scrub import RECHECK_SECONDS, Scrub
from drystone.snapstore.packs import open_pack
from tests.memory_store import MemoryStore
from tests.service import parts
from tests.service.crash_points import Scene, built, quick_directory, run, scrub_of
from tests.service.records_world import NOW, OWNER, caller
from tests.service.store_world import World
from tests.service.test_compaction import compaction_of, delete

ADMIN = caller(OWNER, admin=True)
SNAPSHOT_DAMAGED, OBJECT_DAMAGED = EventKind.SNAPSHOT_DAMAGED, EventKind.OBJECT_DAMAGED


@pytest.fixture
def scene() -> Iterator[Scene]:
    with quick_directory() as place, built(place) as begin:
        made = begin.copy(begin.content)
        made.open()
        yield made


@pytest.mark.parametrize("read_last", ["packs", "maps"])
def test_what_was_read_before_a_request_is_no_proof_for_it(scene: Scene, read_last: str) -> None:
    """A byte that flips after a pack was read, and before somebody asks for a scrub, must be found by that scrub."""
    time = [NOW + 1.0]
    clock = lambda: time[0]  # noqa: E731 - short
    transactions = parts.transactions(scene.db, clock=clock)
    scene.made = replace(scene.made, clock=clock, steady=clock, monotonic=clock, transactions=transactions)
    scrub: Any = scrub_of(scene)
    read = scrub._read

    async def asked_meanwhile(_scrub: Scrub, **what: Any) -> Any:
        result = await read(**what)
        time[0] += 1.0
        if read_last in what:
            await scrub.request()
            time[0] += 1.0
        return result

    def due() -> verification.VerificationTotals:
        now, before = scene.db.read_sync(scrub.due)
        return scene.db.read_sync(lambda conn: verification.totals(conn, before, now))

    async def act(_scene: Scene) -> None:
        await scrub.request()
        time[0] += 1.0
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Scrub, "_read", asked_meanwhile)
            await scrub.once()
        assert due().packs_due == due().packs
        assert due().snapshots_due == (due().snapshots if read_last == "maps" else 0)
        await scrub.once()
        assert (due().packs_due, due().snapshots_due) == (0, 0)
        assert due().packs > 0
        assert due().snapshots > 0

    run(scene, act)


class NoDisks:
    """Finds no disk that has what a pack lost."""

    async def mend(self, _pack: object) -> None:
        return None


class Rounds:
    """A scrub over a store in memory, and a clock that is set."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.at = NOW + 200_000.0
        clock = lambda: self.at  # noqa: E731 - short
        made = self.world.open()
        transactions = parts.transactions(made.db, clock=clock)
        self.made = replace(
            made, clock=clock, steady=clock, monotonic=clock, transactions=transactions,
            operations=Operations(transactions),
        )  # fmt: skip
        self.scrub = parts.scrub(self.made, NoDisks())

    def once(self, after: float = RECHECK_SECONDS + 100) -> None:
        self.at += after
        asyncio.run(self.scrub.once())

    def damaged(self) -> list[str]:
        """The snapshots that are said to be damaged, which are those of which damage is recorded (S28)."""
        told = [row.id for row in self.world.db.read_sync(snapshots.everything) if row.damaged]
        rows = self.world.db.read_sync(damages.everything)
        assert sorted(told) == sorted({row.snapshot_id for row in rows})
        # S220: the scrub's own transactions say so, and no round besides.
        for kind, subjects in ((SNAPSHOT_DAMAGED, told), (OBJECT_DAMAGED, [row.object for row in rows])):
            there = self.world.db.read_sync(lambda conn, kind=kind: events.all_unresolved(conn, [kind]))  # type: ignore[misc]
            assert {one.subject_id for one in there} == set(subjects)
        return sorted(told)


@pytest.fixture
def rounds(world: World) -> Iterator[Rounds]:
    made = Rounds(world)
    yield made
    made.world.close()


def test_a_snapshot_is_whole_again_when_its_damaged_pack_was_put_back_and_written_again(rounds: Rounds) -> None:
    """S28: the damage went with the object, and what said it must, too."""
    objects, db = rounds.world.objects, rounds.world.db
    delete(rounds.made, "snap-00000000")
    victim = db.read_sync(lambda conn: packs.dying(conn, 0.2, 9))[0]
    good = bytes(objects.get(victim.object))
    index = open_pack(rounds.made.store, victim.object).index
    rounds.world.flip(victim.object, *(int(offset) + 5 for offset in index.offsets[: len(index.counts)]))
    rounds.once()
    assert rounds.damaged()
    MemoryStore.replace(objects, victim.object, good)
    asyncio.run(parts.compact(rounds.made).run(compaction_of(db)))
    rounds.once()
    assert rounds.damaged() == []
    # A row of an earlier version may have stayed so.
    stale = SnapshotId("snap-00000002")
    db.write_sync(lambda conn: snapshots.compare_and_set(conn, stale, expected={}, values={"damaged": True}))
    rounds.once()
    assert rounds.damaged() == []


@pytest.mark.parametrize("kind", ["pack", "map"])
def test_a_request_waits_for_another_look_at_what_is_damaged(rounds: Rounds, kind: str) -> None:
    """Somebody puts a good copy back, and asks: the answer is not that of before."""
    db, world, last = rounds.world.db, rounds.world, SnapshotId("snap-00000002")
    pack = next(one for one in world.packs_of(last) if one.dead_blocks < one.blocks)
    index = open_pack(rounds.made.store, pack.object).index
    name, places = world.row(last).maps[0], [60]
    if kind == "pack":
        name, places = pack.object, [int(offset) + 5 for offset in index.offsets[: len(index.counts)]]
    world.flip(name, *places)
    rounds.once()
    assert {one.kind for one in db.read_sync(damages.everything)} == {kind}

    def waits() -> tuple[int, int]:
        now, before = db.read_sync(rounds.scrub.due)
        found = db.read_sync(lambda conn: verification.totals(conn, before, now))
        assert found.packs == len(db.read_sync(packs.everything))
        return found.packs_due, found.snapshots_due

    assert waits() == (0, 0)
    world.flip(name, *places)
    rounds.at += 1.0
    asyncio.run(rounds.scrub.request())
    rounds.at += 1.0

    async def not_yet(_scrub: Scrub) -> None:
        return None

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Scrub, "_look_after_damage", not_yet)
        rounds.once(after=1.0)
    assert waits() == ((1, 0) if kind == "pack" else (0, 1))
    rounds.once(after=1.0)
    assert waits() == (0, 0)
    assert rounds.damaged() == []


def test_damage_of_maps_stays_recorded_until_they_were_read_again(rounds: Rounds) -> None:
    rows = {row.id: row for row in rounds.world.db.read_sync(snapshots.everything)}
    shared = set.intersection(*(set(row.maps) for row in rows.values()))
    assert len(shared) == 1
    (full,) = shared
    rounds.world.flip(full, 60)
    rounds.once()
    assert rounds.damaged() == sorted(rows)
    rounds.once()
    # One snapshot's turn, and not the others'.
    rounds.scrub._looked_at["snap-00000001"] = 0.0
    rounds.once(after=40.0)
    assert rounds.damaged() == sorted(rows)
    # The store does not answer.

    async def fails(_scrub: Scrub, **_what: object) -> Any:
        raise UnavailableError("the store does not answer")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Scrub, "_read", fails)
        with pytest.raises(UnavailableError):
            rounds.once()
    assert rounds.damaged() == sorted(rows)
    rounds.world.flip(full, 60)
    rounds.once()
    assert rounds.damaged() == []


def test_damage_is_not_called_unseen_while_a_snapshot_cannot_be_asked(rounds: Rounds) -> None:
    """A map that cannot be read for a while hides what a damaged pack hides: that is no proof of the pack."""
    world, first, last = rounds.world, SnapshotId("snap-00000000"), SnapshotId("snap-00000002")
    delete(rounds.made, first)
    full = world.row(last).maps[-1]
    pack = next(one for one in world.packs_of(first) if one.dead_blocks < one.blocks)
    index = open_pack(rounds.made.store, pack.object).index
    world.flip(pack.object, *(offset + 5 for offset in index.offsets[:-1].tolist()))
    world.flip(full, 60)
    rounds.once()
    found = world.db.read_sync(lambda conn: packs.get(conn, pack.id))
    assert found is not None
    assert found.proven_at is None
    # It does not hold up the others, and is not read again and again.
    assert pack.object in rounds.scrub._unreached
    world.flip(full, 60)
    for _ in range(3):
        rounds.once()
    assert {(one.kind, one.object) for one in world.db.read_sync(damages.everything)} == {("pack", pack.object)}
    assert world.row(last).damaged


@pytest.mark.parametrize("what", ["pack", "map"])
def test_damage_is_told_in_the_transaction_that_finds_it(
    rounds: Rounds, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S220: not only when it is looked at again."""

    async def later(_scrub: Scrub, *_what: object) -> None:
        pass

    # Each of a scrub's steps alone.
    for step in ("_look_after_damage", "_verify_snapshots" if what == "pack" else "_verify_packs"):
        monkeypatch.setattr(Scrub, step, later)
    world, first = rounds.world, SnapshotId("snap-00000000")
    if what == "pack":
        (pack, *_) = world.packs_of(first)
        index = open_pack(rounds.made.store, pack.object).index
        world.flip(pack.object, *(offset + 5 for offset in index.offsets[:-1].tolist()))
    else:
        world.flip(world.row(first).maps[-1], 60)
    rounds.once()
    assert rounds.damaged()

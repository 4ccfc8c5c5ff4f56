"""Compaction and exact space against models: what is predicted is freed, what lives is read, what is wrong is found."""

import importlib
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from drystone.codec.pack import Encoding
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import DrystoneError, IntegrityError, ProtocolError
from drystone.domain.ids import SnapshotId
from drystone.objects.address import DirectoryAddress
from drystone.snapstore import space, writer
from drystone.snapstore.compaction import plan_compaction, rewrite_pack
from drystone.snapstore.deletion import delete_manifest
from drystone.snapstore.living import Living
from drystone.snapstore.packs import open_pack, shares
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.scrub import check_pack
from drystone.snapstore.space import Member, tree_space
from drystone.snapstore.store import Store, hex128
from drystone.transfer.addresses import StoreAddress
from drystone.transfer.compaction import compact as compact_job
from drystone.transfer.store_jobs import CompactJob, PackTarget
from tests.memory_store import CutError, MemoryStore
from tests.sealed_stores import reopen
from tests.snapstore.model_snapshots import STORE_ID, new_store, take
from tests.snapstore.test_snapshots_model import BLOCKS, pairs, seen

compact: Any = importlib.import_module("drystone.snapstore.compaction")
"""As a thing to be tampered with, whatever it exports."""
ADDRESS = StoreAddress(objects=DirectoryAddress(root="/nowhere"), store_id=STORE_ID)
History = list[tuple[SnapshotReader, bytes]]


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred blocks make several packs of several frames, and several windows."""
    monkeypatch.setattr(writer, "PACK_BYTES", 120_000)
    monkeypatch.setattr(writer, "FRAME_BLOCKS_MAX", 8)
    monkeypatch.setattr(space, "_WINDOW_ENTRIES", 20)
    monkeypatch.setattr(space, "_VERSIONS_MAX", 90)


def history(rng: random.Random, store: Store, count: int) -> History:
    """Snapshots of data that does not compress: chains, rollbacks, clones."""
    disk = bytearray(rng.randbytes(BLOCKS * BLOCK_BYTES))
    taken = [(take(store, rng, "snap-00000000", disk, [(0, BLOCKS)]), bytes(disk))]
    for number in range(1, count):
        base, content = taken[-1] if rng.random() < 0.7 else rng.choice(taken)
        disk = bytearray(content)
        changed: set[int] = set()
        for _ in range(rng.randrange(1, 6)):
            start = rng.randrange(BLOCKS)
            changed |= set(range(start, min(BLOCKS, start + rng.choice((1, 1, 4, 30)))))
        for block in changed:
            empty = rng.random() < 0.05
            fill = bytes(BLOCK_BYTES) if empty else rng.randbytes(BLOCK_BYTES)
            disk[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = fill
        taken.append((take(store, rng, f"snap-{number:08d}", disk, pairs(changed), base), bytes(disk)))
    return taken


def members(taken: History, living: set[SnapshotId], chosen: set[SnapshotId]) -> list[Member]:
    return [
        Member(
            id=one.manifest.snapshot, parent=one.manifest.base, delta_map=one.manifest.maps[0].object,
            living=one.manifest.snapshot in living, chosen=one.manifest.snapshot in chosen,
        )
        for one, _ in taken
    ]  # fmt: skip


def pack_objects(store: Store) -> list[str]:
    return [entry.name for entry in store.objects.list(store.name("packs", ""))]


def compact_all(store: Store, rng: random.Random, readers: list[SnapshotReader], dead_percent: int = 0) -> None:
    """Compact every pack that is worth it, and delete what is replaced or wholly dead."""
    living = Living(store, [one.manifest for one in readers])
    for name in pack_objects(store):
        opened = open_pack(store, name)
        plan = plan_compaction(opened.index, living.mask(opened.index))
        if not plan.nothing_lives and not plan.worth_it(dead_percent):
            continue
        if not plan.nothing_lives:
            rewrite_pack(store, opened, plan.dead, hex128(rng), rng.randbytes(32))
        store.objects.delete(name)


def stored(store: Store) -> int:
    return sum(entry.size_bytes for entry in store.objects.list(store.name("packs", "")))


@pytest.mark.parametrize("seed", range(6))
def test_what_is_predicted_is_freed_and_what_lives_is_read(seed: int) -> None:
    """L13."""
    rng = random.Random(seed)
    store = new_store(MemoryStore())
    taken = history(rng, store, 9)
    ids = {one.manifest.snapshot for one, _ in taken}
    living = set(ids)
    while living:
        chosen = set(rng.sample(sorted(living), rng.randrange(1, min(4, len(living)) + 1)))
        told = tree_space(store, members(taken, living, chosen))
        before = stored(store)
        for one, _ in taken:
            if one.manifest.snapshot in chosen:
                delete_manifest(store, one.manifest.snapshot, one.manifest.session)
        living -= chosen
        left = [(one, content) for one, content in taken if one.manifest.snapshot in living]
        compact_all(store, rng, [one for one, _ in left])
        freed, predicted = before - stored(store), sum(told.dead_bytes.values())
        # To the byte, but for what a new salt does to an index that is compressed.
        assert abs(freed - predicted) <= 8 * len(told.dead_bytes)
        for one, content in left:
            assert bool(SnapshotReader.open(store, one.manifest.snapshot).read(0, len(content)) == content)
            assert bool(one.read(0, len(content)) == content)  # whose indexes are cached
    assert pack_objects(store) == []


@pytest.mark.parametrize("seed", range(4))
def test_space_equals_brute_force(seed: int) -> None:
    rng = random.Random(100 + seed)
    store = new_store(MemoryStore())
    taken = history(rng, store, 7)
    ghosts = set(rng.sample(range(7), 2))
    living = {one.manifest.snapshot for number, (one, _) in enumerate(taken) if number not in ghosts}
    chosen = set(rng.sample(sorted(living), 2))
    told = tree_space(store, members(taken, living, chosen))
    shows = {one.manifest.snapshot: set(seen(one)) for one, _ in taken if one.manifest.snapshot in living}
    weights = {}
    for name in pack_objects(store):
        index = open_pack(store, name).index
        weights[index.header.pack] = shares(index)
    for snapshot, blocks in shows.items():
        others = set().union(*(shows[other] for other in living if other != snapshot))
        unique = sum(weights[ref.pack][number] for ref, number, _ in blocks - others)
        shared = sum(weights[ref.pack][number] for ref, number, _ in blocks & others)
        assert told.unique[snapshot] == pytest.approx(unique)
        assert told.shared[snapshot] == pytest.approx(shared, abs=1.0)
    dead = set().union(*(shows[one] for one in chosen)) - set().union(*(shows[one] for one in living - chosen))
    by_pack: dict[Any, int] = {}
    for ref, _, _ in dead:
        by_pack[ref] = by_pack.get(ref, 0) + 1
    assert dict(told.dead_blocks) == by_pack


def test_a_tree_that_is_not_whole_is_refused() -> None:
    rng = random.Random(1)
    store = new_store(MemoryStore())
    nodes = members(history(rng, store, 3), set(), set())
    with pytest.raises(IntegrityError, match="not known"):
        tree_space(store, nodes[1:])
    with pytest.raises(IntegrityError, match="circle"):
        tree_space(store, [replace(nodes[0], parent=nodes[1].id), nodes[1]])


def test_half_overwritten_at_random_stays_above_four_fifths() -> None:
    rng = random.Random(3)
    store = new_store(MemoryStore())
    disk = bytearray(rng.randbytes(BLOCKS * BLOCK_BYTES))
    first = take(store, rng, "snap-00000001", disk, [(0, BLOCKS)])
    changed = set(rng.sample(range(BLOCKS), BLOCKS // 2))
    for block in changed:
        disk[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = rng.randbytes(BLOCK_BYTES)
    second = take(store, rng, "snap-00000002", disk, pairs(changed), first)
    delete_manifest(store, first.manifest.snapshot, first.manifest.session)
    assert BLOCKS * BLOCK_BYTES / stored(store) < 0.7
    compact_all(store, rng, [second], dead_percent=20)
    # All that the store holds counts, maps and manifest too.
    everything = sum(entry.size_bytes for entry in store.objects.list(store.name("")))
    assert BLOCKS * BLOCK_BYTES / everything >= 0.8
    assert bool(SnapshotReader.open(store, second.manifest.snapshot).read(0, len(disk)) == disk)


def test_a_cut_anywhere_loses_nothing() -> None:
    rng = random.Random(5)
    objects = MemoryStore()
    store = new_store(objects)
    taken = history(rng, store, 4)
    gone, _ = taken.pop(0)
    delete_manifest(store, gone.manifest.snapshot, gone.manifest.session)
    content = objects.content()
    cuts = 0
    for cut in range(1000):
        for lands in (False, True):
            survivor = MemoryStore(content, cut_after=cut, lands=lands)
            again = reopen(survivor, STORE_ID)
            try:
                compact_all(again, random.Random(cut), [one for one, _ in taken])
            except CutError:
                cuts += 1
            after = reopen(MemoryStore(survivor.content()), STORE_ID)
            for one, expected in taken:
                assert bool(SnapshotReader.open(after, one.manifest.snapshot).read(0, len(expected)) == expected)
        if cuts < 2 * (cut + 1):
            assert cut > 2
            return
    pytest.fail("it never came to its end")


# --- planted bugs ---------------------------------------------------------------------------------------------------


def half_dead(rng: random.Random, store: Store) -> tuple[Any, Any]:
    """A pack of which every second block is dead, and of one frame all."""
    disk = bytearray(rng.randbytes(24 * BLOCK_BYTES))
    first = take(store, rng, "snap-00000001", disk, [(0, 24)])
    opened = open_pack(store, first.manifest.packs[0].object)
    dead = np.zeros(len(opened.index.dead), dtype=np.bool_)
    dead[1::2] = True
    dead[8:16] = True
    return opened, dead


def changed_index(monkeypatch: pytest.MonkeyPatch, **change: Callable[[Any], Any]) -> None:
    real = compact.PackIndex

    def make(**fields: Any) -> Any:
        return real(**{name: change.get(name, lambda value: value)(value) for name, value in fields.items()})

    monkeypatch.setattr(compact, "PackIndex", make)


def plant_dead_blocks_not_zeroed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "bytes", lambda size: b"x" * size, raising=False)


def plant_hashes_of_dead_blocks_zeroed(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeroed(hashes: Any) -> Any:
        changed = hashes.copy()
        changed[1] = 0
        return changed

    changed_index(monkeypatch, hashes=zeroed)


def plant_nothing_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    changed_index(monkeypatch, dead=lambda dead: dead & (np.arange(len(dead)) != 1))


def plant_a_living_block_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    changed_index(monkeypatch, dead=lambda dead: dead | (np.arange(len(dead)) == 0))


def plant_a_living_block_zeroed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = compact.encode_frame
    monkeypatch.setattr(
        compact, "encode_frame", lambda one, plain: real(one, bytes(BLOCK_BYTES) + bytes(plain[BLOCK_BYTES:]))
    )


def plant_frames_in_the_wrong_place(monkeypatch: pytest.MonkeyPatch) -> None:
    real = compact.decode_frame
    monkeypatch.setattr(compact, "decode_frame", lambda keys, index, _frame, *rest: real(keys, index, 0, *rest))


def plant_the_old_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    real = compact.PackHeader
    salts: list[bytes] = []
    monkeypatch.setattr(compact, "PackHeader", lambda **fields: real(**{**fields, "salt": salts[0]}))
    monkeypatch.setattr(compact, "_salts", salts, raising=False)


@pytest.mark.parametrize(
    "plant",
    [
        plant_dead_blocks_not_zeroed,
        plant_hashes_of_dead_blocks_zeroed,
        plant_nothing_flagged,
        plant_a_living_block_flagged,
        plant_a_living_block_zeroed,
        plant_frames_in_the_wrong_place,
        plant_the_old_salt,
    ],
)
def test_a_wrong_rewriting_is_found_before_anything_refers_to_it(monkeypatch: pytest.MonkeyPatch, plant: Any) -> None:
    """I13."""
    rng = random.Random(7)
    store = new_store(MemoryStore())
    opened, dead = half_dead(rng, store)
    rewrite_pack(store, opened, dead, "aa" * 16, bytes(32))
    plant(monkeypatch)
    if hasattr(compact, "_salts"):
        compact._salts.append(opened.index.header.salt)
    with pytest.raises((IntegrityError, ProtocolError)):
        rewrite_pack(store, opened, dead, "bb" * 16, bytes(32))


def test_damage_is_not_copied() -> None:
    rng = random.Random(8)
    objects = MemoryStore()
    store = new_store(objects)
    opened, dead = half_dead(rng, store)
    content = objects.content()
    bad = bytearray(content[opened.object])
    bad[200] ^= 1
    damaged = MemoryStore({**content, opened.object: bytes(bad)})
    with pytest.raises(IntegrityError):
        rewrite_pack(reopen(damaged, STORE_ID), opened, dead, "aa" * 16, bytes(32))
    assert damaged.changes == []


def test_a_rotten_block_goes_with_the_dead_and_gives_those_beside_it_back() -> None:
    """Nothing of a frame is served while a block of it is wrong; dropped as dead, it is no living one any more."""
    rng = random.Random(8)
    objects = MemoryStore()
    store = new_store(objects)
    opened, dead = half_dead(rng, store)
    index = opened.index
    frames = [
        frame for frame in range(len(index.counts))
        if index.encodings[frame] == Encoding.RAW
        and 0 < np.count_nonzero(dead[index.first_rows[frame] : index.first_rows[frame + 1]]) < index.counts[frame]
    ]  # fmt: skip
    assert frames
    for rotten in (True, False):
        bad = bytearray(objects.content()[opened.object])
        first = int(index.first_rows[frames[0]])
        slot = int(np.flatnonzero(dead[first : int(index.first_rows[frames[0] + 1])] == rotten)[0])
        bad[int(index.offsets[frames[0]]) + slot * BLOCK_BYTES + 7] ^= 1
        broken = reopen(MemoryStore({**objects.content(), opened.object: bytes(bad)}), STORE_ID)
        before = check_pack(broken, opened.object, lambda _bytes: None)
        assert before is not None
        if not rotten:
            # A living one is never copied.
            with pytest.raises(IntegrityError):
                rewrite_pack(broken, opened, dead, "aa" * 16, bytes(32))
            continue
        rewrite_pack(broken, opened, dead, "aa" * 16, bytes(32))
        header = index.header
        assert check_pack(broken, broken.pack_name(header.session, header.pack, "aa" * 16), lambda _bytes: None) is None


def test_a_block_that_was_dropped_and_is_seen_stops_compaction() -> None:
    """I11."""
    rng = random.Random(9)
    store = new_store(MemoryStore())
    opened, dead = half_dead(rng, store)
    rewrite_pack(store, opened, dead, "aa" * 16, rng.randbytes(32))
    header = opened.index.header
    again = open_pack(store, store.pack_name(header.session, header.pack, "aa" * 16)).index
    with pytest.raises(IntegrityError, match="dropped as dead"):
        plan_compaction(again, np.ones(len(dead), dtype=np.bool_))


# --- the worker's job -------------------------------------------------------------------------------------------------


def test_a_job_judges_each_pack_and_stops_at_what_cannot_be_read() -> None:
    rng = random.Random(10)
    objects = MemoryStore()
    store = new_store(objects)
    taken = history(rng, store, 5)
    gone, _ = taken.pop(0)
    names = pack_objects(store)
    targets = tuple(PackTarget(object=name, attempt=hex128(rng)) for name in names)
    delete_manifest(store, gone.manifest.snapshot, gone.manifest.session)
    living = tuple(store.manifest_name(one.manifest.snapshot, one.manifest.session) for one, _ in taken)
    job = CompactJob(store=ADDRESS, packs=targets, living=living, dead_percent=20)
    content = objects.content()
    verdicts = compact_job(job, store, rng, lambda _done, _total: None).packs
    assert [one.object for one in verdicts] == names
    assert any(one.new_object for one in verdicts)
    assert any(one.new_object is None for one in verdicts)
    for target, verdict in zip(targets, verdicts, strict=True):
        assert (verdict.new_object is None) or verdict.new_object.endswith(target.attempt)
        assert verdict.new_object is None or verdict.dead_bytes * 5 >= verdict.dead_blocks > 0
    written = next(one for one in verdicts if one.new_object is not None)
    damaged = {**content, written.object: content[written.object][:-70] + bytes(70)}
    told = compact_job(job, reopen(MemoryStore(damaged), STORE_ID), rng, lambda _done, _total: None).packs
    assert [bool(one.fault) for one in told] == [one.object == written.object for one in told]
    nothing = msgspec.structs.replace(job, living=())
    dead = compact_job(nothing, reopen(MemoryStore(content), STORE_ID), rng, lambda _done, _total: None).packs
    assert all(one.dead_blocks == one.blocks > 0 and one.new_object is None for one in dead)
    for name in [name for name in content if "/maps/" in name]:
        for change in ({}, {name: content[name][:-9] + bytes(9)}):
            left = MemoryStore({**{key: raw for key, raw in content.items() if key != name}, **change})
            if any(part.object == name for one, _ in taken for part in one.manifest.maps):
                with pytest.raises(DrystoneError):
                    compact_job(job, reopen(left, STORE_ID), rng, lambda _done, _total: None)
                assert left.changes == []

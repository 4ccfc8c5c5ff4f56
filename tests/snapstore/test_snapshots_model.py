"""Snapshots against a model: a disk is a bytearray, every snapshot a copy of it. With planted bugs."""

import random
from collections import deque
from typing import Any

import numpy as np
import pytest

from drystone.codec.hashes import block_hash
from drystone.domain.blocks import BLOCK_BYTES, from_blocks, normalize
from drystone.domain.errors import DrystoneError
from drystone.snapstore import comparison, expected, reader, table, writer
from drystone.snapstore.deaths import dies
from drystone.snapstore.deletion import delete_manifest
from drystone.snapstore.layers import delta_addresses
from drystone.snapstore.living import Living
from drystone.snapstore.packs import open_pack
from drystone.snapstore.reader import ABSENT, DATA, Caches, SnapshotReader
from drystone.snapstore.store import Store
from tests.memory_store import MemoryStore
from tests.snapstore.model_snapshots import new_store, take

BLOCKS = 180


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred blocks make several packs, pages and windows."""
    monkeypatch.setattr(writer, "PACK_BYTES", 60_000)
    monkeypatch.setattr(expected, "WINDOW_BLOCKS", 64)
    monkeypatch.setattr(writer, "_COMPARED_BLOCKS", 16)
    monkeypatch.setattr(writer, "BATCH_FRAMES", 2)
    monkeypatch.setattr(writer, "BATCHES_IN_FLIGHT", 1)
    monkeypatch.setattr(writer, "_PENDING", 9)
    monkeypatch.setattr(writer, "_ZEROS_PENDING", 12)
    monkeypatch.setattr(table, "PAGE_ENTRIES", 7)
    monkeypatch.setattr(reader, "_WINDOW_BLOCKS", 50)
    monkeypatch.setattr(reader, "_WINDOW_PAGES", 3)


def scribble(rng: random.Random, disk: bytearray) -> tuple[set[int], set[int]]:
    """Change a disk, and return (blocks written, blocks told to be zeros)."""
    written: set[int] = set()
    told: set[int] = set()
    for _ in range(rng.randrange(5)):
        start = rng.randrange(BLOCKS)
        stop = min(BLOCKS, start + rng.choice((1, 2, 10, 70)))
        kind = rng.randrange(4)
        for block in range(start, stop):
            fill = bytes(BLOCK_BYTES) if kind < 2 else rng.randbytes(32 if kind == 2 else BLOCK_BYTES)
            fill *= BLOCK_BYTES // len(fill)
            disk[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = fill
        (told if kind == 1 else written).update(range(start, stop))
        (written if kind == 1 else told).difference_update(range(start, stop))
    # Bits are set for blocks that did not change, too.
    written.update(block for block in rng.choices(range(BLOCKS), k=3) if block not in told)
    return written, told


def pairs(blocks: set[int]) -> list[tuple[int, int]]:
    return [(start, stop) for start, stop in from_blocks(np.array(sorted(blocks), dtype=np.int64)).tolist()]


def grow_tree(rng: random.Random, store: Store, count: int) -> list[tuple[SnapshotReader, bytes]]:
    """Take snapshots, each of a disk that began as some earlier one (so: chains, rollbacks, clones)."""
    taken: list[tuple[SnapshotReader, bytes]] = []
    disk = bytearray(BLOCKS * BLOCK_BYTES)
    base: SnapshotReader | None = None
    carry: set[int] = set()
    for number in range(count):
        name = f"snap-{number:08d}"
        written, told = scribble(rng, disk)
        if base is None:
            snapshot = take(store, rng, name, disk, [(0, BLOCKS)])
        elif rng.random() < 0.35:
            held = sorted(rng.sample(range(1, BLOCKS), 2))
            zeros = [(held[0], held[1])] if not any(disk[held[0] * BLOCK_BYTES : held[1] * BLOCK_BYTES]) else []
            reads = [(0, held[0]), (held[1], BLOCKS)] if zeros else [(0, BLOCKS)]
            snapshot = take(store, rng, name, disk, reads, base, compare=True, zeros=zeros)
        else:
            snapshot = take(store, rng, name, disk, pairs((written | carry) - told), base, zeros=pairs(told))
        taken.append((snapshot, bytes(disk)))
        parent, content = taken[-1] if rng.random() < 0.7 else rng.choice(taken)
        base, disk, carry = parent, bytearray(content), set()
    return taken


def check(rng: random.Random, store: Store, snapshot: SnapshotReader, content: bytes) -> None:
    """Compare everything a reader says with the model."""
    assert bool(snapshot.read(0, len(content)) == content)
    for _ in range(4):
        start = rng.randrange(len(content))
        length = rng.randrange(len(content) - start + 1)
        assert bool(snapshot.read(start, length) == content[start : start + length])
    blocks = [content[at : at + BLOCK_BYTES] for at in range(0, len(content), BLOCK_BYTES)]
    full = np.array([any(block) for block in blocks])
    low, high = sorted(rng.choices(range(BLOCKS + 9), k=2))
    kinds, hashes = snapshot.hashes(low, high)
    inside = blocks[low:high]
    assert np.array_equal(kinds[: len(inside)] == DATA, full[low:high])
    assert (kinds[len(inside) :] == ABSENT).all()
    for row, block in enumerate(inside):
        expected = block_hash(store.keys, block) if any(block) else bytes(16)
        assert hashes[row].tobytes() == expected
    assert np.array_equal(snapshot.data_ranges(), from_blocks(np.flatnonzero(full)))
    stop = max(low, min(high, BLOCKS))
    assert np.array_equal(snapshot.data_ranges(low, stop), from_blocks(low + np.flatnonzero(full[low:stop])))


def check_delta(store: Store, snapshot: SnapshotReader, content: bytes, before: bytes) -> None:
    """The addresses of a delta map hold every block that differs from the base."""
    delta = delta_addresses(store, snapshot.manifest.maps[0].object)
    covered = np.zeros(BLOCKS, dtype=np.bool_)
    for start, stop in delta.tolist():
        covered[start:stop] = True
    for block in range(BLOCKS):
        part = slice(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)
        assert covered[block] or content[part] == before[part]


def run_history(seed: int) -> None:
    rng = random.Random(seed)
    store = new_store(MemoryStore())
    taken = grow_tree(rng, store, 7)
    contents = {snapshot.manifest.snapshot: content for snapshot, content in taken}
    for snapshot, content in taken:
        check(rng, store, SnapshotReader.open(store, snapshot.manifest.snapshot, Caches(1)), content)
        check(rng, store, snapshot, content)
        base = snapshot.manifest.base
        check_delta(store, snapshot, content, contents[base] if base else bytes(len(content)))


@pytest.mark.parametrize("seed", range(10))
def test_every_reader_equals_its_model(seed: int) -> None:
    run_history(seed)


def plant_zero_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table.MapTable, "add_zero", lambda *_: None)


def plant_slot_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = table.MapTable.add_frame

    def add(self: table.MapTable, pack: int, number: int, digest: bytes, segments: Any) -> None:
        real(self, pack, number, digest, segments)
        start, count, owner, slot = self._runs[-1]
        self._runs[-1] = (start, count, owner, min(slot + 1, 64 - count))

    monkeypatch.setattr(table.MapTable, "add_frame", add)


def plant_wrong_order(monkeypatch: pytest.MonkeyPatch) -> None:
    real = SnapshotReader._layers
    monkeypatch.setattr(SnapshotReader, "_layers", lambda self: real(self)[::-1])


def plant_rescan_forgets_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "DATA", 9)


def plant_frame_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = table.MapTable.add_frame
    monkeypatch.setattr(
        table.MapTable, "add_frame", lambda self, pack, number, *rest: real(self, pack, max(0, number - 1), *rest)
    )


def plant_late_zeros_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    real = table.MapTable.settle

    def settle(self: table.MapTable, stop: int, *, everything: bool = False) -> None:
        real(self, stop, everything=everything)
        self._zeros = self._zeros[:0]

    monkeypatch.setattr(table.MapTable, "settle", settle)


def plant_newest_batch_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stack(deque[Any]):
        popleft = deque.pop

    monkeypatch.setattr(writer, "deque", Stack)
    monkeypatch.setattr(writer, "BATCH_FRAMES", 1)


@pytest.mark.parametrize(
    "plant",
    [
        plant_zero_dropped,
        plant_newest_batch_first,
        plant_slot_off_by_one,
        plant_wrong_order,
        plant_rescan_forgets_zeros,
        plant_frame_off_by_one,
        plant_late_zeros_forgotten,
    ],
)
def test_planted_bugs_are_found(monkeypatch: pytest.MonkeyPatch, plant: Any) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, DrystoneError, IndexError)):  # noqa: PT012 - any history may be the one
        test_pages_are_cut_where_zeros_and_data_interleave()
        for seed in range(10):
            run_history(seed)


def test_pages_are_cut_where_zeros_and_data_interleave() -> None:
    rng = random.Random(3)
    store = new_store(MemoryStore())
    disk = bytearray(rng.randbytes(BLOCKS * BLOCK_BYTES))
    first = take(store, rng, "snap-00000001", disk, [(0, BLOCKS)])
    for block in range(0, BLOCKS, 2):
        disk[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = bytes(BLOCK_BYTES)
    second = take(store, rng, "snap-00000002", disk, [(0, BLOCKS)], first, compare=True)
    assert second.manifest.maps[0].entries == BLOCKS // 2
    third = take(store, rng, "snap-00000003", disk, [(0, BLOCKS)], first)
    assert third.manifest.maps[0].entries == BLOCKS
    for snapshot in (second, third):
        check(rng, store, snapshot, bytes(disk))


def seen(snapshot: SnapshotReader) -> dict[tuple[Any, int, int], int]:
    """What a snapshot sees: (pack, frame, slot) by asking block by block."""
    found = {}
    for block in range(BLOCKS):
        visible = snapshot.visible(block, block + 1)
        if visible.kinds[0] == DATA:
            row = int(visible.frames[0])
            ref = snapshot.packs[int(visible.table.packs[row])]
            found[(ref, int(visible.table.numbers[row]), int(visible.slots[0]))] = block
    return found


@pytest.mark.parametrize("seed", range(4))
def test_deaths_equal_brute_force_and_kill_nobody(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """P4, L4."""
    from drystone.snapstore import deaths
    from drystone.snapstore import living as proof

    monkeypatch.setattr(deaths, "_WINDOW_BLOCKS", 23)
    monkeypatch.setattr(proof, "_ANSWERS_BYTES", 200)
    rng = random.Random(seed)
    objects = MemoryStore()
    store = new_store(objects)
    living = grow_tree(rng, store, 6)
    written = {pack.object: pack.blocks for snapshot, _ in living for pack in snapshot.manifest.packs}
    dead_total = 0
    while living:
        victim, _ = living.pop(rng.randrange(len(living)))
        near = [snapshot for snapshot, _ in living]
        mine, others = seen(victim), set().union(*(seen(snapshot) for snapshot in near))
        expected: dict[Any, int] = {}
        for ref, number, slot in mine:
            if (ref, number, slot) not in others:
                expected[ref] = expected.get(ref, 0) + 1
        found = dies(victim, near, normalize([(0, BLOCKS + 50)]))
        assert dict(found.blocks) == expected
        addresses = {block for key, block in mine.items() if key not in others}
        narrow = dies(victim, near, from_blocks(np.array(sorted(addresses), dtype=np.int64)))
        assert dict(narrow.blocks) == expected
        assert (found.stored_bytes > 0) == bool(expected)
        assert dies(victim, near, normalize([])).blocks == {}
        dead_total += sum(expected.values())
        delete_manifest(store, victim.manifest.snapshot, victim.manifest.session)
        survivors = Living(store, [snapshot.manifest for snapshot in near])
        for name in list(written):
            if not survivors.mask(open_pack(store, name).index).any():
                objects.delete(name)
                del written[name]
        for snapshot, content in living:
            check(rng, store, SnapshotReader.open(store, snapshot.manifest.snapshot), content)
    assert not written
    assert dead_total > 0


def test_the_rule_of_death_counts_each_pack_by_what_it_loses() -> None:
    rng = random.Random(1)
    store = new_store(MemoryStore())
    disk = bytearray(rng.randbytes(20 * BLOCK_BYTES))
    first = take(store, rng, "snap-00000001", disk, [(0, 20)])
    disk[: 3 * BLOCK_BYTES] = rng.randbytes(3 * BLOCK_BYTES)
    second = take(store, rng, "snap-00000002", disk, [(0, 3)], first)
    (pack,) = second.manifest.packs
    dead = dies(first, [second], normalize([(0, 3)]))
    assert list(dead.blocks.values()) == [3]
    assert dead.stored_bytes == 3 * BLOCK_BYTES
    gone = dies(second, [first], normalize([(0, 20)]))
    assert {ref.pack: count for ref, count in gone.blocks.items()} == {pack.pack: 3}

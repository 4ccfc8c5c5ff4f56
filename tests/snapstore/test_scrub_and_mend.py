"""Scrub and mend: what is damaged is found and named exactly, and replaced only by bytes of the same hash."""

import random
from collections.abc import Mapping

import numpy as np
import pytest

from drystone.codec.hashes import block_hash
from drystone.domain.blocks import BLOCK_BYTES, Ranges, count, from_blocks, normalize, subtract
from drystone.domain.errors import IntegrityError
from drystone.snapstore import mend as mend_module
from drystone.snapstore import scrub as scrub_module
from drystone.snapstore.mend import mend_pack
from drystone.snapstore.packs import open_pack
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.scrub import PackFault, check_manifest, check_map, check_pack, coarse, hidden
from drystone.snapstore.store import Store, hex128
from tests.memory_store import MemoryStore
from tests.snapstore.model_snapshots import new_store, take

BLOCKS = 200
FIRST, SECOND = "snap-00000001", "snap-00000002"


class World:
    """A base and a delta over its blocks 60 to 70; even blocks compress, odd ones do not (frames of both kinds)."""

    def __init__(self, *, compressible: bool = False) -> None:
        self.rng = random.Random(3)
        self.objects = MemoryStore()
        self.store: Store = new_store(self.objects)
        if compressible:
            body = b"".join(self.rng.randbytes(16) * (BLOCK_BYTES // 16) for _ in range(BLOCKS))
        else:
            body = self.rng.randbytes(BLOCKS * BLOCK_BYTES)
        self.first_disk = bytes(body)
        disk = bytearray(body)
        self.first = take(self.store, self.rng, FIRST, disk, [(0, BLOCKS)])
        disk[60 * BLOCK_BYTES : 70 * BLOCK_BYTES] = self.rng.randbytes(10 * BLOCK_BYTES)
        self.disk = bytes(disk)
        self.second = take(self.store, self.rng, SECOND, disk, [(60, 70)], self.first)
        (self.pack,) = [part.object for part in self.first.manifest.packs]

    def flip(self, name: str, at: int) -> None:
        body = bytearray(self.objects.get(name))
        body[at] ^= 4
        self.objects.replace(name, bytes(body))

    def flip_block(self, block: int) -> None:
        """Flip a byte of a block of the first pack's raw frames."""
        index = open_pack(self.store, self.pack).index
        row = int(np.flatnonzero(index.addresses == block)[0])
        frame = int(np.searchsorted(index.first_rows, row, side="right")) - 1
        slot = row - int(index.first_rows[frame])
        self.flip(self.pack, int(index.offsets[frame]) + slot * BLOCK_BYTES + 99)

    def fault(self, name: str) -> PackFault:
        found = check_pack(self.store, name, lambda _length: None)
        assert found is not None
        return found

    def find(self, disk: bytes, asked: list[int]) -> mend_module.Find:
        def look(wanted: Mapping[int, bytes]) -> Mapping[int, bytes]:
            asked.extend(wanted)
            return {block: disk[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] for block in wanted}

        return look

    def content(self, snapshot: str) -> bytes:
        return bytes(SnapshotReader.open(self.store, snapshot).read(0, BLOCKS * BLOCK_BYTES))


def rows(ranges: Ranges) -> list[list[int]]:
    found: list[list[int]] = ranges.tolist()
    return found


def test_what_is_whole_is_proven_and_paced() -> None:
    world = World()
    read: list[int] = []
    for name in world.objects.content():
        if "/packs/" in name:
            assert check_pack(world.store, name, read.append) is None
        if "/maps/" in name:
            assert check_map(world.store, name, read.append) is None
        if name.endswith(".manifest"):
            assert check_manifest(world.store, name) is None
    assert sum(read) > (BLOCKS + 10) * BLOCK_BYTES


@pytest.mark.parametrize("together", [8 << 20, 300_000, 1])
def test_a_flip_anywhere_is_found(monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    monkeypatch.setattr(scrub_module, "READ_BYTES", together)
    world = World()
    frames = {0: (0, 64), 63: (0, 64), 64: (64, 128), 191: (128, 192), 192: (192, 200), 199: (192, 200)}
    for block, frame in frames.items():
        world.flip_block(block)
        assert world.fault(world.pack).rows.tolist() == list(range(*frame))
        world.flip_block(block)
    assert check_pack(world.store, world.pack, lambda _length: None) is None


def test_damage_names_what_each_snapshot_cannot_show() -> None:
    """I12."""
    world = World()
    world.flip_block(65)
    fault = world.fault(world.pack)
    # One bad block hides the living blocks of its frame: 64 to 127.
    assert rows(hidden(fault, world.first)) == [[64, 128]]
    # The delta shadows 64 to 69: the second snapshot never shows them (F12).
    assert rows(hidden(fault, world.second)) == [[70, 128]]
    for snapshot, first in ((FIRST, 64), (SECOND, 70)):
        reader = SnapshotReader.open(world.store, snapshot)
        for block in range(BLOCKS):
            if first <= block < 128:
                with pytest.raises(IntegrityError):
                    reader.read(block * BLOCK_BYTES, BLOCK_BYTES)
            else:
                reader.read(block * BLOCK_BYTES, BLOCK_BYTES)


def test_a_pack_whose_index_is_bad_or_that_is_gone_hides_all_that_is_seen_of_it() -> None:
    world = World()
    world.flip(world.pack, len(world.objects.get(world.pack)) - 100)
    for _ in range(2):
        fault = world.fault(world.pack)
        assert fault.index is None
        assert rows(hidden(fault, world.first)) == [[0, BLOCKS]]
        assert rows(hidden(fault, world.second)) == [[0, 60], [70, BLOCKS]]
        world.objects.delete(world.pack)


def test_bad_maps_and_manifests_are_found() -> None:
    world = World()
    (part, base) = world.second.manifest.maps
    world.flip(part.object, 60)
    reason, lost = check_map(world.store, part.object, lambda _length: None) or ("", None)
    assert reason
    assert lost is not None
    assert rows(lost) == [[60, 70]]
    world.flip(base.object, len(world.objects.get(base.object)) - 5)
    assert check_map(world.store, base.object, lambda _length: None) is not None
    name = world.store.manifest_name(world.first.manifest.snapshot, world.first.manifest.session)
    world.flip(name, 20)
    assert check_manifest(world.store, name)
    world.objects.delete(name)
    assert check_manifest(world.store, name)


@pytest.mark.parametrize("compressible", [False, True])
def test_mending_makes_every_snapshot_whole_again(*, compressible: bool) -> None:
    world = World(compressible=compressible)
    index = open_pack(world.store, world.pack).index
    world.flip(world.pack, int(index.offsets[2]))
    fault = world.fault(world.pack)
    asked: list[int] = []
    attempt = hex128(world.rng)
    done = mend_pack(world.store, world.pack, attempt, world.rng, world.find(world.disk, asked))
    assert done.object is not None
    assert done.lost_blocks == 0
    assert done.mended_blocks == len(set(asked)) == (64 if compressible else 1)
    assert done.bytes == len(world.objects.get(done.object))
    assert check_pack(world.store, done.object, lambda _length: None) is None
    # Both objects are there: the good frame is found. And alone the new one is enough.
    for _ in range(2):
        assert world.content(FIRST) == world.first_disk
        assert world.content(SECOND) == world.disk
        world.objects.delete(world.pack)
    assert count(hidden(fault, world.first))


def test_only_bytes_of_the_same_hash_are_taken() -> None:
    """L12."""
    world = World()
    world.flip_block(65)
    world.flip_block(150)
    before = world.objects.content()
    # The disk was written since: what it holds in block 65 is another content, in 150 the same.
    changed = bytearray(world.first_disk)
    changed[65 * BLOCK_BYTES] ^= 1
    done = mend_pack(world.store, world.pack, hex128(world.rng), world.rng, world.find(bytes(changed), []))
    assert (done.mended_blocks, done.lost_blocks) == (1, 1)
    assert done.object is not None
    left = world.fault(done.object)
    assert rows(hidden(left, world.first)) == [[64, 128]]
    # Nothing that can be had: nothing is written.
    other = World()
    other.flip_block(65)
    before = other.objects.content()
    done = mend_pack(other.store, other.pack, hex128(other.rng), other.rng, lambda _wanted: {})
    assert (done.object, done.mended_blocks, done.lost_blocks) == (None, 0, 1)
    assert other.objects.content() == before


def test_a_new_object_that_is_not_what_was_written_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.flip_block(65)
    put = world.objects.put

    def lossy(name: str, data: object) -> None:
        put(name, data)  # type: ignore[arg-type]
        world.flip(name, 96 + 3)

    monkeypatch.setattr(world.objects, "put", lossy)
    with pytest.raises(IntegrityError, match="read back"):
        mend_pack(world.store, world.pack, hex128(world.rng), world.rng, world.find(world.first_disk, []))


def test_wrong_content_is_not_believed_even_if_the_finder_says_so() -> None:
    world = World()
    world.flip_block(65)
    zeros = bytes(BLOCK_BYTES)
    assert block_hash(world.store.keys, zeros)
    done = mend_pack(world.store, world.pack, hex128(world.rng), world.rng, lambda wanted: dict.fromkeys(wanted, zeros))
    assert done.object is None


def test_coarse_ranges_hold_all_blocks() -> None:
    assert rows(coarse(normalize([(0, 1), (2, 3), (100, 101), (104, 105)]), 2)) == [[0, 3], [100, 105]]
    rng = np.random.default_rng(1)
    ranges = from_blocks(rng.choice(5000, 700, replace=False))
    for most in (1, 2, 50, len(ranges), 10_000):
        wide = coarse(ranges, most)
        assert len(wide) <= most
        assert len(subtract(ranges, wide)) == 0
        assert rows(normalize(wide)) == rows(wide)
    assert rows(coarse(ranges, 1)) == [[int(ranges[0, 0]), int(ranges[-1, 1])]]


def test_a_bad_place_on_the_drive_is_damage_of_one_frame_and_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    index = open_pack(world.store, world.pack).index
    bad = int(index.offsets[1]) + 5 * BLOCK_BYTES
    read = world.objects.get_range

    def failing(name: str, start: int, stop: int) -> bytes:
        if name == world.pack and start <= bad < stop:
            raise IntegrityError(f"object {name} cannot be read from its drive: Input/output error")
        return read(name, start, stop)

    monkeypatch.setattr(world.objects, "get_range", failing)
    assert rows(hidden(world.fault(world.pack), world.first)) == [[64, 128]]
    done = mend_pack(world.store, world.pack, hex128(world.rng), world.rng, world.find(world.first_disk, []))
    assert (done.mended_blocks, done.lost_blocks) == (64, 0)
    assert done.object is not None
    assert check_pack(world.store, done.object, lambda _length: None) is None
    assert world.content(FIRST) == world.first_disk
    # A second bad frame that nobody has: it is as bad in the new object, at the same place.
    none = mend_pack(world.store, world.pack, hex128(world.rng), world.rng, lambda _wanted: {})
    assert (none.object, none.lost_blocks) == (None, 64)

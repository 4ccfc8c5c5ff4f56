"""What is read of a store over a network: few requests, several at once, and a cache that is never trusted."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import IntegrityError, UnavailableError
from drystone.domain.ids import SessionId
from drystone.objects.around import Around, Kind
from drystone.objects.contract import ObjectEntry, ObjectStore
from drystone.snapstore import layers, packs, writer
from drystone.snapstore.ahead import Streams
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.compaction import rewrite_pack
from drystone.snapstore.far import Far
from drystone.snapstore.local_cache import FILE_BYTES, LocalCache
from drystone.snapstore.packs import MissingPackError, open_pack
from drystone.snapstore.reader import DATA, Caches, SnapshotReader
from drystone.snapstore.store import Store
from tests.memory_store import MemoryStore
from tests.sealed_stores import reopen
from tests.snapstore.model_snapshots import PURPOSE, STORE_ID, manifest_of, new_store, take

R = TypeVar("R")
MIB = 1 << 20
BLOCKS = 24 * 256
WAIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire(Around):
    """A store that tells what it was asked, and how many asked at once; `together` of a kind are answered at once.

    Attributes:
        asked: (kind, name) of all requests.
        together: Requests of objects with this in their names wait until so many are there, or a time has passed.
        slow: Seconds that requests of such objects take.
    """

    asked: list[tuple[str, str]] = field(default_factory=list)
    together: dict[str, threading.Barrier] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        del sent_bytes
        self.asked.append((kind, name))
        for part, barrier in self.together.items():
            if part in name:
                barrier.wait(WAIT_S)
        time.sleep(max((seconds for part, seconds in self.slow.items() if part in name), default=0.0))
        return ask()

    def pages(self, prefix: str) -> Iterator[ObjectEntry]:
        self.asked.append(("list", prefix))
        yield from self.inner.list(prefix)

    def take(self, part: str = "") -> list[tuple[str, str]]:
        """Return what was asked of such names, and forget all."""
        found = [one for one in self.asked if part in one[1]]
        self.asked.clear()
        return found


@pytest.fixture
def far() -> Iterator[Far]:
    made = Far()
    yield made
    made.close()


def disk_of(blocks: int = BLOCKS) -> bytes:
    return random.Random(3).randbytes(blocks * BLOCK_BYTES)


def snapshots(objects: ObjectStore, count: int, disk: bytearray) -> list[SnapshotReader]:
    """A full snapshot, and others of single blocks on it."""
    store, rng = new_store(objects), random.Random(4)
    taken = [take(store, rng, "snap-00000000", disk, [(0, len(disk) // BLOCK_BYTES)])]
    for number in range(1, count):
        block = number * 7
        disk[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = rng.randbytes(BLOCK_BYTES)
        taken.append(take(store, rng, f"snap-{number:08d}", disk, [(block, block + 1)], taken[-1]))
    return taken


def manifest_name(store: Store, reader: SnapshotReader) -> str:
    return store.manifest_name(reader.manifest.snapshot, reader.manifest.session)


def test_maps_and_pages_come_at_once(far: Far) -> None:
    """S206: sixteen maps take the time of one."""
    objects, disk = MemoryStore(), bytearray(disk_of(256))
    name = manifest_name(new_store(MemoryStore()), snapshots(objects, 16, disk)[-1])
    wire = Wire(inner=objects, together={"/maps/": threading.Barrier(16)})
    reader = SnapshotReader.open(reopen(wire, STORE_ID, far), name)
    wire.take()
    assert reader.read(0, len(disk)) == disk
    # Small maps come whole: one request each, and no other for their pages.
    assert len(wire.take("/maps/")) == 16


def test_pages_of_all_maps_come_at_once(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """S206: of maps that are too large to come whole."""
    monkeypatch.setattr(layers, "TAIL_GUESS_BYTES", 100)
    objects, disk = MemoryStore(), bytearray(disk_of(256))
    taken = snapshots(objects, 16, disk)[-1]
    wire = Wire(inner=objects, together={"/maps/": threading.Barrier(16)})
    reader = SnapshotReader.open(reopen(wire, STORE_ID, far), manifest_name(taken.store, taken))
    assert reader.read(0, len(disk)) == disk
    assert len(wire.take("/maps/")) == 16 * 3


def test_neighbours_come_by_one_request(far: Far) -> None:
    """S206, S208: also where the store is near; and nothing is listed for what the manifest names."""
    objects, disk = MemoryStore(), bytearray(disk_of(256))
    name = manifest_name(new_store(MemoryStore()), snapshots(objects, 1, disk)[0])
    for one in (None, far):
        wire = Wire(inner=objects)
        reader = SnapshotReader.open(reopen(wire, STORE_ID, one), name)
        assert reader.read(0, MIB) == disk
        of_packs = wire.take("/packs/")
        assert [kind for kind, _ in of_packs] == ["get_range"] * 2, of_packs


def test_who_reads_in_order_is_read_ahead_of(far: Far) -> None:
    """S206."""
    objects, disk = MemoryStore(), bytearray(disk_of())
    name = manifest_name(new_store(MemoryStore()), snapshots(objects, 1, disk)[0])
    wire = Wire(inner=objects)
    reader = SnapshotReader.open(reopen(wire, STORE_ID, far), name)
    for stretch in range(5):
        assert reader.read(stretch * MIB, MIB) == disk[stretch * MIB : (stretch + 1) * MIB]
    end = time.monotonic() + WAIT_S
    while not (found := len(wire.asked)) or time.monotonic() < end:
        time.sleep(0.05)
        if len(wire.asked) == found:
            break
    wire.take()
    wire.together["/packs/"] = threading.Barrier(100)  # Nothing of it is answered any more.
    for stretch in range(5, 8):
        far.ahead.shutdown(wait=False, cancel_futures=True)
        assert reader.read(stretch * MIB, MIB) == disk[stretch * MIB : (stretch + 1) * MIB]
    assert not wire.take("/packs/")


def test_who_reads_here_and_there_is_not(far: Far) -> None:
    """S206: a request for each read, and no byte of what nobody asked for."""
    objects, disk = MemoryStore(), bytearray(disk_of())
    name = manifest_name(new_store(MemoryStore()), snapshots(objects, 1, disk)[0])
    wire = Wire(inner=objects)
    reader = SnapshotReader.open(reopen(wire, STORE_ID, far), name)
    for stretch in (3, 20, 11, 0, 15, 8):
        reader.read(stretch * MIB, BLOCK_BYTES)
    far.ahead.shutdown()
    assert len(wire.take("/packs/")) == 6 + 1


@pytest.mark.parametrize(
    ("reads", "ahead"),
    [
        ([0, 1], []),
        ([0, 1, 2], [3, 4]),
        ([0, 1, 2, 3], [4, 5, 6, 7]),
        ([0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]),
        ([0, 1, 2, 9], [10, 11, 12, 13]),
        ([0, 9, 18], []),
        ([0, 5, 3, 1], []),
        ([0, 1, 3, 2, 4], [5, 6, 7, 8]),
        ([7, 7, 7, 7], []),
        ([0, 100, 1, 101, 2], [3, 4]),
        ([9, 8, 7, 6], []),
    ],
)
def test_streams_are_told_by_what_was_read(reads: list[int], ahead: list[int]) -> None:
    """S206."""
    streams = Streams()
    found = [streams.read(one, lambda: 8) for one in reads]
    assert list(found[-1]) == ahead


def test_nothing_is_fetched_twice_at_the_same_time(far: Far) -> None:
    """S206: frames that two stretches share, the index of their pack, the page of their map."""
    objects, disk = MemoryStore(), bytearray(disk_of())
    name = manifest_name(new_store(MemoryStore()), snapshots(objects, 1, disk)[0])
    wire = Wire(inner=objects, slow={"/packs/": 0.1})
    reader = SnapshotReader.open(reopen(wire, STORE_ID, far), name)
    started = threading.Barrier(8)
    wrong: list[int] = []

    def read(number: int) -> None:
        started.wait()
        at = number % 2 * BLOCK_BYTES
        if reader.read(at, MIB) != disk[at : at + MIB]:
            wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
    # The index; four frames at once; and the fifth, for those that begin a block later.
    assert len(wire.take("/packs/")) == 3


def test_of_those_who_ask_a_cache_at_once_one_makes_it() -> None:
    """S206: and where that fails, the next one tries."""
    cache: ByteCache[str, int] = ByteCache(100)
    made: list[int] = []
    found: list[int] = []

    def make() -> tuple[int, int]:
        made.append(1)
        time.sleep(0.05)
        if len(made) == 1:
            raise UnavailableError("no answer")
        return 7, 1

    def ask() -> None:
        with suppress(UnavailableError):
            found.append(cache.once("a", make))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (len(made), found) == (2, [7] * 7)


def test_damage_in_one_frame_is_no_damage_of_its_neighbours(far: Far) -> None:
    """S206: also for those who wait for the same request."""
    objects, disk = MemoryStore(), bytearray(disk_of(256))
    taken = snapshots(objects, 1, disk)[0]
    pack = taken.manifest.packs[0].object
    content = objects.content()
    bad = bytearray(content[pack])
    bad[96 + 2 * 64 * BLOCK_BYTES + 5] ^= 1
    for one in (None, far):
        damaged = MemoryStore(content | {pack: bytes(bad)})
        reader = SnapshotReader.open(reopen(damaged, STORE_ID, one), manifest_name(taken.store, taken))
        with pytest.raises(IntegrityError):
            reader.read(0, MIB)
        good = 2 * 64 * BLOCK_BYTES
        assert reader.read(0, good) == disk[:good]
        assert reader.read(good + 64 * BLOCK_BYTES, BLOCK_BYTES) == disk[good + 64 * BLOCK_BYTES :][:BLOCK_BYTES]


def test_a_session_is_listed_once_for_all_its_packs(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """S208: of which another snapshot's manifest tells."""
    monkeypatch.setattr(writer, "PACK_BYTES", MIB)
    objects, disk = MemoryStore(), bytearray(disk_of(8 * 256))
    base, late = snapshots(objects, 2, disk)
    assert len(base.manifest.packs) > 5
    for one in (None, far):
        wire = Wire(inner=objects)
        reader = SnapshotReader.open(reopen(wire, STORE_ID, one), manifest_name(late.store, late))
        assert reader.read(0, len(disk)) == disk
        listed = [name for kind, name in wire.take("/packs/") if kind == "list"]
        assert listed == [late.store.name("packs", base.manifest.session, "")]


def test_of_a_session_with_many_packs_each_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """S208: but for those on the first page, of which the last may have more on the next."""
    monkeypatch.setattr(writer, "PACK_BYTES", MIB)
    monkeypatch.setattr(packs, "LISTED", 4)
    objects, disk = MemoryStore(), bytearray(disk_of(8 * 256))
    base, late = snapshots(objects, 2, disk)
    wire = Wire(inner=objects)
    reader = SnapshotReader.open(reopen(wire, STORE_ID), manifest_name(late.store, late))
    assert reader.read(0, len(disk)) == disk
    listed = [name for kind, name in wire.take("/packs/") if kind == "list"]
    assert len(listed) == 1 + len(base.manifest.packs) - 3


@pytest.mark.parametrize("number", [0, 1])
def test_a_pack_that_is_gone_is_looked_for_and_missing(far: Far, number: int) -> None:
    """S208: where the manifest names it, and where its session was listed."""
    objects, disk = MemoryStore(), bytearray(disk_of(256))
    taken = snapshots(objects, 2, disk)
    pack = taken[0].manifest.packs[0].object
    wire = Wire(inner=MemoryStore({name: raw for name, raw in objects.content().items() if name != pack}))
    reader = SnapshotReader.open(reopen(wire, STORE_ID, far), manifest_name(taken[0].store, taken[number]))
    with pytest.raises(MissingPackError):
        reader.read(0, MIB)
    prefix = pack.rpartition(".")[0] + "."
    assert ("list", prefix) in wire.asked


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("damaged", [False, True])
def test_what_was_written_again_since_is_looked_for(far: Far, number: int, *, damaged: bool) -> None:
    """S208: what the manifest names, or an older listing, is gone or damaged, and there is another object."""
    objects, disk = MemoryStore(), bytearray(disk_of(256))
    taken = snapshots(objects, 2, disk)
    content = bytes(disk) if number else bytes(disk_of(256))
    store, old = taken[0].store, taken[0].manifest.packs[0].object
    for one in (None, far):
        here = MemoryStore(objects.content())
        reader = SnapshotReader.open(reopen(here, STORE_ID, one), manifest_name(store, taken[number]))
        # The session is listed, and the first frame is in memory, before the pack is written again.
        assert reader.read(0, BLOCK_BYTES) == content[:BLOCK_BYTES]
        opened = open_pack(store, old)
        rewrite_pack(reopen(here, STORE_ID), opened, opened.index.dead, "ab" * 16, bytes(range(32)))
        raw = bytearray(here.get(old))
        here.delete(old)
        if damaged:
            raw[96 + 100 * BLOCK_BYTES] ^= 1
            here.put(old, raw)
        assert reader.read(0, len(content)) == content


# --- the local cache


def entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


Poison = Callable[[list[Path]], None]


def flip(files: list[Path]) -> None:
    for file in files:
        raw = bytearray(file.read_bytes())
        for at in range(0, len(raw), 97):
            raw[at] ^= 4
        file.write_bytes(raw)


def flip_one(at: int) -> Poison:
    def poison(files: list[Path]) -> None:
        for file in files:
            raw = bytearray(file.read_bytes())
            raw[at * (len(raw) - 1) // 100] ^= 1
            file.write_bytes(raw)

    return poison


def cut(files: list[Path]) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[:-1])


def cut_front(files: list[Path]) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[100:])


def swap(files: list[Path]) -> None:
    raw = [file.read_bytes() for file in files]
    for file, other in zip(files, raw[1:] + raw[:1], strict=True):
        file.write_bytes(other)


def empty(files: list[Path]) -> None:
    for file in files:
        file.write_bytes(b"")


POISONS: Sequence[Poison] = (flip, *(flip_one(at) for at in range(0, 101, 10)), cut, cut_front, swap, empty)


def read_all(objects: ObjectStore, name: str, cache: LocalCache | None) -> bytes:
    far = Far(cache)
    try:
        reader = SnapshotReader.open(reopen(objects, STORE_ID, far), name)
        return bytes(reader.read(0, reader.size_bytes))
    finally:
        far.close()


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_cache_serves_nothing_that_is_not_proven(tmp_path: Path, poison: Poison) -> None:
    """S207: it costs requests, and is right again."""
    objects, disk = MemoryStore(), bytearray(disk_of(256))
    taken = snapshots(objects, 5, disk)[-1]
    name = manifest_name(taken.store, taken)
    wire = Wire(inner=objects)
    assert read_all(wire, name, LocalCache(tmp_path / "cache")) == disk
    poison(entries(tmp_path / "cache"))
    wire.take()
    assert read_all(wire, name, LocalCache(tmp_path / "cache")) == disk
    assert read_all(wire, name, LocalCache(tmp_path / "cache")) == disk


def test_what_was_read_once_is_not_asked_again_after_a_restart(tmp_path: Path) -> None:
    """S207: but for the manifest, which says that the snapshot is there, and its data."""
    objects, disk = MemoryStore(), bytearray(disk_of(256))
    taken = snapshots(objects, 5, disk)[-1]
    wire = Wire(inner=objects)
    for _ in range(2):
        wire.take()
        assert read_all(wire, manifest_name(taken.store, taken), LocalCache(tmp_path / "cache")) == disk
    assert not [one for one in wire.asked if "/maps/" in one[1]]
    assert [kind for kind, name in wire.asked if "/snapshots/" in name] == ["get"]
    assert {kind for kind, name in wire.asked if "/packs/" in name} == {"get_range"}
    indexes = [name for kind, name in wire.asked if kind == "get_range" and "/packs/" in name]
    assert len(indexes) == 5  # Their data: one range of each, none of their indexes.
    assert not [file for file in entries(tmp_path / "cache") if file.stat().st_mode & 0o077]


def test_what_was_listed_before_is_only_a_hint(tmp_path: Path) -> None:
    """S208: the pack was written again since; and the file may say anything."""
    objects, disk = MemoryStore(), bytearray(disk_of(256))
    base, late = snapshots(objects, 2, disk)
    name = manifest_name(late.store, late)
    assert read_all(objects, name, LocalCache(tmp_path / "cache")) == disk
    (listing,) = (path for path in entries(tmp_path / "cache") if path.read_bytes().startswith(b"[["))
    honest, (pack,) = listing.read_bytes(), base.manifest.packs
    other = late.manifest.packs[0]
    for lie in (
        b"[]", b"[1]", b"\xff", honest.replace(b",", b",1", 1), honest.replace(b",", b",-", 1),
        honest.replace(pack.object[-5:].encode(), b"00000"), honest.replace(pack.object[-5:].encode(), b"/.../"),
        honest.replace(pack.pack.encode(), other.pack.encode()), honest.replace(b"packs/", b"snapshots/"),
    ):  # fmt: skip
        listing.write_bytes(lie)
        assert read_all(objects, name, LocalCache(tmp_path / "cache")) == disk, lie
    listing.write_bytes(honest)
    opened = open_pack(base.store, pack.object)
    rewrite_pack(base.store, opened, opened.index.dead, "ab" * 16, bytes(range(32)))
    objects.delete(pack.object)
    wire = Wire(inner=objects)
    for looked in (2, 1, 0):
        wire.take()
        assert read_all(wire, name, LocalCache(tmp_path / "cache")) == disk
        assert len([kind for kind, _ in wire.take() if kind == "list"]) <= looked


def test_damage_of_the_store_is_never_kept(tmp_path: Path) -> None:
    """S207: what proves nothing is not put in."""
    objects, disk = MemoryStore(), bytearray(disk_of(64))
    taken = snapshots(objects, 1, disk)[0]
    name = taken.manifest.maps[0].object
    content = objects.content()
    bad = content | {name: content[name][:-80] + bytes(8) + content[name][-72:]}
    with pytest.raises(IntegrityError):
        read_all(MemoryStore(bad), manifest_name(taken.store, taken), LocalCache(tmp_path / "cache"))
    assert not entries(tmp_path / "cache")
    assert read_all(objects, manifest_name(taken.store, taken), LocalCache(tmp_path / "cache")) == disk


@pytest.mark.parametrize("broken", ["a file", "no room", "full", "gone"])
def test_a_cache_that_cannot_be_used_only_costs_time(
    tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S207."""
    objects, disk = MemoryStore(), bytearray(disk_of(64))
    taken = snapshots(objects, 2, disk)[-1]
    directory = tmp_path / "cache"
    if broken == "a file":
        directory.write_bytes(b"")
    cache = LocalCache(directory)
    if broken == "no room":
        found = os.statvfs(tmp_path)
        few = os.statvfs_result((*found[:4], 0, *found[5:10]))
        monkeypatch.setattr(os, "statvfs", lambda _path: few)
    if broken == "full":

        def refuse(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "open", refuse)
    if broken == "gone":
        directory.rmdir()
    assert read_all(objects, manifest_name(taken.store, taken), cache) == disk
    assert not directory.is_dir() or not entries(directory)


def test_a_cache_is_bounded_also_when_it_is_shared(tmp_path: Path) -> None:
    """S207: what was not used for longest goes; each who shares it may go beyond by a sixteenth."""
    size = 160 * FILE_BYTES
    caches = [LocalCache(tmp_path / "cache", size) for _ in range(2)]
    for number in range(500):
        caches[number % 2].put("object", str(number), bytes(3000))
        os.utime(caches[0]._path("object", str(number)), (number, number))
        if number >= 5:
            assert caches[0].get("object", "5") is not None
    assert sum(FILE_BYTES for _ in entries(tmp_path / "cache")) <= size * (1 + 2 / 16)
    assert len(entries(tmp_path / "cache")) > 100
    caches[0].put("object", "long", bytes(size // 16 + 1))
    assert caches[0].get("object", "long") is None


def test_caches_of_readers_are_shared(far: Far) -> None:
    """S206: two snapshots of one disk show mostly the same frames."""
    objects, disk = MemoryStore(), bytearray(disk_of(256))
    first, late = snapshots(objects, 2, disk)
    wire, caches = Wire(inner=objects), Caches()
    store = reopen(wire, STORE_ID, far)
    SnapshotReader.open(store, manifest_name(store, first), caches).read(0, MIB)
    wire.take()
    SnapshotReader.open(store, manifest_name(store, late), caches).read(0, MIB)
    assert len([one for one in wire.take("/packs/") if one[0] == "get_range"]) == 2


def test_an_outage_is_told_to_all_who_wait(far: Far) -> None:
    """S206: and the next who reads asks again."""
    objects, disk = MemoryStore(), bytearray(disk_of(64))
    taken = snapshots(objects, 1, disk)[0]
    dead = [True]

    class Dead(Wire):
        def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
            if dead[0] and "/packs/" in name:
                raise UnavailableError("no answer")
            return super().request(kind, name, sent_bytes, ask)

    reader = SnapshotReader.open(reopen(Dead(inner=objects), STORE_ID, far), manifest_name(taken.store, taken))
    with pytest.raises(UnavailableError):
        reader.read(0, len(disk))
    dead[0] = False
    assert reader.read(0, len(disk)) == disk


def test_what_was_written_here_need_not_be_asked_for(far: Far, tmp_path: Path) -> None:
    """S207: who writes puts the ends of a few objects into the cache; they are proven when they are read."""
    cache, rng = LocalCache(tmp_path / "cache"), random.Random(6)
    wire = Wire(inner=MemoryStore())
    new_store(wire.inner)
    store = reopen(wire, STORE_ID, far)
    made = writer.SnapshotWriter(store=store, session=SessionId("ab" * 16), rng=rng, purpose=PURPOSE, remember=cache)
    disk = rng.randbytes(256 * BLOCK_BYTES)
    made.write(0, disk)
    manifest = manifest_of(
        store, snapshot="snap-00000000", session=SessionId("ab" * 16), written=made.finish(), size_bytes=len(disk),
        base=None,
    )  # fmt: skip
    for poison in (None, cut):
        if poison is not None:
            poison(entries(tmp_path / "cache"))
        wire.take()
        there = reopen(wire, STORE_ID, Far(cache))
        wire.take()
        reader = SnapshotReader(there, manifest, Caches())
        kinds, _ = reader.hashes(0, 256)
        assert bool((kinds == DATA).all())
        assert len(wire.take()) == (0 if poison is None else 2)


def test_few_objects_of_a_session_are_kept(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S207: a first snapshot has thousands."""
    monkeypatch.setattr(writer, "PACK_BYTES", 64 << 10)
    cache, rng = LocalCache(tmp_path / "cache"), random.Random(6)
    objects = MemoryStore()
    new_store(objects)
    made = writer.SnapshotWriter(
        store=reopen(objects, STORE_ID, far), session=SessionId("ab" * 16), rng=rng, purpose=PURPOSE, remember=cache
    )
    made.write(0, rng.randbytes(40 * 64 * BLOCK_BYTES))
    assert len(made.finish().packs) == 40
    assert len(entries(tmp_path / "cache")) == writer.REMEMBERED

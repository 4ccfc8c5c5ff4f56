"""What was read first at the last start is read ahead at the next one; the hint is never trusted."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import UnavailableError
from drystone.objects.around import Around, Kind
from drystone.snapstore.far import Far
from drystone.snapstore.local_cache import LocalCache
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import open_store
from drystone.transfer import boot_order
from drystone.transfer.boot_order import CHUNK_BLOCKS, CHUNKS_MAX, NOTED, PAUSE_S, SMALL_BYTES, START_S, BootOrder
from drystone.transfer.snapserver import CACHE_BYTES
from tests.memory_store import MemoryStore
from tests.snapstore.model_snapshots import STORE_ID, new_store, take

R = TypeVar("R")
CHUNK = CHUNK_BLOCKS * BLOCK_BYTES
CHUNKS = 80
WAIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire(Around):
    """A store that tells what was read of packs, and may be dead."""

    ranges: list[tuple[int, int]] = field(default_factory=list)
    dead: threading.Event = field(default_factory=threading.Event)

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        del sent_bytes
        if kind == "get_range" and "/packs/" in name:
            self.ranges.append((1, 1))
            if self.dead.is_set():
                raise UnavailableError("no answer")
        return ask()


@dataclass(kw_only=True)
class World:
    """A snapshot over a network, as servers have it that start one after the other and share a cache."""

    objects: MemoryStore
    disk: bytearray
    cache: LocalCache
    now: float = 0.0
    fars: list[Far] = field(default_factory=list)
    wire: Wire | None = None

    def started(self) -> BootOrder:
        """Return the order of a server that has just been started."""
        far = Far(self.cache)
        self.fars.append(far)
        self.wire = Wire(inner=self.objects)
        reader = SnapshotReader.open(open_store(self.wire, STORE_ID, far), "snap-00000000")
        reader.read(0, BLOCK_BYTES)  # Maps and index are there.
        self.wire.ranges.clear()
        return BootOrder(reader, far, self.cache, lambda: self.now)

    def settled(self) -> int:
        """Return how many requests were made, once no more are."""
        self.fars[-1].ahead.shutdown(wait=True)
        assert self.wire is not None
        return len(self.wire.ranges)

    def hint(self) -> list[int]:
        raw = self.cache.get("boot/disk-aaaaaaaa", "order")
        return [] if raw is None else list(msgspec.json.decode(raw))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    objects, disk = MemoryStore(), bytearray(random.Random(3).randbytes(CHUNKS * CHUNK))
    take(new_store(objects), random.Random(4), "snap-00000000", disk, [(0, len(disk) // BLOCK_BYTES)])
    made = World(objects=objects, disk=disk, cache=LocalCache(tmp_path / "cache"))
    yield made
    for far in made.fars:
        far.close()


def order() -> list[int]:
    return random.Random(7).sample(range(1, CHUNKS), 2 * NOTED)


def read(boot: BootOrder, chunks: list[int]) -> None:
    for chunk in chunks:
        boot.read(chunk * CHUNK + 8192, 4096)


def test_the_order_of_a_start_is_noted_and_replayed(world: World) -> None:
    """S232: by another server, on another snapshot of the disk as well; each chunk by one request."""
    read(world.started(), order())
    assert world.settled() == 0
    assert world.hint() == order()
    boot = world.started()
    read(boot, order()[:1])
    assert world.settled() == 2 * NOTED
    reader = boot._reader
    for chunk in order():
        assert reader.read(chunk * CHUNK, CHUNK) == world.disk[chunk * CHUNK : (chunk + 1) * CHUNK]
    assert world.settled() == 2 * NOTED, "a read was not from memory"


def test_who_fills_the_disk_notes_nothing_and_begins_nothing(world: World) -> None:
    read(world.started(), order())
    before = world.hint()
    boot = world.started()
    for at in range(0, CHUNKS * CHUNK, SMALL_BYTES + 4096):
        boot.read(at, SMALL_BYTES + 4096)
    assert world.settled() == 0
    assert world.hint() == before


def test_a_start_is_replayed_once_until_the_next_one(world: World) -> None:
    """S232: a client that connects again makes no new start; one much later does."""
    read(world.started(), order())
    boot = world.started()
    replayed: list[int] = []
    boot._replay = lambda chunks: replayed.append(len(chunks))  # type: ignore[method-assign]
    read(boot, order())
    world.now += START_S + 1
    read(boot, [3, 5, 9])
    assert replayed == [2 * NOTED]
    world.now += PAUSE_S + 1
    read(boot, [1])
    assert replayed == [2 * NOTED] * 2


def test_what_is_read_late_and_what_is_too_much_is_not_noted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S232: bounded."""
    boot = world.started()
    read(boot, order()[:NOTED])
    for _ in range(4):
        world.now += START_S / 3
        boot.read(0, 4096)
    read(boot, order())
    assert world.hint() == order()[:NOTED]
    monkeypatch.setattr(boot_order, "CHUNKS_MAX", NOTED + 8)
    read(world.started(), list(range(CHUNKS)))
    assert len(world.hint()) <= NOTED + 8


@pytest.mark.parametrize(
    "lie",
    [
        b"", b"x", b"{}", b"[1.5]", b'["a"]', b"\xff", b"[-1, 80, 999999999999999999999999]", b"[-1, 80, 1000000]",
        msgspec.json.encode([5] * 1000), msgspec.json.encode(list(range(80, 10_000))), b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_hint_that_makes_no_sense_costs_nothing(world: World, lie: bytes) -> None:
    """S232: only chunks of the snapshot are read, and each once."""
    world.cache.put("boot/disk-aaaaaaaa", "order", lie)
    boot = world.started()
    assert all(0 <= one < CHUNKS for one in boot._known())
    read(boot, [1])
    assert world.settled() <= 1
    assert boot._reader.read(0, CHUNK) == world.disk[:CHUNK]


def test_a_store_in_trouble_is_not_asked_for_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S232: the first error ends it, for all who read ahead."""
    monkeypatch.setattr(boot_order, "AT_ONCE", 4)
    read(world.started(), order())
    boot = world.started()
    assert world.wire is not None
    world.wire.dead.set()
    read(boot, [1])
    end = time.monotonic() + WAIT_S
    while not world.wire.ranges and time.monotonic() < end:
        time.sleep(0.01)
    # Each of the four may have begun one; a pack that cannot be read is asked once more.
    assert 1 <= world.settled() <= 8


def test_the_bound_is_less_than_half_of_the_memory_for_frames() -> None:
    """What is read ahead must not push out what it has just read."""

    assert CHUNKS_MAX * CHUNK <= CACHE_BYTES * 5 // 8 // 2

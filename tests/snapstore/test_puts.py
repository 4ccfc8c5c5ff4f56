"""Packs on their way into a store over a network: several at once, in order, and never a map behind a hole."""

import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pytest

from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import SessionId
from drystone.objects.around import Around, Kind
from drystone.snapstore import writer
from drystone.snapstore.far import Far
from drystone.snapstore.puts import AT_ONCE, QUICK_S, Puts
from drystone.snapstore.store import hex128, open_store
from drystone.snapstore.writer import SnapshotWriter
from tests.memory_store import MemoryStore
from tests.snapstore.model_snapshots import STORE_ID, new_store

R = TypeVar("R")
MIB = 1 << 20
WAIT_S = 5.0


@pytest.fixture
def far() -> Iterator[Far]:
    made = Far()
    yield made
    made.close()


class Together:
    """Writes that end only when so many are under way; the rest ends at once."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count)
        self.most = self._now = 0
        self._lock = threading.Lock()

    def put(self, number: int, *, wait: bool) -> int:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        if wait:
            self._barrier.wait(WAIT_S)
        with self._lock:
            self._now -= 1
        return number


def run(puts: Puts[int], together: Together, waits: list[bool]) -> list[int]:
    try:
        for number, wait in enumerate(waits):
            puts.begin(partial(together.put, number, wait=wait))
        return puts.finish()
    finally:
        puts.end()


def test_several_are_under_way_over_a_network_and_told_in_order() -> None:
    """S230: four at once after the first ones were quick; never more."""
    together = Together(AT_ONCE)
    waits = [False] * 4 + [True] * 2 * AT_ONCE
    assert run(Puts(far=True), together, waits) == list(range(len(waits)))
    assert together.most == AT_ONCE


def test_one_is_under_way_where_the_store_is_near() -> None:
    together = Together(1)
    assert run(Puts(far=False), together, [False] * 20) == list(range(20))
    assert together.most == 1


def test_on_a_slow_link_one_goes_at_a_time() -> None:
    """S230: four that share it would each take four times as long, and come nearer to their time limit."""
    now = [0.0]
    lock = threading.Lock()
    flying, seen = [0], list[int]()
    puts: Puts[int] = Puts(far=True, monotonic=lambda: now[0])

    def slow() -> int:
        with lock:
            flying[0] += 1
            seen.append(flying[0])
            now[0] += QUICK_S
        with lock:
            flying[0] -= 1
        return 0

    for _ in range(10):
        puts.begin(slow)
    puts.finish()
    puts.end()
    assert puts._allowed == 1
    assert max(seen[2:]) == 1


class Broken(Around):
    """A store that one pack cannot be written to; the others are slow enough to be under way then."""

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        del sent_bytes
        if kind == "put" and "/packs/" in name:
            with LOCK:
                COUNT.append(name)
                mine = len(COUNT)
            if mine == 3:
                raise UnavailableError("no answer")
        return ask()


LOCK = threading.Lock()
COUNT: list[str] = []


def test_nothing_is_written_behind_a_pack_that_could_not_be(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """I1, S230: neither by `write` nor by `finish`, whichever of them finds it."""
    monkeypatch.setattr(writer, "PACK_BYTES", MIB)
    for blocks in (4 * 256, 40 * 256):
        COUNT.clear()
        objects, rng = MemoryStore(), random.Random(5)
        new_store(objects)
        store = open_store(Broken(inner=objects), STORE_ID, far)
        made = SnapshotWriter(store=store, session=SessionId(hex128(rng)), rng=rng)

        def write(made: SnapshotWriter = made, blocks: int = blocks, rng: random.Random = rng) -> None:
            for at in range(0, blocks, 256):
                made.write(at, rng.randbytes(256 * BLOCK_BYTES))
            made.finish()

        with pytest.raises(UnavailableError):
            write()
        made.abort()
        assert not [name for name in objects.content() if "/maps/" in name]

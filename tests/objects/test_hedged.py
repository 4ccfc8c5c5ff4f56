"""Reads that take long are asked for a second time, of few of them, and never where the store is in trouble (S233)."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from tests.memory_store import MemoryStore

from drystone.domain.errors import UnavailableError
from drystone.objects.around import Around, Kind
from drystone.objects.contract import NotFoundError
from drystone.objects.hedged import KNOWN_LEAST, SAVED_MAX, SHARE, THREADS, TROUBLE_S, Hedged, Tail

R = TypeVar("R")
QUICK_S = 0.001
SLOW_S = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(Around):
    """A store of which the next requests do what is said; those after it are quick."""

    asked: list[str] = field(default_factory=list)
    then: list[Callable[[], None]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        del sent_bytes, name
        with self.lock:
            self.asked.append(kind)
            act = self.then.pop(0) if self.then else None
        (act or (lambda: time.sleep(QUICK_S)))()
        return ask()


def slow() -> None:
    time.sleep(SLOW_S)


def failing() -> None:
    raise UnavailableError("no answer")


def slow_and_failing() -> None:
    slow()
    failing()


@pytest.fixture
def store() -> Iterator[tuple[Hedged, Slow]]:
    inner = Slow(inner=MemoryStore({"a": bytes(range(256)) * 16}))
    made = Hedged(inner=inner, tail=Tail())
    yield made, inner
    made.tail.threads.shutdown()


def practised(made: Hedged, inner: Slow, reads: int = 64) -> None:
    """Have it know how long reads take."""
    for _ in range(reads):
        made.get_range("a", 0, 100)
    inner.asked.clear()


def seconds(read: Callable[[], bytes]) -> float:
    began = time.monotonic()
    assert read() == bytes(range(100))
    return time.monotonic() - began


def test_a_read_that_takes_long_is_asked_for_twice(store: tuple[Hedged, Slow]) -> None:
    made, inner = store
    practised(made, inner)
    inner.then.append(slow)
    assert seconds(lambda: made.get_range("a", 0, 100)) < SLOW_S / 2
    assert len(inner.asked) == 2


def test_of_many_that_take_long_few_are(store: tuple[Hedged, Slow]) -> None:
    """When all of a store is slow, it has one request in 32 more, and what was saved."""
    made, inner = store
    practised(made, inner)
    count = 64
    inner.then.extend([lambda: time.sleep(0.04)] * 2 * count)
    for _ in range(count):
        made.get_range("a", 0, 100)
    assert count < len(inner.asked) <= count + SAVED_MAX + count * SHARE


@pytest.mark.parametrize("reads", [0, KNOWN_LEAST - 1])
def test_nothing_is_asked_twice_before_much_is_known(store: tuple[Hedged, Slow], reads: int) -> None:
    made, inner = store
    practised(made, inner, reads)
    inner.then.append(slow)
    assert seconds(lambda: made.get_range("a", 0, 100)) >= SLOW_S
    assert len(inner.asked) == 1


def test_reads_are_judged_by_those_of_their_size(store: tuple[Hedged, Slow]) -> None:
    made, inner = store
    practised(made, inner)
    inner.then.append(slow)
    made.get_range("a", 0, 4096)
    assert len(inner.asked) == 1


def test_a_store_in_trouble_is_asked_once(store: tuple[Hedged, Slow]) -> None:
    made, inner = store
    now = [0.0]
    practised(made, inner)
    made.tail.monotonic = lambda: time.monotonic() + now[0]
    inner.then.append(failing)
    with pytest.raises(UnavailableError):
        made.get_range("a", 0, 100)
    for _ in range(100):
        made.get_range("a", 0, 100)
    inner.asked.clear()
    inner.then.append(slow)
    assert seconds(lambda: made.get_range("a", 0, 100)) >= SLOW_S
    assert len(inner.asked) == 1
    now[0] = TROUBLE_S + 1
    inner.then.append(slow)
    assert seconds(lambda: made.get_range("a", 0, 100)) < SLOW_S / 2


@pytest.mark.parametrize(
    ("then", "asked", "answered"),
    [
        ([failing], 1, False),
        ([slow_and_failing, slow], 2, True),
        ([slow, failing], 2, True),
        ([slow_and_failing, failing], 2, False),
    ],
)
def test_an_error_counts_when_no_answer_can_come(
    store: tuple[Hedged, Slow], then: list[Callable[[], None]], asked: int, *, answered: bool
) -> None:
    made, inner = store
    practised(made, inner)
    inner.then.extend(then)
    if answered:
        seconds(lambda: made.get_range("a", 0, 100))
    else:
        with pytest.raises(UnavailableError):
            made.get_range("a", 0, 100)
    assert len(inner.asked) == asked


def test_that_nothing_is_there_is_an_answer(store: tuple[Hedged, Slow]) -> None:
    made, inner = store
    practised(made, inner)
    with pytest.raises(NotFoundError):
        made.get_range("b", 0, 100)
    assert len(inner.asked) == 1
    assert made.tail.begin(100) is not None


def test_writes_and_listings_are_made_once(store: tuple[Hedged, Slow]) -> None:
    made, inner = store
    practised(made, inner)
    for act in (
        lambda: made.put("c", b"1"), lambda: made.replace("c", b"2"), lambda: made.size("c"), lambda: made.delete("c"),
    ):  # fmt: skip
        inner.then.append(lambda: time.sleep(0.1))
        act()
    assert len(inner.asked) == 4


def test_of_more_than_can_be_hedged_all_are_answered(store: tuple[Hedged, Slow]) -> None:
    made, inner = store
    practised(made, inner)
    inner.then.extend([lambda: time.sleep(0.1)] * 300)
    wrong: list[int] = []

    def read() -> None:
        if made.get_range("a", 0, 100) != bytes(range(100)):
            wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(2 * THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
    assert made.tail._busy == 0
    assert len(inner.asked) <= 2 * THREADS + SAVED_MAX + 2 * THREADS * SHARE + 1

"""How much is read ahead of those who read in order, and in how many requests."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from drystone.snapstore.ahead import GROUP_MAX, Ahead, Share, groups
from drystone.snapstore.pace import FIRST_BYTES, LEAST_BYTES, MOST_BYTES, RATE_S, SAMPLES, Pace

MIB = 1 << 20


class Link:
    """A link with a latency and a rate, on a clock of its own: requests in turns of `window` bytes."""

    def __init__(self, latency_s: float, bytes_per_s: float) -> None:
        self.latency_s, self.bytes_per_s = latency_s, bytes_per_s
        self.now = 0.0
        self.pace = Pace(lambda: self.now)

    def transfer(self, seconds: float) -> list[int]:
        """Keep as much on its way as the pace says; return what it said over time."""
        end, free = self.now + seconds, self.now
        said: list[int] = []
        flying: list[tuple[float, float, int]] = []
        while self.now < end:
            while sum(MIB for _ in flying) + MIB <= max(MIB, self.pace.window_bytes):
                free = max(free, self.now) + MIB / self.bytes_per_s
                with self.pace._lock:
                    flying.append((free + self.latency_s, self.now, self.pace._delivered))
            arrives, began, before = flying.pop(0)
            self.learn(arrives, began, before)
            said.append(self.pace.window_bytes)
        return said

    def learn(self, arrives: float, began: float, before: int) -> None:
        """One request ends: as `measured`, whose requests overlap in threads."""
        marks = iter((began, arrives))
        delivered, self.pace._delivered = self.pace._delivered, before
        self.pace._monotonic = lambda: next(marks)

        def read() -> bytes:
            self.pace._delivered = delivered
            return b""

        self.pace.measured(read, MIB)
        self.now = arrives
        self.pace._monotonic = lambda: self.now


@pytest.mark.parametrize(("latency_s", "mbit"), [(0.2, 1000), (0.02, 1000), (0.2, 100), (0.02, 100), (0.1, 300)])
def test_the_window_follows_latency_and_rate(latency_s: float, mbit: float) -> None:
    """S231: enough to keep the link busy, and no more than a few times that."""
    link = Link(latency_s, mbit * 125_000)
    said = link.transfer(20)
    product = latency_s * link.bytes_per_s
    for window in said[len(said) // 2 :]:
        assert window >= min(2 * product, MOST_BYTES * 0.99)
        # A request of a MiB takes time of its own, which counts as latency.
        assert window <= min(MOST_BYTES, max(LEAST_BYTES, 4 * (product + MIB)))


def test_the_window_is_found_anew() -> None:
    """S231: after a pause, and after the link became slower or longer."""
    link = Link(0.1, 125e6)
    assert link.pace.window_bytes == FIRST_BYTES
    assert max(link.transfer(5)) > 30 * MIB
    link.bytes_per_s = 12.5e6
    assert link.transfer(2 * RATE_S)[-1] < 8 * MIB
    link.now += RATE_S + 1
    assert link.pace.window_bytes == FIRST_BYTES


def test_a_few_requests_say_nothing() -> None:
    link = Link(0.2, 125e6)
    for number in range(SAMPLES - 1):
        link.learn(link.now + 30, link.now, number * MIB)
        assert link.pace.window_bytes == FIRST_BYTES


def test_memory_is_shared_by_those_who_read_in_order() -> None:
    """S231."""
    now = [0.0]
    share = Share(100, lambda: now[0])
    one, two = object(), object()
    assert share.of(one) == 100
    assert (share.of(two), share.of(one)) == (50, 50)
    now[0] += 10
    assert share.of(one) == 100


@pytest.mark.parametrize(
    ("following", "stretches", "found"),
    [
        (range(5, 7), 100, [(5, 6), (6, 7)]),
        (range(5, 5), 100, []),
        (range(4, 20), 100, [(4, 6), (6, 8), (8, 10), (10, 12), (12, 14), (14, 16), (16, 18), (18, 20)]),
        (range(5, 22), 100, [(5, 6), (6, 8), (8, 10), (10, 12), (12, 14), (14, 16), (16, 18), (18, 20), (20, 22)]),
        # What does not fill a group waits, unless the disk ends there.
        (range(4, 39), 100, [(at, at + 4) for at in range(4, 36, 4)]),
        (range(4, 39), 38, [*((at, at + 4) for at in range(4, 36, 4)), (36, 38)]),
        (range(98, 102), 100, [(98, 99), (99, 100)]),
    ],
)
def test_many_stretches_are_loaded_in_groups(following: range, stretches: int, found: list[tuple[int, int]]) -> None:
    assert [(one.start, one.stop) for one in groups(following, stretches)] == found


def test_each_stretch_is_begun_once_and_its_reader_waits_for_it() -> None:
    """S206, S231: however the window grows and shrinks meanwhile; and one who reads elsewhere takes nothing away."""
    begun: list[int] = []
    lock = threading.Lock()
    most = [4]

    def load(stretches: range) -> None:
        with lock:
            begun.extend(stretches)

    with ThreadPoolExecutor(4) as pool:
        ahead = Ahead(pool, load, lambda: most[0])
        for stretch in range(500):
            most[0] = (4, 64, 17, 40, 1)[stretch // 7 % 5]
            ahead.read(stretch, 500)
            if stretch % 3 == 0:
                ahead.read((stretch * 7919 + 250) % 500, 500)
            with lock:
                assert stretch < 3 or stretch in begun or stretch not in ahead._begun
        assert len(begun) == len(set(begun)) >= 450
        assert len(ahead._begun) <= 2 * 64 + GROUP_MAX

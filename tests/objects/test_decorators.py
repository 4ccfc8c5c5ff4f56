"""What stands around a store: tries again, counts, limits."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.memory_store import MemoryStore
from tests.objects.faulty import AFTER, BEFORE, Faulty

from drystone.domain.errors import IntegrityError, SpaceError, UnavailableError
from drystone.objects.contract import NotFoundError, ObjectEntry
from drystone.objects.limited import AHEAD_S_MAX, FIRST_S_MAX, Bandwidth, Limited, Limits, parse_hours
from drystone.objects.measured import Measured, Tally
from drystone.objects.retrying import ATTEMPTS, Retrying


def retrying(faulty: Faulty) -> tuple[Retrying, list[float]]:
    pauses: list[float] = []
    return Retrying(inner=faulty, pause=pauses.append), pauses


def test_history_1_a_write_that_timed_out_and_was_done_is_done() -> None:
    faulty = Faulty(inner=MemoryStore())
    objects, pauses = retrying(faulty)
    faulty.then("put", AFTER, BEFORE)
    objects.put("a/b", [b"12", b"34"])
    assert objects.get("a/b") == b"1234"
    assert [kind for kind, _ in faulty.asked] == ["put", "put", "put", "get", "get"]
    assert pauses == pytest.approx([0.2, 0.6])


def test_history_1_other_bytes_under_the_name_are_no_success() -> None:
    faulty = Faulty(inner=MemoryStore({"a": b"another"}))
    objects, _ = retrying(faulty)
    with pytest.raises(IntegrityError):
        objects.put("a", b"another")
    faulty.then("put", BEFORE)
    with pytest.raises(IntegrityError):
        objects.put("a", b"mine")
    assert objects.get("a") == b"another"


def test_history_1_a_write_that_is_still_under_way_is_waited_for() -> None:
    """The service says that the name is taken, and does not show it yet."""
    inner = MemoryStore()
    faulty = Faulty(inner=inner)
    objects, _ = retrying(faulty)
    content: dict[str, bytes] = {}

    def hidden() -> None:
        content.update(inner.content())
        inner.delete("a")

    def shown() -> None:
        inner.put("a", content["a"])

    faulty.then("put", AFTER, lambda: None, shown)
    faulty.then("get", hidden)
    objects.put("a", b"1")
    assert objects.get("a") == b"1"


@pytest.mark.parametrize("fault", [BEFORE, AFTER])
def test_history_2_requests_are_made_again_while_the_store_is_slow(fault: str) -> None:
    faulty = Faulty(inner=MemoryStore({"a": b"12"}))
    objects, pauses = retrying(faulty)
    for kind in ("get", "get_range", "size", "replace", "delete", "clock"):
        faulty.then(kind, *[fault] * (ATTEMPTS - 1))
    assert objects.get("a") == b"12"
    assert objects.get_range("a", 0, 1) == b"1"
    assert objects.size("a") == 2
    objects.replace("a", b"3")
    objects.delete("a")
    objects.clock()
    assert len(pauses) == 6 * (ATTEMPTS - 1)
    assert max(pauses) == pytest.approx(5.4)


def test_what_does_not_pass_is_said_and_not_tried_again() -> None:
    faulty = Faulty(inner=MemoryStore(capacity_bytes=1))
    objects, pauses = retrying(faulty)
    with pytest.raises(SpaceError):
        objects.put("a", b"12")
    with pytest.raises(NotFoundError):
        objects.get("a")
    assert pauses == []
    faulty.then("size", *[BEFORE] * ATTEMPTS)
    with pytest.raises(UnavailableError, match="503"):
        objects.size("a")
    assert len(pauses) == ATTEMPTS - 1


class CutListing(MemoryStore):
    """Its listings end in an error once."""

    def __init__(self) -> None:
        super().__init__({f"a/{n}": b"" for n in range(9)})
        self.cuts = 2

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        for number, entry in enumerate(super().list(prefix)):
            if self.cuts and number == 4:
                self.cuts -= 1
                raise UnavailableError("half of a listing")
            yield entry


def test_history_2_a_listing_that_was_cut_goes_on_without_a_name_twice() -> None:
    objects = Retrying(inner=CutListing(), pause=lambda _seconds: None)
    assert [entry.name for entry in objects.list("a/")] == [f"a/{n}" for n in range(9)]
    with pytest.raises(UnavailableError):
        list(Retrying(inner=CutListing(), pause=lambda _seconds: None, attempts=2).list("a/"))


def test_requests_are_counted() -> None:
    faulty = Faulty(inner=MemoryStore())
    tally, now = Tally(), iter(range(100))
    objects = Measured(inner=faulty, store="s3://b", tally=tally, monotonic=lambda: float(next(now)))
    objects.put("a", [b"123", memoryview(b"45")])
    assert objects.get("a") == b"12345"
    objects.get_range("a", 1, 3)
    with pytest.raises(NotFoundError):
        objects.get("b")
    # A store without its mark is another place: whoever watches it asks soon. One that is to be made has none yet.
    with pytest.raises(NotFoundError):
        objects.get("s/owner")
    with pytest.raises(NotFoundError):
        objects.size("s/owner")
    faulty.then("get", BEFORE)
    with pytest.raises(UnavailableError):
        objects.get("a")
    assert [entry.name for entry in objects.list("")] == ["a"]
    found = {one.kind: (one.requests, one.bytes, one.errors, one.seconds) for one in tally.counts()}
    assert found == {
        "put": (1, 5, 0, 1.0), "get": (4, 5, 2, 4.0), "get_range": (1, 2, 0, 1.0), "list": (1, 0, 0, 1.0),
        "size": (1, 0, 0, 1.0),
    }  # fmt: skip
    other = Tally()
    other.add(*tally.take())
    other.add(*tally.take())
    assert sum(one.requests for one in other.counts()) == 8
    assert tally.counts() == ()


def test_each_page_of_a_listing_is_a_request() -> None:
    tally = Tally()
    content = {f"n/{n:05}": b"" for n in range(2001)}
    objects = Measured(inner=MemoryStore(content), store="s", tally=tally)
    assert len(list(objects.list("n/"))) == 2001
    assert tally.counts()[0].requests == 3


def test_bytes_of_all_processes_together_keep_to_the_bandwidth(tmp_path: Path) -> None:
    now, waits = [100.0], list[float]()

    def limited() -> Limited:
        bandwidth = Bandwidth(
            limits=Limits(bytes_per_s=10), file=tmp_path / "spent", monotonic=lambda: now[0], pause=waits.append
        )  # fmt: skip
        return Limited(inner=MemoryStore({"a": b"x" * 30}), bandwidth=bandwidth)

    one, two = limited(), limited()
    one.put("b", b"x" * 20)
    two.get("a")
    assert waits == pytest.approx([2.0, 5.0])
    now[0] = 200.0
    one.size("a")
    two.delete("a")
    one.put("c", b"x" * 10)
    assert waits[2:] == pytest.approx([1.0])
    # After a boot the clock begins anew.
    now[0] = -AHEAD_S_MAX
    one.put("d", b"x" * 10)
    assert waits[3:] == pytest.approx([1.0])


def test_limits_follow_the_hours_of_a_zone() -> None:
    """S272: by what a clock on the wall there shows, also over midnight."""
    hours = parse_hours(["22:00-06:00 100", "12:00-13:00 5"])
    limits = Limits(bytes_per_s=20_000_000, hours=hours, time_zone="Europe/Berlin")
    # 2026-11-30 is winter there (UTC + 1), 2026-07-01 summer (UTC + 2).
    winter, summer = 1_795_996_800, 1_782_864_000
    found = [limits.at(day + hour * 3600) // 1_000_000 for day in (winter, summer) for hour in (4, 5, 11, 20, 21, 22)]
    assert found == [100, 20, 5, 20, 100, 100, 20, 20, 20, 100, 100, 100]
    assert Limits().any is False
    assert Limits(hours=parse_hours(["00:00-00:00 1"])).at(winter) == 1_000_000
    assert Limits(hours=parse_hours(["08:00-20:00 0"])).any is False


def test_who_waits_goes_on_by_the_limit_of_the_next_hour(tmp_path: Path) -> None:
    """S272: what was reckoned at a slow hour neither stays nor holds up the others."""
    wall, now, waits = [1_795_996_800 + 21 * 3600 - 1.0], [100.0], list[float]()

    def pause(seconds: float) -> None:
        waits.append(seconds)
        wall[0] += seconds
        now[0] += seconds

    limits = Limits(bytes_per_s=1_000_000, hours=parse_hours(["21:00-22:00 100"]), time_zone="UTC")
    bandwidth = Bandwidth(
        limits=limits, file=tmp_path / "spent", wall=lambda: wall[0], monotonic=lambda: now[0], pause=pause
    )
    bandwidth.spend(160_000_000)
    assert waits == pytest.approx([60.0, 1.0])
    # What is left in the file is of the slow hour, and shrinks as its wait did.
    bandwidth.spend(100_000_000)
    assert sum(waits[2:]) == pytest.approx(2.0, abs=0.1)
    waits.clear()
    wall[0] += 3600
    now[0] += 3600
    bandwidth.spend(1_000_000)
    assert waits == pytest.approx([1.0])


def test_guests_never_wait_and_leave_the_others_a_share(tmp_path: Path) -> None:
    """S272."""
    now, waits = [100.0], list[float]()
    bandwidth = Bandwidth(
        limits=Limits(bytes_per_s=10), file=tmp_path / "spent", monotonic=lambda: now[0], pause=waits.append
    )  # fmt: skip
    guests = Limited(inner=MemoryStore({"a": b"x" * 30}), bandwidth=bandwidth, first=True)
    uploads = Limited(inner=MemoryStore(), bandwidth=bandwidth)
    guests.get("a")
    assert waits == []
    uploads.put("b", b"x" * 10)
    assert waits == pytest.approx([4.0])
    # However much they read: uploads wait for five seconds of it at most, and their own time.
    now[0] = 200.0
    for _ in range(1000):
        guests.get("a")
    uploads.put("c", b"x" * 10)
    assert waits[1:] == pytest.approx([FIRST_S_MAX + 1.0])
    # What uploads have booked stays booked.
    guests.get("a")
    uploads.put("d", b"x" * 10)
    assert waits[2:] == pytest.approx([FIRST_S_MAX + 2.0])

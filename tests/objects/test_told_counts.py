"""What is asked of a store is counted wherever it is asked, and each request once (S273)."""

import threading
from pathlib import Path

import pytest

from drystone.objects import told_counts
from drystone.objects.measured import Count, Tally
from drystone.objects.told_counts import Listening, Telling


def count(requests: int, *, kind: str = "get") -> Count:
    return Count(store="s", kind=kind, requests=requests, bytes=10 * requests, errors=1, seconds=0.5)


def told(file: Path, process: str, *counts: Count) -> None:
    tally = Tally()
    tally.add(*counts)
    with Telling(tally, file, process):
        pass


def test_each_request_is_counted_once_whoever_asks_and_dies(tmp_path: Path) -> None:
    file, tally = tmp_path / "counts", Tally()
    listening = Listening(tally, file)
    listening.listen()
    assert tally.counts() == ()
    told(file, "1", count(3))
    listening.listen()
    listening.listen()
    told(file, "1", count(5), count(2, kind="size"))
    listening.listen()
    assert [(one.kind, one.requests, one.bytes) for one in tally.counts()] == [("get", 5, 50), ("size", 2, 20)]
    # Whoever listens from now on counts what is asked from now on.
    later = Tally()
    Listening(later, file).listen()
    assert later.counts() == ()
    # Another process begins anew, and what was counted stays.
    told(file, "2", count(1))
    listening.listen()
    assert [(one.kind, one.requests) for one in tally.counts()] == [("get", 6), ("size", 2)]
    file.write_bytes(file.read_bytes()[:-5])
    listening.listen()
    file.unlink()
    listening.listen()
    assert [(one.kind, one.requests) for one in tally.counts()] == [("get", 6), ("size", 2)]


def test_it_is_told_while_the_process_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_counts, "EVERY_S", 0.01)
    heard, tally = Tally(), Tally()
    listening = Listening(heard, tmp_path / "counts")
    with Telling(tally, tmp_path / "counts", "1"):
        tally.add(count(1))
        for _ in range(500):
            listening.listen()
            if heard.counts():
                break
            threading.Event().wait(0.01)
        assert heard.counts() == tally.counts()


def test_no_count_is_lost_between_two_who_take() -> None:
    tally, sums = Tally(), Tally()

    def ask() -> None:
        for _ in range(500):
            tally.add(count(1))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        sums.add(*tally.take())
    sums.add(*tally.take())
    assert sums.counts()[0].requests == 2000

"""The real server, its clock set wrong while it works (S115 to S118, S121)."""

import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from tests.system.harness import Installation, installation

DAY = 86_400.0
YEAR = 365 * DAY
LEAPS = (-3 * DAY, YEAR, 10 * YEAR)
LOOK_SECONDS = 10.0
"""How often the server looks whether anything has expired."""
BLOCK = 4096


def expire(system: Installation, snapshot_id: str, at: float) -> None:
    """Give a snapshot a deadline that no client may ask for."""
    with closing(sqlite3.connect(system.data / "catalog.db", timeout=30.0)) as catalog, catalog:
        catalog.execute("UPDATE snapshot SET deadline_at = ? WHERE id = ?", (at, snapshot_id))


def due(system: Installation) -> list[str]:
    """Return the snapshots that have a deadline and are there."""
    with closing(sqlite3.connect(system.data / "catalog.db", timeout=30.0)) as catalog:
        return [name for (name,) in catalog.execute("SELECT id FROM snapshot WHERE NOT permanent AND state = 'NORMAL'")]


def soon() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 30 * DAY))


class Load:
    """A guest that writes all the time, and says what it could not."""

    def __init__(self, system: Installation, disk_id: str) -> None:
        self._system, self._disk_id = system, disk_id
        self._ended = threading.Event()
        self.writes = 0
        self.slowest_s = 0.0
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _write(self) -> None:
        with self._system.nbd(self._disk_id) as client:
            while not self._ended.wait(0.01):
                began = time.monotonic()
                client.pwrite(self.writes % 2000 * BLOCK, self.writes.to_bytes(8, "little") * 512)
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                self.writes += 1


def test_nothing_is_lost_and_nothing_stops_while_the_clock_is_wrong(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(tmp_path_factory.mktemp("clocks"))
    wrong_by = place / "wrong_by"
    wrong_by.write_text("0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("wrong_clock")))
    monkeypatch.setenv("WRONG_CLOCK", str(wrong_by))
    settings = "rescan_after_s = 1\nexpiry_percent_per_hour = 100\n"
    with installation(place / "data", settings) as system:
        busy = system.create_disk()
        system.attach(busy)
        kept = [system.take(busy, Deadline=soon()) for _ in range(3)]

        def clock() -> dict[str, object]:
            return dict(system.own("DescribeHost")["Clock"])

        def believed() -> bool:
            return clock()["DoubtedSince"] is None

        with Load(system, busy) as load:
            for leap in LEAPS:
                wrong_by.write_text(repr(leap))
                assert not believed(), "calls are answered, and it is said"
                kept += [system.take(busy), system.take(busy, Deadline=soon())]
                ended = time.monotonic() + LOOK_SECONDS + 2
                system.wait(lambda ended=ended: time.monotonic() > ended, "another look")
                assert not believed()
            system.stop()
            system.start()
            assert not believed(), "also after a restart"
            wrong_by.write_text("0")
            assert believed()
            # What is due expires, now that nobody doubts the clock.
            gone = system.take(busy, Deadline=soon())
            expire(system, gone, time.time() - 1)
            system.wait(lambda: system.snapshot(gone) is None, f"{gone} expired", 60)
        assert load.writes > 500
        assert load.slowest_s < 5
        assert [name for name in kept if system.snapshot(name) is None] == []
        assert system.content(kept[0], BLOCK) == bytes(BLOCK)
        page = system.own("DescribeOperations", Limit=100)["OperationSet"]
        kinds = Counter(row["Kind"] for row in page)
        print({"writes": load.writes, "slowest_s": round(load.slowest_s, 3), "operations": dict(kinds)})
        assert kinds["delete_snapshot"] == 1
        assert not kinds["compare"]
        assert not kinds["prove"]
        copies = list((system.data / "backups").glob("catalog-*.db"))
        assert len(copies) <= 1 + 1, "one at the first start, one at the second at most"
        health = system.own("DescribeStoreHealth")
        assert health["PacksDue"] == 0
        # Believing it is a person's word: then a year's deadlines have come.
        wrong_by.write_text(repr(YEAR))
        answer = system.own("ConfirmClock")["Clock"]
        assert 0 < answer["ExpiryWaitsSeconds"] <= DAY
        # Whoever has the right time is refused from then on.
        assert system.code("DescribeDisks") == "AuthFailure.SignatureExpire"
        system.wait(lambda: not due(system), "a year's deadlines", 60)


def test_lost_tracking_heals_and_daemons_are_found_while_the_clock_is_behind(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(tmp_path_factory.mktemp("behind"))
    wrong_by = place / "wrong_by"
    wrong_by.write_text("0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("wrong_clock")))
    monkeypatch.setenv("WRONG_CLOCK", str(wrong_by))
    with installation(place / "data", "rescan_after_s = 8\n") as system:
        disk_id = system.create_disk()
        system.attach(disk_id)
        system.write(disk_id, 0, np.random.default_rng(1).bytes(1 << 20))
        system.take(disk_id)
        system.kill_daemons()
        system.wait(lambda: system.detail(disk_id)["Epoch"] == 2, "the disk opened again")
        time.sleep(3)  # The server has seen that it is LOST, and waits.
        wrong_by.write_text(repr(-3 * DAY))
        system.wait(lambda: system.detail(disk_id)["Tracking"] == "LIVE", "tracking LIVE", 60)

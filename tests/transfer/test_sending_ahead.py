"""Packs are sent while more are written; what did not arrive stays to be sent (S270)."""

import threading
import time
from pathlib import Path

import pytest

from drystone.domain.errors import UnavailableError
from drystone.objects.contract import Parts
from drystone.objects.spooling import Spooling, SpoolPlace, held_bytes, send
from drystone.transfer import sending
from drystone.transfer.sending import sent_ahead
from tests.memory_store import MemoryStore

PACKS = [f"packs/{number}" for number in range(8)]
ALL = [*PACKS, "maps/1"]


class SlowStore(MemoryStore):
    """A store whose writes wait for a gate, or fail."""

    gate: threading.Event
    fails = False

    def put(self, name: str, data: Parts) -> str | None:
        self.gate.wait(30)
        if self.fails:
            raise UnavailableError("not now")
        return super().put(name, data)


def written(spooling: Spooling, inner: SlowStore, *, pause_s: float = 0.0) -> None:
    with sent_ahead(spooling, inner):
        for name in PACKS:
            spooling.put(name, name.encode() * 1000)
            time.sleep(pause_s)
        spooling.put("maps/1", b"map")


@pytest.fixture
def inner() -> SlowStore:
    made = SlowStore()
    made.gate = threading.Event()
    return made


@pytest.fixture
def spooling(tmp_path: Path, inner: SlowStore) -> Spooling:
    place = SpoolPlace(directory=str(tmp_path / "spool" / "s1"), bytes_max=1 << 30, floor_bytes=0)
    return Spooling(inner=inner, place=place, apart=lambda name: name.startswith("packs/"))


def rest_is_sent(spooling: Spooling, inner: SlowStore) -> None:
    for one in [*spooling.spooled]:
        send(Path(spooling.place.directory), one, inner)
    assert {name: inner.get(name) for name in PACKS} == {name: name.encode() * 1000 for name in PACKS}
    assert inner.get("maps/1") == b"map"


def test_over_a_quick_link_nothing_is_left(spooling: Spooling, inner: SlowStore) -> None:
    inner.gate.set()
    written(spooling, inner, pause_s=0.05)
    assert spooling.spooled == []
    rest_is_sent(spooling, inner)
    assert held_bytes(Path(spooling.place.directory)) == 0


def test_a_pack_that_fails_keeps_the_map_back(spooling: Spooling, inner: SlowStore) -> None:
    inner.gate.set()
    real = inner.put

    def put(name: str, data: Parts) -> None:
        if name == PACKS[-1]:
            raise UnavailableError("not now")
        real(name, data)

    inner.put = put  # type: ignore[method-assign]
    written(spooling, inner)
    assert "maps/1" not in inner.content()
    assert {PACKS[-1], "maps/1"} <= {one.name for one in spooling.spooled}
    inner.put = real  # type: ignore[method-assign]
    rest_is_sent(spooling, inner)


def test_who_hangs_keeps_nobody_waiting_and_may_arrive_late(
    spooling: Spooling, inner: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PATIENCE_S", 0.05)
    written(spooling, inner)
    assert [one.name for one in spooling.spooled] == ALL, "none of them has arrived"
    inner.gate.set()
    rest_is_sent(spooling, inner)


def test_what_fails_stays_to_be_sent(spooling: Spooling, inner: SlowStore) -> None:
    inner.gate.set()
    inner.fails = True
    written(spooling, inner, pause_s=0.02)
    assert [one.name for one in spooling.spooled] == ALL, "a map never goes before its packs"
    inner.fails = False
    rest_is_sent(spooling, inner)

"""Objects that lie in a spool before they are sent (S270)."""

import threading
from pathlib import Path

import pytest
from tests.memory_store import MemoryStore
from tests.objects.faulty import AFTER, BEFORE, Faulty

from drystone.domain.errors import IntegrityError, SpaceError, UnavailableError
from drystone.objects.retrying import Retrying
from drystone.objects.spooling import Spooling, SpoolPlace, held_bytes, send

HUGE = 1 << 60


def spooling(spools: Path, inner: MemoryStore, *, session: str = "s1", most: int = 100, floor: int = 0) -> Spooling:
    place = SpoolPlace(directory=str(spools / session), bytes_max=most, floor_bytes=floor)
    return Spooling(inner=inner, place=place, apart=lambda name: name.startswith("packs/"))


def files(spools: Path) -> list[str]:
    return sorted(str(path.relative_to(spools)) for path in spools.rglob("*") if path.is_file())


def test_what_has_no_room_goes_into_the_store_and_a_map_follows_its_packs(tmp_path: Path) -> None:
    inner = MemoryStore()
    objects = spooling(tmp_path, inner)
    for number in range(4):
        objects.put(f"packs/{number}", [bytes(20), bytes(20)])
    objects.put("maps/1", bytes(90))
    assert [one.name for one in objects.spooled] == ["packs/0", "packs/1", "maps/1"]
    assert sorted(inner.content()) == ["packs/2", "packs/3"]
    assert held_bytes(tmp_path) == 80 + 90
    # Where nothing is in the spool nothing must be.
    other = spooling(tmp_path, inner, session="s2")
    other.put("maps/2", b"1")
    assert other.spooled == []
    assert "maps/2" in inner.content()


def test_near_the_floor_packs_go_into_the_store_and_a_map_that_must_follow_is_refused(tmp_path: Path) -> None:
    inner = MemoryStore()
    full = spooling(tmp_path, inner, floor=HUGE)
    full.put("packs/1", b"1")
    assert full.spooled == []
    assert sorted(inner.content()) == ["packs/1"]
    objects = spooling(tmp_path, inner)
    objects.put("packs/2", b"2")
    later = Spooling(
        inner=inner, place=SpoolPlace(directory=objects.place.directory, bytes_max=100, floor_bytes=HUGE),
        apart=objects.apart, spooled=objects.spooled,
    )  # fmt: skip
    with pytest.raises(SpaceError):
        later.put("maps/1", b"3")
    assert "maps/1" not in inner.content()


def test_two_writers_share_the_bound(tmp_path: Path) -> None:
    inner = MemoryStore()
    writers = [spooling(tmp_path, inner, session=f"s{number}", most=1000) for number in range(4)]

    def write(objects: Spooling) -> None:
        for number in range(20):
            objects.put(f"packs/{Path(objects.place.directory).name}-{number}", bytes(30))

    threads = [threading.Thread(target=write, args=(one,)) for one in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held_bytes(tmp_path) == 33 * 30
    assert sum(len(one.spooled) for one in writers) == 33
    assert len(inner.content()) == 80 - 33


def test_sending_goes_on_after_any_end(tmp_path: Path) -> None:
    inner = MemoryStore()
    objects = spooling(tmp_path, inner)
    objects.put("packs/1", b"one")
    (one,) = objects.spooled
    directory = tmp_path / "s1"
    faulty = Faulty(inner=inner)
    faulty.then("put", BEFORE)
    with pytest.raises(UnavailableError):
        send(directory, one, faulty)
    assert inner.content() == {}
    # It arrived, and whoever sent it died before he knew.
    faulty.then("put", AFTER)
    with pytest.raises(UnavailableError):
        send(directory, one, faulty)
    assert inner.content() == {"packs/1": b"one"}
    send(directory, one, Retrying(inner=faulty))
    assert files(tmp_path) == [".lock"]
    send(directory, one, faulty)
    assert inner.content() == {"packs/1": b"one"}


def test_the_directory_of_what_was_sent_stays_for_what_is_put_next(tmp_path: Path) -> None:
    inner = MemoryStore()
    objects = spooling(tmp_path, inner)
    objects.put("packs/1", b"1")
    send(tmp_path / "s1", objects.spooled[0], inner)
    assert files(tmp_path / "s1") == []
    assert (tmp_path / "s1" / "packs").is_dir()


@pytest.mark.parametrize("there", [b"onf", b"on"])
def test_a_wrong_byte_in_the_spool_is_never_sent(tmp_path: Path, there: bytes) -> None:
    inner = MemoryStore()
    objects = spooling(tmp_path, inner)
    objects.put("packs/1", b"one")
    (tmp_path / "s1" / "packs" / "1").write_bytes(there)
    with pytest.raises(IntegrityError, match="not what was written"):
        send(tmp_path / "s1", objects.spooled[0], inner)
    assert inner.content() == {}


def test_what_is_nowhere_and_what_is_another_is_said(tmp_path: Path) -> None:
    inner = MemoryStore()
    objects = spooling(tmp_path, inner)
    objects.put("packs/1", b"one")
    inner.put("packs/1", b"another")
    with pytest.raises(IntegrityError):
        send(tmp_path / "s1", objects.spooled[0], inner)
    (tmp_path / "s1" / "packs" / "1").unlink()
    with pytest.raises(IntegrityError, match="neither in the spool nor in the store"):
        send(tmp_path / "s1", objects.spooled[0], inner)

"""Which version a store gave to what was written (S274)."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from tests.memory_store import MemoryStore
from tests.objects.faulty import AFTER, BEFORE, Faulty
from tests.s3_server import S3Server, keep_versions, lockable, s3_server

from drystone.domain.errors import UnavailableError
from drystone.objects import s3
from drystone.objects.address import DirectoryAddress, open_objects
from drystone.objects.limited import Bandwidth, Limited, Limits
from drystone.objects.measured import Measured, Tally
from drystone.objects.noting import Noting
from drystone.objects.retrying import Retrying
from drystone.objects.s3 import S3Store
from drystone.objects.spooling import Spooling, SpoolPlace, held_bytes, send


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3"), versions=True) as started:
        yield started


def versioned() -> MemoryStore:
    made = MemoryStore()
    made.versions = {}
    return made


@pytest.mark.versitygw
def test_a_bucket_tells_exactly_what_was_written(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is written to the name later, the version that was told has the bytes that were written then."""
    monkeypatch.setattr(s3, "SINGLE_BYTES_MAX", 6 << 20)
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    plain = server.address("bucket", tmp_path / "keys")
    address = lockable(plain)
    objects, client = open_objects(address, tally=Tally()), S3Store(address)._client(11 << 20)
    large = bytes(11 << 20)
    told = [
        ("a", b"1", objects.put("a", b"1")), ("a", b"22", objects.replace("a", b"22")),
        ("b", b"1", objects.put("b", b"1")), ("large", large, objects.put("large", large)),
        ("large", b"of another", objects.replace("large", b"of another")),
    ]  # fmt: skip
    assert len({version for _, _, version in told} - {None}) == len(told)
    for name, content, version in told:
        assert obstore.get(client, name, options={"version": version}).bytes().to_bytes() == content
    # A bucket that keeps none, and one that keeps none any more and calls each `null`: of these nothing is known.
    assert S3Store(plain).put("a", b"1") is None
    assert S3Store(plain).replace("a", large) is None
    once = server.address("once", tmp_path / "keys")
    keep_versions(once)
    assert S3Store(once).put("a", b"1") is not None
    keep_versions(once, "Suspended")
    assert S3Store(once).put("b", b"1") is None


def test_a_directory_has_none(tmp_path: Path) -> None:
    objects = open_objects(DirectoryAddress(root=str(tmp_path)))
    assert objects.put("a/b", b"1") is None
    assert objects.replace("a/b", b"2") is None
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["b"]


def test_what_stands_around_a_store_passes_it_on(tmp_path: Path) -> None:
    inner = versioned()
    bandwidth = Bandwidth(limits=Limits(), file=tmp_path / "bandwidth")
    spool = SpoolPlace(directory=str(tmp_path / "spools" / "s"), bytes_max=0, floor_bytes=0)
    for number, objects in enumerate((
        Measured(inner=inner, store="s", tally=Tally()), Limited(inner=inner, bandwidth=bandwidth),
        Retrying(inner=inner), Noting(inner=inner), Spooling(inner=inner, place=spool, apart=lambda _name: True),
    )):  # fmt: skip
        name = f"packs/{number}"
        assert objects.put(name, b"1") == inner.versions[name]  # type: ignore[index]
        assert objects.replace("mutable", b"1") == inner.versions["mutable"]  # type: ignore[index]


def test_of_a_write_that_an_earlier_try_has_done_nobody_knows_it() -> None:
    """What the name shows may be somebody's who wrote the same, or other bytes, since."""
    inner = versioned()
    faulty = Faulty(inner=inner)
    noting = Noting(inner=Retrying(inner=faulty, pause=lambda _seconds: None))
    assert noting.put("a", b"1") == inner.versions["a"]  # type: ignore[index]
    faulty.then("put", AFTER)
    assert noting.put("b", b"2") is None
    faulty.then("put", BEFORE)
    assert noting.put("c", b"3") == inner.versions["c"]  # type: ignore[index]
    assert sorted(noting.versions) == ["a", "c"]


def test_who_sends_from_a_spool_tells_it_whoever_began(tmp_path: Path) -> None:
    inner = versioned()
    faulty = Faulty(inner=inner)
    place = SpoolPlace(directory=str(tmp_path / "s"), bytes_max=100, floor_bytes=0)
    objects = Spooling(inner=faulty, place=place, apart=lambda _name: True)
    assert [objects.put(f"packs/{number}", bytes(20)) for number in range(3)] == [None] * 3
    directory = Path(place.directory)
    first, second, third = objects.spooled
    told = send(directory, first, faulty)
    assert told == inner.versions[first.name]  # type: ignore[index]
    # He dies, and another one begins at the first: what was sent has the version that it was given.
    inner.replace(first.name, bytes(20))
    assert send(directory, first, faulty) == told
    # One that was noted and is in the spool still.
    (directory / second.name).with_name("1.version").write_text("noted")
    inner.put(second.name, bytes(20))
    assert send(directory, second, faulty) == "noted"
    # One that was sent by somebody who noted nothing.
    faulty.then("put", AFTER)
    with pytest.raises(UnavailableError):
        send(directory, third, faulty)
    assert send(directory, third, faulty) is None
    assert held_bytes(directory) == len(told or "") + len("noted")


def test_who_comes_late_makes_no_spool_anew(tmp_path: Path) -> None:
    """S209: the snapshot has failed while its pack was on its way."""
    faulty = Faulty(inner=versioned())
    place = SpoolPlace(directory=str(tmp_path / "s"), bytes_max=100, floor_bytes=0)
    objects = Spooling(inner=faulty, place=place, apart=lambda _name: True)
    objects.put("packs/1", b"1")
    faulty.then("put", lambda: shutil.rmtree(place.directory))
    assert send(Path(place.directory), objects.spooled[0], faulty) is not None
    assert not Path(place.directory).exists()


def test_a_spool_before_a_store_without_versions_notes_nothing(tmp_path: Path) -> None:
    place = SpoolPlace(directory=str(tmp_path / "s"), bytes_max=100, floor_bytes=0)
    inner = MemoryStore()
    objects = Spooling(inner=inner, place=place, apart=lambda _name: True)
    objects.put("packs/1", b"1")
    assert [send(tmp_path / "s", objects.spooled[0], inner) for _ in range(2)] == [None, None]
    assert held_bytes(tmp_path) == 0

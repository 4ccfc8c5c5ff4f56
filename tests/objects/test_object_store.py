"""One contract for every object store, and what is particular to each."""

import fcntl
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.memory_store import CutError, MemoryStore
from tests.rgw_server import RgwServer
from tests.s3_server import S3Server, s3_server

from drystone.domain.errors import IntegrityError, SpaceError, UnavailableError
from drystone.durable_files import sync_file
from drystone.objects import local
from drystone.objects.contract import NotFoundError, ObjectStore
from drystone.objects.local import LocalStore
from drystone.objects.retrying import Retrying
from drystone.objects.s3 import S3Store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as started:
        yield started


BUCKETS = itertools.count()


@pytest.fixture(params=["local", "memory", "versitygw", pytest.param("rgw", marks=pytest.mark.long)])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param in {"versitygw", "rgw"}:
        server: S3Server | RgwServer = request.getfixturevalue("rgw" if request.param == "rgw" else "server")
        address = server.address(f"bucket-{next(BUCKETS)}", tmp_path / "store.env", prefix="a/prefix")
        return Retrying(inner=S3Store(address))
    return LocalStore(tmp_path / "store", floor_bytes=0) if request.param == "local" else MemoryStore()


def names(objects: ObjectStore, prefix: str) -> list[tuple[str, int]]:
    return [(entry.name, entry.size_bytes) for entry in objects.list(prefix)]


def test_what_was_put_is_there(objects: ObjectStore) -> None:
    objects.put("a/b/one", b"12345")
    objects.put("a/b/two", [b"12", bytearray(b"34"), memoryview(b""), memoryview(b"5")])
    assert objects.get("a/b/one") == objects.get("a/b/two") == b"12345"
    assert objects.size("a/b/two") == 5


def test_many_parts_are_written_in_order(objects: ObjectStore) -> None:
    parts = [bytes([n % 251]) * (n % 7) for n in range(3000)]
    objects.put("parts", parts)
    assert objects.get("parts") == b"".join(parts)


def test_ranges_are_clipped_at_the_end(objects: ObjectStore) -> None:
    objects.put("one", b"0123456789")
    assert objects.get_range("one", 2, 5) == b"234"
    assert objects.get_range("one", 8, 99) == b"89"
    assert objects.get_range("one", 10, 11) == b""
    assert objects.get_range("one", 3, 3) == b""


def test_a_name_is_never_written_twice(objects: ObjectStore) -> None:
    """I2."""
    objects.put("x/one", b"first")
    with pytest.raises(IntegrityError, match="x/one"):
        objects.put("x/one", b"second")
    assert objects.get("x/one") == b"first"


def test_replace_makes_and_changes(objects: ObjectStore) -> None:
    objects.replace("s/epoch", b"1")
    objects.replace("s/epoch", b"22")
    assert objects.get("s/epoch") == b"22"
    assert names(objects, "") == [("s/epoch", 2)]


def test_delete_is_idempotent(objects: ObjectStore) -> None:
    objects.put("d/e/one", b"1")
    for _ in range(2):
        objects.delete("d/e/one")
        assert names(objects, "") == []
    objects.delete("never/was")
    objects.put("d/e/one", b"2")
    assert objects.get("d/e/one") == b"2"


def test_what_is_missing_is_not_found(objects: ObjectStore) -> None:
    objects.put("a/b", b"1")
    for name in ("none", "a", "a/c", "a/b/c"):
        with pytest.raises(NotFoundError):
            objects.get(name)
        with pytest.raises(NotFoundError):
            objects.get_range(name, 0, 1)
        with pytest.raises(NotFoundError):
            objects.size(name)
        objects.delete(name)
    assert names(objects, "") == [("a/b", 1)]


def test_listing_by_any_prefix_in_order(objects: ObjectStore) -> None:
    for name in ("p/s1/aa.1", "p/s1/aa.2", "p/s1/ab.1", "p/s10/x", "p/s2/x", "q", "p/s1-/z"):
        objects.put(name, name.encode())
    assert [name for name, _ in names(objects, "p/s1/aa.")] == ["p/s1/aa.1", "p/s1/aa.2"]
    everything = [name for name, _ in names(objects, "")]
    assert everything == sorted(everything)
    assert len(everything) == 7
    assert [name for name, _ in names(objects, "p/s1")] == [name for name in everything if name.startswith("p/s1")]
    assert names(objects, "p/none/") == names(objects, "zz") == names(objects, "q/") == []


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "..", "a/../b", ".a", "a b", "a\n", "a\0", "ä", "a" * 600])
def test_malformed_names_are_bugs(objects: ObjectStore, name: str) -> None:
    with pytest.raises(AssertionError):
        objects.put(name, b"")
    with pytest.raises(AssertionError):
        objects.get(name)
    with pytest.raises(AssertionError):
        objects.delete(name)


def test_threads_may_share_a_store(objects: ObjectStore) -> None:
    def work(number: int) -> None:
        for n in range(20):
            objects.put(f"t/{n}/{number}", b"x" * number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(objects, "t/")) == 80


def test_a_write_that_would_not_fit_changes_nothing(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    stores: list[ObjectStore] = [
        LocalStore(tmp_path / "store", floor_bytes=free.f_bavail * free.f_frsize + (1 << 40)),
        MemoryStore(capacity_bytes=3),
    ]
    for objects in stores:
        for write in (objects.put, objects.replace):
            with pytest.raises(SpaceError):
                write("a/b", b"1234")
        assert names(objects, "") == []


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EIO"])
def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    import errno

    objects = LocalStore(tmp_path, floor_bytes=0)
    real = os.writev

    def fail(file: int, parts: Any) -> int:
        real(file, parts[:1])
        raise OSError(getattr(errno, error), error)

    monkeypatch.setattr(os, "writev", fail)
    with pytest.raises(UnavailableError if error == "EIO" else SpaceError):
        objects.put("a/b", [b"1", b"2"])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_drive_does_not_give_back_is_damage_not_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    objects = LocalStore(tmp_path, floor_bytes=0)
    objects.put("a/b", b"12345")
    for number, kind in ((errno.EIO, IntegrityError), (errno.ESTALE, UnavailableError)):

        def fail(*_arguments: Any, number: int = number) -> bytes:
            raise OSError(number, "no")

        with monkeypatch.context() as patched:
            patched.setattr(os, "pread", fail)
            with pytest.raises(kind):
                objects.get_range("a/b", 0, 5)
    assert objects.get_range("a/b", 0, 5) == b"12345"


def test_a_dead_writers_temporary_file_is_swept_and_a_living_ones_is_not(tmp_path: Path) -> None:
    objects = LocalStore(tmp_path, floor_bytes=0)
    dead = tmp_path / ".temporary" / "1.2.3"
    dead.write_bytes(b"half")
    with objects._written([b"living"]) as living:
        LocalStore(tmp_path, floor_bytes=0)
        assert living.exists()
        assert not dead.exists()
    assert not living.exists()


def test_a_file_taken_by_a_sweep_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = LocalStore(tmp_path, floor_bytes=0)
    real = fcntl.flock
    swept: list[str] = []

    def sweep_first(file: int, how: int) -> None:
        if not swept:
            for path in (tmp_path / ".temporary").iterdir():
                swept.append(path.name)
                path.unlink()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    objects.put("a", b"1")
    assert swept
    assert objects.get("a") == b"1"


def test_file_then_name_then_directories_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = LocalStore(tmp_path, floor_bytes=0)
    steps: list[tuple[str, str]] = []
    real_sync, real_link = os.fsync, os.link

    def sync(file: int) -> None:
        steps.append(("fsync", str(Path(f"/proc/self/fd/{file}").readlink())))
        real_sync(file)

    def link(old: Any, new: Any) -> None:
        steps.append(("link", str(new)))
        real_link(old, new)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "link", link)
    objects.put("a/b/one", b"1")
    assert ".temporary" in steps[0][1]
    assert steps[1:] == [
        ("fsync", str(tmp_path)),
        ("fsync", str(tmp_path / "a")),
        ("link", str(tmp_path / "a/b/one")),
        ("fsync", str(tmp_path / "a/b")),
    ]
    steps.clear()
    objects.delete("a/b/one")
    assert steps[0] == ("fsync", str(tmp_path / "a/b"))


def test_a_directory_removed_by_another_process_is_made_again(tmp_path: Path) -> None:
    one, two = LocalStore(tmp_path, floor_bytes=0), LocalStore(tmp_path, floor_bytes=0)
    one.put("a/b/one", b"1")
    two.delete("a/b/one")
    # Others may just be making theirs beside it.
    assert (tmp_path / "a").exists()
    assert not (tmp_path / "a/b").exists()
    one.put("a/b/two", b"2")
    two.delete("a/b/two")
    one.replace("a/b/three", b"3")
    assert two.get("a/b/three") == b"3"


@pytest.mark.parametrize("way", ["put", "replace"])
def test_the_first_object_of_a_session_is_put_beside_the_removal_of_the_last_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    one, two = LocalStore(tmp_path, floor_bytes=0), LocalStore(tmp_path, floor_bytes=0)
    two.put("store/packs/old/pack", b"1")
    real = sync_file
    waiting = [lambda: two.delete("store/packs/old/pack")]

    def flush(path: Path) -> None:
        # `packs` was found there; its parent is flushed, and then a directory is made in it.
        if path == tmp_path / "store" and waiting:
            waiting.pop()()
        real(path)

    monkeypatch.setattr(local, "sync_file", flush)
    getattr(one, way)("store/packs/new/pack", b"2")
    assert not waiting
    assert [entry.name for entry in two.list("store/")] == ["store/packs/new/pack"]


@pytest.mark.parametrize("times", [1, 7])
@pytest.mark.parametrize("way", ["put", "replace"])
def test_a_directory_that_vanishes_before_its_first_object_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, times: int
) -> None:
    objects = LocalStore(tmp_path, floor_bytes=0)
    real = LocalStore._make_durable
    left = times

    def make(self: LocalStore, folder: Path) -> None:
        nonlocal left
        real(self, folder)
        if left:
            left -= 1
            folder.rmdir()

    monkeypatch.setattr(LocalStore, "_make_durable", make)
    getattr(objects, way)("packs/new/pack", b"2")
    assert left == 0
    assert objects.get("packs/new/pack") == b"2"


@pytest.mark.parametrize("way", ["put", "replace"])
def test_a_directory_that_vanishes_while_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    objects = LocalStore(tmp_path, floor_bytes=0)
    objects.put("store/packs/old/pack", b"1")
    real = sync_file
    waiting = [(tmp_path / "store/packs/new").rmdir]

    def flush(path: Path) -> None:
        # A sweep of the same session, which was fenced meanwhile.
        if path == tmp_path / "store/packs" and waiting:
            waiting.pop()()
            (tmp_path / "store/packs").rename(tmp_path / "store/gone")
        real(path)

    monkeypatch.setattr(local, "sync_file", flush)
    getattr(objects, way)("store/packs/new/pack", b"2")
    assert objects.get("store/packs/new/pack") == b"2"


@pytest.mark.parametrize("lands", [False, True])
def test_the_memory_store_is_cut_after_a_number_of_changes(lands: bool) -> None:  # noqa: FBT001
    objects = MemoryStore({"old": b"0"}, cut_after=2, lands=lands)
    objects.put("a", b"1")
    objects.delete("old")
    with pytest.raises(CutError):
        objects.put("b", b"2")
    with pytest.raises(CutError):
        objects.get("a")
    assert objects.content() == ({"a": b"1", "b": b"2"} if lands else {"a": b"1"})
    assert MemoryStore(objects.content()).get("a") == b"1"

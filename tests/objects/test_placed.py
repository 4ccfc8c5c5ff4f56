"""History 5: a place that is not the store's has nothing, and nothing of the store is gone (S213)."""

import threading
from pathlib import Path

import pytest
from tests.counting_store import CountingStore
from tests.memory_store import MemoryStore
from tests.s3_server import s3_server

from drystone.domain.errors import StoreUnavailableError
from drystone.objects.address import DirectoryAddress, open_objects
from drystone.objects.contract import NotFoundError, ObjectStore
from drystone.objects.placed import SEEN_S, Placed

CONTENT = ("s/packs/1/a", "s/maps/1/b", "s/snapshots/c/d.manifest")


def nothing_is_gone(objects: ObjectStore) -> None:
    for name in CONTENT:
        for ask in (objects.get, objects.size, lambda one: objects.get_range(one, 0, 1)):
            with pytest.raises(
                StoreUnavailableError, match="not have the snapshot store s: it is another one of the same"
            ):
                ask(name)
        with pytest.raises(StoreUnavailableError):
            list(objects.list(name.rpartition("/")[0] + "/"))


def test_s213_what_is_not_found_is_gone_only_where_the_mark_is() -> None:
    now = [0.0]
    inner = MemoryStore()
    objects = Placed(inner=inner, monotonic=lambda: now[0])
    nothing_is_gone(objects)
    # A store that is being made, and what is none.
    for name in ("s/owner", "s/keys/store", "s/epochs/1", "clock/now", "top"):
        with pytest.raises(NotFoundError):
            objects.get(name)
    assert list(objects.list("")) == list(objects.list("s/epochs/")) == []
    objects.put("s/owner", b"1")
    for name in CONTENT:
        with pytest.raises(NotFoundError):
            objects.get(name)
        assert list(objects.list(name)) == []
    # It was seen just now; then it is looked at again.
    inner.delete("s/owner")
    with pytest.raises(NotFoundError):
        objects.get(CONTENT[0])
    now[0] += SEEN_S
    nothing_is_gone(objects)


def test_s213_the_mark_is_asked_for_seldom() -> None:
    counted = CountingStore(MemoryStore({"s/owner": b"1", "s/packs/1/a": b"2"}))
    objects = Placed(inner=counted, monotonic=lambda: 0.0)
    for _ in range(5):
        objects.get("s/packs/1/a")
        assert list(objects.list("s/packs/"))
    before = counted.requests.total()
    for _ in range(5):
        with pytest.raises(NotFoundError):
            objects.get("s/packs/1/b")
    assert counted.requests.total() == before + 5 + 1


def test_s213_a_directory_that_is_not_mounted_has_lost_nothing(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    nothing_is_gone(open_objects(DirectoryAddress(root=str(tmp_path / "store"))))


@pytest.mark.versitygw
def test_s213_a_read_waits_until_the_bucket_is_the_right_one_again(tmp_path: Path) -> None:
    """A guest of a disk that is still filled: its read is late, and no error."""
    with s3_server(tmp_path / "s3") as server:
        address = server.address("bucket", tmp_path / "keys")
        objects = open_objects(address, attempts=2)
        objects.put("s/owner", b"1")
        objects.put(CONTENT[0], b"12")
        bucket, kept = server.buckets / "bucket", server.buckets / "kept"
        bucket.rename(kept)
        server.bucket("bucket")
        nothing_is_gone(objects)
        found: list[bytes] = []
        reading = threading.Thread(target=lambda: found.append(open_objects(address).get(CONTENT[0])))
        reading.start()
        reading.join(0.5)
        assert reading.is_alive()
        bucket.rename(server.buckets / "other")
        kept.rename(bucket)
        reading.join(20)
        assert found == [b"12"]

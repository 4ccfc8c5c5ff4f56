"""What a bucket does by itself: it keeps what was deleted, locks objects, has uploads that nobody ended."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.memory_store import MemoryStore
from tests.rgw_server import RgwServer
from tests.s3_server import S3Server, begin_upload, lockable, s3_server

from drystone.domain.errors import IntegrityError, RetainedError, StoreUnavailableError
from drystone.objects import s3, s3_rules
from drystone.objects.address import open_objects
from drystone.objects.contract import NotFoundError
from drystone.objects.measured import Tally
from drystone.objects.retained import AGAIN_S_MAX, Pending, Waiting
from drystone.objects.s3 import S3Store
from drystone.objects.s3_rules import DefaultRetention, RefusedError, S3Rules, Version
from drystone.offline.bucket_check import check_rules

pytestmark = pytest.mark.versitygw
DAY_S = 86_400.0


@pytest.fixture(scope="module", params=["versions", "no versions", pytest.param("rgw", marks=pytest.mark.long)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server | RgwServer]:
    """Both kinds of service: those that keep versions of what is locked, and those that refuse to delete it."""
    if request.param == "rgw":
        yield request.getfixturevalue("rgw")
        return
    with s3_server(tmp_path_factory.mktemp("s3"), versions=request.param == "versions") as started:
        yield started


def test_a_bucket_without_rules(server: S3Server | RgwServer, tmp_path: Path) -> None:
    rules = S3Rules(server.address("plain", tmp_path / "keys", prefix="p"))
    assert not rules.versioned()
    assert not rules.locks()
    assert rules.default_retention() is None
    assert rules.retention("nothing") is None
    assert list(rules.uploads()) == []
    assert abs(rules.time() - time.time()) < 5


def test_without_keys_it_is_said_that_nothing_was_looked_at(
    server: S3Server | RgwServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = msgspec.structs.replace(server.address("plain", tmp_path / "keys"), keys_file=None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    rules = S3Rules(address)
    found = check_rules(rules, MemoryStore(), "check-1/locked")
    assert [one.works for one in found] == [True] * 4
    assert {one.seen.partition(":")[0] for one in found} == {"not looked at"}
    assert abs(rules.time() - time.time()) < 5, "which needs none"


def test_history_9_what_a_bucket_locks_by_itself_is_seen(server: S3Server | RgwServer, tmp_path: Path) -> None:
    rules = S3Rules(lockable(server.address("days", tmp_path / "keys"), days=3))
    assert rules.locks()
    assert rules.default_retention() == DefaultRetention(mode="GOVERNANCE", days=3)


def test_history_8_a_deletion_that_is_refused_is_pending_and_not_asked_for_again(
    server: S3Server | RgwServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    address = lockable(server.address("locked", tmp_path / "keys", prefix="p"))
    rules, tally = S3Rules(address), Tally()
    objects = open_objects(address, tally)
    version = Version(name="kept", id=rules.put_locked("kept", time.time() + 2 * DAY_S))
    found = rules.retention("kept")
    assert found is not None
    assert 2 * DAY_S - 60 < found.until - found.now < 2 * DAY_S + 60
    objects.put("free", b"1")
    if version.id:
        # Where there are versions, what is deleted only seems to be gone; the version is what is kept.
        objects.delete("kept")
        with pytest.raises(NotFoundError):
            objects.get("kept")
        with pytest.raises(RefusedError, match="AccessDenied"):
            rules.delete_version(version)
        assert rules.has_version(version)
        assert tally.pending.count() == 0
        rules.delete_version(version, bypass=True)
        assert not rules.has_version(version)
        return
    seconds = 0.0
    for _ in range(3):
        with pytest.raises(RetainedError, match=r"keeps the object kept until .*its deletion is pending") as caught:
            objects.delete("kept")
        seconds = max(seconds, caught.value.seconds)
        with pytest.raises(RetainedError):
            objects.replace("kept", b"2")
    assert 2 * DAY_S - 60 < seconds < 2 * DAY_S + 60
    assert tally.pending.count() == 1
    (deletions,) = (one for one in tally.counts() if one.kind == "delete")
    assert (deletions.requests, deletions.errors) == (1, 1), "the bucket was asked once"
    objects.delete("free")
    assert objects.get("kept") == b""
    # A write that was done and is tried again finds its name taken.
    with pytest.raises(IntegrityError, match="exists already"):
        objects.put("kept", b"")


def test_a_key_that_is_refused_is_no_retention(server: S3Server | RgwServer, tmp_path: Path) -> None:
    address = server.address("refused", tmp_path / "keys")
    S3Store(address).put("a", b"1")
    (tmp_path / "keys").write_text("AWS_ACCESS_KEY_ID=revoked\nAWS_SECRET_ACCESS_KEY=x\n")
    with pytest.raises(StoreUnavailableError, match="refuses the keys") as caught:
        S3Store(address).delete("a")
    assert not isinstance(caught.value, RetainedError)


def test_history_7_uploads_that_nobody_ended_are_listed_and_go(
    server: S3Server | RgwServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.address("parts", tmp_path / "keys", prefix="p")
    begin_upload(address, "maps/a")
    begin_upload(address, "maps/b")
    other = server.address("parts", tmp_path / "keys", prefix="other")
    begin_upload(other, "c")
    rules = S3Rules(address)
    found = list(rules.uploads())
    assert [one.name for one in found] == ["maps/a", "maps/b"]
    assert all(abs(one.begun_at - time.time()) < 60 for one in found)
    assert rules.abort_old() == (), "somebody may just be writing them"
    monkeypatch.setattr(s3_rules, "UPLOAD_S_MAX", -5.0)
    assert [one.name for one in rules.abort_old()] == ["maps/a", "maps/b"]
    assert list(rules.uploads()) == []
    assert len(list(S3Rules(other).uploads())) == 1
    rules.abort(found[0])


def test_an_object_over_the_limit_is_written_in_parts_and_is_whole(
    server: S3Server | RgwServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "SINGLE_BYTES_MAX", 5 << 20)
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    address = server.address("large", tmp_path / "keys")
    objects = S3Store(address)
    body = bytes(range(256)) * (12 << 12)
    objects.put("map", [body[: 1 << 20], body[1 << 20 :]])
    assert objects.get("map") == body
    with pytest.raises(IntegrityError, match="exists already"):
        objects.put("map", body)
    objects.replace("map", body[: 6 << 20])
    assert objects.size("map") == 6 << 20
    assert list(S3Rules(address).uploads()) == []


class Keeping(MemoryStore):
    """It keeps everything for some seconds."""

    seconds = 10.0
    asked = 0

    def delete(self, name: str) -> None:
        self.asked += 1
        if self.seconds:
            raise RetainedError(f"{name} is kept", seconds=self.seconds)
        super().delete(name)


def test_what_is_pending_is_asked_for_again_at_its_time_and_once_a_day() -> None:
    now = [0.0]
    inner, pending = Keeping({"a": b"", "b": b""}), Pending(monotonic=lambda: now[0])
    objects = Waiting(inner=inner, pending=pending)

    def refused(name: str) -> int:
        with pytest.raises(RetainedError):
            objects.delete(name)
        return inner.asked

    assert [refused("a"), refused("a"), refused("b")] == [1, 1, 2]
    now[0] = 10.0
    inner.seconds = float("inf")
    assert [refused("a"), refused("a")] == [3, 3]
    assert pending.count() == 2
    now[0] += AGAIN_S_MAX
    inner.seconds = 0.0
    objects.delete("a")
    assert pending.count() == 1
    assert pending.waits("a") is None
    assert list(inner.content()) == ["b"]

"""`drystone store check`: what a store lacks is said, with what it costs; nothing is left behind."""

import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.memory_store import MemoryStore
from tests.rgw_server import RgwServer
from tests.s3_server import S3Server, begin_upload, lockable, s3_server

from drystone.domain.errors import UnavailableError
from drystone.objects.address import S3Address
from drystone.objects.contract import ObjectEntry, Parts, StoreTime
from drystone.objects.s3_rules import S3Rules, Version
from drystone.offline import bucket_check
from drystone.offline.findings import Finding
from drystone.offline.store_check import check_objects, check_place

PREFIX = "check-1"
CHECKS = itertools.count()


class Overwriting(MemoryStore):
    def put(self, name: str, data: Parts) -> None:
        self.replace(name, data)


class Behind(MemoryStore):
    """Its listings lack the newest object (history 6)."""

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        newest = [name for kind, name in self.changes if kind == "put"][-1:]
        return (entry for entry in super().list(prefix) if entry.name not in newest)


class Keeping(MemoryStore):
    def delete(self, name: str) -> None:
        if name.count("/") == 2:
            return
        super().delete(name)


class Refusing(MemoryStore):
    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        raise UnavailableError(f"the bucket refuses the keys ({prefix})")


def test_a_store_that_does_everything_is_as_before() -> None:
    objects = MemoryStore({"other/owner": b"1"})
    findings = check_objects(objects, PREFIX)
    assert [one for one in findings if not one.works] == []
    assert len(findings) == 9
    assert objects.content() == {"other/owner": b"1"}


@pytest.mark.parametrize(
    ("objects", "missing", "needed"),
    [
        (Overwriting(), "refuse a second put", False),
        (Behind(), "list after put", True),
        (Keeping(), "delete", True),
        (Refusing(), "list", True),
    ],
)
def test_what_is_missing_is_said(objects: MemoryStore, missing: str, needed: bool) -> None:  # noqa: FBT001
    (one,) = (one for one in check_objects(objects, PREFIX) if not one.works)
    assert (one.name, one.needed) == (missing, needed)
    assert one.seen
    assert one.means
    assert one.do


class Skewed(MemoryStore):
    """Its clock is an hour behind (history 4)."""

    def clock(self) -> StoreTime | None:
        return StoreTime(at=time.time() - 3600, elsewhere=True)


def test_history_4_whose_clock_it_is_and_by_how_much() -> None:
    (one,) = (one for one in check_objects(Skewed(), PREFIX) if not one.works)
    assert (one.name, one.needed) == ("clock", False)
    assert re.fullmatch(r"this machine's clock is 36\d\d s ahead of the store's", one.seen)


def test_history_5_another_place_of_the_same_name_is_told_from_the_right_one() -> None:
    objects = MemoryStore({"store-1/owner": b"1"})
    assert [one for one in check_objects(objects, PREFIX, store_id="store-1") if not one.works] == []
    (one,) = (one for one in check_objects(objects, PREFIX, store_id="store-2") if not one.works)
    assert (one.name, one.needed) == ("store", True)
    assert "store-2 of this catalog is not there" in one.seen


@pytest.fixture(params=[True, False], ids=["versions", "no versions"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path / "s3", versions=request.param) as started:
        yield started


def checked(place: S3Address) -> tuple[Finding, ...]:
    return check_place(place, f"{PREFIX}-{next(CHECKS)}")


def wrong(place: S3Address) -> dict[str, Finding]:
    found = checked(place)
    assert [one.seen for one in found if one.needed and not one.works] == []
    return {one.name: one for one in found if not one.works}


def noted(place: S3Address) -> dict[str, str]:
    return {one.name: one.seen for one in checked(place) if one.works and one.seen}


@pytest.mark.versitygw
def test_of_a_bucket_it_is_said_what_it_does_by_itself(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Histories 7 to 9, at a service with versions and at one without."""
    plain = server.address("bucket", tmp_path / "keys", prefix="p")
    assert wrong(plain) == {}
    assert "cannot be locked" in noted(plain)["locks"]
    versions = server.versions
    old = {"old versions"} if versions else set()
    locked = lockable(plain)
    assert set(wrong(locked)) == old
    assert "accepted and enforced" in noted(locked)["locks"]
    begin_upload(plain, "maps/a")
    assert wrong(plain) == {}, "somebody may just be writing it"
    monkeypatch.setattr(bucket_check, "UPLOAD_S", -5.0)
    seen = wrong(plain)["unfinished uploads"].seen
    assert re.fullmatch(r"1 uploads in parts were begun and not ended, the oldest at 20\S*: maps/a", seen)
    # One that accepts locks and does not keep them: this key may delete what is locked.
    real = S3Rules.delete_version

    def lax(rules: S3Rules, version: Version, *, bypass: bool = True) -> None:
        real(rules, version, bypass=bypass)

    monkeypatch.setattr(S3Rules, "delete_version", lax)
    if versions:
        found = wrong(locked)
        assert found["locks"].seen == "a lock is accepted and not enforced: a locked probe was deleted"
        assert found["locks"].do


@pytest.mark.long
def test_what_cephs_gateway_does(rgw: RgwServer, tmp_path: Path) -> None:
    place = rgw.address("check", tmp_path / "keys", prefix="p")
    assert wrong(place) == {}
    locked = lockable(place, days=2)
    # Where it keeps versions it takes no condition, which nothing relies on.
    assert set(wrong(locked)) == {"refuse a second put", "old versions", "default retention"}
    assert "accepted and enforced" in noted(locked)["locks"]


@pytest.mark.versitygw
def test_history_9_a_default_retention_is_named(server: S3Server, tmp_path: Path) -> None:
    place = lockable(server.address("days", tmp_path / "keys"), days=7)
    found = {one.name: one for one in checked(place)}
    one = found["default retention"]
    assert (one.works, one.needed) == (False, False)
    assert one.seen == "each object is locked for 7 days from its writing (GOVERNANCE)"
    assert "pending" in one.means
    # What is not needed does not keep anybody from using the bucket, unless nothing can be replaced there.
    needed = [one.name for one in found.values() if one.needed and not one.works]
    assert needed == ([] if server.versions else ["replace"])
    assert found["delete"].works
    # It may be tried again with what the last check had to leave.
    assert {one.name for one in checked(place) if not one.works} >= {"default retention"}


@pytest.mark.parametrize(("said", "wanted"), [("Connection refused", "or wait"), ("NoSuchBucket", "correct store_url")])
def test_a_service_that_is_down_is_no_wrong_setting(said: str, wanted: str) -> None:
    class Down(MemoryStore):
        def list(self, prefix: str) -> Iterator[ObjectEntry]:
            raise UnavailableError(f"{prefix}: {said}")

    (found,) = check_objects(Down(), "check-1")
    assert not found.works
    assert wanted in found.do

"""The whole program with its snapshots in a bucket of a real S3 server, which fails at times."""

import contextlib
import json
import re
import shutil
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from drystone.domain.errors import DrystoneError
from tests.lagging_listing import LaggingListing
from tests.s3_server import S3Server, Skewed, lock, lockable, s3_server
from tests.system.harness import Installation, random_bytes
from tests.system.test_bucket import drystone, refused_start

pytestmark = pytest.mark.versitygw
MIB = 1 << 20
BUCKET, PREFIX = "snapshots", "site/one"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path / "s3") as started:
        started.bucket(BUCKET)
        yield started


def settings(endpoint: str, bucket: str = BUCKET) -> str:
    return f'store_url = "s3://{bucket}/{PREFIX}"\nstore_endpoint = "{endpoint}"\n'


@contextlib.contextmanager
def in_bucket(data: Path, server: S3Server, more: str = "") -> Iterator[Installation]:
    with configured(data, server, settings(server.endpoint) + more) as made:
        yield made


@contextlib.contextmanager
def configured(data: Path, server: S3Server, text: str) -> Iterator[Installation]:
    """Start an installation with these settings and the server's keys."""
    made = Installation(data, text)
    server.keys_file(data / "store.env")
    try:
        made.start()
        yield made
    finally:
        made.clean_up()


def objects(server: S3Server, *, kind: str = "") -> set[str]:
    root = server.buckets / BUCKET / PREFIX
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and f"/{kind}" in str(path)}


def asked(system: Installation, kind: str = "") -> Any:
    """Return the requests of the server and its workers by kind, or those of one."""
    with urllib.request.urlopen(f"http://{system.endpoint}/metrics") as answer:
        rows = re.findall(
            r'^drystone_store_requests_total\{request="(\w+)",.*} (.*)$', answer.read().decode(), re.MULTILINE
        )
    counted = Counter({name: int(float(count)) for name, count in rows})
    return counted[kind] if kind else counted


def settled(system: Installation) -> Any:
    """Return the same once nothing has been asked for a while: names and epochs follow within a second or two."""
    before = asked(system)
    while True:
        time.sleep(2.5)
        now = asked(system)
        if now == before:
            return now
        before = now


def said(system: Installation) -> str:
    """Return what operations that are under way say they wait for."""
    running = system.own("DescribeOperations", Filters=[{"Name": "state", "Values": ["RUNNING"]}])
    return " ".join(str(one["ErrorMessage"]) for one in running["OperationSet"])


def moved(system: Installation, request: str) -> float:
    """Return the bytes that /metrics says were moved by a kind of request."""
    with urllib.request.urlopen(f"http://{system.endpoint}/metrics") as answer:
        text = answer.read().decode()
    found = re.findall(rf'^drystone_store_request_bytes_total\{{request="{request}",.*}} (.*)$', text, re.MULTILINE)
    return sum(map(float, found))


def manifests(server: S3Server, snapshot_id: str) -> list[str]:
    """Return the manifests of a snapshot; its tombstone stays for a while."""
    return [name for name in objects(server, kind=f"snapshots/{snapshot_id}/") if name.endswith(".manifest")]


def command_lines_and_logs(system: Installation) -> str:
    """Return what others can see of the server and its processes: command lines, and all logs."""
    words = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    words += [path.read_text(errors="replace") for path in (*system.layout.logs.glob("*.log"), system.stderr)]
    return "\n".join(words)


def test_everything_works_as_in_a_directory(server: S3Server, tmp_path: Path) -> None:
    rng = np.random.default_rng(31)
    with in_bucket(tmp_path / "data", server) as system:
        disk_id = system.create_disk()
        system.attach(disk_id)
        data = bytearray(random_bytes(rng, 5 * MIB))
        system.write(disk_id, 0, bytes(data))
        frozen: dict[str, bytes] = {}
        first = system.take(disk_id, SnapshotName="first")
        frozen[first] = bytes(data)
        data[MIB : 3 * MIB] = random_bytes(rng, 2 * MIB)
        system.write(disk_id, MIB, bytes(data[MIB : 3 * MIB]))
        second = system.take(disk_id)
        frozen[second] = bytes(data)
        assert system.record(second)["ChangedBytes"] == 2 * MIB
        assert objects(server, kind="packs/")
        # The workers' requests are counted, too.
        assert moved(system, "put") > 7 * MIB
        assert not (system.data / "store").exists(), "nothing of it lies on this machine"
        image = tmp_path / "second.qcow2"
        drystone("snapshot", "export", second, image, "--data", system.data)
        for snapshot_id, content in frozen.items():
            assert system.content(snapshot_id, len(data)) == content
        # Rolled back, and a further increment from there.
        system.detach(disk_id)
        system.call("ApplySnapshot", SnapshotId=first, DiskId=disk_id)
        system.wait_state(disk_id, "UNATTACHED")
        system.attach(disk_id)
        assert system.read(disk_id, 0, len(data)) == frozen[first]
        # A disk filled beside its use; then a deletion, compaction, a scrub.
        clone = system.create_disk(SnapshotId=second)
        system.attach(clone)
        system.wait(lambda: not system.detail(clone)["Hydrating"], "hydrated")
        assert system.read(clone, 0, len(data)) == frozen[second]
        # And those of the process from which it is filled.
        system.wait(lambda: moved(system, "get_range") > 4 * MIB, "its requests are counted")
        assert manifests(server, first)
        system.call("DeleteSnapshots", SnapshotIds=[first])
        system.wait(lambda: not manifests(server, first), "the manifest is gone")
        system.wait_idle()
        with contextlib.suppress(TencentCloudSDKException):  # One that began by itself is as good.
            system.own("CollectGarbage", Threshold=1)
        system.wait_idle()
        assert system.content(second, len(data)) == frozen[second]
        system.own("ScrubStore")
        system.wait(lambda: system.own("DescribeStoreHealth")["PacksDue"] == 0, "all is proven")
        assert system.own("DescribeStoreHealth")["DamagedSnapshotCount"] == 0
        # Restarted, it goes on with the same store.
        system.stop()
        system.start()
        assert system.content(second, len(data)) == frozen[second]
        third = system.take(disk_id)
        assert system.content(third, len(data)) == frozen[first]
        # History 17: requests follow the change. 4 MiB are a pack, a map, a claim, the manifest and its attributes.
        system.write(disk_id, 0, random_bytes(rng, 4 * MIB))
        system.wait_idle()
        before = settled(system)
        system.take(disk_id)
        system.wait(lambda: asked(system, "put") - before["put"] >= 4, "its manifest")
        made = asked(system) - before
        assert made["put"] + made["replace"] <= 5, made
        # One sees whose the store is, perhaps two. The base's manifest is read, and by a worker that has not had the
        # store open its mark and its key; what the audit needs is here.
        assert made["list"] <= 2, made
        assert made["get"] + made["get_range"] <= 3, made
        assert server.secret not in command_lines_and_logs(system)


def test_history_12_and_13_a_bucket_that_is_dead_at_the_start(server: S3Server, tmp_path: Path) -> None:
    """S202: the API answers and attached disks are served; the rest waits, says for what, and goes on by itself."""
    rng = np.random.default_rng(32)
    with in_bucket(tmp_path / "data", server) as system:
        disk_id, other = system.create_disk(), system.create_disk()
        system.attach(disk_id)
        data = random_bytes(rng, 2 * MIB)
        system.write(disk_id, 0, data)
        first, second = system.take(disk_id), system.take(disk_id)
        system.stop()
        server.stop()
        before = objects(server)
        assert system.start() < 30
        assert system.read(disk_id, 0, len(data)) == data
        system.write(disk_id, 0, data[MIB:])
        with pytest.raises(TencentCloudSDKException, match="snapshot store was not reached"):
            system.call("CreateSnapshot", DiskId=disk_id)
        # Disks come; none goes, and no snapshot.
        made = system.create_disk()
        system.wait_state(made, "UNATTACHED")
        system.call("DeleteSnapshots", SnapshotIds=[first])
        system.call("TerminateDisks", DiskIds=[other])
        clone = system.create_disk(SnapshotId=second)
        time.sleep(2)
        running = system.own("DescribeOperations", Filters=[{"Name": "state", "Values": ["RUNNING"]}])["OperationSet"]
        assert {one["Kind"] for one in running} == {"delete_snapshot", "terminate", "hydrate"}
        assert (system.data / "disks" / other).exists()
        assert objects(server) == before
        server.start()
        system.wait_idle()
        assert system.snapshot(first) is None
        assert not (system.data / "disks" / other).exists()
        system.attach(clone)
        assert system.read(clone, 0, len(data)) == data
        assert system.content(system.take(disk_id), MIB) == data[MIB:]
        server.stop()
        system.host_stop()
        assert system.daemons() == {}


def test_s202_a_catalog_from_a_backup_is_noticed_when_the_bucket_is_back(server: S3Server, tmp_path: Path) -> None:
    """Though it has counted further than the bucket meanwhile, over two starts."""
    with in_bucket(tmp_path / "data", server) as system:
        disk_id = system.create_disk()
        first = system.take(disk_id)
        system.stop()
        catalog = (system.data / "catalog.db").read_bytes()
        system.start()
        second = system.take(disk_id)
        system.stop()
        server.stop()
        for path in system.data.glob("catalog.db*"):
            path.unlink()
        (system.data / "catalog.db").write_bytes(catalog)
        before = objects(server)
        for _ in range(2):
            system.start()
            for _ in range(6):
                system.create_disk()
            system.call("DeleteSnapshots", SnapshotIds=[first]) if system.snapshot(first) else None
            system.stop()
        system.start()
        server.start()
        system.wait(lambda: "this catalog is older than its snapshot store" in system.stderr.read_text(), "noticed")
        assert "snapshot store was not reached" in _refused(system, disk_id)
        assert objects(server) == before
        assert any(second in name for name in before)


def _refused(system: Installation, disk_id: str) -> str:
    with pytest.raises(TencentCloudSDKException) as caught:
        system.call("CreateSnapshot", DiskId=disk_id)
    return str(caught.value)


def test_history_3_and_13_snapshots_wait_for_the_bucket_and_for_new_keys(server: S3Server, tmp_path: Path) -> None:
    rng = np.random.default_rng(33)
    with in_bucket(tmp_path / "data", server) as system:
        disk_id = system.create_disk()
        system.attach(disk_id)
        system.take(disk_id)
        data = random_bytes(rng, 4 * MIB)
        # The keys are revoked.
        server.stop()
        old, server.secret = server.secret, "0123456789abcdef0123456789abcdef"
        server.start()
        system.write(disk_id, 0, data)
        waiting = str(system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)
        system.write(disk_id, 0, bytes(MIB))

        system.wait(lambda: "refuses the keys" in said(system), "it is said what it waits for")
        assert old not in said(system)
        server.keys_file(system.data / "store.env")
        system.wait_normal(waiting)
        assert system.content(waiting, len(data)) == data
        # The bucket is away for a while.
        server.stop()
        system.write(disk_id, 0, data)
        later = str(system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)
        system.wait(lambda: "does not answer" in said(system), "it is said what it waits for")
        system.write(disk_id, 0, bytes(MIB))
        assert system.read(disk_id, 0, MIB) == bytes(MIB)
        server.start()
        system.wait_normal(later)
        assert system.content(later, len(data)) == data
        assert server.secret not in command_lines_and_logs(system)
        assert (system.data / "store.env").stat().st_mode & 0o777 == 0o600


def test_a_disk_that_is_still_filled_waits_for_the_bucket_and_a_host_stops_without_it(
    server: S3Server, tmp_path: Path
) -> None:
    """P6: its guest's read is late, and no error; other disks notice nothing. S271: what was acknowledged stays."""
    rng = np.random.default_rng(35)
    with in_bucket(tmp_path / "data", server, "hydration_bytes_per_s = 100000\n") as system:
        disk_id = system.create_disk()
        system.attach(disk_id)
        data = bytearray(random_bytes(rng, 8 * MIB))
        system.write(disk_id, 0, bytes(data))
        snapshot_id = system.take(disk_id)
        clone = system.create_disk(SnapshotId=snapshot_id)
        system.attach(clone)
        assert system.read(clone, 0, 4096) == data[:4096]
        server.stop()
        found: list[bytes] = []
        guest = threading.Thread(target=lambda: found.append(system.read(clone, 6 * MIB, 2 * MIB)))
        guest.start()
        guest.join(4)
        assert guest.is_alive()
        assert found == []
        assert system.read(disk_id, 0, len(data)) == data
        server.start()
        guest.join(60)
        assert found == [data[6 * MIB :]]
        server.stop()
        # Whole blocks need nothing from the bucket; a part of one does, and so does a read.
        data[4 * MIB : 5 * MIB] = random_bytes(rng, MIB)
        system.write(clone, 4 * MIB, bytes(data[4 * MIB : 5 * MIB]))
        failed: list[str] = []

        def try_it(act: Callable[[], object]) -> None:
            try:
                act()
            except DrystoneError as error:
                failed.append(str(error))

        acts = (lambda: system.read(clone, 5 * MIB, MIB), lambda: system.write(clone, 3 * MIB + 512, bytes(512)))
        waiting = [threading.Thread(target=try_it, args=(act,)) for act in acts]
        for one in waiting:
            one.start()
        system.host_stop()
        assert system.daemons() == {}
        for one in waiting:
            one.join(20)
        assert len(failed) == 2
        server.start()
        system.start()
        assert system.read(clone, 4 * MIB, 4 * MIB) == data[4 * MIB :]


def test_an_empty_machine_recovers_from_the_bucket_alone(server: S3Server, tmp_path: Path) -> None:
    """P11: with the bucket and its keys every NORMAL snapshot is listed and restored; the check finds nothing amiss."""
    rng = np.random.default_rng(34)
    with in_bucket(tmp_path / "data", server) as system:
        checked = json.loads(drystone("store", "check", "--data", system.data, "--json").stdout)
        assert [one["name"] for one in checked if not one["works"]] == []
        disk_id = system.create_disk()
        system.attach(disk_id)
        data = random_bytes(rng, 3 * MIB)
        system.write(disk_id, 0, data)
        first = system.take(disk_id, SnapshotName="first")
        system.write(disk_id, 0, data[MIB:])
        second = system.take(disk_id)
        system.host_stop()
    shutil.rmtree(tmp_path / "data")
    other = Installation(tmp_path / "other", settings(server.endpoint))
    server.keys_file(other.data / "store.env")
    report = json.loads(drystone("store", "recover", "--data", other.data, "--json").stdout)
    assert sorted(report["snapshots_imported"]) == sorted([first, second])
    try:
        other.start()
        assert other.content(first, len(data)) == data
        assert other.content(second, len(data)) == data[MIB:] + data[2 * MIB :]
        drystone("store", "confirm", "--yes", "--data", other.data)
        other.call("DeleteSnapshots", SnapshotIds=[first])
        other.wait_idle()
        assert other.content(second, len(data)) == data[MIB:] + data[2 * MIB :]
    finally:
        other.clean_up()


def test_a_first_start_makes_a_store_only_where_none_is(server: S3Server, tmp_path: Path) -> None:
    with in_bucket(tmp_path / "data", server) as system:
        system.take(system.create_disk())
        system.stop()
        before = objects(server)
        # Another data directory on the same bucket and prefix; and the same one without its bucket's content.
        other = Installation(tmp_path / "other", settings(server.endpoint))
        server.keys_file(other.data / "store.env")
        assert "drystone store recover" in refused_start(other)
        assert objects(server) == before
        (server.buckets / BUCKET).rename(server.buckets / "moved")
        server.bucket(BUCKET)
        assert "does not have the snapshot store" in refused_start(system)
        assert objects(server) == set()


def test_history_5_an_empty_bucket_of_the_same_name_while_the_server_runs(server: S3Server, tmp_path: Path) -> None:
    """Nothing is written there, nothing is found damaged, no read fails; the right one is back, and all goes on."""
    rng = np.random.default_rng(36)
    with in_bucket(tmp_path / "data", server, "hydration_bytes_per_s = 100000\n") as system:
        disk_id = system.create_disk()
        system.attach(disk_id)
        data = random_bytes(rng, 4 * MIB)
        system.write(disk_id, 0, data)
        first = system.take(disk_id)
        clone = system.create_disk(SnapshotId=first)
        system.attach(clone)
        assert system.read(clone, 0, 4096) == data[:4096]
        right, empty = server.buckets / BUCKET, server.buckets / "empty"
        right.rename(server.buckets / "right")
        server.bucket(BUCKET)
        system.write(disk_id, 0, data[MIB : 2 * MIB])
        waiting = str(system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)
        system.own("ScrubStore")
        found: list[bytes] = []
        guest = threading.Thread(target=lambda: found.append(system.read(clone, 3 * MIB, MIB)))
        guest.start()

        system.wait(lambda: "the same name" in said(system), "it is said what it waits for")
        assert system.own("DescribeStoreHealth")["DamagedSnapshotCount"] == 0
        assert guest.is_alive()
        written = [path for path in right.rglob("*") if path.is_file() and "/epochs/" in str(path)]
        assert written == []
        right.rename(empty)
        (server.buckets / "right").rename(right)
        system.wait_normal(waiting)
        guest.join(60)
        assert found == [data[3 * MIB :]]
        assert system.content(waiting, MIB) == data[MIB : 2 * MIB]
        system.wait(lambda: system.own("DescribeStoreHealth")["PacksDue"] == 0, "all is proven")
        assert system.own("DescribeStoreHealth")["DamagedSnapshotCount"] == 0


@pytest.mark.long
def test_history_8_a_deletion_that_the_bucket_refuses_is_pending_and_goes_on_by_itself(tmp_path: Path) -> None:
    """S212: it is said until when; other deletions do not wait for it, and nothing else is asked meanwhile."""
    rng = np.random.default_rng(37)
    with s3_server(tmp_path / "s3") as server:
        place = lockable(server.address(BUCKET, tmp_path / "keys", prefix=PREFIX))
        with configured(tmp_path / "data", server, settings(server.endpoint, place.bucket)) as system:
            disk_id = system.create_disk()
            system.attach(disk_id)
            kept, other, last = "", "", ""
            data = b""
            for _ in range(3):
                data = random_bytes(rng, MIB)
                system.write(disk_id, 0, data)
                kept, other, last = other, last, system.take(disk_id)
            root = server.buckets / place.bucket / PREFIX
            (manifest,) = root.glob(f"*/snapshots/{kept}/*.manifest")
            until = time.time() + 5
            lock(place, str(manifest.relative_to(root)), until)
            system.call("DeleteSnapshots", SnapshotIds=[kept, other])

            system.wait(lambda: "its deletion is pending" in said(system), "it is said")
            system.wait(lambda: not list(root.glob(f"*/snapshots/{other}/*.manifest")), "the other one is gone")
            assert manifest.exists()
            with urllib.request.urlopen(f"http://{system.endpoint}/metrics") as answer:
                assert "drystone_store_deletions_pending 1.0" in answer.read().decode()
            system.wait_idle()
            assert time.time() >= until - 1
            assert not manifest.exists()
            assert system.content(last, MIB) == data


@pytest.mark.long
def test_history_4_uploads_wait_while_a_clock_is_wrong_and_go_on_when_it_is_right(
    server: S3Server, tmp_path: Path
) -> None:
    rng = np.random.default_rng(38)
    with (
        contextlib.closing(Skewed(server.port)) as way,
        configured(tmp_path / "data", server, settings(way.endpoint)) as system,
    ):
        disk_id = system.create_disk()
        system.attach(disk_id)
        data = random_bytes(rng, MIB)
        system.write(disk_id, 0, data)
        way.ahead_s = 3600.0
        waiting = str(system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)

        system.wait(lambda: "behind the clock of the bucket's service" in said(system), "it is said whose clock it is")
        found = json.loads(drystone("store", "check", "--data", system.data, "--json", check=False).stdout)
        assert re.search(r"clock is 3[56]\d\d s behind", found[0]["seen"])
        way.ahead_s = 0.0
        system.wait_normal(waiting)
        assert system.content(waiting, MIB) == data


def test_a_listing_that_is_behind_loses_nothing(server: S3Server, tmp_path: Path) -> None:
    """History S6, with a real server: nothing is made or deleted blindly, and all goes on once the listing follows."""
    rng = np.random.default_rng(6)
    lagging = LaggingListing(server.port)
    try:
        with configured(tmp_path / "data", server, settings(lagging.endpoint)) as system:
            disk_id = system.create_disk()
            system.attach(disk_id)
            data = bytearray(random_bytes(rng, 2 * MIB))
            system.write(disk_id, 0, bytes(data))
            first = system.take(disk_id)
            # Behind by more than a moment: snapshots and deletions wait for it, and come.
            lagging.lag_s = 3.0
            data[:MIB] = random_bytes(rng, MIB)
            system.write(disk_id, 0, bytes(data[:MIB]))
            second = system.take(disk_id)
            assert lagging.left_out, "the listing was behind"
            # Behind for good.
            lagging.lag_s = 1e9
            assert "the listing is behind" in drystone("store", "check", "--data", system.data, check=False).stderr
            there = objects(server)
            waiting = system.call("CreateSnapshot", DiskId=disk_id).SnapshotId
            system.call("DeleteSnapshots", SnapshotIds=[first])
            time.sleep(4)
            assert there <= objects(server), "nothing is deleted"
            assert not manifests(server, waiting)
            assert system.content(second, len(data)) == bytes(data)
            lagging.lag_s = 0.0
            system.wait_idle()
            assert system.snapshot(first) is None
            assert not manifests(server, first)
            for one in (second, waiting):
                assert system.content(one, len(data)) == bytes(data)
    finally:
        lagging.close()

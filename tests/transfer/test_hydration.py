"""A disk made from a snapshot: backed by the snapshot server, hydrated by CMD_CACHE, snapshotted meanwhile."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from drystone.codec.nbd_wire import BASE_ALLOCATION
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId, SnapshotId
from drystone.nbd.client import NbdClient
from drystone.nbd.extents import STATE_DIRTY, dirty_bitmap
from drystone.nbd.server import NbdServer
from drystone.snapstore.manifests import find_manifest, read_manifest
from drystone.snapstore.reader import SnapshotReader
from drystone.transfer.addresses import Endpoint, StoreAddress
from drystone.transfer.hydrate import hydrate, hydrate_file
from drystone.transfer.jobs import DifferenceJob, DifferenceResult
from drystone.transfer.plan import marked
from drystone.transfer.snapserver import SnapshotProvider
from drystone.transfer.source import usable_allocation
from drystone.transfer.store_jobs import ScrubJob, ScrubResult
from drystone.transfer.worker import Kept, ProgressLines, execute
from tests.s3_server import s3_server
from tests.transfer.snapshots import STORE, Snapshots, unequal
from tests.transfer.storage_daemon import qcow2, storage_daemon

MIB = 1 << 20
BLOCK = 4096
SIZE = 64 * MIB


@contextlib.contextmanager
def snapserver(
    snapshots: Snapshots, socket: Path, address: StoreAddress | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([
        sys.executable, "-m", "drystone.transfer.snapserver",
        "--objects", msgspec.json.encode((address or snapshots.address).objects).decode(),
                "--store", STORE, "--socket", str(socket), "--counts", str(socket.with_suffix(".counts")),
    ])  # fmt: skip
    try:
        deadline_s = time.monotonic() + 60
        while not socket.exists():
            assert process.poll() is None, "snapserver died"
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def source(tmp_path: Path) -> tuple[Snapshots, bytes]:
    """A snapshot with data, holes and zeros, in a store."""
    snapshots = Snapshots(tmp_path / "store", SIZE)
    rng = np.random.default_rng(2)
    model = bytearray(SIZE)
    with storage_daemon(tmp_path / "origin") as daemon:
        daemon.open_disk(qcow2(tmp_path / "origin.qcow2", SIZE))
        with NbdClient(daemon.nbd, "disk", timeout_s=60) as client:
            for start, length in ((0, 6 * MIB), (20 * MIB, 9 * MIB), (SIZE - BLOCK, BLOCK)):
                data = rng.bytes(length)
                client.pwrite(start, data)
                model[start : start + length] = data
        snapshots.take(daemon.freeze(SIZE), "full")
    return snapshots, bytes(model)


def test_hydrate_while_the_guest_writes_and_a_snapshot_is_taken(
    source: tuple[Snapshots, bytes], tmp_path: Path
) -> None:
    """A7."""
    snapshots, original = source
    first, chain = snapshots.last, snapshots.chain
    model = bytearray(original)
    backing = Endpoint(socket=str(tmp_path / "snap.sock"), export="snap-00000001")
    reader = SnapshotReader.open(snapshots.store, "snap-00000001")
    with snapserver(snapshots, tmp_path / "snap.sock") as server, storage_daemon(tmp_path / "qsd") as daemon:
        daemon.open_disk(qcow2(tmp_path / "clone.qcow2", SIZE, backing), backing=backing)
        lower = daemon.export_lower()
        rng = np.random.default_rng(8)
        with NbdClient(daemon.nbd, "disk", timeout_s=60) as guest:
            for start in (5000, 3 * MIB + 777, 21 * MIB, 40 * MIB):
                data = rng.bytes(9000)
                guest.pwrite(start, data)
                model[start : start + 9000] = data
            half = reader.data_ranges(0, 22 * MIB // BLOCK)
            seen: list[tuple[int, int]] = []
            with NbdClient(daemon.nbd, "lower", timeout_s=60) as client:
                done = hydrate(
                    client, half, rate_bytes_per_s=0, stop=threading.Event(),
                    on_progress=lambda at, of: seen.append((at, of)),
                )  # fmt: skip
            assert done == 8 * MIB
            assert seen[0] == (0, 8 * MIB)
            assert seen[-1] == (8 * MIB, 8 * MIB)
            # A delta of the hydrating disk reads only what the guest wrote; base is the source.
            view = daemon.freeze(SIZE)
            delta = snapshots.take(view, "delta", bitmap="b0")
            assert delta.read_bytes == 12 * BLOCK
            assert not unequal(snapshots.content(delta.manifest), model)
            # A rescan of it looks at its own layer only, and finds the same.
            snapshots.last, snapshots.chain = first, chain
            rescan = snapshots.take(view, "rescan", allocation=lower)
            assert not unequal(snapshots.content(rescan.manifest), model)
            assert rescan.data_blocks == 12
            assert rescan.read_bytes < 9 * MIB
            daemon.release()
            with NbdClient(daemon.nbd, "lower", timeout_s=60) as client:
                hydrate(
                    client, reader.data_ranges(), rate_bytes_per_s=0, stop=threading.Event(),
                    on_progress=lambda _at, _of: None,
                )  # fmt: skip
            # No data is needed of the server any more (its zeros are, until the last stream drops the backing).
            os.kill(server.pid, signal.SIGKILL)
            for start, length in ((0, 6 * MIB), (20 * MIB, 9 * MIB)):
                assert not unequal(guest.pread(start, length), model[start : start + length])


@pytest.mark.parametrize("way", ["nbd", "file"])
def test_what_was_pulled_survives_its_daemon(source: tuple[Snapshots, bytes], tmp_path: Path, way: str) -> None:
    """S9: the next daemon drops the backing, so nothing that was said to be filled in may be missing then."""
    snapshots, original = source
    backing = Endpoint(socket=str(tmp_path / "s"), export="snap-00000001")
    ranges = SnapshotReader.open(snapshots.store, "snap-00000001").data_ranges()
    image = qcow2(tmp_path / "clone.qcow2", SIZE, backing)
    with NbdServer(tmp_path / "s", SnapshotProvider(snapshots.store)), storage_daemon(tmp_path / "qsd") as daemon:
        daemon.open_disk(image, backing=backing)
        if way == "nbd":
            daemon.export_lower()
            with NbdClient(daemon.nbd, "lower", timeout_s=60) as client:
                hydrate(client, ranges, rate_bytes_per_s=0, stop=threading.Event(), on_progress=lambda _at, _of: None)
            daemon.process.kill()
            daemon.process.wait()
        else:
            with daemon.pulled_file(tmp_path / "pull") as file:
                hydrate_file(file, ranges, rate_bytes_per_s=0, stop=threading.Event())
                daemon.process.kill()
                daemon.process.wait()
    subprocess.run(["qemu-img", "rebase", "-u", "-b", "", "-f", "qcow2", str(image)], check=True)
    raw = tmp_path / "clone.raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(raw)], check=True)
    assert not unequal(raw.read_bytes(), original)


def test_allocation_counts_only_where_the_rest_equals_the_base(source: tuple[Snapshots, bytes]) -> None:
    snapshots, _ = source
    lower = Endpoint(socket="s", export="lower")
    job = snapshots.job(lower, "rescan", allocation=lower)
    base = SnapshotReader.open(snapshots.store, "snap-00000001").manifest
    foreign = msgspec.structs.replace(base, disk=DiskId("disk-bbbbbbbb"))
    assert usable_allocation(job, base) == lower
    # A clone whose source was deleted: the base moved to an ancestor, which the unread part is not.
    assert usable_allocation(job, foreign) is None
    assert usable_allocation(msgspec.structs.replace(job, hydrates_from=foreign.snapshot), foreign) == lower
    other = msgspec.structs.replace(job, hydrates_from=SnapshotId("snap-99999999"))
    assert usable_allocation(other, foreign) is None
    assert usable_allocation(job, None) is None


def test_rate_and_stop(source: tuple[Snapshots, bytes], tmp_path: Path) -> None:
    snapshots, _ = source
    backing = Endpoint(socket=str(tmp_path / "s"), export="snap-00000001")
    ranges = SnapshotReader.open(snapshots.store, "snap-00000001").data_ranges()
    with (
        NbdServer(tmp_path / "s", SnapshotProvider(snapshots.store)),
        storage_daemon(tmp_path / "qsd") as daemon,
    ):
        daemon.open_disk(qcow2(tmp_path / "clone.qcow2", SIZE, backing), backing=backing)
        daemon.export_lower()
        stop = threading.Event()
        copied: list[int] = []

        def on_progress(done: int, _total: int) -> None:
            copied.append(done)
            if done >= 4 * MIB:
                stop.set()

        begin_s = time.monotonic()
        # Stopped while it waits for an answer, it raises; between two answers, it returns.
        with NbdClient(daemon.nbd, "lower", timeout_s=60) as client, contextlib.suppress(UnavailableError):
            hydrate(client, ranges, rate_bytes_per_s=8 * MIB, stop=stop, on_progress=on_progress)
        done = copied[-1]
        assert stop.is_set()
        took_s = time.monotonic() - begin_s
        assert 4 * MIB <= done < 15 * MIB
        # The first piece is free, and up to eight wait for their turn to be counted.
        assert took_s > 0.35


def test_snapserver_process(source: tuple[Snapshots, bytes], tmp_path: Path) -> None:
    snapshots, original = source
    socket = tmp_path / "snap.sock"
    with snapserver(snapshots, socket) as server:
        session = SnapshotReader.open(snapshots.store, "snap-00000001").manifest.session
        for name in ("snap-00000001", f"snap-00000001/{session}"):
            with NbdClient(socket, name, contexts=(BASE_ALLOCATION,), timeout_s=60) as client:
                assert client.read_only
                got = b"".join(bytes(data) for _, data in client.read_ranges([(0, SIZE)], piece_bytes=300_000))
                assert not unequal(got, original)
                rows = client.extents(BASE_ALLOCATION, 0, SIZE).tolist()
                assert rows == [
                    [0, 6 * MIB, 0], [6 * MIB, 20 * MIB, 3], [20 * MIB, 29 * MIB, 0],
                    [29 * MIB, SIZE - BLOCK, 3], [SIZE - BLOCK, SIZE, 0],
                ]  # fmt: skip
                assert client.extents(BASE_ALLOCATION, 6 * MIB - 512, 6 * MIB + 512).tolist() == [
                    [6 * MIB - 512, 6 * MIB, 0], [6 * MIB, 6 * MIB + 512, 3]
                ]  # fmt: skip
        for name in ("snap-00000009", "../x", "snap-00000001/zz", "", "snap-00000001/"):
            with pytest.raises(UnavailableError):
                NbdClient(socket, name, timeout_s=60)
        second = subprocess.run(
            [
                sys.executable, "-m", "drystone.transfer.snapserver",
                "--objects", msgspec.json.encode(snapshots.address.objects).decode(),
                "--store", STORE, "--socket", str(socket), "--counts", str(socket.with_suffix(".counts")),
            ],
            check=False, capture_output=True,
        )  # fmt: skip
        assert second.returncode == 1
        server.terminate()
        assert server.wait(60) == 0
        assert not socket.exists()


def test_the_snapshot_server_reads_a_bucket_and_keeps_what_it_read(
    source: tuple[Snapshots, bytes], tmp_path: Path
) -> None:
    """S206, S207."""
    snapshots, original = source
    cache, socket = tmp_path / "cache", tmp_path / "snap.sock"
    with s3_server(tmp_path) as s3:
        address = msgspec.structs.replace(s3.address("bucket", tmp_path / "keys"), cache_directory=str(cache))
        shutil.copytree(snapshots.root / STORE, s3.bucket("bucket") / STORE)
        bucket = StoreAddress(objects=address, store_id=STORE)
        for poisoned in (False, True):
            with snapserver(snapshots, socket, bucket) as server:
                with NbdClient(socket, "snap-00000001", timeout_s=60) as client:
                    got = b"".join(bytes(data) for _, data in client.read_ranges([(0, SIZE)], piece_bytes=MIB))
                    assert not unequal(got, original)
                server.terminate()
                assert server.wait(60) == 0
            parts = list(cache.iterdir())
            assert len(parts) >= 2
            if not poisoned:
                for path in parts:
                    path.write_bytes(path.read_bytes()[::-1])
        # Who checks is told by the store what it has, and who serves by what was proven.
        (part,) = read_manifest(snapshots.store, find_manifest(snapshots.store, SnapshotId("snap-00000001"))).maps
        path = s3.bucket("bucket") / part.object
        path.chmod(0o600)
        path.write_bytes(bytes(part.bytes))
        kept = Kept()
        found = execute(ScrubJob(store=bucket, maps=(part.object,)), ProgressLines(), random.Random(1), kept)
        assert isinstance(found, ScrubResult)
        assert [fault.object for fault in found.faults] == [part.object]
        name = find_manifest(snapshots.store, SnapshotId("snap-00000001"))
        difference = DifferenceJob(store=bucket, older=None, newer=name, buckets_max=1)
        assert isinstance(execute(difference, ProgressLines(), random.Random(1), kept), DifferenceResult)


def test_a_damaged_pack_is_never_served(source: tuple[Snapshots, bytes], tmp_path: Path) -> None:
    snapshots, original = source
    (pack,) = SnapshotReader.open(snapshots.store, "snap-00000001").manifest.packs
    path = snapshots.root / pack.object
    path.chmod(0o600)
    body = bytearray(path.read_bytes())
    body[3 * MIB] ^= 1
    path.write_bytes(body)
    with NbdServer(tmp_path / "s", SnapshotProvider(snapshots.store)):
        with NbdClient(tmp_path / "s", "snap-00000001", timeout_s=60) as client:
            assert not unequal(client.pread(0, MIB), original[:MIB])
        client = NbdClient(tmp_path / "s", "snap-00000001", timeout_s=60)
        with pytest.raises(UnavailableError):
            client.pread(2 * MIB, 2 * MIB)


def test_few_readers_are_kept(source: tuple[Snapshots, bytes]) -> None:
    snapshots, _ = source
    provider = SnapshotProvider(snapshots.store, readers_max=1)
    session = SnapshotReader.open(snapshots.store, "snap-00000001").manifest.session
    first = provider.open("snap-00000001")
    assert provider.open("snap-00000001") is first
    provider.open(f"snap-00000001/{session}")
    assert provider.open("snap-00000001") is not first


def test_dirty_bits_are_only_the_guests(source: tuple[Snapshots, bytes], tmp_path: Path) -> None:
    snapshots, _ = source
    backing = Endpoint(socket=str(tmp_path / "s"), export="snap-00000001")
    ranges = SnapshotReader.open(snapshots.store, "snap-00000001").data_ranges()
    context = dirty_bitmap("b0")
    with (
        NbdServer(tmp_path / "s", SnapshotProvider(snapshots.store)),
        storage_daemon(tmp_path / "qsd") as daemon,
    ):
        daemon.open_disk(qcow2(tmp_path / "clone.qcow2", SIZE, backing), backing=backing)
        daemon.export_lower()
        with NbdClient(daemon.nbd, "disk", timeout_s=60) as guest:
            guest.pwrite(7 * BLOCK, b"g" * BLOCK)
        with NbdClient(daemon.nbd, "lower", timeout_s=60) as client:
            hydrate(client, ranges, rate_bytes_per_s=0, stop=threading.Event(), on_progress=lambda _a, _b: None)
        view = daemon.freeze(SIZE)
        with NbdClient(Path(view.socket), view.export, contexts=(context,), timeout_s=60) as client:
            assert marked(client.extents(context, 0, SIZE), STATE_DIRTY).tolist() == [[7, 8]]

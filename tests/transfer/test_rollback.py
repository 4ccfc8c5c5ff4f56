"""Rolling a real qcow2 back: equal afterwards, only what differs is written, and a cut-off one is finished."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drystone.domain.blocks import from_blocks
from drystone.domain.errors import IntegrityError, ProtocolError, UnavailableError
from drystone.nbd.client import NbdClient
from drystone.nbd.extents import STATE_DIRTY, dirty_bitmap
from drystone.snapstore.reader import SnapshotReader
from drystone.transfer.jobs import RollbackJob, RollbackResult
from drystone.transfer.plan import marked
from drystone.transfer.ranges_file import write_ranges
from drystone.transfer.rollback import rollback
from tests.transfer.snapshots import Snapshots, unequal
from tests.transfer.storage_daemon import StorageDaemon, qcow2, storage_daemon

MIB = 1 << 20
BLOCK = 4096
SIZE = 64 * MIB


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[StorageDaemon]:
    with storage_daemon(tmp_path / "qsd") as running:
        running.open_disk(qcow2(tmp_path / "d.qcow2", SIZE))
        yield running


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "store", SIZE)


def take(daemon: StorageDaemon, snapshots: Snapshots) -> tuple[str, bytes]:
    """Write some data, take a snapshot, then change the disk."""
    rng = np.random.default_rng(4)
    model = bytearray(SIZE)
    with NbdClient(daemon.nbd, "disk", timeout_s=20) as client:
        for start, length in ((0, 10 * MIB), (40 * MIB, 2 * MIB), (60 * MIB + BLOCK, BLOCK)):
            data = rng.bytes(length)
            client.pwrite(start, data)
            model[start : start + length] = data
    result = snapshots.take(daemon.freeze(SIZE), "full")
    daemon.release()
    return result.manifest, bytes(model)


def change(daemon: StorageDaemon) -> None:
    """Differ in 30 + 20 + 16 + 256 blocks, and write 5 blocks as they were."""
    rng = np.random.default_rng(5)
    with NbdClient(daemon.nbd, "disk", timeout_s=20) as client:
        for block in range(0, 300, 10):  # data to other data
            client.pwrite(block * BLOCK, rng.bytes(BLOCK))
        client.pwrite(50 * MIB, rng.bytes(20 * BLOCK))  # nothing to data
        client.trim(5 * MIB, 64 * 1024)  # data to hole
        client.zero(40 * MIB, MIB)
        same = client.pread(8 * MIB, 5 * BLOCK)
        client.pwrite(8 * MIB, same)


DIFFERING = (30 + 20 + 16 + 256) * BLOCK


def content(daemon: StorageDaemon) -> bytes:
    with NbdClient(daemon.nbd, "disk", timeout_s=20) as client:
        return b"".join(bytes(data) for _, data in client.read_ranges([(0, SIZE)]))


def dirty_blocks(daemon: StorageDaemon, bitmap: str) -> int:
    daemon.qmp(
        "block-export-add", id="bits", type="nbd", node_name="d0", name="bits", writable=True,
        bitmaps=[{"node": "d0", "name": bitmap}],
    )  # fmt: skip
    context = dirty_bitmap(bitmap)
    with NbdClient(daemon.nbd, "bits", contexts=(context,), timeout_s=20) as client:
        ranges = marked(client.extents(context, 0, SIZE), STATE_DIRTY)
    return int((ranges[:, 1] - ranges[:, 0]).sum())


def run(daemon: StorageDaemon, snapshots: Snapshots, manifest: str, job: RollbackJob | None = None) -> RollbackResult:
    job = job or RollbackJob(store=snapshots.address, manifest=manifest, disk=daemon.endpoint("disk"), plan=None)
    return rollback(job, snapshots.store, lambda _done, _total: None)


def test_whole_disk(daemon: StorageDaemon, snapshots: Snapshots) -> None:
    """F26."""
    manifest, model = take(daemon, snapshots)
    change(daemon)
    assert unequal(content(daemon), model)
    daemon.add_bitmap("written")
    result = run(daemon, snapshots, manifest)
    assert not unequal(content(daemon), model)
    assert result.differing_bytes == DIFFERING
    assert result.written_bytes == DIFFERING
    # QEMU saw no other write than those (P: at most 1.05 of what differs).
    assert dirty_blocks(daemon, "written") * BLOCK == DIFFERING
    again = run(daemon, snapshots, manifest)
    assert again.written_bytes == 0


def test_plan_limits_what_is_read(daemon: StorageDaemon, snapshots: Snapshots, tmp_path: Path) -> None:
    manifest, model = take(daemon, snapshots)
    change(daemon)
    blocks = [
        *range(300), *range(50 * 256, 50 * 256 + 20), *range(5 * 256, 5 * 256 + 16), *range(40 * 256, 41 * 256),
        *range(8 * 256, 8 * 256 + 5), 99_999_999,
    ]  # fmt: skip
    plan = write_ranges(tmp_path / "plan", from_blocks(np.array(blocks)))
    job = RollbackJob(store=snapshots.address, manifest=manifest, disk=daemon.endpoint("disk"), plan=plan)
    result = run(daemon, snapshots, manifest, job)
    assert not unequal(content(daemon), model)
    assert result.written_bytes == DIFFERING
    assert result.read_bytes == (300 + 20 + 5) * BLOCK


def test_a_grown_disk_is_zero_beyond_the_snapshot(daemon: StorageDaemon, snapshots: Snapshots, tmp_path: Path) -> None:
    manifest, model = take(daemon, snapshots)
    with storage_daemon(tmp_path / "other") as other:
        other.open_disk(qcow2(tmp_path / "big.qcow2", SIZE + 8 * MIB))
        with NbdClient(other.nbd, "disk", timeout_s=20) as client:
            client.pwrite(SIZE + MIB, b"x" * MIB)
        result = run(other, snapshots, manifest)
        with NbdClient(other.nbd, "disk", timeout_s=20) as client:
            got = b"".join(bytes(data) for _, data in client.read_ranges([(0, client.size_bytes)]))
        assert not unequal(got, model + bytes(8 * MIB))
        data_bytes = 12 * MIB + BLOCK
        assert result.written_bytes == data_bytes + MIB
    with storage_daemon(tmp_path / "small") as small:
        small.open_disk(qcow2(tmp_path / "small.qcow2", SIZE - MIB))
        with pytest.raises(ProtocolError, match="cannot take"):
            run(small, snapshots, manifest)


def test_cut_off_then_finished(daemon: StorageDaemon, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    """A8."""
    manifest, model = take(daemon, snapshots)
    change(daemon)
    real = SnapshotReader.read
    calls = 0

    def failing(self: SnapshotReader, start_byte: int, length: int) -> bytearray:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise UnavailableError("planted")
        return real(self, start_byte, length)

    monkeypatch.setattr(SnapshotReader, "read", failing)
    with pytest.raises(UnavailableError, match="planted"):
        run(daemon, snapshots, manifest)
    monkeypatch.setattr(SnapshotReader, "read", real)
    assert unequal(content(daemon), model)
    result = run(daemon, snapshots, manifest)
    assert not unequal(content(daemon), model)
    assert 0 < result.written_bytes < DIFFERING


def test_damaged_packs_write_nothing_wrong(daemon: StorageDaemon, snapshots: Snapshots) -> None:
    manifest, model = take(daemon, snapshots)
    change(daemon)
    before = content(daemon)
    (pack,) = SnapshotReader.open(snapshots.store, manifest).manifest.packs
    path = snapshots.root / pack.object
    path.chmod(0o600)
    body = bytearray(path.read_bytes())
    for at in range(1000, 11 * MIB, 100_000):
        body[at] ^= 1
    path.write_bytes(body)
    with pytest.raises(IntegrityError):
        run(daemon, snapshots, manifest)
    now = content(daemon)
    blocks = range(0, SIZE, BLOCK)
    assert all(now[at : at + BLOCK] in (before[at : at + BLOCK], model[at : at + BLOCK]) for at in blocks)

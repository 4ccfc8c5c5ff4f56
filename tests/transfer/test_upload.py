"""Uploads from real frozen views: deltas, full snapshots, rescans, broken views, trimming, audit."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drystone.codec import manifest as manifest_codec
from drystone.domain.blocks import from_blocks, normalize
from drystone.domain.errors import IntegrityError, ProtocolError, SnapshotBrokenError
from drystone.nbd.client import NbdClient
from drystone.nbd.vhost_user import Discarder
from drystone.snapstore.layers import delta_addresses
from drystone.snapstore.manifests import list_manifests, put_manifest, read_manifest
from drystone.snapstore.reader import SnapshotReader
from drystone.transfer import upload as upload_module
from drystone.transfer.jobs import AuditPlan
from drystone.transfer.ranges_file import read_ranges, write_ranges
from tests.transfer.snapshots import Snapshots, unequal
from tests.transfer.storage_daemon import StorageDaemon, qcow2, storage_daemon

MIB = 1 << 20
BLOCK = 4096
SIZE = 64 * MIB


class Disk:
    """The writable export, and what it must hold."""

    def __init__(self, daemon: StorageDaemon, size: int = SIZE) -> None:
        self.client = NbdClient(daemon.nbd, "disk", timeout_s=20)
        self.model = bytearray(size)
        self.rng = np.random.default_rng(9)

    def write(self, start: int, length: int) -> None:
        data = self.rng.bytes(length)
        self.client.pwrite(start, data)
        self.model[start : start + length] = data

    def zero(self, start: int, length: int) -> None:
        self.client.zero(start, length)
        self.model[start : start + length] = bytes(length)

    def scatter(self, blocks: int) -> set[int]:
        chosen = set(self.rng.choice(len(self.model) // BLOCK, blocks, replace=False).tolist())
        for block in sorted(chosen):
            self.write(block * BLOCK, BLOCK)
        return chosen


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[StorageDaemon]:
    with storage_daemon(tmp_path / "qsd") as running:
        running.open_disk(qcow2(tmp_path / "d.qcow2", SIZE))
        yield running


@pytest.fixture
def disk(daemon: StorageDaemon) -> Iterator[Disk]:
    made = Disk(daemon)
    yield made
    made.client.close()


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "store", SIZE)


def test_full_then_deltas_under_writes(daemon: StorageDaemon, disk: Disk, snapshots: Snapshots) -> None:
    """F20."""
    disk.write(0, 9 * MIB)
    disk.write(30 * MIB, 3 * MIB + BLOCK)
    disk.zero(2 * MIB, MIB)
    view = daemon.freeze(SIZE)
    frozen = bytes(disk.model)
    disk.scatter(300)  # after the instant: must not be in the snapshot
    result = snapshots.take(view, "full")
    daemon.release()
    assert result.tracking == "full"
    assert not unequal(snapshots.content(result.manifest), frozen)
    assert result.read_bytes == 11 * MIB + 64 * 1024  # in whole clusters of the image
    assert result.changed_bytes == 11 * MIB + BLOCK
    manifest = read_manifest(snapshots.store, result.manifest)
    assert manifest.base is None
    assert manifest.record.stored_bytes == result.stored_bytes <= 1.02 * result.changed_bytes + 4096

    # b1 has everything since the first instant, also what was written while it was uploaded.
    changed = disk.scatter(200)
    disk.zero(40 * BLOCK, 600 * BLOCK)
    disk.zero(5 * BLOCK, BLOCK)
    view = daemon.freeze(SIZE, old="b1", new="b2")
    frozen_2 = bytes(disk.model)
    disk.scatter(100)
    result_2 = snapshots.take(view, "delta", bitmap="b1")
    daemon.release(old="b1")
    assert result_2.tracking == "delta"
    assert not unequal(snapshots.content(result_2.manifest), frozen_2)
    assert not unequal(snapshots.content(result.manifest), frozen)
    addresses = delta_addresses(snapshots.store, result_2.map.object)
    assert result_2.changed_bytes == (addresses[:, 1] - addresses[:, 0]).sum() * BLOCK
    assert 200 <= result_2.data_blocks <= 500
    assert result_2.zero_blocks >= 600
    # The long zeroed stretch was never read.
    assert result_2.read_bytes <= result_2.changed_bytes - 500 * BLOCK
    assert changed
    manifest = read_manifest(snapshots.store, result_2.manifest)
    assert [part.kind for part in manifest.maps] == ["delta", "full"]
    assert manifest.record == manifest_codec.SnapshotRecord(
        tracking="delta", tracking_reason="test", read_bytes=result_2.read_bytes,
        changed_bytes=result_2.changed_bytes, stored_bytes=result_2.stored_bytes,
        requests=result_2.requests - 1, freeze_ms=1.0, consistency="crash",
    )  # fmt: skip

    # An empty delta is a snapshot, too.
    view = daemon.freeze(SIZE, old="b2", new="b3")
    daemon.release(old="b2")
    result_3 = snapshots.take(daemon.freeze(SIZE, old="b3", new="b4"), "delta", bitmap="b3")
    assert (result_3.read_bytes, result_3.changed_bytes, result_3.packs) == (0, 0, ())
    assert not unequal(snapshots.content(result_3.manifest), frozen_2)


def test_carry_over_is_read_beside_the_bitmap(
    daemon: StorageDaemon, disk: Disk, snapshots: Snapshots, tmp_path: Path
) -> None:
    disk.write(0, MIB)
    first = snapshots.take(daemon.freeze(SIZE), "full")
    first_chain = snapshots.chain
    daemon.release()
    disk.write(8 * MIB, 40 * BLOCK)
    second = snapshots.take(daemon.freeze(SIZE, old="b1", new="b2"), "delta", bitmap="b1")
    daemon.release(old="b1")
    disk.write(16 * MIB, 4 * BLOCK)  # the checkpoint's part: its bitmap is thrown away
    daemon.freeze(SIZE, old="b2", new="b3")
    daemon.release(old="b2")
    disk.write(24 * MIB, 2 * BLOCK)
    view = daemon.freeze(SIZE, old="b3", new="b4")
    # The second snapshot was deleted: its base moves to the first (A5), its delta is carried.
    snapshots.last, snapshots.chain = first, first_chain
    beyond = SIZE // BLOCK + 5
    checkpoint = write_ranges(
        tmp_path / "ranges", normalize([(16 * MIB // BLOCK, 16 * MIB // BLOCK + 4), (beyond, beyond + 1)])
    )
    third = snapshots.take(view, "delta", bitmap="b3", carry_maps=(second.map.object,), carry_ranges=(checkpoint,))
    assert not unequal(snapshots.content(third.manifest), disk.model)
    assert third.changed_bytes == 46 * BLOCK
    assert read_manifest(snapshots.store, third.manifest).base == "snap-00000001"
    # Without the carry-over it would be wrong: the test can fail.
    wrong = snapshots.job(view, "delta", bitmap="b3")
    snapshots.last, snapshots.chain = first, first_chain
    wrong = snapshots.job(view, "delta", bitmap="b3")
    result = upload_module.upload(wrong, snapshots.store, snapshots.rng, lambda _a, _b: None)
    put_manifest(snapshots.store, result.manifest, result.sealed)
    assert unequal(snapshots.content(result.manifest), disk.model)


def test_rescan_uploads_only_what_differs(daemon: StorageDaemon, disk: Disk, snapshots: Snapshots) -> None:
    disk.write(0, 20 * MIB)
    snapshots.take(daemon.freeze(SIZE), "full")
    daemon.release()
    changed = disk.scatter(50)
    disk.zero(MIB, 64 * 1024)  # data to hole
    disk.zero(3 * BLOCK, BLOCK)  # data to zeros within a cluster
    model = bytes(disk.model)
    view = daemon.freeze(SIZE, old="b1", new="b2")
    disk.scatter(20)
    result = snapshots.take(view, "rescan")
    assert result.tracking == "rescan"
    assert not unequal(snapshots.content(result.manifest), model)
    zeroed = set(range(256, 272)) | {3}
    assert result.data_blocks == len(changed - zeroed)
    assert result.zero_blocks == len(zeroed)
    assert result.changed_bytes == (result.data_blocks + 17) * BLOCK
    assert read_manifest(snapshots.store, result.manifest).base == "snap-00000001"
    # And once more, with nothing changed since: nothing is stored.
    again = snapshots.take(view, "rescan")
    assert (again.data_blocks, again.zero_blocks, again.packs) == (0, 0, ())
    assert again.read_bytes >= 19 * MIB
    assert not unequal(snapshots.content(again.manifest), model)


def test_rescan_without_base_is_full(daemon: StorageDaemon, disk: Disk, snapshots: Snapshots) -> None:
    disk.write(5 * MIB, MIB)
    result = snapshots.take(daemon.freeze(SIZE), "rescan")
    assert result.tracking == "full"
    assert result.map.kind == "full"
    assert not unequal(snapshots.content(result.manifest), disk.model)


def test_a_broken_view_fails_and_leaves_no_manifest(
    daemon: StorageDaemon, disk: Disk, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.write(0, 8 * MIB)
    snapshots.take(daemon.freeze(SIZE), "full")
    daemon.release()
    disk.write(0, 2 * MIB)
    view = daemon.freeze(SIZE, old="b1", new="b2")
    # What was trimmed reads EINVAL, as everything does once copy-before-write has failed.
    with Discarder(daemon.trim, timeout_s=20) as discarder:
        assert discarder.discard([(MIB, MIB)], stop=lambda: False) == MIB
    for mode, bitmap in (("delta", "b1"), ("rescan", None)):
        with pytest.raises(SnapshotBrokenError):
            snapshots.take(view, mode, bitmap=bitmap)
    assert len(list(list_manifests(snapshots.store))) == 1


def test_an_export_of_another_size_is_refused(daemon: StorageDaemon, snapshots: Snapshots) -> None:
    snapshots.size = SIZE * 2
    with pytest.raises(ProtocolError, match="has 67108864 bytes, the disk has 134217728"):
        snapshots.take(daemon.freeze(SIZE), "full")


def test_trimming_spares_what_is_needed(
    daemon: StorageDaemon, disk: Disk, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F2."""
    monkeypatch.setattr(upload_module, "TRIM_FROM_BYTES", 0)
    disk.write(0, 32 * MIB)
    first = snapshots.take(daemon.freeze(SIZE), "full", trim=str(daemon.trim))
    daemon.release()
    assert not unequal(snapshots.content(first.manifest), disk.model)
    disk.scatter(400)
    model = bytes(disk.model)
    view = daemon.freeze(SIZE, old="b1", new="b2")
    again = snapshots.job(view, "delta", bitmap="b1", trim=str(daemon.trim))
    result = snapshots.take(
        view, "delta", bitmap="b1", trim=str(daemon.trim), audit=AuditPlan(cursor_block=1000, blocks_max=200)
    )
    assert not unequal(snapshots.content(result.manifest), model)
    assert result.audited_blocks == 200
    assert result.audit_lies == ()
    assert 1200 <= result.audit_next_block < 1400
    # Something was trimmed: reading all of the view fails now.
    with NbdClient(daemon.nbd, "view", timeout_s=20) as client, pytest.raises(SnapshotBrokenError):
        for _ in client.read_ranges([(0, SIZE)]):
            pass
    # S35: whoever has to begin again finds all that it reads there, as long as it audits nothing.
    second = upload_module.upload(again, snapshots.store, snapshots.rng, lambda _done, _total: None)
    put_manifest(snapshots.store, second.manifest, second.sealed)
    assert not unequal(snapshots.content(second.manifest), model)


def test_the_audit_finds_a_lost_bit(daemon: StorageDaemon, disk: Disk, snapshots: Snapshots) -> None:
    """P8, A12."""
    disk.write(0, 4 * MIB)
    snapshots.take(daemon.freeze(SIZE), "full")
    daemon.release()
    # A change that no bitmap of the next snapshot knows of: b1 is dropped, b2 starts afterwards.
    disk.write(700 * BLOCK, 3 * BLOCK)
    daemon.freeze(SIZE, old="b1", new="b2")
    daemon.release(old="b1")
    disk.write(0, BLOCK)
    view = daemon.freeze(SIZE, old="b2", new="b3")
    plan = AuditPlan(cursor_block=600, blocks_max=10_000)
    result = snapshots.take(view, "delta", bitmap="b2", audit=plan, trim=str(daemon.trim))
    assert (result.audit_lies, result.audit_lie_blocks) == (((700, 703),), 3)
    assert result.audited_blocks == 1023
    assert result.audit_next_block == 600
    assert not result.audit_complete
    # The same snapshot is right: it was made by rescan of the same view.
    assert result.tracking == "rescan"
    assert "3 blocks" in result.tracking_reason
    assert result.changed_bytes == 4 * BLOCK
    assert not unequal(snapshots.content(result.manifest), disk.model)


def test_an_audit_of_everything_sees_holes_too_and_says_that_it_is_complete(
    daemon: StorageDaemon, disk: Disk, snapshots: Snapshots
) -> None:
    disk.write(0, 4 * MIB)
    snapshots.take(daemon.freeze(SIZE), "full")
    daemon.release()
    everything = AuditPlan(cursor_block=77, blocks_max=None)
    view = daemon.freeze(SIZE, old="b1", new="b2")
    result = snapshots.take(view, "delta", bitmap="b1", audit=everything)
    daemon.release(old="b1")
    assert (result.audit_complete, result.audited_blocks, result.audit_lies) == (True, 1024, ())
    # 64 KiB become a hole behind the bitmap's back.
    disk.zero(2 * MIB, 64 * 1024)
    daemon.freeze(SIZE, old="b2", new="b3")
    daemon.release(old="b2")
    view = daemon.freeze(SIZE, old="b3", new="b4")
    result = snapshots.take(view, "delta", bitmap="b3", audit=everything)
    assert result.audit_lies == ((512, 528),)
    assert result.tracking == "rescan"
    assert not unequal(snapshots.content(result.manifest), disk.model)


def test_a_sample_follows_the_change_and_the_span(daemon: StorageDaemon, disk: Disk, snapshots: Snapshots) -> None:
    """F17, F22."""
    disk.write(0, 16 * MIB)
    snapshots.take(daemon.freeze(SIZE), "full")
    daemon.release()
    disk.write(0, 8 * MIB)
    view = daemon.freeze(SIZE, old="b1", new="b2")
    plan = AuditPlan(cursor_block=0, blocks_max=64, marked_divisor=16)
    result = snapshots.take(view, "delta", bitmap="b1", audit=plan)
    daemon.release(old="b1")
    assert (result.audited_blocks, result.audit_next_block) == (2048 // 16, 2048 + 128)
    # Looking for data ends with the span, and the next audit goes on behind it.
    view = daemon.freeze(SIZE, old="b2", new="b3")
    plan = AuditPlan(cursor_block=5000, blocks_max=64, span_blocks=1000)
    result = snapshots.take(view, "delta", bitmap="b2", audit=plan)
    assert (result.audited_blocks, result.audit_next_block) == (0, 6000)


def test_ranges_files(tmp_path: Path) -> None:
    ranges = from_blocks(np.array(random.Random(1).sample(range(10_000), 500)))
    file = write_ranges(tmp_path / "r", ranges)
    assert (read_ranges(file) == ranges).all()
    body = bytearray((tmp_path / "r").read_bytes())
    body[7] ^= 1
    (tmp_path / "r").write_bytes(body)
    with pytest.raises(IntegrityError):
        read_ranges(file)


def test_reader_sees_packs_of_the_result(daemon: StorageDaemon, disk: Disk, snapshots: Snapshots) -> None:
    disk.write(0, MIB)
    result = snapshots.take(daemon.freeze(SIZE), "full")
    reader = SnapshotReader.open(snapshots.store, "snap-00000001")
    assert {pack.pack for pack in reader.manifest.packs} == {pack.pack for pack in result.packs}
    assert sum(pack.blocks for pack in result.packs) == result.data_blocks == 256

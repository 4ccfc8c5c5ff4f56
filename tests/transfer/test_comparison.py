"""Comparing a running disk with a snapshot, slice by slice, while it is written to (A6)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from drystone.domain.blocks import Ranges, from_blocks, intersect, subtract, union
from drystone.domain.errors import ProtocolError
from drystone.nbd.client import NbdClient
from drystone.nbd.extents import STATE_DIRTY, dirty_bitmap
from drystone.transfer import comparison
from drystone.transfer.addresses import Endpoint, Look
from drystone.transfer.comparison import compare
from drystone.transfer.jobs import CompareJob, CompareResult
from drystone.transfer.plan import marked
from drystone.transfer.ranges_file import read_ranges
from tests.transfer.snapshots import Snapshots
from tests.transfer.storage_daemon import StorageDaemon, qcow2, storage_daemon

MIB = 1 << 20
BLOCK = 4096
SIZE = 64 * MIB


class World:
    """A disk of which 24 MiB were written, its snapshot, and since then a bitmap that recorded nothing."""

    def __init__(self, daemon: StorageDaemon, path: Path) -> None:
        self.daemon, self.path = daemon, path
        self.rng = np.random.default_rng(4)
        self.client = NbdClient(daemon.nbd, "disk", timeout_s=20)
        self.model = bytearray(SIZE)
        self.snapshots = Snapshots(path / "store", SIZE)
        self.write(0, 20 * MIB)
        self.write(40 * MIB, 4 * MIB)
        self.taken = self.snapshots.take(daemon.freeze(SIZE), "full")
        daemon.release()
        self.frozen = bytes(self.model)
        self.look = daemon.export_lower()

    def write(self, start: int, length: int) -> None:
        data = self.rng.bytes(length)
        self.client.pwrite(start, data)
        self.model[start : start + length] = data

    def zero(self, start: int, length: int) -> None:
        self.client.zero(start, length)
        self.model[start : start + length] = bytes(length)

    def forget_writes(self) -> None:
        """The bitmap that saw everything goes, another begins: tracking was lost."""
        self.daemon.add_bitmap("late")
        self.daemon.qmp("block-dirty-bitmap-remove", node="d0", name="b1")

    def differing(self) -> Ranges:
        rows = [np.frombuffer(side, dtype=np.uint64).reshape(-1, 512) for side in (self.model, self.frozen)]
        return from_blocks(np.flatnonzero((rows[0] != rows[1]).any(axis=1)))

    def recorded(self) -> Ranges:
        self.daemon.qmp(
            "block-export-add", id="bits", type="nbd", node_name="d0", name="bits", writable=False,
            bitmaps=[{"node": "d0", "name": "late"}],
        )  # fmt: skip
        context = dirty_bitmap("late")
        with NbdClient(self.daemon.nbd, "bits", contexts=(context,), timeout_s=20) as client:
            return marked(client.extents(context, 0, SIZE), STATE_DIRTY)

    def slice(self, start: int, *, seconds: float) -> CompareResult:
        job = CompareJob(
            store=self.snapshots.address, manifest=self.taken.manifest, disk=Look(nbd=self.look), start_block=start,
            seconds_max=seconds, found=str(self.path / "found"), yielding=False,
        )  # fmt: skip
        return compare(job, self.snapshots.store)

    def compare(self, *, seconds: float, between: Callable[[int], None] = lambda _number: None) -> tuple[Ranges, int]:
        """Compare everything; return what differs and the number of slices."""
        found, at, slices = from_blocks(np.empty(0, dtype=np.int64)), 0, 0
        while True:
            result = self.slice(at, seconds=seconds)
            found = union(found, read_ranges(result.found))
            assert result.next_block > at
            at, slices = result.next_block, slices + 1
            if at >= result.size_blocks:
                return found, slices
            between(slices)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with storage_daemon(tmp_path / "qsd") as daemon:
        daemon.open_disk(qcow2(tmp_path / "d.qcow2", SIZE))
        made = World(daemon, tmp_path)
        yield made
        made.client.close()


def change(world: World) -> None:
    for block in world.rng.choice(5000, 40, replace=False).tolist():
        world.write(block * BLOCK, BLOCK)
    world.zero(2 * MIB, 64 * 1024)
    world.write(50 * MIB, 8 * BLOCK)
    world.zero(41 * MIB, 64 * 1024)


def test_a_quiet_disk_differs_in_exactly_what_was_changed(world: World) -> None:
    change(world)
    found, slices = world.compare(seconds=600)
    assert found.tolist() == world.differing().tolist()
    assert slices == 1


def test_writes_between_slices_are_found_or_recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "WINDOW_BLOCKS", 256)
    change(world)
    # Also in the first block of each window: none falls between two slices.
    for window in range(1, 18):
        world.write(window * 256 * BLOCK, BLOCK)
    world.forget_writes()

    def between(number: int) -> None:
        block = (number * 1103) % 6000
        world.write(block * BLOCK, 3 * BLOCK)
        if number % 5 == 0:
            world.zero(30 * MIB + number * 64 * 1024, 64 * 1024)

    found, slices = world.compare(seconds=0.000001, between=between)
    assert slices > 20
    recorded = world.recorded()
    assert len(subtract(world.differing(), union(found, recorded))) == 0
    # Both are needed: neither alone holds everything.
    assert len(subtract(world.differing(), found))
    assert len(subtract(world.differing(), recorded))
    # And nothing is called different that was neither changed before nor written meanwhile.
    assert len(subtract(found, union(world.differing(), recorded))) == 0
    assert len(intersect(found, recorded)) < len(found) + len(recorded)


def test_a_smaller_disk_is_refused(world: World, tmp_path: Path) -> None:
    with storage_daemon(tmp_path / "other") as daemon:
        daemon.open_disk(qcow2(tmp_path / "small.qcow2", SIZE // 2))
        world.look = Endpoint(socket=str(daemon.nbd), export="disk")
        with pytest.raises(ProtocolError, match="cannot be compared"):
            world.slice(0, seconds=1)

"""The main job, end to end: write, snapshot while written to, restore, roll back, delete, restart."""

import numpy as np
import pytest

from tests.system.harness import Installation, random_bytes

MIB = 1 << 20


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_snapshots_restore_and_roll_back_bit_for_bit(system: Installation, rng: np.random.Generator) -> None:
    disk_id = system.create_disk()
    system.attach(disk_id)
    first = random_bytes(rng, 8 * MIB)
    system.write(disk_id, 0, first)
    one = system.take(disk_id)
    second = bytearray(first)
    second[MIB : MIB + 4096] = random_bytes(rng, 4096)
    system.write(disk_id, MIB, bytes(second[MIB : MIB + 4096]))
    two = system.take(disk_id)
    record = system.record(two)
    assert record["Tracking"] == "delta"
    assert record["ChangedBytes"] == 4096
    assert system.content(one, 8 * MIB) == first
    assert system.content(two, 8 * MIB) == bytes(second)
    system.detach(disk_id)
    system.call("ApplySnapshot", SnapshotId=one, DiskId=disk_id)
    system.wait_state(disk_id, "UNATTACHED")
    system.attach(disk_id)
    assert system.read(disk_id, 0, 8 * MIB) == first
    # A rollback sets the base: what follows is a delta to it.
    system.write(disk_id, 0, b"x" * 4096)
    three = system.take(disk_id)
    assert system.record(three)["Tracking"] == "delta"
    assert system.record(three)["ParentSnapshotId"] == one
    system.call("DeleteSnapshots", SnapshotIds=[one])
    system.wait_idle()
    assert system.content(three, 8 * MIB) == b"x" * 4096 + first[4096:]
    assert system.content(two, 8 * MIB) == bytes(second)


def test_restart_and_host_stop_keep_tracking(system: Installation, rng: np.random.Generator) -> None:
    disk_id = system.create_disk()
    system.attach(disk_id)
    data = random_bytes(rng, MIB)
    system.write(disk_id, 0, data)
    system.take(disk_id)
    system.stop()
    system.start()
    assert system.read(disk_id, 0, MIB) == data
    system.write(disk_id, 4096, b"a" * 4096)
    system.host_stop()
    assert system.daemons() == {}
    system.start()
    assert system.read(disk_id, 4096, 4096) == b"a" * 4096
    system.write(disk_id, 3 * 4096, b"b" * 4096)
    record = system.record(system.take(disk_id))
    assert record["Tracking"] == "delta", record
    assert record["ChangedBytes"] == 2 * 4096


def test_daemon_killed_is_a_rescan_that_stores_only_what_differs(
    system: Installation, rng: np.random.Generator
) -> None:
    disk_id = system.create_disk()
    system.attach(disk_id)
    data = bytearray(random_bytes(rng, 4 * MIB))
    system.write(disk_id, 0, bytes(data))
    system.take(disk_id)
    data[0:4096] = random_bytes(rng, 4096)
    system.write(disk_id, 0, bytes(data[:4096]))
    system.kill_daemons()
    system.wait(lambda: system.detail(disk_id)["Tracking"] == "LOST", "tracking LOST")
    system.wait(lambda: system.detail(disk_id)["NbdUri"] is not None, "served again")
    system.wait(lambda: ("daemon_died", system.nbd_instance) in system.events(), "told")
    two = system.take(disk_id)
    record = system.record(two)
    assert record["Tracking"] == "rescan"
    assert record["ChangedBytes"] == 4096
    assert "tracking was lost" in record["TrackingReason"]
    assert system.content(two, 4 * MIB) == bytes(data)
    three = system.take(disk_id)
    assert system.record(three)["Tracking"] == "delta"

"""A disk made from a snapshot stands alone once it is filled: its source may go, and never shines through again."""

from pathlib import Path

import numpy as np

from tests.system.harness import Installation, random_bytes

MIB = 1 << 20
CLUSTER = 64 << 10


def test_a_filled_disk_never_reads_its_source_again(system: Installation) -> None:
    rng = np.random.default_rng(23)
    disk_id = system.create_disk()
    system.attach(disk_id)
    data = bytearray(random_bytes(rng, 2 * MIB))
    system.write(disk_id, 0, bytes(data))
    snapshot_id = system.take(disk_id)
    restored = system.create_disk(SnapshotId=snapshot_id)
    system.attach(restored)
    system.wait(lambda: not system.detail(restored)["Hydrating"], "filled")
    # What is discarded now has no place in the image: only where there is no backing does it read as zeros.
    with system.nbd(restored) as client:
        client.trim(0, 4 * CLUSTER)
        client.flush()
        data[: 4 * CLUSTER] = bytes(client.pread(0, 4 * CLUSTER))
    assert not any(data[: 4 * CLUSTER])
    system.kill_daemons()
    system.wait(lambda: system.detail(restored)["Tracking"] == "LOST", "tracking LOST")
    assert system.read(restored, 0, 2 * MIB) == data
    system.call("DeleteSnapshots", SnapshotIds=[snapshot_id])
    system.wait_idle()
    system.host_stop()
    system.start()
    assert system.read(restored, 0, 2 * MIB) == data
    system.detach(restored)
    system.attach(restored)
    assert system.read(restored, 0, 2 * MIB) == data
    assert system.stored(system.take(restored)).read(0, 2 * MIB) == data


def test_a_manifest_of_an_attempt_that_was_given_up_hinders_nobody(system: Installation, tmp_path: Path) -> None:
    data = random_bytes(np.random.default_rng(29), MIB)
    disk_id = system.create_disk()
    system.attach(disk_id)
    system.write(disk_id, 0, data)
    snapshot_id = system.take(disk_id)
    (manifest,) = (system.data / "store").glob(f"*/snapshots/{snapshot_id}/*.manifest")
    # The next sweep removes it, since its session is FENCED; until then there are two.
    (manifest.parent / f"{'0' * 32}.manifest").write_bytes(b"of an attempt that was given up")
    restored = system.create_disk(SnapshotId=snapshot_id)
    system.attach(restored)
    assert system.read(restored, 0, MIB) == data
    system.wait(lambda: not system.detail(restored)["Hydrating"], "filled")
    assert system.read(restored, 0, MIB) == data
    copy = tmp_path / "copy.raw"
    system.own("ExportSnapshot", SnapshotId=snapshot_id, Path=str(copy), Format="raw")
    system.wait(copy.exists, "exported")
    with copy.open("rb") as file:
        assert file.read(MIB) == data

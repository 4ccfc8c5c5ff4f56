"""Whether what is believed is true: audits of tracking, tracking that heals, damage that is found and mended."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drystone.codec.pack import HEADER_BYTES
from tests.system.harness import Installation, flip, installation, random_bytes

BLOCK = 4096
MIB = 1 << 20


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(Path(tmp_path_factory.mktemp("trust")) / "data") as made:
        yield made


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(23)


def qmp(system: Installation, command: str, **arguments: Any) -> Any:
    """Run a QMP command on the daemon of the NBD instance, by its second monitor."""
    path = system.layout.run / system.nbd_instance / "qmp2.sock"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        answer: dict[str, Any] = {}
        with connection.makefile("rwb") as file:
            file.readline()
            for name, named in (("qmp_capabilities", {}), (command, arguments)):
                file.write(json.dumps({"execute": name, "arguments": named}).encode() + b"\n")
                file.flush()
                answer = {}
                while "return" not in answer:
                    answer = json.loads(file.readline())
                    assert "error" not in answer, answer
    return answer["return"]


def live_bitmap(system: Installation, disk_id: str) -> dict[str, str]:
    """Return node and name of the disk's recording bitmap."""
    node = "qcow-" + disk_id.removeprefix("disk-")
    nodes = qmp(system, "query-named-block-nodes", flat=True)
    (found,) = [entry for entry in nodes if entry["node-name"] == node]
    (name,) = [bitmap["name"] for bitmap in found["dirty-bitmaps"] if bitmap["recording"]]
    return {"node": node, "name": name}


def lie(system: Installation, disk_id: str, blocks: list[int], rng: np.random.Generator) -> None:
    """Write blocks while the tracker looks away.

    Nothing else may look at the disk meanwhile: what cleans up after a snapshot would see that tracking is lost.
    """
    system.wait_idle()
    bitmap = live_bitmap(system, disk_id)
    qmp(system, "block-dirty-bitmap-disable", **bitmap)
    for block in blocks:
        system.write(disk_id, block * BLOCK, random_bytes(rng, BLOCK))
    qmp(system, "block-dirty-bitmap-enable", **bitmap)


def test_an_audit_finds_every_bit_that_tracking_lost(system: Installation, rng: np.random.Generator) -> None:
    disk_id = system.create_disk()
    system.attach(disk_id)
    system.write(disk_id, 0, random_bytes(rng, 8 * MIB))
    first = system.take(disk_id)
    system.write(disk_id, 100 * BLOCK, random_bytes(rng, BLOCK))
    second = system.take(disk_id)
    assert 0 < system.record(second)["AuditedBlocks"] <= 256
    lost = sorted(rng.choice(np.arange(200, 2000), 40, replace=False).tolist())
    lie(system, disk_id, lost, rng)
    system.write(disk_id, 150 * BLOCK, random_bytes(rng, BLOCK))

    taken = str(system.own("AuditDisk", DiskId=disk_id)["SnapshotId"])
    system.wait_normal(taken)
    record = system.record(taken)
    assert (record["AuditLies"], record["AuditComplete"]) == (40, True)
    assert record["Tracking"] == "rescan"
    assert "audit" in record["TrackingReason"]
    assert record["ChangedBytes"] == 41 * BLOCK
    assert system.content(taken, 8 * MIB) == system.read(disk_id, 0, 8 * MIB)
    # What may have inherited a lie is said to be suspect; what looked at everything is not.
    assert [system.record(one)["Suspect"] for one in (first, second, taken)] == [False, True, False]
    # Healed: the next is a small delta again.
    assert system.detail(disk_id)["Tracking"] == "LIVE"
    system.write(disk_id, 10 * BLOCK, random_bytes(rng, BLOCK))
    after = system.record(system.take(disk_id))
    assert (after["Tracking"], after["ChangedBytes"]) == ("delta", BLOCK)
    # S27: a suspect snapshot is no base: without the one that healed, the next is compared whole.
    system.call("DeleteSnapshots", SnapshotIds=[taken, after["SnapshotId"]])
    assert system.detail(disk_id)["BaseSnapshotId"] == second
    again = system.take(disk_id)
    record = system.record(again)
    assert record["Tracking"] == "rescan"
    assert "suspect" in record["TrackingReason"]
    assert system.content(again, 8 * MIB) == system.read(disk_id, 0, 8 * MIB)


def test_lost_tracking_comes_back_beside_the_guest(
    tmp_path_factory: pytest.TempPathFactory, rng: np.random.Generator
) -> None:
    settings = "rescan_after_s = 0\n"
    with installation(Path(tmp_path_factory.mktemp("healing")) / "data", settings) as system:
        disk_id = system.create_disk()
        system.attach(disk_id)
        system.write(disk_id, 0, random_bytes(rng, 16 * MIB))
        system.take(disk_id)
        before = rng.choice(4096, 400, replace=False)
        with system.nbd(disk_id) as client:
            for block in before.tolist():
                client.pwrite(block * BLOCK, random_bytes(rng, BLOCK))
            client.flush()
        system.kill_daemons()
        # The daemon is found dead, started again, and the disk compared: nobody asks for it.
        system.wait(lambda: system.detail(disk_id)["Epoch"] == 2, "the disk opened again")
        with system.nbd(disk_id) as client:
            client.pwrite(100 * MIB, random_bytes(rng, BLOCK))
            client.flush()
        system.wait(lambda: system.detail(disk_id)["Tracking"] == "LIVE", "tracking LIVE")
        (operation,) = system.own("DescribeOperations", Filters=[{"Name": "kind", "Values": ["compare"]}])[
            "OperationSet"
        ]
        assert operation["State"] == "DONE"
        taken = system.take(disk_id)
        record = system.record(taken)
        changed = (len(before) + 1) * BLOCK
        assert (record["Tracking"], record["ChangedBytes"]) == ("delta", changed)
        assert record["StoredBytes"] <= 1.1 * changed
        assert system.content(taken, 16 * MIB) == system.read(disk_id, 0, 16 * MIB)
        # What was carried over is in that snapshot: the next has the next change only.
        system.write(disk_id, 5 * BLOCK, random_bytes(rng, BLOCK))
        assert system.record(system.take(disk_id))["ChangedBytes"] == BLOCK


def test_a_flipped_byte_is_found_named_and_mended(system: Installation, rng: np.random.Generator) -> None:
    before = system.events()  # What other tests found.
    disk_id = system.create_disk()
    system.attach(disk_id)
    system.write(disk_id, 0, random_bytes(rng, 2 * MIB))
    taken = system.take(disk_id)
    content = system.read(disk_id, 0, 2 * MIB)
    root = system.data / "store"
    packs = sorted(root.rglob("packs/*/*"), key=lambda path: path.stat().st_mtime)
    damaged = packs[-1]
    flip(damaged, HEADER_BYTES + 3 * BLOCK + 5)
    # Without its disk, the damage is named and what is whole is served.
    system.detach(disk_id)
    system.wait(lambda: system.detail(disk_id)["Daemon"] is None, "the disk closed")
    system.own("ScrubStore")
    system.wait(lambda: system.record(taken)["Damaged"], "the damage named")
    named = str(damaged.relative_to(root))
    assert system.events() - before == {("snapshot_damaged", taken), ("object_damaged", named)}
    health = system.own("DescribeStoreHealth")
    (found,) = health["DamageSet"]
    assert found["SnapshotId"] == taken
    assert found["Object"] == named
    assert found["BlockRanges"] == [[0, 64]]
    assert bytes(system.stored(taken).read(64 * BLOCK, 2 * MIB - 64 * BLOCK)) == content[64 * BLOCK :]
    # With it, the pack is mended from the live disk, even though the disk has changed elsewhere.
    system.attach(disk_id)
    system.write(disk_id, 10 * BLOCK, random_bytes(rng, BLOCK))
    system.own("ScrubStore")
    system.wait(lambda: not system.record(taken)["Damaged"], "the damage mended")
    health = system.own("DescribeStoreHealth")
    assert (health["DamageSet"], health["DamagedSnapshotCount"]) == ([], 0)
    # It is whole again, and that it was not is not forgotten: the drive may be failing.
    assert [kind for kind, _ in system.events() - before] == ["damage_mended"]
    assert system.content(taken, 2 * MIB) == content
    exports = qmp(system, "query-block-exports")
    assert not [entry["id"] for entry in exports if entry["id"].startswith("look-")]
    # The new object stands alone.
    (new,) = [path for path in damaged.parent.iterdir() if path != damaged]
    damaged.unlink(missing_ok=True)
    assert system.content(taken, 2 * MIB) == content
    assert new.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="block devices need root")
def test_a_block_device_of_this_host_is_compared_too(
    tmp_path_factory: pytest.TempPathFactory, rng: np.random.Generator
) -> None:
    def write(disk_id: str, blocks: list[int]) -> None:
        device = os.open(served.detail(disk_id)["Device"], os.O_WRONLY)
        try:
            for block in blocks:
                os.pwrite(device, random_bytes(rng, BLOCK), block * BLOCK)
            os.fsync(device)
        finally:
            os.close(device)

    def content(disk_id: str) -> bytes:
        with Path(served.detail(disk_id)["Device"]).open("rb") as device:
            return device.read(4 * MIB)

    with installation(Path(tmp_path_factory.mktemp("device")) / "data", "rescan_after_s = 0\n") as served:
        disk_id = served.create_disk()
        served.attach(disk_id, served.host_instance)
        write(disk_id, list(range(1024)))
        served.take(disk_id)
        changed = sorted(rng.choice(1024, 60, replace=False).tolist())
        write(disk_id, changed)
        served.kill_daemons()
        served.wait(lambda: served.detail(disk_id)["Epoch"] == 2, "the disk opened again")
        served.wait(lambda: served.detail(disk_id)["Tracking"] == "LIVE", "tracking LIVE")
        served.wait(lambda: served.detail(disk_id)["Device"] is not None, "the device back")
        write(disk_id, [900_000])
        taken = served.take(disk_id)
        record = served.record(taken)
        assert (record["Tracking"], record["ChangedBytes"]) == ("delta", 61 * BLOCK)
        assert bytes(served.stored(taken).read(0, 4 * MIB)) == content(disk_id)

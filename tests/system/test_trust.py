"""Whether what is believed is true: audits of tracking, tracking that heals, damage that is found and mended."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.system.harness import Installation, installation, random_bytes

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
    path = system.data / "run" / system.nbd_instance / "qmp2.sock"
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
    """Write blocks while the tracker looks away."""
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
    # A suspect snapshot is no base: without the one that healed, the next is compared whole.
    system.call("DeleteSnapshots", SnapshotIds=[taken, after["SnapshotId"]])
    assert system.detail(disk_id)["BaseSnapshotId"] == second
    again = system.take(disk_id)
    record = system.record(again)
    assert record["Tracking"] == "rescan"
    assert "suspect" in record["TrackingReason"]
    assert system.content(again, 8 * MIB) == system.read(disk_id, 0, 8 * MIB)

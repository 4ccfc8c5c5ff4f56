"""A bucket that is slow, or gone, after a snapshot was begun: its guest notices nothing, and nothing is lost (S270)."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.s3_server import s3_server
from tests.system.harness import Installation, random_bytes
from tests.system.test_s3 import BUCKET, configured, settings
from tests.troubled_link import TroubledLink

pytestmark = pytest.mark.versitygw
MIB = 1 << 20


@pytest.fixture
def far(tmp_path: Path) -> Iterator[tuple[Installation, TroubledLink]]:
    """An installation, and its way to the bucket."""
    with s3_server(tmp_path / "s3") as server, TroubledLink(server.port, bytes_per_s=2e5) as link:
        server.bucket(BUCKET)
        with configured(tmp_path / "data", server, settings(f"http://127.0.0.1:{link.port}")) as made:
            try:
                yield made, link
            finally:
                link.trouble = "fine"


def running(system: Installation) -> dict[str, Any]:
    found = system.own("DescribeOperations", Filters=[{"Name": "state", "Values": ["RUNNING"]}])["OperationSet"]
    return next((one for one in found if one["Kind"] == "snapshot"), {})


def scratch(system: Installation) -> list[Path]:
    return list(system.layout.scratch.glob("disk-*.raw"))


def test_a_view_is_let_go_long_before_the_bucket_has_it(far: tuple[Installation, TroubledLink]) -> None:
    """A13, S270: through `kill -9`, and a stop of the host; the next increment is right, too."""
    system, link = far
    rng = np.random.default_rng(41)
    disk_id = system.create_disk()
    system.attach(disk_id)
    data = bytearray(random_bytes(rng, 8 * MIB))
    system.write(disk_id, 0, bytes(data))
    first = system.take(disk_id)
    frozen = {first: bytes(data)}
    link.trouble = "slow"
    data[: 6 * MIB] = random_bytes(rng, 6 * MIB)
    system.write(disk_id, 0, bytes(data[: 6 * MIB]))
    second = str(system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)
    frozen[second] = bytes(data)
    system.wait(lambda: running(system)["Phase"] == "SPOOLED", "its view is let go")
    system.wait(lambda: scratch(system) == [], "its scratch is gone")
    data[5 * MIB : 7 * MIB] = random_bytes(rng, 2 * MIB)
    system.write(disk_id, 5 * MIB, bytes(data[5 * MIB : 7 * MIB]))
    assert running(system)["ToSendBytes"] > 6 * MIB
    assert running(system)["SentBytes"] < 6 * MIB
    system.kill()
    system.start()
    assert running(system)["Phase"] == "SPOOLED"
    began = time.monotonic()
    system.host_stop()
    assert time.monotonic() - began < 60
    assert system.daemons() == {}
    link.trouble = "fine"
    system.start()
    system.wait_normal(second)
    assert system.read(disk_id, 0, len(data)) == data
    third = system.take(disk_id)
    frozen[third] = bytes(data)
    assert system.record(third)["Tracking"] == "delta"
    for snapshot_id, content in frozen.items():
        assert system.content(snapshot_id, len(content)) == content
    assert [path for path in system.layout.spool.iterdir() if path.is_dir()] == []

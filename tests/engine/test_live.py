"""Disks in a real storage daemon: what an earlier process of ours has left is no obstacle."""

import asyncio
import os
import subprocess
from pathlib import Path

from drystone.domain.ids import DiskId
from drystone.engine import graph, live
from drystone.engine.daemon import Daemon
from drystone.nbd.client import NbdClient

DISK = DiskId("disk-00000001")
BLOCK = 4096


def test_a_bitmap_is_read_although_somebody_was_killed_at_reading_it(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)

    async def read() -> None:
        (tmp_path / "run").mkdir()
        daemon = await Daemon.start("test", tmp_path / "run", tmp_path / "log", os.environ)
        try:
            opened = live.OpenDisk(disk_id=DISK, image=image, limits=None, bitmap="b0", backing=None)
            await live.open_disk(daemon, opened)
            socket = await live.export_nbd(daemon, DISK)
            with NbdClient(socket, DISK) as client:
                client.pwrite(5 * BLOCK, b"x" * 2 * BLOCK)
                client.flush()
            await live.unexport(daemon, DISK)
            # What the killed one had done.
            await daemon.execute("block-export-add", graph.bitmap_export(DISK, "b0"))
            for _ in range(2):
                assert (await live.read_bitmap(daemon, DISK, "b0")).tolist() == [[5, 7]]
            assert await daemon.exports() == {}
        finally:
            await daemon.kill()

    asyncio.run(read())

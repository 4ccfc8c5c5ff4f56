"""Disks in a real storage daemon: what an earlier process of ours has left is no obstacle."""

import asyncio
import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any

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


def test_a_disk_whose_opening_was_cut_off_anywhere_is_not_open_unless_its_bitmap_records(tmp_path: Path) -> None:
    """Whoever finds the disk open exports it; a write that no bitmap records would miss in the next snapshot."""
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    opened = live.OpenDisk(disk_id=DISK, image=image, limits=None, bitmap="b0", backing=None)

    async def cut_off() -> None:
        (tmp_path / "run").mkdir()
        daemon = await Daemon.start("test", tmp_path / "run", tmp_path / "log", os.environ)
        execute = daemon.execute
        left = 0

        async def limited(command: str, arguments: dict[str, Any] | None = None) -> object:
            nonlocal left
            if not left:
                raise asyncio.CancelledError
            left -= 1
            return await execute(command, arguments)

        try:
            found: list[bool] = []
            while True:
                left = allowed = len(found)
                daemon.execute = limited  # type: ignore[method-assign]
                with contextlib.suppress(asyncio.CancelledError):
                    await live.open_disk(daemon, opened)
                    allowed = -1
                daemon.execute = execute  # type: ignore[method-assign]
                held = await live.bitmaps(daemon, DISK)
                recording = "b0" in held and held["b0"].recording
                is_open = await live.is_open(daemon, DISK)
                assert recording or not is_open, allowed
                found.append(is_open)
                if allowed < 0:
                    break
                await live.close_disk(daemon, DISK)
            assert found == [False] * 5 + [True]
        finally:
            await daemon.kill()

    asyncio.run(cut_off())

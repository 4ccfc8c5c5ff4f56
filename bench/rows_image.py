"""What the form of a disk's image costs: today's beside that of earlier versions, in turns.

A shared machine is slower by a factor from one minute to the next. So both are measured in turns of seconds, which of
them first changes, and what counts is the median of the turns' ratios. Processor time says more than rates there.
"""

import asyncio
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.figures import Figure, at_least, at_most
from bench.rows_floor import ran_s
from bench.world import GIB, MIB, World, median
from drystone.domain.ids import DiskId
from drystone.engine import command, freezing
from drystone.engine.daemon import Daemon
from drystone.engine.live_disk import LiveDisk, OpenDisk
from drystone.engine.volume import Qcow2Volume
from drystone.nbd.client import NbdClient

ROW = "image_format"
DISK = DiskId("disk-00000001")
SIZE_BYTES = 100 * GIB
AREA_BYTES = GIB
NEW_BYTES = 20 * GIB
"""Where 4 KiB are written at random for the first time: a file system spreads over its disk."""
DEPTH = 16
SHARE_MIN = 0.97
FORMS = ("before", "now")
Turn = Mapping[str, float]


def image_format(world: World) -> Iterator[Figure]:
    """Rates, processor time, freezes and size of an image of today's form, as shares of an earlier version's."""
    turns: dict[str, list[Turn]] = {form: [] for form in FORMS}
    for number in range(world.plan.short_repeats):
        for form in FORMS if number % 2 else reversed(FORMS):
            with world.scratch("image") as directory:
                turns[form].append(asyncio.run(_turn(directory, form)))
    for what in turns["now"][0]:
        pairs = [(before[what], now[what]) for before, now in zip(turns["before"], turns["now"], strict=True)]
        note = " -> ".join(f"{statistics.median(side):,.4g}" for side in zip(*pairs, strict=True))
        goal = at_least(SHARE_MIN) if what.endswith("/s") else at_most(1 / SHARE_MIN) if "CPU" in what else None
        yield median(ROW, what, [now / before for before, now in pairs], "x", goal, f"{note}, before -> now")


async def _turn(directory: Path, form: str) -> Turn:
    found: dict[str, float] = {}
    image = directory / "disk.qcow2"
    volume = Qcow2Volume(id=DISK, image=image)
    for work in ("first 4k writes", "the rest"):
        image.unlink(missing_ok=True)
        if form == "now":
            await volume.create(SIZE_BYTES)
        else:
            await command.run("qemu-img", "create", "-q", "-f", "qcow2", str(image), str(SIZE_BYTES))
        run = directory / "run"
        run.mkdir(exist_ok=True)
        daemon = await Daemon.start("bench", run, directory / "log", os.environ)
        try:
            disk = LiveDisk(daemon=daemon, id=DISK)
            await disk.open(OpenDisk(volume=volume, limits=None, bitmap="b0", backing=None))
            socket = await disk.export_nbd()
            if work == "first 4k writes":
                found |= _fio(daemon, socket, work, "randwrite", "4k", NEW_BYTES)
            else:
                found |= _fio(daemon, socket, "1M writes, first", "write", "1M", AREA_BYTES, once=True)
                found |= _fio(daemon, socket, "4k writes", "randwrite", "4k", AREA_BYTES)
                found |= _fio(daemon, socket, "4k reads", "randread", "4k", AREA_BYTES)
                found |= _fio(daemon, socket, "1M reads", "read", "1M", AREA_BYTES)
                found["freeze, ms"] = await _freeze(daemon, socket, directory / "scratch")
        finally:
            await daemon.quit()
        held = image.stat().st_blocks * 512
        found["image after first 4k writes, bytes per write" if work == "first 4k writes" else "image when full"] = (
            held / found.pop("count") if work == "first 4k writes" else held
        )
    found.pop("count")
    return found


def _fio(
    daemon: Daemon, socket: Path, what: str, pattern: str, block: str, area_bytes: int, *, once: bool = False
) -> dict[str, float]:
    """Return rate and processor time of the daemon per request, and how many requests there were (`count`)."""
    amount = [] if once else ["--time_based", "--runtime=2"]
    before = ran_s(daemon.pid)
    said = subprocess.run(
        ["fio", "--name=guest", "--ioengine=nbd", f"--uri=nbd+unix:///{DISK}?socket={socket}", f"--rw={pattern}",
         f"--bs={block}", f"--iodepth={DEPTH}", f"--size={area_bytes}", "--refill_buffers", "--output-format=json",
         *amount],
        check=True, capture_output=True, text=True, cwd=daemon.directory,
    ).stdout  # fmt: skip
    job = json.loads(said[said.index("{") :])["jobs"][0]
    side = job["read" if "read" in pattern else "write"]
    count = float(side["total_ios"])
    used_us = (ran_s(daemon.pid) - before) / count * 1e6
    return {f"{what}/s": float(side["iops"]), f"{what}, CPU us each": used_us, "count": count}


async def _freeze(daemon: Daemon, socket: Path, scratch: Path) -> float:
    """Freeze right after scattered writes that were flushed, as a snapshot does; return the median time in ms."""
    times = []
    for number in range(5):
        with NbdClient(socket, DISK) as client:
            for start in range(number * 4096, AREA_BYTES, 8 * MIB):
                client.pwrite(start, b"x" * 4096)
            client.flush()
        target = freezing.FreezeTarget(
            disk_id=DISK, size_bytes=SIZE_BYTES, frozen=f"b{number}", live=f"b{number + 1}", scratch=scratch
        )
        began = time.monotonic()
        await freezing.freeze(daemon, [target])
        times.append((time.monotonic() - began) * 1000)
        await LiveDisk(daemon=daemon, id=DISK).unfreeze(scratch=scratch)
        await LiveDisk(daemon=daemon, id=DISK).drop_bitmap(f"b{number}")
    return statistics.median(times)

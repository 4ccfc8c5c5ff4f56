"""A throw-away clone of a snapshot as block devices of this host, for looking at it; no disk of anybody's.

It has a storage daemon of its own whose image reads through to the snapshot and takes what is written. It is known by
its name alone, so that whoever comes after a crash can take all of it away: daemon, devices, files.
"""

import asyncio
import contextlib
import resource
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drystone.domain.disk_types import GIB
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine import command, host_device, images, live, process
from drystone.engine.daemon import Daemon
from drystone.engine.graph import Backing
from drystone.engine.layout import Layout

PREFIX = "proof-"
PARTITIONS_MAX = 32
FREE_SECONDS_MAX = 30.0
"""How long a device may stay in use after the last process that had it mounted was killed: it is written back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The whole disk, or one partition of it."""

    title: str
    device: str


def name_of(disk_id: DiskId) -> str:
    """Return the name of a clone, made of an id that no disk has."""
    return PREFIX + disk_id.removeprefix("disk-")


async def open_clone(
    layout: Layout,
    disk_id: DiskId,
    *,
    backing: Backing,
    size_gib: int,
    bytes_max: int,
    environment: Mapping[str, str],
) -> tuple[Daemon, tuple[Volume, ...]]:
    """Make the clone and its block devices: one for each partition, or one for the whole disk.

    Args:
        layout: Where.
        disk_id: An id of its own.
        backing: The snapshot.
        size_gib: Its size.
        bytes_max: What may be written into the clone; its daemon dies where more is.
        environment: The daemon's.

    Raises:
        DrystoneError: It could not be made; `remove_clone` takes away what there is.
    """
    name = name_of(disk_id)
    image = _image(layout, name)
    await images.create(image, size_gib * GIB, backing)
    daemon = await Daemon.start(name, layout.daemon(name), layout.logs / f"{PREFIX}daemon.log", environment)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (bytes_max, bytes_max))
    opened = live.OpenDisk(disk_id=disk_id, image=image, limits=None, bitmap="unused", backing=backing)
    await live.open_disk(daemon, opened)
    file = await live.export_fuse(daemon, disk_id)
    return daemon, await _volumes(file)


async def remove_clone(layout: Layout, name: str) -> None:
    """Take away everything of this name, whatever there is of it. May be repeated.

    Raises:
        UnavailableError: A device is still in use; it may be tried again.
    """
    assert name.startswith(PREFIX)
    directory = layout.daemon(name)
    file = directory / f"disk-{name.removeprefix(PREFIX)}.raw"
    for device in _loops_of(file):
        with contextlib.suppress(UnavailableError):
            await command.run("losetup", "--detach", str(device))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FREE_SECONDS_MAX):
            while _loops_of(file):
                await asyncio.sleep(process.POLL_SECONDS * 4)
    left = _loops_of(file)
    running = process.adopt(directory)
    if running is not None:
        await running.end()
    if host_device.is_mount(file):
        with contextlib.suppress(UnavailableError):
            await command.run("umount", "--lazy", str(file))
    if left:
        raise UnavailableError(f"{left[0]} is still in use")
    _image(layout, name).unlink(missing_ok=True)
    _image(layout, name).with_suffix(".part").unlink(missing_ok=True)
    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def remove_clones(layout: Layout) -> list[str]:
    """Take away every clone that a former run left; return those that are still in use."""
    found = [*layout.run.glob(f"{PREFIX}*"), *layout.scratch.glob(f"{PREFIX}*")]
    left = []
    for name in sorted({path.name.partition(".")[0] for path in found}):
        try:
            await remove_clone(layout, name)
        except UnavailableError:
            left.append(name)
    return left


def _image(layout: Layout, name: str) -> Path:
    return layout.scratch / f"{name}.qcow2"


async def _volumes(file: Path) -> tuple[Volume, ...]:
    """Return a device for each partition; for the whole file if there is no partition table."""
    try:
        table = await command.run("partx", "--raw", "--noheadings", "--output", "NR,START,SECTORS", str(file))
    except UnavailableError:
        table = ""  # No table of partitions, it says.
    found = []
    for line in table.splitlines()[:PARTITIONS_MAX]:
        number, start, sectors = (int(word) for word in line.split())
        if sectors > 2:  # An extended partition has no content of its own.
            found.append((f"partition {number}", start, sectors))
    if not found:
        return (Volume(title="disk", device=await _loop(file)),)
    sector = host_device.SECTOR_BYTES
    return tuple(
        [
            Volume(
                title=title,
                device=await _loop(file, "--offset", str(start * sector), "--sizelimit", str(sectors * sector)),
            )
            for title, start, sectors in found
        ]
    )


async def _loop(file: Path, *options: str) -> str:
    return (await command.run("losetup", "--find", "--show", "--direct-io=off", *options, str(file))).strip()


def _loops_of(file: Path) -> list[Path]:
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if entry.read_text().strip().removesuffix(" (deleted)") == str(file):
                found.append(Path("/dev") / entry.parts[3])
    return found

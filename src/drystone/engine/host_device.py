"""A disk as a block device of this host, with a stable link `/dev/disk/by-id/virtio-<disk id>`.

Kernel nbd where the kernel has it, else a loop device over a FUSE export. Loop devices are of a second class: when
their storage daemon dies, file systems on them must be mounted again. Direct I/O stays off on the loop device: with
it on, data was corrupted (measured on QEMU 7.2 and 10.0). The sector size is 512 bytes, as over NBD and virtio, so
that a partition table means the same wherever the disk is attached.
"""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine import command

LINKS = Path("/dev/disk/by-id")
SOCKETS = Path("/run/drystone-nbd")
"""Which socket each kernel nbd device was connected to: the kernel does not say. Gone with the devices at a reboot."""
BLOCK_DEVICES = Path("/sys/block")
GONE_SECONDS_MAX = 5.0
SECTOR_BYTES = 512


def link(disk_id: DiskId) -> Path:
    """The stable name of the disk's device; the id is where a virtio serial would stand, as clients expect."""
    return LINKS / f"virtio-{disk_id}"


def kernel_has_nbd() -> bool:
    """Tell whether the kernel serves NBD devices and nbd-client is there to set them up."""
    return Path("/sys/module/nbd").is_dir() and any(
        (Path(directory) / "nbd-client").exists() for directory in ("/usr/sbin", "/sbin", "/usr/bin")
    )


async def attach_loop(disk_id: DiskId, file: Path) -> Path:
    """Put a loop device over the FUSE file and point the link at it; return the link. Repeats safely."""
    device = await _loop_of(file)
    if device is None:
        device = Path((await command.run("losetup", "--find", "--show", "--direct-io=off", str(file))).strip())
    _point(disk_id, device)
    return link(disk_id)


async def attach_nbd(disk_id: DiskId, socket: Path) -> Path:
    """Connect a free kernel nbd device that reconnects by itself, and point the link at it; return the link.

    A device that is connected to another socket, where the disk was served before, is given up: it would try to
    reconnect there for ever.
    """
    existing = device_of(disk_id)
    if existing is not None and existing.name.startswith("nbd") and _connected(existing):
        if _socket_of(disk_id) == socket:
            return link(disk_id)
        await _disconnect(disk_id, existing)
    for candidate in sorted(BLOCK_DEVICES.glob("nbd*"), key=lambda path: int(path.name[3:])):
        device = Path("/dev") / candidate.name
        # One that was given up while it was mounted is not free: that file system would go on in another disk.
        if _connected(device) or _used(device) is not None:
            continue
        await command.run(
            "nbd-client", "-unix", str(socket), str(device), "-name", disk_id, "-persist", "-timeout", "30"
        )
        _replace_link(SOCKETS, disk_id, socket)
        _point(disk_id, device)
        return link(disk_id)
    raise UnavailableError("every /dev/nbd* is in use; load the nbd module with a larger nbds_max")


def device_of(disk_id: DiskId) -> Path | None:
    """Return the device that the link points at, or None."""
    try:
        return link(disk_id).readlink()
    except (FileNotFoundError, OSError):
        return None


def numbers(disk_id: DiskId) -> frozenset[int]:
    """Return the device numbers (`st_rdev`) of the disk's device and its partitions; none if it has no device."""
    device = device_of(disk_id)
    found: set[int] = set()
    if device is not None:
        with contextlib.suppress(OSError):
            found.add(device.stat().st_rdev)
            for part in (BLOCK_DEVICES / device.name).glob(f"{device.name}p*/dev"):
                major, _, minor = part.read_text().strip().partition(":")
                found.add(os.makedev(int(major), int(minor)))
    return frozenset(found)


def mounted_at(disk_id: DiskId) -> str | None:
    """Return where the device, or a partition of it, is mounted or otherwise in use; None if free."""
    device = device_of(disk_id)
    return None if device is None else _used(device)


def _used(device: Path) -> str | None:
    with contextlib.suppress(OSError):
        number = device.stat().st_rdev
        wanted = {f"{os.major(number)}:{os.minor(number)}"}
        block = BLOCK_DEVICES / device.name
        wanted |= {
            (part / "dev").read_text().strip() for part in block.glob(f"{device.name}p*") if (part / "dev").exists()
        }
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields = line.split()
            if fields[2] in wanted:
                return fields[4]
        holders = [entry.name for entry in block.glob("holders/*")]
        if holders:
            return f"/dev/{holders[0]}"
        for line in Path("/proc/swaps").read_text().splitlines()[1:]:
            if line.split()[0] == str(device):
                return "swap"
    return None


async def flush(disk_id: DiskId) -> None:
    """Write back what the kernel holds of the device, down to the storage daemon.

    A write that the loop device acknowledged lies in the page cache of the file below it; P1 wants it in.
    """
    device = device_of(disk_id)
    if device is not None:
        await asyncio.to_thread(_flush, device)


def _flush(device: Path) -> None:
    try:
        descriptor = os.open(device, os.O_RDWR)
    except OSError as error:
        raise UnavailableError(f"{device} cannot be opened to flush it: {error}") from error
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise UnavailableError(f"{device} cannot be flushed: {error}") from error
    finally:
        os.close(descriptor)


async def detach(disk_id: DiskId) -> None:
    """Flush the device, take it away with its link. It is gone when this returns.

    Raises:
        UnavailableError: It is still in use; it stays as it was.
    """
    device = device_of(disk_id)
    if device is None:
        return
    used = mounted_at(disk_id)
    if used is not None:
        raise UnavailableError(f"{device} is in use ({used})")
    if device.name.startswith("nbd"):
        await flush(disk_id)
        await _disconnect(disk_id, device)
    elif backing_file(device) is not None:
        await flush(disk_id)
        await command.run("losetup", "--detach", str(device))
        try:
            async with asyncio.timeout(GONE_SECONDS_MAX):
                while backing_file(device) is not None:
                    await asyncio.sleep(0.005)
        except TimeoutError as error:
            # Somebody has it open (a look at all devices is enough); the kernel takes it away when they close it.
            raise UnavailableError(f"{device} is still held open by another program") from error
    link(disk_id).unlink(missing_ok=True)


async def abandon(disk_id: DiskId, files: Sequence[Path], *, served_again: bool) -> None:
    """Clean up after a dead storage daemon: the old loop device is given up, stale FUSE mounts taken away.

    A file system that is still mounted from the old device keeps it until it is unmounted; it answers errors.

    Args:
        disk_id: The disk.
        files: Every file at which the daemon may have exported it.
        served_again: Whether the disk stays attached: then a kernel nbd device stays, and reconnects to the next
            daemon. Otherwise it must not: whoever is served at its socket later is somebody else.
    """
    connected = device_of(disk_id)
    if connected is not None and connected.name.startswith("nbd") and not served_again:
        with contextlib.suppress(UnavailableError):
            await _disconnect(disk_id, connected)
    for file in files:
        device = await _loop_of(file)
        if device is not None:
            with contextlib.suppress(UnavailableError):
                await command.run("losetup", "--detach", str(device))
            if device_of(disk_id) == device:
                link(disk_id).unlink(missing_ok=True)
        if is_mount(file):
            with contextlib.suppress(UnavailableError):
                await command.run("umount", "--lazy", str(file))


async def grown(disk_id: DiskId, size_bytes: int) -> None:
    """Have the kernel see that the file below a loop device has grown to `size_bytes`.

    Raises:
        UnavailableError: It does not see it in time: the kernel believes a FUSE file's old size for a second.
    """
    device = device_of(disk_id)
    if device is None or not device.name.startswith("loop"):
        return
    size = BLOCK_DEVICES / device.name / "size"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GONE_SECONDS_MAX):
            while int(size.read_text()) * SECTOR_BYTES < size_bytes:
                await command.run("losetup", "--set-capacity", str(device))
                await asyncio.sleep(0.05)
            return
    raise UnavailableError(f"{device} does not see its new size of {size_bytes} bytes")


def backing_file(device: Path) -> str | None:
    """Return what a loop device stands on, or None if it is free."""
    try:
        return (BLOCK_DEVICES / device.name / "loop/backing_file").read_text().strip()
    except (FileNotFoundError, OSError):
        return None


async def _loop_of(file: Path) -> Path | None:
    for entry in BLOCK_DEVICES.glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if entry.read_text().strip() == str(file):
                return Path("/dev") / entry.parts[3]
    return None


def is_mount(file: Path) -> bool:
    """Tell whether something is mounted there; a FUSE file of a dead daemon still is."""
    return any(line.split()[4] == str(file) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _connected(device: Path) -> bool:
    return (BLOCK_DEVICES / device.name / "pid").exists()


def _socket_of(disk_id: DiskId) -> Path | None:
    try:
        return (SOCKETS / disk_id).readlink()
    except OSError:
        return None


async def _disconnect(disk_id: DiskId, device: Path) -> None:
    """Disconnect a kernel nbd device; the disk has no device then."""
    await command.run("nbd-client", "-d", str(device))
    link(disk_id).unlink(missing_ok=True)
    (SOCKETS / disk_id).unlink(missing_ok=True)


def _point(disk_id: DiskId, device: Path) -> None:
    _replace_link(LINKS, link(disk_id).name, device)


def _replace_link(directory: Path, name: str, target: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    part = directory / f".{name}.part"
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(directory / name)

"""Which block devices a mounted file system stands on, by the kernel's word alone.

What decides is the open descriptor that is frozen later, never a name: a path, a label, a UUID or the source in the
list of mounts may be another file system's by then.
"""

import contextlib
import fcntl
import os
import struct
import uuid
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
BTRFS = Path("/sys/fs/btrfs")
BTRFS_IOC_FS_INFO = 0x8400941F
"""`_IOR(0x94, 31, struct btrfs_ioctl_fs_info_args)` of 1,024 bytes. Source: linux/include/uapi/linux/btrfs.h."""
_FS_INFO_BYTES = 1024


def devices_of(descriptor: int) -> frozenset[int]:
    """Return the numbers of all devices that the file system of an open file stands on.

    Most file systems have the number of their one device in `st_dev`. Every subvolume of a btrfs has a made-up number
    there, and the file system may stand on several devices: which, its driver says.

    Returns:
        Device numbers (`st_rdev` of the devices). A number that no device has, where there is no telling: overlay,
        network file systems, a btrfs that lacks one of its devices.
    """
    number = os.fstat(descriptor).st_dev
    if type_of(descriptor) != "btrfs":
        return frozenset({number})
    with contextlib.suppress(OSError):
        return _btrfs_devices(descriptor) or frozenset({number})
    return frozenset({number})


def path_devices(path: Path) -> frozenset[int]:
    """Return the same of the file system that a directory is in.

    Raises:
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return devices_of(descriptor)
    finally:
        os.close(descriptor)


def type_of(descriptor: int) -> str:
    """Return the type of the file system of an open file; empty if its mount is of another namespace."""
    with contextlib.suppress(OSError):
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines() if line
        )
        for line in MOUNTS.read_text().splitlines():
            mount, _, source = line.partition(" - ")
            if mount.split()[0] == fields["mnt_id"].strip():
                return source.split()[0]
    return ""


def _btrfs_devices(descriptor: int) -> frozenset[int]:
    """Return the devices that are open for a btrfs; none if one of them is missing, or is a seed's."""
    told = bytearray(_FS_INFO_BYTES)
    fcntl.ioctl(descriptor, BTRFS_IOC_FS_INFO, told)
    _highest, count, identity = struct.unpack_from("<QQ16s", told)
    # The driver's own list, of devices and not of names; the UUID in it is of a mounted file system, so there is one.
    entries = [entry.read_text() for entry in (BTRFS / str(uuid.UUID(bytes=identity)) / "devices").glob("*/dev")]
    pairs = [entry.strip().partition(":") for entry in entries]
    numbers = frozenset(os.makedev(int(major), int(minor)) for major, _, minor in pairs)
    return numbers if len(numbers) == count else frozenset()

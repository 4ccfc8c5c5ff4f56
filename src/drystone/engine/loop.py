"""Loop devices by the kernel's own calls: what stands on what, made and taken away without a moment of doubt.

`losetup --detach` of a device that is open somewhere succeeds and leaves it in "autoclear": it vanishes when the last
opener closes it, and its number goes to somebody else. `release` takes that back while it still has the device open.

Source: linux/include/uapi/linux/loop.h, drivers/block/loop.c.
"""

import contextlib
import errno
import fcntl
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from drystone.domain.errors import UnavailableError

BLOCK_DEVICES = Path("/sys/block")
DEVICES = Path("/dev")
SECTOR_BYTES = 512
"""As over NBD and virtio, so that a partition table means the same wherever the disk is attached."""
CLR_FD, SET_STATUS64, GET_STATUS64, SET_CAPACITY, CONFIGURE, GET_FREE = 0x4C01, 0x4C04, 0x4C05, 0x4C07, 0x4C0A, 0x4C82
REREAD_PARTITIONS = 0x125F
AUTOCLEAR, PARTSCAN = 4, 8
INFO = struct.Struct("<5Q4I64s64s32s2Q")
"""`struct loop_info64`: device, inode, rdevice, offset, size limit; number, encryption, key size, flags; names."""
FLAGS = 8
"""Index of `lo_flags` in it."""
CONFIG = struct.Struct(f"<2I{INFO.size}s64x")
"""`struct loop_config`: descriptor, block size, info."""
TRIES_MAX = 64
"""A free number may be taken by another program before we have it."""
DELETED = b" (deleted)"


def standing() -> Iterator[tuple[Path, Path]]:
    """Return every loop device that has a backing file, with that file, in the order of their names."""
    try:
        names = sorted(os.listdir(BLOCK_DEVICES))  # noqa: PTH208 - often, for many
    except OSError:
        return
    for name in names:
        file = file_of(DEVICES / name) if name.startswith("loop") else None
        if file is not None:
            yield DEVICES / name, file


def file_of(device: Path) -> Path | None:
    """Return the path that the kernel has now of the file on which a device stands; None if it is no loop device.

    The whole path as it is, unlike the 63 bytes in `loop_info64`; a newline in it is not escaped.
    """
    try:
        with open(f"{BLOCK_DEVICES}/{device.name}/loop/backing_file", "rb") as file:  # noqa: PTH123 - often, for many
            return Path(os.fsdecode(file.read().removesuffix(b"\n").removesuffix(DELETED)))
    except OSError:
        return None


def is_going(device: Path) -> bool:
    """Tell whether the device goes when the last who has it open lets go, as `losetup --detach` asks for.

    Raises:
        OSError: It stands on nothing.
    """
    with open(f"{BLOCK_DEVICES}/{device.name}/loop/autoclear", "rb") as file:  # noqa: PTH123 - often, for many
        return file.read().strip() != b"0"


def stands_on(device: Path, file: Path) -> bool:
    """Tell whether the device stands on what `file` is now, and not on what was mounted there before."""
    try:
        with _opened(device) as opened:
            status = bytearray(INFO.size)
            fcntl.ioctl(opened, GET_STATUS64, status)  # An error where the file's daemon is dead.
        found = file.stat()
    except OSError:
        return False
    return INFO.unpack(status)[:2] == (found.st_dev, found.st_ino)


def make(file: Path, before: Callable[[Path], None]) -> Path:
    """Put a new loop device over `file`; nothing is read of it.

    Direct I/O stays off: with it on, data was corrupted over FUSE (measured on QEMU 7.2 and 10.0).

    Args:
        file: What it stands on.
        before: Called with the device's name before it is anybody's: what still names it must go first (S101).

    Raises:
        UnavailableError: There is none.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        try:
            return _make(descriptor, before)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnavailableError(f"no loop device for {file}: {error.strerror}") from error


def _make(file: int, before: Callable[[Path], None]) -> Path:
    info = INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, b"", b"", b"", 0, 0)
    for _ in range(TRIES_MAX):
        with _opened(DEVICES / "loop-control") as control:
            device = DEVICES / f"loop{fcntl.ioctl(control, GET_FREE)}"
        before(device)
        with _opened(device) as opened:
            try:
                fcntl.ioctl(opened, CONFIGURE, bytearray(CONFIG.pack(file, SECTOR_BYTES, info)))
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                continue
        return device
    raise OSError(errno.EBUSY, "every free loop device is taken by another program at once")


def release(device: Path) -> bool:
    """Take the device away if nobody but us has it open; tell whether it is gone. Otherwise it is as it was (S102)."""
    with contextlib.suppress(FileNotFoundError), _opened(device) as opened:
        try:
            fcntl.ioctl(opened, CLR_FD)
            # Only if somebody else has it open it can still be asked; nothing happens to it before we close it.
            status = bytearray(INFO.size)
            fcntl.ioctl(opened, GET_STATUS64, status)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return True
            raise
        _set_flags(opened, status, remove=AUTOCLEAR)
        return False
    return True


def hold(device: Path) -> int:
    """Open the device, so that it stays when somebody takes away every loop device (`losetup -D`); return a descriptor.

    What was already marked to go when nobody has it open is kept.

    Raises:
        OSError: It is not there.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        keep(device, descriptor)
    except BaseException:
        os.close(descriptor)  # An open device cannot be taken away, and nobody would know of this descriptor.
        raise
    return descriptor


def keep(device: Path, descriptor: int) -> None:
    """Take back what `losetup --detach` has done to a device that is held: it would go when we end."""
    if is_going(device):
        status = bytearray(INFO.size)
        fcntl.ioctl(descriptor, GET_STATUS64, status)
        _set_flags(descriptor, status, remove=AUTOCLEAR)


def scan(device: Path) -> None:
    """Have the kernel look for partitions; it reads the device, so this takes as long as the device takes."""
    with _opened(device) as opened:
        status = bytearray(INFO.size)
        fcntl.ioctl(opened, GET_STATUS64, status)
        if INFO.unpack(status)[FLAGS] & PARTSCAN:
            fcntl.ioctl(opened, REREAD_PARTITIONS)
        else:
            _set_flags(opened, status, add=PARTSCAN)


def _set_flags(opened: int, status: bytearray, *, add: int = 0, remove: int = 0) -> None:
    fields = list(INFO.unpack(status))
    fields[FLAGS] = (fields[FLAGS] | add) & ~remove
    fcntl.ioctl(opened, SET_STATUS64, bytearray(INFO.pack(*fields)))


def give_up(device: Path) -> None:
    """Let the kernel take the device away when its last user lets go: for one whose backing file is dead."""
    with contextlib.suppress(OSError), _opened(device) as opened:
        fcntl.ioctl(opened, CLR_FD)


def set_capacity(device: Path) -> None:
    """Have the kernel look again how large the backing file is."""
    with _opened(device) as opened:
        fcntl.ioctl(opened, SET_CAPACITY, 0)


@contextlib.contextmanager
def _opened(device: Path) -> Iterator[int]:
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    # A process of its own: whoever waits in the kernel for a disk that does not answer cannot be ended.
    scan(Path(sys.argv[1]))

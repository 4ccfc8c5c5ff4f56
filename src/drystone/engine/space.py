"""Free space: a floor of it belongs to the guests' disks alone (P6, F15)."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

INODES_MIN = 16
"""What one operation makes: an image, a description, a checkpoint, a daemon's directory and sockets, and some more."""
NEW_DISK_BYTES = 1 << 20
"""An empty image with what lies beside it takes 0.3 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What a file system has, in bytes."""

    total_bytes: int
    free_bytes: int
    floor_bytes: int
    free_inodes: int | None = None
    """None where there is no fixed number of them (btrfs)."""

    @property
    def above_floor_bytes(self) -> int:
        """What anything but a disk may still use; negative when the floor is broken."""
        return self.free_bytes - self.floor_bytes

    def shortage(self, *, disks: int = 0) -> str | None:
        """Return why there is no room: for new disks, or (if there are none) for anything else; None if there is.

        One sentence that says what to do.
        """
        if self.free_inodes is not None and self.free_inodes < INODES_MIN * max(1, disks):
            return f"The host's file system has {self.free_inodes} free inodes left; remove some files."
        if disks and self.free_bytes < disks * NEW_DISK_BYTES:
            return f"{self.free_bytes >> 10} KiB of free space are left on the host; free some space."
        if not disks and self.above_floor_bytes <= 0:
            return (
                f"{self.free_bytes >> 20} MiB are free, and {self.floor_bytes >> 20} MiB belong to the disks alone; "
                "free some space."
            )
        return None


def look(path: Path, *, floor_bytes_max: int, floor_percent: float) -> Space:
    """Look at the file system of `path`; the floor is a share of it, at most `floor_bytes_max`."""
    found = os.statvfs(path)
    total = found.f_blocks * found.f_frsize
    return Space(
        total_bytes=total,
        free_bytes=found.f_bavail * found.f_frsize,
        floor_bytes=min(floor_bytes_max, int(total * floor_percent / 100)),
        free_inodes=found.f_favail if found.f_files else None,
    )


def allocated_bytes(path: Path) -> int:
    """Return what a sparse file really takes, zero if it is not there."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def holds_file(directory: Path, size_bytes: int) -> bool:
    """Tell whether the file system of a directory has files of this size (ext4: below 16 TiB); True if unknown.

    Tried with a file that has no name and no content, since no call tells the limit.
    """
    try:
        file = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return True
    try:
        os.ftruncate(file, size_bytes)
    except OSError as error:
        return error.errno not in {errno.EFBIG, errno.EINVAL}
    finally:
        os.close(file)
    return True


def largest_file_gib(directory: Path, too_large_gib: int) -> int:
    """Return the largest whole number of GiB that a file may have there, given one that is too large."""
    fits, too_large = 0, too_large_gib
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        if holds_file(directory, middle << 30):
            fits = middle
        else:
            too_large = middle
    return fits

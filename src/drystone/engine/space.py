"""Free space: a floor of it belongs to the guests' disks alone (P6, traps F15)."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What a file system has, in bytes."""

    total_bytes: int
    free_bytes: int
    floor_bytes: int

    @property
    def above_floor_bytes(self) -> int:
        """What anything but a disk may still use; negative when the floor is broken."""
        return self.free_bytes - self.floor_bytes


def look(path: Path, *, floor_bytes_max: int, floor_percent: float) -> Space:
    """Look at the file system of `path`; the floor is a share of it, at most `floor_bytes_max`."""
    found = os.statvfs(path)
    total = found.f_blocks * found.f_frsize
    return Space(
        total_bytes=total,
        free_bytes=found.f_bavail * found.f_frsize,
        floor_bytes=min(floor_bytes_max, int(total * floor_percent / 100)),
    )


def allocated_bytes(path: Path) -> int:
    """Return what a sparse file really takes, zero if it is not there."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0

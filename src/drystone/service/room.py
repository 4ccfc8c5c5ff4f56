"""Room on this machine's file systems for disks and for what is frozen of them, and who is refused for want of it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from drystone.domain.disk_types import GIB
from drystone.domain.errors import Refusal, RefusalError
from drystone.engine.layout import Layout
from drystone.engine.space import Space, holds_file, largest_file_gib, look


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The file systems of the disks and of the scratch files."""

    layout: Layout
    floor_bytes_max: int
    """What is left to the disks is this at most, and `floor_percent` of their file system."""
    floor_percent: float

    def look(self) -> Space:
        """Look at the file system of the disks."""
        return look(self.layout.data, floor_bytes_max=self.floor_bytes_max, floor_percent=self.floor_percent)

    def places(self) -> Mapping[str, Space]:
        """Look at each file system once: `data`, and those of `scratch` and `store` if they are others."""
        found = {"data": self.layout.data, "scratch": self.layout.scratch, "store": self.layout.store}
        devices: dict[int, str] = {}
        for name, path in found.items():
            with contextlib.suppress(FileNotFoundError):
                devices.setdefault(path.stat().st_dev, name)
        return {
            name: look(found[name], floor_bytes_max=self.floor_bytes_max, floor_percent=self.floor_percent)
            for name in devices.values()
        }

    def require(self, *, disks: int = 0) -> None:
        """Refuse a call for which the file system has no room: one that makes disks, or anything else.

        Raises:
            RefusalError: `FULL`, with the reason.
        """
        shortage = self.look().shortage(disks=disks)
        if shortage is not None:
            raise RefusalError(Refusal.FULL, shortage)

    def require_scratch(self, size_gib: int) -> None:
        """Refuse a disk of which no snapshot could be taken: what is frozen needs a file of the disk's size.

        Raises:
            RefusalError: `BAD_VALUE`, with the largest size.
        """
        scratch = self.layout.scratch
        if not holds_file(scratch, size_gib * GIB):
            most = largest_file_gib(scratch, size_gib)
            raise RefusalError(
                Refusal.BAD_VALUE,
                f"DiskSize is {size_gib} GiB, and snapshots of it could not be taken here: the file system of the "
                f"server's scratch directory has files up to {most} GiB. Give at most that, or use xfs there.",
            )

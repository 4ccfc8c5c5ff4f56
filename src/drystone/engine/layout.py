"""Where things lie under the data directory, and the names of graph nodes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from drystone.domain.ids import DiskId

SOCKET_PATH_BYTES_MAX = 100
"""A unix socket's path has 107 usable bytes on Linux (sun_path); some are left for the longest name below `run`."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one data directory."""

    data: Path

    @property
    def catalog(self) -> Path:
        """The SQLite file."""
        return self.data / "catalog.db"

    @property
    def backups(self) -> Path:
        """Copies of the catalog."""
        return self.data / "backups"

    @property
    def store(self) -> Path:
        """The root of the local object store."""
        return self.data / "store"

    @property
    def ballast(self) -> Path:
        """Space that is kept for the catalog."""
        return self.data / "ballast"

    @property
    def scratch(self) -> Path:
        """Scratch files of frozen views."""
        return self.data / "scratch"

    @property
    def proofs(self) -> Path:
        """The image of programs for proofs."""
        return self.data / "prove"

    @property
    def logs(self) -> Path:
        """Logs of storage daemons and other long-lived processes."""
        return self.data / "log"

    @property
    def run(self) -> Path:
        """Sockets and pid files; outside the data directory only if its path is too long for a unix socket."""
        inside = self.data / "run"
        longest = inside / "disk-12345678" / "qmp2.sock"
        if len(str(longest).encode()) <= SOCKET_PATH_BYTES_MAX:
            return inside
        digest = hashlib.sha256(str(self.data).encode()).hexdigest()[:12]
        return Path("/run") / f"drystone-{digest}"

    @property
    def store_socket(self) -> Path:
        """Where the snapshot server listens."""
        return self.run / "store" / "nbd.sock"

    def disk(self, disk_id: DiskId) -> Path:
        """The directory of one disk."""
        return self.data / "disks" / disk_id

    def image(self, disk_id: DiskId) -> Path:
        """The qcow2 file of one disk."""
        return self.disk(disk_id) / "disk.qcow2"

    def description(self, disk_id: DiskId) -> Path:
        """What is needed to adopt the disk when the database is gone (P10)."""
        return self.disk(disk_id) / "disk.json"

    def quiesce(self, disk_id: DiskId) -> Path:
        """What is held still around the disk's snapshots, for an adoption likewise."""
        return self.disk(disk_id) / "quiesce.json"

    def checkpoint(self, disk_id: DiskId) -> Path:
        """The bitmap that an orderly stop left (A10)."""
        return self.disk(disk_id) / "checkpoint"

    def daemon(self, name: str) -> Path:
        """The run directory of one storage daemon."""
        return self.run / name

    def scratch_file(self, disk_id: DiskId) -> Path:
        """The copy-before-write target of one disk."""
        return self.scratch / f"{disk_id}.raw"


def node(kind: str, disk_id: DiskId) -> str:
    """Return the graph node (or export) of a disk: `file`, `qcow`, `top`, `back`, `fill`, `cbw`, `scratch`, `view`, ….

    QEMU allows 31 characters; these have at most 16.
    """
    return f"{kind}-{disk_id.removeprefix('disk-')}"

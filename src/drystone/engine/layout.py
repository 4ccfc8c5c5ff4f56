"""Where things lie under the data directory, and the names of graph nodes."""

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from drystone.domain.ids import DiskId

SOCKET_PATH_BYTES_MAX = 100
"""A unix socket's path has 107 usable bytes on Linux (sun_path); some are left for the longest name below `run`."""
URI_DELIMITERS = frozenset("%&;+=#?")
"""QEMU decodes the socket in an NBD URI twice (seen with 10.0), others once: no escape of these is right for both."""
RUN = Path("/run")


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
    def store_cache(self) -> Path:
        """What was read of a store in a bucket; may be removed at any time."""
        return self.data / "store-cache"

    @property
    def spool(self) -> Path:
        """What snapshots have written for a store in a bucket, and is not there yet."""
        return self.data / "store-spool"

    @property
    def keys(self) -> Path:
        """Key-encryption keys of a sealed store."""
        return self.data / "keys"

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
        """Sockets and pid files; outside the data directory, which has a link there, if sockets in it have no address.

        By what the directory is and not by its name (S103): whoever finds it by another name finds the same daemons.
        """
        inside = self.data / "run"
        with contextlib.suppress(OSError):
            return inside.readlink()
        return inside if inside.is_dir() or not unfit_for_sockets(self.data) else self.outside

    @property
    def outside(self) -> Path:
        """Where `run` is if it is not in the data directory; of no other directory, as long as the host runs."""
        found = self.data.stat()
        digest = hashlib.sha256(f"{found.st_dev}:{found.st_ino}".encode()).hexdigest()[:12]
        return RUN / f"drystone-{digest}"

    @property
    def store_socket(self) -> Path:
        """Where the snapshot server listens."""
        return self.run / "store" / "nbd.sock"

    def disk(self, disk_id: DiskId) -> Path:
        """The directory of one disk."""
        return self.data / "disks" / disk_id

    def description(self, disk_id: DiskId) -> Path:
        """What is needed to adopt the disk when the database is gone (P10)."""
        return self.disk(disk_id) / "disk.json"

    def quiesce(self, disk_id: DiskId) -> Path:
        """What is held still around the disk's snapshots, for an adoption likewise."""
        return self.disk(disk_id) / "quiesce.json"

    def daemon(self, name: str) -> Path:
        """The run directory of one storage daemon."""
        return self.run / name

    def scratch_file(self, disk_id: DiskId) -> Path:
        """The copy-before-write target of one disk."""
        return self.scratch / f"{disk_id}.raw"


def unfit_for_sockets(data: Path) -> bool:
    """Tell whether sockets in `data/run` would have addresses that cannot be used, or not be told to everybody."""
    longest = data / "run" / "disk-12345678" / "qmp2.sock"
    return len(str(longest).encode()) > SOCKET_PATH_BYTES_MAX or not URI_DELIMITERS.isdisjoint(str(data))


def nbd_uri(socket: Path, export: str) -> str:
    """Return the URI of an export on a unix socket, for QEMU, libnbd and people."""
    return f"nbd+unix:///{quote(export)}?socket={quote(str(socket))}"


def node(kind: str, disk_id: DiskId) -> str:
    """Return the graph node (or export) of a disk: `file`, `qcow`, `top`, `back`, `fill`, `cbw`, `scratch`, `view`, ….

    QEMU allows 31 characters; these have at most 16.
    """
    return f"{kind}-{disk_id.removeprefix('disk-')}"

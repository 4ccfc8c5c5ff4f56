"""How many files a process may have open, and for how many disks of a storage daemon that is enough.

A storage daemon that has none left fails what it is asked for in odd places and spins (seen with 10.0, at 121 disks and
256 descriptors): the last ones are never given to a disk (S104).
"""

import contextlib
import resource
from pathlib import Path

PER_DISK = 4
"""Image, export, the scratch file of a snapshot, a client. Measured while it is served: 1 over NBD, 2 as a file."""
RESERVE = 64
"""Monitors, more clients, the readers of the snapshots that are being uploaded."""


def forbid_core_dumps() -> None:
    """Have this process, and what it starts, leave no memory behind when it dies: keys are in it (S381)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def raise_limit() -> None:
    """Allow this process, and what it starts, as many as it may allow itself."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def disks_more(pid: int | None) -> int:
    """Return how many more disks a storage daemon can have open; without a pid, one that is started now."""
    used = 0
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if pid is not None:
        with contextlib.suppress(OSError):
            limit, _hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return max(0, limit - used - RESERVE) // PER_DISK

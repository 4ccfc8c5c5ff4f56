"""On what was measured: the machine and the versions of everything that takes part."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_VERSIONS = {
    "qemu": ("qemu-storage-daemon", "--version"),
    "restic": ("restic", "version"),
    "borg": ("borg", "--version"),
    "zstd": ("zstd", "--version"),
    "fio": ("fio", "--version"),
    "libnbd": ("nbdcopy", "--version"),
}


def describe(work: Path) -> dict[str, Any]:
    """Return cores, memory, kernel, file system of `work`, load and versions. Programs that lack are null."""
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    kind = _first_line(("stat", "-f", "-c", "%T", str(work)))
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": model[0].partition(":")[2].strip() if model else platform.machine(),
        "memory_gib": round(int(memory.split()[1]) / (1 << 20), 1),
        "kernel": platform.release(),
        "file_system": kind,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "drystone": _first_line(("git", "describe", "--always", "--dirty")),
        **{name: _first_line(command) for name, command in _VERSIONS.items()},
    }


def _first_line(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return None
    lines = done.stdout.splitlines()
    return lines[0].strip("* ") if lines else None

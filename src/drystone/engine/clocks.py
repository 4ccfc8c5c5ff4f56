"""The clocks of this machine."""

import os
import time
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return what tells this boot of the machine from all others; where the kernel does not say, this moment of it."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return f"process {os.getpid()} at {uptime()}"


def uptime() -> float:
    """Return seconds since boot, sleep included. Nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

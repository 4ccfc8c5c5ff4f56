"""Files that are whole after a power cut."""

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Make a file or a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Write `data` so that after a power cut `path` is as before or whole; mode 0600."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with part.open("xb") as file:
        part.chmod(0o600)
        file.write(data)
        file.flush()
    sync_file(part)
    part.replace(path)
    sync_file(path.parent)

"""Real data: a file tree of a wanted size in an ext4 image."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOTS = (Path("/usr"), Path("/opt"))
"""Programs and documents that every machine has, and nothing private."""
BLOCK = 4096


def build_image(image: Path, staging: Path, wanted_bytes: int) -> int:
    """Make an ext4 image of copies of this machine's files; return its size in bytes, a multiple of 1 MiB.

    It has hardly any free space: what is measured per byte of it is measured per byte of data.

    A machine with fewer bytes of files gives a smaller image.

    Raises:
        RuntimeError: mkfs failed.
    """
    copied = files = 0
    try:
        for source in _files():
            if copied >= wanted_bytes:
                break
            target = staging / source.relative_to("/")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            except OSError:
                continue
            copied += -(-source.stat().st_size // BLOCK) * BLOCK
            files += 1
        directories = sum(len(found) for _, found, _ in os.walk(staging)) + 1
        inodes = files + directories + 16
        size = copied + (inodes * 256) + directories * BLOCK + copied // 40 + (16 << 20)
        size = -(-size >> 20) << 20
        with image.open("wb") as out:
            out.truncate(size)
        done = subprocess.run(
            [
                "mkfs.ext4", "-q", "-F", "-b", str(BLOCK), "-m", "0", "-N", str(inodes), "-O",
                "^has_journal,^resize_inode", "-d", str(staging), str(image),
            ],
            capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"mkfs.ext4 failed: {done.stderr.decode(errors='replace')[-500:]}")
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return size


def _files() -> Iterator[Path]:
    for root in ROOTS:
        for directory, names, found in os.walk(root):
            names.sort()
            for name in sorted(found):
                path = Path(directory) / name
                if path.is_file() and not path.is_symlink():
                    yield path

"""Parts of objects on this machine's disk, so that they need not be fetched again (S207)."""

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_BYTES: Final = 4096
"""What a file takes at least."""
BYTES_MAX: Final = 256 << 20
PART_BYTES_MAX: Final = 8 << 20
"""Nothing longer is kept: one map of a large disk would push out everything else."""
FREE_SHARE: Final = 10
"""It takes at most this part of what the file system would have free without it."""
_LOOKS: Final = 16
"""How often it is counted while it is filled once."""
_TEMPORARY: Final = ".temporary-"


class LocalCache:
    """A directory of files, one for each part; may be shared by threads and processes, and survives them.

    It promises nothing of what it returns: whoever asks proves it. What cannot be written or read is not there, and
    nothing is ever raised. What was not used for longest goes first. Processes that share it count it once in a while,
    so each may go beyond the limit by a sixteenth.

    Args:
        directory: Made if missing. Nothing else is in it.
        bytes_max: What it holds at most.
    """

    def __init__(self, directory: Path, bytes_max: int = BYTES_MAX) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._unseen = bytes_max
        """Bytes that were written since it was counted: at first nobody knows."""
        self._counter = 0
        with suppress(OSError):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def get(self, name: str, part: str) -> bytes | None:
        """Return what may be a part of an object, or None."""
        path = self._path(name, part)
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):
            os.utime(path)
        return raw

    def put(self, name: str, part: str, data: bytes) -> None:
        """Keep a part of an object, if that can be done."""
        if len(data) > min(PART_BYTES_MAX, self._bytes_max // _LOOKS):
            return
        try:
            with self._lock:
                self._unseen += _taken(len(data))
                if self._unseen > self._bytes_max // _LOOKS:
                    if not self._make_room():
                        return
                    self._unseen = 0
                self._counter += 1
                temporary = self._directory / f"{_TEMPORARY}{os.getpid()}-{self._counter}"
            try:
                with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(data)
                temporary.replace(self._path(name, part))
            except OSError:
                temporary.unlink(missing_ok=True)
        except OSError:
            return

    def drop(self, name: str, part: str) -> None:
        """Forget a part."""
        with suppress(OSError):
            self._path(name, part).unlink()

    def _path(self, name: str, part: str) -> Path:
        return self._directory / hashlib.blake2b(f"{name}\n{part}".encode(), digest_size=20).hexdigest()

    def _make_room(self) -> bool:
        """Remove what was not used for longest, and tell whether all that may be written before the next look fits."""
        found: list[tuple[float, int, Path]] = []
        with os.scandir(self._directory) as scan:
            for entry in scan:
                with suppress(OSError):
                    about = entry.stat(follow_symlinks=False)
                    found.append((about.st_mtime, _taken(about.st_size), Path(entry.path)))
        found.sort(reverse=True)
        total = sum(size for _, size, _ in found)
        space = os.statvfs(self._directory)
        most = min(self._bytes_max, (space.f_bavail * space.f_frsize + total) // FREE_SHARE)
        room = most - self._bytes_max // _LOOKS
        while found and total > room:
            _, size, path = found.pop()
            with suppress(OSError):
                path.unlink()
            total -= size
        return room >= 0


def _taken(size: int) -> int:
    return -(-size // FILE_BYTES) * FILE_BYTES

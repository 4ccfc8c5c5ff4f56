"""Checkpoint files beside images: written last at an orderly stop, renamed away before the next opening (A10, S5)."""

from pathlib import Path

from drystone.codec import checkpoint as codec
from drystone.domain.blocks import Ranges
from drystone.domain.errors import ProtocolError
from drystone.domain.ids import DiskId
from drystone.domain.tracking import Checkpoint, FileIdentity
from drystone.engine.images import sync_file

CONSUMED = ".consumed"


def identity(image: Path) -> FileIdentity:
    """Return the identity of an image as it is now."""
    found = image.stat()
    return FileIdentity(
        device=found.st_dev,
        inode=found.st_ino,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
    )


def write(path: Path, *, disk_id: DiskId, epoch: int, image: Path, ranges: Ranges) -> None:
    """Make the image durable, then the checkpoint that is bound to it. Its daemon must have exited in order."""
    sync_file(image)
    write_durably(path, codec.encode(codec.head(disk_id, epoch, identity(image), ranges), ranges))


def read(path: Path) -> tuple[Checkpoint, Ranges] | None:
    """Return what the checkpoint says, None if there is none or it is damaged."""
    try:
        return codec.decode(path.read_bytes())
    except (FileNotFoundError, ProtocolError):
        return None


def consume(path: Path) -> tuple[Checkpoint, Ranges] | None:
    """Take the checkpoint away, durably, and return what it says; None if there is none or it is damaged.

    After this no later start can take it for its own, whatever happens (F4).
    """
    consumed = path.with_name(path.name + CONSUMED)
    try:
        path.replace(consumed)
    except FileNotFoundError:
        return None
    sync_file(path.parent)
    return read(consumed)


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


def take(path: Path, image: Path) -> tuple[Checkpoint, Ranges, FileIdentity] | None:
    """Consume a checkpoint; return it with the image that it must be bound to, as that is now."""
    found = consume(path)
    return None if found is None else (*found, identity(image))

"""Image files: made, grown and looked at while no daemon has them open."""

import asyncio
import os
import struct
from pathlib import Path

from drystone.domain.errors import IntegrityError
from drystone.engine import command
from drystone.engine.graph import Backing


async def create(image: Path, size_bytes: int, backing: Backing | None = None) -> None:
    """Make a sparse qcow2 that reads as zeros, or as its backing; durable, and whole or absent.

    Raises:
        SpaceError: The file system is full.
        UnavailableError: qemu-img failed; the message has its last line.
    """
    image.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = image.with_suffix(".part")
    part.unlink(missing_ok=True)
    source = (
        () if backing is None else ("-u", "-F", "raw", "-b", f"nbd+unix:///{backing.export}?socket={backing.socket}")
    )
    await command.run("qemu-img", "create", "-q", "-f", "qcow2", *source, str(part), str(size_bytes))
    part.chmod(0o600)
    await asyncio.to_thread(_settle, part, image)


def _settle(part: Path, image: Path) -> None:
    sync_file(part)
    part.replace(image)
    sync_file(image.parent)
    sync_file(image.parent.parent)


def sync_file(path: Path) -> None:
    """Make a file or a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def grow(image: Path, size_bytes: int) -> None:
    """Make a closed image larger; does nothing if it is that large already (A9: repeated after a crash)."""
    if virtual_size(image) < size_bytes:
        await command.run("qemu-img", "resize", "-q", "-f", "qcow2", str(image), str(size_bytes))
        await asyncio.to_thread(sync_file, image)


def virtual_size(image: Path) -> int:
    """Return the size of the disk in the image, from its header.

    Raises:
        IntegrityError: It is no qcow2.
    """
    return int(_header(image)[4])


def has_backing(image: Path) -> bool:
    """Tell whether the image still reads from a backing: hydration has not ended.

    Where a backing was dropped, QEMU 10.0 leaves an offset in the header, with a length of 0. To take that for a
    backing would bring the source's bytes back wherever the guest has discarded since.
    """
    _magic, _version, offset, length, _size = _header(image)
    return bool(offset and length)


def _header(image: Path) -> tuple[int, int, int, int, int]:
    """Return (magic, version, backing file's offset and length, size). Source: QEMU docs/interop/qcow2.rst."""
    with image.open("rb") as file:
        head = file.read(32)
    if len(head) < 32 or head[:4] != b"QFI\xfb":
        raise IntegrityError(f"{image} is not a qcow2 image")
    magic, version, offset, length, _bits, size = struct.unpack(">IIQIIQ", head)
    return magic, version, offset, length, size

"""Image files: made, grown and looked at while no daemon has them open."""

import asyncio
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from drystone.domain.errors import IntegrityError
from drystone.engine import command
from drystone.engine.graph import Backing
from drystone.engine.layout import nbd_uri

CLUSTER_BYTES = 1 << 16
_OPTIONS = f"cluster_size={CLUSTER_BYTES},extended_l2=on"
"""Extended L2 entries tell zeros in 32nds of a cluster, so that any discard of whole 2 KiB is done.

Without them QEMU refuses to punch a hole that is not whole clusters, and the kernel, refused once, sends a loop device
no discards any more. docs/decide/README.md has what they cost, and why clusters are not smaller.
"""
_EXTENDED_L2 = 1 << 4
"""Bit of `incompatible_features`. Source: QEMU docs/interop/qcow2.rst."""


async def create(image: Path, size_bytes: int, backing: Backing | None = None) -> None:
    """Make a sparse qcow2 that reads as zeros, or as its backing; durable, and whole or absent.

    Raises:
        SpaceError: The file system is full.
        UnavailableError: qemu-img failed; the message has its last line.
    """
    image.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = image.with_suffix(".part")
    part.unlink(missing_ok=True)
    source = () if backing is None else ("-u", "-F", "raw", "-b", nbd_uri(backing.socket, backing.export))
    await command.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", _OPTIONS, *source, str(part), str(size_bytes))
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
    return _header(image).size_bytes


def has_backing(image: Path) -> bool:
    """Tell whether the image still reads from a backing: hydration has not ended.

    Where a backing was dropped, QEMU 10.0 leaves an offset in the header, with a length of 0. To take that for a
    backing would bring the source's bytes back wherever the guest has discarded since.
    """
    header = _header(image)
    return bool(header.backing_offset and header.backing_length)


def is_outdated(image: Path) -> bool:
    """Tell whether an earlier version made the image, in a form that refuses the discards of a loop device.

    Raises:
        IntegrityError: It is no qcow2.
    """
    header = _header(image)
    return header.cluster_bytes != CLUSTER_BYTES or not header.features & _EXTENDED_L2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    backing_offset: int
    backing_length: int
    cluster_bytes: int
    size_bytes: int
    features: int
    """What a reader must understand."""


def _header(image: Path) -> _Header:
    """Read the header. Source: QEMU docs/interop/qcow2.rst."""
    with image.open("rb") as file:
        head = file.read(80)
    if len(head) < 80 or head[:4] != b"QFI\xfb":
        raise IntegrityError(f"{image} is not a qcow2 image")
    version, offset, length, bits, size = struct.unpack_from(">IQIIQ", head, 4)
    features = struct.unpack_from(">Q", head, 72)[0] if version >= 3 else 0
    return _Header(
        backing_offset=offset, backing_length=length, cluster_bytes=1 << bits, size_bytes=size, features=features
    )


def remove(directory: Path) -> None:
    """Remove a disk's directory, durably; does nothing if it is gone."""
    if not directory.is_dir():
        return
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()
    sync_file(directory.parent)

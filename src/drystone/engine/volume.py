"""Where the content of one disk is kept, and what is recorded of its changes while no daemon has it open (A10).

Callers know a `Volume` and its verbs, never a file name; `volume_of` gives a disk's. Bitmaps, throttling and the I/O of
open disks are QEMU's (`live_disk`).
"""

import asyncio
import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from drystone import durable_files
from drystone.codec import checkpoint as codec
from drystone.domain.blocks import Ranges
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import DiskId
from drystone.domain.tracking import Checkpoint, FileIdentity
from drystone.engine import command, convert, graph, luks
from drystone.engine.convert import Guard, ImageFile, OnPercent
from drystone.engine.graph import Arguments, Backing
from drystone.engine.layout import Layout, nbd_uri
from drystone.engine.luks import LuksKey
from drystone.engine.space import allocated_bytes

CLUSTER_BYTES = 1 << 16
_OPTIONS = f"cluster_size={CLUSTER_BYTES},extended_l2=on"
"""Extended L2 entries tell zeros in 32nds of a cluster, so that any discard of whole 2 KiB is done.

Without them QEMU refuses to punch a hole that is not whole clusters, and the kernel, refused once, sends a loop device
no discards any more. docs/decide/README.md has what they cost, and why clusters are not smaller.
"""
_EXTENDED_L2 = 1 << 4
"""Bit of `incompatible_features`. Source: QEMU docs/interop/qcow2.rst."""


class Recorded(NamedTuple):
    """The changes that an orderly stop recorded, and the volume that is there now."""

    checkpoint: Checkpoint
    ranges: Ranges
    identity: FileIdentity


class Volume(Protocol):
    """The content of one disk. Nothing has it open, except where a verb says otherwise."""

    async def create(self, size_bytes: int, backing: Backing | None = None) -> None:
        """Make it, sparse; it reads as zeros, or as its backing. Durable, and whole or absent.

        Raises:
            SpaceError: There is no room.
            UnavailableError: It could not be made; the message has the reason.
        """

    async def grow(self, size_bytes: int) -> None:
        """Make it larger; does nothing if it is that large already (A9: repeated after a crash)."""

    def remove(self) -> None:
        """Remove it and all that lies beside it, durably; does nothing if it is gone."""

    def size_bytes(self) -> int:
        """Return the size of the disk in it.

        Raises:
            IntegrityError: It is no volume.
        """

    def allocated_bytes(self) -> int:
        """Return the space that it takes, zero if it is not there."""

    def identity(self) -> FileIdentity:
        """Return what tells that it was not replaced or written since. It may be open."""

    def has_backing(self) -> bool:
        """Tell whether it still reads from a backing: hydration has not ended. It may be open."""

    def is_outdated(self) -> bool:
        """Tell whether an earlier version made it, in a form that refuses the discards of a loop device.

        Raises:
            IntegrityError: It is no volume.
        """

    @property
    def key(self) -> LuksKey | None:
        """What opens it, if it is encrypted and whoever asked for it gave the key."""

    def block_node(self) -> Arguments:
        """Return the block node on which QEMU's qcow2 node of the disk stands."""

    # --- changes while no daemon has it open (A10, S5) ----------------------------------------------------------------

    def record(self, epoch: int, ranges: Ranges) -> None:
        """Make it durable, then the record of changes that is bound to it. Its daemon must have exited in order."""

    def recorded(self) -> Recorded | None:
        """Return what is recorded, None if nothing is or the record is damaged."""

    def take_recorded(self) -> Recorded | None:
        """Return what is recorded, and take it away, durably.

        After this no later start can take it for its own, whatever happens (F4).
        """

    # --- other content for it -----------------------------------------------------------------------------------------

    def draft(self, purpose: str) -> Self:
        """Return a volume beside this one, for content that is to replace it; it need not be there."""

    def discard_draft(self) -> None:
        """Remove a draft, whatever there is of it."""

    def opened(self, scratch: Path) -> AbstractContextManager[ImageFile]:
        """Open it for reading as an image; `scratch` is a directory for sockets."""

    async def copy_from(self, file: ImageFile, *, on_percent: OnPercent, guard: Guard) -> None:
        """Fill it, which reads as zeros, from an image; see `convert.import_into`."""

    async def same_as(self, file: ImageFile, *, on_percent: OnPercent, guard: Guard) -> bool:
        """Tell whether it reads, byte for byte, as an image; see `convert.same_content`."""

    def replace_by(self, draft: Self) -> None:
        """Let a draft be the disk's content, durably."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Qcow2Volume:
    """A `Volume`, which see, in a qcow2 file; the checkpoint file beside it has its changes."""

    id: DiskId
    image: Path
    key: LuksKey | None = None
    """What opens it, if it is encrypted; needed by what reads or changes its content, and by `grow`."""

    @property
    def _checkpoint(self) -> Path:
        return self.image.with_name("checkpoint")

    async def create(self, size_bytes: int, backing: Backing | None = None) -> None:
        self.image.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self._part
        part.unlink(missing_ok=True)
        source = () if backing is None else ("-u", "-F", "raw", "-b", nbd_uri(backing.socket, backing.export))
        begun = () if self.key is not None else source
        await command.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", _OPTIONS, *begun, str(part), str(size_bytes))
        part.chmod(0o600)
        if self.key is not None:
            await asyncio.to_thread(luks.encrypt_empty, part, self.key)
            if source:
                await self._run("rebase", part, "-q", *source)
        await asyncio.to_thread(self._settle)

    async def _run(self, verb: str, image: Path, *options: str, last: Sequence[str] = ()) -> None:
        """Have qemu-img change an image, which may be encrypted."""
        with luks.given(self.key) as given:
            named = ["-f", "qcow2", str(image)]
            if self.key is not None:
                option = f"driver=qcow2,encrypt.key-secret={luks.SECRET},file.filename={luks.told_path(image)}"
                named = ["--image-opts", option]
            words = (*options, *given.words, *named, *last)
            await command.run("qemu-img", verb, *words, descriptors=given.descriptors)

    def _settle(self) -> None:
        _put_in_place(self._part, self.image)
        durable_files.sync_file(self.image.parent.parent)

    @property
    def _part(self) -> Path:
        return self.image.with_suffix(".part")

    async def grow(self, size_bytes: int) -> None:
        if self.size_bytes() < size_bytes:
            await self._run("resize", self.image, "-q", last=(str(size_bytes),))
            await asyncio.to_thread(durable_files.sync_file, self.image)

    def remove(self) -> None:
        directory = self.image.parent
        if not directory.is_dir():
            return
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()
        durable_files.sync_file(directory.parent)

    def size_bytes(self) -> int:
        return self._header().size_bytes

    def allocated_bytes(self) -> int:
        return allocated_bytes(self.image)

    def identity(self) -> FileIdentity:
        found = self.image.stat()
        return FileIdentity(
            device=found.st_dev,
            inode=found.st_ino,
            size=found.st_size,
            mtime_ns=found.st_mtime_ns,
            ctime_ns=found.st_ctime_ns,
        )

    def has_backing(self) -> bool:
        # Where a backing was dropped, QEMU 10.0 leaves an offset in the header, with a length of 0. To take that for a
        # backing would bring the source's bytes back wherever the guest has discarded since.
        header = self._header()
        return bool(header.backing_offset and header.backing_length)

    def is_outdated(self) -> bool:
        header = self._header()
        return header.cluster_bytes != CLUSTER_BYTES or not header.features & _EXTENDED_L2

    def _header(self) -> "_Header":
        """Read the header. Source: QEMU docs/interop/qcow2.rst."""
        with self.image.open("rb") as file:
            head = file.read(80)
        if len(head) < 80 or head[:4] != b"QFI\xfb":
            raise IntegrityError(f"{self.image} is not a qcow2 image")
        version, offset, length, bits, size = struct.unpack_from(">IQIIQ", head, 4)
        features = struct.unpack_from(">Q", head, 72)[0] if version >= 3 else 0
        return _Header(
            backing_offset=offset, backing_length=length, cluster_bytes=1 << bits, size_bytes=size, features=features
        )

    def block_node(self) -> Arguments:
        return graph.file_node(self.id, self.image)

    def record(self, epoch: int, ranges: Ranges) -> None:
        durable_files.sync_file(self.image)
        head = codec.head(self.id, epoch, self.identity(), ranges)
        durable_files.write_durably(self._checkpoint, codec.encode(head, ranges))

    def recorded(self) -> Recorded | None:
        return self._read(self._checkpoint)

    def take_recorded(self) -> Recorded | None:
        taken = self._checkpoint.with_name("checkpoint.consumed")
        try:
            self._checkpoint.replace(taken)
        except FileNotFoundError:
            return None
        durable_files.sync_file(taken.parent)
        return self._read(taken)

    def _read(self, checkpoint: Path) -> Recorded | None:
        try:
            head, ranges = codec.decode(checkpoint.read_bytes())
        except (FileNotFoundError, ProtocolError):
            return None
        return Recorded(head, ranges, self.identity())

    def draft(self, purpose: str) -> Self:
        return replace(self, image=self.image.with_suffix(f".{purpose}"))

    def discard_draft(self) -> None:
        for file in (self.image, self._part):
            file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def opened(self, scratch: Path) -> Iterator[ImageFile]:
        descriptor = os.open(self.image, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield ImageFile(name=str(self.image), descriptor=descriptor, format="qcow2", scratch=scratch, key=self.key)
        finally:
            os.close(descriptor)

    async def copy_from(self, file: ImageFile, *, on_percent: OnPercent, guard: Guard) -> None:
        await convert.import_into(file, self.image, key=self.key, on_percent=on_percent, guard=guard)

    async def same_as(self, file: ImageFile, *, on_percent: OnPercent, guard: Guard) -> bool:
        return await convert.same_content(file, self.image, key=self.key, on_percent=on_percent, guard=guard)

    def replace_by(self, draft: Self) -> None:
        _put_in_place(draft.image, self.image)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    backing_offset: int
    backing_length: int
    cluster_bytes: int
    size_bytes: int
    features: int
    """What a reader must understand."""


def _put_in_place(made: Path, image: Path) -> None:
    durable_files.sync_file(made)
    made.replace(image)
    durable_files.sync_file(image.parent)


def volume_of(layout: Layout, disk_id: DiskId, key: LuksKey | None = None) -> Volume:
    """Return the volume of a disk; it need not be there.

    Args:
        layout: Where.
        disk_id: Which.
        key: Of an encrypted disk, for whoever makes, opens, grows or copies it; others need none.
    """
    return Qcow2Volume(id=disk_id, image=layout.disk(disk_id) / "disk.qcow2", key=key)

"""A disk in a storage daemon: opened, exported, frozen, thawed, resized, closed.

Graph of a disk: file <- qcow <- top (throttle) <- export; while frozen: qcow <- cbw <- top, and cbw <- view <- export.
Every removing function looks at what is there first, so it can be repeated after a crash of ours at any point.
"""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drystone.domain.blocks import BLOCK_BYTES, Ranges, normalize
from drystone.domain.disk_types import Limits
from drystone.domain.errors import DrystoneError, SnapshotBrokenError, SpaceError, UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine import graph
from drystone.engine.daemon import Daemon
from drystone.engine.layout import node
from drystone.engine.qmp import QmpRefusedError
from drystone.nbd.client import NbdClient, dirty_bitmap

DIRTY = 1
"""Flag of a dirty extent in QEMU's bitmap context."""
SHORT_FLUSH_SECONDS = 0.010
"""A flush this short leaves little for the freeze's own fsync to wait for."""
FLUSHES_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDisk:
    """How a disk is to be opened."""

    disk_id: DiskId
    image: Path
    limits: Limits | None
    bitmap: str
    backing: graph.Backing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BitmapState:
    """What a daemon says of one bitmap."""

    name: str
    recording: bool
    inconsistent: bool
    busy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeTarget:
    """One disk of a freeze: `frozen` is the bitmap that recorded so far, `live` the one that records from now."""

    disk_id: DiskId
    size_bytes: int
    frozen: str
    live: str
    scratch: Path


async def open_disk(daemon: Daemon, disk: OpenDisk) -> None:
    """Build the graph of a disk with its bitmap recording; nothing is exported yet.

    The top node is made last, so that a disk that was opened in part, whoever was cut off, is not open (`is_open`): one
    without its bitmap would take writes that nothing records (S4).

    Raises:
        QmpRefusedError: QEMU refused (image locked, damaged, missing); the nodes made so far are gone again.
        UnavailableError: The daemon died.
    """
    try:
        await daemon.execute("object-add", graph.throttle_group(disk.disk_id, disk.limits))
        await daemon.execute("blockdev-add", graph.file_node(disk.disk_id, disk.image))
        if disk.backing is not None:
            near = replace(disk.backing, socket=daemon.near(disk.backing.socket))
            await daemon.execute("blockdev-add", graph.backing_node(disk.disk_id, near))
            await daemon.execute("object-add", graph.throttle_group(disk.disk_id, None, kind="fill"))
            await daemon.execute("blockdev-add", graph.fill_node(disk.disk_id))
        await daemon.execute("blockdev-add", graph.qcow_node(disk.disk_id, hydrating=disk.backing is not None))
        await daemon.execute("block-dirty-bitmap-add", graph.bitmap(disk.disk_id, disk.bitmap))
        await daemon.execute("blockdev-add", graph.top_node(disk.disk_id))
    except QmpRefusedError:
        await close_disk(daemon, disk.disk_id)
        raise


async def close_disk(daemon: Daemon, disk_id: DiskId) -> None:
    """Take the disk's exports and nodes away, whatever of them is there. Flushes; its bitmaps are gone with it."""
    for kind in ("disk", "trim", "view", "bitmap", "look"):
        await daemon.remove_export(node(kind, disk_id))
    await remove_hydration(daemon, disk_id)
    await unfreeze(daemon, disk_id, scratch=None)
    nodes = await daemon.nodes()
    for kind in ("top", "qcow", "file", "fill", "back", "zeros"):
        if node(kind, disk_id) in nodes:
            await daemon.execute("blockdev-del", {"node-name": node(kind, disk_id)})
    for kind in ("limit", "fill"):
        with contextlib.suppress(QmpRefusedError):  # It may never have been made.
            await daemon.execute("object-del", {"id": node(kind, disk_id)})


async def is_open(daemon: Daemon, disk_id: DiskId) -> bool:
    """Tell whether the daemon has the disk's whole graph."""
    nodes = await daemon.nodes()
    return all(node(kind, disk_id) in nodes for kind in ("file", "qcow", "top"))


async def bitmaps(daemon: Daemon, disk_id: DiskId) -> dict[str, BitmapState]:
    """Return the disk's named bitmaps."""
    entry = (await daemon.nodes()).get(node("qcow", disk_id), {})
    return {
        found["name"]: BitmapState(
            name=found["name"],
            recording=found["recording"],
            inconsistent=found.get("inconsistent", False),
            busy=found["busy"],
        )
        for found in entry.get("dirty-bitmaps", ())
        if "name" in found
    }


async def export_nbd(daemon: Daemon, disk_id: DiskId) -> Path:
    """Serve the disk over NBD, writable, under its id; return the socket. Does nothing if it is served already."""
    if node("disk", disk_id) not in await daemon.exports():
        await daemon.execute("block-export-add", graph.disk_export(disk_id))
    return daemon.nbd_socket


async def export_fuse(daemon: Daemon, disk_id: DiskId) -> Path:
    """Serve the disk as a file; return its path. Does nothing if it is served already."""
    path = daemon.directory / f"{disk_id}.raw"
    if node("disk", disk_id) not in await daemon.exports():
        await remove_hydration(daemon, disk_id)
        await remove_comparison(daemon, disk_id)
        path.touch(mode=0o600)
        await daemon.execute("block-export-add", graph.fuse_export(disk_id, path))
    return path


async def unexport(daemon: Daemon, disk_id: DiskId) -> None:
    """Stop serving the disk; what was written is in the daemon's hands."""
    await daemon.remove_export(node("disk", disk_id))


async def flush_until_short(daemon: Daemon, disk_id: DiskId) -> None:
    """Flush what is not on the drive yet, up to three times, so that the freeze's own flush is short."""
    exports = await daemon.exports()
    entry = exports.get(node("disk", disk_id))
    if entry is None:
        return
    path = None if entry["type"] == "nbd" else daemon.directory / f"{disk_id}.raw"
    await asyncio.to_thread(_flush_until_short, daemon.nbd_socket, disk_id, path)


def _flush_until_short(socket: Path, disk_id: DiskId, path: Path | None) -> None:
    with contextlib.ExitStack() as stack:
        if path is None:
            flush = stack.enter_context(NbdClient(socket, disk_id)).flush
        else:
            descriptor = os.open(path, os.O_RDWR)
            stack.callback(os.close, descriptor)

            def flush() -> None:
                os.fsync(descriptor)

        for _ in range(FLUSHES_MAX):
            began = time.monotonic()
            flush()
            if time.monotonic() - began < SHORT_FLUSH_SECONDS:
                return


async def freeze(daemon: Daemon, targets: Sequence[FreezeTarget]) -> float:
    """Fix one instant for all targets and export their frozen views; return how long the guests stood, in ms.

    A2: the new bitmap records before the instant, the old one stops after it, so both hold what fell between.
    The instant is the `blockdev-reopen`. Nothing before it is visible to a guest.

    Raises:
        DrystoneError: No view exists, and the graph and bitmaps are as before (unless the daemon died).
    """
    assert targets
    try:
        for target in targets:
            await _prepare(daemon, target)
    except DrystoneError:
        with contextlib.suppress(DrystoneError):
            for target in targets:
                await unfreeze(daemon, target.disk_id, scratch=target.scratch)
                await drop_bitmap(daemon, target.disk_id, target.live)
        raise
    began = time.monotonic()
    try:
        await daemon.execute(
            "blockdev-reopen",
            {"options": [graph.top_node(target.disk_id, below="cbw") for target in targets]},
        )
    except QmpRefusedError:
        for target in targets:
            await unfreeze(daemon, target.disk_id, scratch=target.scratch)
            await drop_bitmap(daemon, target.disk_id, target.live)
        raise
    pause_ms = (time.monotonic() - began) * 1000
    await finish_freeze(daemon, targets)
    return pause_ms


async def _prepare(daemon: Daemon, target: FreezeTarget) -> None:
    disk_id = target.disk_id
    exports = await daemon.exports()
    disk = exports.get(node("disk", disk_id))
    # A writable export below the top node would go round the filter.
    assert disk is None or disk["node-name"] == node("top", disk_id), disk
    _make_scratch(target.scratch, target.size_bytes)
    await daemon.execute("blockdev-add", graph.scratch_node(disk_id, target.scratch))
    await daemon.execute("blockdev-add", graph.cbw_node(disk_id, target.size_bytes))
    await daemon.execute("block-dirty-bitmap-add", graph.bitmap(disk_id, target.live))


def _make_scratch(path: Path, size_bytes: int) -> None:
    """Make an empty sparse file.

    Raises:
        SpaceError: The file system is full, or has no files of this size (ext4: 16 TiB).
        UnavailableError: It cannot be made for another reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(descriptor, size_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        kind = SpaceError if error.errno in {errno.ENOSPC, errno.EFBIG, errno.EDQUOT} else UnavailableError
        path.unlink(missing_ok=True)
        raise kind(f"no scratch file of {size_bytes} bytes at {path}: {error.strerror}") from error


async def finish_freeze(daemon: Daemon, targets: Sequence[FreezeTarget]) -> None:
    """Do what follows the instant: old bitmaps stop, views are exported. May be repeated after a crash of ours."""
    for target in targets:
        held = await bitmaps(daemon, target.disk_id)
        if target.frozen not in held:
            raise SnapshotBrokenError(f"bitmap {target.frozen} of disk {target.disk_id} is gone")
        if held[target.frozen].recording:
            await disable_bitmap(daemon, target.disk_id, target.frozen)
    nodes = await daemon.nodes()
    exports = await daemon.exports()
    for target in targets:
        if node("view", target.disk_id) not in nodes:
            await daemon.execute("blockdev-add", graph.view_node(target.disk_id))
        if node("view", target.disk_id) not in exports:
            await daemon.execute("block-export-add", graph.view_export(target.disk_id, target.frozen))
        if node("trim", target.disk_id) not in exports:
            # Without it nothing is trimmed: guests' writes are copied that need not be.
            with contextlib.suppress(QmpRefusedError):
                socket = trim_socket(daemon, target.disk_id)
                await daemon.execute("block-export-add", graph.trim_export(target.disk_id, socket))


def trim_socket(daemon: Daemon, disk_id: DiskId) -> Path:
    """Return where parts of the disk's frozen view are discarded; its name is short, as paths of sockets must be."""
    return daemon.directory / f"{disk_id.removeprefix('disk-')}.sock"


async def is_frozen(daemon: Daemon, disk_id: DiskId) -> bool:
    """Tell whether the copy-before-write filter is in the disk's path: the instant was (A2, F25)."""
    nodes = await daemon.nodes()
    top = nodes.get(node("top", disk_id), {})
    children = {child["child"]: child["node-name"] for child in top.get("children", ())}
    if "file" in children:
        return bool(children["file"] == node("cbw", disk_id))
    # Without children in the answer: the view stands on the filter only once it was inserted.
    return node("view", disk_id) in nodes


async def unfreeze(daemon: Daemon, disk_id: DiskId, *, scratch: Path | None) -> None:
    """Take the frozen view and its filter away, whatever of them is there, and the scratch file. Keeps all bitmaps."""
    for kind in ("trim", "view"):
        await daemon.remove_export(node(kind, disk_id))
    nodes = await daemon.nodes()
    if node("view", disk_id) in nodes:
        await daemon.execute("blockdev-del", {"node-name": node("view", disk_id)})
    if node("cbw", disk_id) in nodes:
        if node("top", disk_id) in nodes:
            await daemon.execute("blockdev-reopen", {"options": [graph.top_node(disk_id)]})
        await daemon.execute("blockdev-del", {"node-name": node("cbw", disk_id)})
    if node("scratch", disk_id) in nodes:
        await daemon.execute("blockdev-del", {"node-name": node("scratch", disk_id)})
    if scratch is not None:
        scratch.unlink(missing_ok=True)


async def has_backing(daemon: Daemon, disk_id: DiskId) -> bool:
    """Tell whether the open disk reads from a snapshot what it does not have."""
    return node("back", disk_id) in await daemon.nodes()


async def delays_guests(daemon: Daemon, disk_id: DiskId) -> bool:
    """Tell whether `unfreeze` has anything to take away that a guest's requests go through."""
    nodes = await daemon.nodes()
    frozen = any(node(kind, disk_id) in nodes for kind in ("view", "cbw", "scratch"))
    return frozen and describe_exports(await daemon.exports(), disk_id) is not None


async def merge_back(daemon: Daemon, disk_id: DiskId, *, frozen: str, live: str) -> None:
    """A4: the live bitmap takes what the frozen one held. The view must be gone. Does nothing if done already."""
    held = await bitmaps(daemon, disk_id)
    if frozen in held and live in held:
        await daemon.execute("transaction", graph.merge_back(disk_id, frozen=frozen, live=live))


async def disable_bitmap(daemon: Daemon, disk_id: DiskId, name: str) -> None:
    """Stop a bitmap from recording; it keeps what it has."""
    await daemon.execute("block-dirty-bitmap-disable", graph.bitmap_ref(disk_id, name))


async def drop_bitmap(daemon: Daemon, disk_id: DiskId, name: str) -> None:
    """Remove a bitmap if it is there: only one that a NORMAL snapshot owns, or that never recorded alone."""
    if name in await bitmaps(daemon, disk_id):
        await daemon.execute("block-dirty-bitmap-remove", graph.bitmap_ref(disk_id, name))


async def add_bitmap(daemon: Daemon, disk_id: DiskId, name: str) -> None:
    """Start a bitmap that records from now on."""
    await daemon.execute("block-dirty-bitmap-add", graph.bitmap(disk_id, name))


async def read_bitmap(daemon: Daemon, disk_id: DiskId, name: str) -> Ranges:
    """Return the blocks that a bitmap marks. Nothing may write meanwhile (the disk is not exported)."""
    # Whoever read before us may have been killed at it.
    await daemon.remove_export(node("bitmap", disk_id))
    await daemon.execute("block-export-add", graph.bitmap_export(disk_id, name))
    try:
        return await asyncio.to_thread(_read_bitmap, daemon.nbd_socket, graph.bitmap_export_name(disk_id), name)
    finally:
        await daemon.remove_export(node("bitmap", disk_id))


def _read_bitmap(socket: Path, export: str, name: str) -> Ranges:
    context = dirty_bitmap(name)
    with NbdClient(socket, export, contexts=(context,)) as client:
        extents = client.extents(context, 0, client.size_bytes)
    dirty = extents[(extents[:, 2] & DIRTY) != 0]
    first = dirty[:, 0] // BLOCK_BYTES
    stop = -(-dirty[:, 1] // BLOCK_BYTES)
    return normalize([(int(a), int(b)) for a, b in zip(first, stop, strict=True)])


async def resize(daemon: Daemon, disk_id: DiskId, size_bytes: int) -> None:
    """Grow an open disk. NBD exports of it must be away (QEMU refuses); bitmaps grow along."""
    await daemon.execute("block_resize", {"node-name": node("top", disk_id), "size": size_bytes})


async def size_bytes(daemon: Daemon, disk_id: DiskId) -> int:
    """Return the size of an open disk."""
    return int((await daemon.nodes())[node("top", disk_id)]["image"]["virtual-size"])


async def set_limits(daemon: Daemon, disk_id: DiskId, limits: Limits | None) -> None:
    """Change what the disk's throttle group lets through."""
    path = f"/objects/{node('limit', disk_id)}"
    value = graph.throttle_limits(limits)
    await daemon.execute("qom-set", {"path": path, "property": "limits", "value": value})


async def export_hydration(daemon: Daemon, disk_id: DiskId) -> Path | None:
    """Export the disk for hydration, read-only: over NBD, or as a file if the disk itself is one (FUSE).

    Returns:
        The file to read; None if it is the NBD export `graph.hydration_export_name`.
    """
    exports = await daemon.exports()
    wanted = "fuse" if describe_exports(exports, disk_id) == "fuse" else "nbd"
    file = daemon.directory / f"{disk_id}.pull"
    if node("hydrate", disk_id) in exports and exports[node("hydrate", disk_id)]["type"] != wanted:
        await remove_hydration(daemon, disk_id)
        exports = await daemon.exports()
    if node("hydrate", disk_id) not in exports:
        if wanted == "nbd":
            await daemon.execute("block-export-add", graph.hydration_export(disk_id))
        else:
            if node("pull", disk_id) not in await daemon.nodes():
                await daemon.execute("blockdev-add", graph.pulling_node(disk_id))
            file.touch(mode=0o600)
            await daemon.execute("block-export-add", graph.pulling_export(disk_id, file))
    return file if wanted == "fuse" else None


async def remove_hydration(daemon: Daemon, disk_id: DiskId) -> None:
    """Take the hydration export away, whichever it is; who copies through it is cut off."""
    await daemon.remove_export(node("hydrate", disk_id))
    if node("pull", disk_id) in await daemon.nodes():
        await daemon.execute("blockdev-del", {"node-name": node("pull", disk_id)})


async def export_comparison(daemon: Daemon, disk_id: DiskId) -> Path | None:
    """Export the disk read-only for Drystone itself, beside its guest: over NBD, or as a file if the disk is one.

    Returns:
        The file to read; None if it is the NBD export `graph.comparison_export_name`.
    """
    exports = await daemon.exports()
    wanted = "fuse" if describe_exports(exports, disk_id) == "fuse" else "nbd"
    file = daemon.directory / f"{disk_id}.look"
    if node("look", disk_id) in exports and exports[node("look", disk_id)]["type"] != wanted:
        await remove_comparison(daemon, disk_id)
        exports = await daemon.exports()
    if node("look", disk_id) not in exports:
        if wanted == "nbd":
            await daemon.execute("block-export-add", graph.comparison_export(disk_id))
        else:
            file.touch(mode=0o600)
            await daemon.execute("block-export-add", graph.comparison_file(disk_id, file))
    return file if wanted == "fuse" else None


async def remove_comparison(daemon: Daemon, disk_id: DiskId) -> None:
    """Take that export away; who reads through it is cut off."""
    await daemon.remove_export(node("look", disk_id))


async def drop_backing(daemon: Daemon, disk_id: DiskId) -> None:
    """End hydration: every block that its source holds is in the image now and flushed; let go of the source.

    What was never copied is zero in the source, and reads as zero without one. So the header forgets the backing
    file, and the open image reads zeros instead until it is closed; a crash in between leaves an image that stands
    alone, which is right.

    The image's own node is not reopened (S92): QEMU 10.0 serves a client that connects at that moment, and to its reads
    the image is corrupt then, and marked so.
    """
    await remove_hydration(daemon, disk_id)
    nodes = await daemon.nodes()
    if node("back", disk_id) not in nodes:
        return
    if "backing-filename" in nodes[node("qcow", disk_id)]["image"]:
        await daemon.execute(
            "change-backing-file",
            {"device": node("top", disk_id), "image-node-name": node("qcow", disk_id), "backing-file": ""},
        )
    if node("zeros", disk_id) not in nodes:
        size_bytes = nodes[node("back", disk_id)]["image"]["virtual-size"]
        await daemon.execute("blockdev-add", graph.zeros_node(disk_id, size_bytes))
    await daemon.execute("blockdev-reopen", {"options": [graph.fill_node(disk_id, below="zeros")]})
    await daemon.execute("blockdev-del", {"node-name": node("back", disk_id)})


async def disks_open(daemon: Daemon) -> frozenset[DiskId]:
    """Return the disks of which the daemon has any node."""
    return frozenset(
        DiskId("disk-" + name.partition("-")[2])
        for name in await daemon.nodes()
        if name.partition("-")[0] in {"file", "qcow", "top"}
    )


def describe_exports(exports: dict[str, dict[str, Any]], disk_id: DiskId) -> str | None:
    """Return the kind of the disk's own export (`nbd` or `fuse`), or None."""
    entry = exports.get(node("disk", disk_id))
    return None if entry is None else str(entry["type"])

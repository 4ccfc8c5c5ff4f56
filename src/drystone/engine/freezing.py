"""One instant for one disk or several: their frozen views (A2)."""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drystone.codec.luks import HEADER_BYTES
from drystone.domain.disk import Disk
from drystone.domain.errors import DrystoneError, SnapshotBrokenError, SpaceError, UnavailableError
from drystone.domain.ids import DiskId
from drystone.domain.tracking import FrozenBase
from drystone.engine import graph, luks
from drystone.engine.daemon import Command, Daemon
from drystone.engine.layout import Layout, node
from drystone.engine.live_disk import LiveDisk, Seen
from drystone.engine.luks import LuksKey
from drystone.engine.qmp import QmpRefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeTarget:
    """One disk of a freeze: `frozen` is the bitmap that recorded so far, `live` the one that records from now."""

    disk_id: DiskId
    size_bytes: int
    frozen: str
    live: str
    scratch: Path
    encrypted: bool = False
    """Whether the disk is: then its scratch is, too, by a key that nobody keeps (S381)."""


def target(layout: Layout, disk: Disk, freeze: FrozenBase) -> FreezeTarget:
    """Return what a storage daemon that has the disk open is asked to freeze."""
    assert freeze.old_bitmap is not None, "an open disk has a bitmap"
    return FreezeTarget(
        disk_id=disk.id, size_bytes=disk.size_bytes, frozen=freeze.old_bitmap, live=freeze.new_bitmap,
        scratch=layout.scratch_file(disk.id), encrypted=disk.encryption is not None,
    )  # fmt: skip


async def freeze(daemon: Daemon, targets: Sequence[FreezeTarget]) -> float:
    """Fix one instant for all targets and export their frozen views; return how long the guests stood, in ms.

    A2: the new bitmap records before the instant, the old one stops after it, so both hold what fell between.
    The instant is the `blockdev-reopen`. Nothing before it is visible to a guest.

    Raises:
        DrystoneError: No view exists, and the graph and bitmaps are as before (unless the daemon died).
    """
    assert targets
    try:
        await _prepare(daemon, targets)
    except DrystoneError:
        with contextlib.suppress(DrystoneError):
            await _take_back(daemon, targets)
        raise
    began = time.monotonic()
    try:
        await daemon.execute(
            "blockdev-reopen",
            {"options": [graph.top_node(target.disk_id, below="cbw") for target in targets]},
        )
    except QmpRefusedError:
        await _take_back(daemon, targets)
        raise
    pause_ms = (time.monotonic() - began) * 1000
    await _follow(daemon, targets, nodes={}, exports={})
    return pause_ms


async def _take_back(daemon: Daemon, targets: Sequence[FreezeTarget]) -> None:
    """Remove what was made for an instant that did not come, as far as it was made."""
    for target in targets:
        disk = LiveDisk(daemon=daemon, id=target.disk_id)
        await disk.unfreeze(scratch=target.scratch)
        if target.live in (await disk.look()).bitmaps:
            await disk.drop_bitmap(target.live)


async def _prepare(daemon: Daemon, targets: Sequence[FreezeTarget]) -> None:
    exports = await daemon.exports()
    commands: list[Command] = []
    for target in targets:
        disk = exports.get(node("disk", target.disk_id))
        # A writable export below the top node would go round the filter.
        assert disk is None or disk["node-name"] == node("top", target.disk_id), disk
        key = luks.new_key() if target.encrypted else None
        await asyncio.to_thread(_make_scratch, target.scratch, target.size_bytes, key)
        if key is not None:
            await LiveDisk(daemon=daemon, id=target.disk_id).give_secret(graph.SCRATCH_KEY, key)
        scratch = graph.scratch_node(target.disk_id, target.scratch, encrypted=target.encrypted)
        commands += [
            ("blockdev-add", scratch),
            ("blockdev-add", graph.cbw_node(target.disk_id, target.size_bytes)),
            ("block-dirty-bitmap-add", graph.bitmap(target.disk_id, target.live)),
        ]
    await daemon.execute_all(commands)


def _make_scratch(path: Path, size_bytes: int, key: LuksKey | None) -> None:
    """Make an empty sparse file, in which so much fits; one that is encrypted has its header.

    Raises:
        SpaceError: The file system is full, or has no files of this size (ext4: 16 TiB).
        UnavailableError: It cannot be made for another reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if key is not None:
                os.pwrite(descriptor, luks.new_header(key), 0)
            os.ftruncate(descriptor, size_bytes + (0 if key is None else HEADER_BYTES))
        finally:
            os.close(descriptor)
    except OSError as error:
        kind = SpaceError if error.errno in {errno.ENOSPC, errno.EFBIG, errno.EDQUOT} else UnavailableError
        path.unlink(missing_ok=True)
        raise kind(f"no scratch file of {size_bytes} bytes at {path}: {error.strerror}") from error


async def finish_freeze(daemon: Daemon, targets: Sequence[FreezeTarget]) -> None:
    """Do what follows the instant: old bitmaps stop, views are exported. May be repeated after a crash of ours."""
    nodes = await daemon.nodes()
    for target in targets:
        if target.frozen not in Seen(id=target.disk_id, nodes=nodes).bitmaps:
            raise SnapshotBrokenError(f"bitmap {target.frozen} of disk {target.disk_id} is gone")
    await _follow(daemon, targets, nodes=nodes, exports=await daemon.exports())


async def _follow(
    daemon: Daemon,
    targets: Sequence[FreezeTarget],
    *,
    nodes: Mapping[str, dict[str, Any]],
    exports: Mapping[str, dict[str, Any]],
) -> None:
    """Do what follows the instant and is not done yet; of nodes that are not named nothing is."""
    commands: list[Command] = []
    for target in targets:
        disk_id, held = target.disk_id, Seen(id=target.disk_id, nodes=nodes).bitmaps
        if target.frozen not in held or held[target.frozen].recording:
            commands.append(("block-dirty-bitmap-disable", graph.bitmap_ref(disk_id, target.frozen)))
        if node("view", disk_id) not in nodes:
            commands.append(("blockdev-add", graph.view_node(disk_id)))
        if node("view", disk_id) not in exports:
            commands.append(("block-export-add", graph.view_export(disk_id, target.frozen)))
    # Without these nothing is trimmed: guests' writes are copied that need not be.
    trims: list[Command] = [
        (
            "block-export-add",
            graph.trim_export(target.disk_id, LiveDisk(daemon=daemon, id=target.disk_id).trim_socket),
        )
        for target in targets
        if node("trim", target.disk_id) not in exports
    ]
    await daemon.execute_all(commands, may_be_refused=trims)

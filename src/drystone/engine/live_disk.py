"""A disk in a storage daemon: opened, exported, thawed, resized, closed; `freezing` fixes its instants.

Graph of a disk: file <- qcow <- top (throttle) <- export; while frozen: qcow <- cbw <- top, and cbw <- view <- export.
Every removing function looks at what is there first, so it can be repeated after a crash of ours at any point.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drystone.domain.blocks import BLOCK_BYTES, Ranges, normalize
from drystone.domain.disk_types import Limits
from drystone.domain.ids import DiskId
from drystone.engine import graph
from drystone.engine.daemon import Daemon
from drystone.engine.layout import node
from drystone.engine.luks import LuksKey
from drystone.engine.qmp import QmpRefusedError
from drystone.engine.volume import Volume
from drystone.nbd.client import NbdClient
from drystone.nbd.extents import dirty_bitmap

DIRTY = 1
"""Flag of a dirty extent in QEMU's bitmap context."""
SHORT_FLUSH_SECONDS = 0.010
"""A flush this short leaves little for the freeze's own fsync to wait for."""
FLUSHES_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDisk:
    """How a disk is to be opened."""

    volume: Volume
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
    marks: bool
    """Whether it marks any block, or does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a daemon has of a disk, by one reading of its graph."""

    id: DiskId
    nodes: Mapping[str, dict[str, Any]]

    def has(self, kind: str) -> bool:
        """Tell whether there is a node of this kind."""
        return node(kind, self.id) in self.nodes

    @property
    def whole(self) -> bool:
        """Whether the disk's whole graph is there."""
        return {node(kind, self.id) for kind in ("file", "qcow", "top")} <= self.nodes.keys()

    @property
    def bitmaps(self) -> dict[str, BitmapState]:
        """The disk's named bitmaps."""
        entry = self.nodes.get(node("qcow", self.id), {})
        return {
            found["name"]: BitmapState(
                name=found["name"],
                recording=found["recording"],
                inconsistent=found.get("inconsistent", False),
                busy=found["busy"],
                marks=found.get("count", 1) > 0,
            )
            for found in entry.get("dirty-bitmaps", ())
            if "name" in found
        }

    @property
    def frozen(self) -> bool:
        """Whether the copy-before-write filter is in the disk's path: the instant was (A2, F25)."""
        top = self.nodes.get(node("top", self.id), {})
        children = {child["child"]: child["node-name"] for child in top.get("children", ())}
        if "file" in children:
            return bool(children["file"] == node("cbw", self.id))
        # Without children in the answer: the view stands on the filter only once it was inserted.
        return self.has("view")

    @property
    def hydrates(self) -> bool:
        """Whether it reads from a snapshot what it does not have."""
        return self.has("back")

    @property
    def encrypted(self) -> bool:
        """Whether its image is."""
        return bool(self.nodes.get(node("qcow", self.id), {}).get("encrypted"))

    @property
    def has_encrypted_scratch(self) -> bool:
        """Whether what is copied for its frozen view is encrypted."""
        return self.nodes.get(node("scratch", self.id), {}).get("drv") == graph.LUKS

    @property
    def has_view(self) -> bool:
        """Whether `unfreeze` has anything to take away."""
        return any(map(self.has, ("view", "cbw", "scratch")))


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDisk:
    """A disk in a storage daemon: what can be done to it."""

    daemon: Daemon
    id: DiskId

    @property
    def nbd_socket(self) -> Path:
        """The socket at which its exports are."""
        return self.daemon.nbd_socket

    async def look(self) -> Seen:
        """Read what the daemon has of the disk now."""
        return Seen(id=self.id, nodes=await self.daemon.nodes())

    async def marked(self, bitmap: str | None) -> bool:
        """Tell whether the disk's only bitmap marks any block; True if it cannot be told."""
        held = (await self.look()).bitmaps
        sole = held.get(bitmap or "") if len(held) == 1 else None
        return sole is None or not sole.recording or sole.inconsistent or sole.marks

    async def served_as(self) -> str | None:
        """Return the kind of the disk's own export (`nbd` or `fuse`), or None."""
        return _served_as(await self.daemon.exports(), self.id)

    async def open(self, spec: OpenDisk) -> None:
        """Build the graph of a disk with its bitmap recording; nothing is exported yet.

        The top node is made last, so that a disk that was opened in part, whoever was cut off, is not whole: one
        without its bitmap would take writes that nothing records (S4).

        Raises:
            QmpRefusedError: QEMU refused (image locked, damaged, missing); the nodes made so far are gone again.
            UnavailableError: The daemon died.
        """
        key = spec.volume.key
        try:
            if key is not None:
                await self.give_secret(graph.IMAGE_KEY, key)
            await self.daemon.execute("object-add", graph.throttle_group(self.id, spec.limits))
            await self.daemon.execute("blockdev-add", spec.volume.block_node())
            if spec.backing is not None:
                near = replace(spec.backing, socket=self.daemon.near(spec.backing.socket))
                await self.daemon.execute("blockdev-add", graph.backing_node(self.id, near))
                await self.daemon.execute("object-add", graph.throttle_group(self.id, None, kind="fill"))
                await self.daemon.execute("blockdev-add", graph.fill_node(self.id))
            hydrating = spec.backing is not None
            qcow = graph.qcow_node(self.id, hydrating=hydrating, encrypted=key is not None)
            await self.daemon.execute("blockdev-add", qcow)
            await self.daemon.execute("block-dirty-bitmap-add", graph.bitmap(self.id, spec.bitmap))
            await self.daemon.execute("blockdev-add", graph.top_node(self.id))
        except QmpRefusedError:
            await self.close()
            if key is not None:
                await self._drop(graph.IMAGE_KEY)
            raise

    async def give_secret(self, kind: str, key: LuksKey) -> None:
        """Tell the daemon what opens an encrypted node; what an earlier try has left goes."""
        try:
            await self.daemon.execute("object-add", graph.secret(self.id, kind, key))
        except QmpRefusedError:
            await self._drop(kind)
            await self.daemon.execute("object-add", graph.secret(self.id, kind, key))

    async def _drop(self, *kinds: str) -> None:
        for kind in kinds:
            with contextlib.suppress(QmpRefusedError):  # It may never have been made.
                await self.daemon.execute("object-del", {"id": node(kind, self.id)})

    async def close(self) -> None:
        """Take the disk's exports and nodes away, whatever of them is there. Flushes; its bitmaps are gone with it."""
        await self._remove_exports("disk", "trim", "view", "bitmap", "look", "hydrate")
        seen = await self.look()
        await self._remove_nodes(seen, "pull")
        await self._remove_view(seen)
        await self._remove_nodes(seen, "top", "qcow", "file", "fill", "back", "zeros")
        await self._drop("limit", "fill", *((graph.IMAGE_KEY,) if seen.encrypted else ()))

    async def _remove_exports(self, *kinds: str) -> None:
        await self.daemon.remove_exports(*(node(kind, self.id) for kind in kinds))

    async def _remove_nodes(self, seen: Seen, *kinds: str) -> None:
        for kind in filter(seen.has, kinds):
            await self.daemon.execute("blockdev-del", {"node-name": node(kind, self.id)})

    async def _remove_view(self, seen: Seen) -> None:
        """Take the nodes of the frozen view away, its exports being gone."""
        await self._remove_nodes(seen, "view")
        if seen.has("cbw") and seen.has("top"):
            await self.daemon.execute("blockdev-reopen", {"options": [graph.top_node(self.id)]})
        await self._remove_nodes(seen, "cbw", "scratch")
        if seen.has_encrypted_scratch:
            await self._drop(graph.SCRATCH_KEY)

    async def export_nbd(self) -> Path:
        """Serve the disk over NBD, writable, under its id; return the socket. Does nothing if it is served already."""
        if node("disk", self.id) not in await self.daemon.exports():
            await self.daemon.execute("block-export-add", graph.disk_export(self.id))
        return self.daemon.nbd_socket

    async def export_fuse(self) -> Path:
        """Serve the disk as a file; return its path. Does nothing if it is served already."""
        path = self.daemon.directory / f"{self.id}.raw"
        if node("disk", self.id) not in await self.daemon.exports():
            await self.remove_hydration()
            await self.remove_comparison()
            path.touch(mode=0o600)
            await self.daemon.execute("block-export-add", graph.fuse_export(self.id, path))
        return path

    async def unexport(self) -> None:
        """Stop serving the disk; what was written is in the daemon's hands."""
        await self._remove_exports("disk")

    async def flush_until_short(self) -> None:
        """Flush what is not on the drive yet, up to three times, so that the freeze's own flush is short."""
        exports = await self.daemon.exports()
        entry = exports.get(node("disk", self.id))
        if entry is None:
            return
        path = None if entry["type"] == "nbd" else self.daemon.directory / f"{self.id}.raw"
        await asyncio.to_thread(_flush_until_short, self.daemon.nbd_socket, self.id, path)

    @property
    def trim_socket(self) -> Path:
        """Where parts of the disk's frozen view are discarded; its name is short, as paths of sockets must be."""
        return self.daemon.directory / f"{self.id.removeprefix('disk-')}.sock"

    async def unfreeze(self, *, scratch: Path | None) -> None:
        """Take the frozen view, its filter and the scratch file away, whatever of them is there. Keeps all bitmaps."""
        await self._remove_exports("trim", "view")
        await self._remove_view(await self.look())
        if scratch is not None:
            scratch.unlink(missing_ok=True)

    async def merge_back(self, *, frozen: str, live: str) -> None:
        """A4: the live bitmap takes what the frozen one held. Both are there, and the view is gone."""
        await self.daemon.execute("transaction", graph.merge_back(self.id, frozen=frozen, live=live))

    async def disable_bitmap(self, name: str) -> None:
        """Stop a bitmap from recording; it keeps what it has."""
        await self.daemon.execute("block-dirty-bitmap-disable", graph.bitmap_ref(self.id, name))

    async def drop_bitmap(self, name: str) -> None:
        """Remove a bitmap that is there: only one that a NORMAL snapshot owns, or that never recorded alone."""
        await self.daemon.execute("block-dirty-bitmap-remove", graph.bitmap_ref(self.id, name))

    async def add_bitmap(self, name: str) -> None:
        """Start a bitmap that records from now on."""
        await self.daemon.execute("block-dirty-bitmap-add", graph.bitmap(self.id, name))

    async def read_bitmap(self, name: str) -> Ranges:
        """Return the blocks that a bitmap marks. Nothing may write meanwhile (the disk is not exported)."""
        # Whoever read before us may have been killed at it.
        await self._remove_exports("bitmap")
        await self.daemon.execute("block-export-add", graph.bitmap_export(self.id, name))
        try:
            return await asyncio.to_thread(
                _read_bitmap, self.daemon.nbd_socket, graph.bitmap_export_name(self.id), name
            )
        finally:
            await self._remove_exports("bitmap")

    async def resize(self, size_bytes: int) -> None:
        """Grow an open disk. NBD exports of it must be away (QEMU refuses); bitmaps grow along."""
        await self.daemon.execute("block_resize", {"node-name": node("top", self.id), "size": size_bytes})

    async def size_bytes(self) -> int:
        """Return the size of an open disk."""
        return int((await self.daemon.nodes())[node("top", self.id)]["image"]["virtual-size"])

    async def set_limits(self, limits: Limits | None) -> None:
        """Change what the disk's throttle group lets through."""
        path = f"/objects/{node('limit', self.id)}"
        value = graph.throttle_limits(limits)
        await self.daemon.execute("qom-set", {"path": path, "property": "limits", "value": value})

    async def export_hydration(self) -> Path | None:
        """Export the disk for hydration, read-only: over NBD, or as a file if the disk itself is one (FUSE).

        Returns:
            The file to read; None if it is the NBD export `graph.hydration_export_name`.
        """
        exports = await self.daemon.exports()
        wanted = "fuse" if _served_as(exports, self.id) == "fuse" else "nbd"
        file = self.daemon.directory / f"{self.id}.pull"
        if node("hydrate", self.id) in exports and exports[node("hydrate", self.id)]["type"] != wanted:
            await self.remove_hydration()
            exports = await self.daemon.exports()
        if node("hydrate", self.id) not in exports:
            if wanted == "nbd":
                await self.daemon.execute("block-export-add", graph.hydration_export(self.id))
            else:
                if node("pull", self.id) not in await self.daemon.nodes():
                    await self.daemon.execute("blockdev-add", graph.pulling_node(self.id))
                file.touch(mode=0o600)
                await self.daemon.execute("block-export-add", graph.pulling_export(self.id, file))
        return file if wanted == "fuse" else None

    async def remove_hydration(self) -> None:
        """Take the hydration export away, whichever it is; who copies through it is cut off."""
        await self._remove_exports("hydrate")
        if node("pull", self.id) in await self.daemon.nodes():
            await self.daemon.execute("blockdev-del", {"node-name": node("pull", self.id)})

    async def export_comparison(self) -> Path | None:
        """Export the disk read-only for Drystone itself, beside its guest: over NBD, or as a file if the disk is one.

        Returns:
            The file to read; None if it is the NBD export `graph.comparison_export_name`.
        """
        exports = await self.daemon.exports()
        wanted = "fuse" if _served_as(exports, self.id) == "fuse" else "nbd"
        file = self.daemon.directory / f"{self.id}.look"
        if node("look", self.id) in exports and exports[node("look", self.id)]["type"] != wanted:
            await self.remove_comparison()
            exports = await self.daemon.exports()
        if node("look", self.id) not in exports:
            if wanted == "nbd":
                await self.daemon.execute("block-export-add", graph.comparison_export(self.id))
            else:
                file.touch(mode=0o600)
                await self.daemon.execute("block-export-add", graph.comparison_file(self.id, file))
        return file if wanted == "fuse" else None

    async def remove_comparison(self) -> None:
        """Take that export away; who reads through it is cut off."""
        await self._remove_exports("look")

    async def drop_backing(self) -> None:
        """End hydration: every block that its source holds is in the image now and flushed; let go of the source.

        What was never copied is zero in the source, and reads as zero without one. So the header forgets the backing
        file, and the open image reads zeros instead until it is closed; a crash in between leaves an image that stands
        alone, which is right.

        The image's own node is not reopened (S92): QEMU 10.0 serves a client that connects at that moment, and to its
        reads the image is corrupt then, and marked so.
        """
        await self.remove_hydration()
        nodes = await self.daemon.nodes()
        if node("back", self.id) not in nodes:
            return
        if "backing-filename" in nodes[node("qcow", self.id)]["image"]:
            await self.daemon.execute(
                "change-backing-file",
                {"device": node("top", self.id), "image-node-name": node("qcow", self.id), "backing-file": ""},
            )
        if node("zeros", self.id) not in nodes:
            size_bytes = nodes[node("back", self.id)]["image"]["virtual-size"]
            await self.daemon.execute("blockdev-add", graph.zeros_node(self.id, size_bytes))
        await self.daemon.execute("blockdev-reopen", {"options": [graph.fill_node(self.id, below="zeros")]})
        await self.daemon.execute("blockdev-del", {"node-name": node("back", self.id)})


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


def _read_bitmap(socket: Path, export: str, name: str) -> Ranges:
    context = dirty_bitmap(name)
    with NbdClient(socket, export, contexts=(context,)) as client:
        extents = client.extents(context, 0, client.size_bytes)
    dirty = extents[(extents[:, 2] & DIRTY) != 0]
    first = dirty[:, 0] // BLOCK_BYTES
    stop = -(-dirty[:, 1] // BLOCK_BYTES)
    return normalize([(int(a), int(b)) for a, b in zip(first, stop, strict=True)])


async def disks_open(daemon: Daemon) -> frozenset[DiskId]:
    """Return the disks of which the daemon has any node."""
    return frozenset(
        DiskId("disk-" + name.partition("-")[2])
        for name in await daemon.nodes()
        if name.partition("-")[0] in {"file", "qcow", "top"}
    )


def _served_as(exports: Mapping[str, dict[str, Any]], disk_id: DiskId) -> str | None:
    entry = exports.get(node("disk", disk_id))
    return None if entry is None else str(entry["type"])

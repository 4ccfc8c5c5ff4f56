"""The QMP arguments of each step, as pure functions. The order of the steps is in `live.py`.

Every node has `discard=unmap`: one without it drops the guest's discards silently. Bitmaps are not stored in the
qcow2: a full file system while QEMU stores them can leave the disk unopenable.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.disk_types import Limits
from drystone.domain.ids import DiskId
from drystone.engine.layout import node
from drystone.engine.luks import LuksKey

TIB = 1 << 40
Arguments = dict[str, Any]
CBW_SECONDS_MAX = 15
"""A guest write waits at most this long for a copy into scratch, then the snapshot is given up (P6).

Half of the 30 s after which Linux gives a SCSI command up. Much shorter would fail snapshots for what is not theirs: a
disk that is busy with writing back takes seconds for a write, whoever asks.
"""
IMAGE_KEY, SCRATCH_KEY = "key", "scrkey"
"""Kinds of secrets: what opens an encrypted disk's image, and the scratch of one frozen view of it."""
LUKS = "luks"
"""Driver of an encrypted scratch."""
RECONNECT_SECONDS = 300
"""How long reads of data that is not there yet wait for the snapshot server to come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """Where a disk that hydrates reads what it does not have yet."""

    socket: Path
    export: str


def throttle_group(disk_id: DiskId, limits: Limits | None, *, kind: str = "limit") -> Arguments:
    """`object-add` of the disk's throttle group, or of `fill_node`'s; without limits it lets everything through."""
    return {"qom-type": "throttle-group", "id": node(kind, disk_id), "limits": throttle_limits(limits)}


def throttle_limits(limits: Limits | None) -> Arguments:
    """The `limits` property of a throttle group; zero means none.

    Bandwidth is limited for reads only. QEMU counts a discarded gigabyte as a written one: with a limit on writes
    `mkfs` took 102 s on a new disk of 10 GiB, and one `fstrim` would have held up all writes for 20 s per 2 GiB.
    """
    iops, read_bytes_per_s = (0, 0) if limits is None else (limits.iops, limits.bytes_per_s)
    # `bps-total` is named so that a daemon that was started with another opinion forgets it.
    return {"iops-total": iops, "bps-total": 0, "bps-read": read_bytes_per_s}


def file_node(disk_id: DiskId, image: Path) -> Arguments:
    """The file: direct I/O, else a freeze waits for the page cache (measured: 0.6 s against 22 ms)."""
    return {
        "driver": "file", "node-name": node("file", disk_id), "filename": str(image),
        "aio": "io_uring", "cache": {"direct": True}, "discard": "unmap",
    }  # fmt: skip


def backing_node(disk_id: DiskId, backing: Backing) -> Arguments:
    """The snapshot that the disk is made from, over NBD. No `open-timeout`: it would block the monitor."""
    return {
        "driver": "nbd", "node-name": node("back", disk_id), "export": backing.export,
        "server": {"type": "unix", "path": str(backing.socket)},
        "read-only": True, "reconnect-delay": RECONNECT_SECONDS,
    }  # fmt: skip


def fill_node(disk_id: DiskId, *, below: str = "back") -> Arguments:
    """A filter between the image and its backing, so that the backing can be replaced by `zeros` in use (S92)."""
    return {
        "driver": "throttle", "node-name": node("fill", disk_id), "throttle-group": node("fill", disk_id),
        "file": node(below, disk_id), "read-only": True,
    }  # fmt: skip


def zeros_node(disk_id: DiskId, size_bytes: int) -> Arguments:
    """What an image that has everything reads where it holds nothing."""
    return {
        "driver": "null-co", "node-name": node("zeros", disk_id), "size": size_bytes, "read-zeroes": True,
        "read-only": True,
    }  # fmt: skip


def secret(disk_id: DiskId, kind: str, key: LuksKey) -> Arguments:
    """`object-add` of what opens an encrypted node of the disk: it goes over the monitor, a socket of ours (S381)."""
    return {"qom-type": "secret", "id": node(kind, disk_id), "data": key.passphrase}


def qcow_node(disk_id: DiskId, *, hydrating: bool, encrypted: bool = False) -> Arguments:
    """The qcow2 node; `backing: None` says that the image stands alone. Never reopened while it is used (S92)."""
    return {
        "driver": "qcow2", "node-name": node("qcow", disk_id), "file": node("file", disk_id),
        "backing": node("fill", disk_id) if hydrating else None,
        "discard": "unmap", "detect-zeroes": "unmap",
        **({"encrypt": {"format": "luks", "key-secret": node(IMAGE_KEY, disk_id)}} if encrypted else {}),
    }  # fmt: skip


def top_node(disk_id: DiskId, *, below: str = "qcow") -> Arguments:
    """The throttle node: every writable export is on it, so that what is put below it sees every write."""
    return {
        "driver": "throttle", "node-name": node("top", disk_id), "throttle-group": node("limit", disk_id),
        "file": node(below, disk_id), "discard": "unmap",
    }  # fmt: skip


def bitmap(disk_id: DiskId, name: str) -> Arguments:
    """A dirty bitmap on the qcow2 node, 4 KiB, in memory only."""
    return {"node": node("qcow", disk_id), "name": name, "granularity": BLOCK_BYTES, "persistent": False}


def bitmap_ref(disk_id: DiskId, name: str) -> Arguments:
    """Name a bitmap for disable or remove."""
    return {"node": node("qcow", disk_id), "name": name}


def merge_back(disk_id: DiskId, *, frozen: str, live: str) -> Arguments:
    """A4 in one transaction: the live bitmap takes what the frozen one held, and the frozen one goes."""
    return {
        "actions": [
            {
                "type": "block-dirty-bitmap-merge",
                "data": {"node": node("qcow", disk_id), "target": live, "bitmaps": [frozen]},
            },
            {"type": "block-dirty-bitmap-remove", "data": bitmap_ref(disk_id, frozen)},
        ]
    }


def scratch_node(disk_id: DiskId, path: Path, *, encrypted: bool = False) -> Arguments:
    """A raw sparse file: unlike a qcow2 it does not grow with the disk (measured at 10 TiB: 33 against 1,342 MiB).

    That of an encrypted disk is LUKS: what guests overwrite is copied there (S381).
    """
    name = {"node-name": node("scratch", disk_id)}
    file = {
        "driver": "file", "filename": str(path), "cache": {"direct": False, "no-flush": True}, "discard": "unmap",
    }  # fmt: skip
    if not encrypted:
        return {**file, **name}
    return {"driver": LUKS, **name, "key-secret": node(SCRATCH_KEY, disk_id), "discard": "unmap", "file": file}


def cbw_node(disk_id: DiskId, size_bytes: int) -> Arguments:
    """The copy-before-write filter: with a full or hanging scratch the snapshot breaks, the guest goes on (P6)."""
    if size_bytes <= 2 * TIB:
        cluster = 1 << 16
    elif size_bytes <= 8 * TIB:
        cluster = 1 << 18
    else:
        cluster = 1 << 20
    return {
        "driver": "copy-before-write", "node-name": node("cbw", disk_id),
        "file": node("qcow", disk_id), "target": node("scratch", disk_id), "discard": "unmap",
        "on-cbw-error": "break-snapshot", "cbw-timeout": CBW_SECONDS_MAX, "min-cluster-size": cluster,
    }  # fmt: skip


def view_node(disk_id: DiskId) -> Arguments:
    """The frozen view."""
    return {
        "driver": "snapshot-access", "node-name": node("view", disk_id),
        "file": node("cbw", disk_id), "discard": "unmap",
    }  # fmt: skip


def view_export(disk_id: DiskId, frozen: str) -> Arguments:
    """The frozen view over NBD with its dirty bitmap.

    Read-only (S128): who has a disk of this daemon over NBD can open this export, too.
    """
    bitmaps = [bitmap_ref(disk_id, frozen)]
    return {**_nbd_export(disk_id, "view", "view", view_export_name(disk_id)), "bitmaps": bitmaps}


def trim_export(disk_id: DiskId, socket: Path) -> Arguments:
    """The frozen view once more, so that what nobody will read can be discarded from it, on a socket of its own."""
    return {
        "type": "vhost-user-blk", "id": node("trim", disk_id), "node-name": node("view", disk_id),
        "addr": {"type": "unix", "path": str(socket)}, "writable": True,
    }  # fmt: skip


def _nbd_export(disk_id: DiskId, kind: str, below: str, name: str, *, writable: bool = False) -> Arguments:
    return {
        "type": "nbd", "id": node(kind, disk_id), "node-name": node(below, disk_id), "name": name, "writable": writable,
    }  # fmt: skip


def _fuse_export(disk_id: DiskId, kind: str, below: str, mountpoint: Path, *, writable: bool = False) -> Arguments:
    return {
        "type": "fuse", "id": node(kind, disk_id), "node-name": node(below, disk_id),
        "mountpoint": str(mountpoint), "writable": writable, "growable": False, "allow-other": "off",
    }  # fmt: skip


def disk_export(disk_id: DiskId) -> Arguments:
    """The disk itself over NBD, above the filter (S7)."""
    return _nbd_export(disk_id, "disk", "top", disk_id, writable=True)


def fuse_export(disk_id: DiskId, mountpoint: Path) -> Arguments:
    """The disk as a file, for a loop device on this host."""
    return _fuse_export(disk_id, "disk", "top", mountpoint, writable=True)


def hydration_export(disk_id: DiskId) -> Arguments:
    """A read-only export of the qcow2 node: CMD_CACHE on it copies from the backing and marks nothing dirty."""
    return {**_nbd_export(disk_id, "hydrate", "qcow", hydration_export_name(disk_id)), "allocation-depth": True}


def pulling_node(disk_id: DiskId) -> Arguments:
    """A copy-on-read filter beside the top node: what is read through it is in the image afterwards, unmarked."""
    return {
        "driver": "copy-on-read",
        "node-name": node("pull", disk_id),
        "file": node("qcow", disk_id),
        "discard": "unmap",
    }


def pulling_export(disk_id: DiskId, mountpoint: Path) -> Arguments:
    """The copy-on-read filter as a read-only file, for disks that are exported by FUSE themselves.

    A writable FUSE export takes the permission to resize, which an NBD export on the same node refuses to share.
    """
    return _fuse_export(disk_id, "hydrate", "pull", mountpoint)


def bitmap_export(disk_id: DiskId, name: str) -> Arguments:
    """A read-only export of the qcow2 node from which a bitmap is read before an orderly stop."""
    bitmaps = [bitmap_ref(disk_id, name)]
    return {**_nbd_export(disk_id, "bitmap", "qcow", bitmap_export_name(disk_id)), "bitmaps": bitmaps}


def comparison_export(disk_id: DiskId) -> Arguments:
    """A read-only export of the qcow2 node, for looking at the disk beside its guest: below its throttle."""
    return _nbd_export(disk_id, "look", "qcow", comparison_export_name(disk_id))


def comparison_file(disk_id: DiskId, mountpoint: Path) -> Arguments:
    """The same as a read-only file, for disks that are exported by FUSE themselves (see `pulling_export`)."""
    return _fuse_export(disk_id, "look", "qcow", mountpoint)


def view_export_name(disk_id: DiskId) -> str:
    """The NBD export name of the frozen view."""
    return f"view-{disk_id}"


def hydration_export_name(disk_id: DiskId) -> str:
    """The NBD export name for hydration."""
    return f"hydrate-{disk_id}"


def bitmap_export_name(disk_id: DiskId) -> str:
    """The NBD export name from which the bitmap is read."""
    return f"bitmap-{disk_id}"


def comparison_export_name(disk_id: DiskId) -> str:
    """The NBD export name under which Drystone itself looks at a disk."""
    return f"look-{disk_id}"

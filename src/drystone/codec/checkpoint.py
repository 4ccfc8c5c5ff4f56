"""The checkpoint file of an orderly stop: dirty blocks bound to one epoch and one state of the image (A10, F4).

Layout: one line of JSON (the head) that ends with the SHA-256 of itself, a newline, then the ranges as little-endian
int64 pairs, whose SHA-256 is in the head. Any damage is seen.
"""

import hashlib
import json

import numpy as np

from drystone.domain.blocks import Ranges, normalize
from drystone.domain.errors import ProtocolError
from drystone.domain.ids import DiskId
from drystone.domain.tracking import CHECKPOINT_FORMAT, Checkpoint, FileIdentity, extents_id


def head(disk_id: DiskId, epoch: int, identity: FileIdentity, ranges: Ranges) -> Checkpoint:
    """Return the head of the checkpoint that binds `ranges` to this disk, epoch and file."""
    return Checkpoint(
        format=CHECKPOINT_FORMAT,
        disk=disk_id,
        epoch=epoch,
        identity=identity,
        extents=extents_name(disk_id, epoch, ranges),
    )


def extents_name(disk_id: DiskId, epoch: int, ranges: Ranges) -> str | None:
    """Return the carry-over id of a disk's extent map, None if it is empty. Two disks never share one."""
    if len(ranges) == 0:
        return None
    return extents_id(hashlib.sha256(f"{disk_id} {epoch} ".encode() + _body(ranges)).hexdigest())


def encode(checkpoint: Checkpoint, ranges: Ranges) -> bytes:
    """Return the file's bytes."""
    body = _body(ranges)
    identity = checkpoint.identity
    fields = {
        "format": checkpoint.format, "disk": checkpoint.disk, "epoch": checkpoint.epoch,
        "identity": [identity.device, identity.inode, identity.size, identity.mtime_ns, identity.ctime_ns],
        "sha256": hashlib.sha256(body).hexdigest(),
    }  # fmt: skip
    text = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
    return text + b" " + hashlib.sha256(text).hexdigest().encode() + b"\n" + body


def decode(data: bytes) -> tuple[Checkpoint, Ranges]:
    """Return what `encode` was given.

    Raises:
        ProtocolError: The bytes are not whole, or not ours. (Another format is for the caller to refuse.)
    """
    line, newline, body = data.partition(b"\n")
    text, _, checksum = line.rpartition(b" ")
    if not newline or hashlib.sha256(text).hexdigest().encode() != checksum:
        raise ProtocolError("checkpoint: the head is damaged")
    try:
        fields = json.loads(text)
        identity = FileIdentity(
            **dict(zip(("device", "inode", "size", "mtime_ns", "ctime_ns"), fields["identity"], strict=True))
        )
        disk_id, epoch, version, wanted = fields["disk"], fields["epoch"], fields["format"], fields["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"checkpoint: the head is not one of ours ({error!r})") from error
    if len(body) % 16 or hashlib.sha256(body).hexdigest() != wanted:
        raise ProtocolError("checkpoint: the ranges are damaged")
    ranges = np.frombuffer(body, dtype="<i8").reshape(-1, 2).astype(np.int64)
    if not np.array_equal(normalize(ranges), ranges):
        raise ProtocolError("checkpoint: the ranges are not sorted and disjoint")
    extents = extents_name(disk_id, epoch, ranges)
    return Checkpoint(format=version, disk=disk_id, epoch=epoch, identity=identity, extents=extents), ranges


def _body(ranges: Ranges) -> bytes:
    return ranges.astype("<i8").tobytes()

"""Manifests: one readable object per snapshot (docs/format.md, "Manifest")."""

import hmac
import re
from typing import Literal

import msgspec

from drystone.codec.hashes import Buffer, HashKeys, seal
from drystone.codec.sealed import FOOT_BYTES, SEALED_FORMAT, Foot, Sealed, Sealing, open_whole
from drystone.codec.wraps import DataKey
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import AccountId, DiskId, PackId, SessionId, SnapshotId, StoreId

MANIFEST_VERSION = 1
ANCESTRY_MAX = 64
MAPS_MAX = 1024
"""Refused beyond this by readers; writers merge long before (design: 24)."""
MANIFEST_BYTES_MAX = 256 << 20

_SEAL_MAGIC = b"DRYSMANI"
_LAST_LINE = re.compile(rb"blake3 ([0-9a-f]{64})\n")
_COMMITMENT = re.compile(r"[0-9a-f]{64}")
_LAST_LINE_BYTES = 7 + 64 + 1


class ManifestMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A map that a snapshot is read through; of a sealed one `commitment` (hex) tells which written object it is."""

    object: str
    kind: Literal["delta", "full"]
    entries: int
    bytes: int
    commitment: str | msgspec.UnsetType = msgspec.UNSET


class ManifestPack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pack that the snapshot's own session wrote."""

    pack: PackId
    object: str
    bytes: int
    blocks: int


class SnapshotRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a snapshot was taken (P7). `stored_bytes` counts its own packs and map."""

    tracking: Literal["full", "delta", "rescan"]
    tracking_reason: str
    read_bytes: int
    changed_bytes: int
    stored_bytes: int
    requests: int
    freeze_ms: float
    consistency: str


class DiskAttributes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a disk made from the snapshot needs to know of its source."""

    type: str
    name: str
    usage: str
    encrypted: bool = False
    """Whether a data key of the disk's own seals the snapshot, which is in a sealed store then (S380)."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A snapshot, readable alone: `maps` newest first, the newest wins, what is in none is zeros (I9)."""

    format: int = MANIFEST_VERSION
    store: StoreId
    snapshot: SnapshotId
    session: SessionId
    account: AccountId
    disk: DiskId
    size_bytes: int
    taken_at: str
    base: SnapshotId | None
    ancestry: tuple[SnapshotId, ...]
    maps: tuple[ManifestMap, ...]
    packs: tuple[ManifestPack, ...]
    record: SnapshotRecord
    disk_attributes: DiskAttributes


class _Version(msgspec.Struct):
    format: int


def encode_manifest(keys: HashKeys, manifest: Manifest) -> bytes:
    """Return the object: indented JSON, a newline, and the line of its seal."""
    assert (fault := _fault(manifest)) is None, fault
    assert manifest.format != SEALED_FORMAT
    body = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    return body + b"blake3 " + seal(keys, (_SEAL_MAGIC, body)).hex().encode() + b"\n"


def decode_manifest(keys: HashKeys, raw: bytes, what: str) -> Manifest:
    """Return the manifest.

    Raises:
        ProtocolError: Not a manifest, or one of a newer format.
        IntegrityError: The seal does not fit.
    """
    last = _LAST_LINE.fullmatch(raw[-_LAST_LINE_BYTES:])
    if last is None or len(raw) > MANIFEST_BYTES_MAX:
        raise ProtocolError(f"{what}: {len(raw)} bytes are not a manifest")
    body = raw[:-_LAST_LINE_BYTES]
    if not hmac.compare_digest(seal(keys, (_SEAL_MAGIC, body)).hex().encode(), last[1]):
        raise IntegrityError(f"{what}: the seal does not fit")
    return _parsed(body, MANIFEST_VERSION, what)


def seal_manifest(sealing: Sealing, manifest: Manifest) -> list[bytes]:
    """Return the object of a manifest of a sealed store."""
    assert (fault := _fault(manifest)) is None, fault
    assert manifest.format == SEALED_FORMAT
    return sealing.seal((), msgspec.json.encode(manifest))


def open_manifest(key: DataKey, what: Sealed, foot: Foot, raw: Buffer) -> Manifest:
    """Return the manifest of a sealed store; `foot` was decoded from `raw`.

    Raises:
        IntegrityError: It is not what was sealed under this name.
        ProtocolError: What was sealed is none, one of another format, or of a disk that the key is not for (S243).
    """
    if len(raw) > MANIFEST_BYTES_MAX + FOOT_BYTES:
        raise ProtocolError(f"{what}: {len(raw)} bytes are not a manifest")
    manifest = _parsed(open_whole(key.key, what, foot, raw), SEALED_FORMAT, str(what))
    if not key.seals(manifest.account, manifest.disk):
        raise ProtocolError(f"{what}: sealed by the key of {key.purpose}, but of {manifest.disk} of {manifest.account}")
    if manifest.disk_attributes.encrypted and key.purpose.disk is None:
        raise ProtocolError(f"{what}: of an encrypted disk, and sealed by the key of {key.purpose}")
    return manifest


def _parsed(body: bytes, expected: int, what: str) -> Manifest:
    try:
        version = msgspec.json.decode(body, type=_Version).format
        if version != expected:
            raise ProtocolError(f"{what}: manifest format {version}, {expected} expected")
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{what}: {error}") from error
    fault = _fault(manifest)
    if fault is not None:
        raise ProtocolError(f"{what}: {fault}")
    return manifest


def _fault(manifest: Manifest) -> str | None:
    """Return what is impossible about a manifest, if anything."""
    numbers = [manifest.size_bytes]
    numbers += [part.bytes for part in manifest.maps]
    numbers += [part.bytes for part in manifest.packs]
    if min(numbers) < 0 or max(numbers) >= 1 << 63:
        return "a size is out of bounds"
    if not 0 < len(manifest.maps) <= MAPS_MAX or len(manifest.ancestry) > ANCESTRY_MAX:
        return f"{len(manifest.maps)} maps, {len(manifest.ancestry)} ancestors"
    sealed = manifest.format == SEALED_FORMAT
    if any(sealed != bool(part.commitment and _COMMITMENT.fullmatch(part.commitment)) for part in manifest.maps):
        return "a map has no commitment, or one that is none"
    if manifest.disk_attributes.encrypted and not sealed:
        return "it is of an encrypted disk and not sealed"
    kinds = [part.kind for part in manifest.maps]
    # Maps below a full one would be read as if it were not complete.
    if "full" in kinds[:-1]:
        return "a full map is not the oldest"
    if (manifest.base is None) != (not manifest.ancestry) or manifest.ancestry[:1] not in (
        (),
        (manifest.base,),
    ):
        return f"ancestry {manifest.ancestry[:1]} does not begin with the base {manifest.base}"
    return None

"""Where a worker finds what its job is about: stores, exports, running disks, files of ranges."""

import msgspec

from drystone.domain.ids import StoreId
from drystone.objects.address import ObjectsAddress


class StoreAddress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store, and where its objects are."""

    objects: ObjectsAddress
    store_id: StoreId


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An NBD export on a unix socket, and the longest wait for any sign of life of its server."""

    socket: str
    export: str
    timeout_s: float = 30.0


class Look(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A running disk, exported read-only for Drystone itself: over NBD, or as a file (FUSE)."""

    nbd: Endpoint | None = None
    file: str | None = None


class RangesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Block ranges in a file, and the SHA-256 that its content must have."""

    path: str
    sha256: str

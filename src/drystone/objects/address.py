"""Where objects are, as a value that can be handed to another process; and the one way to open what is there."""

from pathlib import Path

import msgspec

from drystone.objects.contract import ObjectStore
from drystone.objects.local import LocalStore


class DirectoryAddress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="directory"):
    """A directory of this machine; `floor_bytes` of free space stay untouched."""

    root: str
    floor_bytes: int = 0


ObjectsAddress = DirectoryAddress
"""Any place; each kind has a tag, by which a reader tells which it is."""


def open_objects(address: ObjectsAddress) -> ObjectStore:
    """Open what is at an address.

    Raises:
        UnavailableError: It cannot be used now.
    """
    return LocalStore(Path(address.root), address.floor_bytes)

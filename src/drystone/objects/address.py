"""Where objects are, as a value that can be handed to another process; and the one way to open what is there."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from drystone.objects.hedged import Hedged, Tail
from drystone.objects.limited import Bandwidth, Limited, Limits
from drystone.objects.local import LocalStore
from drystone.objects.measured import Measured, Tally
from drystone.objects.placed import Placed
from drystone.objects.retained import Waiting
from drystone.objects.retrying import ATTEMPTS, Retrying

if TYPE_CHECKING:
    from drystone.objects.contract import ObjectStore


class DirectoryAddress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="directory"):
    """A directory of this machine.

    Attributes:
        root: Its path.
        floor_bytes: So much free space stays untouched.
        seal_keys: Directory of the key-encryption keys of the sealed store that is there; empty: it is in clear.
    """

    root: str
    floor_bytes: int = 0
    seal_keys: str = ""

    def __str__(self) -> str:
        """Return its path."""
        return self.root


class S3Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="s3"):
    """A bucket, or what is below a prefix of it. It is told to processes, and logged: keys are not part of it.

    Attributes:
        bucket: Its name.
        prefix: Names of objects begin with this and a slash; empty for none.
        region: Of the service; signatures name it.
        endpoint: URL of a service that is not AWS.
        ca_file: Certificates to trust beside the system's.
        keys_file: Has `AWS_ACCESS_KEY_ID=` and `AWS_SECRET_ACCESS_KEY=`, each on a line; without it they come from the
            environment.
        path_style: Whether the bucket's name is part of the path, and not of the host's name.
        limits: What all who share `bandwidth_file` may send and receive together.
        first: Whether guests wait for what is asked for: it does not wait for the others.
        bandwidth_file: Where they tell each other what they have spent.
        cache_directory: Where those who serve content keep what they read before; empty: nowhere.
        seal_keys: As of a directory.
    """

    bucket: str
    prefix: str = ""
    region: str = "us-east-1"
    endpoint: str | None = None
    ca_file: str | None = None
    keys_file: str | None = None
    path_style: bool = True
    limits: Limits = Limits()
    first: bool = False
    bandwidth_file: str = ""
    cache_directory: str = ""
    seal_keys: str = ""

    def __str__(self) -> str:
        """Return its URL."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


ObjectsAddress = DirectoryAddress | S3Address
"""Any place; each kind has a tag, by which a reader tells which it is."""


def open_objects(
    address: ObjectsAddress, tally: Tally | None = None, *, attempts: int = ATTEMPTS, hedged: bool = False
) -> "ObjectStore":
    """Open what is at an address.

    Args:
        address: Where.
        tally: Counts the requests to a bucket, and knows which deletions it refuses for now.
        attempts: How often a request to a bucket that does not answer is made at most.
        hedged: Whether reads of a bucket that take far longer than others are asked for twice: guests wait for them.

    Raises:
        UnavailableError: It cannot be used now.
    """
    if isinstance(address, DirectoryAddress):
        return Placed(inner=LocalStore(Path(address.root), address.floor_bytes))
    from drystone.objects.s3 import S3Store  # noqa: PLC0415 - only those who have a bucket wait for the library

    objects: ObjectStore = S3Store(address)
    if tally is not None:
        objects = Measured(inner=objects, store=str(address), tally=tally)
    if address.limits.any:
        bandwidth = Bandwidth(limits=address.limits, file=Path(address.bandwidth_file))
        objects = Limited(inner=objects, bandwidth=bandwidth, first=address.first)
    if hedged:
        objects = Hedged(inner=objects, tail=Tail())
    objects = Retrying(inner=Placed(inner=objects), attempts=attempts)
    return objects if tally is None else Waiting(inner=objects, pending=tally.pending)

"""The names of resources in six segments, as clients spell them. Pure.

`qcs::cvm:ap-local:uin/:volume/disk-1` is Terraform's spelling, `qcs::cbs:ap-local::instance/disk-1` is Cloud
Custodian's, which calls a snapshot `qcs::cbs:ap-local::volume/snap-1`. So the id says what a resource is, and the word
before it nothing.
"""

import re
from collections.abc import Mapping, Sequence

from drystone.api.refusals import WireError

SERVICES = frozenset({"cvm", "cbs"})
"""Whose resources disks and snapshots are."""
_NAME = re.compile(r"qcs:[^:]*:([^:]*):([^:]*):([^:]*):([^:/]+)/([^:/]+)", re.ASCII)


def resource_id(name: str, *, region: str, account_id: str) -> str:
    """Return the id of the disk or snapshot that is named so; for what is elsewhere, or another account's, the name.

    A name has no place among ids, so it is a resource that there is not.

    Raises:
        WireError: `InvalidParameterValue.ResourceDescriptionError` for what is no name.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise WireError(
            "InvalidParameterValue.ResourceDescriptionError",
            f"`{name[:120]}` is not the name of a resource, such as "
            f"`qcs::cvm:{region}:uin/{account_id}:volume/disk-xxxxxxxx`.",
        )
    service, of_region, owner, _, own_id = match.groups()
    here = service in SERVICES and of_region in {"", region}
    return own_id if here and owner in {"", "uin/", f"uin/{account_id}"} else name


def resource_ids(names: Sequence[str], *, region: str, account_id: str) -> Mapping[str, str]:
    """Return the id for each name, in their order.

    Raises:
        WireError: As `resource_id`.
    """
    return {name: resource_id(name, region=region, account_id=account_id) for name in names}


def last_segment(name: str) -> str:
    """Return the id in a name, for the trail; of what is no name, all of it."""
    return name.rpartition("/")[2]


def name_of(own_id: str, *, region: str, account_id: str) -> str:
    """Return the name of a disk or snapshot that nobody has spelt yet."""
    kind = "volume" if own_id.startswith("disk-") else "snapshot"
    return f"qcs::cvm:{region}:uin/{account_id}:{kind}/{own_id}"

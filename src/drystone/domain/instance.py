"""Instances: what disks are attached to."""

from dataclasses import dataclass
from enum import StrEnum

from drystone.domain.ids import AccountId, InstanceId


class InstanceKind(StrEnum):
    """How an instance is given its disks."""

    HOST = "HOST"
    """This machine: its disks become block devices here."""
    NBD = "NBD"
    """A VM or a tool: its disks are served as NBD on unix sockets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Something of this installation that disks are attached to."""

    id: InstanceId
    account_id: AccountId
    name: str
    kind: InstanceKind
    zone: str
    created_at: float

"""Who owns resources, and the keys that requests are signed with."""

from dataclasses import dataclass, field

from drystone.domain.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An owner of disks, snapshots and instances; `admin` may also see the host and manage accounts."""

    id: AccountId
    name: str
    admin: bool
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskQuota:
    """What an account may have of disks; None is what the configuration says, 0 is no limit."""

    account_id: AccountId
    disks: int | None
    disk_gib: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key pair of an account. The secret is needed in the clear to check signatures; it is never printed."""

    secret_id: str
    secret_key: str = field(repr=False)
    account_id: AccountId
    enabled: bool = True
    created_at: float
    made_by: str | None = None
    """The key, or the browser's session as the trail calls it, that made it; None for the server itself."""

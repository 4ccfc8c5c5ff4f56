"""A snapshot that another account may make disks from."""

from dataclasses import dataclass

from drystone.domain.ids import AccountId, SnapshotId


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Says that an account may make disks from a snapshot that is another's; nothing else of it is the account's."""

    snapshot_id: SnapshotId
    account_id: AccountId
    """Who may."""
    created_at: float
    """Seconds since the epoch, UTC."""

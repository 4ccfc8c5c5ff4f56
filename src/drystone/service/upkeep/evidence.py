"""What a recovery has found outside the catalog, and what it reports of what it did."""

from dataclasses import dataclass, field
from datetime import datetime

from drystone.domain.account import AccessKey
from drystone.domain.ids import AccountId, IdSource
from drystone.domain.times import clamped
from drystone.engine.descriptions import FoundDisk, UnfitDisk
from drystone.snapstore.account_names import AccountName
from drystone.snapstore.inventory import Inventory


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found outside the catalog."""

    inventory: Inventory
    accounts: tuple[AccountName, ...]
    """The accounts' names, as the store has them."""
    found: tuple[FoundDisk | UnfitDisk, ...]
    zone: str
    """Zone of what says none itself."""
    store_epoch: int
    reason: str
    """What is being done, for the rows that say so."""

    def first_seen(self) -> dict[AccountId, float]:
        """Return the accounts that a manifest or a disk names, and since when there is something of them."""
        found: dict[AccountId, float] = {}
        for one in self.inventory.snapshots:
            seen = seconds(one.manifest.taken_at)
            found[one.manifest.account] = min(seen, found.get(one.manifest.account, seen))
        for disk in self.found:
            if isinstance(disk, FoundDisk):
                seen, account_id = disk.description.created_at, disk.description.account_id
                found[account_id] = min(seen, found.get(account_id, seen))
        return found

    def new_keys(self, ids: IdSource, *, at: float) -> dict[AccountId, AccessKey]:
        """Return a key for each account that may have to be made: a secret is not drawn in a transaction."""
        wanted = {*self.first_seen(), *(name.id for name in self.accounts)}
        return {
            account_id: AccessKey(
                secret_id=ids.secret_id(), secret_key=ids.secret_key(), account_id=account_id, created_at=at
            )
            for account_id in sorted(wanted)
        }


@dataclass(slots=True, kw_only=True)
class Report:
    """What was done, for the person who must confirm it."""

    snapshots_imported: list[str] = field(default_factory=list)
    snapshots_gone: list[str] = field(default_factory=list)
    snapshots_suspect: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    disks_adopted: list[str] = field(default_factory=list)
    disks_gone: list[str] = field(default_factory=list)
    disks_unfit: list[str] = field(default_factory=list)
    operations_given_up: list[str] = field(default_factory=list)
    accounts_made: list[str] = field(default_factory=list)
    keys: list[AccessKey] = field(default_factory=list)
    """Of the accounts that were made; their secrets are shown once."""


def seconds(text: str) -> float:
    """Return an ISO 8601 time as seconds since the epoch; one that cannot be read is the epoch's begin."""
    try:
        return clamped(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return 0.0

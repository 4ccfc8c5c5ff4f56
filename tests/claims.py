"""Claims to a store that a test makes in somebody's name."""

from dataclasses import replace

from drystone.domain.claim import Claim
from drystone.snapstore.claims import list_claims, write_claim
from drystone.snapstore.store import Store, read_mark

NOBODY = "0" * 32
INCARNATION = "1c" * 16


def newest_claim(store: Store) -> Claim:
    """The last one; of a store that nobody has claimed, what its maker might have claimed first."""
    before = Claim(epoch=0, owner=read_mark(store), incarnation=INCARNATION)
    return max(list_claims(store), key=lambda one: one.epoch, default=before)


def owner_of(store: Store) -> str:
    return newest_claim(store).owner


def claim_on(store: Store, by: int = 1, **other: str) -> int:
    """Claim as the last claimant, or another, would do later."""
    last = newest_claim(store)
    claim = replace(last, epoch=last.epoch + by, **other)
    write_claim(store, claim)
    return claim.epoch

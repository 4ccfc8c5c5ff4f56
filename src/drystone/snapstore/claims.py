"""Claims as objects: names below `epochs/`, of which each is written once (docs/format.md, S200)."""

import contextlib
import re
from collections.abc import Iterable

from drystone.domain.claim import Claim, Claimant, Standing, held_before, standing, standing_before
from drystone.domain.errors import ProtocolError, RetainedError, StoreUnavailableError
from drystone.objects.contract import NotFoundError
from drystone.snapstore.store import StaleEpochError, Store, put_name, read_mark, read_numbered_epoch


class UnlistedClaimError(StoreUnavailableError):
    """A store does not list a claim that was written: its listing is behind, or somebody removed it."""


_NAME = re.compile(r"([0-9]{20})\.([0-9a-f]{32})\.([0-9a-f]{32})")


def list_claims(store: Store) -> tuple[Claim, ...]:
    """Return all claims to a store, by one listing; of one that no program has claimed so far, none.

    Raises:
        ProtocolError: A name is none of a claim: whoever wrote it may have the store.
    """
    prefix = store.name("epochs", "")
    found = []
    for entry in store.objects.list(prefix):
        parts = _NAME.fullmatch(entry.name.removeprefix(prefix))
        if parts is None:
            raise ProtocolError(f"{entry.name} is no claim that this program knows")
        found.append(Claim(epoch=int(parts[1]), owner=parts[2], incarnation=parts[3]))
    return tuple(found)


def write_claim(store: Store, claim: Claim) -> None:
    """Claim a store; durable on return. The name says all, so one that is there already is as good."""
    put_name(store, _name(store, claim))


def remove_claims(store: Store, claims: Iterable[Claim]) -> None:
    """Remove claims that newer ones have followed, or that whoever made them takes back."""
    for claim in claims:
        # One that the store keeps for now says nothing new: it goes with later ones.
        with contextlib.suppress(RetainedError):
            store.objects.delete(_name(store, claim))


def hold(store: Store, claimant: Claimant, epoch: int, *, held: int = -1) -> tuple[Claim, ...]:
    """Have the store say that it is the claimant's at `epoch`, and see that it is nobody else's (S200).

    Args:
        store: It was opened by whoever may claim it.
        claimant: Who claims.
        epoch: Of its catalog.
        held: The last epoch at which it was seen to hold the store since it began; -1 before.

    Returns:
        Claims that this one has followed.

    Raises:
        StaleEpochError: Somebody else has claimed it. What this one wrote was taken back.
        UnlistedClaimError: The listing does not show the claim, and the store is there.
        StoreUnavailableError: It shows that alone, which was taken back: it is another place than the one that was held
            before. Or the store is not there.
    """
    mine, written = claimant.claim(epoch), held == epoch
    if not written:
        write_claim(store, mine)
    listed = list_claims(store)
    found = standing(claimant, epoch, listed)
    if found is Standing.TAKEN:
        if not written:
            remove_claims(store, [mine])
        raise StaleEpochError(
            f"the snapshot store {store.store_id} was claimed by {_said(claimant, listed)}; this catalog is at {epoch}"
        )
    if found is Standing.UNSEEN:
        read_mark(store)
        raise UnlistedClaimError(
            f"the snapshot store {store.store_id} does not list the claim {_name(store, mine)}: its listing is behind, "
            "or somebody removed it"
        )
    if not held_before(claimant, listed, held):
        if not written:
            remove_claims(store, [mine])
        read_mark(store)
        raise StoreUnavailableError(
            f"the snapshot store {store.store_id} lists no earlier claim of this catalog: it is another place of the "
            "same name, or was emptied; look what became of it"
        )
    return tuple(one for one in listed if one.epoch < epoch)


def _said(claimant: Claimant, listed: Iterable[Claim]) -> str:
    newest = max(listed, key=lambda one: (one.owner != claimant.owner, one.epoch))
    who = "another state of this catalog" if newest.owner == claimant.owner else "another catalog"
    return f"{who} at epoch {newest.epoch}"


def standing_at_start(store: Store, claimant: Claimant, epoch: int) -> Standing:
    """Return what a catalog at `epoch` is to a store, before it begins another incarnation (S200).

    A store of the format before, and one that was never claimed, is the catalog's that its mark names.
    """
    listed = list_claims(store)
    if listed or claimant.confirmed is not None:
        return standing_before(claimant, epoch, listed)
    ours = read_mark(store) == claimant.owner and claimed_epoch(store) <= epoch
    return Standing.HELD if ours else Standing.TAKEN


def claimed_epoch(store: Store) -> int:
    """Return the highest epoch that anybody has claimed; of a store that was never claimed, 0."""
    claims = list_claims(store)
    if claims:
        return max(one.epoch for one in claims)
    try:
        return read_numbered_epoch(store)
    except NotFoundError:
        return 0


def owned_by_another(store: Store, owner: str) -> bool:
    """Tell whether another catalog has claimed a store last; of one without claims, whether another made it."""
    claims = list_claims(store)
    if not claims:
        return read_mark(store) != owner
    newest = max(one.epoch for one in claims)
    return any(one.owner != owner for one in claims if one.epoch == newest)


def _name(store: Store, claim: Claim) -> str:
    return store.name("epochs", f"{claim.epoch:020d}.{claim.owner}.{claim.incarnation}")

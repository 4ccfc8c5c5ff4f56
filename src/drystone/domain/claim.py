"""Whose a store is, decided by the names of claims that a listing shows (F5, F6, S200)."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim to a store, which is a name and nothing else.

    Attributes:
        epoch: Of the catalog that makes it.
        owner: Id of that catalog, which its copies share.
        incarnation: Id of one start of it, which nobody shares.
    """

    epoch: int
    owner: str
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incarnation:
    """One start of a catalog.

    Attributes:
        id: Random.
        first: The epoch of its first claim. Whatever another claims from there on was claimed after, or beside it.
    """

    id: str
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """What a catalog's rows say of its claims.

    Attributes:
        owner: The catalog's id.
        confirmed: The last incarnation whose claim it has seen in the store; None before the first.
        pending: Those since, the running one last; the claims of some may be in the store, or get there late.
    """

    owner: str
    confirmed: Incarnation | None = None
    pending: tuple[Incarnation, ...] = ()

    @property
    def known(self) -> tuple[Incarnation, ...]:
        """All of them, in their order."""
        return (*(() if self.confirmed is None else (self.confirmed,)), *self.pending)

    @property
    def current(self) -> Incarnation | None:
        """The running incarnation."""
        return self.known[-1] if self.known else None

    def claim(self, epoch: int) -> Claim:
        """Return the claim of the running incarnation at an epoch."""
        assert self.current is not None
        return Claim(epoch=epoch, owner=self.owner, incarnation=self.current.id)

    def begun(self, incarnation: str, epoch: int) -> "Claimant":
        """Return what the rows say once another start has begun, whose first claim is of `epoch`."""
        return replace(self, pending=(*self.pending, Incarnation(id=incarnation, first=epoch)))

    def seen(self) -> "Claimant":
        """Return what the rows say once the running incarnation was found to hold the store."""
        return replace(self, confirmed=self.current, pending=())


class Standing(Enum):
    """What a claimant is to a store."""

    HELD = "held"
    TAKEN = "another catalog, or another state of this one, has claimed it"
    UNSEEN = "its claim is not there"


def standing(claimant: Claimant, epoch: int, listed: Collection[Claim]) -> Standing:
    """Return what the running incarnation is to the store, after its claim of `epoch` was written (S200).

    A listing that lacks just that claim is behind, and may lack another's, too.
    """
    if _taken(claimant, epoch, listed):
        return Standing.TAKEN
    return Standing.HELD if claimant.claim(epoch) in listed else Standing.UNSEEN


def held_before(claimant: Claimant, listed: Collection[Claim], held: int) -> bool:
    """Tell whether a listing shows that this is the place which the catalog has held before (S200).

    What the running incarnation has just written shows nothing: it can be written to any place of that name.

    Args:
        claimant: Who claims.
        listed: What the store shows.
        held: The last epoch at which the running incarnation was seen to hold the store; -1 before.
    """
    if claimant.confirmed is None:
        return True
    running, before = claimant.known[-1].id, {one.id for one in claimant.known[:-1]}
    return any(
        one.owner == claimant.owner
        and (one.incarnation in before or (one.incarnation == running and one.epoch <= held))
        for one in listed
    )


def standing_before(claimant: Claimant, epoch: int, listed: Collection[Claim]) -> Standing:
    """Return what a catalog at `epoch` is to the store, before it begins another incarnation (S200)."""
    if _taken(claimant, epoch, listed):
        return Standing.TAKEN
    names = {(claimant.owner, one.id) for one in claimant.known}
    seen = any((one.owner, one.incarnation) in names for one in listed)
    return Standing.HELD if seen or claimant.confirmed is None else Standing.UNSEEN


def _taken(claimant: Claimant, epoch: int, listed: Collection[Claim]) -> bool:
    """Tell whether somebody else has claimed since the last incarnation that was seen to hold the store.

    An incarnation ends where the next one begins: what it claims from there on is a copy's, which runs beside. The
    running one has claimed nothing above the catalog's epoch, unless the catalog went back.
    """
    known = claimant.known
    ends: dict[tuple[str, str], int | None] = {(claimant.owner, one.id): after.first for one, after in pairwise(known)}
    ends |= {(claimant.owner, one.id): None for one in known[-1:]}
    since = known[0].first if known else 0
    for one in listed:
        end = ends.get((one.owner, one.incarnation), since)
        if one.epoch > epoch or (end is not None and one.epoch >= end):
            return True
    return False

"""How old the newest snapshot of a disk may be by the policies that it is bound to (its recovery point)."""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from math import inf

from drystone.domain.ids import PolicyId
from drystone.domain.policy import Policy
from drystone.domain.schedule import slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What the policies of a disk that are switched on promise, and whether it is kept."""

    policy_ids: tuple[PolicyId, ...] = ()
    """None: no policy covers the disk."""
    next_at: int | None = None
    """When one of them is due next."""
    behind: bool = False
    """Whether its last good snapshot is older than one of them promises."""


NOTHING = Promise()


@lru_cache(maxsize=65_536)
def kept_until(policy: Policy, since: float) -> float:
    """Return until when a policy keeps its promise without a snapshot that is newer than this (S322).

    The next slot after it has to be there by half of the time to the one that follows: as long a run is tried again.
    """
    ahead = list(islice(slots(replace(policy, active=True), since), 2))
    return ahead[0] + (ahead[1] - ahead[0]) / 2 if len(ahead) == 2 else inf

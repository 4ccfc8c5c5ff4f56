"""An entry of the trail of calls."""

from dataclasses import dataclass

from drystone.domain.ids import AccountId

OK = "OK"
"""The code of a call that was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailEntry:
    """One call that changed something or tried to, or a number of refused ones."""

    id: int | None = None
    """The higher, the newer; None before it is kept."""
    at: float
    account_id: AccountId
    secret_id: str
    action: str
    request_id: str
    resource: str
    """Ids of what it was about, with spaces between; empty when there is none."""
    code: str
    """The error code, or `OK`."""
    source: str
    """The caller's address."""
    calls: int = 1
    """How many calls it stands for: of refused ones, only so many have entries of their own."""

"""What is known of senders before and after they are verified: failed tries by address, signatures that were used.

In bounded memory; both belong to the event loop's thread, and nothing here awaits.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from drystone.api.admission import network_of
from drystone.api.limits import TokenBuckets
from drystone.api.refusals import WireError

FAILURES: Final = 500
FAILURES_PER_S: Final = 20.0
"""Of one address: calls that end before their sender is known. Some fail in good faith: a wrong key in a loop."""
SPENT_BODY_BYTES_MAX: Final = 64 << 10
"""Of a call whose key has no tries left: to verify it costs less than to refuse its owner."""
SIGNATURES_MAX: Final = 200_000
"""Signatures that are remembered, for up to ten minutes each: 300 calls a second."""


class Tries:
    """Bounds the calls of one address that fail before they are verified (S147).

    A try is taken before anything costly, and given back when the signature holds. The address has tries for calls
    with keys that there are not; each key that there is has tries of its own at each address. Nobody behind the same
    address, with or without such a key's id, can use up those by which its owner calls.
    """

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._buckets = TokenBuckets(monotonic=monotonic)

    def take(self, address: str, *secret_id: str) -> bool:
        """Take a try of the address, or of a key there that there is; return whether there was one."""
        return not self._buckets.take((network_of(address), *secret_id), rate_per_s=FAILURES_PER_S, burst=FAILURES)

    def give_back(self, address: str, *secret_id: str) -> None:
        """Give a try back that was taken."""
        self._buckets.give_back((network_of(address), *secret_id), burst=FAILURES)


def too_many(address: str) -> WireError:
    """Return how a call is refused for which there are no tries left."""
    return WireError(
        "RequestLimitExceeded",
        f"Too many calls from {address} failed to authenticate; check the keys that are used there.",
    )


@dataclass(slots=True, kw_only=True, eq=False)
class UsedSignatures:
    """Refuses a signature that another address has used (S148).

    TC3 has no nonce, its stamp is a second, and the action is usually not signed: two honest calls of one client may
    bear one signature, so the same address may use it again. Where `x-tc-action` is signed, another action has another
    signature already. Only signatures that hold are remembered, so nobody without a key fills the memory.
    """

    monotonic: Callable[[], float]
    """A clock in seconds that never goes back. A time stamp is read by two clocks that may differ, so neither of them
    says how long ago a signature was seen.
    """
    _used: OrderedDict[str, tuple[str, float]] = field(init=False, default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._used)

    def admit(self, signature: str, address: str, *, for_s: float) -> None:
        """Remember a signature that holds.

        Args:
            signature: As it was sent, in its one form.
            address: Who sent it.
            for_s: How long its time stamp is accepted from now on, by any clock.

        Raises:
            WireError: `AuthFailure.SignatureFailure`: another address has used it.
        """
        now_s = self.monotonic()
        used = self._used.get(signature)
        if used is not None and used[0] != address and used[1] >= now_s:
            raise WireError(
                "AuthFailure.SignatureFailure",
                "This signature was used from another address. Sign each request anew; a request must not be resent "
                "from elsewhere.",
            )
        if used is None or used[1] < now_s:
            self._used[signature] = (address, now_s + for_s)
            self._used.move_to_end(signature)
        while self._used and (len(self._used) > SIGNATURES_MAX or next(iter(self._used.values()))[1] < now_s):
            self._used.popitem(last=False)

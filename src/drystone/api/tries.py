"""What is known of senders before and after they are verified: failed tries by address, signatures that were used.

In bounded memory; both belong to the event loop's thread, and nothing here awaits.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from drystone.api.admission import network_of
from drystone.api.limits import TokenBuckets
from drystone.domain.errors import RefusalError

FAILURES: Final = 500
FAILURES_PER_S: Final = 20.0
"""Of one address: calls that end before their sender is known. Some fail in good faith: a wrong key in a loop."""
KNOWN_MAX: Final = 10_000
"""Pairs of address and key that called before."""
SIGNATURES_MAX: Final = 200_000
"""Signatures that are remembered, for up to ten minutes each: 300 calls a second."""


class Tries:
    """Bounds the calls of one address that fail before they are verified (S147).

    A try is taken before anything costly, and given back when the signature holds. A key that has called from an
    address before has tries of its own there: who fails behind the same address does not use them up.

    Args:
        monotonic: A clock in seconds that never goes back.
    """

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._buckets = TokenBuckets(monotonic=monotonic)
        self._known: OrderedDict[tuple[str, ...], None] = OrderedDict()

    def begin(self, address: str, secret_id: str) -> tuple[str, ...]:
        """Take a try; return whose it is.

        Raises:
            RefusalError: `RequestLimitExceeded`.
        """
        pair = (network_of(address), secret_id)
        key = pair if pair in self._known else pair[:1]
        if self._buckets.take(key, rate_per_s=FAILURES_PER_S, burst=FAILURES):
            raise RefusalError(
                "RequestLimitExceeded",
                f"Too many calls from {address} failed to authenticate; check the keys that are used there.",
            )
        return key

    def succeeded(self, taken: tuple[str, ...], address: str, secret_id: str) -> None:
        """Give a try back: the signature holds."""
        self._buckets.give_back(taken, burst=FAILURES)
        pair = (network_of(address), secret_id)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)


class UsedSignatures:
    """Refuses a signature that another address has used (S148).

    TC3 has no nonce, its stamp is a second, and the action is usually not signed: two honest calls of one client may
    bear one signature, so the same address may use it again. Where `x-tc-action` is signed, another action has another
    signature already. Only signatures that hold are remembered, so nobody without a key fills the memory.
    """

    def __init__(self) -> None:
        self._used: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._used)

    def admit(self, signature: str, address: str, *, until_s: float, now_s: float) -> None:
        """Remember a signature that holds.

        Args:
            signature: As it was sent, in its one form.
            address: Who sent it.
            until_s: When its time stamp is refused by itself.
            now_s: The server's clock.

        Raises:
            RefusalError: `AuthFailure.SignatureFailure`: another address has used it.
        """
        used = self._used.get(signature)
        if used is not None and used[0] != address and used[1] >= now_s:
            raise RefusalError(
                "AuthFailure.SignatureFailure",
                "This signature was used from another address. Sign each request anew; a request must not be resent "
                "from elsewhere.",
            )
        if used is None or used[1] < now_s:
            self._used[signature] = (address, until_s)
            self._used.move_to_end(signature)
        while self._used and (len(self._used) > SIGNATURES_MAX or next(iter(self._used.values()))[1] < now_s):
            self._used.popitem(last=False)

"""What one account may ask for: request rates by token buckets, and calls in progress, in bounded memory."""

import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from drystone.api.refusals import WireError

BUCKETS_MAX = 10_000
"""An idle bucket is full again after one second, so forgetting the least recently used one gives nothing away."""


class TokenBuckets:
    """Token buckets by key, in bounded memory; the least recently used one is forgotten, and so full again.

    It belongs to the event loop's thread: nothing here awaits, so calls cannot interleave.
    """

    def __init__(self, *, monotonic: Callable[[], float], buckets_max: int = BUCKETS_MAX) -> None:
        assert buckets_max >= 1
        self._monotonic = monotonic
        self._buckets_max = buckets_max
        self._buckets: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: tuple[str, ...], *, rate_per_s: float, burst: float) -> float:
        """Take a token of this key if there is one.

        Returns:
            0 if one was taken; otherwise none was, and in so many seconds there will be one.
        """
        now_s = self._monotonic()
        tokens, since_s = self._buckets.get(key, (burst, now_s))
        tokens = min(burst, tokens + (now_s - since_s) * rate_per_s)
        taken = tokens >= 1
        self._buckets[key] = (tokens - 1 if taken else tokens, now_s)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._buckets_max:
            self._buckets.popitem(last=False)
        return 0.0 if taken else (1 - tokens) / rate_per_s

    def give_back(self, key: tuple[str, ...], *, burst: float) -> None:
        """Put a token back that was taken."""
        if key in self._buckets:
            tokens, since_s = self._buckets[key]
            self._buckets[key] = (min(burst, tokens + 1), since_s)


@dataclass(slots=True, kw_only=True, eq=False)
class RateLimiter:
    """Admits so many calls per second of one account, of one action and of all, with a burst of one second's worth."""

    rate_per_s: float
    """The limit of an action that `rates_per_s` does not name."""
    rates_per_s: Mapping[str, float]
    rate_per_account_s: float
    """The limit of all actions together."""
    monotonic: Callable[[], float]
    buckets_max: int = BUCKETS_MAX
    """How many pairs of account and action are remembered."""
    _buckets: TokenBuckets = field(init=False)

    def __post_init__(self) -> None:
        assert all(rate >= 1 for rate in (self.rate_per_s, *self.rates_per_s.values()))
        self._buckets = TokenBuckets(monotonic=self.monotonic, buckets_max=self.buckets_max)

    def __len__(self) -> int:
        return len(self._buckets)

    def admit(self, account_id: str, action: str) -> None:
        """Take one token, or refuse the call and take none.

        Raises:
            WireError: `RequestLimitExceeded`.
        """
        rate = self.rates_per_s.get(action, self.rate_per_s)
        if self._buckets.take((account_id, action), rate_per_s=rate, burst=rate) > 0:
            raise WireError(
                "RequestLimitExceeded",
                f"{action} is limited to {rate:g} calls per second for one account; slow down and try again.",
            )
        together = self.rate_per_account_s
        if self._buckets.take((account_id,), rate_per_s=together, burst=together) > 0:
            self._buckets.give_back((account_id, action), burst=rate)
            raise WireError(
                "RequestLimitExceeded.UinLimitExceeded",
                f"One account may send {together:g} calls per second, of all actions; slow down and try again.",
            )


class CallsInProgress:
    """Counts the calls in progress of each account, so that one that sends slow calls leaves room for others (S156)."""

    def __init__(self, *, calls_max: int) -> None:
        assert calls_max >= 1
        self._calls_max = calls_max
        self._calls: Counter[str] = Counter()

    @contextlib.contextmanager
    def hold(self, account_id: str) -> Iterator[None]:
        """Count a call while the block runs.

        Raises:
            WireError: `RequestLimitExceeded`: too many are in progress; this one was not begun.
        """
        if self._calls[account_id] >= self._calls_max:
            raise WireError(
                "RequestLimitExceeded",
                f"{self._calls_max} calls of this account are in progress; wait for some of them, then try again.",
            )
        self._calls[account_id] += 1
        try:
            yield
        finally:
            self._calls[account_id] -= 1
            if not self._calls[account_id]:
                del self._calls[account_id]

import pytest

from drystone.api.limits import CallsInProgress, RateLimiter
from drystone.api.refusals import WireError


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def limiter(clock: Clock, *, buckets_max: int = 100) -> RateLimiter:
    return RateLimiter(
        rate_per_s=20,
        rates_per_s={"DescribeDisks": 100},
        rate_per_account_s=1000,
        monotonic=clock,
        buckets_max=buckets_max,
    )


def admitted(limits: RateLimiter, calls: int, *, account: str = "1", action: str = "CreateDisks") -> int:
    count, codes = 0, set[str]()
    for _ in range(calls):
        try:
            limits.admit(account, action)
            count += 1
        except WireError as refusal:
            codes.add(refusal.code)
    assert codes <= {"RequestLimitExceeded"}
    return count


def test_a_burst_of_one_second_and_no_more() -> None:
    limits = limiter(Clock())
    assert admitted(limits, 500) == 20
    assert admitted(limits, 500, action="DescribeDisks") == 100


def test_tokens_come_back_at_the_rate() -> None:
    clock = Clock()
    limits = limiter(clock)
    admitted(limits, 500)
    clock.now_s += 0.25
    assert admitted(limits, 500) == 5
    clock.now_s += 3600
    assert admitted(limits, 500) == 20


def test_accounts_and_actions_do_not_share() -> None:
    limits = limiter(Clock())
    admitted(limits, 500)
    assert admitted(limits, 500, account="2") == 20
    assert admitted(limits, 500, action="ResizeDisk") == 20


def test_over_a_long_time_the_rate_holds() -> None:
    clock = Clock()
    limits = limiter(clock)
    total = 0
    for _ in range(1000):
        total += admitted(limits, 3)
        clock.now_s += 0.01
    assert 20 + 198 <= total <= 20 + 200


def test_memory_is_bounded_and_forgets_the_longest_idle() -> None:
    limits = limiter(Clock(), buckets_max=10)
    assert admitted(limits, 20, account="busy") == 20
    for account in range(100):
        admitted(limits, 1, account=str(account))
        assert len(limits) <= 10
        assert admitted(limits, 1, account="busy") == 0


def test_all_actions_of_one_account_together_have_a_limit() -> None:
    clock = Clock()
    limits = RateLimiter(rate_per_s=20, rates_per_s={}, rate_per_account_s=50, monotonic=clock)
    codes = []
    for number in range(100):
        try:
            limits.admit("1", f"Action{number}")
        except WireError as refusal:
            codes.append(refusal.code)
    assert codes == ["RequestLimitExceeded.UinLimitExceeded"] * 50
    limits.admit("2", "Action1")
    clock.now_s += 0.1
    assert admitted(limits, 3, account="1", action="Action99") == 3


def test_calls_in_progress_of_one_account_leave_room_for_others() -> None:
    calls = CallsInProgress(calls_max=2)
    with calls.hold("1"), calls.hold("1"):
        with pytest.raises(WireError, match="2 calls of this account are in progress") as refused, calls.hold("1"):
            pass
        assert refused.value.code == "RequestLimitExceeded"
        with calls.hold("2"):
            pass
    with calls.hold("1"):
        pass

"""Calls wait for states that pass, for some seconds, and try seldom."""

import asyncio

import pytest

from drystone.domain.disk import DiskState
from drystone.domain.errors import PassingError, Refusal, RefusalError
from drystone.service.calls.patience import patiently


class Passing:
    """Refuses so many times."""

    def __init__(self, times: int, error: type[RefusalError] = PassingError) -> None:
        self.left, self.error, self.tries = times, error, 0

    async def __call__(self) -> str:
        self.tries += 1
        if self.left > 0:
            self.left -= 1
            raise self.error(Refusal.BUSY, "it is ATTACHING")
        return "done"


def test_what_passes_is_waited_for() -> None:
    attempt = Passing(2)
    assert asyncio.run(patiently(attempt)) == "done"
    assert attempt.tries == 3


def test_what_does_not_pass_is_refused_at_once() -> None:
    attempt = Passing(1, RefusalError)
    with pytest.raises(RefusalError):
        asyncio.run(patiently(attempt))
    assert attempt.tries == 1


def test_the_last_refusal_counts_and_tries_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = [0.0]

    async def sleep(seconds: float) -> None:
        slept[0] += seconds

    loop_time = 0.0

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: loop_time + slept[0])
        monkeypatch.setattr(asyncio, "sleep", sleep)
        await patiently(attempt)

    attempt = Passing(10_000)
    with pytest.raises(PassingError, match="ATTACHING"):
        asyncio.run(wait())
    assert 8.0 < slept[0] <= 10.0
    # Each is a transaction of the catalog's one writer.
    assert attempt.tries < 20


def test_copying_a_disk_is_not_waited_for() -> None:
    assert {state for state in DiskState if state.passing} == {
        DiskState.ATTACHING, DiskState.DETACHING, DiskState.EXPANDING,
    }  # fmt: skip
    assert not any(state.passing and state.copying for state in DiskState)

"""When a machine's clock is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drystone.domain.clock import (
    DRIFT_SHARE,
    REBOOT_S,
    TOLERANCE_S,
    WAIT_S,
    ClockState,
    Reading,
    advance,
    age_s,
    believed,
    recent,
    seen_before,
)

NOW = 1_700_000_000.0
DAY = 86_400.0
YEAR = 365 * DAY


def reading(wall: float, up: float, boot: str = "a", witness: float | None = None) -> Reading:
    return Reading(wall=NOW + wall, up=1000.0 + up, boot=boot, witness=witness if witness is None else NOW + witness)


START = believed(reading(0, 0))


@pytest.mark.parametrize("leap", [-3 * DAY, YEAR, 10 * YEAR, 301.0, -301.0])
def test_a_leap_is_believed_only_after_it_stood_for_a_day_since_boot(leap: float) -> None:
    """S115"""
    state = START
    for up in range(10, int(WAIT_S) + 10, 10):
        state = advance(state, reading(leap + up, up))
        assert state.at == pytest.approx(NOW + up)
        assert state.doubt is not None
        assert state.doubt.since == pytest.approx(NOW + 10)
        assert state.waits_s() == pytest.approx(WAIT_S + 10 - up)
    last = reading(leap + WAIT_S + 10, WAIT_S + 10)
    assert advance(state, last) == believed(last)


@pytest.mark.parametrize("leap", [-3 * DAY, YEAR, 10 * YEAR])
def test_a_clock_that_comes_back_is_believed_at_once(leap: float) -> None:
    """S115: what is remembered goes on meanwhile, also through a leap of another size."""
    state = advance(START, reading(leap + 10, 10))
    state = advance(state, reading(leap * 2 + 3600, 3600))
    assert state.doubt is not None
    assert state.waits_s() == WAIT_S
    state = advance(state, reading(7200 + 20, 7200))
    assert (state.doubt, state.at) == (None, NOW + 7220)


def test_a_wait_begins_anew_when_the_clock_leaps_again_or_creeps() -> None:
    state = advance(START, reading(YEAR, 0))
    for up in range(3600, 100 * 3600, 3600):
        # Each hour it moves by less than the tolerance, and never stands.
        state = advance(state, reading(YEAR + up + up / 3600 * 250, up))
        assert state.doubt is not None


def test_small_steps_are_followed_and_add_up_to_little() -> None:
    state = START
    for up in range(10, 100_000, 10):
        state = advance(state, reading(up * 1.0005, up))
        assert state.doubt is None
        assert state.at == NOW + up * 1.0005
    steps, passed = START, 0.0
    while steps.doubt is None:
        passed += 10
        steps = advance(steps, reading(passed * 11, passed))
    assert steps.at - NOW - passed <= TOLERANCE_S + DRIFT_SHARE * passed + 1


@pytest.mark.parametrize(
    ("off", "trusted"),
    [(30.0, True), (REBOOT_S - 100, True), (REBOOT_S + 100, False), (YEAR, False), (-3 * DAY, False)],
)
def test_a_machine_that_was_off(*, off: float, trusted: bool) -> None:
    """S115: nobody counted while it was off; the least that may have passed is the time since it is on again."""
    state = advance(START, reading(off + 50, -950, boot="b"))
    assert (state.doubt is None) == trusted
    assert state.at == NOW + 50 + (off if trusted else 0)


def test_a_machine_that_is_off_every_night_does_not_wait_for_ever() -> None:
    """S115"""
    state, wall, waited = START, 0.0, 0
    for boot in range(10):
        wall += 16 * 3600
        for up in range(20, 8 * 3600, 20):
            wall += 20
            state = advance(state, reading(wall, up - 1000.0, boot=f"night {boot}"))
            waited += 20
            if state.doubt is None:
                break
        if state.doubt is None:
            break
    assert state.doubt is None
    assert waited == pytest.approx(WAIT_S, abs=100)
    # A leap during the wait is another matter.
    state = advance(advance(START, reading(16 * 3600, -900, boot="b")), reading(YEAR, -950, boot="c"))
    assert state.waits_s() == WAIT_S


def test_a_witness_ends_the_doubt_and_a_clock_that_agrees_with_nobody_does_not() -> None:
    assert advance(START, reading(YEAR, 10, witness=YEAR + 20)).doubt is None
    assert advance(START, reading(YEAR, 10, witness=20)).doubt is not None


def test_a_first_start_goes_by_the_newest_row() -> None:
    state = seen_before(NOW)
    assert advance(state, reading(DAY / 2, 0)).doubt is None
    assert advance(state, reading(YEAR, 0)).doubt is not None
    assert advance(state, reading(-YEAR, 0)).at == NOW


@given(st.lists(st.tuples(st.floats(-20 * YEAR, 20 * YEAR), st.floats(0, 3600)), max_size=30))
def test_the_steady_clock_never_leaps_further_than_small_steps_allow(moves: list[tuple[float, float]]) -> None:
    """S115: whatever the machine's clock does, as long as no leap has stood for a day."""
    state: ClockState = START
    up = 0.0
    for offset, passes in moves:
        up = min(up + passes, WAIT_S - 1)
        state = advance(state, reading(offset + up, up))
        assert abs(state.at - NOW - up) <= TOLERANCE_S + DRIFT_SHARE * up + 1e-3


@pytest.mark.parametrize(
    ("at", "is_recent", "age"),
    [(0.0, True, 0.0), (-9.0, True, 9.0), (-10.0, False, 10.0), (100.0, True, 0.0), (YEAR, False, 0.0)],
)
def test_what_is_dated_ahead_is_due_and_not_old(*, at: float, is_recent: bool, age: float) -> None:
    """S117"""
    assert recent(NOW + at, NOW, 10.0) is is_recent
    assert age_s(NOW + at, NOW) == age

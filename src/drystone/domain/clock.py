"""What time it is, as far as that can be trusted, and how old something is by it (S115, S116).

A machine's clock may leap: an RTC without a battery, a wrong time server, a virtual machine that slept, a typing
error. What has a time written on it outlives that: rows, files. So one rule decides when the machine's clock is
believed. The clock that results is the *steady* clock: it is the machine's as long as that moves with the time since
boot, and goes on by the time since boot while it is doubted.
"""

from dataclasses import dataclass, replace

TOLERANCE_S = 300.0
"""Further than this the machine's clock does not move in one step without being doubted; as far as signatures may be
off, so that what is within it is no trouble to anybody."""
DRIFT_SHARE = 0.01
"""Part of the time since boot by which small steps may add up beyond the tolerance; a slewed clock takes 0.0005."""
REBOOT_S = 3600.0
"""How long a machine may have been off, which nobody counts, before its clock is doubted."""
WAIT_S = 86_400.0
"""Time since boot after which a leap that stood is believed though nobody bore witness to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The machine's clocks at one moment."""

    wall: float
    """Seconds since the epoch, UTC, as the machine has it."""
    up: float
    """Seconds since boot, sleep included: it is never set."""
    boot: str
    witness: float | None = None
    """Seconds since the epoch by a clock that is not this machine's; None if none was asked or answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The machine's clock has leapt, and nobody has said which time is right."""

    since: float
    """The steady time at which it began."""
    wall: float
    """What the machine's clock said when the wait began that is under way."""
    up: float
    """The time since boot at that moment."""
    waited_s: float = 0.0
    """How long it was waited in boots before this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """What is remembered of the last look at the clocks; it survives restarts."""

    at: float
    """The steady clock then."""
    up: float
    boot: str
    """Of which boot; "" if nobody knows."""
    drift: float = 0.0
    """Small steps that were followed and are not forgotten yet, seconds."""
    doubt: Doubt | None = None
    """Set while the machine's clock is not believed."""

    def waits_s(self) -> float:
        """Return how many seconds, by the time since boot, are left of the wait; 0 if nothing is doubted."""
        if self.doubt is None:
            return 0.0
        return max(0.0, WAIT_S - self.doubt.waited_s - (self.up - self.doubt.up))


def believed(reading: Reading, *, drift: float = 0.0) -> ClockState:
    """Return the state of somebody who takes the machine's clock as it is."""
    return ClockState(at=reading.wall, up=reading.up, boot=reading.boot, drift=drift)


def seen_before(at: float) -> ClockState:
    """Return the state of somebody who knows only that it was once this time."""
    return ClockState(at=at, up=0.0, boot="")


def advance(state: ClockState, reading: Reading) -> ClockState:
    """Return what is to be remembered after another look at the clocks; `at` of it is the steady time now."""
    same_boot = bool(state.boot) and reading.boot == state.boot
    elapsed = max(0.0, reading.up - state.up) if same_boot else reading.up if state.boot else 0.0
    # Of a machine that was off this is the least that may have passed.
    expected = state.at + elapsed
    if reading.witness is not None and abs(reading.wall - reading.witness) <= TOLERANCE_S:
        return believed(reading)
    step = reading.wall - expected
    drift = _towards_zero(state.drift, elapsed * DRIFT_SHARE) + step
    if abs(drift) <= TOLERANCE_S:
        return believed(reading, drift=drift)
    if not same_boot and -TOLERANCE_S <= step <= (REBOOT_S if state.boot else WAIT_S):
        return believed(reading)
    doubt = _doubt(state, reading, expected=expected, elapsed=elapsed, same_boot=same_boot)
    after = ClockState(at=expected, up=reading.up, boot=reading.boot, drift=state.drift, doubt=doubt)
    return believed(reading) if after.waits_s() == 0.0 else after


def _doubt(state: ClockState, reading: Reading, *, expected: float, elapsed: float, same_boot: bool) -> Doubt:
    """Return the doubt that there is now: the same wait goes on as long as the clock stays where it leapt to."""
    old = state.doubt
    fresh = Doubt(since=expected if old is None else old.since, wall=reading.wall, up=reading.up)
    if old is None:
        return fresh
    if same_boot:
        moved = reading.wall - (old.wall + (reading.up - old.up))
        return old if abs(moved) <= TOLERANCE_S else fresh
    # A machine that is switched off every night must not wait for ever: a night does not begin the wait anew.
    last = old.wall + (state.up - old.up)
    off = reading.wall - last - elapsed
    if not -TOLERANCE_S <= off <= WAIT_S:
        return fresh
    waited = old.waited_s + (state.up - old.up) + elapsed
    return replace(fresh, waited_s=waited)


def _towards_zero(value: float, by: float) -> float:
    return max(0.0, value - by) if value > 0 else min(0.0, value + by)


def recent(at: float, now: float, within_s: float) -> bool:
    """Tell whether something happened within the last seconds.

    A time that lies ahead was written by a clock that was wrong: it is not recent, so what waits for it to grow old
    does not wait for years, and does it once too often instead.
    """
    return -TOLERANCE_S <= now - at < within_s


def age_s(at: float, now: float) -> float:
    """Return how old something is, at least 0: what a wrong clock has dated ahead is new, and is not deleted."""
    return max(0.0, now - at)

"""The steady clock: its one owner, which looks at the machine's clocks, remembers, and says what is doubted (S115)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import structlog
from sqlalchemy import Connection

from drystone.catalog import expiry
from drystone.catalog.database import Database
from drystone.domain.clock import ClockState, Reading, advance, believed, seen_before
from drystone.domain.errors import DrystoneError
from drystone.objects.contract import StoreTime
from drystone.service.caller import Caller
from drystone.service.views import ClockView

log = structlog.get_logger()
REMEMBERED_S = 60.0
"""How often a look is written down: after a power cut the clock is known to have been so late at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineClocks:
    """The clocks that are looked at."""

    wall: Callable[[], float]
    """Seconds since the epoch, UTC, as this machine has it."""
    up: Callable[[], float]
    """Seconds since boot, sleep included."""
    boot: str
    store: Callable[[], StoreTime | None]
    """What time the store has: a request. None if it has none."""

    def read(self) -> Reading:
        """Read this machine's."""
        return Reading(wall=self.wall(), up=self.up(), boot=self.boot)


@dataclass(slots=True, kw_only=True, eq=False)
class SteadyClock:
    """Tells the steady time (`domain/clock.py`), and since when the machine's is doubted."""

    db: Database
    """The catalog, in which the last look is remembered."""
    clocks: MachineClocks
    state: ClockState
    _written: ClockState | None = field(init=False, default=None)

    @classmethod
    def open(cls, db: Database, clocks: MachineClocks) -> Self:
        """Go on from what is remembered; at the first start from the latest time that any row has."""

        def known(conn: Connection) -> ClockState:
            stamp = expiry.newest_stamp(conn)
            return expiry.clock(conn) or (believed(clocks.read()) if stamp is None else seen_before(stamp))

        return cls(db=db, clocks=clocks, state=db.read_sync(known))

    def now(self) -> float:
        """Return the steady time, seconds since the epoch: what ages and schedules that outlive us go by."""
        return advance(self.state, self.clocks.read()).at

    def least(self) -> float:
        """Return the earlier of the machine's time and the steady one."""
        return min(self.clocks.wall(), self.now())

    def view(self) -> ClockView:
        """Return what the clocks say."""
        reading = self.clocks.read()
        state = advance(self.state, reading)
        return ClockView(
            machine_at=reading.wall, steady_at=state.at,
            doubted_since=None if state.doubt is None else state.doubt.since, waits_s=state.waits_s(),
        )  # fmt: skip

    async def look(self) -> bool:
        """Look at the clocks, and remember it; return whether the machine's is believed."""
        reading = self.clocks.read()
        state = advance(self.state, reading)
        if state.doubt is not None and (at := await self._witness()) is not None:
            state = advance(self.state, Reading(wall=reading.wall, up=reading.up, boot=reading.boot, witness=at))
        await self._take(state, reading)
        return state.doubt is None

    async def expires_at(self) -> float | None:
        """Return the time up to which deadlines have come: the least of all clocks (S116). None: nothing expires now.

        Looks at the clocks first.
        """
        if not await self.look():
            return None
        store = await self._store()
        least = self.least()
        return least if store is None else min(least, store.at)

    async def confirm(self, caller: Caller) -> ClockView:
        """Believe the machine's clock as it is; return what the clocks said before.

        Raises:
            RefusalError: `NOT_ALLOWED` for any but an administrator.
        """
        caller.require_admin()
        before, reading = self.view(), self.clocks.read()
        await self._take(believed(reading), reading)
        return before

    async def _take(self, state: ClockState, reading: Reading) -> None:
        old = self.state
        self.state = state
        if state.doubt is not None and (old.doubt is None or old.doubt.wall != state.doubt.wall):
            log.error(
                "clock.doubted", machine_at=reading.wall, steady_at=state.at, nothing_expires_for_s=state.waits_s()
            )
        elif state.doubt is None and old.doubt is not None:
            log.info("clock.believed", machine_at=reading.wall)
        last = self._written
        changed = last is None or last.doubt != state.doubt or last.boot != state.boot
        if last is None or changed or state.up - last.up >= REMEMBERED_S:
            await self.db.write(lambda conn: expiry.put_clock(conn, state))
            self._written = state

    async def _witness(self) -> float | None:
        store = await self._store()
        return store.at if store is not None and store.elsewhere else None

    async def _store(self) -> StoreTime | None:
        try:
            return await asyncio.to_thread(self.clocks.store)
        except DrystoneError as error:
            log.warning("clock.store_not_asked", error=str(error))
            return None

"""What a server does again and again beside the calls."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from drystone.config import Config
from drystone.server.assembly import snapshot_limits
from drystone.server.parts import Parts
from drystone.service.calls.browser_sessions import BrowserSessions
from drystone.service.calls.scheduled import ScheduledSnapshots
from drystone.service.calls.use_cases import UseCases
from drystone.service.host.healing import Healing
from drystone.service.host.scratch_guard import ScratchGuard
from drystone.service.rounds import BUG_SECONDS_MAX
from drystone.service.upkeep.backups import Backups
from drystone.service.upkeep.destroyed_keys import DestroyedKeys
from drystone.service.upkeep.expiry import Expiry
from drystone.service.upkeep.observation import Observation
from drystone.service.upkeep.publication import Publication
from drystone.service.upkeep.reaching import Reaching
from drystone.service.upkeep.schedules import Schedules
from drystone.service.upkeep.store_days import StoreDays

URGENT_SECONDS_MAX = 1.0
"""The longest pause after a bug of a loop that guests wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What is done again and again while the server runs."""

    name: str
    once: Callable[[], Awaitable[object]]
    seconds: float
    """The pause between two rounds."""
    seconds_max: float = BUG_SECONDS_MAX
    """The longest pause after a bug."""


def schedules_of(parts: Parts, use_cases: UseCases) -> Schedules:
    """Return what has snapshots taken when policies say so."""
    return Schedules(
        transactions=parts.transactions, bugs=parts.operations.bugs, counts=parts.policy_runs,
        taker=ScheduledSnapshots(snapshots=use_cases.snapshots, groups=use_cases.snapshot_groups),
    )  # fmt: skip


def loops(config: Config, parts: Parts, use_cases: UseCases, sessions: BrowserSessions) -> tuple[Loop, ...]:
    """Return everything that runs beside the calls (S135)."""
    transactions, operations = parts.transactions, parts.operations
    guard = ScratchGuard(
        transactions=transactions, locks=parts.locks, host=parts.host, room=parts.room, spool=parts.spool,
        bugs=operations.bugs, bytes_max=config.scratch_bytes_max,
    )  # fmt: skip
    expiry = Expiry(
        transactions=transactions, operations=operations, clock=parts.clock,
        percent_per_hour=config.expiry_percent_per_hour, quota=snapshot_limits(config),
    )  # fmt: skip
    # A database of PostgreSQL is copied by its own tools.
    minutes = 0 if config.catalog_url else config.backup_minutes
    backups = Backups(
        room=parts.room, steady=transactions.steady, monotonic=time.monotonic, minutes=minutes, kept=config.backups_kept
    )
    observation = Observation(
        transactions=transactions, room=parts.room, clock=parts.clock, store=parts.store_watch, backups=backups
    )
    days = StoreDays(transactions=transactions, tally=parts.tally, room=parts.room)
    healing = Healing(
        transactions=transactions, operations=operations, monotonic=time.monotonic, after_s=config.rescan_after_s
    )
    publication = Publication(
        transactions=transactions, kept=parts.kept, layout=parts.layout, locks=parts.locks
    )  # fmt: skip
    kept = parts.kept
    schedules = schedules_of(parts, use_cases)

    def with_store(once: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
        """Leave rounds out while nobody knows whether this catalog is in force (S202)."""

        async def round_of_it() -> None:
            if kept.proven is not None:
                await once()

        return round_of_it

    destroyed = DestroyedKeys(transactions=parts.transactions, kept=kept)
    reaching = Reaching(transactions=parts.transactions, kept=kept, ids=parts.ids)
    rounds = (
        Loop(name="operations", once=operations.run, seconds=1.0),
        # Guests wait for these two.
        Loop(name="space", once=guard.once, seconds=0.1, seconds_max=URGENT_SECONDS_MAX),
        Loop(name="daemons", once=parts.watch.once, seconds=0.5, seconds_max=URGENT_SECONDS_MAX),
        Loop(name="store", once=reaching.once, seconds=5.0),
        Loop(name="deadlines", once=with_store(expiry.begin_due), seconds=10.0),
        Loop(name="schedules", once=with_store(schedules.once), seconds=1.0),
        Loop(name="old-runs", once=schedules.prune, seconds=60.0),
        Loop(name="publication", once=with_store(publication.publish), seconds=1.0),
        Loop(name="compaction", once=with_store(parts.compaction.once), seconds=20.0),
        # It is looked whether a copy of the catalog is due, whether an hour has begun.
        Loop(name="backup", once=backups.due, seconds=30.0),
        Loop(name="history", once=use_cases.history.due, seconds=30.0),
        Loop(name="healing", once=with_store(healing.begin_due), seconds=1.0),
        Loop(name="scrub", once=with_store(parts.scrub.once), seconds=1.0),
        Loop(name="proving", once=with_store(use_cases.proving.begin_due), seconds=60.0),
        Loop(name="backup-points", once=with_store(use_cases.disk_backups.due), seconds=60.0),
        Loop(name="sessions", once=sessions.prune, seconds=600.0),
        # A session may have been fenced at any moment, as by the first work after a start.
        Loop(name="sweep", once=with_store(parts.sweep.sweep), seconds=20.0),
        Loop(name="destroyed-keys", once=with_store(destroyed.once), seconds=5.0),
        Loop(name="tidy", once=with_store(parts.sweep.tidy), seconds=600.0),
        Loop(name="ballast", once=lambda: asyncio.to_thread(parts.ballast.fill), seconds=10.0),
        Loop(name="store-watch", once=parts.store_watch.once, seconds=5.0),
        Loop(name="events", once=observation.once, seconds=5.0),
        Loop(name="store-days", once=days.once, seconds=60.0),
        Loop(name="old-events", once=observation.prune, seconds=60.0),
        Loop(name="tallies", once=use_cases.audit.tell, seconds=60.0),
        Loop(name="trail", once=use_cases.audit.prune, seconds=5.0),
    )  # fmt: skip
    assert len({one.name for one in rounds}) == len(rounds), "a loop is there twice"
    return rounds

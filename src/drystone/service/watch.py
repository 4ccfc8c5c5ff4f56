"""What is looked at all the time: scratch and free space, daemons, deadlines."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, operations
from drystone.domain.ids import DiskId
from drystone.domain.operation import Operation
from drystone.domain.tracking import Phase
from drystone.engine import live
from drystone.engine.space import allocated_bytes
from drystone.service import compaction, snapshot_server
from drystone.service.audit import Audit
from drystone.service.backups import Backups
from drystone.service.browser_sessions import BrowserSessions
from drystone.service.expiry import Expiry
from drystone.service.healing import Healing
from drystone.service.history import History
from drystone.service.host import Host
from drystone.service.installation import Installation
from drystone.service.jobs.delete_snapshot import collect_maps
from drystone.service.proving import Proving
from drystone.service.publication import Publication
from drystone.service.rounds import BUG_SECONDS_MAX, repeat
from drystone.service.scrub import Scrub
from drystone.service.sweep import tidy
from drystone.service.tracking_rows import flight_of

log = structlog.get_logger()
SPACE_SECONDS = 0.1
BREAK_SECONDS_MAX = 5.0
DAEMON_SECONDS = 0.5
URGENT_SECONDS_MAX = 1.0
"""The longest pause of those two after a bug: guests wait for them."""
DEADLINE_SECONDS = 10.0
PUBLICATION_SECONDS = 1.0
BACKUP_SECONDS = 30.0
"""How often it is looked whether a copy of the catalog is due."""
COMPACTION_SECONDS = 20.0
HEALING_SECONDS = 1.0
SCRUB_SECONDS = 1.0
PROVING_SECONDS = 60.0
HISTORY_SECONDS = 30.0
"""How often it is looked whether an hour has begun."""
SESSIONS_SECONDS = 600.0
TIDY_SECONDS = 600.0
BALLAST_SECONDS = 10.0
TALLY_SECONDS = 60.0
TRAIL_SECONDS = 5.0


class Watch:
    """The loops that run beside the calls; each survives what a round of it meets."""

    def __init__(
        self,
        *,
        installation: Installation,
        host: Host,
        expiry: Expiry,
        backups: Backups,
        healing: Healing,
        scrub: Scrub,
        proving: Proving,
        history: History,
        sessions: BrowserSessions,
        audit: Audit,
    ) -> None:
        self._healing = healing
        self._scrub = scrub
        self._proving = proving
        self._history = history
        self._sessions = sessions
        self._audit = audit
        self._in = installation
        self._host = host
        self._expiry = expiry
        self._backups = backups
        self._publication = Publication(installation, host)
        self._maps_collected = False

    async def run(self) -> None:
        """Run all loops until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat("space", SPACE_SECONDS, self.guard_space, URGENT_SECONDS_MAX))
            tasks.create_task(self._repeat("daemons", DAEMON_SECONDS, self.look_after_daemons, URGENT_SECONDS_MAX))
            tasks.create_task(self._repeat("deadlines", DEADLINE_SECONDS, self._expiry.begin_due))
            tasks.create_task(self._repeat("publication", PUBLICATION_SECONDS, self._publication.publish))
            tasks.create_task(self._repeat("compaction", COMPACTION_SECONDS, self.look_after_packs))
            tasks.create_task(self._repeat("backup", BACKUP_SECONDS, self._backups.due))
            tasks.create_task(self._repeat("healing", HEALING_SECONDS, self._healing.begin_due))
            tasks.create_task(self._repeat("scrub", SCRUB_SECONDS, self._scrub.once))
            tasks.create_task(self._repeat("proving", PROVING_SECONDS, self._proving.begin_due))
            tasks.create_task(self._repeat("history", HISTORY_SECONDS, self._history.due))
            tasks.create_task(self._repeat("sessions", SESSIONS_SECONDS, self._sessions.prune))
            tasks.create_task(self._repeat("tidy", TIDY_SECONDS, lambda: tidy(self._in)))
            tasks.create_task(
                self._repeat("ballast", BALLAST_SECONDS, lambda: asyncio.to_thread(self._in.ballast.fill))
            )
            tasks.create_task(self._repeat("tallies", TALLY_SECONDS, self._audit.tell))
            tasks.create_task(self._repeat("trail", TRAIL_SECONDS, self._audit.prune))

    def _repeat(
        self, name: str, seconds: float, once: Callable[[], Awaitable[object]], seconds_max: float = BUG_SECONDS_MAX
    ) -> Coroutine[None, None, None]:
        return repeat(name, seconds, once, self._in.bugs, seconds_max=seconds_max)

    # --- space (P6, F15) ----------------------------------------------------------------------------------------

    async def guard_space(self) -> None:
        """Break snapshots before their scratch takes what belongs to the guests' disks."""
        scratch = self._in.layout.scratch
        files = list(scratch.glob("disk-*.raw")) if scratch.is_dir() else []
        if not files:
            return
        sizes = {DiskId(file.stem): allocated_bytes(file) for file in files}
        over_budget = sum(sizes.values()) > self._in.scratch_bytes_max
        at_floor = self._in.space().above_floor_bytes <= 0
        if not over_budget and not at_floor:
            return
        reason = (
            "the scratch space of snapshots is used up"
            if over_budget
            else "free space reached the floor that belongs to the disks"
        )
        # The largest that can be broken; one whose daemon does not answer must not shield the others.
        for disk_id in sorted(sizes, key=lambda disk_id: sizes[disk_id], reverse=True):
            try:
                async with asyncio.timeout(BREAK_SECONDS_MAX):
                    if await self.break_snapshot(disk_id, reason):
                        return
            except Exception as error:  # noqa: BLE001 - noted: the next is tried, whatever is wrong with this one
                self._in.bugs.note(error, "snapshot.not_broken", severe=True, disk_id=disk_id)

    async def break_snapshot(self, disk_id: DiskId, reason: str) -> bool:
        """Give a snapshot up: its view and scratch go at once; its operation ends with the reason (A4).

        Returns:
            Whether there was one to give up.
        """

        def note(conn: Connection) -> bool:
            pair = flight_of(operations.running_on_disk(conn, disk_id))
            if pair is None or pair[1].phase not in {Phase.FREEZING, Phase.FROZEN}:
                return False
            payload = {**pair[0].payload, "break_reason": reason}
            operations.update(conn, pair[0].id, updated_at=self._in.clock(), payload=payload)
            return True

        async with self._in.locks.graph(disk_id):
            if not await self._in.db.write(note):
                return False
            log.error("snapshot.broken", disk_id=disk_id, reason=reason)
            disk = await self._host.row(disk_id)
            daemon = await self._host.running(disk)
            if daemon is not None:
                await live.unfreeze(daemon, disk_id, scratch=self._in.layout.scratch_file(disk_id))
            return True

    # --- daemons ------------------------------------------------------------------------------------------------------

    async def look_after_daemons(self) -> None:
        """Serve the disks of dead daemons again; operations on them find out by themselves."""
        hit = await self._host.check()
        if await self._in.db.read(disks.any_hydrating):
            # Guests wait for it: reads of what is not there yet hang while it is away.
            await snapshot_server.ensure(self._in)
        if not hit:
            return

        def theirs(conn: Connection) -> list[Operation]:
            return [operation for disk_id in hit for operation in operations.running_on_disk(conn, disk_id)]

        for operation in await self._in.db.read(theirs):
            self._in.operations.wake(operation.id)

    async def look_after_packs(self) -> None:
        """Have packs that are dead in part written again, the replaced deleted (L8)."""
        await compaction.look_after(self._in)
        if not self._maps_collected:
            # A server that died between a commit and what follows it may have left maps that nothing names.
            self._maps_collected = await collect_maps(self._in)

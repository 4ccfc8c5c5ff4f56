"""The storage daemons of this host by name: started, taken over, ended; which are dead, and which are silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from drystone.domain.disk import Disk
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine import descriptors, process
from drystone.engine.daemon import Daemon
from drystone.engine.layout import Layout
from drystone.engine.live_disk import LiveDisk, disks_open

log = structlog.get_logger()
SILENT_SECONDS_MAX = 60.0
"""A storage daemon that runs and does not answer for this long is ended: its guests wait for it."""


@dataclass(slots=True, kw_only=True, eq=False)
class Daemons:
    """Storage daemons, each of one instance or of one disk that is alone."""

    layout: Layout
    environment: Mapping[str, str]
    """What they are given: PATH and no secrets."""
    monotonic: Callable[[], float]
    _daemons: dict[str, Daemon] = field(init=False, default_factory=dict)
    _starting: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _died: set[str] = field(init=False, default_factory=set)
    """Names whose daemon was found dead and replaced before anybody looked: their other disks are dark."""
    _silent: dict[str, float] = field(init=False, default_factory=dict)
    """Names whose daemon runs and does not answer, and since when."""
    _late: set[str] = field(init=False, default_factory=set)
    """Names whose daemon was taken over after the start, and whose disks are still to be settled."""
    _uses: dict[str, asyncio.Lock] = field(init=False, default_factory=dict)
    _places: Mapping[tuple[int, int], Sequence[int]] | None = field(init=False, default=None)
    """Which processes are where, while nothing is started yet."""

    async def get(self, name: str) -> Daemon:
        """Return the running daemon of this name: ours, one taken over, or a new one."""
        async with self._starting:
            known = self._daemons.get(name)
            if known is not None and known.alive():
                return known
            if known is not None:
                self._died.add(name)
            directory = self.layout.daemon(name)
            log_file = self.layout.logs / f"{name}.log"
            found = await Daemon.adopt(name, directory)
            if found is None:
                if name in self._silent:
                    self._died.add(name)
                found = await Daemon.start(name, directory, log_file, self.environment, alone=True)
                log.info("daemon.started", daemon=name, pid=found.pid)
            self._daemons[name] = found
            return found

    async def quit(self, daemon: Daemon) -> None:
        """End a daemon in order and forget it.

        Raises:
            UnavailableError: It did not end in order; nothing may be concluded of its disks.
        """
        self._daemons.pop(daemon.name, None)
        await daemon.quit()

    def use(self, name: str) -> asyncio.Lock:
        """Return the lock held while a disk is opened in a daemon, and while it is ended because it has none."""
        return self._uses.setdefault(name, asyncio.Lock())

    async def quit_if_empty(self, daemon: Daemon) -> None:
        """End a daemon in order if no disk is open, or being opened, in it."""
        async with self.use(daemon.name):
            if daemon.alive() and not await disks_open(daemon):
                await self.quit(daemon)

    async def kill(self, name: str) -> None:
        """End the daemon of this name at once, if it runs."""
        async with self._starting:
            daemon = self._daemons.pop(name, None)
            if daemon is None or not daemon.alive():
                daemon = await Daemon.adopt(name, self.layout.daemon(name))
        if daemon is not None:
            await daemon.kill()

    def running(self) -> list[Daemon]:
        """Return the daemons that run."""
        return [daemon for daemon in self._daemons.values() if daemon.alive()]

    async def found(self, name: str) -> Daemon | None:
        """Return the daemon of this name if it runs, taken over if need be; none is started."""
        if name not in self._daemons and name not in self._silent:
            async with self.use(name):
                if name not in self._daemons:
                    await self.adopt(name)
        known = self._daemons.get(name)
        if known is None and name in self._silent:
            raise UnavailableError(f"storage daemon {name} runs and does not answer")
        return known if known is not None and known.alive() else None

    async def adopt(self, name: str) -> None:
        """Take over the daemon of this name if it runs; one that does not answer is silent."""
        try:
            daemon = await Daemon.adopt(name, self.layout.daemon(name), self._places)
        except UnavailableError as error:
            # It may be slow, with guests writing through it: it is not taken for dead before a while has passed.
            self._silent.setdefault(name, self.monotonic())
            log.error("daemon.silent", daemon=name, error=str(error))  # noqa: TRY400 - an expected failure
            return
        if daemon is not None and name in self._daemons:
            await daemon.disconnect()  # Another was quicker; a monitor is not kept from whoever needs it.
        elif daemon is not None:
            self._daemons[name] = daemon
            log.info("daemon.taken_over", daemon=name, pid=daemon.pid)
        elif name in self._silent:
            self._died.add(name)
        self._silent.pop(name, None)

    async def _end_silent(self, name: str) -> None:
        """End a daemon that has not answered for long; its disks are settled as after any death."""
        found = await asyncio.to_thread(process.adopt, self.layout.daemon(name))
        if found is not None:
            await found.end(seconds=2.0)
        self._silent.pop(name, None)
        self._died.add(name)

    def left_running(self) -> list[str]:
        """Return the processes that run in this installation's directories, by name and pid."""
        run = self.layout.run
        places = process.places()
        found = (
            (entry.name, process.adopt(entry, places)) for entry in (sorted(run.iterdir()) if run.is_dir() else ())
        )
        return [f"{name} (process {running.pid})" for name, running in found if running is not None]

    def disks_more(self, name: str) -> int:
        """Return how many more disks the storage daemon of this name has descriptors for."""
        daemon = self._daemons.get(name)
        return descriptors.disks_more(None if daemon is None else daemon.pid)

    def is_silent(self, name: str | None) -> bool:
        """Tell whether the daemon of this name runs and does not answer."""
        return name in self._silent

    @contextlib.asynccontextmanager
    async def taking_over(self) -> AsyncIterator[None]:
        """At a start: take over every daemon that runs. Within this the machine's processes are gone through once."""
        self._places = await asyncio.to_thread(process.places)
        try:
            run = self.layout.run
            for directory in sorted(run.iterdir()) if run.is_dir() else ():
                if directory.name.startswith(("ins-", "disk-")):
                    await self.adopt(directory.name)
            yield
        finally:
            self._places = None

    async def ask_silent(self) -> None:
        """Ask those that did not answer again; end those that have not for long."""
        for name, since in list(self._silent.items()):
            async with self.use(name):
                if name in self._daemons:
                    self._silent.pop(name, None)
                else:
                    await self.adopt(name)
            if name in self._daemons:
                self._late.add(name)
            elif name in self._silent and self.monotonic() - since > SILENT_SECONDS_MAX:
                log.error("daemon.given_up", daemon=name)
                await self._end_silent(name)

    def taken_over_late(self) -> list[Daemon]:
        """Return those whose disks are still to be settled."""
        return [self._daemons[name] for name in self._late & self._daemons.keys()]

    def settled_late(self, daemon: Daemon) -> None:
        """Note that the disks of one of those are settled."""
        self._late.discard(daemon.name)

    def dead(self) -> set[str]:
        """Return the names whose daemon died and whose disks are still to be settled."""
        return {name for name, daemon in self._daemons.items() if not daemon.alive()} | self._died

    def seen_dead(self, names: set[str]) -> None:
        """Note that it is known which disks these had."""
        self._died -= names

    def still_dark(self, name: str) -> None:
        """Note that a disk of a daemon that died could not be settled: it is dead still."""
        self._died.add(name)

    def forget_dead(self, names: set[str]) -> None:
        """Let go of those of these that run no more."""
        for name in names:
            daemon = self._daemons.get(name)
            if daemon is not None and not daemon.alive():
                del self._daemons[name]

    async def leave(self) -> None:
        """Let go of all daemons; they go on serving."""
        for daemon in self._daemons.values():
            await daemon.disconnect()
        self._daemons.clear()


async def close_unknown(daemon: Daemon, known: Mapping[DiskId, Disk]) -> None:
    """Close what is open in a daemon that no row has there."""
    for disk_id in await disks_open(daemon):
        owner = known.get(disk_id)
        if owner is None or owner.daemon != daemon.name:
            log.warning("daemon.stray_disk", daemon=daemon.name, disk_id=disk_id)
            await LiveDisk(daemon=daemon, id=disk_id).close()

"""Quiesce profiles: set, shown, and carried out around the instant of a snapshot."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, instances, quiesce_profiles
from drystone.catalog.database import Database
from drystone.domain.disk import Disk
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import DiskId, InstanceId
from drystone.domain.quiesce import (
    FILE_KINDS,
    Consistency,
    Quiesced,
    QuiesceMode,
    QuiesceProfile,
    Step,
    fault,
    reached,
    wanted,
)
from drystone.engine.host_device import HostDevices
from drystone.quiesce.filesystems import path_devices
from drystone.quiesce.hold import Hold, QuiesceError, holding
from drystone.quiesce.plan import Event, Plan
from drystone.service.caller import Caller
from drystone.service.calls.disk_records import owned_disk
from drystone.service.calls.filters import page
from drystone.service.views import Page

log = structlog.get_logger()
NOTHING_HELD = "no profile: nothing was held"


class Held:
    """Applications and file systems while they are held; `thaw` follows the instant at once."""

    def __init__(
        self,
        steps: Sequence[Step],
        mode: QuiesceMode,
        hold: Hold | None,
        note: str,
        *,
        asked: Consistency | None = None,
    ) -> None:
        self._steps = steps
        self._asked = wanted(steps) if steps else asked
        self._mode = mode
        self._hold = hold
        self._note = note

    async def thaw(self) -> Quiesced:
        """Let go of everything, and say what the instant is worth.

        Raises:
            QuiesceError: Less than the profile requires: there must be no snapshot.
        """
        if self._hold is None:
            return Quiesced(consistency=Consistency.CRASH, asked=self._asked, quiesce_ms=None, transcript=(self._note,))
        until_now = await self._hold.thaw()
        level = reached(self._steps, self._hold.held) if until_now else Consistency.CRASH
        transcript = tuple(_line(self._steps, event) for event in self._hold.events if event.name != "held")
        ended = [event.ms for event in self._hold.events if event.name == "end"]
        log.info("quiesce.thawed", consistency=level.value, transcript=transcript)
        if self._mode is QuiesceMode.REQUIRE and level is not wanted(self._steps):
            raise QuiesceError(f"only {level.value} consistency was reached: {'; '.join(transcript)}"[:500])
        return Quiesced(
            consistency=level, asked=self._asked, quiesce_ms=ended[0] if ended else None, transcript=transcript
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiescing:
    """Profiles of disks and instances.

    Setting one is for administrators: its commands run as the user that Drystone runs as.
    """

    db: Database
    clock: Callable[[], float]
    environment: Mapping[str, str]
    """Has `PATH` for commands and clients."""
    own: tuple[Path, ...]
    """Directories whose file systems are never frozen: Drystone's own."""
    devices: HostDevices
    """Which devices of this host are disks."""

    # --- around a snapshot --------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def holding(self, found: Sequence[Disk], limit: asyncio.Timeout) -> AsyncIterator[Held]:
        """Hold what the profiles of these disks say, while the block runs; however it is left, all is thawed.

        Args:
            found: The disks.
            limit: The caller's own limit: it stands still until everything is held, which has limits of its own, and
                ends with the profile's time then, for after that nothing is held.

        Raises:
            QuiesceError: A step that the profile requires failed; nothing is held.
        """
        profiles = await self.db.read(lambda conn: profiles_of(conn, found))
        if not profiles:
            yield Held((), QuiesceMode.PREFER, None, NOTHING_HELD)
            return
        if all(disk.instance_id is None for disk in found):
            yield Held((), QuiesceMode.PREFER, None, "the disk was not attached: there was nothing to hold")
            return
        steps = combined(profiles)
        mode = QuiesceMode.REQUIRE if any(one.mode is QuiesceMode.REQUIRE for one in profiles) else QuiesceMode.PREFER
        plan = Plan(
            steps=steps, seconds_max=min(one.freeze_seconds_max for one in profiles),
            stop_at_failure=mode is QuiesceMode.REQUIRE, devices=await self._devices(found, profiles),
            never=tuple(sorted(frozenset[int]().union(*map(path_devices, self.own)))),
            path=self.environment.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        )  # fmt: skip
        async with contextlib.AsyncExitStack() as stack:
            hold = None
            limit.reschedule(None)
            try:
                hold = await stack.enter_async_context(holding(plan))
            except QuiesceError as error:
                if mode is QuiesceMode.REQUIRE:
                    raise
                log.warning("quiesce.failed", error=str(error))
                held = Held((), mode, None, f"nothing was held: {error}", asked=wanted(steps))
            else:
                held = Held(steps, mode, hold, "")
                if mode is QuiesceMode.REQUIRE and not all(hold.held):
                    failed = next(event for event in hold.events if event.name == "freeze" and not event.ok)
                    raise QuiesceError(_line(steps, failed))
            limit.reschedule(asyncio.get_running_loop().time() + plan.seconds_max)
            yield held

    async def _devices(self, found: Sequence[Disk], profiles: Sequence[QuiesceProfile]) -> tuple[int, ...]:
        """Return the devices that may be frozen: these disks', or of all that an instance with a profile has."""
        ids = {disk.id for disk in found}
        for profile in profiles:
            if profile.resource_id not in ids:
                instance_id = InstanceId(profile.resource_id)
                others = await self.db.read(lambda conn, wanted=instance_id: disks.of_instance(conn, wanted))  # type: ignore[misc]
                ids |= {disk.id for disk in others}
        numbers = [self.devices.numbers(DiskId(disk_id)) for disk_id in sorted(ids)]
        return tuple(sorted(frozenset[int]().union(*numbers)))

    # --- calls --------------------------------------------------------------------------------------------------------

    async def set(
        self,
        caller: Caller,
        resource_id: str,
        mode: str,
        freeze_seconds_max: float,
        steps: tuple[Step, ...],
        prove_every_h: float | None = None,
    ) -> None:
        """Set the profile of a disk or an instance of the caller's account.

        Raises:
            RefusalError: `NOT_ALLOWED`, `BAD_VALUE`, or the code of a resource that
                is not there; nothing was changed.
        """
        _check_admin(caller)
        if mode not in set(QuiesceMode):
            raise RefusalError(Refusal.BAD_VALUE, f"Mode is `{mode[:40]}`; allowed are require and prefer.")
        profile = QuiesceProfile(
            resource_id=resource_id, account_id=caller.account_id, mode=QuiesceMode(mode), steps=steps,
            freeze_seconds_max=freeze_seconds_max, modified_at=self.clock(), prove_every_h=prove_every_h,
        )  # fmt: skip
        found = fault(profile)
        if found is not None:
            raise RefusalError(Refusal.BAD_VALUE, f"The profile cannot be used: {found}.")

        def put(conn: Connection) -> None:
            _check_owner(conn, caller, resource_id)
            quiesce_profiles.put(conn, profile)

        await self.db.write(put)

    async def remove(self, caller: Caller, resource_id: str) -> None:
        """Remove the profile of a disk or an instance; there may be none.

        Raises:
            RefusalError: `NOT_ALLOWED`, or the code of a profile that is another account's.
        """
        _check_admin(caller)

        def drop(conn: Connection) -> None:
            profile = quiesce_profiles.get(conn, resource_id)
            if profile is not None and profile.account_id == caller.account_id:
                quiesce_profiles.delete(conn, resource_id)

        await self.db.write(drop)

    async def describe(self, caller: Caller, offset: int, limit: int) -> Page[QuiesceProfile]:
        """Return the caller's profiles.

        Raises:
            RefusalError: `BAD_VALUE`.
        """
        offset, limit = page(offset, limit)
        found, total = await self.db.read(
            lambda conn: quiesce_profiles.find(conn, caller.account_id, offset=offset, limit=limit)
        )
        return Page(items=tuple(found), total=total)


def combined(profiles: Sequence[QuiesceProfile]) -> tuple[Step, ...]:
    """Return the steps of several profiles as one list: each once, in order, file systems last."""
    steps = list(dict.fromkeys(step for profile in profiles for step in profile.steps))
    return tuple(sorted(steps, key=lambda step: step.kind in FILE_KINDS))


def profiles_of(conn: Connection, found: Sequence[Disk]) -> list[QuiesceProfile]:
    """Return the profiles that count for these disks: each disk's own, else its instance's."""
    names = [name for disk in found for name in (disk.id, disk.instance_id) if name is not None]
    there = quiesce_profiles.get_many(conn, names)
    chosen = [disk.id if disk.id in there else disk.instance_id for disk in found]
    return [there[name] for name in dict.fromkeys(chosen) if name is not None and name in there]


def _check_admin(caller: Caller) -> None:
    if not caller.admin:
        raise RefusalError(Refusal.NOT_ALLOWED, "Quiesce profiles are set by administrators: they run commands.")


def _check_owner(conn: Connection, caller: Caller, resource_id: str) -> None:
    if resource_id.startswith("ins-"):
        instance = instances.get(conn, resource_id)
        if instance is None or instance.account_id != caller.account_id:
            raise RefusalError(Refusal.NO_SUCH_INSTANCE, f"There is no instance {resource_id[:60]}.")
        return
    owned_disk(conn, caller.account_id, resource_id)


def _line(steps: Sequence[Step], event: Event) -> str:
    """Return what an event says, for people."""
    if event.name == "end":
        return f"held for {event.ms:.1f} ms" if event.ok else f"not held until the instant ({event.ms:.1f} ms)"
    outcome = "ok" if event.ok else "failed"
    detail = f": {' '.join(event.detail.split())[:200]}" if event.detail else ""
    return f"{event.name} {steps[event.step].title} {outcome}, {event.ms:.1f} ms{detail}"

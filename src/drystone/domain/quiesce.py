"""What applications and file systems are asked before a snapshot, and what their answers are worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from drystone.domain.ids import AccountId

STEPS_MAX = 16
FREEZE_SECONDS_DEFAULT = 10.0
FREEZE_SECONDS_MAX = 60.0
"""Nobody's users wait longer than a minute for a snapshot."""
STEP_SECONDS_DEFAULT = 5.0
PROVE_HOURS_MIN, PROVE_HOURS_MAX = 1.0, 24.0 * 366
THAW_SECONDS_MAX = 5.0
"""A thaw command that takes longer is ended; the next step is thawed all the same."""


class StepKind(StrEnum):
    """What a step speaks to."""

    COMMAND = "command"
    MARIADB = "mariadb"
    POSTGRESQL = "postgresql"
    FILESYSTEM = "filesystem"
    GUEST_AGENT = "guest-agent"
    LIBVIRT = "libvirt"


FILE_KINDS = frozenset({StepKind.FILESYSTEM, StepKind.GUEST_AGENT, StepKind.LIBVIRT})
"""What freezes file systems: of this host, or all those of a virtual machine."""


class QuiesceMode(StrEnum):
    """What a step that fails means."""

    REQUIRE = "require"
    """There is no snapshot."""
    PREFER = "prefer"
    """The snapshot is taken, and its record says what it is worth."""


class Consistency(StrEnum):
    """What a snapshot holds, from least to most."""

    CRASH = "crash"
    """What had reached the disk: as after a power cut."""
    FILESYSTEM = "filesystem"
    """All that was written to the file system, which was frozen."""
    APPLICATION = "application"
    """What the applications said was theirs to lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; which fields count is said by its kind."""

    kind: StepKind
    seconds_max: float = STEP_SECONDS_DEFAULT
    mount: str | None = None
    """filesystem: where it is mounted."""
    freeze: tuple[str, ...] = ()
    """command: program and arguments, run without a shell."""
    thaw: tuple[str, ...] = ()
    option_file: str | None = None
    """mariadb: a file with user, password and socket, given to the client."""
    connection: str | None = None
    """postgresql: a connection string without a password; it may name a `passfile` or a `service`."""
    socket: str | None = None
    """guest-agent: the unix socket that QEMU serves for the agent's channel."""
    domain: str | None = None
    """libvirt: the domain's name or UUID."""

    @property
    def title(self) -> str:
        """A word or two that tell it from the others; no secret."""
        program = self.freeze[0] if self.freeze else None
        detail = self.mount or program or self.option_file or self.socket or self.domain or ""
        return f"{self.kind.value} {detail}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuiesceProfile:
    """The steps before each snapshot of a disk, or of the disks of an instance, and back in reverse after it."""

    resource_id: str
    """A disk or an instance; a disk's own profile goes before its instance's."""
    account_id: AccountId
    mode: QuiesceMode = QuiesceMode.REQUIRE
    freeze_seconds_max: float = FREEZE_SECONDS_DEFAULT
    """From the first step on: then all is thawed, whatever has happened."""
    steps: tuple[Step, ...]
    modified_at: float
    prove_every_h: float | None = None
    """How often the newest snapshot of each of its disks is opened by itself; None: only when somebody asks."""


def reached(steps: Sequence[Step], held: Sequence[bool]) -> Consistency:
    """Return what a snapshot is worth, of which these steps were held at its instant (S43).

    A file system that was not frozen leaves the applications' word worthless: what they wrote may lie in its cache.
    """
    assert len(steps) == len(held)
    files = [ok for step, ok in zip(steps, held, strict=True) if step.kind in FILE_KINDS]
    others = [ok for step, ok in zip(steps, held, strict=True) if step.kind not in FILE_KINDS]
    if not all(files):
        return Consistency.CRASH
    if others and all(others):
        return Consistency.APPLICATION
    return Consistency.FILESYSTEM if files else Consistency.CRASH


def wanted(steps: Sequence[Step]) -> Consistency:
    """Return what a snapshot is worth if every step is held."""
    return reached(steps, [True] * len(steps))


def fault(profile: QuiesceProfile) -> str | None:
    """Return what is wrong with a profile, if anything; whether its paths are what they should be is seen later."""
    if not 1 <= len(profile.steps) <= STEPS_MAX:
        return f"it has {len(profile.steps)} steps; 1 to {STEPS_MAX} are allowed"
    if not 0 < profile.freeze_seconds_max <= FREEZE_SECONDS_MAX:
        return f"its freeze may take {profile.freeze_seconds_max:g} s; at most {FREEZE_SECONDS_MAX:g} are allowed"
    hours = profile.prove_every_h
    if hours is not None and not PROVE_HOURS_MIN <= hours <= PROVE_HOURS_MAX:
        return f"it proves every {hours:g} h; {PROVE_HOURS_MIN:g} to {PROVE_HOURS_MAX:g} are allowed"
    kinds = [step.kind in FILE_KINDS for step in profile.steps]
    if kinds != sorted(kinds):
        return "file systems come last: what an application does before it is frozen may still write"
    for number, step in enumerate(profile.steps):
        found = _step_fault(step)
        if found is not None:
            return f"step {number} ({step.kind.value}): {found}"
    return None


def _step_fault(step: Step) -> str | None:
    if not 0 < step.seconds_max <= FREEZE_SECONDS_MAX:
        return f"it may take {step.seconds_max:g} s; at most {FREEZE_SECONDS_MAX:g} are allowed"
    given = {
        "mount": step.mount is not None, "freeze": bool(step.freeze), "thaw": bool(step.thaw),
        "option_file": step.option_file is not None, "connection": step.connection is not None,
        "socket": step.socket is not None, "domain": step.domain is not None,
    }  # fmt: skip
    needed, allowed = _FIELDS[step.kind]
    for name in needed:
        if not given[name]:
            return f"{name} is missing"
    for name, there in given.items():
        if there and name not in allowed:
            return f"{name} means nothing here"
    paths = [step.mount, step.option_file, step.socket, *step.freeze[:1], *step.thaw[:1]]
    for path in paths:
        if path is not None and (not path.startswith("/") or "\0" in path or "/../" in f"{path}/"):
            return f"`{path[:80]}` is not an absolute path"
    if any("\0" in word for word in (*step.freeze, *step.thaw)):
        return "an argument has a zero byte"
    if step.domain is not None and (step.domain.startswith("-") or not step.domain.isprintable()):
        return "that is no name of a domain"
    if step.connection is not None and _has_password(step.connection):
        return "a password belongs into a file (`passfile=...`), not into the connection string"
    return None


def _has_password(connection: str) -> bool:
    """Tell whether a connection string has a password, as a field or within a URL."""
    authority = connection.partition("://")[2].partition("/")[0]
    return "password" in connection.lower() or ":" in authority.rpartition("@")[0]


_FIELDS: dict[StepKind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    StepKind.COMMAND: (("freeze", "thaw"), ("freeze", "thaw")),
    StepKind.MARIADB: (("option_file",), ("option_file",)),
    StepKind.POSTGRESQL: (("connection",), ("connection",)),
    StepKind.FILESYSTEM: (("mount",), ("mount",)),
    StepKind.GUEST_AGENT: (("socket",), ("socket",)),
    StepKind.LIBVIRT: (("domain",), ("domain",)),
}
"""Of each kind: the fields that it needs, and all that it may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiesced:
    """What was reached at the instant, for the snapshot's record."""

    consistency: Consistency
    asked: Consistency | None
    """What the profile asks for; None if nothing was asked, or there was nothing to hold."""
    quiesce_ms: float | None
    transcript: tuple[str, ...]

"""Events: what happened that a person should know, one for each trouble, counted while it lasts."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from drystone.domain.ids import AccountId

INSTALLATION = AccountId("")
"""Whose an event is that belongs to no account: administrators see it."""
FLOOD_MAX = 50
"""So many troubles of one kind and account have an event each; what is more of them is one event."""
REASON_CHARS_MAX = 500


class Severity(StrEnum):
    """How bad it is."""

    WARNING = "warning"
    """It goes on, with less than was wanted."""
    ERROR = "error"
    """Something failed, or will unless somebody acts."""


class EventKind(StrEnum):
    """What kinds of trouble there are."""

    # An account's.
    SNAPSHOT_FAILED = "snapshot_failed"
    CONSISTENCY_REDUCED = "consistency_reduced"
    """A snapshot is worth less than its disk's profile asks for."""
    OPERATION_FAILED = "operation_failed"
    OPERATION_STUCK = "operation_stuck"
    """It cannot be given up, and is tried again and again (S23)."""
    DISK_UNFIT = "disk_unfit"
    """A recovery could not bring the disk in order."""
    TRACKING_LOST = "tracking_lost"
    TRACKING_WRONG = "tracking_wrong"
    """An audit found changes that tracking had missed (A12)."""
    SNAPSHOT_DAMAGED = "snapshot_damaged"
    SNAPSHOT_SUSPECT = "snapshot_suspect"
    PROOF_FAILED = "proof_failed"
    RUN_FAILED = "run_failed"
    """A policy has no snapshot of a disk at a time that it names, and should have one."""
    RUN_SKIPPED = "run_skipped"
    """Likewise, and the one before is still being made, or the disk is in the recycle bin."""
    RUNS_MISSED = "runs_missed"
    """A policy's times have passed without a run: the server was off, or its clock was wrong."""
    # The installation's.
    OBJECT_DAMAGED = "object_damaged"
    DAMAGE_MENDED = "damage_mended"
    SPACE_LOW = "space_low"
    STORE_UNREACHABLE = "store_unreachable"
    STORE_REFUSED = "store_refused"
    STORE_FOREIGN = "store_foreign"
    STORE_HELD = "store_held"
    BACKUP_FAILED = "backup_failed"
    CLOCK_DOUBTED = "clock_doubted"
    DAEMON_DIED = "daemon_died"

    @property
    def severity(self) -> Severity:
        """How bad events of this kind are."""
        return Severity.WARNING if self in _WARNINGS else Severity.ERROR

    @property
    def ends_when_seen(self) -> bool:
        """Whether it is over once somebody has acknowledged it: it has no end of its own that can be noticed."""
        return self in _PAST


_WARNINGS = frozenset({
    EventKind.CONSISTENCY_REDUCED, EventKind.TRACKING_LOST, EventKind.DAMAGE_MENDED, EventKind.SPACE_LOW,
    EventKind.STORE_HELD, EventKind.DAEMON_DIED, EventKind.CLOCK_DOUBTED, EventKind.SNAPSHOT_SUSPECT,
    EventKind.RUN_SKIPPED, EventKind.RUNS_MISSED,
})  # fmt: skip
_PAST = frozenset({
    EventKind.OPERATION_FAILED, EventKind.DISK_UNFIT, EventKind.TRACKING_WRONG, EventKind.DAMAGE_MENDED,
    EventKind.DAEMON_DIED, EventKind.RUN_FAILED, EventKind.RUN_SKIPPED, EventKind.RUNS_MISSED,
})  # fmt: skip


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a trouble, short; which fields count is said by the kind."""

    reason: str = ""
    """In the words of whoever noticed it."""
    disk_id: str | None = None
    snapshot_id: str | None = None
    operation_id: str | None = None
    operation_kind: str | None = None
    asked: str | None = None
    """Of a consistency: what was wanted."""
    given: str | None = None
    """Of a consistency or a proof: what came of it."""
    object: str | None = None
    """Name of an object in the store."""
    blocks: int | None = None
    """How many blocks are meant."""
    snapshots: int | None = None
    """How many snapshots are hit."""
    disks: int | None = None
    """How many disks are hit."""
    free_bytes: int | None = None
    seconds: int | None = None
    """Of a clock: how far it leapt."""
    at: float | None = None
    """A time that matters, seconds since the epoch: of the newest copy of the catalog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What makes two troubles the same one: at any time there is at most one event of it that is not over (S220)."""

    kind: EventKind
    account_id: AccountId = INSTALLATION
    subject_id: str = ""
    """The disk, snapshot, operation, object, file system or daemon; empty for one event of many subjects."""
    aspect: str = ""
    """What of the subject, where it can have several: the kind of an operation."""

    @property
    def of_many(self) -> "Trouble":
        """The trouble that stands for many of its kind and account."""
        return Trouble(kind=self.kind, account_id=self.account_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the event table. Times are seconds since the epoch, UTC."""

    id: str
    kind: EventKind
    account_id: AccountId
    subject_id: str
    aspect: str
    facts: Facts
    """As of the last time."""
    first_seen_at: float
    last_seen_at: float
    count: int = 1
    """How often it happened; of an event of many subjects, how many."""
    resolved_at: float | None = None
    """When it was over."""
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    """Id of the account."""
    revision: int
    """Rises with each change of any event: who follows them asks for what is above the last one that it saw."""

    @property
    def trouble(self) -> Trouble:
        """What it is about."""
        return Trouble(
            kind=self.kind, account_id=self.account_id, subject_id=self.subject_id, aspect=self.aspect
        )  # fmt: skip


Lasting = dict[Trouble, tuple[Facts, int]]
"""Troubles that are there now: what is known of each, and how many it stands for."""


def folded(found: Iterable[tuple[Trouble, Facts]]) -> Lasting:
    """Return troubles of which a flood of one kind and account is one, that says how many (S221)."""
    groups: dict[Trouble, list[tuple[Trouble, Facts]]] = {}
    for trouble, facts in found:
        groups.setdefault(trouble.of_many, []).append((trouble, facts))
    folded: dict[Trouble, tuple[Facts, int]] = {}
    for many, group in groups.items():
        if len(group) > FLOOD_MAX:
            folded[many] = (Facts(reason=group[0][1].reason), len(group))
        else:
            folded.update({trouble: (facts, 1) for trouble, facts in group})
    return folded

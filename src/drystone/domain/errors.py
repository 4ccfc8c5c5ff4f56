"""The four kinds of error, told apart by what the caller may do next.

A bug is an `AssertionError` and ends the process. A `RefusalError` changed nothing and carries the wire code. A
`ProtocolError` or `IntegrityError` means wrong bytes: never retried, never silently repaired. An
`UnavailableError` may be tried again. What the operating system refuses because something is full, used up or broken
is of the last kind too, wherever it is met (`expected`): only programs make bugs.
"""

import contextlib
import errno
from collections.abc import Iterator
from enum import StrEnum
from typing import Final


class DrystoneError(Exception):
    """Root of every expected failure."""


class ConfigError(DrystoneError):
    """The configuration is missing, unreadable or wrong; the message is one line that says what to do."""


class Refusal(StrEnum):
    """Why a call is refused, or work ended without result. Which code that is on a wire, each wire has a table for."""

    # The call is wrong.
    BAD_VALUE = "bad_value"
    MISSING = "missing"
    TOO_MANY = "too_many"
    """More things than one call may name or make."""
    TOO_MANY_TAGS = "too_many_tags"
    BAD_FILTER = "bad_filter"
    BAD_TOKEN = "bad_token"  # noqa: S105 - no secret
    NOT_SOLD = "not_sold"
    """There are no disks of that kind here."""
    NOT_OFFERED = "not_offered"
    """Nobody can do that here."""
    SIZES_DIFFER = "sizes_differ"
    NOT_TOGETHER = "not_together"
    """The disks have no instant in common, by what they are attached to."""
    # What it names is not there, or is another account's.
    NO_SUCH_DISK = "no_such_disk"
    NO_SUCH_SNAPSHOT = "no_such_snapshot"
    NO_SUCH_GROUP = "no_such_group"
    NO_SUCH_INSTANCE = "no_such_instance"
    NO_SUCH_BACKUP = "no_such_backup"
    NO_SUCH_POLICY = "no_such_policy"
    NO_SUCH_THING = "no_such_thing"
    # It cannot be done with that.
    DISK_UNFIT = "disk_unfit"
    """Somebody must bring the disk into another state first, or it is of another kind."""
    INSTANCE_UNFIT = "instance_unfit"
    NOT_ELASTIC = "not_elastic"
    OTHER_ZONE = "other_zone"
    ATTACHED = "attached"
    SEVERAL_INSTANCES = "several_instances"
    ALREADY_BOUND = "already_bound"
    IN_USE = "in_use"
    SHARED = "shared"
    SNAPSHOT_UNFIT = "snapshot_unfit"
    """It is of a kind that this is not done with."""
    # It passes.
    BUSY = "busy"
    SNAPSHOT_CREATING = "snapshot_creating"
    ROLLING_BACK = "rolling_back"
    GROUP_BUSY = "group_busy"
    BACKUP_CREATING = "backup_creating"
    NOT_NOW = "not_now"
    LINEAGE_UNKNOWN = "lineage_unknown"
    # It is too much.
    FULL = "full"
    DISK_QUOTA = "disk_quota"
    SNAPSHOT_QUOTA = "snapshot_quota"
    POLICY_QUOTA = "policy_quota"
    BIND_LIMIT = "bind_limit"
    """More disks than one policy may have."""
    INSTANCE_FULL = "instance_full"
    SHARE_QUOTA = "share_quota"
    BACKUP_QUOTA = "backup_quota"
    LIMIT = "limit"
    TOO_MUCH_AT_ONCE = "too_much_at_once"
    # The caller may not.
    NOT_ALLOWED = "not_allowed"
    PASSWORD_WRONG = "password_wrong"  # noqa: S105 - no secret
    PASSWORD_NEEDED = "password_needed"  # noqa: S105 - no secret
    # It went wrong.
    NO_ANSWER = "no_answer"
    CANCELLED = "cancelled"
    """Somebody wanted it to end without result."""
    TOO_LATE = "too_late"
    """It has ended, or has gone too far to be taken back."""
    NOT_DONE = "not_done"
    """Nothing is as it was asked for; everything is as it was."""
    INTERNAL = "internal"


class RefusalError(DrystoneError):
    """A request that is refused; nothing was changed.

    Args:
        kind: Why.
        message: One sentence: what, which object, values seen and expected, what to do.
    """

    def __init__(self, kind: Refusal, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class PassingError(RefusalError):
    """A refusal for a state that an operation is about to leave: within seconds, the same call may be accepted."""


class ProtocolError(DrystoneError):
    """A peer or a file broke its format; drop the connection, quarantine the object."""


class IntegrityError(DrystoneError):
    """Stored bytes are not what was written; nothing is served from them."""


class UnavailableError(DrystoneError):
    """A peer did not answer or cannot now; the same idempotent call may succeed later.

    Args:
        message: What failed, for the log and for whoever runs the host.
        shown: What any client may be told of it: one sentence without paths, and what to do.
    """

    def __init__(self, message: str, *, shown: str | None = None) -> None:
        super().__init__(message)
        self.shown = shown


class OutcomeUnknownError(DrystoneError):
    """What was asked for was done or was not, and nobody can say which: undo nothing, look later at what is there."""


class StoreUnavailableError(UnavailableError):
    """The object store does not answer, or refuses the keys: what needs it waits, however long that takes."""


class KeysRefusedError(StoreUnavailableError):
    """The object store refuses the keys: somebody must give others."""


class SpaceError(UnavailableError):
    """Writing would go below the floor of free space that belongs to the disks, or the file system is full."""


class RetainedError(UnavailableError):
    """The store keeps an object, whoever deletes it: that is pending.

    Args:
        message: As `UnavailableError`.
        seconds: For how long it does; infinity where somebody must take a hold away.
    """

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class SnapshotBrokenError(DrystoneError):
    """The frozen view of a disk is gone (scratch full, budget spent, daemon dead): merge back and fail (A4)."""


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_PASSING: Final = {
    errno.EMFILE: "The server has no file descriptors left; try again.",
    errno.ENFILE: "The host has no file descriptors left; try again.",
    errno.ENOMEM: "The host has no memory left; try again.",
    errno.EAGAIN: "The host has no processes left; try again.",
    errno.EROFS: "A file system of the host is read-only; its administrator must look after it.",
    errno.EIO: "A drive of the host does not work; its administrator must look after it.",
}
"""What a host may run out of or have broken, and what clients are told. The first four pass by themselves."""


def expected(error: BaseException) -> DrystoneError | None:
    """Return the expected failure that an exception is; None for a bug.

    A full, used up or broken part of the host shows itself as an OSError or a MemoryError anywhere, and is no bug.
    """
    if isinstance(error, DrystoneError):
        return error
    if isinstance(error, MemoryError):
        return UnavailableError("out of memory", shown=_PASSING[errno.ENOMEM])
    if isinstance(error, OSError) and error.errno in _FULL:
        return SpaceError(str(error))
    if isinstance(error, OSError) and error.errno in _PASSING:
        return UnavailableError(str(error), shown=_PASSING[error.errno])
    if isinstance(error, BaseExceptionGroup):
        causes = [expected(one) for one in error.exceptions]
        return None if None in causes else causes[0]
    return None


@contextlib.contextmanager
def ungrouped(kind: type[Exception]) -> Iterator[None]:
    """Raise the first error of a kind by itself, where a task group in the block raises a group of such errors.

    `except*` cannot do that: Python before 3.11.4, which Debian 12 has, puts into a group what is raised there.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        found, others = group.split(kind)
        if found is None or others is not None:
            raise
        first: BaseException = found
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None

"""The four kinds of error, told apart by what the caller may do next.

A bug is an `AssertionError` and ends the process. A `RefusalError` changed nothing and carries the wire code. A
`ProtocolError` or `IntegrityError` means wrong bytes: never retried, never silently repaired. An
`UnavailableError` may be tried again. What the operating system refuses because something is full, used up or broken
is of the last kind too, wherever it is met (`expected`): only programs make bugs.
"""

import contextlib
import errno
from collections.abc import Iterator
from typing import Final


class DrystoneError(Exception):
    """Root of every expected failure."""


class RefusalError(DrystoneError):
    """A request that is refused; nothing was changed.

    Args:
        code: The wire code of the CBS API, for example `InvalidDiskId.NotFound`.
        message: One sentence: what, which object, values seen and expected, what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
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


class SpaceError(UnavailableError):
    """Writing would go below the floor of free space that belongs to the disks, or the file system is full."""


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

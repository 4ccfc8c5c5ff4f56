"""The four kinds of error, told apart by what the caller may do next.

A bug is an `AssertionError` and ends the process. A `RefusalError` changed nothing and carries the wire code. A
`ProtocolError` or `IntegrityError` means wrong bytes: never retried, never silently repaired. An
`UnavailableError` may be tried again.
"""


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
    """A peer did not answer or cannot now; the same idempotent call may succeed later."""


class SpaceError(UnavailableError):
    """Writing would go below the floor of free space that belongs to the disks, or the file system is full."""


class SnapshotBrokenError(DrystoneError):
    """The frozen view of a disk is gone (scratch full, budget spent, daemon dead): merge back and fail (A4)."""

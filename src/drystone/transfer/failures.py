"""Errors of a worker as a line of its output, and back: whoever waits for a job meets what it met."""

from typing import Final

from drystone.domain.errors import (
    DrystoneError,
    IntegrityError,
    KeysRefusedError,
    ProtocolError,
    Refusal,
    RefusalError,
    SnapshotBrokenError,
    SpaceError,
    StoreUnavailableError,
    UnavailableError,
)
from drystone.objects.contract import NotFoundError
from drystone.snapstore.packs import MissingPackError
from drystone.transfer.jobs import Failure

BUG: Final = "bug"
"""`Failure.kind` of an exception that is nobody's fault but ours."""
KINDS: Final[dict[str, type[DrystoneError]]] = {
    kind.__name__: kind
    for kind in (
        DrystoneError,
        IntegrityError,
        KeysRefusedError,
        MissingPackError,
        NotFoundError,
        ProtocolError,
        RefusalError,
        SnapshotBrokenError,
        SpaceError,
        StoreUnavailableError,
        UnavailableError,
    )
}


def failure_of(error: DrystoneError) -> Failure:
    """Return the line of an error: of a kind that is not among those, the nearest that it is derived from.

    So what passes by itself does not become what does not, only because somebody told a new kind apart.
    """
    kind = next(one.__name__ for one in type(error).__mro__ if one.__name__ in KINDS)
    refused = error.kind if isinstance(error, RefusalError) else ""
    return Failure(kind=kind, message=str(error), refused=refused)


def error_of(failure: Failure) -> Exception:
    """Return the exception that a worker had."""
    if failure.kind == BUG:
        return AssertionError(f"worker: {failure.message}")
    if failure.kind == RefusalError.__name__:
        return RefusalError(Refusal(failure.refused), failure.message)
    return KINDS.get(failure.kind, DrystoneError)(failure.message)

"""An error of a worker is the same for who waits for its job, or the nearest kind that is told apart."""

import msgspec
import pytest

from drystone.domain.errors import (
    DrystoneError,
    IntegrityError,
    KeysRefusedError,
    PassingError,
    Refusal,
    RefusalError,
    StoreUnavailableError,
    UnavailableError,
)
from drystone.snapstore.packs import MissingPackError
from drystone.transfer.failures import BUG, error_of, failure_of
from drystone.transfer.jobs import Failure


class NewerError(StoreUnavailableError):
    """Somebody tells something apart that passes by itself."""


def crossed(error: DrystoneError) -> Exception:
    return error_of(msgspec.json.decode(msgspec.json.encode(failure_of(error)), type=Failure))


@pytest.mark.parametrize("kind", [DrystoneError, IntegrityError, KeysRefusedError, MissingPackError, UnavailableError])
def test_what_is_told_apart_stays_what_it_is(kind: type[DrystoneError]) -> None:
    error = crossed(kind("why"))
    assert (type(error), str(error)) == (kind, "why")


def test_what_passes_by_itself_does_so_whoever_derives_from_it() -> None:
    assert type(crossed(NewerError("busy"))) is StoreUnavailableError
    refused = crossed(PassingError(Refusal.BUSY, "Wait."))
    assert isinstance(refused, RefusalError)
    assert (refused.kind, refused.message) == (Refusal.BUSY, "Wait.")
    assert isinstance(error_of(Failure(kind=BUG, message="ZeroDivisionError")), AssertionError)

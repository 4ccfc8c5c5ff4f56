"""What an object store is, to everything above it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from drystone.domain.errors import DrystoneError

Buffer = bytes | bytearray | memoryview
Parts = Buffer | Sequence[Buffer]
"""What an object is written from: one buffer, or several that follow each other."""

NAME_BYTES_MAX = 512
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class NotFoundError(DrystoneError):
    """No object of this name was found; a listing that is behind can be the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEntry:
    """One row of a listing."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTime:
    """What time it is where the objects are.

    Attributes:
        at: Seconds since the epoch, UTC.
        elsewhere: Whether that is surely another machine's clock, so that it bears witness to this machine's.
    """

    at: float
    elsewhere: bool


class ObjectStore(Protocol):
    """Named immutable byte strings. Every method may be called from any thread, and blocks.

    Names are `/`-separated segments of letters, digits, `.`, `_`, `-`, none beginning with a dot.
    All methods raise `UnavailableError` when the store does not answer; the same call may then be made again.
    """

    def put(self, name: str, data: Parts) -> str | None:
        """Write a new object; when this returns, it survives a power cut.

        Returns:
            The version that the store gave this very write (S274): it stays this content whatever is written to the
            name later. None: the store keeps no versions, or nobody knows, as when an earlier try turns out to have
            written it.

        Raises:
            IntegrityError: The name exists already; it keeps its content (I2).
            SpaceError: It would not fit above the floor of free space; nothing was written.
        """
        ...

    def replace(self, name: str, data: Parts) -> str | None:
        """Write one of the few mutable objects: at any moment it has the old or the new content.

        Returns:
            As `put`.

        Raises:
            SpaceError: As `put`; the old content stays.
        """
        ...

    def get(self, name: str) -> bytes:
        """Return a whole object.

        Raises:
            NotFoundError: There is none.
            IntegrityError: Its drive does not give it back, now and later.
        """
        ...

    def get_range(self, name: str, start: int, stop: int) -> bytes:
        """Return bytes `[start, stop)`, fewer if the object ends before `stop`.

        Raises:
            NotFoundError: There is none.
            IntegrityError: As `get`.
        """
        ...

    def size(self, name: str) -> int:
        """Return an object's length in bytes.

        Raises:
            NotFoundError: There is none.
        """
        ...

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        """Yield all objects whose names begin with `prefix`, in the order of their names."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object for good (also across a power cut); nothing happens if there is none."""
        ...

    def clock(self) -> StoreTime | None:
        """Return what time the store has; None if it has none. Costs a request."""
        ...


def check_name(name: str) -> None:
    """Assert that a name is one that every store can hold."""
    valid = len(name) <= NAME_BYTES_MAX and all(_SEGMENT.fullmatch(part) for part in name.split("/"))
    assert valid, f"object name {name!r} is malformed"


def parts_of(data: Parts) -> Sequence[Buffer]:
    """Return the parts that `put` and `replace` were given."""
    return (data,) if isinstance(data, bytes | bytearray | memoryview) else data

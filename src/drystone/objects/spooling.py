"""A store whose new objects lie in a spool of this machine first: whoever writes is done at the machine's speed."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from drystone.domain.errors import IntegrityError, SpaceError, UnavailableError
from drystone.durable_files import write_durably
from drystone.objects.around import Around
from drystone.objects.contract import NotFoundError, ObjectStore, Parts, parts_of
from drystone.objects.local import LocalStore

_LOCK: Final = ".lock"
_VERSION: Final = ".version"
"""Ends the name under which a spool has the version of what was sent from it."""


class SpoolPlace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one writer's objects lie until they are sent.

    Attributes:
        directory: Of this writer alone; those of all writers are in one directory.
        bytes_max: What they may hold together.
        floor_bytes: Free space of the file system that stays untouched.
    """

    directory: str
    bytes_max: int
    floor_bytes: int


class SpooledObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object that lies in a spool: its name, its length, and the SHA-256 of its content."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooling(Around):
    """An `ObjectStore` whose `put` writes into a spool while that has room, and else into the store itself.

    What was put is durable on this machine then, and is in nobody's store: the writer says that it is done only after
    `send` has returned for all of `spooled`. What must be there after other objects follows them into the spool, also
    beyond its bound (I1). Nothing that is in the spool can be read here.

    Attributes:
        place: Where.
        apart: Tells of a name whether others need not be there before it.
        spooled: What lies in the spool, in the order of its writing.
    """

    place: SpoolPlace
    apart: Callable[[str], bool]
    spooled: list[SpooledObject] = field(default_factory=list)

    def put(self, name: str, data: Parts) -> str | None:
        """Write a new object; see the class. In the spool it has no version; `send` tells it.

        Raises:
            SpaceError: It must follow others into the spool, and there is no room for it.
        """
        parts = parts_of(data)
        size = sum(memoryview(part).nbytes for part in parts)
        follows = bool(self.spooled) and not self.apart(name)
        with _alone(Path(self.place.directory).parent) as held_bytes:
            if follows or held_bytes + size <= self.place.bytes_max:
                try:
                    LocalStore(Path(self.place.directory), self.place.floor_bytes).put(name, parts)
                except SpaceError:
                    if follows:
                        raise
                else:
                    digest = hashlib.sha256()
                    for part in parts:
                        digest.update(part)
                    self.spooled.append(SpooledObject(name=name, bytes=size, sha256=digest.hexdigest()))
                    return None
        return self.inner.put(name, parts)


def send(directory: Path, one: SpooledObject, objects: ObjectStore) -> str | None:
    """Bring an object from a spool into its store, and let go of it here; may be done again after any end.

    Its version stays noted in the spool, where that can be, so that who sends the rest later has it, too (S274).

    Returns:
        As `ObjectStore.put`.

    Raises:
        IntegrityError: The spool has other bytes than were written, or none and the store has none either.
        UnavailableError, SpaceError: It could not be done now.
    """
    spool = LocalStore(directory, 0)
    try:
        raw = spool.get(one.name)
    except NotFoundError:
        if _size(objects, one.name) != one.bytes:
            raise IntegrityError(f"{one.name} is neither in the spool nor in the store") from None
        return _noted(spool, one)
    if hashlib.sha256(raw).hexdigest() != one.sha256:
        raise IntegrityError(f"{one.name} in the spool is not what was written")
    try:
        version = objects.put(one.name, raw)
    except IntegrityError:
        # Who began to send it has died before he let go of it.
        if objects.get(one.name) != raw:
            raise
        version = _noted(spool, one)
    else:
        if version is not None:
            # Who comes late, when the spool was removed, must not make it anew.
            with contextlib.suppress(OSError):
                write_durably(directory / (one.name + _VERSION), version.encode())
    # Its directory stays: the writer may just be putting the next one there. The whole spool goes at the end.
    with contextlib.suppress(OSError):
        (directory / one.name).unlink()
    return version


def held_bytes(spools: Path) -> int:
    """Return what all spools in a directory hold."""
    total = 0
    for folder, _, names in os.walk(spools):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(folder) / name).lstat().st_size
    return total


@contextlib.contextmanager
def _alone(spools: Path) -> Iterator[int]:
    """Keep other writers out, and give what all spools hold."""
    try:
        spools.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(spools / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UnavailableError(f"{spools}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield held_bytes(spools)
    finally:
        os.close(file)


def _noted(spool: LocalStore, one: SpooledObject) -> str | None:
    """Return the version of an object that was sent before; None if its sender ended before he noted it."""
    with contextlib.suppress(NotFoundError, IntegrityError, UnicodeDecodeError):
        return spool.get(one.name + _VERSION).decode()
    return None


def _size(objects: ObjectStore, name: str) -> int:
    try:
        return objects.size(name)
    except NotFoundError:
        return -1

"""Files of this host that a person names: opened once, and from then on known by descriptor.

A name is only a hint. Between two looks at it, whoever may write to a directory of its path can make it lead elsewhere,
to a file that only root may read or should write. So every component is opened by the one before it. A symbolic link
is followed if it belongs to root or to the server's user, and refused if it is anybody else's.
"""

import contextlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from drystone.domain.errors import ProtocolError, UnavailableError

LINKS_MAX = 40
"""As the kernel has it. Source: linux/include/linux/namei.h, MAXSYMLINKS."""
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

FileId = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file that has no name yet, and the place of its name. Close it with `drop`."""

    path: Path
    directory: int
    descriptor: int
    part: str | None
    """Its name for the time being, on file systems that have no files without one."""


def open_file(path: Path) -> int:
    """Open a regular file that has one name, for reading; return its descriptor, which the caller closes.

    Raises:
        ProtocolError: It is no such file, or a link of another user leads to it.
        UnavailableError: It cannot be opened.
    """
    with _walked(path) as found:
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode):
            raise ProtocolError(f"{path} is not a regular file")
        if status.st_nlink != 1:
            raise ProtocolError(f"{path} has {status.st_nlink} names (hard links); copy it, and import the copy")
        with _told(path, "read"):
            return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)


def open_directory(path: Path) -> int:
    """Open a directory, to reach what is in it; return its descriptor, which the caller closes.

    Raises:
        ProtocolError: It is no directory, or a link of another user leads to it.
        UnavailableError: It cannot be opened.
    """
    with _walked(path) as found:
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            raise ProtocolError(f"{path} is not a directory")
        with _told(path, "used"):
            return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def file_id(descriptor: int) -> FileId:
    """Return which file it is."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def lies_in(path: Path, directories: tuple[Path, ...]) -> bool:
    """Tell whether the directory of `path` is one of these or below one, by whatever name.

    Of these, one that is not there has nothing below it.

    Raises:
        ProtocolError: A link of another user leads there.
        UnavailableError: It cannot be looked at.
    """
    own = set()
    for directory in directories:
        with _told(directory, "looked at"), contextlib.suppress(FileNotFoundError):
            found = directory.stat()
            own.add((found.st_dev, found.st_ino))
    at = open_directory(path.parent)
    try:
        while (here := file_id(at)) not in own:
            with _told(path, "used"):
                above = os.open("..", _LOOK | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = above
            if file_id(at) == here:
                return False
        return True
    finally:
        os.close(at)


def exists(path: Path) -> bool:
    """Tell whether something has this name, without following it.

    Raises:
        ProtocolError: Its directory is none, or a link of another user leads there.
        UnavailableError: Its directory cannot be opened.
    """
    directory = open_directory(path.parent)
    try:
        return _in_directory(directory, path.name) is not None
    finally:
        os.close(directory)


def begin(path: Path, part: str) -> NewFile:
    """Begin a file that gets its name when it is whole; until then nobody finds it.

    Args:
        path: Its name to be.
        part: A name beside it, ours alone, for file systems that cannot make a file without one. What a crash left
            under it goes.

    Raises:
        ProtocolError: Its directory is none, or a link of another user leads there.
        UnavailableError: It cannot be made.
    """
    directory = open_directory(path.parent)
    try:
        with _told(path, "made"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=directory)
            try:
                descriptor = os.open(f"/proc/self/fd/{directory}", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(part, flags, 0o600, dir_fd=directory)
                return NewFile(path=path, directory=directory, descriptor=descriptor, part=part)
            return NewFile(path=path, directory=directory, descriptor=descriptor, part=None)
    except BaseException:
        os.close(directory)
        raise


def publish(new: NewFile) -> None:
    """Make a file durable and give it its name.

    Raises:
        FileExistsError: Something has that name; it stays as it is.
        UnavailableError: It cannot be named.
    """
    os.fsync(new.descriptor)
    try:
        # With a directory Python calls linkat(2) and follows /proc's link, which link(2) does not.
        os.link(f"/proc/self/fd/{new.descriptor}", new.path.name, dst_dir_fd=new.directory, follow_symlinks=True)
    except FileExistsError:
        raise
    except OSError as error:
        raise UnavailableError(f"{new.path} cannot be made: {error.strerror}") from error
    os.fsync(new.directory)


def drop(new: NewFile) -> None:
    """Close it; if it has no name by now, it is gone."""
    if new.part is not None:
        with contextlib.suppress(OSError):
            os.unlink(new.part, dir_fd=new.directory)
    os.close(new.descriptor)
    os.close(new.directory)


def named(path: Path, identity: tuple[int, ...] | None) -> bool:
    """Tell whether the file of this name is the one of this identity (`identity_of`)."""
    try:
        directory = open_directory(path.parent)
    except (ProtocolError, UnavailableError):
        return False
    try:
        found = _in_directory(directory, path.name)
    finally:
        os.close(directory)
    return found is not None and _identity(found) == identity


def identity_of(descriptor: int) -> tuple[int, ...]:
    """Return what tells a finished file from any other: an inode alone is given to the next file."""
    return _identity(os.fstat(descriptor))


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _in_directory(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _walked(path: Path) -> Iterator[int]:
    """Give a descriptor of what `path` names, for looking only."""
    assert path.is_absolute()
    left, links = deque(path.parts[1:]), 0
    at = os.open("/", _LOOK | os.O_DIRECTORY)
    try:
        while left:
            name = left.popleft()
            with _told(path, "read"):
                found = os.open(name, _LOOK, dir_fd=at)
            status = os.fstat(found)
            if not stat.S_ISLNK(status.st_mode):
                os.close(at)
                at = found
                continue
            try:
                target = Path(os.readlink("", dir_fd=found))
            finally:
                os.close(found)
            links += 1
            if status.st_uid not in {0, os.geteuid()}:
                raise ProtocolError(f"{path}: `{name}` is a symbolic link of user {status.st_uid}; give the real path")
            if links > LINKS_MAX:
                raise ProtocolError(f"{path} leads through more than {LINKS_MAX} symbolic links")
            if target.is_absolute():
                os.close(at)
                at = os.open("/", _LOOK | os.O_DIRECTORY)
            left.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))
        yield at
    finally:
        os.close(at)


@contextlib.contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"{path} cannot be {what}: {error.strerror}") from error

"""Objects as files of one directory, durable when a call returns (P5)."""

import errno
import fcntl
import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from drystone.domain.errors import IntegrityError, SpaceError, UnavailableError
from drystone.durable_files import sync_file
from drystone.objects.contract import Buffer, NotFoundError, ObjectEntry, Parts, StoreTime, check_name, parts_of

_TEMPORARY = ".temporary"
_IOV_MAX = 512
_DURABLE_MAX = 4096
_VANISHED_RETRIES = 8


class LocalStore:
    """An `ObjectStore` in directory `root`; any number of processes may have it open.

    A write goes to a locked file under `.temporary`, is flushed, and is then given its name by a hard link,
    which never replaces a file; then the directory is flushed, and at its first use all directories above it.
    What a dead process left in `.temporary` is unlocked, and is removed when the store is opened.

    Args:
        root: Made if missing.
        floor_bytes: Free space that a write may not use: it belongs to the guests' disks alone.

    Raises:
        UnavailableError: The directory cannot be used.
    """

    def __init__(self, root: Path, floor_bytes: int) -> None:
        self._root = root
        self._counter = itertools.count()
        self._lock = threading.Lock()
        self._durable: set[Path] = set()
        with _translated(str(root)):
            (root / _TEMPORARY).mkdir(parents=True, exist_ok=True)
            sync_file(root)
            sync_file(root.parent)
            self._sweep()
        self._floor_bytes = floor_bytes

    def put(self, name: str, data: Parts) -> None:
        """Write a new object; see `ObjectStore.put`."""

        def link(temporary: Path, path: Path) -> None:
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise IntegrityError(f"object {name} exists already, and is never written twice") from None

        self._write(name, data, link)

    def replace(self, name: str, data: Parts) -> None:
        """Write a mutable object; see `ObjectStore.replace`."""
        self._write(name, data, Path.replace)

    def _write(self, name: str, data: Parts, give_name: Callable[[Path, Path], object]) -> None:
        path = self._path(name)
        with _translated(name), self._written(data) as temporary:
            for _ in range(_VANISHED_RETRIES):
                try:
                    self._make_durable(path.parent)
                    give_name(temporary, path)
                    break
                except FileNotFoundError:
                    # Whoever removed the last object there removed the directory with it.
                    self._forget(path.parent)
            else:
                raise UnavailableError(f"object {name}: its directory vanishes")
            sync_file(path.parent)

    def get(self, name: str) -> bytes:
        """Return a whole object; see `ObjectStore.get`."""
        with _translated(name), _readable(name):
            return self._path(name).read_bytes()

    def get_range(self, name: str, start: int, stop: int) -> bytes:
        """Return part of an object; see `ObjectStore.get_range`."""
        assert 0 <= start <= stop
        with _translated(name), _readable(name):
            file = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                parts = []
                while start < stop:
                    part = os.pread(file, stop - start, start)
                    if not part:
                        break
                    parts.append(part)
                    start += len(part)
                return parts[0] if len(parts) == 1 else b"".join(parts)
            finally:
                os.close(file)

    def size(self, name: str) -> int:
        """Return an object's length; see `ObjectStore.size`."""
        with _translated(name):
            found = self._path(name).stat()
        if not stat.S_ISREG(found.st_mode):
            raise NotFoundError(f"object {name} does not exist")
        return found.st_size

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        """Yield the objects of a prefix; see `ObjectStore.list`."""
        folder, _, beginning = prefix.rpartition("/")
        if folder:
            check_name(folder)
        yield from self._walk(self._root / folder if folder else self._root, folder, beginning)

    def delete(self, name: str) -> None:
        """Remove an object; see `ObjectStore.delete`. The directory goes with its last object."""
        path = self._path(name)
        with _translated(name):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                # The unlink of an earlier call may not be durable yet.
                if path.parent.is_dir():
                    sync_file(path.parent)
                return
            sync_file(path.parent)
            self._remove_empty(path.parent)

    def clock(self) -> StoreTime:
        """Return the time on a file that was just made: this machine's, or that of the server of its file system."""
        with _translated("the store's clock"):
            path, file = self._open_temporary()
            try:
                return StoreTime(at=os.fstat(file).st_mtime, elsewhere=False)
            finally:
                with suppress(FileNotFoundError):
                    path.unlink()
                os.close(file)

    def _path(self, name: str) -> Path:
        check_name(name)
        return self._root / name

    def _walk(self, folder: Path, name: str, beginning: str) -> Iterator[ObjectEntry]:
        """Yield the files below `folder` in the order of their full names."""
        try:
            with os.scandir(folder) as scan:
                found = [
                    (entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name, entry)
                    for entry in scan
                    if entry.name.startswith(beginning) and not entry.name.startswith(".")
                ]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise UnavailableError(f"cannot list {name or '/'}: {error}") from error
        for key, entry in sorted(found, key=lambda row: row[0]):
            full = f"{name}/{entry.name}" if name else entry.name
            if key.endswith("/"):
                yield from self._walk(folder / entry.name, full, "")
                continue
            with suppress(FileNotFoundError):
                yield ObjectEntry(name=full, size_bytes=entry.stat(follow_symlinks=False).st_size)

    def _check_space(self, needed_bytes: int) -> None:
        free = os.statvfs(self._root)
        free_bytes = free.f_bavail * free.f_frsize
        if free_bytes - needed_bytes < self._floor_bytes:
            raise SpaceError(
                f"object store {self._root}: {needed_bytes} bytes do not fit, {free_bytes} are free, "
                f"the last {self._floor_bytes} belong to the disks"
            )

    @contextmanager
    def _written(self, data: Parts) -> Iterator[Path]:
        """Give a flushed temporary file that holds `data`; it is unlinked at the end, whatever happens."""
        parts = parts_of(data)
        self._check_space(sum(len(part) for part in parts))
        path, file = self._open_temporary()
        try:
            _write_all(file, parts)
            os.fsync(file)
            yield path
        finally:
            with suppress(FileNotFoundError):
                path.unlink()
            os.close(file)

    def _open_temporary(self) -> tuple[Path, int]:
        for _ in range(_VANISHED_RETRIES):
            path = self._root / _TEMPORARY / f"{os.getpid()}.{id(self)}.{next(self._counter)}"
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            # Between the two calls another process's sweep may have taken it for a dead one's.
            if os.fstat(file).st_nlink:
                return path, file
            os.close(file)
        raise UnavailableError(f"{self._root / _TEMPORARY}: temporary files vanish")

    def _sweep(self) -> None:
        """Remove temporary files whose writers are dead: nobody holds their lock."""
        for path in (self._root / _TEMPORARY).iterdir():
            with suppress(FileNotFoundError, BlockingIOError):
                file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(file)

    def _make_durable(self, folder: Path) -> None:
        """Make `folder` and those above it, up to the root, exist after a power cut.

        That a directory is there does not say that whoever made it has flushed its parent: so each process
        does so once for each directory that it uses.
        """
        with self._lock:
            if folder in self._durable:
                return
        chain = [folder, *(above for above in folder.parents if self._root in above.parents)]
        for one in reversed(chain):
            with suppress(FileExistsError):
                one.mkdir()
            sync_file(one.parent)
        with self._lock:
            if len(self._durable) >= _DURABLE_MAX:
                self._durable.clear()
            self._durable.add(folder)

    def _forget(self, folder: Path) -> None:
        with self._lock:
            self._durable.discard(folder)

    def _remove_empty(self, folder: Path) -> None:
        """Remove `folder` if it is empty; those above it stay.

        It belongs to one session or one snapshot, whose last object goes only when nobody may write there any more; so
        no durable write of another process can fall between. Those above belong to all, and somebody may just be making
        a directory in them.
        """
        if folder == self._root:
            return
        self._forget(folder)
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn operating-system errors into the kinds that callers tell apart."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFoundError(f"object {name} does not exist") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SpaceError(f"object {name}: {error.strerror}") from error
        raise UnavailableError(f"object {name}: {error}") from error


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """A drive that does not give back what was written will not later either: that is damage, not a pause."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EIO, errno.EUCLEAN, errno.EBADMSG):
            raise IntegrityError(f"object {name} cannot be read from its drive: {error.strerror}") from error
        raise


def _write_all(file: int, parts: Sequence[Buffer]) -> None:
    """Write all parts, however the kernel cuts the calls."""
    waiting = [memoryview(part).cast("B") for part in parts if len(part)]
    at = 0
    while at < len(waiting):
        done = os.writev(file, waiting[at : at + _IOV_MAX])
        while at < len(waiting) and done >= len(waiting[at]):
            done -= len(waiting[at])
            at += 1
        if done:
            waiting[at] = waiting[at][done:]

"""Making the directory of sockets and pid files at a start, so that it is found again whatever happens (S103)."""

import errno
import hashlib
import shutil
from pathlib import Path

from drystone.domain.errors import UnavailableError
from drystone.engine import process
from drystone.engine.layout import RUN, Layout, unfit_for_sockets


def make(layout: Layout) -> None:
    """Make `layout.run`; where it cannot be in the data directory, that gets a link to it.

    Raises:
        UnavailableError: Daemons run where they could not be reached any more, or it cannot be made; the message says
            what to do.
        OSError: The file system is full.
    """
    inside, outside = layout.data / "run", layout.outside
    try:
        linked = inside.readlink() if inside.is_symlink() else None
        if linked is None and not unfit_for_sockets(layout.data):
            inside.mkdir(exist_ok=True, mode=0o700)
            return
        pid = None if linked == outside else _running(linked or inside)
        if pid is not None and linked is None:
            raise UnavailableError(
                f"storage daemons run in {inside} (process {pid}), and their sockets have no address under this name, "
                "too long or with one of %&;+=#?: give the directory its old name, run `drystone host stop`, move it"
            )
        if pid is not None:
            raise UnavailableError(
                f"{layout.data} is a copy: its `run` leads to {linked}, where the storage daemons of another directory "
                f"run (process {pid}); run `drystone host stop` there first"
            )
        _keep_earlier(layout.data, outside)
        outside.mkdir(exist_ok=True, mode=0o700)
        if linked != outside:
            if linked is not None:
                inside.unlink()
            elif inside.is_dir():
                shutil.rmtree(inside)
            inside.symlink_to(outside)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        where = error.filename or inside
        raise UnavailableError(
            f"no place for sockets: {where}: {error.strerror}; a path of at most 70 bytes without any of %&;+=#? needs "
            f"none outside of {layout.data}"
        ) from error


def _keep_earlier(data: Path, outside: Path) -> None:
    """Go on with the directory that a version before this one named after the path."""
    earlier = RUN / f"drystone-{hashlib.sha256(str(data).encode()).hexdigest()[:12]}"
    if earlier.is_dir() and not earlier.is_symlink() and not outside.exists():
        earlier.rename(outside)
        earlier.symlink_to(outside)  # By this name its daemons know their sockets.


def _running(run: Path) -> int | None:
    """Return a process that runs in a directory below this one."""
    directories = list(run.iterdir()) if run.is_dir() else []
    places = process.places() if directories else {}
    for directory in directories:
        found = process.adopt(directory, places)
        if found is not None:
            return found.pid
    return None

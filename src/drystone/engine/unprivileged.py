"""Programs that read what strangers wrote: they run as a user who owns nothing, and end when we do."""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence

from drystone.domain.errors import UnavailableError

USER_BASE, USERS_EACH, _SERVERS = 60_706, 32, 14
"""Users, and groups, of such programs. No account has them: they lie in a range, to 61183, that systemd's "Users,
Groups, UIDs and GIDs on systemd Systems" lists as unused. Each server has some of its own, as far as there are."""
_held: set[int] = set()
_lock = threading.Lock()


@contextlib.contextmanager
def user() -> Iterator[int]:
    """Hold a user for one program: one user's programs could look into each other (S190).

    Raises:
        UnavailableError: All are held.
    """
    first = USER_BASE + os.getpid() % _SERVERS * USERS_EACH
    with _lock:
        free = next((uid for uid in range(first, first + USERS_EACH) if uid not in _held), None)
        if free is None:
            raise UnavailableError(f"{USERS_EACH} image files are being read or written already; try again")
        _held.add(free)
    try:
        yield free
    finally:
        with _lock:
            _held.remove(free)


def mortal() -> Sequence[str]:
    """Return what a command line begins with, so that the kernel ends the program with the thread that started it."""
    return ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()


def prefix(uid: int, *, memory_bytes: int | None = None) -> Sequence[str]:
    """Return what a command line begins with, so that the program may do as little as possible.

    As root, it becomes a user without rights, in a network of its own that leads nowhere. Otherwise it stays the
    server's user, for only root may become another one. Either way it cannot gain rights, and ends with us.

    Args:
        uid: Of `user`.
        memory_bytes: Address space that it may take at most.

    Raises:
        UnavailableError: As root, and util-linux is not there: it would run with all rights.
    """
    limit = () if memory_bytes is None else ("prlimit", f"--as={memory_bytes}", "--core=0", "--")
    if os.geteuid() != 0:
        return (*limit, *mortal()) if shutil.which("prlimit") else mortal()
    if shutil.which("setpriv") is None:
        raise UnavailableError("setpriv, of the package util-linux, is not installed")
    identity = (f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
    last = ("--no-new-privs", "--pdeathsig", "KILL", "--")
    return (*limit, "unshare", "--net", "--ipc", "--", "setpriv", *identity, *last)


@contextlib.contextmanager
def lent(*descriptors: int) -> Iterator[int]:
    """Hold a user who may open files of ours by their descriptors (`/dev/fd/N`); nobody reaches them by name.

    Whatever runs as that user has to end before this does.

    Raises:
        UnavailableError: All users are held, or the file system does not let a file be given away.
    """
    with user() as uid:
        try:
            for one in descriptors:
                _own(one, uid)
            yield uid
        finally:
            for one in descriptors:
                _own(one, 0)


def _own(descriptor: int, uid: int) -> None:
    if os.geteuid() != 0:
        return
    try:
        os.fchown(descriptor, uid, uid)
    except OSError as error:
        raise UnavailableError(
            f"the file system does not let root change a file's owner ({error.strerror}), as NFS with root_squash: "
            "use a directory on a local file system, or export it with no_root_squash"
        ) from error

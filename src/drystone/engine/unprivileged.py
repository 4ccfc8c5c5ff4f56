"""Programs that read what strangers wrote: they run as a user who owns nothing, and end when we do."""

import os
import shutil
from collections.abc import Sequence

from drystone.domain.errors import UnavailableError

UID = 60_789
"""User and group of such programs. No account has it: it lies in a range that systemd's "Users, Groups, UIDs and GIDs
on systemd Systems" lists as unused."""


def mortal() -> Sequence[str]:
    """Return what a command line begins with, so that the kernel ends the program with the thread that started it."""
    return ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()


def prefix(*, memory_bytes: int | None = None) -> Sequence[str]:
    """Return what a command line begins with, so that the program may do as little as possible.

    As root, it becomes a user without rights, in a network of its own that leads nowhere. Otherwise it stays the
    server's user, for only root may become another one. Either way it cannot gain rights, and ends with us.

    Args:
        memory_bytes: Address space that it may take at most.

    Raises:
        UnavailableError: As root, and util-linux is not there: it would run with all rights.
    """
    limit = () if memory_bytes is None else ("prlimit", f"--as={memory_bytes}", "--core=0", "--")
    if os.geteuid() != 0:
        return (*limit, *mortal()) if shutil.which("prlimit") else mortal()
    if shutil.which("setpriv") is None:
        raise UnavailableError("setpriv, of the package util-linux, is not installed")
    identity = (f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
    last = ("--no-new-privs", "--pdeathsig", "KILL", "--")
    return (*limit, "unshare", "--net", "--ipc", "--", "setpriv", *identity, *last)


def lend(descriptor: int) -> None:
    """Let such a program open a file of ours by its descriptor (`/dev/fd/N`); nobody reaches it by name."""
    if os.geteuid() == 0:
        os.fchown(descriptor, UID, UID)


def take_back(descriptor: int) -> None:
    """Own a file again that was lent; whoever had it has ended."""
    if os.geteuid() == 0:
        os.fchown(descriptor, 0, 0)

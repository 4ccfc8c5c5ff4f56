"""A place in which foreign file systems are mounted and servers run on them, with nothing of this host to change.

Mounts, processes, network and shared memory are the process's own (`unshare`, see `command`): all of them end with it,
whoever kills it. Its root is made here: programs and their settings read-only, the few devices that it needs, and
nothing else. So a path in a foreign database that leads elsewhere leads to nothing, also where this host has it.
"""

import ctypes
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

BASE = Path("/tmp")  # noqa: S108 - our own mount on it, which nobody else sees
MEMORY = "size=256m"
"""Of each of the file systems in memory."""
DEVICES = ("null", "zero", "full", "random", "urandom")
SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc")
# Source: linux/include/uapi/linux/mount.h.
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096


class SandboxError(Exception):
    """The place could not be made."""


def command(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the command that runs a program in namespaces of its own, and ends all in them when its parent dies.

    Raises:
        SandboxError: A program that it needs is missing.
    """
    for name in ("setpriv", "unshare"):
        if shutil.which(name) is None:
            raise SandboxError(f"{name} is not installed (util-linux)")
    return (
        "setpriv", "--pdeathsig", "KILL", "--", "nice", "-n", "10",
        "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--net", "--ipc",
        "--", *arguments,
    )  # fmt: skip


def enter(devices: Sequence[str]) -> None:
    """Make the root and go there. Only for a process that `command` started.

    Args:
        devices: Block devices that are to be there too.

    Raises:
        SandboxError: It could not be made.
    """
    assert os.getpid() == 1, "not in a namespace of our own"
    # The server's own files are for nobody else; what is in here is read by the users of databases.
    os.umask(0o022)
    _memory(BASE, "mode=0755")
    for name in SYSTEM:
        _system(Path("/") / name)
    proc = _folder("proc")
    _mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "")
    dev = _folder("dev")
    for device in (*(f"/dev/{name}" for name in DEVICES), *devices):
        target = dev / Path(device).name
        target.touch()
        _mount(device, target, "", MS_BIND, "")
    for name in ("dev/shm", "tmp"):
        _memory(_folder(name), "mode=1777")
    _folder("disk")
    _folder("run").chmod(0o755)
    os.chroot(BASE)
    os.chdir("/")


def _system(path: Path) -> None:
    target = BASE / path.name
    if path.is_symlink():
        target.symlink_to(path.readlink())
    elif path.is_dir():
        target.mkdir()
        _mount(str(path), target, "", MS_BIND, "")
        _mount("", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, "")


def _folder(name: str) -> Path:
    path = BASE / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def _memory(path: Path, mode: str) -> None:
    _mount("tmpfs", path, "tmpfs", MS_NOSUID, f"{MEMORY},{mode}")


def _mount(source: str, target: Path, kind: str, flags: int, data: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [text.encode() or None for text in (source, str(target), kind)]
    if libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None) != 0:
        raise SandboxError(f"{target.name} cannot be mounted: {os.strerror(ctypes.get_errno())}")

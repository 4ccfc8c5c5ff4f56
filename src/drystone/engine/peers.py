"""Looking into other processes: their unix sockets, the other ends of these, what they wait for, whether they stand.

All of it needs the rights of a debugger: root's, or those of the same user where the system lets users debug their own
processes (S126). Linux tells nobody else.
"""

import contextlib
import ctypes
import enum
import errno
import os
import platform
import select
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

POLLFDS_MAX: Final = 1 << 16
THREADS_MAX: Final = 256
"""Threads of a process that are looked at; a VM has a few dozen."""

_PIDFD_GETFD: Final = 438
_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_SHOW_PEER: Final = 4
_ATTRIBUTE_PEER: Final = 2
_POLLFD: Final = struct.Struct("ihh")
_CALLS: Final = {
    "x86_64": {
        "poll": (7, 271),
        "epoll": (232, 281, 441),
        "receive": (0, 19, 45, 47),
        "send": (1, 44),
        "send many": (20,),
        "send message": (46,),
        "disk": (16, 17, 18, 74, 75, 285, 295, 296, 326),
    },
    "aarch64": {
        "poll": (73,),
        "epoll": (22, 441),
        "receive": (63, 65, 207, 212),
        "send": (64, 206),
        "send many": (66,),
        "send message": (211,),
        "disk": (29, 47, 67, 68, 69, 70, 82, 83, 285),
    },
}
"""Numbers of system calls. Source: linux/arch/x86/entry/syscalls/syscall_64.tbl, linux/scripts/syscall.tbl."""

PIECES_MAX: Final = 1024
"""Pieces of one message that the kernel takes (IOV_MAX)."""


class Debt(enum.IntEnum):
    """What a process may have to send on a socket."""

    NONE = 0
    """It waits to receive, and for nothing else."""
    SENDING = 1
    """It was stopped while it sent something long; whether all of it went the kernel does not say."""
    WAITING = 2
    """It waits until it can send more."""


_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def process_of(pid: int) -> Iterator[int]:
    """Hold a process by a descriptor; it cannot become another one meanwhile.

    Raises:
        OSError: There is none.
    """
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def unix_sockets(pid: int, process: int) -> Iterator[tuple[int, int, socket.socket]]:
    """Yield (descriptor, inode, a descriptor of ours) of each unix socket of a process; the caller closes them.

    Raises:
        OSError: It has ended, or this user may not look.
    """
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        inode = _socket_inode(entry)
        if inode is None:
            continue
        try:
            end = socket.socket(fileno=_duplicate(process, int(entry.name)))
        except OSError as error:
            if error.errno in {errno.EBADF, errno.ENOTSOCK}:
                continue  # Closed meanwhile.
            raise
        if end.family == socket.AF_UNIX:
            yield int(entry.name), inode, end
        else:
            end.close()


def _socket_inode(entry: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        text = str(entry.readlink())
        if text.startswith("socket:["):
            return int(text[len("socket:[") : -1])
    return None


def _duplicate(process: int, descriptor: int) -> int:
    taken = int(_libc.syscall(_PIDFD_GETFD, process, descriptor, 0))
    if taken < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return taken


def other_end(inode: int) -> int | None:
    """Return the inode of the socket that this unix socket is connected to, None if it is not.

    Source: linux/include/uapi/linux/unix_diag.h.
    """
    cookie = 0xFFFFFFFF
    body = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, inode, _SHOW_PEER, cookie, cookie)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.send(struct.pack("=IHHII", 16 + len(body), _SOCK_DIAG_BY_FAMILY, 1, 1, 0) + body)
        answer = kernel.recv(1 << 12)
    length, kind = struct.unpack_from("=IH", answer)
    at = 16 + 16  # Behind the headers of netlink and of unix_diag.
    while kind == _SOCK_DIAG_BY_FAMILY and at + 8 <= length:
        size, attribute = struct.unpack_from("=HH", answer, at)
        if attribute == _ATTRIBUTE_PEER:
            return int(struct.unpack_from("=I", answer, at + 4)[0])
        at += max(4, -(-size // 4) * 4)
    return None


def descriptor_of(pid: int, inode: int) -> int | None:
    """Return the descriptor by which a process holds a socket, None if it does not, or that cannot be told."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if _socket_inode(entry) == inode:
                return int(entry.name)
    return None


def waits(pid: int) -> dict[int, int] | None:
    """Return what a process's main thread waits for by `poll`: descriptor to events; None if it does not.

    Raises:
        OSError: It has ended, or this user may not look.
    """
    call, first, second, _ = _parse(Path(f"/proc/{pid}/syscall").read_text())
    return _polled(pid, first, second) if call == "poll" else None


def calls(pid: int) -> tuple[str, ...]:
    """Return the system call of each thread of a process with its arguments, as the kernel writes them.

    Nothing of a process that has ended, or that this user may not look at.
    """
    found: list[str] = []
    with contextlib.suppress(OSError):
        for thread in sorted(Path(f"/proc/{pid}/task").iterdir())[:THREADS_MAX]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found.append(f"{thread.name} {(thread / 'syscall').read_text().strip()}")
    return tuple(found)


def debt(pid: int, descriptor: int, made: Sequence[str], *, long_bytes: int) -> Debt | None:
    """Tell what a process owes on a socket by what its threads wait for or do; None if that cannot be told.

    Args:
        pid: The process.
        descriptor: By which it holds the socket.
        made: Its `calls`.
        long_bytes: A shorter message counts for nothing.
    """
    found: Debt | None = None
    with contextlib.suppress(OSError, struct.error):
        for line in made:
            owed = _debt_of(pid, line.partition(" ")[2], descriptor, long_bytes)
            if owed is not None and (found is None or owed > found):
                found = owed
    return found


def disk_waits(pid: int) -> frozenset[str]:
    """Return what a process waits for its disks by: what is in two looks did not get on between them.

    A ring of io_uring counts with how much it has completed, while it has something under way.
    """
    found = {line for line in calls(pid) if _parse(line.partition(" ")[2])[0] == "disk"}
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if str(entry.readlink()) != "anon_inode:[io_uring]":
                    continue
                text = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text()
                counters = dict(line.split(":", 1) for line in text.splitlines() if line.startswith("Cached"))
                taken, completed = counters.get("CachedSqHead", "").strip(), counters.get("CachedCqTail", "").strip()
                if taken != completed:
                    found.add(f"ring {entry.name} {completed}")
    return frozenset(found)


def _debt_of(pid: int, line: str, descriptor: int, long_bytes: int) -> Debt | None:
    call, first, second, third = _parse(line)
    if call in {"poll", "epoll"}:
        watched = _polled(pid, first, second) if call == "poll" else _watched(pid, first)
        events = watched.get(descriptor, 0)
        return Debt.WAITING if events & select.POLLOUT else Debt.NONE if events & select.POLLIN else None
    if first != descriptor or not call:
        return None
    if call == "receive":
        return Debt.NONE
    if call == "send message":
        second, third = struct.unpack("QQ", _memory(pid, second + 16, 16))  # msg_iov and msg_iovlen
    if call != "send":
        pieces = _memory(pid, second, 16 * min(third, PIECES_MAX))
        third = sum(length for _, length in struct.iter_unpack("QQ", pieces))
    return Debt.SENDING if third >= long_bytes else None


def _parse(line: str) -> tuple[str, int, int, int]:
    """Return the kind of system call that a thread is in, and its first three arguments."""
    words = line.split() or [""]
    for kind, numbers in _CALLS.get(platform.machine(), {}).items():
        if words[0].isdecimal() and int(words[0]) in numbers:
            return kind, int(words[1], 16), int(words[2], 16), int(words[3], 16)
    return "", 0, 0, 0


def _memory(pid: int, address: int, length: int) -> bytes:
    descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        return os.pread(descriptor, length, address)
    finally:
        os.close(descriptor)


def _polled(pid: int, address: int, count: int) -> dict[int, int]:
    data = _memory(pid, address, _POLLFD.size * min(count, POLLFDS_MAX))
    whole = len(data) // _POLLFD.size * _POLLFD.size
    return {entry[0]: entry[1] for entry in _POLLFD.iter_unpack(data[:whole])}


def _watched(pid: int, descriptor: int) -> dict[int, int]:
    found = {}
    for line in Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().splitlines():
        words = line.split()
        if words[:1] == ["tfd:"]:
            found[int(words[1])] = int(words[3], 16)
    return found


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped by a signal or a tracer, or its control group is frozen."""
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt":
            return True
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            root = Path("/sys/fs/cgroup")
            if controllers == "freezer":
                state = root / "freezer" / group.lstrip("/") / "freezer.state"
                if state.is_file() and state.read_text().strip() != "THAWED":
                    return True
            elif not controllers:
                events = root / group.lstrip("/") / "cgroup.events"
                if events.is_file() and "frozen 1" in events.read_text().splitlines():
                    return True
    return False


def command_of(pid: int) -> str:
    """Return a process's name."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "unknown"

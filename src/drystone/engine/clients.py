"""NBD clients that hold up a storage daemon, and how it gets going again.

Whatever changes a graph drains it first: QEMU answers what its clients have asked, and until then it serves nobody, no
monitor, no new client, no other disk. A client that is stopped while it reads, or in the middle of a write, would make
that last for ever (S125). Tried on QEMU 10.0.2:

- A client that does not take its answers: with a larger send buffer all of them fit into the kernel, the drain ends
  within some 30 ms and nobody is disconnected. `shutdown` of that socket ends it only if the socket is writable as
  well: QEMU waits for that alone, and would spin.
- Half a write: its rest must come, or `shutdown`. Half a header holds up nothing.
- Idle clients hold up nothing, stopped or not, and must not be cut. To the daemon they look like half a write, as it
  waits for both; but a client that owes the rest of a write is about to send, and an idle one waits to receive.

Of what a process waits the system call tells that it is in (`peers`): so we know for whom the daemon waits to take its
answers, and which client owes it something.
"""

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from drystone.engine import peers
from drystone.engine.peers import Debt

NBD_SOCKET: Final = "nbd.sock"
"""File name of the socket on which a storage daemon serves NBD."""

PATIENCE_S: Final = 0.1
"""A command that takes longer is looked into. Most take a few milliseconds, and a look harms nobody."""
KNOWN_PATIENCE_S: Final = 0.005
"""The same while a client is known that does not read: it will be in the way of the next command, too."""
LOOK_EVERY_S: Final = 0.02
EFFECT_S: Final = 0.1
"""After a client was cut, the daemon gets this long to notice before another may be."""
LOOK_SHARE: Final = 10
"""Looking takes at most a tenth of the time, however many clients there are."""
STOPPED_S: Final = 0.5
"""So long may a stopped client hold up a daemon by half a request: who suspends it for a moment harms nobody."""
REQUEST_S: Final = 2.0
"""So long may half a request of a running client: 32 MiB, the longest there is, take 30 ms over a unix socket."""
UNREAD_S: Final = 10.0
"""A client that takes nothing for so long, although its send buffer was raised as far as may be, is cut."""
ROOM_BYTES: Final = 64 << 20
"""What a send buffer is raised by at a time: the 16 answers that QEMU has under way per client, of 4 MiB each."""
QUEUED_BYTES_MAX: Final = 1 << 30
"""Once the clients of one daemon have left this much unread in the kernel, no more room is made.

What a raised buffer takes in lay in the daemon's memory before, 16 answers of 32 MiB per client at most.
"""

LISTED_MAX: Final = 3
"""Clients that a message names."""

_SO_SNDBUFFORCE: Final = 32
_HEADER_BYTES: Final = 28
"""A request of NBD without its data: half of it holds up nothing."""
_SIOCOUTQ: Final = 0x5411
_WRITABLE_SHARE: Final = 4
"""A unix socket counts as writable while a quarter of its buffer is used at most. Source: linux/net/unix/af_unix.c."""
_DISCARD_BYTES: Final = 1 << 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One client of a daemon.

    Args:
        inode: Of the daemon's end.
        queued_bytes: What the client has not taken, in memory of the kernel.
        buffer_bytes: How much that may become.
        reads_late: Whether the daemon waits until the client takes something; where it does not say, as it spins, all
            may be such that have not taken something.
        asked_for: Whether the daemon waits for the client to send something: as for all that are idle.
        debt: What the client's process has to send; None if that cannot be told.
        peer: The process that connected; 0 if it is of another world.
        stopped: Whether that process is.
    """

    inode: int
    queued_bytes: int
    buffer_bytes: int
    reads_late: bool = False
    asked_for: bool = False
    debt: Debt | None = None
    peer: int = 0
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """Let this much be queued for a client."""

    connection: Connection
    buffer_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Disconnect a client."""

    connection: Connection
    reason: str


def plan_relief(
    found: Sequence[Connection], *, since_s: float, unread_s: Mapping[int, float], raisable: bool
) -> tuple[Raise | Cut, ...]:
    """Say what is to be done about the clients of a daemon that does not get on.

    Args:
        found: All of them.
        since_s: How long the daemon has been held up.
        unread_s: How long each, by inode, has taken nothing of its queue.
        raisable: Whether send buffers can be raised beyond what the system allows everybody.

    Returns:
        Nothing for a client that is not in the way: one that reads, or only waits for answers, is never cut.
    """
    queued = sum(connection.queued_bytes for connection in found)
    plan: list[Raise | Cut] = []
    suspects: list[Connection] = []
    for connection in found:
        # So that it is writable at once, and takes so much more.
        wanted = connection.queued_bytes * _WRITABLE_SHARE + ROOM_BYTES
        if connection.reads_late and connection.buffer_bytes < wanted:
            if raisable and queued + ROOM_BYTES <= QUEUED_BYTES_MAX:
                queued += ROOM_BYTES
                plan.append(Raise(connection=connection, buffer_bytes=wanted))
            elif connection.stopped:
                plan.append(Cut(connection=connection, reason="it is stopped and does not take what it asked for"))
            elif unread_s.get(connection.inode, 0.0) >= UNREAD_S:
                plan.append(Cut(connection=connection, reason=f"it has taken nothing for {UNREAD_S:g} s"))
        elif connection.asked_for and connection.debt is not Debt.NONE and since_s >= _patience_s(connection):
            suspects.append(connection)
    if not plan and suspects:
        # One at a time: the daemon gets on as soon as it is the right one, and the others go on.
        worst = max(suspects, key=lambda one: (one.debt or Debt.NONE, one.stopped, -one.inode))
        plan.append(Cut(connection=worst, reason="half a request is all that it has sent"))
    return tuple(plan)


def _patience_s(connection: Connection) -> float:
    """Return how long a client may hold up a daemon that may owe the rest of a request."""
    if connection.debt is None:
        return UNREAD_S
    return STOPPED_S if connection.stopped else REQUEST_S


class Clients:
    """The NBD clients of one storage daemon, watched while it is told to do something.

    Args:
        name: The daemon's name, for the log.
        pid: Its process.
    """

    def __init__(self, name: str, pid: int) -> None:
        self._name = name
        self._pid = pid
        self._known: set[int] = set()
        """Inodes of clients whose buffer was raised and that have not read everything since."""

    @contextlib.contextmanager
    def relieved(self) -> Iterator["Holdup"]:
        """Within this, clients that hold up the daemon are helped, or cut if nothing helps (S125)."""
        loop = asyncio.get_running_loop()
        holdup = Holdup(self._name, self._pid, self._known)
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            began = time.monotonic()
            cut = holdup.look(began)
            took = time.monotonic() - began
            timer = loop.call_later(max(EFFECT_S if cut else LOOK_EVERY_S, LOOK_SHARE * took), look)

        timer = loop.call_later(KNOWN_PATIENCE_S if self._known else PATIENCE_S, look)
        try:
            yield holdup
        finally:
            timer.cancel()
            holdup.end()


class Holdup:
    """One command that may be held up: what was seen and done so far."""

    def __init__(self, name: str, pid: int, known: set[int]) -> None:
        self._name = name
        self._pid = pid
        self._known = known
        self._began_s = time.monotonic()
        self._raised: dict[int, int] = {}
        """Former send buffer of each client, by inode, whose buffer was raised."""
        self._unread: dict[int, tuple[int, float]] = {}
        """What each client had queued at the last look, and since when it has taken nothing."""
        self._raisable = True
        self.reason = ""
        """Why the daemon may still be held up, for whoever gives up."""

    def look(self, now_s: float) -> bool:
        """Look at the clients and act; tell whether one was cut."""
        cut = False
        try:
            with contextlib.closing(_Ends(self._pid)) as ends:
                self._note(ends.found, now_s)
                unread_s = {inode: now_s - since_s for inode, (_, since_s) in self._unread.items()}
                plan = plan_relief(
                    ends.found, since_s=now_s - self._began_s, unread_s=unread_s, raisable=self._raisable
                )
                for step in plan:
                    self._take(step, ends.sockets[step.connection.inode])
                    cut |= isinstance(step, Cut)
        except OSError as error:
            # The daemon is gone, or this user may not look at it (S126): the command's own time limit ends the wait.
            self.reason = f"its clients cannot be looked at: {error.strerror}"
        return cut

    def _note(self, found: Sequence[Connection], now_s: float) -> None:
        self._known &= {connection.inode for connection in found if connection.queued_bytes}
        before = self._unread
        self._unread = {}
        for connection in found:
            if connection.queued_bytes:
                had, since_s = before.get(connection.inode, (0, now_s))
                since_s = now_s if connection.queued_bytes < had else since_s
                self._unread[connection.inode] = (connection.queued_bytes, since_s)
        late = [one for one in found if one.reads_late or (one.asked_for and one.debt)]
        if late:
            listed = ", ".join(f"{peers.command_of(one.peer)} (pid {one.peer})" for one in late[:LISTED_MAX])
            self.reason = f"it waits for its NBD client {listed}; resume or end it"

    def _take(self, step: Raise | Cut, end: socket.socket) -> None:
        connection = step.connection
        if isinstance(step, Raise):
            self._raised.setdefault(connection.inode, connection.buffer_bytes)
            if connection.inode not in self._known:
                log.warning(
                    "daemon.client_does_not_read", daemon=self._name, pid=connection.peer, stopped=connection.stopped,
                    queued_bytes=connection.queued_bytes,
                )  # fmt: skip
                self._known.add(connection.inode)
            self._raisable = _raise(end, step.buffer_bytes)
            return
        log.error("daemon.client_cut", daemon=self._name, pid=connection.peer, reason=step.reason)
        end.shutdown(socket.SHUT_RDWR)
        if connection.queued_bytes and not _raise(end, connection.queued_bytes * _WRITABLE_SHARE):
            _discard(connection)

    def end(self) -> None:
        """Give raised buffers their former size: what is queued stays, and nothing more is let in."""
        if not self._raised:
            return
        with contextlib.suppress(OSError), contextlib.closing(_Ends(self._pid)) as ends:
            for inode, buffer_bytes in self._raised.items():
                if inode in ends.sockets:
                    # The kernel doubles what it is told.
                    ends.sockets[inode].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes // 2)


class _Ends:
    """The daemon's ends of its clients' connections, as descriptors of ours; never held longer than for one look.

    Held longer they would keep a connection open whose daemon has died.

    Raises:
        OSError: The process is gone, or this user may not look at it.
    """

    def __init__(self, pid: int) -> None:
        self.sockets: dict[int, socket.socket] = {}
        self.found: list[Connection] = []
        waits = peers.waits(pid)
        try:
            with peers.process_of(pid) as process:
                for descriptor, inode, end in peers.unix_sockets(pid, process):
                    if _is_client(end):
                        self.sockets[inode] = end
                        self.found.append(_describe(descriptor, inode, end, waits))
                    else:
                        end.close()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close our descriptors."""
        for end in self.sockets.values():
            end.close()


def _is_client(end: socket.socket) -> bool:
    name = end.getsockname()
    return (
        isinstance(name, str)
        and Path(name).name == NBD_SOCKET
        and not end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )


def _describe(descriptor: int, inode: int, end: socket.socket, waits: Mapping[int, int] | None) -> Connection:
    queued_bytes = int(struct.unpack("i", fcntl.ioctl(end.fileno(), _SIOCOUTQ, bytes(4)))[0])
    events = 0 if waits is None else waits.get(descriptor, 0)
    peer = int(struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[0])
    asked_for = bool(events & select.POLLIN)
    debt = None
    if asked_for:
        theirs = peers.other_end(inode)
        held = None if theirs is None else peers.descriptor_of(peer, theirs)
        debt = None if held is None else peers.debt(peer, held, long_bytes=_HEADER_BYTES + 1)
    return Connection(
        inode=inode, queued_bytes=queued_bytes, buffer_bytes=end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        reads_late=bool(queued_bytes if waits is None else events & select.POLLOUT), asked_for=asked_for, debt=debt,
        peer=peer, stopped=peers.is_stopped(peer),
    )  # fmt: skip


def _raise(end: socket.socket, buffer_bytes: int) -> bool:
    """Raise a send buffer as far as this user may; tell whether that is as far as asked."""
    half = min(buffer_bytes // 2 + 1, (1 << 30) - 1)  # The kernel doubles it.
    try:
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, half)
    except PermissionError:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, half)
    return end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= buffer_bytes


def _discard(connection: Connection) -> None:
    """Take what is left in a connection that was cut: only then does the daemon see that it was.

    For those who may not raise its buffer.
    """
    theirs = peers.other_end(connection.inode)
    with contextlib.suppress(OSError), peers.process_of(connection.peer) as process:
        for _, inode, end in peers.unix_sockets(connection.peer, process):
            with end, contextlib.suppress(OSError):
                while inode == theirs and end.recv(_DISCARD_BYTES, socket.MSG_DONTWAIT):
                    pass

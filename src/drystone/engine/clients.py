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
- A drive that is slow makes a drain last, too. The daemon serves its other disks meanwhile, and nobody is to be cut.

Of what a process waits the system call tells that it is in (`peers`): so we know for whom the daemon waits to take its
answers, and which client owes it something. One look proves nothing: a client that writes is in that state all the
time, for a moment. So only a client that stands is cut: it is stopped, nothing of it or of its connection has changed
for its patience and over several looks, all it has sent was taken, and no disk kept the daemon waiting meanwhile.
"""

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
"""So long may a stopped client hold up a daemon: who suspends it for a moment harms nobody."""
UNTOLD_S: Final = 10.0
"""The same where it cannot be told whether the client owes anything."""
UNREAD_S: Final = 10.0
"""A running client that takes nothing for so long, although its send buffer was raised as far as may be, is cut."""
LOOKS_MIN: Final = 5
"""So many looks in a row must have found the same before anybody is cut."""
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
    """One client of a daemon."""

    inode: int
    """Of the daemon's end."""
    queued_bytes: int
    """What the client has not taken, in memory of the kernel."""
    buffer_bytes: int
    """How much that may become."""
    reads_late: bool = False
    """Whether the daemon waits until the client takes something; where it does not say, as it spins, all may be such
    that have not taken something.
    """
    asked_for: bool = False
    """Whether the daemon waits for the client to send something, before and after the client was looked at: as for all
    that are idle.
    """
    arrived_bytes: int = 0
    """What the client has sent and the daemon has not taken."""
    debt: Debt | None = None
    """What the client's process has to send; None if that cannot be told."""
    peer: int = 0
    """The process that connected; 0 if it is of another world."""
    calls: tuple[str, ...] = ()
    """The system calls that the process is in."""
    stopped: bool = False
    """Whether that process is, and has the other end."""
    shut: bool = False
    """Whether the daemon itself has shut the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """Since when, and over how many looks, nothing has changed of a client and its connection."""

    seen: Connection
    since_s: float
    looks: int = 1


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


def follow(before: Mapping[int, Still], found: Sequence[Connection], now_s: float) -> dict[int, Still]:
    """Return what is still as it was, by inode, after another look: any change is progress, and begins anew."""
    still = {}
    for connection in found:
        seen = replace(connection, buffer_bytes=0)  # That is changed by us.
        known = before.get(connection.inode)
        if known is None or known.seen != seen:
            known = Still(seen=seen, since_s=now_s, looks=0)
        still[connection.inode] = replace(known, looks=known.looks + 1)
    return still


def plan_relief(
    found: Sequence[Connection], *, still: Mapping[int, Still], now_s: float, raisable: bool, may_cut: bool = True
) -> tuple[Raise | Cut, ...]:
    """Say what is to be done about the clients of a daemon that does not get on.

    Args:
        found: All of them.
        still: Since when each stands, see `follow`; nothing while the daemon does not say for whom it waits.
        now_s: When they were looked at.
        raisable: Whether send buffers can be raised beyond what the system allows everybody.
        may_cut: Whether clients may be cut whose connection the daemon has not shut.

    Returns:
        Nothing for a client that is not in the way: one that reads or writes, or only waits for answers, is never cut.
    """
    queued = sum(connection.queued_bytes for connection in found)
    plan: list[Raise | Cut] = []
    suspects: list[Connection] = []

    def stands(connection: Connection, patience_s: float) -> bool:
        if connection.shut:
            return True
        known = still.get(connection.inode)
        return may_cut and known is not None and known.looks >= LOOKS_MIN and now_s - known.since_s >= patience_s

    for connection in found:
        # So that it is writable at once, and takes so much more.
        wanted = connection.queued_bytes * _WRITABLE_SHARE + ROOM_BYTES
        if connection.reads_late and connection.buffer_bytes < wanted:
            if raisable and queued + ROOM_BYTES <= QUEUED_BYTES_MAX:
                queued += ROOM_BYTES
                plan.append(Raise(connection=connection, buffer_bytes=wanted))
            elif connection.stopped and stands(connection, STOPPED_S):
                plan.append(Cut(connection=connection, reason="it is stopped and does not take what it asked for"))
            elif stands(connection, UNREAD_S):
                plan.append(Cut(connection=connection, reason=f"it has taken nothing for {UNREAD_S:g} s"))
        elif _may_owe(connection) and stands(connection, STOPPED_S if connection.debt else UNTOLD_S):
            suspects.append(connection)
    if not plan and suspects:
        # One at a time: the daemon gets on as soon as it is the right one, and the others go on.
        worst = max(suspects, key=lambda one: (one.debt or Debt.NONE, -one.inode))
        plan.append(Cut(connection=worst, reason="it is stopped, and half a request is all that it has sent"))
    return tuple(plan)


def _may_owe(connection: Connection) -> bool:
    """Tell whether a client may hold up a daemon by half a request, and is not about to send the rest."""
    waited_for = connection.asked_for and not connection.arrived_bytes
    return waited_for and connection.stopped and connection.debt is not Debt.NONE


@dataclass(slots=True, eq=False)
class Clients:
    """The NBD clients of one storage daemon, watched while it is told to do something."""

    name: str
    """The daemon's name, for the log."""
    pid: int
    _known: set[int] = field(init=False, default_factory=set)
    """Inodes of clients whose buffer was raised and that have not read everything since."""

    @contextlib.contextmanager
    def relieved(self, *, may_cut: bool = True) -> Iterator["Holdup"]:
        """Within this, clients that hold up the daemon are helped, or cut if nothing helps (S125).

        Args:
            may_cut: False if the daemon serves meanwhile: only connections that it has shut itself are cut.
        """
        loop = asyncio.get_running_loop()
        holdup = Holdup(self.name, self.pid, self._known, may_cut=may_cut)
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


@dataclass(slots=True, eq=False)
class Holdup:
    """One command that may be held up: what was seen and done so far."""

    name: str
    pid: int
    known: set[int]
    may_cut: bool
    _raised: dict[int, int] = field(init=False, default_factory=dict)
    """Former send buffer of each client, by inode, whose buffer was raised."""
    _still: dict[int, Still] = field(init=False, default_factory=dict)
    _disk_waits: frozenset[str] = field(init=False, default_factory=frozenset)
    """What the daemon waited for its disks by at the last look."""
    _raisable: bool = field(init=False, default=True)
    reason: str = field(init=False, default="")
    """Why the daemon may still be held up, for whoever gives up."""

    def look(self, now_s: float) -> bool:
        """Look at the clients and act; tell whether one was cut."""
        cut = False
        try:
            with contextlib.closing(_Ends(self.pid)) as ends:
                self._note(ends, now_s)
                plan = plan_relief(
                    ends.found, still=self._still if ends.told else {}, now_s=now_s, raisable=self._raisable,
                    may_cut=self.may_cut,
                )  # fmt: skip
                for step in plan:
                    self._take(step, ends.sockets[step.connection.inode])
                    cut |= isinstance(step, Cut)
        except OSError as error:
            # The daemon is gone, or this user may not look at it (S126): the command's own time limit ends the wait.
            self.reason = f"its clients cannot be looked at: {error.strerror}"
        return cut

    def _note(self, ends: "_Ends", now_s: float) -> None:
        found = ends.found
        self.known &= {connection.inode for connection in found if connection.queued_bytes}
        disk_waits = peers.disk_waits(self.pid)
        disk_is_slow = bool(disk_waits & self._disk_waits)
        self._disk_waits = disk_waits
        # A disk explains why the daemon does not get on: patience with the clients begins after it has answered.
        if disk_is_slow:
            self._still = {}
        if not ends.told:
            return  # It does something, for another disk perhaps: that says nothing about any of them.
        self._still = follow(self._still, found, now_s)
        late = [one for one in found if one.reads_late or (_may_owe(one) and one.debt)]
        untold = [one for one in found if one.asked_for and not one.arrived_bytes and one.debt is None]
        self.reason = ""
        if late:
            self.reason = f"it waits for its NBD client {_listed(late)}; resume or end it"
        elif disk_is_slow:
            self.reason = "it waits for a disk"
        elif untold:
            self.reason = f"it may wait for the rest of what its NBD client {_listed(untold)} sends; if so, end it"

    def _take(self, step: Raise | Cut, end: socket.socket) -> None:
        connection = step.connection
        if isinstance(step, Raise):
            self._raised.setdefault(connection.inode, connection.buffer_bytes)
            if connection.inode not in self.known:
                log.warning(
                    "daemon.client_does_not_read", daemon=self.name, pid=connection.peer, stopped=connection.stopped,
                    queued_bytes=connection.queued_bytes,
                )  # fmt: skip
                self.known.add(connection.inode)
            self._raisable = _raise(end, step.buffer_bytes)
            return
        log.error("daemon.client_cut", daemon=self.name, pid=connection.peer, reason=step.reason)
        end.shutdown(socket.SHUT_RDWR)
        if connection.queued_bytes and not _raise(end, connection.queued_bytes * _WRITABLE_SHARE):
            _discard(connection)

    def end(self) -> None:
        """Give raised buffers their former size: what is queued stays, and nothing more is let in."""
        if not self._raised:
            return
        with contextlib.suppress(OSError), contextlib.closing(_Ends(self.pid)) as ends:
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
        self.told = False
        """Whether the daemon said for whom it waits, before and after they were looked at."""
        descriptors: dict[int, int] = {}
        before = peers.waits(pid)
        try:
            with peers.process_of(pid) as process:
                for descriptor, inode, end in peers.unix_sockets(pid, process):
                    if _is_client(end):
                        self.sockets[inode] = end
                        self.found.append(_describe(descriptor, inode, end, before))
                        descriptors[inode] = descriptor
                    else:
                        end.close()
                after = peers.waits(pid)
            self.told = before is not None and after is not None
            # What it asks for before and after the clients were looked at, it asked for while they were.
            for index, one in enumerate(self.found):
                if one.asked_for:
                    asked_for = bool((after or {}).get(descriptors[one.inode], 0) & select.POLLIN)
                    arrived_bytes = _count(self.sockets[one.inode], termios.FIONREAD)
                    self.found[index] = replace(one, asked_for=asked_for, arrived_bytes=arrived_bytes)
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
    queued_bytes = _count(end, _SIOCOUTQ)
    events = 0 if waits is None else waits.get(descriptor, 0)
    peer = int(struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[0])
    reads_late = bool(queued_bytes if waits is None else events & select.POLLOUT)
    asked_for = bool(events & select.POLLIN)
    held: int | None = None
    calls: tuple[str, ...] = ()
    debt: Debt | None = None
    if reads_late or asked_for:
        theirs = peers.other_end(inode)
        held = None if theirs is None else peers.descriptor_of(peer, theirs)
    if held is not None:
        calls = peers.calls(peer)
        debt = peers.debt(peer, held, calls, long_bytes=_HEADER_BYTES + 1)
    shut = select.poll()
    shut.register(end, 0)
    return Connection(
        inode=inode, queued_bytes=queued_bytes, buffer_bytes=end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        reads_late=reads_late, asked_for=asked_for, debt=debt, peer=peer, calls=calls,
        # Who has handed the connection on may stand for a reason of its own.
        stopped=held is not None and peers.is_stopped(peer), shut=bool(shut.poll(0)),
    )  # fmt: skip


def _count(end: socket.socket, request: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(end.fileno(), request, bytes(4)))[0])


def _listed(found: Sequence[Connection]) -> str:
    return ", ".join(f"{peers.command_of(one.peer)} (pid {one.peer})" for one in found[:LISTED_MAX])


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

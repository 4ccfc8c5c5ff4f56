"""One client of the NBD server: negotiation, requests, answers.

Its own thread takes requests; those of a pool, in turn for all clients, work the answers out; a second thread of its
own sends them, so that a client that does not read holds up only itself (S127).
"""

import collections
import contextlib
import functools
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from drystone.codec import nbd_wire as wire
from drystone.domain.errors import DrystoneError, IntegrityError, ProtocolError, UnavailableError

_OPTIONS_MAX: Final = 64
"""Most options of one negotiation; real clients send fewer than ten."""
_EXTENTS_MAX: Final = 16 << 10
"""Most extents in one answer to a block status (128 KiB); the client asks again for the rest."""
_SKIP_BYTES: Final = 64 << 10

Buffer = bytes | bytearray | memoryview

log = structlog.get_logger(__name__)


class Export(Protocol):
    """What is served under one name. All methods are called from several threads at once."""

    @property
    def size_bytes(self) -> int:
        """Size; it never changes."""
        ...

    def read(self, offset: int, length: int) -> Buffer:
        """Return exactly these bytes, which lie within the export.

        Raises:
            IntegrityError, UnavailableError: The client is told EIO.
        """
        ...

    def extents(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        """Return (length, reads as zeros) from `offset` on, for all or a first part of the range."""
        ...


class ExportProvider(Protocol):
    """Finds exports."""

    def open(self, name: str) -> Export:
        """Return the export of this name.

        Raises:
            DrystoneError: There is none, or it cannot be opened now.
        """
        ...

    def names(self) -> Sequence[str]:
        """Return the names to list to clients that ask; may be empty."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Bounds of the server's appetite."""

    connections: int = 256
    """Most connections; further ones are closed at once. Each disk that hydrates has one."""
    request_threads: int = 4
    """Threads that read for all connections together."""
    in_flight: int = 16
    """Most unanswered requests of one connection."""
    in_flight_bytes: int = 16 << 20
    """Most bytes that these may ask for together; a longer request is answered alone. QEMU asks for 16 times 1 MiB
    while a disk hydrates.
    """
    negotiation_timeout_s: float = 10.0
    """Longest time between two messages before the first request."""
    send_timeout_s: float = 60.0
    """Longest wait for a client to take an answer."""


class FairPool:
    """Threads that do what clients ask for, one thing of each in turn: the one with many waits for the one with few."""

    def __init__(self, threads: int) -> None:
        self._ready = threading.Condition()
        self._asked: collections.OrderedDict[object, collections.deque[Callable[[], None]]] = collections.OrderedDict()
        """What is asked for and not begun, by client, the next client first."""
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"nbd-request-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, client: object, work: Callable[[], None]) -> None:
        """Have something done for a client; after its other things."""
        with self._ready:
            self._asked.setdefault(client, collections.deque()).append(work)
            self._ready.notify()

    def close(self) -> None:
        """Do what was asked for, and end."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._asked:
                    if self._closed:
                        return
                    self._ready.wait()
                client, works = self._asked.popitem(last=False)
                work = works.popleft()
                if works:
                    self._asked[client] = works
            work()


class _Room:
    """What a connection may have in flight: a number of requests, and of bytes they ask for."""

    def __init__(self, requests: int, size_bytes: int) -> None:
        self._changed = threading.Condition()
        self._requests = requests
        self._bytes = size_bytes
        self._in_flight: list[int] = []

    def take(self, length: int) -> None:
        """Wait until there is room for a request of this length, which alone always has it."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    not self._in_flight
                    or (len(self._in_flight) < self._requests and sum(self._in_flight) + length <= self._bytes)
                )
            )
            self._in_flight.append(length)

    def give(self, length: int) -> None:
        """Give the room of a request back."""
        with self._changed:
            self._in_flight.remove(length)
            self._changed.notify_all()

    def wait_empty(self) -> None:
        """Wait until nothing is in flight."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_flight)


class Connection:
    """One client: negotiation, then requests until it leaves."""

    def __init__(
        self,
        connection: socket.socket,
        provider: ExportProvider,
        pool: FairPool,
        limits: ServerLimits,
    ) -> None:
        self._socket = connection
        self._provider = provider
        self._pool = pool
        self._limits = limits
        self._room = _Room(limits.in_flight, limits.in_flight_bytes)
        self._answers: queue.SimpleQueue[tuple[list[Buffer], Callable[[], None]] | None] = queue.SimpleQueue()
        """What is to be sent, and what is to be done then; bounded by the room."""
        self._structured = False
        self._context_export: str | None = None
        """Export for which the client chose `base:allocation`; it counts only if that one is opened."""
        self._status_allowed = False
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid = int(struct.unpack("3i", credentials)[0])
        """The client's process."""
        self._opened = False
        self._waiting: dict[object, float] = {}
        """When each request came that has no answer yet."""

    def waiting_since_s(self, now_s: float) -> float | None:
        """Return since when the oldest unanswered request waits, `now_s` if there is none; None before the first."""
        if not self._opened:
            return None
        return min([now_s, *list(self._waiting.values())])

    def run(self) -> None:
        """Serve the client until it leaves, takes no answers, or breaks the protocol.

        Raises:
            ProtocolError, OSError, EOFError: It is gone, or must go.
        """
        self._socket.settimeout(self._limits.negotiation_timeout_s)
        export = self._negotiate()
        if export is None:
            return
        # An idle client is a good client; only answers that nobody takes are given up.
        self._socket.settimeout(None)
        seconds = int(self._limits.send_timeout_s)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds.to_bytes(8, "little") + bytes(8))
        self._opened = True
        sender = threading.Thread(target=self._send_answers, name="nbd-answers", daemon=True)
        sender.start()
        try:
            self._requests(export)
        finally:
            # Room comes back only when a request is answered: then nobody uses the socket.
            self._room.wait_empty()
            self._answers.put(None)
            sender.join()

    # Negotiation.

    def _negotiate(self) -> Export | None:
        """Return the export that the client opens, or None when it leaves."""
        self._send(wire.greeting())
        no_zeroes = wire.parse_client_flags(self._receive(wire.CLIENT_FLAGS_BYTES))
        for _ in range(_OPTIONS_MAX):
            header = wire.parse_option_header(self._receive(wire.OPTION_HEADER_BYTES))
            if header.length > wire.OPTION_BYTES_MAX:
                if header.option == wire.Option.EXPORT_NAME or header.length > wire.REQUEST_BYTES_MAX:
                    raise ProtocolError(f"an option of {header.length} bytes")
                self._skip(header.length)
                self._refuse(header.option, wire.OptionReply.ERR_TOO_BIG, "the option is too long")
                continue
            payload = self._receive(header.length)
            if header.option == wire.Option.EXPORT_NAME:
                # The protocol has no way to refuse here but to hang up.
                name = wire.parse_name(payload)
                export = self._open(name)
                if export is None:
                    return None
                self._status_allowed = self._context_export == name
                self._send(wire.export_name_reply(export.size_bytes, no_zeroes=no_zeroes))
                return export
            if header.option == wire.Option.ABORT:
                self._send(wire.option_reply(header.option, wire.OptionReply.ACK))
                return None
            try:
                opened = self._answer_option(header.option, payload)
            except ProtocolError as error:
                self._refuse(header.option, wire.OptionReply.ERR_INVALID, str(error))
                continue
            if opened is not None:
                return opened
        raise ProtocolError(f"more than {_OPTIONS_MAX} options")

    def _answer_option(self, option: int, payload: bytes) -> Export | None:
        """Answer one option; return the export when it was GO and succeeded."""
        if option in (wire.Option.GO, wire.Option.INFO):
            return self._answer_go(option, wire.parse_go(payload))
        if option == wire.Option.LIST:
            if payload:
                raise ProtocolError("LIST has no payload")
            for name in self._provider.names():
                self._send(wire.option_reply(option, wire.OptionReply.SERVER, wire.server_payload(name)))
            self._send(wire.option_reply(option, wire.OptionReply.ACK))
        elif option == wire.Option.STRUCTURED_REPLY:
            if payload:
                raise ProtocolError("STRUCTURED_REPLY has no payload")
            self._structured = True
            self._send(wire.option_reply(option, wire.OptionReply.ACK))
        elif option in (wire.Option.SET_META_CONTEXT, wire.Option.LIST_META_CONTEXT):
            self._answer_meta_context(option, wire.parse_meta_context(payload))
        else:
            self._refuse(option, wire.OptionReply.ERR_UNSUP, "not supported")
        return None

    def _answer_go(self, option: int, asked: wire.GoOption) -> Export | None:
        export = self._open(asked.export)
        if export is None:
            self._refuse(option, wire.OptionReply.ERR_UNKNOWN, f"no export {asked.export!r} can be opened")
            return None
        infos = [
            wire.export_info(export.size_bytes),
            wire.block_size_info(smallest=1, preferred=4096, largest=wire.REQUEST_BYTES_MAX),
        ]
        if wire.Info.NAME in asked.infos:
            infos.append(wire.name_info(asked.export))
        for info in infos:
            self._send(wire.option_reply(option, wire.OptionReply.INFO, info))
        self._send(wire.option_reply(option, wire.OptionReply.ACK))
        if option != wire.Option.GO:
            return None
        self._status_allowed = self._context_export == asked.export
        return export

    def _answer_meta_context(self, option: int, asked: wire.MetaContextOption) -> None:
        if not self._structured:
            raise ProtocolError("metadata contexts need structured replies first")
        if option == wire.Option.SET_META_CONTEXT:
            self._context_export = None
        wanted = wire.BASE_ALLOCATION in asked.queries
        if option == wire.Option.LIST_META_CONTEXT:
            wanted = wanted or not asked.queries or "base:" in asked.queries
        if wanted:
            if option == wire.Option.SET_META_CONTEXT:
                self._context_export = asked.export
            payload = wire.meta_context_payload(wire.BASE_ALLOCATION_ID, wire.BASE_ALLOCATION)
            self._send(wire.option_reply(option, wire.OptionReply.META_CONTEXT, payload))
        self._send(wire.option_reply(option, wire.OptionReply.ACK))

    def _open(self, name: str) -> Export | None:
        try:
            return self._provider.open(name)
        except DrystoneError as error:
            log.warning("nbd.open_failed", export=name, error=str(error))
            return None

    def _refuse(self, option: int, reply: wire.OptionReply, why: str) -> None:
        self._send(wire.option_reply(option, reply, why.encode()[: wire.NAME_BYTES_MAX]))

    # Requests.

    def _requests(self, export: Export) -> None:
        while True:
            try:
                header = self._receive(wire.REQUEST_BYTES)
            except EOFError:
                return  # Leaving without DISC is common and harms nothing.
            request = wire.parse_request(header)
            if request.command == wire.Command.DISC:
                return
            if request.command == wire.Command.WRITE:
                # Its payload must be passed over to find the next request.
                if request.length > wire.REQUEST_BYTES_MAX:
                    raise ProtocolError(f"a write of {request.length} bytes")
                self._skip(request.length)
            ticket = object()
            self._waiting[ticket] = time.monotonic()
            length = request.length if request.command == wire.Command.READ else 0
            self._room.take(length)
            self._pool.submit(self, functools.partial(self._work_out, export, request, ticket, length))

    def _work_out(self, export: Export, request: wire.Request, ticket: object, length: int) -> None:
        """Have an answer sent. By a thread of the pool, which waits for no client."""

        def answered() -> None:
            self._waiting.pop(ticket, None)
            self._room.give(length)

        try:
            parts = self._answer(export, request)
        except Exception:
            log.exception("nbd.request_crashed", command=request.command, offset=request.offset)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            answered()
            return
        self._answers.put((parts, answered))

    def _send_answers(self) -> None:
        """Send answers until None; those of a client that is gone, or takes none, are dropped."""
        gone = False
        while (answer := self._answers.get()) is not None:
            parts, answered = answer
            try:
                if not gone:
                    self._send(*parts)
            except OSError:
                gone = True
                # The connection's own thread must notice, too.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
            finally:
                answered()

    def _answer(self, export: Export, request: wire.Request) -> list[Buffer]:
        problem = self._problem(export, request)
        if problem is not None:
            return [self._failure(request, *problem)]
        try:
            if request.command == wire.Command.FLUSH:
                return [wire.done_chunk(request.cookie) if self._structured else wire.simple_reply(request.cookie)]
            if request.command == wire.Command.READ:
                return self._read(export, request)
            return [self._status(export, request)]
        except (IntegrityError, UnavailableError) as error:
            log.error(  # noqa: TRY400 - the trace of an expected failure says nothing
                "nbd.read_failed", offset=request.offset, length=request.length, error=str(error)
            )
            return [self._failure(request, wire.Error.EIO, str(error))]

    def _problem(self, export: Export, request: wire.Request) -> tuple[wire.Error, str] | None:
        """Return why a request cannot be served, or None."""
        command = request.command
        if command in (wire.Command.WRITE, wire.Command.TRIM, wire.Command.WRITE_ZEROES):
            return wire.Error.EPERM, "the export is read-only"
        if command == wire.Command.FLUSH:
            return None
        if command not in (wire.Command.READ, wire.Command.BLOCK_STATUS):
            return wire.Error.EINVAL, f"command {command} is not supported"
        allowed = wire.CommandFlag.DF if command == wire.Command.READ else wire.CommandFlag.REQ_ONE
        # int(): the complement of a flag enumeration knows only the enumerated bits.
        if request.flags & ~int(allowed):
            return wire.Error.EINVAL, f"flags {request.flags:#x} are not supported"
        if request.length == 0 or request.offset + request.length > export.size_bytes:
            return wire.Error.EINVAL, f"{request.length} bytes at {request.offset} of {export.size_bytes}"
        if command == wire.Command.READ:
            if request.length > wire.REQUEST_BYTES_MAX:
                return wire.Error.EOVERFLOW, f"at most {wire.REQUEST_BYTES_MAX} bytes in a read"
        elif not self._status_allowed:
            return wire.Error.EINVAL, "no metadata context was negotiated"
        return None

    def _read(self, export: Export, request: wire.Request) -> list[Buffer]:
        data = export.read(request.offset, request.length)
        assert len(data) == request.length, (len(data), request)
        if self._structured:
            return [wire.data_chunk_header(request.cookie, request.offset, request.length), data]
        return [wire.simple_reply(request.cookie), data]

    def _status(self, export: Export, request: wire.Request) -> bytes:
        count_max = 1 if request.flags & wire.CommandFlag.REQ_ONE else _EXTENTS_MAX
        merged = list(_merged(export.extents(request.offset, request.length), request.length, count_max))
        return wire.status_chunk(request.cookie, wire.BASE_ALLOCATION_ID, merged)

    def _failure(self, request: wire.Request, error: wire.Error, message: str) -> bytes:
        if self._structured:
            return wire.error_chunk(request.cookie, error, message)
        return wire.simple_reply(request.cookie, error)

    # Bytes.

    def _send(self, *parts: Buffer) -> None:
        """Send, by the connection's thread until the first request, by the one for answers from then on."""
        for part in parts:
            self._socket.sendall(part)

    def _receive(self, length: int) -> bytes:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = self._socket.recv_into(view)
            if count == 0:
                raise EOFError("the client hung up")
            view = view[count:]
        return bytes(data)

    def _skip(self, length: int) -> None:
        while length:
            length -= len(self._receive(min(length, _SKIP_BYTES)))


def _merged(extents: Sequence[tuple[int, bool]], length: int, count_max: int) -> Iterator[tuple[int, int]]:
    """Yield at most `count_max` (length, flags) of together at most `length` bytes, neighbours differing."""
    run, run_zero, count = 0, False, 0
    for size, zero in extents:
        size_now = min(size, length)
        length -= size_now
        if run and zero != run_zero:
            yield run, _flags(zero=run_zero)
            count += 1
            run = 0
            if count == count_max:
                return
        run, run_zero = run + size_now, zero
        if length == 0:
            break
    if run:
        yield run, _flags(zero=run_zero)


def _flags(*, zero: bool) -> int:
    return wire.STATE_HOLE | wire.STATE_ZERO if zero else 0

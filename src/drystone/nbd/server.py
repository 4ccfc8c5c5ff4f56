"""A small read-only NBD server for content that a Python object can produce: snapshots.

A thread per connection takes requests, a bounded pool of threads answers them, and each connection has a
bounded number of requests in flight: a client that asks without reading its answers only stops itself.
"""

import contextlib
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

import structlog

from drystone.codec import nbd_wire as wire
from drystone.domain.errors import DrystoneError, IntegrityError, ProtocolError, UnavailableError

_OPTIONS_MAX: Final = 64
"""Most options of one negotiation; real clients send fewer than ten."""
_EXTENTS_MAX: Final = 16 << 10
"""Most extents in one answer to a block status (128 KiB); the client asks again for the rest."""
_SKIP_BYTES: Final = 64 << 10

_WAITING: Final = "waiting/"
RECONNECTED_S: Final = 20.0
"""A client that has not come back for this long asks nothing: QEMU tries again at least every 16 s while it has a
request. Source: qemu block/nbd.c, nbd_reconnect_attempt, and nbd/client-connection.c."""

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


def waiting_name(pid: int) -> str:
    """Return the name of the export that tells how long the oldest unanswered request of a process has waited.

    Its size is that time in milliseconds. A process without a connection counts as waiting since the server began,
    until it would have come back if it had a request.
    """
    return f"{_WAITING}{pid}"


@dataclass(frozen=True, slots=True)
class _Told:
    """An export whose size is what it tells."""

    size_bytes: int

    def read(self, offset: int, length: int) -> Buffer:
        del offset
        return bytes(length)

    def extents(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        del offset
        return ((length, True),)


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
    """Bounds of the server's appetite.

    Args:
        connections: Most connections; further ones are closed at once.
        request_threads: Threads that read for all connections together.
        in_flight: Most unanswered requests of one connection.
        negotiation_timeout_s: Longest time between two messages before the first request.
        send_timeout_s: Longest wait for a client to take an answer.
    """

    connections: int = 64
    request_threads: int = 4
    in_flight: int = 16
    negotiation_timeout_s: float = 10.0
    send_timeout_s: float = 60.0


class NbdServer:
    """Serves a provider's exports on a unix socket that only this user may open.

    Listens when the constructor returns. Usable as a context manager.

    Args:
        socket_path: Where to listen. A socket that nobody answers on is replaced.
        provider: Finds exports by name.
        limits: Bounds.

    Raises:
        UnavailableError: Somebody listens there already, or the socket cannot be made.
    """

    def __init__(self, socket_path: Path, provider: ExportProvider, *, limits: ServerLimits | None = None) -> None:
        self._provider = provider
        self._limits = limits or ServerLimits()
        self._socket_path = socket_path
        self._listener = _listen(socket_path)
        self._pool = ThreadPoolExecutor(self._limits.request_threads, thread_name_prefix="nbd-request")
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._serving: dict[socket.socket, _Connection] = {}
        self._began_s = time.monotonic()
        self._closed = False
        self._acceptor = threading.Thread(target=self._accept, name="nbd-accept", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, cut all connections and wait for their threads. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            open_now = dict(self._connections)
        # Waking a blocked accept() needs shutdown(); close() alone leaves the thread waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        self._socket_path.unlink(missing_ok=True)
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in open_now.values():
            thread.join()
        self._pool.shutdown()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if not self._closed:
                    log.exception("nbd.accept_failed", socket_path=str(self._socket_path))
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="nbd-connection", daemon=True)
            with self._lock:
                refused = self._closed or len(self._connections) >= self._limits.connections
                if not refused:
                    self._connections[connection] = thread
            if refused:
                log.warning("nbd.connection_refused", connections_max=self._limits.connections)
                connection.close()
            else:
                thread.start()

    def open(self, name: str) -> Export:
        """Return an export of the provider, or what `waiting_name` names."""
        pid = name.removeprefix(_WAITING)
        if pid == name or not pid.isdecimal():
            return self._provider.open(name)
        now_s = time.monotonic()
        with self._lock:
            theirs = [one.waiting_since_s(now_s) for one in self._serving.values() if one.pid == int(pid)]
        since_s = [since_s for since_s in theirs if since_s is not None]
        if not since_s and now_s - self._began_s < RECONNECTED_S:
            since_s = [self._began_s]
        return _Told(int(1000 * (now_s - min(since_s, default=now_s))))

    def names(self) -> Sequence[str]:
        """Return the provider's names."""
        return self._provider.names()

    def _serve(self, connection: socket.socket) -> None:
        try:
            serving = _Connection(connection, self, self._pool, self._limits)
            with self._lock:
                self._serving[connection] = serving
            serving.run()
        except (ProtocolError, OSError, EOFError) as error:
            # A client that breaks the protocol or goes away harms only its own connection.
            log.info("nbd.connection_ended", reason=str(error) or type(error).__name__)
        finally:
            with self._lock:
                self._connections.pop(connection, None)
                self._serving.pop(connection, None)
            connection.close()


def _listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`, in place of a dead one."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
        # Nobody may connect before the mode is set: it is made under another name.
        making = path.with_name(f".{path.name}.{os.getpid()}")
        making.unlink(missing_ok=True)
        listener.bind(str(making))
        making.chmod(0o600)
        listener.listen(64)
        try:
            # A link never replaces what another server has put there meanwhile.
            os.link(making, path)
        finally:
            making.unlink()
    except OSError as error:
        listener.close()
        raise UnavailableError(f"cannot listen on {path}: {error}") from error
    return listener


class _Connection:
    """One client: negotiation, then requests until it leaves."""

    def __init__(
        self,
        connection: socket.socket,
        provider: ExportProvider,
        pool: ThreadPoolExecutor,
        limits: ServerLimits,
    ) -> None:
        self._socket = connection
        self._provider = provider
        self._pool = pool
        self._limits = limits
        self._slots = threading.BoundedSemaphore(limits.in_flight)
        self._send_lock = threading.Lock()
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
        self._socket.settimeout(self._limits.negotiation_timeout_s)
        export = self._negotiate()
        if export is None:
            return
        # An idle client is a good client; only answers that nobody takes are given up.
        self._socket.settimeout(None)
        seconds = int(self._limits.send_timeout_s)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds.to_bytes(8, "little") + bytes(8))
        self._opened = True
        try:
            self._requests(export)
        finally:
            # Every slot comes back only when its request is answered: then no thread uses the socket.
            for _ in range(self._limits.in_flight):
                self._slots.acquire()

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
            self._slots.acquire()
            try:
                self._pool.submit(self._answer_and_release, export, request, ticket)
            except BaseException:
                self._slots.release()
                raise

    def _answer_and_release(self, export: Export, request: wire.Request, ticket: object) -> None:
        try:
            self._answer(export, request)
        except OSError:
            # The client is gone or takes no answers; the connection's own thread must notice, too.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        except BaseException:
            log.exception("nbd.request_crashed", command=request.command, offset=request.offset)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            raise
        finally:
            self._waiting.pop(ticket, None)
            self._slots.release()

    def _answer(self, export: Export, request: wire.Request) -> None:
        problem = self._problem(export, request)
        if problem is not None:
            self._fail(request, *problem)
            return
        parts: list[Buffer]
        try:
            if request.command == wire.Command.FLUSH:
                parts = [wire.done_chunk(request.cookie) if self._structured else wire.simple_reply(request.cookie)]
            elif request.command == wire.Command.READ:
                parts = self._read(export, request)
            else:
                parts = [self._status(export, request)]
        except (IntegrityError, UnavailableError) as error:
            log.error(  # noqa: TRY400 - the trace of an expected failure says nothing
                "nbd.read_failed", offset=request.offset, length=request.length, error=str(error)
            )
            self._fail(request, wire.Error.EIO, str(error))
            return
        self._send(*parts)

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

    def _fail(self, request: wire.Request, error: wire.Error, message: str) -> None:
        if self._structured:
            self._send(wire.error_chunk(request.cookie, error, message))
        else:
            self._send(wire.simple_reply(request.cookie, error))

    # Bytes.

    def _send(self, *parts: Buffer) -> None:
        with self._send_lock:
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

"""An NBD client over a unix socket: a few commands at a time, or streams with many requests in flight.

One thread uses a client at a time. No call waits longer than `timeout_s` without any answer from the server.
After an error, or a stream left early, the connection is closed: requests may still be in flight and nothing
more is known of them. Every method then raises `UnavailableError`; make a new client.
"""

import contextlib
import errno
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from drystone.domain.blocks import pieces
from drystone.domain.errors import (
    DrystoneError,
    ProtocolError,
    SnapshotBrokenError,
    SpaceError,
    UnavailableError,
)
from drystone.nbd.extents import Extents, merged, rows_of
from drystone.nbd.libnbd import COMMAND_FLAG_NONE, NO_COMPLETION, ffi, last_error, library

READ_PIECE_BYTES: Final = 512 << 10
READ_WINDOW_BYTES: Final = 4 << 20
"""What flies stays in the processor's cache, in the daemon and here: with 16 MiB in pieces of 1 MiB reading took
0.78 s of processor per GB of both, so it takes 0.32 s, and it is no slower."""

_STATUS_BYTES_MAX: Final = (4 << 30) - (64 << 10)
"""Longest block-status request: lengths have 32 bits; kept a multiple of 64 KiB."""
_BARE_BYTES_MAX: Final = 1 << 30
"""Longest request without payload (trim, zero): the server answers other requests between them."""
_STATUS_DEPTH: Final = 32
_STOP_PROBE_S: Final = 0.2
"""How often a waiting stream asks whether it should stop."""
_CLOSE_S: Final = 1.0
"""How long an orderly goodbye may take."""

Buffer = bytes | bytearray | memoryview


class NbdClient:
    """A connection to one export.

    Connects in the constructor. Usable as a context manager.

    Args:
        contexts: Metadata contexts to negotiate; each must be offered by the server.
        timeout_s: Longest wait for any sign of life of the server, in seconds.

    Raises:
        UnavailableError: Nobody listens, the export does not exist, or the server is silent.
        ProtocolError: The server does not offer one of `contexts`.
    """

    def __init__(
        self, socket_path: Path, export: str, *, contexts: Sequence[str] = (), timeout_s: float = 30.0
    ) -> None:
        self._lib = library()
        self._name = f"{export!r} at {socket_path}"
        self._timeout_s = timeout_s
        self._contexts = tuple(contexts)
        self._handle: Any = self._lib.nbd_create()
        if not self._handle:
            raise UnavailableError(f"libnbd has no handle for {self._name}: {last_error()[1]}")
        # Status replies land here while nbd_poll runs: ticket of the request -> (context, offset, entries).
        self._replies: dict[int, list[tuple[str, int, bytes]]] = {}
        self._extent_callback = ffi.callback(
            "int (void *, const char *, uint64_t, uint32_t *, size_t, int *)", self._on_extents
        )
        try:
            self._connect(socket_path, export)
        except BaseException:
            self._abandon()
            raise

    def _connect(self, socket_path: Path, export: str) -> None:
        lib, handle = self._lib, self._handle
        self._check_setup(lib.nbd_set_export_name(handle, export.encode()))
        # Buffers are only handed out after a whole reply, so that clearing them first is lost work.
        self._check_setup(lib.nbd_set_pread_initialize(handle, False))  # noqa: FBT003 - C call
        for context in self._contexts:
            self._check_setup(lib.nbd_add_meta_context(handle, context.encode()))
        self._check_setup(lib.nbd_aio_connect_unix(handle, str(socket_path).encode()))
        deadline_s = time.monotonic() + self._timeout_s
        while not lib.nbd_aio_is_ready(handle):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise UnavailableError(f"NBD {self._name}: no handshake within {self._timeout_s:g} s")
            if lib.nbd_poll(handle, max(1, int(left_s * 1000))) < 0:
                self._check_setup(-1)
        size = lib.nbd_get_size(handle)
        self._check_setup(size)
        self.size_bytes = int(size)
        """Size of the export in bytes."""
        for context in self._contexts:
            if lib.nbd_can_meta_context(handle, context.encode()) != 1:
                raise ProtocolError(f"NBD {self._name}: the server does not offer {context!r}")
        self.read_only = lib.nbd_is_read_only(handle) == 1

    def _check_setup(self, result: int) -> None:
        if result < 0:
            raise UnavailableError(f"NBD {self._name}: cannot connect: {last_error()[1]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye and close. Takes at most a second; does nothing when closed already."""
        if self._handle is None:
            return
        lib, handle = self._lib, self._handle
        if lib.nbd_aio_is_ready(handle) and lib.nbd_aio_disconnect(handle, 0) == 0:
            deadline_s = time.monotonic() + _CLOSE_S
            while not (lib.nbd_aio_is_closed(handle) or lib.nbd_aio_is_dead(handle)):
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or lib.nbd_poll(handle, max(1, int(left_s * 1000))) < 0:
                    break
        self._abandon()

    def _abandon(self) -> None:
        """Close without a word. libnbd then touches no buffer any more, so they may be freed."""
        if self._handle is not None:
            self._lib.nbd_close(self._handle)
            self._handle = None

    # One command at a time.

    def pread(self, start: int, length: int) -> bytearray:
        """Return `length` bytes from byte `start`.

        Raises:
            SnapshotBrokenError: EINVAL: the frozen view is broken or this part of it was trimmed.
            UnavailableError: The connection is lost or silent, or the server could not read.
        """
        data = bytearray(length)
        with self._closing_on_error():
            self._check_range(start, length)
            pointer = ffi.from_buffer(data, require_writable=True)
            cookie = self._lib.nbd_aio_pread(self._live(), pointer, length, start, NO_COMPLETION, COMMAND_FLAG_NONE)
            self._wait(self._accepted("read", start, length, cookie), "read", start, length)
        return data

    def pwrite(self, start: int, data: Buffer) -> None:
        """Write `data` at byte `start`. Durable only after `flush`.

        Raises:
            SpaceError: The server's file system is full.
            ProtocolError: The server refuses (read-only export).
            UnavailableError: The connection is lost; whether it was written is not known.
        """
        for _ in self.write_ranges([(start, data)]):
            pass

    def zero(self, start: int, length: int) -> None:
        """Make `length` bytes from `start` read as zeros; space may be freed. Errors as `pwrite`."""
        for _ in self.zero_ranges([(start, length)]):
            pass

    def trim(self, start: int, length: int) -> None:
        """Tell the server that these bytes are not needed. Errors as `pwrite`."""
        for _ in self.trim_ranges([(start, length)]):
            pass

    def flush(self) -> None:
        """Return after every completed write is durable.

        Raises:
            UnavailableError: It is not known whether they are.
        """
        with self._closing_on_error():
            cookie = self._lib.nbd_aio_flush(self._live(), NO_COMPLETION, COMMAND_FLAG_NONE)
            self._wait(self._accepted("flush", 0, 0, cookie), "flush", 0, 0)

    # Streams.

    def read_ranges(
        self,
        ranges: Iterable[tuple[int, int]],
        *,
        depth: int = 32,
        piece_bytes: int = READ_PIECE_BYTES,
        window_bytes: int = READ_WINDOW_BYTES,
    ) -> Iterator[tuple[int, memoryview]]:
        """Read many ranges with many requests in flight, and yield them in the order given.

        Args:
            ranges: (start byte, length) in any order.
            depth: Most requests in flight.
            piece_bytes: Longer ranges are cut into pieces of this size.
            window_bytes: Memory for pieces in flight; at least `piece_bytes`.

        Yields:
            (start byte, data) of each piece; `data` may be used until the next one is asked for.

        Raises:
            SnapshotBrokenError, UnavailableError: As `pread`. All that was yielded before is right.
        """
        assert 0 < piece_bytes <= window_bytes
        assert depth > 0
        with self._closing_on_error():
            yield from self._read_ranges(ranges, depth, piece_bytes, window_bytes)

    def _read_ranges(
        self, ranges: Iterable[tuple[int, int]], depth: int, piece_bytes: int, window_bytes: int
    ) -> Iterator[tuple[int, memoryview]]:
        # Replies are handed out in the order asked for, so that a ring is all the allocator there need be.
        ring = bytearray(window_bytes)
        view = memoryview(ring)
        base = ffi.from_buffer(ring, require_writable=True)
        pread, accepted, wait = self._lib.nbd_aio_pread, self._accepted, self._wait
        flying: deque[tuple[int, int, int, int]] = deque()  # cookie, start, length, place in the ring
        head = 0
        for start, length in pieces(ranges, piece_bytes):
            self._check_range(start, length)
            while True:
                place = _ring_place(head, flying[0][3] if flying else None, length, window_bytes)
                if place is not None and len(flying) < depth:
                    break
                cookie, at, count, where = flying.popleft()
                wait(cookie, "read", at, count)
                yield at, view[where : where + count]
            cookie = pread(self._live(), base + place, length, start, NO_COMPLETION, COMMAND_FLAG_NONE)
            flying.append((accepted("read", start, length, cookie), start, length, place))
            head = place + length
        while flying:
            cookie, at, count, where = flying.popleft()
            wait(cookie, "read", at, count)
            yield at, view[where : where + count]

    def write_ranges(self, items: Iterable[tuple[int, Buffer]], *, depth: int = 16) -> Iterator[tuple[int, int]]:
        """Write many buffers, at most `depth` in flight; yield (start byte, length) of each completed one.

        A buffer must keep its content until it is yielded. Errors as `pwrite`; what was in flight may be
        written.
        """
        with self._closing_on_error():
            flying: deque[tuple[int, int, int, object]] = deque()
            for start, data in items:
                length = len(data)
                self._check_range(start, length)
                if len(flying) >= depth:
                    yield self._landed(flying.popleft(), "write")
                pointer = ffi.from_buffer(data)
                cookie = self._lib.nbd_aio_pwrite(
                    self._live(), pointer, length, start, NO_COMPLETION, COMMAND_FLAG_NONE
                )
                flying.append((self._accepted("write", start, length, cookie), start, length, pointer))
            while flying:
                yield self._landed(flying.popleft(), "write")

    def trim_ranges(
        self, ranges: Iterable[tuple[int, int]], *, depth: int = 8, stop: Callable[[], bool] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Trim many ranges; yield (start byte, length) of each completed piece. Ends early when `stop()`."""
        return self._bare_ranges("trim", ranges, _BARE_BYTES_MAX, depth, stop)

    def zero_ranges(
        self, ranges: Iterable[tuple[int, int]], *, depth: int = 8, stop: Callable[[], bool] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Zero many ranges; yield (start byte, length) of each completed piece. Ends early when `stop()`."""
        return self._bare_ranges("zero", ranges, _BARE_BYTES_MAX, depth, stop)

    def cache_ranges(
        self,
        ranges: Iterable[tuple[int, int]],
        *,
        depth: int = 8,
        piece_bytes: int = 1 << 20,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[int, int]]:
        """Have the server pull many ranges into its cache or overlay; yield (start byte, length) of each.

        Ends early, with the connection closed, when `stop()`.
        """
        return self._bare_ranges("cache", ranges, piece_bytes, depth, stop)

    def _bare_ranges(
        self,
        command: str,
        ranges: Iterable[tuple[int, int]],
        piece_bytes: int,
        depth: int,
        stop: Callable[[], bool] | None,
    ) -> Iterator[tuple[int, int]]:
        submit = getattr(self._lib, f"nbd_aio_{command}")
        with self._closing_on_error():
            flying: deque[tuple[int, int, int, object]] = deque()
            for start, length in pieces(ranges, piece_bytes):
                self._check_range(start, length)
                if len(flying) >= depth:
                    yield self._landed(flying.popleft(), command, stop)
                if stop is not None and stop():
                    break
                cookie = submit(self._live(), length, start, NO_COMPLETION, COMMAND_FLAG_NONE)
                flying.append((self._accepted(command, start, length, cookie), start, length, None))
            while flying:
                yield self._landed(flying.popleft(), command, stop)

    def _landed(
        self, request: tuple[int, int, int, object], command: str, stop: Callable[[], bool] | None = None
    ) -> tuple[int, int]:
        cookie, start, length, _buffer = request
        self._wait(cookie, command, start, length, stop)
        return start, length

    # Block status.

    def extents(self, context: str, start: int, stop: int) -> Extents:
        """Return the flags that `context` gives bytes [start, stop), as merged extents that cover all of it.

        Args:
            context: One of those negotiated.
            start: First byte, a multiple of 512.
            stop: End, at most `size_bytes`.

        Raises:
            SnapshotBrokenError, UnavailableError: As `pread`.
            ProtocolError: The server's answer makes no sense.
        """
        assert context in self._contexts, (context, self._contexts)
        if start == stop:
            return np.empty((0, 3), dtype=np.int64)
        with self._closing_on_error():
            self._check_range(start, stop - start)
            found = self._status(context, start, stop)
        return merged(found, start, stop, f"NBD {self._name}, {context}")

    def _status(self, context: str, start: int, stop: int) -> list[tuple[int, Extents]]:
        """Ask for all pieces, and again for what a short answer left out."""
        wanted = deque(pieces([(start, stop - start)], _STATUS_BYTES_MAX))
        flying: deque[tuple[int, int, int, int]] = deque()  # cookie, ticket, start, length
        found: list[tuple[int, Extents]] = []
        ticket = 0
        while wanted or flying:
            while wanted and len(flying) < _STATUS_DEPTH:
                at, length = wanted.popleft()
                ticket += 1
                self._replies[ticket] = []
                callback = ffi.new("nbd_extent_callback *")
                callback.callback = self._extent_callback
                callback.user_data = ffi.cast("void *", ticket)
                cookie = self._lib.nbd_aio_block_status(
                    self._live(), length, at, callback[0], NO_COMPLETION, COMMAND_FLAG_NONE
                )
                flying.append((self._accepted("status", at, length, cookie), ticket, at, length))
            cookie, done, at, length = flying.popleft()
            self._wait(cookie, "status", at, length)
            reached = at
            for name, offset, entries in self._replies.pop(done):
                if name == context:
                    if offset != reached:
                        raise ProtocolError(f"NBD {self._name}: status of {reached} asked, of {offset} answered")
                    rows = rows_of(offset, entries)
                    if len(rows):
                        found.append((at, rows))
                        reached = int(rows[-1, 1])
            if reached == at:
                raise ProtocolError(f"NBD {self._name}: no {context!r} status for {length} bytes at {at}")
            if reached < at + length:
                wanted.append((reached, at + length - reached))
        return found

    def _on_extents(
        self,
        ticket: Any,  # noqa: ANN401 - cffi data
        context: Any,  # noqa: ANN401 - cffi data
        offset: int,
        entries: Any,  # noqa: ANN401 - cffi data
        count: int,
        _error: Any,  # noqa: ANN401 - cffi data
    ) -> int:
        number = int(ffi.cast("uintptr_t", ticket))
        replies = self._replies.get(number)
        if replies is not None:
            name = ffi.string(context).decode("utf-8", "replace")
            replies.append((name, int(offset), bytes(ffi.buffer(entries, 4 * count))))
        return 0

    # Common parts.

    def _live(self) -> Any:  # noqa: ANN401 - cffi data
        if self._handle is None:
            raise UnavailableError(f"NBD {self._name}: the connection is closed")
        return self._handle

    def _check_range(self, start: int, length: int) -> None:
        assert start >= 0, (start, length)
        assert length > 0, (start, length)
        assert start + length <= self.size_bytes, (start, length, self.size_bytes)

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        self._live()
        try:
            yield
        except BaseException:
            # Also a generator that its user left: what is in flight points into buffers that are about to go.
            self._replies.clear()
            self._abandon()
            raise

    def _accepted(self, command: str, start: int, length: int, cookie: int) -> int:
        if cookie < 0:
            number, text = last_error()
            if self._lib.nbd_aio_is_dead(self._handle) or self._lib.nbd_aio_is_closed(self._handle):
                raise UnavailableError(f"NBD {self._name}: connection lost: {text}")
            # The range was checked, so this is libnbd's "the server does not allow it" (read-only).
            raise ProtocolError(f"NBD {self._name}: {command} of {length} at {start}: {text} (errno {number})")
        return cookie

    def _wait(self, cookie: int, command: str, start: int, length: int, stop: Callable[[], bool] | None = None) -> None:
        """Wait until a request is answered.

        Raises:
            DrystoneError: It failed, or nothing was heard for `timeout_s`, or `stop()`.
        """
        lib, handle = self._lib, self._live()
        silent_s = 0.0
        slice_s = self._timeout_s if stop is None else min(self._timeout_s, _STOP_PROBE_S)
        while True:
            done = lib.nbd_aio_command_completed(handle, cookie)
            if done == 1:
                return
            if done < 0:
                raise self._failure(command, start, length)
            heard = lib.nbd_poll(handle, max(1, int(slice_s * 1000)))
            if heard < 0:
                number, text = last_error()
                if number != errno.EINTR:
                    raise UnavailableError(f"NBD {self._name}: connection lost: {text}")
            elif heard == 0:
                silent_s += slice_s
                if stop is not None and stop():
                    raise UnavailableError(f"NBD {self._name}: stopped while waiting for an answer")
                if silent_s >= self._timeout_s:
                    raise UnavailableError(
                        f"NBD {self._name}: no answer to {command} of {length} at {start} within {self._timeout_s:g} s"
                    )
            else:
                silent_s = 0.0

    def _failure(self, command: str, start: int, length: int) -> DrystoneError:
        """Return the error that a failed request means to the caller."""
        number, text = last_error()
        what = f"NBD {self._name}: {command} of {length} at {start}: {text}"
        if number == errno.EINVAL and command in ("read", "status"):
            # QSD answers so for a broken copy-before-write filter and for trimmed parts of a frozen view.
            return SnapshotBrokenError(what)
        if number == errno.ENOSPC:
            return SpaceError(what)
        if number in (errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EOVERFLOW):
            return ProtocolError(what)
        return UnavailableError(what)


def _ring_place(head: int, tail: int | None, length: int, size: int) -> int | None:
    """Return where `length` contiguous bytes fit in a ring, or None if something must be released first.

    Args:
        head: End of the newest allocation.
        tail: Start of the oldest one; None when the ring is empty.
        length: Bytes wanted.
        size: Bytes in the ring.
    """
    assert length <= size
    if tail is None:
        return 0
    if head > tail:  # In use: [tail, head).
        if head + length <= size:
            return head
        # Strictly less: head == tail must only ever mean "full".
        return 0 if length < tail else None
    return head if head + length < tail else None  # In use: all but [head, tail).

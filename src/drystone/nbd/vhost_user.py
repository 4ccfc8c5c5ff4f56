"""A client of a storage daemon's vhost-user-blk export that does one thing: it discards.

A daemon has one NBD server, and whoever reaches it is told the names of all its exports and may open them: what only
Drystone may do to a disk needs a socket of its own (S128). This is the smallest part of the protocol that does it: one
queue in shared memory, one kind of request.

Sources: the vhost-user protocol (qemu/docs/interop/vhost-user.rst); virtio 1.2, sections 2.7 and 5.2.
"""

import contextlib
import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Self

from drystone.domain.blocks import pieces
from drystone.domain.errors import ProtocolError, UnavailableError

SECTOR_BYTES: Final = 512
PIECE_BYTES_MAX: Final = 32768 * SECTOR_BYTES
"""Most that one request may discard. Source: qemu/block/export/virtio-blk-handler.h."""

_BEFORE_GONE_S: Final = 1.0
"""An export has one client at a time, and the daemon takes some milliseconds to see that one has left."""
_PAUSE_S: Final = 0.01

_VERSION: Final = 1
_REPLY: Final = 4
_GET_FEATURES, _SET_FEATURES, _SET_OWNER, _SET_MEM_TABLE = 1, 2, 3, 5
_SET_VRING_NUM, _SET_VRING_ADDR, _SET_VRING_BASE, _SET_VRING_KICK, _SET_VRING_CALL = 8, 9, 10, 12, 13
_DISCARD_FEATURE: Final = 1 << 13
_VERSION_1_FEATURE: Final = 1 << 32
_HEADER: Final = struct.Struct("<III")

_DEPTH: Final = 16
"""Requests at a time: the daemon does them all before it looks at a guest's again, in some 0.4 ms."""
_QUEUE: Final = 2 * _DEPTH
"""Descriptors of the queue; a request takes two."""
_DESCRIPTOR: Final = struct.Struct("<QIHH")
_NEXT, _WRITE = 1, 2
_REQUEST: Final = struct.Struct("<IIQQII")
_DISCARD: Final = 11
_STATUS_PENDING: Final = 0xFF
_AVAILABLE, _USED, _REQUESTS, _STATUSES, _MEMORY = 0x1000, 0x2000, 0x4000, 0x8000, 0x9000
"""Where the parts of the queue are in the shared memory; its descriptors come first."""


class Discarder:
    """A connection to one export. One thread uses it at a time. Usable as a context manager.

    Raises:
        UnavailableError: Nobody listens, or the daemon is silent.
        ProtocolError: The export cannot discard.
    """

    def __init__(self, socket_path: Path, *, timeout_s: float = 30.0) -> None:
        self._name = str(socket_path)
        self._timeout_s = timeout_s
        self._submitted = 0
        with contextlib.ExitStack() as stack:
            shared = os.memfd_create("drystone-discard")
            stack.callback(os.close, shared)
            os.ftruncate(shared, _MEMORY)
            self._memory = stack.enter_context(contextlib.closing(mmap.mmap(shared, _MEMORY)))
            self._kick, self._call = os.eventfd(0), os.eventfd(0, os.EFD_NONBLOCK)
            stack.callback(os.close, self._kick)
            stack.callback(os.close, self._call)
            self._socket = self._connected(shared)
            stack.callback(self._socket.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def _connected(self, shared: int) -> socket.socket:
        """Connect; again while the daemon has not noticed that the client before this one is gone."""
        deadline_s = time.monotonic() + _BEFORE_GONE_S
        while True:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(self._timeout_s)
            try:
                self._socket.connect(self._name)
                self._negotiate(shared)
            except (EOFError, ConnectionResetError, BrokenPipeError) as error:
                self._socket.close()
                if time.monotonic() >= deadline_s:
                    raise UnavailableError(f"{self._name} has another client") from error
                time.sleep(_PAUSE_S)
            except OSError as error:
                self._socket.close()
                raise UnavailableError(f"{self._name} cannot be used to discard: {error}") from error
            except BaseException:
                self._socket.close()
                raise
            else:
                return self._socket

    def _negotiate(self, shared: int) -> None:
        self._send(_GET_FEATURES)
        (features,) = struct.unpack("<Q", self._receive(_GET_FEATURES, 8))
        wanted = _DISCARD_FEATURE | _VERSION_1_FEATURE
        if features & wanted != wanted:
            raise ProtocolError(f"{self._name} cannot discard: features {features:#x}")
        self._send(_SET_OWNER)
        self._send(_SET_FEATURES, struct.pack("<Q", wanted))
        # Addresses of ours are places in the one piece of memory.
        self._send(_SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, _MEMORY, 0, 0), shared)
        self._send(_SET_VRING_NUM, struct.pack("<II", 0, _QUEUE))
        self._send(_SET_VRING_BASE, struct.pack("<II", 0, 0))
        self._send(_SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, 0, _USED, _AVAILABLE, 0))
        self._send(_SET_VRING_CALL, struct.pack("<Q", 0), self._call)
        # The queue starts with this one.
        self._send(_SET_VRING_KICK, struct.pack("<Q", 0), self._kick)

    def _send(self, request: int, payload: bytes = b"", descriptor: int | None = None) -> None:
        message = _HEADER.pack(request, _VERSION, len(payload)) + payload
        sent = socket.send_fds(self._socket, [message], [] if descriptor is None else [descriptor])
        if sent != len(message):
            raise EOFError

    def _receive(self, request: int, length: int) -> bytes:
        message = self._socket.recv(_HEADER.size + length, socket.MSG_WAITALL)
        if len(message) != _HEADER.size + length:
            raise EOFError
        if _HEADER.unpack_from(message) != (request, _VERSION | _REPLY, length):
            raise ProtocolError(f"{self._name} answered {message.hex()}")
        return message[_HEADER.size :]

    def discard(self, ranges: Iterable[tuple[int, int]], *, stop: Callable[[], bool]) -> int:
        """Discard ranges of (start byte, length), multiples of 512; return how many bytes. Ends early when `stop()`.

        Raises:
            UnavailableError: The daemon refused one, is silent or gone.
        """
        left = pieces(ranges, PIECE_BYTES_MAX)
        discarded = 0
        while not stop():
            batch = [piece for _, piece in zip(range(_DEPTH), left, strict=False)]
            if not batch:
                break
            for place, (start, length) in enumerate(batch):
                self._submit(place, start, length)
            struct.pack_into("<H", self._memory, _AVAILABLE + 2, self._submitted & 0xFFFF)
            os.eventfd_write(self._kick, 1)
            self._wait()
            statuses = self._memory[_STATUSES : _STATUSES + len(batch)]
            if any(statuses):
                raise UnavailableError(f"{self._name} did not discard: status {max(statuses)}")
            discarded += sum(length for _, length in batch)
        return discarded

    def _submit(self, place: int, start: int, length: int) -> None:
        assert start % SECTOR_BYTES == length % SECTOR_BYTES == 0, (start, length)
        request, status = _REQUESTS + place * _REQUEST.size, _STATUSES + place
        _REQUEST.pack_into(self._memory, request, _DISCARD, 0, 0, start // SECTOR_BYTES, length // SECTOR_BYTES, 0)
        self._memory[status] = _STATUS_PENDING
        first = 2 * place
        _DESCRIPTOR.pack_into(self._memory, first * _DESCRIPTOR.size, request, _REQUEST.size, _NEXT, first + 1)
        _DESCRIPTOR.pack_into(self._memory, (first + 1) * _DESCRIPTOR.size, status, 1, _WRITE, 0)
        struct.pack_into("<H", self._memory, _AVAILABLE + 4 + 2 * (self._submitted % _QUEUE), first)
        self._submitted += 1

    def _wait(self) -> None:
        """Wait until all that was submitted is done."""
        poll = select.poll()
        poll.register(self._call, select.POLLIN)
        poll.register(self._socket, select.POLLHUP)
        while struct.unpack_from("<H", self._memory, _USED + 2)[0] != self._submitted & 0xFFFF:
            events = dict(poll.poll(self._timeout_s * 1000))
            if self._call in events:
                os.eventfd_read(self._call)
            elif events:
                raise UnavailableError(f"{self._name} hung up")
            else:
                raise UnavailableError(f"{self._name} has not discarded in {self._timeout_s:g} s")

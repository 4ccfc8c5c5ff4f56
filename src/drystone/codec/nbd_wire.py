"""The server's side of the NBD protocol as pure functions: bytes to values and back.

Fixed newstyle negotiation, simple and structured replies, metadata context `base:allocation`; no TLS, no
extended headers. Anything that a client sends gives a value or a `ProtocolError`, nothing else.

Source: the NBD project's doc/proto.md.
"""

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from drystone.domain.errors import ProtocolError

OPTION_BYTES_MAX: Final = 16 << 10
"""Longest option payload that is taken: a name and some queries have 4 KiB each at most."""
NAME_BYTES_MAX: Final = 4096
"""Longest string of the protocol."""
REQUEST_BYTES_MAX: Final = 32 << 20
"""Longest read; the protocol's customary limit of a payload."""
QUERIES_MAX: Final = 64

BASE_ALLOCATION: Final = "base:allocation"
BASE_ALLOCATION_ID: Final = 1
STATE_HOLE: Final = 1
STATE_ZERO: Final = 2
"""Flag of `base:allocation`: the range reads as zeros. A hole without it says nothing of its content."""

_INIT_MAGIC: Final = b"NBDMAGIC"
_OPTION_MAGIC: Final = b"IHAVEOPT"
_OPTION_REPLY_MAGIC: Final = 0x0003E889045565A9
_REQUEST_MAGIC: Final = 0x25609513
_SIMPLE_REPLY_MAGIC: Final = 0x67446698
_CHUNK_MAGIC: Final = 0x668E33EF

_FLAG_FIXED_NEWSTYLE: Final = 1
_FLAG_NO_ZEROES: Final = 2

TRANSMISSION_FLAGS: Final = 0x1 | 0x2 | 0x4 | 0x100
"""has flags, read-only, flush, multi-conn (read-only data looks the same through every connection)."""

CLIENT_FLAGS_BYTES: Final = 4
OPTION_HEADER_BYTES: Final = 16
REQUEST_BYTES: Final = 28


class Option(enum.IntEnum):
    """What a client may ask while negotiating."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class OptionReply(enum.IntEnum):
    """How an option is answered."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = (1 << 31) + 1
    ERR_POLICY = (1 << 31) + 2
    ERR_INVALID = (1 << 31) + 3
    ERR_UNKNOWN = (1 << 31) + 6
    ERR_TOO_BIG = (1 << 31) + 9


class Info(enum.IntEnum):
    """Kinds of export information."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class Command(enum.IntEnum):
    """What a client may ask of an export."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(enum.IntFlag):
    """Flags of a request that this server understands."""

    DF = 4
    REQ_ONE = 8


class Error(enum.IntEnum):
    """The protocol's own error numbers (those of Linux)."""

    EPERM = 1
    EIO = 5
    ENOMEM = 12
    EINVAL = 22
    EOVERFLOW = 75
    ENOTSUP = 95
    ESHUTDOWN = 108


class _Chunk(enum.IntEnum):
    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = (1 << 15) + 1
    ERROR_OFFSET = (1 << 15) + 2


_CHUNK_DONE: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionHeader:
    """Which option comes (maybe none that is known) and how many bytes of payload follow."""

    option: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOption:
    """Payload of GO and INFO."""

    export: str
    infos: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaContextOption:
    """Payload of LIST_META_CONTEXT and SET_META_CONTEXT."""

    export: str
    queries: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One command of a client; `command` may be unknown, `offset` and `length` are not checked."""

    flags: int
    command: int
    cookie: int
    offset: int
    length: int


# What the server sends first, and how it reads the answer.


def greeting() -> bytes:
    """Return the server's first bytes."""
    return _INIT_MAGIC + _OPTION_MAGIC + struct.pack(">H", _FLAG_FIXED_NEWSTYLE | _FLAG_NO_ZEROES)


def parse_client_flags(data: bytes) -> bool:
    """Parse the client's 4 bytes of flags.

    Returns:
        Whether the 124 zero bytes after EXPORT_NAME are left out.

    Raises:
        ProtocolError: Not four bytes, or a flag that this server did not offer.
    """
    if len(data) != CLIENT_FLAGS_BYTES:
        raise ProtocolError(f"client flags have 4 bytes, got {len(data)}")
    (flags,) = struct.unpack(">I", data)
    if flags & ~(_FLAG_FIXED_NEWSTYLE | _FLAG_NO_ZEROES) or not flags & _FLAG_FIXED_NEWSTYLE:
        raise ProtocolError(f"client flags {flags:#x} are not offered")
    return bool(flags & _FLAG_NO_ZEROES)


def parse_option_header(data: bytes) -> OptionHeader:
    """Parse the 16 bytes before an option's payload.

    Raises:
        ProtocolError: Not an option. Its length is not judged: it may be skipped up to a limit.
    """
    if len(data) != OPTION_HEADER_BYTES or data[:8] != _OPTION_MAGIC:
        raise ProtocolError(f"no option header: {data[:16].hex()}")
    option, length = struct.unpack(">II", data[8:])
    return OptionHeader(option=option, length=length)


def parse_name(data: bytes) -> str:
    """Parse an export name (the whole payload of EXPORT_NAME).

    Raises:
        ProtocolError: Too long or not UTF-8.
    """
    if len(data) > NAME_BYTES_MAX:
        raise ProtocolError(f"a name of {len(data)} bytes; at most {NAME_BYTES_MAX}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a name that is not UTF-8: {error}") from error


def parse_go(data: bytes) -> GoOption:
    """Parse the payload of GO or INFO.

    Raises:
        ProtocolError: It is cut short, too long or not UTF-8.
    """
    name, at = _string(data, 0)
    (count,), at = _numbers(data, at, ">H")
    if len(data) != at + 2 * count:
        raise ProtocolError(f"{count} information requests in {len(data) - at} bytes")
    return GoOption(export=name, infos=struct.unpack(f">{count}H", data[at:]))


def parse_meta_context(data: bytes) -> MetaContextOption:
    """Parse the payload of LIST_META_CONTEXT or SET_META_CONTEXT.

    Raises:
        ProtocolError: It is cut short, too long or not UTF-8.
    """
    name, at = _string(data, 0)
    (count,), at = _numbers(data, at, ">I")
    if count > QUERIES_MAX:
        raise ProtocolError(f"{count} metadata queries; at most {QUERIES_MAX}")
    queries = []
    for _ in range(count):
        query, at = _string(data, at)
        queries.append(query)
    if at != len(data):
        raise ProtocolError(f"{len(data) - at} bytes after the last metadata query")
    return MetaContextOption(export=name, queries=tuple(queries))


def parse_request(data: bytes) -> Request:
    """Parse a request of 28 bytes.

    Raises:
        ProtocolError: Not a request; nothing after it can be understood.
    """
    if len(data) != REQUEST_BYTES:
        raise ProtocolError(f"a request has {REQUEST_BYTES} bytes, got {len(data)}")
    magic, flags, command, cookie, offset, length = struct.unpack(">IHHQQI", data)
    if magic != _REQUEST_MAGIC:
        raise ProtocolError(f"request magic {magic:#x}, expected {_REQUEST_MAGIC:#x}")
    return Request(flags=flags, command=command, cookie=cookie, offset=offset, length=length)


def _numbers(data: bytes, at: int, form: str) -> tuple[tuple[int, ...], int]:
    stop = at + struct.calcsize(form)
    if stop > len(data):
        raise ProtocolError(f"option payload of {len(data)} bytes ends within a number at {at}")
    return struct.unpack(form, data[at:stop]), stop


def _string(data: bytes, at: int) -> tuple[str, int]:
    (length,), at = _numbers(data, at, ">I")
    if at + length > len(data):
        raise ProtocolError(f"a string of {length} bytes at {at} in a payload of {len(data)}")
    return parse_name(data[at : at + length]), at + length


# Answers to options.


def option_reply(option: int, reply: OptionReply, payload: bytes = b"") -> bytes:
    """Return one answer to an option; text in the payload of an error is for people."""
    return struct.pack(">QIII", _OPTION_REPLY_MAGIC, option, reply, len(payload)) + payload


def server_payload(name: str) -> bytes:
    """Return the payload that names one export in the answer to LIST."""
    text = name.encode()
    return struct.pack(">I", len(text)) + text


def export_info(size_bytes: int) -> bytes:
    """Return the information that GO must give: size and what the export can do."""
    return struct.pack(">HQH", Info.EXPORT, size_bytes, TRANSMISSION_FLAGS)


def name_info(name: str) -> bytes:
    """Return the canonical name of the export as information."""
    return struct.pack(">H", Info.NAME) + name.encode()


def block_size_info(*, smallest: int, preferred: int, largest: int) -> bytes:
    """Return the limits of requests, in bytes."""
    return struct.pack(">HIII", Info.BLOCK_SIZE, smallest, preferred, largest)


def meta_context_payload(context_id: int, name: str) -> bytes:
    """Return the payload that names one metadata context."""
    return struct.pack(">I", context_id) + name.encode()


def export_name_reply(size_bytes: int, *, no_zeroes: bool) -> bytes:
    """Return the answer to the old option EXPORT_NAME, after which requests come."""
    return struct.pack(">QH", size_bytes, TRANSMISSION_FLAGS) + (b"" if no_zeroes else bytes(124))


# Answers to requests.


def simple_reply(cookie: int, error: int = 0) -> bytes:
    """Return a simple reply; the data of a successful read follows it."""
    return struct.pack(">IIQ", _SIMPLE_REPLY_MAGIC, error, cookie)


def done_chunk(cookie: int) -> bytes:
    """Return the structured reply that says "done" and nothing else."""
    return struct.pack(">IHHQI", _CHUNK_MAGIC, _CHUNK_DONE, _Chunk.NONE, cookie, 0)


def data_chunk_header(cookie: int, offset: int, length: int) -> bytes:
    """Return what stands before `length` bytes of data in the one chunk that answers a read."""
    return struct.pack(">IHHQIQ", _CHUNK_MAGIC, _CHUNK_DONE, _Chunk.OFFSET_DATA, cookie, 8 + length, offset)


def status_chunk(cookie: int, context_id: int, extents: Sequence[tuple[int, int]]) -> bytes:
    """Return the one chunk that answers a block status: (length, flags) from the request's offset on."""
    assert extents
    flat = [number for pair in extents for number in pair]
    return struct.pack(
        f">IHHQII{len(flat)}I",
        _CHUNK_MAGIC,
        _CHUNK_DONE,
        _Chunk.BLOCK_STATUS,
        cookie,
        4 + 4 * len(flat),
        context_id,
        *flat,
    )


def error_chunk(cookie: int, error: int, message: str = "") -> bytes:
    """Return the one chunk that says that a request failed."""
    text = message.encode()[:NAME_BYTES_MAX]
    return (
        struct.pack(">IHHQIIH", _CHUNK_MAGIC, _CHUNK_DONE, _Chunk.ERROR, cookie, 6 + len(text), error, len(text)) + text
    )

"""The NBD server against libnbd, nbdinfo, qemu-img and raw bytes on its socket."""

import functools
import hashlib
import json
import os
import resource
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from drystone.codec import nbd_wire as wire
from drystone.codec.nbd_wire import BASE_ALLOCATION
from drystone.domain.errors import IntegrityError, Refusal, RefusalError, UnavailableError
from drystone.nbd import server as nbd_server
from drystone.nbd.client import NbdClient
from drystone.nbd.connection import FairPool, ServerLimits
from drystone.nbd.server import NbdServer, waiting_name

KIB = 1 << 10
MIB = 1 << 20


class MemoryExport:
    """Content in memory; blocks of zeros are reported as such; reads of `bad` fail."""

    def __init__(self, content: bytes, bad: range = range(0)) -> None:
        self.content = content
        self.bad = bad
        self.gate: threading.Event | None = None
        self.reading = 0
        self.reading_max = 0
        self.lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    def read(self, offset: int, length: int) -> bytes:
        with self.lock:
            self.reading += 1
            self.reading_max = max(self.reading_max, self.reading)
        if self.gate is not None:
            assert self.gate.wait(60)
        with self.lock:
            self.reading -= 1
        if offset < self.bad.stop and self.bad.start < offset + length:
            raise IntegrityError("planted")
        return self.content[offset : offset + length]

    def extents(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        part = np.frombuffer(self.content[offset : offset + length], dtype=np.uint8)
        blocks = [part[at : at + 4096] for at in range(0, len(part), 4096)]
        return [(len(block), not block.any()) for block in blocks]


class Provider:
    def __init__(self, exports: dict[str, MemoryExport]) -> None:
        self.exports = exports

    def open(self, name: str) -> MemoryExport:
        if name not in self.exports:
            raise RefusalError(Refusal.NO_SUCH_SNAPSHOT, f"no {name}")
        return self.exports[name]

    def names(self) -> Sequence[str]:
        return sorted(self.exports)


def content() -> bytes:
    rng = np.random.default_rng(3)
    data = rng.integers(0, 256, 3 * MIB + 512, dtype=np.uint8)
    data[MIB : 2 * MIB] = 0
    data[64 * KIB : 68 * KIB] = 0
    return data.tobytes()


@pytest.fixture
def export() -> MemoryExport:
    return MemoryExport(content())


@pytest.fixture
def socket_path(tmp_path: Path, export: MemoryExport) -> Iterator[Path]:
    path = tmp_path / "nbd.sock"
    with NbdServer(path, Provider({"snap": export, "other": MemoryExport(b"\1" * 8192)})):
        yield path


def test_client_reads_everything_in_order(socket_path: Path, export: MemoryExport) -> None:
    with NbdClient(socket_path, "snap", timeout_s=60) as client:
        assert client.size_bytes == len(export.content)
        assert client.read_only
        got = bytearray()
        for start, data in client.read_ranges([(0, client.size_bytes)], piece_bytes=100_000, window_bytes=350_000):
            assert start == len(got)
            got += data
        assert hashlib.sha256(got).digest() == hashlib.sha256(export.content).digest()
        assert client.pread(70_000, 5) == export.content[70_000:70_005]
        client.flush()


def test_any_order_and_size_of_ranges(socket_path: Path, export: MemoryExport) -> None:
    rng = np.random.default_rng(5)
    starts = rng.integers(0, len(export.content) - 70_000, 500)
    ranges = [(int(start), int(length)) for start, length in zip(starts, rng.integers(1, 70_000, 500), strict=True)]
    with NbdClient(socket_path, "snap", timeout_s=60) as client:
        stream = client.read_ranges(ranges, depth=7, piece_bytes=70_000, window_bytes=200_000)
        for (start, length), (at, data) in zip(ranges, stream, strict=True):
            assert at == start
            assert data == export.content[start : start + length]


def test_extents(socket_path: Path, export: MemoryExport) -> None:
    with NbdClient(socket_path, "snap", contexts=[BASE_ALLOCATION], timeout_s=60) as client:
        rows = client.extents(BASE_ALLOCATION, 0, client.size_bytes).tolist()
        assert rows == [
            [0, 64 * KIB, 0],
            [64 * KIB, 68 * KIB, 3],
            [68 * KIB, MIB, 0],
            [MIB, 2 * MIB, 3],
            [2 * MIB, len(export.content), 0],
        ]
        assert client.extents(BASE_ALLOCATION, 66 * KIB, 67 * KIB).tolist() == [[66 * KIB, 67 * KIB, 3]]
        assert client.extents(BASE_ALLOCATION, 5, 5).tolist() == []


def test_short_status_answers_are_asked_again(tmp_path: Path) -> None:
    # 20,000 alternating blocks: more extents than one answer holds.
    flat = np.zeros((20_000, 4096), dtype=np.uint8)
    flat[::2] = 7
    with (
        NbdServer(tmp_path / "s", Provider({"x": MemoryExport(flat.tobytes())})),
        NbdClient(tmp_path / "s", "x", contexts=[BASE_ALLOCATION], timeout_s=20) as client,
    ):
        rows = client.extents(BASE_ALLOCATION, 0, client.size_bytes)
    assert len(rows) == 20_000
    assert (rows[::2, 2] == 0).all()
    assert (rows[1::2, 2] == 3).all()
    assert (rows[:, 1] - rows[:, 0] == 4096).all()


def test_nbdinfo_and_qemu_img(socket_path: Path, export: MemoryExport, tmp_path: Path) -> None:
    uri = f"nbd+unix:///snap?socket={socket_path}"
    info = json.loads(subprocess.run(["nbdinfo", "--json", uri], check=True, capture_output=True).stdout)
    (found,) = info["exports"]
    assert found["export-size"] == len(export.content)
    assert found["is_read_only"] is True
    assert found["contexts"] == ["base:allocation"]
    listing = subprocess.run(
        ["nbdinfo", "--list", "--json", f"nbd+unix:///?socket={socket_path}"], check=True, capture_output=True
    ).stdout
    assert [item["export-name"] for item in json.loads(listing)["exports"]] == ["other", "snap"]
    mapped = json.loads(subprocess.run(["nbdinfo", "--map", "--json", uri], check=True, capture_output=True).stdout)
    assert [(item["offset"], item["type"]) for item in mapped][:3] == [(0, 0), (65536, 3), (69632, 0)]
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "raw", uri, str(raw)], check=True)
    assert hashlib.sha256(raw.read_bytes()).digest() == hashlib.sha256(export.content).digest()


def test_failed_reads_say_eio_and_the_connection_lives(tmp_path: Path) -> None:
    data = content()
    with NbdServer(tmp_path / "s", Provider({"x": MemoryExport(data, range(8192, 8193))})):
        client = NbdClient(tmp_path / "s", "x", timeout_s=60)
        with pytest.raises(UnavailableError, match=r"planted|Input/output"):
            client.pread(4096, 8192)
        with pytest.raises(UnavailableError, match="closed"):
            client.pread(0, 10)
        with NbdClient(tmp_path / "s", "x", timeout_s=60) as again:
            assert again.pread(0, 8192) == data[:8192]


def test_unknown_export_and_context(socket_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot connect"):
        NbdClient(socket_path, "nothing", timeout_s=60)
    with pytest.raises(Exception, match="does not offer 'qemu:dirty-bitmap:b'"):
        NbdClient(socket_path, "snap", contexts=["qemu:dirty-bitmap:b"], timeout_s=60)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot connect"):
        NbdClient(tmp_path / "none", "x", timeout_s=1)


@pytest.mark.clock
def test_a_hung_server_is_given_up(tmp_path: Path, export: MemoryExport) -> None:
    export.gate = threading.Event()
    with NbdServer(tmp_path / "s", Provider({"x": export})):
        client = NbdClient(tmp_path / "s", "x", timeout_s=3)
        with pytest.raises(UnavailableError, match=r"no answer to read of 4096 at 0 within 3 s"):
            client.pread(0, 4096)
        export.gate.set()
    # And one that accepts but never says a word.
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        with pytest.raises(UnavailableError, match="no handshake"):
            NbdClient(tmp_path / "mute", "x", timeout_s=0.2)


def test_leaving_a_stream_closes_the_client(socket_path: Path) -> None:
    client = NbdClient(socket_path, "snap", timeout_s=60)
    stream = client.read_ranges([(0, client.size_bytes)], piece_bytes=4096, window_bytes=65536)
    next(stream)
    assert isinstance(stream, Generator)
    stream.close()
    with pytest.raises(UnavailableError, match="closed"):
        client.pread(0, 1)
    client.close()


def test_a_second_server_does_not_steal_the_socket(socket_path: Path, export: MemoryExport) -> None:
    with pytest.raises(UnavailableError, match="cannot listen"):
        NbdServer(socket_path, Provider({}))
    with NbdClient(socket_path, "snap", timeout_s=60) as client:
        assert client.pread(0, 10) == export.content[:10]


def test_a_dead_socket_is_replaced_and_mode_is_private(tmp_path: Path, export: MemoryExport) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with NbdServer(path, Provider({"x": export})):
        assert path.stat().st_mode & 0o777 == 0o600
        with NbdClient(path, "x", timeout_s=60) as client:
            assert client.pread(0, 3) == export.content[:3]
    assert not path.exists()


@pytest.mark.clock
def test_in_flight_and_connections_are_bounded(tmp_path: Path, export: MemoryExport) -> None:
    gate = export.gate = threading.Event()
    limits = ServerLimits(connections=1, request_threads=8, in_flight=3)
    with NbdServer(tmp_path / "s", Provider({"x": export}), limits=limits):
        client = NbdClient(tmp_path / "s", "x", timeout_s=60)
        with pytest.raises(UnavailableError):
            NbdClient(tmp_path / "s", "x", timeout_s=2)

        def open_when_full() -> None:
            deadline = time.monotonic() + 30
            while export.reading < limits.in_flight and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.3)  # For a fourth, which must not come.
            gate.set()

        opener = threading.Thread(target=open_when_full)
        opener.start()
        for _ in client.read_ranges([(0, MIB)], depth=32, piece_bytes=4096):
            pass
        opener.join()
        client.close()
    assert export.reading_max == 3


@pytest.mark.clock
def test_clients_that_read_nothing_hold_up_nobody(tmp_path: Path, export: MemoryExport) -> None:
    """S127: each of several asks for more than its socket takes."""
    with NbdServer(tmp_path / "s", Provider({"x": export})):
        silent = [Raw(tmp_path / "s") for _ in range(8)]
        for peer in silent:
            peer.begin(b"x")
            for _ in range(16):
                peer.request(wire.Command.READ, 0, MIB)
        for _ in range(2):
            with NbdClient(tmp_path / "s", "x", timeout_s=5) as client:
                for at in range(0, 3 * MIB, 64 * KIB):
                    assert client.pread(at, 64 * KIB) == export.content[at : at + 64 * KIB]
        # They get everything if they read after all.
        for peer in silent:
            for _ in range(16):
                assert peer.simple() == 0
                assert peer.take(MIB) == export.content[:MIB]
            peer.socket.close()


def test_what_a_client_has_not_read_is_bounded_in_bytes(tmp_path: Path, export: MemoryExport) -> None:
    limits = ServerLimits(in_flight=16, in_flight_bytes=2 * MIB, request_threads=8)
    gate = export.gate = threading.Event()
    with NbdServer(tmp_path / "s", Provider({"x": export}), limits=limits):
        peer = Raw(tmp_path / "s")
        peer.begin(b"x")
        # One that is longer than all may be together is answered, alone.
        for length in (MIB, MIB, 3 * MIB, MIB):
            peer.request(wire.Command.READ, 0, length)
        deadline = time.monotonic() + 30
        while export.reading < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)  # For a third, which must not come.
        assert export.reading == 2
        gate.set()
        for length in (MIB, MIB, 3 * MIB, MIB):
            assert peer.simple() == 0
            assert peer.take(length) == export.content[:length]
        peer.socket.close()
    assert export.reading_max == 2


def test_clients_are_served_in_turn() -> None:
    pool, gate, order, done = FairPool(1), threading.Event(), list[str](), threading.Semaphore(0)

    def hold() -> None:
        gate.wait()

    def note(what: str) -> None:
        order.append(what)
        done.release()

    pool.submit("first", hold)
    for client, number in (("many", 1), ("many", 2), ("many", 3), ("few", 1)):
        pool.submit(client, functools.partial(note, f"{client} {number}"))
    gate.set()
    for _ in range(4):
        done.acquire()
    pool.close()
    assert order == ["many 1", "few 1", "many 2", "many 3"]


def test_clients_are_accepted_again_when_there_are_descriptors_again(tmp_path: Path, export: MemoryExport) -> None:
    with NbdServer(tmp_path / "s", Provider({"x": export})), socket.socket(socket.AF_UNIX) as late:
        late.settimeout(30)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = os.dup(late.fileno())
        os.close(spare)
        # The next descriptor is one too many; who is served already is.
        with NbdClient(tmp_path / "s", "x", timeout_s=60) as served:
            spare = os.dup(late.fileno())
            os.close(spare)
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
            try:
                late.connect(str(tmp_path / "s"))
                time.sleep(0.3)
                assert served.pread(0, 4096) == export.content[:4096]
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert late.recv(18) == wire.greeting()


# Raw bytes: what no proper client would send.


class Raw:
    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        assert self.take(18) == wire.greeting()

    def take(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def begin(self, export: bytes) -> None:
        """Open an export as clients did in the beginning, without structured replies."""
        self.socket.sendall(struct.pack(">I", 3))
        self.option(wire.Option.EXPORT_NAME, export)
        self.take(10)

    def option(self, number: int, payload: bytes = b"") -> None:
        self.socket.sendall(b"IHAVEOPT" + struct.pack(">II", number, len(payload)) + payload)

    def reply(self) -> tuple[int, bytes]:
        _magic, _option, kind, length = struct.unpack(">QIII", self.take(20))
        return kind, self.take(length)

    def request(self, command: int, offset: int, length: int, flags: int = 0, payload: bytes = b"") -> None:
        header = struct.pack(">IHHQQI", 0x25609513, flags, command, 9, offset, length)
        self.socket.sendall(header + payload)

    def simple(self) -> int:
        magic, error, cookie = struct.unpack(">IIQ", self.take(16))
        assert magic == 0x67446698
        assert cookie == 9
        return int(error)


@pytest.fixture
def raw(socket_path: Path) -> Iterator[Raw]:
    peer = Raw(socket_path)
    yield peer
    peer.socket.close()


def test_old_clients_without_structured_replies(raw: Raw, export: MemoryExport) -> None:
    raw.socket.sendall(b"\0\0\0\3")
    raw.option(wire.Option.EXPORT_NAME, b"snap")
    reply = raw.take(10)
    assert reply == wire.export_name_reply(len(export.content), no_zeroes=True)
    assert reply[9] & 0b100100 == 0b000100  # It can flush, and cannot trim.
    raw.request(wire.Command.READ, 10, 20)
    assert raw.simple() == 0
    assert raw.take(20) == export.content[10:30]
    size = len(export.content)
    for command, offset, length, flags, error in [
        (wire.Command.READ, size - 10, 11, 0, wire.Error.EINVAL),
        (wire.Command.READ, 1 << 63, 4096, 0, wire.Error.EINVAL),
        (wire.Command.READ, 0, 0, 0, wire.Error.EINVAL),
        (wire.Command.READ, 0, 10, 0x8000, wire.Error.EINVAL),
        (wire.Command.TRIM, 0, 4096, 0, wire.Error.EPERM),
        (wire.Command.WRITE_ZEROES, 0, 4096, 0, wire.Error.EPERM),
        (wire.Command.BLOCK_STATUS, 0, 4096, 0, wire.Error.EINVAL),
        (wire.Command.CACHE, 0, 4096, 0, wire.Error.EINVAL),
        (99, 0, 4096, 0, wire.Error.EINVAL),
        (wire.Command.FLUSH, 0, 0, 0, 0),
    ]:
        raw.request(command, offset, length, flags)
        assert raw.simple() == error, (command, offset, length)
    raw.request(wire.Command.WRITE, 0, 5, payload=b"hello")
    assert raw.simple() == wire.Error.EPERM
    raw.request(wire.Command.READ, 0, 5)
    assert raw.simple() == 0
    assert raw.take(5) == export.content[:5]
    raw.request(wire.Command.DISC, 0, 0)
    with pytest.raises(EOFError):
        raw.take(1)


def test_strange_options_are_refused_and_negotiation_goes_on(raw: Raw) -> None:
    raw.socket.sendall(b"\0\0\0\3")
    for number, payload, expected in [
        (wire.Option.STARTTLS, b"", wire.OptionReply.ERR_UNSUP),
        (77, b"abc", wire.OptionReply.ERR_UNSUP),
        (wire.Option.GO, b"\xff", wire.OptionReply.ERR_INVALID),
        (wire.Option.GO, struct.pack(">I", 4) + b"none" + b"\0\0", wire.OptionReply.ERR_UNKNOWN),
        (wire.Option.LIST, b"x", wire.OptionReply.ERR_INVALID),
        (wire.Option.SET_META_CONTEXT, struct.pack(">II", 0, 0), wire.OptionReply.ERR_INVALID),
        (wire.Option.INFO, bytes(20_000), wire.OptionReply.ERR_TOO_BIG),
    ]:
        raw.option(number, payload)
        assert raw.reply()[0] == expected, number
    raw.option(wire.Option.ABORT)
    assert raw.reply()[0] == wire.OptionReply.ACK
    with pytest.raises(EOFError):
        raw.take(1)


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\0\0\7",
        b"\0\0\0\3" + b"GARBAGE!" * 2,
        b"\0\0\0\3" + b"IHAVEOPT" + struct.pack(">II", 1, 1 << 31),
        b"\0\0\0\3" + b"IHAVEOPT" + struct.pack(">II", 6, 1 << 31),
        b"\0\0\0\3" + b"IHAVEOPT" + struct.pack(">II", 1, 4) + b"none",
        b"\0\0\0\3" + (b"IHAVEOPT" + struct.pack(">II", 77, 0)) * 65,
    ],
)
def test_garbage_ends_only_its_connection(socket_path: Path, sent: bytes) -> None:
    raw = Raw(socket_path)
    raw.socket.sendall(sent)
    with pytest.raises((EOFError, ConnectionResetError)):
        raw.take(1 << 20)
    raw.socket.close()
    with NbdClient(socket_path, "other", timeout_s=60) as client:
        assert client.pread(0, 1) == b"\1"


def test_block_status_only_for_the_negotiated_export(raw: Raw) -> None:
    raw.socket.sendall(b"\0\0\0\3")
    raw.option(wire.Option.STRUCTURED_REPLY)
    assert raw.reply()[0] == wire.OptionReply.ACK
    query = b"base:allocation"
    raw.option(
        wire.Option.SET_META_CONTEXT,
        struct.pack(">I", 5) + b"other" + struct.pack(">II", 1, len(query)) + query,
    )
    assert raw.reply() == (wire.OptionReply.META_CONTEXT, wire.meta_context_payload(1, "base:allocation"))
    assert raw.reply()[0] == wire.OptionReply.ACK
    raw.option(wire.Option.GO, struct.pack(">I", 4) + b"snap" + b"\0\0")
    while raw.reply()[0] != wire.OptionReply.ACK:
        pass
    raw.request(wire.Command.BLOCK_STATUS, 0, 4096)
    magic, flags, kind, cookie, length = struct.unpack(">IHHQI", raw.take(20))
    assert (magic, flags, kind, cookie) == (0x668E33EF, 1, 0x8001, 9)
    assert struct.unpack(">I", raw.take(length)[:4]) == (wire.Error.EINVAL,)


@pytest.mark.clock
def test_it_tells_how_long_the_oldest_request_of_a_process_has_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = MemoryExport(content())
    path = tmp_path / "nbd.sock"

    def waited_ms() -> int:
        with NbdClient(path, waiting_name(os.getpid())) as asking:
            return asking.size_bytes

    def none_waits() -> bool:
        # An answer may have come a moment before its request is struck off.
        deadline = time.monotonic() + 60
        while waited_ms() and time.monotonic() < deadline:
            pass
        return waited_ms() == 0

    with NbdServer(path, Provider({"a": export})) as server:
        # Nobody has come back since it began: a request may wait in the client.
        server._began_s -= 5.0
        assert waited_ms() >= 5000
        monkeypatch.setattr(nbd_server, "RECONNECTED_S", 5.0)
        assert waited_ms() == 0
        monkeypatch.undo()
        with NbdClient(path, "a") as client:
            client.pread(0, 512)
            assert none_waits()
            export.gate = threading.Event()
            reader = threading.Thread(target=client.pread, args=(0, 512))
            reader.start()
            try:
                before = time.monotonic()
                while not waited_ms():
                    assert time.monotonic() < before + 60
                (ticket,) = [one for serving in server._serving.values() for one in serving._waiting]
                (waiting,) = [serving for serving in server._serving.values() if serving._waiting]
                waiting._waiting[ticket] -= 100.0
                assert waited_ms() >= 100_000
            finally:
                export.gate.set()
                reader.join()
            assert none_waits()

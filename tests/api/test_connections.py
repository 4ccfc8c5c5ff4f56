"""Bounds on connections: what a client without a key can hold, and for how long."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from drystone.api import admission, connection, server
from drystone.api.admission import RESERVE, Admission, network_of, prove
from drystone.api.hosts import Hosts
from drystone.api.server import listen, server_config
from tests.api.asgi import toy_rig

ASK = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
MOST = 40
SIZES = {"/large": 32 << 20, "/file": 180 << 10}


@dataclass
class Served:
    """A server of one toy application, and what that saw."""

    port: int = 0
    paths: list[str] = field(default_factory=list)
    headers: list[int] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        self.headers.append(len(scope["headers"]))
        if scope["path"] == "/proven":
            # Each connection is of an account of its own.
            prove(scope, str(scope["client"][1]))
        if scope["path"] == "/body":
            size, more = 0, True
            while more:
                message = await receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
            self.bodies.append(size)
        body = b"x" * SIZES[scope["path"]] if scope["path"] in SIZES else b"fine"
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def connect(self, address: str = "127.0.0.1", *, first: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(address, 0))
        if first:
            client.sendall(first)
        return client

    def ask(self, request: bytes = ASK) -> bytes:
        with self.connect(first=request) as client:
            found = b""
            while piece := client.recv(65536):
                found += piece
                if found.endswith((b"fine", b".\n")):
                    break
            return found


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(connection, "HEAD_S_MAX", 0.6)
    monkeypatch.setattr(connection, "DRAIN_S_MAX", 0.4)
    monkeypatch.setattr(connection, "UNREAD_S", 0.4)
    monkeypatch.setattr(server, "UNREAD_S", 0.4)
    served = Served()
    with listen("127.0.0.1", 0) as listener:
        served.port = listener.getsockname()[1]
        running = uvicorn.Server(
            server_config(served.application, host="127.0.0.1", port=0, connections_max=MOST, connections_per_address=4)
        )
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield served
        finally:
            running.should_exit = True
            thread.join(timeout=20)
            assert not thread.is_alive()


def fine(client: socket.socket) -> bool:
    """Read one answer, whose head and body may come apart."""
    found = b""
    while not found.endswith(b"fine"):
        piece = client.recv(65536)
        if not piece:
            return False
        found += piece
    return True


def rest(client: socket.socket) -> bytes:
    """Return what comes until the server ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(1 << 20):
            found += piece
    return found


def trickle(client: socket.socket, piece: bytes) -> None:
    for _ in range(200):
        client.sendall(piece)
        time.sleep(0.05)


@pytest.mark.parametrize(
    "piece",
    [b"x" * 65536, b"a: b\r\n" * 1000, b"a:" + b"y" * 60000 + b"\r\n"],
    ids=["a value without an end", "headers without an end", "long headers without an end"],
)
def test_a_head_has_an_end(served: Served, piece: bytes) -> None:
    with served.connect(first=b"GET / HTTP/1.1\r\nHost: a\r\nlong: x\r\nlonger: ") as client:
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 4 << 20:
                client.sendall(piece)
                sent += len(piece)
        answer = rest(client)
    assert sent < 4 << 20
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert not served.paths
    assert served.ask().endswith(b"fine")


def test_a_head_of_the_allowed_size_is_served(served: Served) -> None:
    long = b"b: " + b"v" * 40_000 + b"\r\n"
    assert served.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + long + b"c: d\r\n" * 120 + b"\r\n").endswith(b"fine")
    assert served.headers == [122]
    assert served.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"c: d\r\n" * 200 + b"\r\n").startswith(b"HTTP/1.1 431 ")


def test_an_url_without_an_end(served: Served) -> None:
    assert served.ask(b"GET /" + b"a" * (100 << 10)).startswith((b"HTTP/1.1 431 ", b""))
    assert not served.paths


def test_a_head_is_late(served: Served) -> None:
    """S146."""
    began = time.monotonic()
    with served.connect(first=ASK) as kept, served.connect(first=b"GET / HTTP/1.1\r\n") as half, served.connect() as no:
        assert fine(kept)
        # A second head on a connection that was answered has no more time than a first one.
        kept.sendall(b"GET /")
        assert rest(half).startswith(b"HTTP/1.1 408 ")
        assert rest(no).startswith(b"HTTP/1.1 408 ")
        assert rest(kept).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 8


def test_a_trickle_does_not_win_time(served: Served) -> None:
    with served.connect(first=b"GET / HTTP/1.1\r\n") as client, pytest.raises(ConnectionError):
        trickle(client, b"a: b\r\n")


def test_half_open_connections_push_out_their_own(served: Served) -> None:
    """S145."""
    with contextlib.ExitStack() as stack:
        proven = stack.enter_context(served.connect(first=b"GET /proven HTTP/1.1\r\nHost: a\r\n\r\n"))
        assert fine(proven)
        for _ in range(3 * (MOST + RESERVE)):
            stack.enter_context(served.connect(first=b"GET / HTTP/1.1\r\n"))
        # New ones are served, and the one that carried a verified call goes on.
        assert served.ask().endswith(b"fine")
        proven.sendall(ASK)
        assert fine(proven)


HEAD_ALONE = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


def test_a_place_is_kept_by_calls_that_are_verified_not_by_one_that_was(served: Served) -> None:
    """S186."""
    with contextlib.ExitStack() as stack:
        for _ in range(MOST + RESERVE):
            client = stack.enter_context(served.connect(first=b"GET /proven HTTP/1.1\r\nHost: a\r\n\r\n"))
            assert fine(client)
            client.sendall(HEAD_ALONE)
        time.sleep(0.2)
        assert served.ask().endswith(b"fine")


def test_a_call_that_is_not_verified_ends_the_proof(served: Served) -> None:
    """S186."""
    with served.connect(first=b"GET /proven HTTP/1.1\r\nHost: a\r\n\r\n") as old, contextlib.ExitStack() as stack:
        assert fine(old)
        old.sendall(ASK)
        assert fine(old)
        for _ in range(MOST + RESERVE):
            stack.enter_context(served.connect())
        assert rest(old) == b""


def test_one_account_proves_its_share_of_places() -> None:
    """S186."""
    limits = Admission(most=8, per_network=8)
    gone: list[int] = []
    places = [limits.enter("192.0.2.1", lambda number=number: gone.append(number)) for number in range(8)]  # type: ignore[misc]
    for place in places:
        assert place
        limits.proven(place, "a")
        limits.waits(place)
    assert limits.enter("192.0.2.2", lambda: gone.append(99))
    assert gone == [2]
    for place in places:
        assert place
        limits.leave(place)
    assert limits._proven_by == {}


def test_one_address_has_its_share(served: Served) -> None:
    """S145."""
    limits = Admission(most=10, per_network=2)
    gone: list[int] = []
    places = [limits.enter("192.0.2.1", lambda number=number: gone.append(number)) for number in range(3)]  # type: ignore[misc]
    assert gone == [0]
    assert len(limits) == 2
    assert limits.enter("2001:db8::1", lambda: gone.append(10))
    assert limits.enter("2001:db8::2", lambda: gone.append(11))
    assert limits.enter("2001:db8::3", lambda: gone.append(12))
    assert gone == [0, 10]
    for place in places[1:]:
        assert place
        limits.proven(place, "a")
    # Those whose calls run stay; then there is no place.
    assert limits.enter("192.0.2.1", lambda: None) is None
    limits.waits(places[2])  # type: ignore[arg-type]
    assert limits.enter("192.0.2.1", lambda: None)
    assert gone == [0, 10, 2]


def test_places_are_given_back() -> None:
    limits = Admission(most=3, per_network=3)
    places = [limits.enter(f"192.0.2.{number}", lambda: None) for number in range(3)]
    for place in places:
        assert place
        limits.proven(place, "a")
    assert limits.enter("192.0.2.9", lambda: None) is None
    local = [limits.enter("127.0.0.1", lambda: None) for _ in range(RESERVE)]
    assert all(local)
    for place in [*places, *local, *places]:
        assert place
        limits.leave(place)
    assert len(limits) == 0
    assert limits._spare == {}
    assert limits._by_network == {}


def test_heads_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "HEADS_BYTES_MAX", 100)
    limits = Admission(most=10, per_network=10)
    gone: list[int] = []
    places = [limits.enter("192.0.2.1", lambda number=number: gone.append(number)) for number in range(4)]  # type: ignore[misc]
    for place in places:
        assert place
        limits.head_grew(place, 40)
    assert gone == [0, 1]
    assert limits._heads_bytes == 80


def test_who_does_not_read_goes(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(2)
        assert len(rest(client)) < 32 << 20


@pytest.mark.parametrize("asked", [1, 4], ids=["less than the kernel takes", "more than the kernel takes"])
def test_an_answer_that_only_the_kernel_holds_has_an_end(served: Served, asked: int) -> None:  # S185
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", served.port))
        client.sendall(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n" * asked)
        time.sleep(2.5)
        client.settimeout(2)
        # Had it been kept, the rest would come now, and the connection would stay.
        assert len(rest(client)) < 128 << 10


def test_the_kernel_takes_little_of_an_answer(served: Served) -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            # Linux counts twice what was asked for.
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * server.SEND_BUFFER_BYTES
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 400


def test_who_reads_slowly_is_served(served: Served) -> None:
    with served.connect(first=b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") as client:
        found = 0
        while piece := client.recv(1 << 20):
            found += len(piece)
            time.sleep(0.03)
        assert found > 32 << 20


def test_a_body_after_its_answer_has_an_end(served: Served) -> None:
    with served.connect(first=b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n") as client:
        assert fine(client)
        with pytest.raises(ConnectionError):
            trickle(client, b"x")


def test_a_connection_is_kept_after_a_body_that_nobody_wanted(served: Served) -> None:
    with served.connect(first=b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n") as client:
        assert fine(client)
        client.sendall(b"x" * 100_000 + ASK)
        assert fine(client)
        time.sleep(1)
        client.sendall(ASK)
        assert fine(client)


@pytest.mark.parametrize(
    "piece", [b"1;" + b"e" * 200_000, b"0\r\n" + b"t: u\r\n" * 20_000], ids=["extension", "trailer"]
)
def test_a_bodys_framing_has_an_end(served: Served, piece: bytes) -> None:
    """S146."""
    with served.connect(first=b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n") as client:
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(piece), 8192):
                client.sendall(piece[start : start + 8192])
        assert b"HTTP/1.1 200" not in rest(client)
    assert served.bodies in ([], [0])
    assert served.ask(
        b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nt: u\r\n\r\n"
    ).endswith(b"fine")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd",
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(served: Served, request_bytes: bytes) -> None:
    with served.connect(first=request_bytes + b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n") as client:
        answer = rest(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "/hidden" not in served.paths


def test_requests_before_their_turn_have_a_bound(served: Served) -> None:
    with served.connect(first=ASK * 200) as client:
        assert rest(client).count(b"fine") < 200
    assert len(served.paths) < 200
    with served.connect(first=ASK * 4) as client:
        found = b""
        while found.count(b"fine") < 4:
            piece = client.recv(65536)
            assert piece
            found += piece


@pytest.mark.parametrize("here", ["127.0.0.1", "::1"])
def test_a_listener_of_ipv6_serves_ipv4_by_its_own_address(here: str) -> None:
    """S187."""
    with listen("::", 0) as listener, socket.create_connection((here, listener.getsockname()[1])):
        accepted, _ = listener.accept()
        with accepted:
            local, peer = accepted.getsockname()[0], accepted.getpeername()[0]
    url = f"[{here}]" if ":" in here else here
    assert Hosts([]).serves(f"{url}:8080", local)
    assert Hosts([]).serves("localhost", local)
    limits = Admission(most=1, per_network=1)
    assert all(limits.enter(peer, lambda: None) for _ in range(1 + RESERVE)), "this machine has places of its own"
    assert network_of(peer) == network_of(here)


def test_an_answer_that_nobody_takes_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Uvicorn tells of it as of a fault of the application; anybody could fill the log with that."""
    server_config(toy_rig().app, host="127.0.0.1", port=0)
    logger = logging.getLogger("uvicorn.error")
    for told in ("unable to perform operation on <TCPTransport closed=True>; the handler is closed", "a fault"):
        logger.error("Exception in ASGI application", exc_info=RuntimeError(told))
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["a fault"]

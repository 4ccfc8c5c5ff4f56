"""The link of the benchmarks: what it counts, and what it does to those who use it."""

import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from bench.link import Requests, Shape, kind_of, link


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("GET", "/bucket/name/of/it", "get"),
        ("GET", "/bucket?list-type=2&prefix=a%2Fb", "list"),
        ("GET", "/bucket/?delimiter=&max-keys=1&prefix=", "list"),
        ("GET", "/bucket/?location=", "bucket"),
        ("HEAD", "/bucket/a", "head"),
        ("PUT", "/bucket/a", "put"),
        ("PUT", "/bucket/a?partNumber=1&uploadId=2", "part"),
        ("POST", "/bucket/a?uploads", "part"),
        ("POST", "/bucket/?delete=", "delete many"),
        ("DELETE", "/bucket/a", "delete"),
    ],
)
def test_requests_have_a_kind(method: str, target: str, kind: str) -> None:
    assert kind_of(method, target) == kind


@pytest.mark.parametrize("step", [1, 7, 64, 100_000])
def test_requests_are_counted_however_they_are_cut(step: int) -> None:
    body = b"GET /no/request HTTP/1.1\r\n\r\n" * 3000
    sent = (
        b"PUT /b/a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body + b"GET /b/a HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /b?list-type=2 HTTP/1.1\r\n\r\n"
    )  # fmt: skip
    counts: Counter[str] = Counter()
    requests = Requests(counts)
    for at in range(0, len(sent), step):
        requests.feed(sent[at : at + step])
    assert counts == {"put": 1, "get": 1, "list": 1}


def test_losses_stall_and_may_cap() -> None:
    assert Shape(rtt_s=0.2, loss=0.01).connection_bytes_per_s == 0
    assert 85_000 < Shape(rtt_s=0.2, loss=0.01, capped=True).connection_bytes_per_s < 95_000
    assert Shape(rtt_s=0.2, loss=1.0).lost_s(1) == 0.2
    assert Shape(rtt_s=0.2).lost_s(1 << 20) == 0


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_it_takes_its_time_and_tells_what_went_through(echo: int) -> None:
    head = b"PUT /b/a HTTP/1.1\r\nContent-Length: 200000\r\n\r\n"
    with link(echo, rtt_ms=100, mbit_per_s=8) as way, socket.create_connection(("127.0.0.1", way.port)) as client:
        began = time.monotonic()
        client.sendall(head + bytes(200_000))
        left = len(head) + 200_000
        while left:
            left -= len(client.recv(65536))
        # The connection, there and back, and a fifth of a second for 200 kB at 1 MB/s.
        assert time.monotonic() - began > 0.1 + 0.1 + 0.2
        traffic = way.take()
        assert traffic.requests == {"put": 1}
        assert traffic.sent_bytes == traffic.received_bytes == len(head) + 200_000
        assert way.take().sent_bytes == 0

"""Sends signed requests as fast as they are answered: a process of its own, so that it measures the server.

Usage: python -m bench.load HOST:PORT SECONDS CONNECTIONS REQUEST_FILE. The file is sent over and over. Prints JSON.
"""

import json
import selectors
import socket
import sys
import time
from pathlib import Path

import numpy as np


def run(host: str, seconds: float, connections: int, request: bytes) -> dict[str, float]:
    """Keep one request in flight on each connection for `seconds`; return rate, errors and latencies in ms."""
    name, _, port = host.rpartition(":")
    selector = selectors.DefaultSelector()
    sockets = []
    for _ in range(connections):
        sock = socket.create_connection((name, int(port)), timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ, sock)
        sockets.append(sock)
    latencies: list[float] = []
    errors = 0
    sent: dict[socket.socket, float] = {}
    partial = dict.fromkeys(sockets, b"")
    began = time.perf_counter()
    for sock in sockets:
        sent[sock] = time.perf_counter()
        sock.sendall(request)
    while (now := time.perf_counter()) - began < seconds:
        for key, _ in selector.select(1.0):
            sock = key.data
            received = sock.recv(1 << 18)
            if not received:
                raise SystemExit(f"the server closed a connection after {len(latencies)} calls")
            answer = partial[sock] + received
            if not _complete(answer):
                partial[sock] = answer
                continue
            now = time.perf_counter()
            partial[sock] = b""
            latencies.append(now - sent[sock])
            errors += not answer.startswith(b"HTTP/1.1 200") or b'"Error"' in answer
            sent[sock] = now
            sock.sendall(request)
    for sock in sockets:
        sock.close()
    taken = np.array(latencies) * 1000
    return {
        "calls": float(len(latencies)), "calls_per_s": len(latencies) / (now - began),
        "errors": float(errors), "max_ms": float(taken.max()),
        "p50_ms": float(np.percentile(taken, 50)), "p99_ms": float(np.percentile(taken, 99)),
    }  # fmt: skip


def _complete(answer: bytes) -> bool:
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    at = answer.lower().find(b"content-length:", 0, head)
    assert at >= 0, answer[:300]
    length = int(answer[at + 15 : answer.index(b"\r\n", at)])
    return len(answer) >= head + 4 + length


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]).read_bytes())))

"""A way to an S3 server whose listings are behind, as some stores' are: what was put of late is not in them (S6)."""

import re
import socket
import time
import urllib.parse

from tests.s3_server import Way, pump

HEAD_END = b"\r\n\r\n"
CONTENTS = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)
KEY = re.compile(rb"<Key>(.*?)</Key>", re.DOTALL)


class LaggingListing(Way):
    """To a server that serves one request a connection. Listings lack what came in the last `lag_s`."""

    lag_s = 0.0

    def __init__(self, port: int) -> None:
        self._put_at: dict[str, float] = {}
        self.left_out = 0
        super().__init__(port)

    def pass_on(self, client: socket.socket) -> None:
        """Note what is put, and leave out of listings what is too new for them."""
        begun = b""
        while HEAD_END not in begun:
            part = client.recv(1 << 16)
            if not part:
                return
            begun += part
        method, target, *_ = begun.split(b" ", 2)
        path, _, query = urllib.parse.unquote(target.decode()).partition("?")
        with self.forwarding(client, begun) as server:
            if method == b"GET" and "list-type=2" in query:
                client.sendall(self._behind(_whole(server)))
                client.shutdown(socket.SHUT_RDWR)
                return
            if method == b"PUT":
                self._put_at.setdefault(path.split("/", 2)[-1], time.monotonic())
            pump(server, client)

    def _behind(self, answer: bytes) -> bytes:
        """Leave out of a listing what is too new for it."""
        head, _, body = answer.partition(HEAD_END)
        newest = time.monotonic() - self.lag_s
        late = {name for name, at in [*self._put_at.items()] if at > newest}

        def kept(found: "re.Match[bytes]") -> bytes:
            name = KEY.search(found[0])
            if name is not None and urllib.parse.unquote(name[1].decode()) in late:
                self.left_out += 1
                return b""
            return found[0]

        body = CONTENTS.sub(kept, body)
        return re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(body), head) + HEAD_END + body


def _whole(server: socket.socket) -> bytes:
    parts = []
    while part := server.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)

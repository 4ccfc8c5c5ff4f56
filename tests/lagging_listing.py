"""A way to an S3 server whose listings are behind, as some stores' are: what was put of late is not in them (S6)."""

import contextlib
import re
import socket
import threading
import time
import urllib.parse

from tests.s3_server import pump

HEAD_END = b"\r\n\r\n"
CONTENTS = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)
KEY = re.compile(rb"<Key>(.*?)</Key>", re.DOTALL)


class LaggingListing:
    """A proxy before a server that serves one request a connection. Listings lack what came in the last `lag_s`."""

    def __init__(self, port: int, *, lag_s: float = 0.0) -> None:
        self._port, self.lag_s = port, lag_s
        self._put_at: dict[str, float] = {}
        self.left_out = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            begun = b""
            while HEAD_END not in begun:
                part = client.recv(1 << 16)
                if not part:
                    return
                begun += part
            method, target, *_ = begun.split(b" ", 2)
            path, _, query = urllib.parse.unquote(target.decode()).partition("?")
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                server.sendall(begun)
                other = threading.Thread(target=pump, args=(client, server), daemon=True)
                other.start()
                if method == b"GET" and "list-type=2" in query:
                    client.sendall(self._behind(_whole(server)))
                    client.shutdown(socket.SHUT_RDWR)
                else:
                    if method == b"PUT":
                        self._put_at.setdefault(path.split("/", 2)[-1], time.monotonic())
                    pump(server, client)
                other.join()

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

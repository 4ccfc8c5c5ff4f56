"""A real S3 server for tests: versitygw, which `./dev test` builds. A bucket is a directory."""

import base64
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec

from drystone.objects.address import S3Address
from drystone.objects.s3_keys import read_keys
from drystone.objects.standalone_bucket import Keys, signed

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / ".versitygw" / "versitygw"
START_S = 20.0


class S3Server:
    """One server; its buckets are directories below `buckets`.

    Args:
        directory: Where it keeps everything.
        keep_alive: Whether a connection serves many requests, as those of services do.
        host: Address that it listens on.
        domain: Buckets are hosts below it, besides.
        versions: Whether buckets may have versions.
        certificate: Certificate and key, for TLS.
    """

    def __init__(
        self, directory: Path, *, keep_alive: bool = False, host: str = "127.0.0.1", domain: str = "",
        versions: bool = False, certificate: tuple[Path, Path] | None = None,
    ) -> None:  # fmt: skip
        self._environment = {"VGW_KEEP_ALIVE": str(keep_alive).lower()}
        self._host, self.versions = host, versions
        if domain:
            self._environment["VGW_VIRTUAL_DOMAIN"] = domain
        if versions:
            (directory / "versions").mkdir(parents=True, exist_ok=True)
            self._environment["VGW_VERSIONING_DIR"] = str(directory / "versions")
        if certificate is not None:
            self._environment |= {"VGW_CERT": str(certificate[0]), "VGW_KEY": str(certificate[1])}
        self._scheme = "http" if certificate is None else "https"
        self.buckets = directory / "buckets"
        self.buckets.mkdir(parents=True, exist_ok=True)
        self.key, self.secret = "test-key", secrets.token_hex(16)
        self.port = free_port(host)
        self._log = directory / "versitygw.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"{self._scheme}://{self._name}:{self.port}"

    @property
    def _name(self) -> str:
        return f"[{self._host}]" if ":" in self._host else self._host

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which(PROGRAM) or shutil.which("versitygw")
        assert program, "there is no versitygw, and tests of S3 need it: ./dev test builds it"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "--port", f"{self._name}:{self.port}", "posix", str(self.buckets)], stdout=log, stderr=log,
                env={
                    "PATH": os.environ["PATH"], "ROOT_ACCESS_KEY": self.key, "ROOT_SECRET_KEY": self.secret,
                    **self._environment,
                },
            )  # fmt: skip
        end = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self._host, self.port), 1):
                return
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, "versitygw does not listen"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it: whoever asks it is refused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def bucket(self, name: str) -> Path:
        """Make a bucket."""
        path = self.buckets / name
        path.mkdir(exist_ok=True)
        return path

    def keys_file(self, path: Path) -> Path:
        """Write the file of its keys."""
        path.touch(mode=0o600)
        path.write_text(f"AWS_ACCESS_KEY_ID={self.key}\nAWS_SECRET_ACCESS_KEY={self.secret}\n")
        return path

    def address(self, bucket: str, keys: Path, *, prefix: str = "") -> S3Address:
        """Return the address of a bucket, which is made."""
        self.bucket(bucket)
        return S3Address(bucket=bucket, prefix=prefix, endpoint=self.endpoint, keys_file=str(self.keys_file(keys)))


def make_bucket(address: S3Address) -> None:
    """Make the bucket of an address, at any service."""
    _ask(address, "PUT", {}, {}, b"")


def lockable(address: S3Address, *, days: int = 0, mode: str = "GOVERNANCE") -> S3Address:
    """Make another bucket, whose objects can be locked; by itself it locks each for so many days."""
    made = msgspec.structs.replace(address, bucket=f"{address.bucket}-locked")
    _ask(made, "PUT", {}, {"x-amz-bucket-object-lock-enabled": "true"}, b"")
    if days:
        retention = f"<DefaultRetention><Mode>{mode}</Mode><Days>{days}</Days></DefaultRetention>"
        rule = f"<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>{retention}</Rule>"
        _told(made, "object-lock", f"<ObjectLockConfiguration>{rule}</ObjectLockConfiguration>")
    return made


def keep_versions(address: S3Address, status: str = "Enabled") -> None:
    """Have a bucket keep versions of all objects, or begin no more of them ("Suspended")."""
    text = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"
    _told(address, "versioning", text)


def lock(address: S3Address, name: str, until: float) -> None:
    """Lock an object that is there."""
    when = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    rule = f"<Mode>GOVERNANCE</Mode><RetainUntilDate>{when}</RetainUntilDate>"
    _told(address, "retention", f"<Retention>{rule}</Retention>", name)


def _told(address: S3Address, what: str, text: str, name: str = "") -> None:
    digest = base64.b64encode(hashlib.md5(text.encode(), usedforsecurity=False).digest()).decode()
    _ask(address, "PUT", {what: ""}, {"content-md5": digest}, text.encode(), name)


def begin_upload(address: S3Address, name: str) -> None:
    """Begin an upload in parts, as a program does that is killed before it ends."""
    _ask(address, "POST", {"uploads": ""}, {}, b"", name)


def _ask(
    address: S3Address, method: str, query: dict[str, str], headers: dict[str, str], body: bytes, name: str = ""
) -> None:
    assert address.keys_file is not None
    values = read_keys(Path(address.keys_file))
    keys = Keys(values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"], "", address.region)
    path = "/".join(filter(None, (address.bucket, address.prefix if name else "", name)))
    request = signed(method, f"{address.endpoint}/{path}", query, headers, body, keys)
    with urllib.request.urlopen(request):
        pass


SKEWED = (
    "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the current time is "
    "too large.</Message></Error>"
)


class Way:
    """The way to a server on this machine; use as the beginning of one that has something the matter."""

    def __init__(self, port: int) -> None:
        self._port = port
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
            self.pass_on(client)

    def pass_on(self, client: socket.socket) -> None:
        """Carry what a client says to the server, and back."""
        with self.forwarding(client) as server:
            pump(server, client)

    @contextlib.contextmanager
    def forwarding(self, client: socket.socket, begun: bytes = b"") -> Iterator[socket.socket]:
        """Give a connection to the server, to which all goes that the client says, after what it has said."""
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            server.sendall(begun)
            other = threading.Thread(target=pump, args=(client, server), daemon=True)
            other.start()
            yield server
            other.join()


class Skewed(Way):
    """While the server's clock is `ahead_s` of this machine's everything is refused, as services do."""

    ahead_s = 0.0

    def pass_on(self, client: socket.socket) -> None:
        """Refuse it if the clock is wrong."""
        if self.ahead_s:
            self._refuse(client)
        else:
            super().pass_on(client)

    def _refuse(self, client: socket.socket) -> None:
        head, _, body = client.recv(1 << 16).partition(b"\r\n\r\n")
        length = int((re.search(rb"(?i)content-length: (\d+)", head) or [0, 0])[1])
        while len(body) < length:
            part = client.recv(1 << 20)
            if not part:
                return
            body += part
        date = format_datetime(datetime.fromtimestamp(time.time() + self.ahead_s, UTC), usegmt=True)
        text = "" if head.startswith(b"HEAD") else SKEWED
        first = f"HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nContent-Length: {len(SKEWED)}\r\nConnection: close\r\n\r\n"
        client.sendall((first + text).encode())


def pump(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes from one connection to another until either ends."""
    with contextlib.suppress(OSError):
        while part := source.recv(1 << 16):
            target.sendall(part)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def s3_server(directory: Path, **settings: Any) -> Iterator[S3Server]:
    """Have a server run within, with settings of `S3Server`."""
    server = S3Server(directory, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port: int = listener.getsockname()[1]
        return port

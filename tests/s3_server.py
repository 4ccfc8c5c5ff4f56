"""A real S3 server for tests: versitygw, which `./dev test` builds. A bucket is a directory."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from drystone.objects.address import S3Address

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / ".versitygw" / "versitygw"
START_S = 20.0


class S3Server:
    """One server; its buckets are directories below `buckets`.

    Args:
        directory: Where it keeps everything.
        keep_alive: Whether a connection serves many requests, as those of services do.
    """

    def __init__(self, directory: Path, *, keep_alive: bool = False) -> None:
        self._keep_alive = keep_alive
        self.buckets = directory / "buckets"
        self.buckets.mkdir(parents=True, exist_ok=True)
        self.key, self.secret = "test-key", secrets.token_hex(16)
        self.port = _free_port()
        self._log = directory / "versitygw.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which(PROGRAM) or shutil.which("versitygw")
        assert program, "there is no versitygw, and tests of S3 need it: ./dev test builds it"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "--port", f"127.0.0.1:{self.port}", "posix", str(self.buckets)], stdout=log, stderr=log,
                env={
                    "PATH": os.environ["PATH"], "ROOT_ACCESS_KEY": self.key, "ROOT_SECRET_KEY": self.secret,
                    "VGW_KEEP_ALIVE": str(self._keep_alive).lower(),
                },
            )  # fmt: skip
        end = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
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


@contextlib.contextmanager
def s3_server(directory: Path, *, keep_alive: bool = False) -> Iterator[S3Server]:
    """Have a server run within."""
    server = S3Server(directory, keep_alive=keep_alive)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port

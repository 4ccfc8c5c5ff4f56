# Imports nothing of Drystone: the stand-alone reader that lies in every store has this within it.
"""A bucket of S3 as paths, as far as the stand-alone reader needs them, with Python's standard library alone.

The server signs requests with `signed`, too: those that obstore cannot make (`s3_rules.py`).
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import hashlib
import hmac
import html
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import NamedTuple

SECONDS = 60.0
TRIES = 4
ENTRY = re.compile(r"<Key>([^<]*)</Key>.*?<Size>(\d+)</Size>", re.DOTALL)
MORE = re.compile(r"<NextContinuationToken>([^<]*)</NextContinuationToken>")


class Bucket:
    """Requests to one bucket, signed by the keys of the environment, as AWS's programs have them."""

    def __init__(self, name: str) -> None:
        known = os.environ  # noqa: TID251 - it is a program of its own
        self._name = name
        region = known.get("AWS_REGION") or known.get("AWS_DEFAULT_REGION") or "us-east-1"
        given = known.get("AWS_ENDPOINT_URL_S3") or known.get("AWS_ENDPOINT_URL")
        self._endpoint = (given or f"https://s3.{region}.amazonaws.com").rstrip("/")
        self._keys = Keys(
            key=known.get("AWS_ACCESS_KEY_ID", ""), secret=known.get("AWS_SECRET_ACCESS_KEY", ""),
            token=known.get("AWS_SESSION_TOKEN", ""), region=region,
        )  # fmt: skip
        if not self._keys.key or not self._keys.secret:
            raise ValueError("a bucket needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return an object's bytes, or those of a range that is not empty."""
        extra = {} if stop is None else {"range": f"bytes={start}-{stop - 1}"}
        return self._ask(f"/{self._name}/{name}", {}, extra)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the objects whose names begin with `prefix`, and their lengths."""
        query = {"list-type": "2", "prefix": prefix}
        while True:
            page = self._ask(f"/{self._name}", query, {}).decode()
            for name, size in ENTRY.findall(page):
                yield html.unescape(name), int(size)
            token = MORE.search(page)
            if token is None:
                return
            query = {**query, "continuation-token": html.unescape(token[1])}

    def _ask(self, path: str, query: dict[str, str], extra: dict[str, str]) -> bytes:
        for left in reversed(range(TRIES)):
            request = signed("GET", f"{self._endpoint}{path}", query, extra, b"", self._keys)
            try:
                with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - the user's own address
                    body: bytes = answer.read()
                    return body
            except urllib.error.HTTPError as error:
                if error.code < 500 or not left:
                    raise OSError(f"{self._endpoint}{path}: {error} {error.read(300)!r}") from error
            except OSError:
                if not left:
                    raise
        raise AssertionError


class Keys(NamedTuple):
    """With what requests are signed; a session's token may be empty."""

    key: str
    secret: str
    token: str
    region: str


def signed(
    method: str, url: str, query: dict[str, str], extra: dict[str, str], body: bytes, keys: Keys
) -> urllib.request.Request:
    """Return a request with a signature of version 4; `url` has no query, and its path is not quoted yet."""
    where = urllib.parse.urlsplit(url)
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y%m%dT%H%M%SZ")  # noqa: TID251, UP017 - as above
    scope = f"{now[:8]}/{keys.region}/s3/aws4_request"
    path = urllib.parse.quote(where.path)
    words = "&".join(f"{key}={urllib.parse.quote(value, safe='')}" for key, value in sorted(query.items()))
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": where.netloc, "x-amz-content-sha256": digest, "x-amz-date": now, **extra}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(sorted(headers))
    lines = "".join(f"{key}:{headers[key]}\n" for key in sorted(headers))
    canonical = hashlib.sha256(f"{method}\n{path}\n{words}\n{lines}\n{names}\n{digest}".encode()).hexdigest()
    secret = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{canonical}"
    signature = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    address = f"{where.scheme}://{where.netloc}{path}" + (f"?{words}" if words else "")
    return urllib.request.Request(address, body or None, headers, method=method)  # noqa: S310 - the user's own address


class BucketFile:
    """An object that is read piece by piece."""

    def __init__(self, path: BucketPath) -> None:
        self._path, self._size, self._at = path, path.stat().st_size, 0

    def __enter__(self) -> BucketFile:  # noqa: PYI034 - Self is newer than Python 3.10
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def seek(self, at: int) -> None:
        """Go to a place."""
        self._at = at

    def read(self, length: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        start, stop = self._at, min(self._size, self._at + length)
        self._at = max(start, stop)
        return self._path.bucket.get(str(self._path), start, stop) if start < stop else b""


class BucketPath(PurePosixPath):
    """The name of an object, or the beginning of some."""

    bucket: Bucket
    """Of all paths: the program reads one store."""
    sizes: dict[str, int] = {}  # noqa: RUF012 - as above
    """Lengths that listings have shown."""

    def read_bytes(self) -> bytes:
        """Return the whole object."""
        return self.bucket.get(str(self))

    def open(self, _mode: str) -> BucketFile:
        """Open it to be read."""
        return BucketFile(self)

    def stat(self) -> SimpleNamespace:
        """Return its length, as `st_size`."""
        if str(self) not in self.sizes:
            self.sizes.update(self.bucket.names(str(self)))
        if str(self) not in self.sizes:
            raise FileNotFoundError(f"there is no object {self}")
        return SimpleNamespace(st_size=self.sizes[str(self)])

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """Yield the objects below it whose names fit."""
        whole = f"{self}/{pattern}"
        for name, size in self.bucket.names(whole.partition("*")[0]):
            if name.count("/") == whole.count("/") and fnmatch.fnmatchcase(name, whole):
                self.sizes[name] = size
                yield BucketPath(name)


def place_of(text: str) -> Path | BucketPath:
    """Return the place that a directory or `s3://BUCKET/PREFIX` names."""
    if not text.startswith("s3://"):
        return Path(text)
    name, _, prefix = text[len("s3://") :].strip("/").partition("/")
    BucketPath.bucket = Bucket(name)
    return BucketPath(prefix)

"""Objects in a bucket of an S3 service, by obstore.

What was measured of it and of servers, on which choices here stand: its own retries hide whether a write was tried
before, so there are none (`retrying.py` has ours); a write in parts is nine requests for 32 MiB, so each is one; its
time limit is for a whole request, so it follows the bytes; and it deletes by a POST for many unless told otherwise.
"""

import os
import re
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore import exceptions, store

from drystone.domain.errors import (
    DrystoneError,
    IntegrityError,
    ProtocolError,
    StoreUnavailableError,
    UnavailableError,
)
from drystone.objects.address import S3Address
from drystone.objects.around import LISTED
from drystone.objects.contract import NotFoundError, ObjectEntry, Parts, StoreTime, check_name, parts_of

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Credential

SMALL_BYTES: Final = 1 << 20
SLOWEST_BYTES_PER_S: Final = 64 << 10
"""A request that is slower than this is given up, and begun again."""
FIRST_S: Final = 30.0
"""How long a request of no bytes may take."""
CONNECT_S: Final = 10.0
KEYS_S: Final = 60.0
"""How long keys are used before their file is read again."""
CLOCK: Final = "clock/now"
"""An object that is written to see when the service says that this was."""
CLOCK_S: Final = 600.0
"""How long that is believed to go on as this machine's boot time does: two requests cost money each time."""
OTHERS: Final = 0o077
_TEXT_MAX: Final = 300
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]+)</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]+)</Message>")
_KEYS_REFUSED: Final = frozenset({
    "AccessDenied", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
    "RequestTimeTooSkewed", "SignatureDoesNotMatch", "XAdminUserNotFound",
})  # fmt: skip
_NOTHING_THERE: Final = frozenset({"", "NoSuchKey", "NotFound"})
"""Codes, with the status 404; some services answer so where the key or the bucket is unknown, with another code."""


class S3Store:
    """An `ObjectStore` in a bucket.

    Raises:
        UnavailableError: The files that the address names cannot be used.
    """

    def __init__(self, address: S3Address) -> None:
        self._address = address
        self._authority = None if address.ca_file is None else _read(Path(address.ca_file))
        self._lock = threading.Lock()
        self._clients: dict[int, store.S3Store] = {}
        self._known_time: tuple[float, float] | None = None
        """When the service said that it was, and this machine's time since its boot then."""

    def put(self, name: str, data: Parts) -> None:
        """Write a new object; see `ObjectStore.put`. One that may have been written before is found by `retrying`."""
        body = b"".join(parts_of(data))
        with self._talking(name):
            obstore.put(self._client(len(body)), self._name(name), body, mode="create", use_multipart=False)

    def replace(self, name: str, data: Parts) -> None:
        """Write a mutable object; see `ObjectStore.replace`."""
        body = b"".join(parts_of(data))
        with self._talking(name):
            obstore.put(self._client(len(body)), self._name(name), body, mode="overwrite", use_multipart=False)

    def get(self, name: str) -> bytes:
        """Return a whole object; see `ObjectStore.get`."""
        with self._talking(name):
            found = obstore.get(self._client(SMALL_BYTES), self._name(name))
            if found.meta["size"] > SMALL_BYTES:
                # How long it may take is known only now.
                found = obstore.get(self._client(found.meta["size"]), self._name(name))
            return _whole(name, found.bytes().to_bytes(), found.meta["size"])

    def get_range(self, name: str, start: int, stop: int) -> bytes:
        """Return part of an object; see `ObjectStore.get_range`."""
        # A service refuses what begins where the object ends, in words of its own.
        stop = min(stop, self.size(name)) if stop - start < 1 else stop
        if stop <= start:
            return b""
        client = self._client(stop - start)
        with self._talking(name):
            try:
                found = obstore.get(client, self._name(name), options={"range": (start, stop)})
                body = found.bytes().to_bytes()
            except exceptions.BaseError as error:
                if (
                    isinstance(error, exceptions.NotFoundError)
                    or start < obstore.head(client, self._name(name))["size"]
                ):
                    raise
                return b""
            first, last = found.range
            return _whole(name, body, last - first)

    def size(self, name: str) -> int:
        """Return an object's length in bytes; see `ObjectStore.size`."""
        with self._talking(name):
            try:
                return obstore.head(self._client(0), self._name(name))["size"]
            except (exceptions.NotFoundError, FileNotFoundError):
                # A head has no body, which would say whether it is the object that is not there.
                return obstore.get(self._client(0), self._name(name)).meta["size"]

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        """Yield objects by name; see `ObjectStore.list`. A request for each thousand.

        obstore takes whole segments of a name for its prefix; so a listing of part of one begins before it, and ends
        behind it.
        """
        folder, _, rest = prefix.rpartition("/")
        begin = None if not rest else f"{prefix[:-1]}{chr(ord(rest[-1]) - 1)}~"
        before = ""
        with self._talking(prefix):
            for page in obstore.list(self._client(0), folder or None, offset=begin, chunk_size=LISTED):
                for entry in page:
                    name = entry["path"]
                    if name <= before:
                        raise ProtocolError(f"the store lists {name!r} behind {before!r}")
                    before = name
                    if name.startswith(prefix):
                        yield ObjectEntry(name=name, size_bytes=entry["size"])
                    elif name > prefix:
                        return

    def delete(self, name: str) -> None:
        """Remove an object; see `ObjectStore.delete`."""
        with self._talking(name):
            try:
                obstore.delete(self._client(0), self._name(name))
            except exceptions.NotFoundError:
                return

    def clock(self) -> StoreTime | None:
        """Return when the service says that a write was, and what has passed since; see `ObjectStore.clock`."""
        up, known = time.clock_gettime(time.CLOCK_BOOTTIME), self._known_time
        if known is None or up - known[1] >= CLOCK_S:
            self.replace(CLOCK, b"")
            with self._talking(CLOCK):
                at = obstore.head(self._client(0), CLOCK)["last_modified"].timestamp()
            self._known_time = known = at, up
        return StoreTime(at=known[0] + up - known[1], elsewhere=True)

    def _name(self, name: str) -> str:
        check_name(name)
        return name

    def _client(self, count: int) -> store.S3Store:
        """Return a client whose requests may take as long as so many bytes do.

        There are few of them, for each has connections of its own: of 1 MiB, 8, 64 and so on.
        """
        most = SMALL_BYTES
        while most < count:
            most <<= 3
        with self._lock:
            if most not in self._clients:
                self._clients[most] = self._connected(FIRST_S + most / SLOWEST_BYTES_PER_S)
            return self._clients[most]

    def _connected(self, seconds: float) -> store.S3Store:
        address = self._address
        config: S3Config = {
            "region": address.region, "virtual_hosted_style_request": not address.path_style,
            "disable_bulk_delete": True, "checksum_algorithm": "sha256", "disable_tagging": True,
        }  # fmt: skip
        options: ClientConfig = {"timeout": timedelta(seconds=seconds), "connect_timeout": timedelta(seconds=CONNECT_S)}
        if address.endpoint is not None:
            config["endpoint"] = address.endpoint
            options["allow_http"] = address.endpoint.startswith("http://")
        if self._authority is not None:
            options["root_certificate"] = self._authority
        return store.S3Store(
            address.bucket, prefix=address.prefix or None, config=config, client_options=options,
            retry_config={"max_retries": 0},
            credential_provider=None if address.keys_file is None else self._keys,
        )  # fmt: skip

    def _keys(self) -> "S3Credential":
        assert self._address.keys_file is not None
        values = read_keys(Path(self._address.keys_file))
        return {
            "access_key_id": values["AWS_ACCESS_KEY_ID"],
            "secret_access_key": values["AWS_SECRET_ACCESS_KEY"],
            "token": values.get("AWS_SESSION_TOKEN"),
            "expires_at": datetime.now(UTC) + timedelta(seconds=KEYS_S),  # noqa: TID251 - obstore compares it
        }

    @contextmanager
    def _talking(self, name: str) -> Iterator[None]:
        """Translate what obstore raises."""
        try:
            yield
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
            raise IntegrityError(f"object {name} exists already, and is never written twice") from error
        except (exceptions.BaseError, FileNotFoundError) as error:
            raise self._translated(name, error) from error

    def _translated(self, name: str, error: Exception) -> DrystoneError:
        """Return what an error of the service means: by its code, for services differ in the status."""
        code, bucket = _found(_CODE, error), self._address.bucket
        if code in _KEYS_REFUSED or isinstance(
            error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError
        ):
            # Keys may have been exchanged: the next request reads them anew.
            with self._lock:
                self._clients.clear()
            return StoreUnavailableError(f"the bucket {bucket} refuses the keys that it is used with: {_short(error)}")
        if code == "NoSuchBucket":
            # Not that nothing is there: who looks for objects that are gone must not find that they are.
            return StoreUnavailableError(f"there is no bucket {bucket}: {_short(error)}")
        if isinstance(error, exceptions.NotFoundError | FileNotFoundError) and code in _NOTHING_THERE:
            return NotFoundError(f"there is no object {name} in the bucket {bucket}")
        return StoreUnavailableError(f"the bucket {bucket} does not answer ({name}): {_short(error)}")


def read_keys(path: Path) -> Mapping[str, str]:
    """Return the variables of a file of keys.

    Raises:
        UnavailableError: It cannot be read, others than its owner can read it, or it lacks a key.
    """
    text = _read(path).decode("utf-8", "replace")
    mode = path.stat().st_mode
    if stat.S_IMODE(mode) & OTHERS:
        raise UnavailableError(f"{path} has keys and others may read it: chmod 600 {path}")
    lines = (line.strip().removeprefix("export ").partition("=") for line in text.splitlines())
    values = {name.strip(): value.strip().strip("'\"") for name, _, value in lines if not name.startswith("#")}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if not values.get(name):
            raise UnavailableError(f"{path} has no {name}")
    return values


def _whole(name: str, body: bytes, size_bytes: int) -> bytes:
    if len(body) != size_bytes:
        raise StoreUnavailableError(f"object {name}: {len(body)} of {size_bytes} bytes arrived")
    return body


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from error


def _found(pattern: re.Pattern[str], error: Exception) -> str:
    found = pattern.search(str(error))
    return "" if found is None else found[1]


def _short(error: Exception) -> str:
    """Return what a service says, or the library's first line; it has no keys."""
    said = ": ".join(filter(None, (_found(_CODE, error), _found(_MESSAGE, error))))
    return (said or (str(error).splitlines() or [type(error).__name__])[0])[:_TEXT_MAX]

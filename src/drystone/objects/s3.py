"""Objects in a bucket of an S3 service, by obstore.

What was measured of it and of servers, on which choices here stand: its own retries hide whether a write was tried
before, so there are none (`retrying.py` has ours); a write in parts is nine requests for 32 MiB, so each is one; its
time limit is for a whole request, so it follows the bytes; and it deletes by a POST for many unless told otherwise.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import obstore
from obstore import exceptions, store

from drystone.domain.errors import (
    DrystoneError,
    IntegrityError,
    KeysRefusedError,
    ProtocolError,
    RetainedError,
    StoreUnavailableError,
    UnavailableError,
)
from drystone.domain.times import moment
from drystone.objects.address import S3Address
from drystone.objects.around import LISTED
from drystone.objects.contract import NotFoundError, ObjectEntry, Parts, StoreTime, check_name, parts_of
from drystone.objects.s3_answers import code_of, said
from drystone.objects.s3_keys import read_authority, read_keys
from drystone.objects.s3_rules import S3Rules, endpoint_of

if TYPE_CHECKING:
    from obstore import PutResult
    from obstore.store import ClientConfig, S3Config, S3Credential

SMALL_BYTES: Final = 1 << 20
SLOWEST_BYTES_PER_S: Final = 64 << 10
"""A request that is slower than this is given up, and begun again."""
FIRST_S: Final = 30.0
"""How long a request of no bytes may take."""
CONNECT_S: Final = 10.0
KEYS_S: Final = 60.0
"""How long keys are used before their file is read again."""
CLOCK_S: Final = 600.0
"""How long the service's clock is believed to go on as this machine's boot time does, before it is asked again."""
SKEW_S_MAX: Final = 900.0
"""Services refuse requests whose time is further from theirs."""
SINGLE_BYTES_MAX: Final = 1 << 30
"""A larger object is written in parts: services take 5 GiB in one at most, and all of one is sent again if it fails."""
PART_BYTES: Final = 64 << 20
PARTS_AT_ONCE: Final = 4
_KEYS_REFUSED: Final = frozenset({
    "AccessDenied", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
    "RequestTimeTooSkewed", "SignatureDoesNotMatch", "XAdminUserNotFound",
})  # fmt: skip
_KEPT: Final = frozenset({"AccessDenied", "InvalidRequest", "ObjectLocked", "WormProtected"})
"""Codes with which services refuse to delete what they keep; the object is asked then."""
_NOTHING_THERE: Final = frozenset({"", "NoSuchKey", "NotFound"})
"""Codes, with the status 404; some services answer so where the key or the bucket is unknown, with another code."""


class S3Store:
    """An `ObjectStore` in a bucket.

    Raises:
        UnavailableError: The files that the address names cannot be used.
    """

    def __init__(self, address: S3Address) -> None:
        self._address = address
        self._authority = None if address.ca_file is None else read_authority(Path(address.ca_file))
        self._rules = S3Rules(address)
        self._lock = threading.Lock()
        self._clients: dict[int, store.S3Store] = {}
        self._known_time: tuple[float, float] | None = None
        """When the service said that it was, and this machine's time since its boot then."""

    def put(self, name: str, data: Parts) -> str | None:
        """Write a new object; see `ObjectStore.put`. One that may have been written before is found by `retrying`."""
        body = b"".join(parts_of(data))
        with self._talking(name, "makes"):
            return self._write(name, body, "create")

    def replace(self, name: str, data: Parts) -> str | None:
        """Write a mutable object; see `ObjectStore.replace`."""
        body = b"".join(parts_of(data))
        with self._talking(name, "changes"):
            return self._write(name, body, "overwrite")

    def _write(self, name: str, body: bytes, mode: Literal["create", "overwrite"]) -> str | None:
        if len(body) <= SINGLE_BYTES_MAX:
            return _version(
                obstore.put(self._client(len(body)), self._name(name), body, mode=mode, use_multipart=False)
            )  # fmt: skip
        # No service has a condition for these that all services keep; names are used once.
        if mode == "create" and self._there(name):
            raise _taken(name)
        return _version(obstore.put(
            self._client(PART_BYTES), self._name(name), body, use_multipart=True, chunk_size=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
        ))  # fmt: skip

    def _there(self, name: str) -> bool:
        try:
            self.size(name)
        except NotFoundError:
            return False
        return True

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
        with self._talking(name, "changes"):
            try:
                obstore.delete(self._client(0), self._name(name))
            except exceptions.NotFoundError:
                return

    def clock(self) -> StoreTime | None:
        """Return what time the service said that it has, and what has passed since; see `ObjectStore.clock`."""
        up, known = time.clock_gettime(time.CLOCK_BOOTTIME), self._known_time
        if known is None or up - known[1] >= CLOCK_S:
            self._known_time = known = self._rules.time(), up
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
            config["endpoint"] = endpoint_of(address)
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
    def _talking(self, name: str, does: Literal["reads", "makes", "changes"] = "reads") -> Iterator[None]:
        """Translate what obstore raises, by what is done to an object."""
        try:
            yield
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
            raise _taken(name) from error
        except (exceptions.BaseError, FileNotFoundError) as error:
            kept = None if does == "reads" else self._retained(name, error)
            if kept is not None and does == "makes":
                # Some services say that of a name that is taken.
                raise _taken(name) from error
            raise kept or self._translated(name, error) from error

    def _retained(self, name: str, error: Exception) -> RetainedError | None:
        """Return that the bucket keeps an object for a time, if that is why something was refused."""
        if not isinstance(error, exceptions.PermissionDeniedError) and code_of(error) not in _KEPT:
            return None
        with suppress(UnavailableError):
            found = self._rules.retention(name)
            if found is not None:
                until = (
                    "somebody takes its legal hold away"
                    if found.until == float("inf")
                    else moment(found.until).isoformat(timespec="seconds")
                )
                return RetainedError(
                    f"the bucket {self._address.bucket} keeps the object {name} until {until}; its deletion is pending",
                    seconds=found.until - found.now,
                )
        return None

    def _skewed(self, code: str) -> str:
        """Return by how much this machine's clock differs from the service's, if that is why it refuses."""
        with suppress(UnavailableError):
            ahead = time.time() - self._rules.time()  # noqa: TID251 - signatures have this time
            if code == "RequestTimeTooSkewed" or abs(ahead) > SKEW_S_MAX:
                side = "ahead of" if ahead > 0 else "behind"
                return (
                    f"this machine's clock is {abs(ahead):.0f} s {side} the clock of the bucket's service, which "
                    f"refuses requests more than {SKEW_S_MAX / 60:.0f} minutes off; set the clock that is wrong"
                )
        return ""

    def _translated(self, name: str, error: Exception) -> DrystoneError:
        """Return what an error of the service means: by its code, for services differ in the status."""
        code, bucket = code_of(error), self._address.bucket
        if code in _KEYS_REFUSED or isinstance(
            error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError
        ):
            # Keys may have been exchanged: the next request reads them anew.
            with self._lock:
                self._clients.clear()
            skewed = self._skewed(code)
            if skewed:
                return StoreUnavailableError(f"the bucket {bucket} refuses requests: {skewed}")
            return KeysRefusedError(f"the bucket {bucket} refuses the keys that it is used with: {said(error)}")
        if code == "NoSuchBucket":
            # Not that nothing is there: who looks for objects that are gone must not find that they are.
            return StoreUnavailableError(f"there is no bucket {bucket}: {said(error)}")
        if isinstance(error, exceptions.NotFoundError | FileNotFoundError) and code in _NOTHING_THERE:
            return NotFoundError(f"there is no object {name} in the bucket {bucket}")
        return StoreUnavailableError(f"the bucket {bucket} does not answer ({name}): {said(error)}")


def _version(done: "PutResult") -> str | None:
    """Return which version was written. A bucket whose versions are suspended calls each `null` and keeps the last."""
    return None if done["version"] == "null" else done["version"]


def _taken(name: str) -> IntegrityError:
    return IntegrityError(f"object {name} exists already, and is never written twice")


def _whole(name: str, body: bytes, size_bytes: int) -> bytes:
    if len(body) != size_bytes:
        raise StoreUnavailableError(f"object {name}: {len(body)} of {size_bytes} bytes arrived")
    return body

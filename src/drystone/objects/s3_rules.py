"""What a bucket does by itself, and what is left in it: versions, locks, uploads in parts that nobody has ended.

obstore has no requests for these, so they are made here, one at a time, for upkeep and `drystone store check` alone.
"""

import html
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from drystone.domain.errors import StoreUnavailableError, UnavailableError
from drystone.objects.address import S3Address
from drystone.objects.s3_keys import read_keys
from drystone.objects.standalone_bucket import Keys, signed

SECONDS: Final = 30.0
NOT_FOUND: Final = 404
UPLOAD_S_MAX: Final = 7 * 86_400.0
"""No upload of ours takes as long: each part has a time limit, and one that fails is begun anew."""
_PAGES_MAX: Final = 1000
_BYPASS: Final = {"x-amz-bypass-governance-retention": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """For how long the bucket keeps an object, whoever deletes it.

    Attributes:
        until: When that ends; infinity for a legal hold, which somebody must take away.
        now: What time the service has.
    """

    until: float
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRetention:
    """What the bucket locks by itself: every object, for some days from its writing."""

    mode: str
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of an object, or the mark of a deletion."""

    name: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload in parts that was begun and not ended; its parts are stored, and in no listing of objects."""

    name: str
    id: str
    begun_at: float


class RefusedError(UnavailableError):
    """The service answered, and does not do that.

    Args:
        status: Of HTTP.
        code: Its word for it; empty if it has none.
        message: What it says.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code or status}: {message}".rstrip(": "))
        self.status = status
        self.code = code


class S3Rules:
    """Requests about a bucket's rules, of the place that an address names.

    Raises (all methods):
        RefusedError: The service does not do it, or there are no keys for it here.
        StoreUnavailableError: It does not answer.
    """

    def __init__(self, address: S3Address) -> None:
        self._address = address

    def versioned(self) -> bool:
        """Tell whether what is deleted or written over stays as an older version."""
        return b"<Status>Enabled</Status>" in self._ask("GET", "", {"versioning": ""}).body

    def expires_versions(self) -> bool:
        """Tell whether a rule of the bucket removes older versions."""
        try:
            text = self._ask("GET", "", {"lifecycle": ""}).body.decode()
        except RefusedError as error:
            if error.status in {NOT_FOUND, 405, 501}:
                return False
            raise
        rules = re.findall(r"<Rule>(.*?)</Rule>", text, re.DOTALL)
        return any("<NoncurrentVersionExpiration>" in one and _tag(one, "Status") == "Enabled" for one in rules)

    def locks(self) -> bool:
        """Tell whether objects of the bucket can be locked."""
        return self._locking() is not None

    def default_retention(self) -> DefaultRetention | None:
        """Return what the bucket locks by itself; None for nothing."""
        text = self._locking() or ""
        mode, days, years = (_tag(text, name) for name in ("Mode", "Days", "Years"))
        return DefaultRetention(mode=mode, days=int(days or 0) + 365 * int(years or 0)) if mode else None

    def retention(self, name: str) -> Retention | None:
        """Return for how long an object is kept, asked after it was refused; None if it is not locked, or not there."""
        try:
            found = self._ask("HEAD", name, {}).headers
        except RefusedError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        until, hold = found.get("x-amz-object-lock-retain-until-date"), found.get("x-amz-object-lock-legal-hold")
        now = _date(found)
        if hold == "ON":
            return Retention(until=float("inf"), now=now)
        if not until and (rule := self.default_retention()) is not None:
            # Some services keep this of the bucket alone, and do not say it of each object.
            ends = parsedate_to_datetime(found["last-modified"]).timestamp() + rule.days * 86_400.0
        else:
            ends = _moment(until) if until else now
        return Retention(until=ends, now=now) if ends > now else None

    def time(self) -> float:
        """Return what time the service has; it says so also to whom it refuses."""
        request = urllib.request.Request(self._url(""), method="HEAD")  # noqa: S310 - the user's own address
        return _date(self._opened(request, refused=True).headers)

    def put_locked(self, name: str, until: float) -> str:
        """Write an empty object that nobody can delete before a moment; return its version."""
        when = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        lock = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": when}
        # A write with a lock must have a digest of its content: this one is of nothing.
        return self._ask(
            "PUT", name, {}, {**lock, "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
        ).headers.get("x-amz-version-id", "")  # fmt: skip

    def delete_version(self, version: Version, *, bypass: bool = False) -> None:
        """Delete a version for good; `bypass` for who may do so though it is locked."""
        self._ask("DELETE", version.name, {"versionId": version.id}, _BYPASS if bypass else {})

    def has_version(self, version: Version) -> bool:
        """Tell whether a version is there."""
        try:
            self._ask("HEAD", version.name, {"versionId": version.id})
        except RefusedError:
            return False
        return True

    def versions(self, prefix: str) -> Iterator[Version]:
        """Yield all versions below a prefix, marks of deletions too."""
        for page in self._pages("versions", {"prefix": self._named(prefix)}, ("KeyMarker", "VersionIdMarker")):
            for entry in re.findall(r"<(?:Version|DeleteMarker)>(.*?)</(?:Version|DeleteMarker)>", page, re.DOTALL):
                yield Version(name=self._own(_tag(entry, "Key")), id=_tag(entry, "VersionId"))

    def uploads(self) -> Iterator[Upload]:
        """Yield the uploads in parts that were not ended, of names below the address's prefix."""
        prefix = self._named("")
        for page in self._pages("uploads", {"prefix": prefix}, ("KeyMarker", "UploadIdMarker")):
            for entry in re.findall(r"<Upload>(.*?)</Upload>", page, re.DOTALL):
                name = _tag(entry, "Key")
                if name.startswith(prefix):
                    begun_at = _moment(_tag(entry, "Initiated"))
                    yield Upload(name=self._own(name), id=_tag(entry, "UploadId"), begun_at=begun_at)

    def abort(self, upload: Upload) -> None:
        """Have an upload's parts removed; one that is not there any more is as good."""
        try:
            self._ask("DELETE", upload.name, {"uploadId": upload.id})
        except RefusedError as error:
            if error.status != NOT_FOUND:
                raise

    def abort_old(self) -> tuple[Upload, ...]:
        """Have the parts removed of uploads that were begun so long ago that nobody ends them; return which."""
        found = tuple(self.uploads())
        if not found:
            return ()
        before = self.time() - UPLOAD_S_MAX
        old = tuple(one for one in found if one.begun_at < before)
        for one in old:
            self.abort(one)
        return old

    # --- how ---

    def _locking(self) -> str | None:
        try:
            text = self._ask("GET", "", {"object-lock": ""}).body.decode()
        except RefusedError as error:
            # Not there, or no word that the service knows.
            if error.code.startswith("ObjectLockConfiguration") or error.status in {NOT_FOUND, 405, 501}:
                return None
            raise
        return text if _tag(text, "ObjectLockEnabled") == "Enabled" else None

    def _named(self, name: str) -> str:
        return f"{self._address.prefix}/{name}" if self._address.prefix else name

    def _own(self, key: str) -> str:
        return key.removeprefix(self._named(""))

    def _url(self, name: str) -> str:
        base, path = endpoint_of(self._address), self._named(name) if name else ""
        bucket = f"/{self._address.bucket}" if self._address.path_style else ""
        return f"{base}{bucket}/{path}" if path or not bucket else f"{base}{bucket}"

    def _pages(self, what: str, query: Mapping[str, str], markers: tuple[str, str]) -> Iterator[str]:
        """Yield the pages of a listing, each of which says where the next one begins."""
        begin: dict[str, str] = {}
        for _ in range(_PAGES_MAX):
            page = self._ask("GET", "", {what: "", **query, **begin}).body.decode()
            yield page
            if _tag(page, "IsTruncated") != "true":
                return
            begin = {_dashed(name): _tag(page, f"Next{name}") for name in markers}

    def _ask(
        self, method: str, name: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> "_Answer":
        request = signed(method, self._url(name), dict(query), dict(headers or {}), b"", self._keys())
        return self._opened(request, refused=False)

    def _opened(self, request: urllib.request.Request, *, refused: bool) -> "_Answer":
        """Make a request; one that is refused is an answer, too, if that is said."""
        try:
            # Proxies are those of the environment now, as obstore has them.
            with urllib.request.build_opener(*self._trust()).open(request, timeout=SECONDS) as answer:
                return _Answer(_lower(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            if refused:
                return _Answer(_lower(error.headers), b"")
            raise RefusedError(error.code, _tag(text, "Code"), _tag(text, "Message") or str(error.reason)) from error
        except OSError as error:
            raise StoreUnavailableError(f"the bucket {self._address.bucket} does not answer: {error}") from error

    def _trust(self) -> list[urllib.request.HTTPSHandler]:
        if endpoint_of(self._address).startswith("http://"):
            return []
        context = ssl.create_default_context()
        if self._address.ca_file is not None:
            context.load_verify_locations(cafile=self._address.ca_file)
        return [urllib.request.HTTPSHandler(context=context)]

    def _keys(self) -> Keys:
        values = os.environ if self._address.keys_file is None else read_keys(Path(self._address.keys_file))  # noqa: TID251 - as obstore does
        if not values.get("AWS_ACCESS_KEY_ID"):
            # The library has ways to them that we have not.
            raise RefusedError(0, "NoKeys", "the keys are neither in a file nor in the environment")
        return Keys(
            key=values["AWS_ACCESS_KEY_ID"], secret=values["AWS_SECRET_ACCESS_KEY"],
            token=values.get("AWS_SESSION_TOKEN", ""), region=self._address.region,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Answer:
    headers: Mapping[str, str]
    body: bytes


def endpoint_of(address: S3Address) -> str:
    """Return the URL of the service; with the bucket in the host's name, unless that is part of the path."""
    base = (address.endpoint or f"https://s3.{address.region}.amazonaws.com").rstrip("/")
    if address.path_style:
        return base
    parts = urlsplit(base)
    return f"{parts.scheme}://{address.bucket}.{parts.netloc}{parts.path}"


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _tag(text: str, name: str) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return "" if found is None else html.unescape(found[1])


def _dashed(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _date(headers: Mapping[str, str]) -> float:
    if "date" not in headers:
        raise StoreUnavailableError("the service does not say what time it has")
    return parsedate_to_datetime(headers["date"]).timestamp()

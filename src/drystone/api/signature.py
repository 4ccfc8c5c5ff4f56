"""The two request signatures of API 3.0: TC3-HMAC-SHA256, and v1 (HmacSHA1, HmacSHA256). Pure.

A request is read into a `Claim`: who it says it is from, and the text that its signature must cover. `Claim.holds`
then answers whether a secret key made that signature. Nothing here looks a key up or reads a clock.

Source: Tencent Cloud API documents "Signature v3" and "Signature v1", checked against the official clients.
"""

import base64
import functools
import hashlib
import hmac
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from drystone.api.refusals import WireError

CLOCK_DIFFERENCE_S_MAX = 300
"""A request may be this old, or this far in the future (documented: five minutes)."""
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

_AUTHORIZATION_CHARS_MAX = 2048
_SECRET_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256 +Credential=([^/,\s]*)/(\d{4}-\d\d-\d\d)/([A-Za-z0-9_:\[\]-]+)/tc3_request,"
    r" *SignedHeaders=([A-Za-z0-9;_-]+), *Signature=([0-9a-fA-F]{64})",
    re.ASCII,
)
_NAME = re.compile(r"[A-Za-z0-9.-]+")
_HELD = re.compile(r"&([A-Za-z0-9.-]+)=")
_TIMESTAMP = re.compile(r"\d{1,12}", re.ASCII)
_V1_DIGESTS = {"HmacSHA1": "sha1", "HmacSHA256": "sha256"}


class SignedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature covers, as received."""

    method: str
    query: str
    """The raw query string, never decoded or sorted."""
    headers: Mapping[str, str]
    """Lower-case names; values as received, one character per byte."""
    body: bytes


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """What the header Authorization of a TC3 request says; all of it has its form, nothing is verified."""

    secret_id: str
    date: str
    service: str
    signed_headers: str
    """Names of the headers that are signed, as sent."""
    signature: str
    """64 hex digits in lower case."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A signature that was sent, and each text that it may cover; they are made as they are tried.

    There is more than one text because a gateway may have changed Host after signing, and because the public rule
    lower-cases header values where the clients do not.
    """

    secret_id: str
    """The access key that the request names; its form is checked, its existence is not."""
    texts: Callable[[], Iterator[bytes]]
    """Makes the strings to sign, the likeliest first; a handful at most."""
    signature: str
    """What the client sent: 64 hex digits for TC3, base64 for v1."""
    scope: tuple[str, str] | None
    """Date and service of the credential (TC3), or None (v1)."""
    digest: str
    """The hash of the HMAC."""
    until_s: float
    """When the time stamp is too old by itself, seconds UTC."""

    def holds(self, secret_key: str) -> bool:
        """Tell whether `secret_key` made this signature; compares in constant time."""
        sent = self.signature.encode("utf-8", "replace")
        if self.scope is None:
            key = secret_key.encode()
            return any(
                hmac.compare_digest(base64.b64encode(hmac.digest(key, text, self.digest)), sent)
                for text in self.texts()
            )
        key = _tc3_key(secret_key, *self.scope)
        return any(
            hmac.compare_digest(hmac.digest(key, text, self.digest).hex().encode(), sent) for text in self.texts()
        )

    def verify(self, secret_key: str) -> None:
        """Refuse the request unless `secret_key` made its signature.

        Raises:
            WireError: `AuthFailure.SignatureFailure`.
        """
        if not self.holds(secret_key):
            raise WireError(
                "AuthFailure.SignatureFailure",
                "The signature does not match the request; check the secret key, the signed headers and the body.",
            )


# Three HMACs are saved for every request but the first of a key and day. The size bounds memory, not correctness.
@functools.lru_cache(maxsize=256)
def _tc3_key(secret_key: str, date: str, service: str) -> bytes:
    key = hmac.digest(f"TC3{secret_key}".encode(), date.encode(), "sha256")
    key = hmac.digest(key, service.encode(), "sha256")
    return hmac.digest(key, b"tc3_request", "sha256")


def tc3_authorization(headers: Mapping[str, str]) -> Authorization:
    """Read the header Authorization of a TC3 request.

    Raises:
        WireError: `AuthFailure.InvalidAuthorization` or `.InvalidSecretId`.
    """
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", "")[:_AUTHORIZATION_CHARS_MAX].strip())
    if match is None:
        raise WireError(
            "AuthFailure.InvalidAuthorization",
            "The header Authorization is not `TC3-HMAC-SHA256 Credential=<SecretId>/<date>/<service>/tc3_request, "
            "SignedHeaders=<names>, Signature=<64 hex digits>`.",
        )
    secret_id, date, service, signed_headers, signature = match.groups()
    return Authorization(
        secret_id=_secret_id(secret_id),
        date=date,
        service=service,
        signed_headers=signed_headers,
        signature=signature.lower(),
    )


def first_label(host: str) -> str:
    """Return what several SDKs name as the service: all of their endpoint before its first dot.

    At `cbs.example.com` that is the service, at `127.0.0.1:8080` it is `127`, at `localhost:8080` all of it. Source:
    the SDKs for Node.js, Java, PHP and .NET.
    """
    return host.strip().rpartition("//")[2].partition(".")[0]


def _without_port(host: str) -> str:
    """Return a Host without its port: the SDK for Node.js sends it and does not sign it."""
    return re.sub(r":\d+$", "", host)


def tc3_claim(
    request: SignedRequest, sent: Authorization, *, service: str, now_s: float, host_names: Sequence[str]
) -> Claim:
    """Read the TC3-HMAC-SHA256 signature of `request`.

    Args:
        request: The request as received. A Host of the form `http://127.0.0.1:8080` is what some clients send and
            sign when their endpoint has a scheme; it is used as it is.
        sent: Its header Authorization.
        service: The service that the scope must name, by its name or by the first label of Host.
        now_s: The server's clock, seconds UTC.
        host_names: Names that a client may have signed when a gateway changed Host on the way.

    Raises:
        WireError: `AuthFailure.InvalidAuthorization`, `.SignatureExpire` or `.SignatureFailure`;
            `MissingParameter` or `InvalidParameter` for the time stamp.
    """
    names = sent.signed_headers.lower().split(";")
    if not {"content-type", "host"} <= set(names) or len(set(names)) != len(names):
        raise WireError(
            "AuthFailure.InvalidAuthorization",
            "SignedHeaders must name content-type and host, and no header twice.",
        )
    timestamp = request.headers.get("x-tc-timestamp", "").strip()
    date = _date_of(timestamp, now_s)
    if sent.date != date:
        raise _scope_refusal("date", sent.date, date)
    if sent.service not in {service, first_label(request.headers.get("host", ""))}:
        raise _scope_refusal("service", sent.service, service)
    absent = [name for name in names if name not in request.headers]
    if absent:
        raise WireError("AuthFailure.SignatureFailure", f"The signed header `{absent[0]}` is not in the request.")

    unsigned = request.headers.get("x-tc-content-sha256", "").strip() == UNSIGNED_PAYLOAD
    payload = UNSIGNED_PAYLOAD.encode() if unsigned else request.body
    query = request.query if request.method == "GET" else ""
    tail = f"{sent.signed_headers}\n{hashlib.sha256(payload).hexdigest()}"
    scope = f"{date}/{sent.service}/tc3_request"
    values = {name: request.headers[name].strip() for name in names}

    def lines(host: str) -> str:
        return "".join([f"{name}:{value}\n" for name, value in (values | {"host": host}).items()])

    def text(form: str) -> bytes:
        canonical = f"{request.method}\n/\n{query}\n{form}\n{tail}"
        # Header values came in as one character per byte; this gives the client's bytes back.
        hashed = hashlib.sha256(canonical.encode("latin-1", "replace")).hexdigest()
        return f"TC3-HMAC-SHA256\n{timestamp}\n{scope}\n{hashed}".encode()

    def texts() -> Iterator[bytes]:
        host = values["host"]
        received = lines(host)
        yield text(received)
        forms = {received.lower(), *map(lines, (_without_port(host), *host_names))}
        yield from map(text, forms - {received})

    return Claim(
        secret_id=sent.secret_id,
        texts=texts,
        signature=sent.signature,
        scope=(date, sent.service),
        digest="sha256",
        until_s=int(timestamp) + CLOCK_DIFFERENCE_S_MAX,
    )


def v1_claim(
    request: SignedRequest, parameters: Mapping[str, str], *, now_s: float, host_names: Sequence[str]
) -> Claim:
    """Read the v1 signature of `request`, whose decoded query or form is `parameters`.

    Args:
        request: The request as received.
        parameters: All parameters, decoded, `Signature` among them.
        now_s: The server's clock, seconds UTC.
        host_names: Names that a client may have signed when a gateway changed Host on the way.

    Raises:
        WireError: `MissingParameter`, `InvalidParameter`, `InvalidParameterValue`,
            `AuthFailure.InvalidSecretId` or `AuthFailure.SignatureExpire`.
    """
    for name in ("SecretId", "Signature", "Timestamp", "Nonce"):
        if not parameters.get(name):
            raise WireError("MissingParameter", f"The parameter `{name}` is missing.")
    method = parameters.get("SignatureMethod") or "HmacSHA1"
    if method not in _V1_DIGESTS:
        raise WireError(
            "InvalidParameterValue", "SignatureMethod must be HmacSHA1 or HmacSHA256, or TC3 in its header."
        )
    secret_id = _secret_id(parameters["SecretId"])
    _date_of(parameters["Timestamp"], now_s)
    # The official Python client writes `.` for `_` in names when it signs.
    renamed = {name.replace("_", "."): value for name, value in parameters.items() if name != "Signature"}
    _check_boundaries(renamed, len(parameters) - 1)
    text = "&".join(f"{name}={renamed[name]}" for name in sorted(renamed))
    hosts = dict.fromkeys((request.headers.get("host", ""), *host_names))
    return Claim(
        secret_id=secret_id,
        texts=lambda: (f"{request.method}{host}/?{text}".encode("utf-8", "replace") for host in hosts),
        signature=parameters["Signature"],
        scope=None,
        digest=_V1_DIGESTS[method],
        until_s=int(parameters["Timestamp"]) + CLOCK_DIFFERENCE_S_MAX,
    )


def _check_boundaries(parameters: Mapping[str, str], sent: int) -> None:
    """Refuse parameters whose text to sign is also that of others: v1 signs names and values as they are.

    Names are signed in their order. So a value holds another parameter only if it has `&name=` with a name that would
    come next, and each text is the text of one form at most (S151).

    Raises:
        WireError: `InvalidParameter`.
    """
    if len(parameters) != sent:
        raise WireError("InvalidParameter", "Two parameters differ in `_` and `.` alone; v1 signs them as one.")
    names = sorted(parameters)
    for name, after in itertools.zip_longest(names, names[1:]):
        if _NAME.fullmatch(name) is None:
            raise WireError("InvalidParameter", f"`{name[:60]}` is not the name of a parameter.")
        if any(name < held and (after is None or held < after) for held in _HELD.findall(parameters[name])):
            raise WireError(
                "InvalidParameter",
                f"The value of `{name[:60]}` holds what signature v1 cannot tell from another parameter; sign with "
                "TC3-HMAC-SHA256.",
            )


def _secret_id(text: str) -> str:
    if _SECRET_ID.fullmatch(text) is None:
        raise WireError("AuthFailure.InvalidSecretId", "The SecretId does not have the form of an access key.")
    return text


def _scope_refusal(what: str, seen: str, expected: str) -> WireError:
    return WireError(
        "AuthFailure.SignatureFailure", f"The credential's {what} is `{seen}`; this request needs `{expected}`."
    )


def _date_of(timestamp: str, now_s: float) -> str:
    """Return the UTC date of a time stamp that is near enough to the clock."""
    if not timestamp:
        raise WireError("MissingParameter", "The parameter `Timestamp` is missing.")
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise WireError("InvalidParameter", "The parameter `Timestamp` must be whole seconds since 1970.")
    seconds = int(timestamp)
    if abs(now_s - seconds) > CLOCK_DIFFERENCE_S_MAX:
        raise WireError(
            "AuthFailure.SignatureExpire",
            f"The client's clock is {abs(round(now_s - seconds))} s {'behind' if seconds < now_s else 'ahead of'} "
            f"the server's; at most {CLOCK_DIFFERENCE_S_MAX} s are allowed. Set the one that is wrong.",
        )
    return _utc_date(seconds // 86400)


@functools.lru_cache(maxsize=4)
def _utc_date(day: int) -> str:
    return datetime.fromtimestamp(day * 86400, UTC).strftime("%Y-%m-%d")

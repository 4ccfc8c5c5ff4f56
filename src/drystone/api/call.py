"""Reading an HTTP request as a call of API 3.0: its common parameters, its signature scheme, its own parameters."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

import msgspec

from drystone.api.refusals import WireError
from drystone.api.signature import SignedRequest

TC3_BODY_BYTES_MAX = 10_000_000
V1_BODY_BYTES_MAX = 65_536
QUERY_BYTES_MAX = 32_768
"""Documented sizes: 10 MB with TC3, 32 KB for GET. CBS takes 1 MB with v1; a form has to be decoded before it can be
verified, and no action of CBS needs more than this."""
FLAT_PARAMETERS_MAX = 500
"""Fields of a query or form: a hundred ids and as many filters."""

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_FORM_SECRET_ID = re.compile(r"(?:^|&)SecretId=([A-Za-z0-9_-]{1,128})(?=&|$)")
_COMMON_V1 = frozenset(
    {
        "Action",
        "Version",
        "Region",
        "Timestamp",
        "Nonce",
        "SecretId",
        "Signature",
        "SignatureMethod",
        "Token",
        "Language",
        "RequestClient",
    }
)
# Read twice by two parsers, these could mean two things.
_SINGLE = frozenset(
    {
        "authorization",
        "content-type",
        "host",
        "x-tc-action",
        "x-tc-version",
        "x-tc-region",
        "x-tc-timestamp",
        "x-tc-token",
        "x-tc-content-sha256",
    }
)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose common parameters are read; nothing is verified yet."""

    action: str
    version: str
    region: str
    """The region, or an empty string."""
    token: str
    """A temporary key's token, or an empty string."""
    client: str
    """What the client says of itself, for the log."""
    trace_id: str
    """The client's trace id, for the log."""
    parameters: bytes | Mapping[str, str]
    """The JSON body, or flattened parameters without the common ones."""
    form: Mapping[str, str]
    """All decoded parameters of a v1 request, for its signature; empty for TC3."""


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Return headers by lower-case name, one character per byte.

    Raises:
        WireError: `InvalidRequest`, when a header that decides something is there twice.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name = raw_name.decode("latin-1").lower()
        if name in headers:
            if name in _SINGLE:
                raise WireError("InvalidRequest", f"The header `{name}` is given twice.")
            continue
        headers[name] = raw_value.decode("latin-1")
    return headers


def read_call(request: SignedRequest) -> Call:
    """Read the common parameters of a GET or POST.

    Raises:
        WireError: `MissingParameter` for an action or a version that is not named, `InvalidRequest` or
            `InvalidParameter` for a body or query that cannot be read, `RequestSizeLimitExceeded`, or
            `AuthFailure.InvalidAuthorization` when the request is not signed at all.
    """
    if request.method == "GET" and len(request.query) > QUERY_BYTES_MAX:
        raise WireError(
            "RequestSizeLimitExceeded",
            f"The query is {len(request.query)} bytes long; at most {QUERY_BYTES_MAX} are allowed. Use POST.",
        )
    call = _tc3_call(request) if "authorization" in request.headers else _v1_call(request)
    for name, value in (("Action", call.action), ("Version", call.version)):
        if not value:
            raise WireError("MissingParameter", f"The parameter `{name}` is missing.")
    return call


def _tc3_call(request: SignedRequest) -> Call:
    def common(name: str) -> str:
        return request.headers.get(name, "").strip()

    media_type = _media_type(request)
    parameters: bytes | Mapping[str, str]
    if request.method == "GET":
        parameters = _flat(request.query)
    elif media_type == _JSON:
        parameters = request.body
    else:
        raise WireError(
            "InvalidRequest",
            f"A POST signed with TC3-HMAC-SHA256 must be {_JSON}; this one is `{media_type[:100]}`.",
        )
    return Call(
        action=common("x-tc-action"),
        version=common("x-tc-version"),
        region=common("x-tc-region"),
        token=common("x-tc-token"),
        client=common("x-tc-requestclient"),
        trace_id=common("x-tc-traceid"),
        parameters=parameters,
        form={},
    )


def form_secret_id(request: SignedRequest) -> str:
    """Return the key that a v1 request names, found without decoding it; empty if there is none to be found."""
    match = _FORM_SECRET_ID.search(_form_text(request))
    return "" if match is None else match[1]


def _form_text(request: SignedRequest) -> str:
    if request.method != "POST":
        return request.query
    return request.body.decode("latin-1") if _media_type(request) == _FORM else ""


def _v1_call(request: SignedRequest) -> Call:
    form = _flat(_form_text(request))
    if "Signature" not in form:
        raise WireError(
            "AuthFailure.InvalidAuthorization",
            "The request is not signed: it has neither a header Authorization nor a parameter Signature.",
        )
    return Call(
        action=form.get("Action", ""),
        version=form.get("Version", ""),
        region=form.get("Region", ""),
        token=form.get("Token", ""),
        client=form.get("RequestClient", ""),
        trace_id="",
        parameters={name: value for name, value in form.items() if name not in _COMMON_V1},
        form=form,
    )


def _media_type(request: SignedRequest) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _flat(text: str) -> Mapping[str, str]:
    """Decode a query or form; each name once."""
    if not text:
        return {}
    try:
        # Bytes that should have been percent-encoded are taken as the UTF-8 that they are.
        pairs = parse_qsl(
            text.encode("latin-1").decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=FLAT_PARAMETERS_MAX,
        )
    except ValueError as error:
        raise WireError(
            "InvalidParameter",
            f"The parameters are not a URL-encoded form in UTF-8 of at most {FLAT_PARAMETERS_MAX} fields.",
        ) from error
    flat = dict(pairs)
    if len(flat) != len(pairs):
        raise WireError("InvalidParameter", "A parameter is given twice.")
    return flat

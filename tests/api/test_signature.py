import base64
import hashlib
import hmac
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from drystone.api.refusals import WireError
from drystone.api.signature import Claim, SignedRequest, tc3_authorization, tc3_claim, v1_claim
from tests.api.signing import NOW_S, SECRET_ID, SECRET_KEY, sdk_request

FILTERS = {"DiskIds": ["disk-00000001"], "Filters": [{"Name": "disk-name", "Values": ["a b", "中文", "x&y=z"]}]}


def tc3(request: SignedRequest, *, now_s: float = NOW_S, hosts: tuple[str, ...] = (), service: str = "cbs") -> Claim:
    sent = tc3_authorization(request.headers)
    return tc3_claim(request, sent, service=service, now_s=now_s, host_names=hosts)


def v1(request: SignedRequest, *, now_s: float = NOW_S, hosts: tuple[str, ...] = ()) -> Claim:
    text = request.query if request.method == "GET" else request.body.decode()
    return v1_claim(request, dict(parse_qsl(text, keep_blank_values=True)), now_s=now_s, host_names=hosts)


def code_of(request: SignedRequest, *, now_s: float = NOW_S, service: str = "cbs") -> str:
    try:
        tc3(request, now_s=now_s, service=service).verify(SECRET_KEY)
    except WireError as refusal:
        return refusal.code
    return "OK"


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8080", "http://127.0.0.1:8080", "cbs.example.org"])
@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("payload", ["signed", "unsigned"])
@pytest.mark.parametrize(("service", "version"), [("cbs", "2017-03-12"), ("drystone", "2026-11-01")])
def test_tc3_as_the_sdk_signs(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, method: str, payload: str, service: str, version: str
) -> None:
    request = sdk_request(
        monkeypatch,
        endpoint=endpoint,
        method=method,
        unsigned=payload == "unsigned",
        params=FILTERS,
        service=service,
        version=version,
    )
    claim = tc3(request, service=service)
    assert claim.secret_id == SECRET_ID
    assert claim.holds(SECRET_KEY)
    assert not claim.holds(SECRET_KEY + "x")
    assert not claim.holds("")


@pytest.mark.parametrize("sign_method", ["HmacSHA1", "HmacSHA256"])
@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("endpoint", ["127.0.0.1:8080", "http://127.0.0.1:8080"])
def test_v1_as_the_sdk_signs(monkeypatch: pytest.MonkeyPatch, sign_method: str, method: str, endpoint: str) -> None:
    request = sdk_request(monkeypatch, sign_method=sign_method, method=method, endpoint=endpoint, params=FILTERS)
    claim = v1(request)
    assert claim.secret_id == SECRET_ID
    assert claim.holds(SECRET_KEY)
    assert not claim.holds(SECRET_KEY + "x")


def test_golden_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signatures themselves, so that a change of the client and of the server together is seen."""
    post = sdk_request(monkeypatch, params={"DiskIds": ["disk-00000001"]})
    assert post.headers["authorization"].endswith(
        "Signature=a508883d166635d6ed4352278a68f9806f74f2b31cc058f84c25d327dd8da611"
    )
    assert tc3(post).holds(SECRET_KEY)
    old = sdk_request(monkeypatch, params={"DiskIds": ["disk-00000001"]}, sign_method="HmacSHA1", method="GET")
    assert dict(parse_qsl(old.query))["Signature"] == "9WwmEuW1p5OwP5JKY+bN6wQeylA="
    assert v1(old).holds(SECRET_KEY)


def test_extra_signed_headers_and_a_charset_verify() -> None:
    headers = {
        "content-type": "application/json; charset=utf-8",
        "host": "127.0.0.1:8080",
        "x-tc-action": "DescribeDisks",
        "x-tc-timestamp": str(NOW_S),
    }
    for lower in (False, True):
        request = signed_by_hand(headers, ("content-type", "host", "x-tc-action"), lower=lower)
        assert tc3(request).holds(SECRET_KEY)
        other = dict(request.headers, **{"x-tc-action": "TerminateDisks"})
        assert not tc3(replace(request, headers=other)).holds(SECRET_KEY)


def signed_by_hand(headers: dict[str, str], names: tuple[str, ...], *, lower: bool) -> SignedRequest:
    """The documented algorithm written out, with the public rule's lower-case values where asked."""
    body = b'{"Limit": 1}'
    date = "2026-09-21"
    lines = "".join(f"{name}:{headers[name].lower() if lower else headers[name]}\n" for name in names)
    canonical = f"POST\n/\n\n{lines}\n{';'.join(names)}\n{hashlib.sha256(body).hexdigest()}"
    text = f"TC3-HMAC-SHA256\n{NOW_S}\n{date}/cbs/tc3_request\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"TC3{SECRET_KEY}".encode()
    for part in (date, "cbs", "tc3_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    authorization = (
        f"TC3-HMAC-SHA256 Credential={SECRET_ID}/{date}/cbs/tc3_request, SignedHeaders={';'.join(names)}, "
        f"Signature={signature}"
    )
    return SignedRequest(method="POST", query="", headers={**headers, "authorization": authorization}, body=body)


def test_each_part_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    request = sdk_request(monkeypatch, params={"DiskIds": ["disk-00000001"]})
    assert code_of(request) == "OK"

    def changed(**headers: str) -> SignedRequest:
        return replace(request, headers={**request.headers, **{k.replace("_", "-"): v for k, v in headers.items()}})

    authorization = request.headers["authorization"]
    failure = "AuthFailure.SignatureFailure"
    assert code_of(replace(request, body=request.body[:-1] + b" ")) == failure
    assert code_of(replace(request, body=b"")) == failure
    assert code_of(replace(request, method="GET")) == failure
    assert code_of(changed(host="127.0.0.1:8081")) == failure
    assert code_of(changed(content_type="application/json;x")) == failure
    assert code_of(changed(x_tc_timestamp=str(NOW_S + 1))) == failure
    assert code_of(changed(authorization=authorization.replace("2026-09-21", "2026-09-20"))) == failure
    assert code_of(changed(authorization=authorization.replace("/cbs/", "/cvm/"))) == failure
    assert code_of(request, service="drystone") == failure
    flipped = "0" if authorization[-1] != "0" else "1"
    assert code_of(changed(authorization=authorization[:-1] + flipped)) == failure
    assert code_of(changed(authorization=authorization[:-1])) == "AuthFailure.InvalidAuthorization"
    assert code_of(changed(authorization="SKIP")) == "AuthFailure.InvalidAuthorization"
    assert code_of(changed(authorization=authorization.replace("content-type;host", "host"))) == (
        "AuthFailure.InvalidAuthorization"
    )
    assert code_of(changed(authorization=authorization.replace("content-type;host", "content-type;host;host"))) == (
        "AuthFailure.InvalidAuthorization"
    )
    assert code_of(changed(authorization=authorization.replace("content-type;host", "content-type;host;x-none"))) == (
        failure
    )
    assert code_of(changed(authorization=authorization.replace(SECRET_ID, ""))) == "AuthFailure.InvalidSecretId"
    assert code_of(changed(x_tc_timestamp="")) == "MissingParameter"
    assert code_of(changed(x_tc_timestamp="soon")) == "InvalidParameter"
    with pytest.raises(WireError, match="does not match"):
        tc3(request).verify("another key")


def test_the_raw_query_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    request = sdk_request(monkeypatch, params=FILTERS, method="GET")
    pieces = request.query.split("&")
    assert not tc3(replace(request, query="&".join(reversed(pieces)))).holds(SECRET_KEY)
    assert not tc3(replace(request, query=request.query.replace("+", "%20"))).holds(SECRET_KEY)


@pytest.mark.parametrize("sign_method", ["TC3-HMAC-SHA256", "HmacSHA1"])
def test_the_clock_may_differ_by_five_minutes(monkeypatch: pytest.MonkeyPatch, sign_method: str) -> None:
    request = sdk_request(monkeypatch, sign_method=sign_method)
    read = tc3 if sign_method.startswith("TC3") else v1
    for near_s in (NOW_S - 300, NOW_S + 300):
        assert read(request, now_s=near_s).holds(SECRET_KEY)
    for now_s in (NOW_S - 300.5, NOW_S + 300.5):
        with pytest.raises(WireError) as refused:
            read(request, now_s=now_s)
        assert refused.value.code == "AuthFailure.SignatureExpire"


def test_a_gateway_may_change_host_to_a_configured_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for sign_method, read in (("TC3-HMAC-SHA256", tc3), ("HmacSHA256", v1)):
        request = sdk_request(monkeypatch, endpoint="cbs.tencentcloudapi.com", sign_method=sign_method)
        moved = replace(request, headers={**request.headers, "host": "gateway.internal"})
        assert not read(moved).holds(SECRET_KEY)
        assert read(moved, hosts=("a.example", "cbs.tencentcloudapi.com")).holds(SECRET_KEY)
        assert not read(moved, hosts=("a.example",)).holds(SECRET_KEY)


def test_v1_each_part_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    request = sdk_request(monkeypatch, sign_method="HmacSHA256", params=FILTERS)
    form = dict(parse_qsl(request.body.decode()))

    def claim(**changes: str) -> Claim:
        return v1_claim(request, {**form, **changes}, now_s=NOW_S, host_names=())

    assert claim().holds(SECRET_KEY)
    for name, value in form.items():
        if name not in {"Signature", "SignatureMethod", "Timestamp", "SecretId"}:
            assert not claim(**{name: value + "0"}).holds(SECRET_KEY), name
    assert not claim(Timestamp=str(NOW_S + 1)).holds(SECRET_KEY)
    assert not claim(SignatureMethod="HmacSHA1").holds(SECRET_KEY)
    assert not claim(Signature=base64.b64encode(bytes(32)).decode()).holds(SECRET_KEY)
    assert not claim(Signature="ÿ\ud800").holds(SECRET_KEY)
    assert not v1_claim(replace(request, method="GET"), form, now_s=NOW_S, host_names=()).holds(SECRET_KEY)
    for name in ("SecretId", "Signature", "Timestamp", "Nonce"):
        with pytest.raises(WireError) as refused:
            claim(**{name: ""})
        assert refused.value.code == "MissingParameter"
    with pytest.raises(WireError) as refused:
        claim(SignatureMethod="MD5")
    assert refused.value.code == "InvalidParameterValue"


def test_v1_signs_names_with_a_dot_for_an_underscore(monkeypatch: pytest.MonkeyPatch) -> None:
    request = sdk_request(monkeypatch, sign_method="HmacSHA1", params={"Made_Up": "a_b"})
    assert v1(request).holds(SECRET_KEY)


@settings(deadline=None)
@given(
    authorization=st.text(max_size=300) | st.from_regex(r"TC3-HMAC-SHA256 Credential=.{0,80}", fullmatch=True),
    timestamp=st.text(max_size=20),
    host=st.text(max_size=40),
)
def test_any_headers_give_a_claim_or_a_refusal(authorization: str, timestamp: str, host: str) -> None:
    headers = {"authorization": authorization, "x-tc-timestamp": timestamp, "host": host, "content-type": "a/b"}
    code = code_of(SignedRequest(method="POST", query="", headers=headers, body=b"{}"))
    assert code.startswith(("AuthFailure.", "MissingParameter", "InvalidParameter"))

"""Who a request is from: what is done before that is known, what a signature is good for, which names are served."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from drystone.api import tries
from drystone.api.agent import LocalAgent
from drystone.api.app import Application
from drystone.api.call import V1_BODY_BYTES_MAX
from drystone.api.dispatch import Dispatcher
from drystone.api.hosts import HostGuard, Hosts, host_name
from drystone.api.refusals import WireError
from drystone.api.settings import ApiSettings
from drystone.api.signature import SignedRequest, v1_claim
from drystone.api.tries import UsedSignatures
from drystone.service.caller import Identity
from tests.api.asgi import Answer, Rig, asgi, check_envelope, request_ids, toy_rig
from tests.api.fakes import context
from tests.api.signing import NOW_S, REGION, SECRET_ID, sdk_request

Sdk = Callable[..., SignedRequest]


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Sdk:
    def sign(**options: Any) -> SignedRequest:
        return sdk_request(monkeypatch, **options)

    return sign


def send(rig: Rig, request: SignedRequest, client: str = "192.0.2.7", **headers: str) -> Answer:
    sent = {**request.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    answer = asyncio.run(
        asgi(
            rig.app, method=request.method, query=request.query.encode("latin-1"), client=client,
            headers=[(name.encode(), value.encode("latin-1")) for name, value in sent.items()], chunks=(request.body,),
        )
    )  # fmt: skip
    assert answer is not None
    check_envelope(answer)
    return answer


# --- a signature that is used again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sign_method", ["TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"])
def test_a_signature_is_good_for_one_address(sdk: Sdk, sign_method: str) -> None:
    """S148."""
    rig = toy_rig()
    signed = sdk(sign_method=sign_method, params={"DiskIds": ["disk-00000001"]})
    assert send(rig, signed).code == "OK"
    # The SDK sends again what it got no answer to.
    assert send(rig, signed).code == "OK"
    stolen = send(rig, signed, client="192.0.2.66")
    assert stolen.code == "AuthFailure.SignatureFailure"
    assert "another address" in stolen.message
    assert send(rig, signed).code == "OK"
    assert send(rig, sdk(sign_method=sign_method, params={"DiskIds": ["disk-00000002"]}), client="192.0.2.66").code == (
        "OK"
    )


def test_two_honest_calls_may_bear_one_signature(sdk: Sdk) -> None:
    rig = toy_rig()
    describe = sdk(action="DescribeDisks", params={"DiskIds": ["disk-00000001"]})
    terminate = sdk(action="TerminateDisks", params={"DiskIds": ["disk-00000001"]})
    assert describe.headers["authorization"] == terminate.headers["authorization"]
    assert send(rig, describe).code == "OK"
    assert send(rig, terminate).code == "OK"
    assert send(rig, terminate, client="192.0.2.66").code == "AuthFailure.SignatureFailure"


def test_a_signature_that_failed_is_not_remembered(sdk: Sdk) -> None:
    rig = toy_rig()
    signed = sdk()
    assert send(rig, signed, client="192.0.2.66", host="elsewhere").code == "AuthFailure.SignatureFailure"
    assert send(rig, signed).code == "OK"


def test_signatures_are_remembered_as_long_as_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "SIGNATURES_MAX", 3)
    now = [1000.0]
    used = UsedSignatures(monotonic=lambda: now[0])
    used.admit("a", "192.0.2.1", for_s=300)
    now[0] += 300
    with pytest.raises(WireError):
        used.admit("a", "192.0.2.2", for_s=0)
    now[0] += 1
    used.admit("b", "192.0.2.2", for_s=400)
    assert len(used) == 1
    for name in "cdef":
        used.admit(name, "192.0.2.1", for_s=400)
    assert len(used) == 3


@pytest.mark.parametrize("ahead_s", [-400, 400])
def test_a_call_by_the_other_clock_does_not_make_a_signature_be_forgotten(sdk: Sdk, ahead_s: int) -> None:
    rig = toy_rig()
    rig.app.clock, rig.app.steady = (lambda: float(NOW_S)), (lambda: float(NOW_S + ahead_s))
    first = sdk(params={"DiskIds": ["disk-00000001"]}, now_s=NOW_S)
    second = sdk(params={"DiskIds": ["disk-00000002"]}, now_s=NOW_S + ahead_s)
    for order in ((first, second), (second, first)):
        for signed in order:
            assert send(rig, signed).code == "OK"
        for signed in order:
            assert send(rig, signed, client="192.0.2.66").code == "AuthFailure.SignatureFailure"


# --- work before a sender is known ------------------------------------------------------------------------------------


class Counted:
    """Counts look-ups that cost something."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.count = rig, 0
        rig.app.authenticate = self

    async def __call__(self, secret_id: str, *, sparing: bool = False) -> Identity | None:
        self.count += not sparing
        return self.rig.keys.keys.get(secret_id)


def test_a_body_is_taken_of_a_known_key_only(sdk: Sdk) -> None:
    rig = toy_rig()
    rig.keys.keys.clear()
    signed = sdk()

    async def receive() -> Mapping[str, Any]:
        raise AssertionError("the body was asked for")

    sent: list[Mapping[str, Any]] = []

    async def answer(message: Mapping[str, Any]) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in signed.headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers, "client": ("a", 1)}
    asyncio.run(rig.app(scope, receive, answer))
    assert b"AuthFailure.SecretIdNotFound" in sent[1]["body"]


def test_forms_are_small(sdk: Sdk) -> None:
    rig = toy_rig()
    form = sdk(sign_method="HmacSHA1")
    padded = SignedRequest(
        method="POST", query="", headers=form.headers, body=form.body + b"&x=" + b"y" * V1_BODY_BYTES_MAX
    )
    assert send(rig, padded).code == "RequestSizeLimitExceeded"
    assert V1_BODY_BYTES_MAX == 64 << 10
    many = SignedRequest(
        method="POST", query="", headers=form.headers, body=form.body + b"".join(b"&a%d=1" % at for at in range(500))
    )
    assert send(rig, many).code == "InvalidParameter"
    # An unknown key is told before the form is decoded.
    rig.keys.keys.clear()
    assert send(rig, many).code == "AuthFailure.SecretIdNotFound"


@pytest.mark.parametrize("sign_method", ["TC3-HMAC-SHA256", "HmacSHA1"])
def test_failures_of_one_address_are_bounded(sdk: Sdk, monkeypatch: pytest.MonkeyPatch, sign_method: str) -> None:
    """S147."""
    monkeypatch.setattr(tries, "FAILURES", 5)
    rig = toy_rig()
    counted = Counted(rig)
    good, bad = sdk(sign_method=sign_method), sdk(sign_method=sign_method, secret_key="another")
    stranger = SignedRequest(
        method="POST", query="", body=good.body.replace(SECRET_ID.encode(), b"AKIDnobody"),
        headers={name: text.replace(SECRET_ID, "AKIDnobody") for name, text in good.headers.items()},
    )  # fmt: skip
    for _ in range(5):
        assert send(rig, stranger).code == "AuthFailure.SecretIdNotFound"
    looked_up = counted.count
    for _ in range(10):
        assert send(rig, stranger).code == "RequestLimitExceeded"
    assert counted.count == looked_up
    # A key behind the same address that never called before goes on, and so does everybody elsewhere.
    assert send(rig, good).code == "OK"
    assert send(rig, sdk(sign_method=sign_method, params={"Count": 1}), client="192.0.2.8").code == "OK"
    for _ in range(5):
        assert send(rig, bad).code == "AuthFailure.SignatureFailure"
    for _ in range(10):
        assert send(rig, bad).code == "RequestLimitExceeded"
        # Who has the key is not locked out by who knows its id.
        assert send(rig, good).code == "OK"


def test_a_large_body_is_not_taken_for_a_key_without_tries(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "FAILURES", 1)
    rig = toy_rig()
    large = sdk(params={"DiskIds": ["x" * tries.SPENT_BODY_BYTES_MAX]})
    assert send(rig, sdk(secret_key="another")).code == "AuthFailure.SignatureFailure"
    assert send(rig, large).code == "RequestLimitExceeded"
    assert send(rig, sdk()).code == "OK"
    rig.clock[0] += 1
    assert send(rig, large).code != "RequestLimitExceeded"


def test_good_calls_take_no_tries(monkeypatch: pytest.MonkeyPatch, sdk: Sdk) -> None:
    monkeypatch.setattr(tries, "FAILURES", 2)
    rig = toy_rig()
    for form in (sdk(sign_method="HmacSHA1"), sdk()):
        escaped = SignedRequest(
            method="POST", query="", headers=form.headers, body=form.body.replace(b"SecretId=", b"Secret%49d=")
        )
        for _ in range(10):
            assert send(rig, escaped).code == "OK"


# --- forms that could be others ---------------------------------------------------------------------------------------


def text_of(form: Mapping[str, str]) -> bytes | None:
    request = SignedRequest(method="POST", query="", headers={"host": "h"}, body=b"")
    whole = {**form, "SecretId": SECRET_ID, "Signature": "x", "Timestamp": str(NOW_S), "Nonce": "1"}
    try:
        return next(v1_claim(request, whole, now_s=NOW_S, host_names=()).texts())
    except WireError:
        return None


def test_each_text_is_of_one_form() -> None:
    """S151."""
    values = ["", "1", "1&B=2", "1&C=2", "2&Z=1", "&", "=", "1&B", "&B=&C=3", "a&b=c"]
    seen: dict[bytes, Mapping[str, str]] = {}
    for chosen in itertools.product([None, *values], repeat=3):
        form = {name: value for name, value in zip("ABC", chosen, strict=True) if value is not None}
        text = text_of(form)
        if text is not None:
            assert seen.setdefault(text, form) == form
    assert text_of({"A": "1&B=2"}) is None
    assert text_of({"A": "R&D", "B": "x&y=z"}) is not None
    assert text_of({"A_0": "1", "A.0": "2"}) is None
    assert text_of({"A&B": "1"}) is None
    assert text_of({"A=B": "1"}) is None


# --- metrics ----------------------------------------------------------------------------------------------------------


class Slow:
    """A collector that notes where it runs, and how often."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def collect(self) -> list[GaugeMetricFamily]:
        self.threads.append(threading.get_ident())
        return [GaugeMetricFamily("slow", "Slow.", value=len(self.threads))]


def metrics_application() -> tuple[Application, Slow, list[float]]:
    registry, slow, clock = CollectorRegistry(), Slow(), [100.0]
    registry.register(slow)
    slow.threads.clear()
    rig = toy_rig()
    settings = ApiSettings(region=REGION, metrics_token="metrics-token")
    monotonic = lambda: clock[0]  # noqa: E731 - short
    dispatcher = Dispatcher(
        services=(), agent=LocalAgent(context(0)), record=rig.trail.record, settings=settings, monotonic=monotonic,
        request_id=request_ids(), registry=registry,
    )  # fmt: skip
    application = Application(
        dispatcher=dispatcher, authenticate=rig.keys, clock=monotonic, steady=monotonic, monotonic=monotonic,
        registry=registry,
    )  # fmt: skip
    return application, slow, clock


def test_metrics_are_made_once_a_second_on_a_thread() -> None:
    application, slow, clock = metrics_application()

    async def ask(times: int) -> list[Answer | None]:
        async with asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(asgi(application, method="GET", path="/metrics", client="127.0.0.1",
                                       headers=[(b"host", b"localhost:1")]))
                for _ in range(times)
            ]  # fmt: skip
        return [task.result() for task in asked]

    answers = asyncio.run(ask(50))
    assert all(answer is not None and answer.status == 200 and b"slow 1.0" in answer.body for answer in answers)
    assert len(slow.threads) == 1
    assert slow.threads[0] != threading.get_ident()
    clock[0] += 1
    (answer,) = asyncio.run(ask(1))
    assert answer is not None
    assert b"slow 2.0" in answer.body


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:8080"}, 200),
        ("::1", {"host": "[::1]:8080"}, 200),
        ("::ffff:127.0.0.1", {"host": "127.0.0.1:8080"}, 200),
        ("::ffff:192.0.2.7", {"host": "127.0.0.1:8080"}, 401),
        ("192.0.2.7", {"host": "127.0.0.1:8080"}, 401),
        # Passed on by a proxy on this machine.
        ("127.0.0.1", {"host": "storage.example"}, 401),
        ("127.0.0.1", {"host": "localhost", "x-forwarded-for": "192.0.2.7"}, 401),
        ("192.0.2.7", {"host": "a", "authorization": "Bearer metrics-token"}, 200),
        ("192.0.2.7", {"host": "a", "authorization": "bearer  metrics-token "}, 200),
        ("192.0.2.7", {"host": "a", "authorization": "Basic metrics-token"}, 401),
        ("192.0.2.7", {"host": "a", "authorization": "Bearer metrics-toke"}, 401),
        ("192.0.2.7", {"host": "a", "authorization": "Bearer \xff"}, 401),
    ],
)
def test_who_may_read_metrics(client: str, headers: Mapping[str, str], status: int) -> None:
    application, _, _ = metrics_application()
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = asyncio.run(asgi(application, method="GET", path="/metrics", client=client, headers=pairs))
    assert answer is not None
    assert answer.status == status


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "local", "served"),
    [
        ("127.0.0.1:8080", "127.0.0.1", True),
        ("http://127.0.0.1:8080", "127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("LocalHost.:8080", "::1", True),
        ("[::1]:8080", "::1", True),
        ("192.0.2.1:8080", "192.0.2.1", True),
        ("[2001:DB8::0:1]", "2001:db8::1", True),
        ("[fe80::1]", "fe80::1%eth0", True),
        ("192.0.2.1:8080", "::ffff:192.0.2.1", True),
        ("192.0.2.2:8080", "::ffff:192.0.2.1", False),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "::ffff:192.0.2.1", False),
        ("storage.example:8080", "192.0.2.1", True),
        ("cbs.drystone.example", "192.0.2.1", True),
        ("drystone.example", "192.0.2.1", False),
        ("evil.example", "127.0.0.1", False),
        ("evil.example:8080", "192.0.2.1", False),
        ("localhost.evil.example", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("xstorage.example", "127.0.0.1", False),
        ("xdrystone.example", "127.0.0.1", False),
        ("localhost", "192.0.2.1", False),
        ("127.0.0.1@evil.example", "127.0.0.1", False),
        ("127.0.0.1/../evil", "127.0.0.1", False),
        ("198.51.100.1", "192.0.2.1", False),
        ("", "127.0.0.1", False),
        ("\xff", "127.0.0.1", False),
    ],
)
def test_names(host: str, local: str, served: bool) -> None:  # noqa: FBT001 - a column of a table
    assert Hosts(["Storage.example", "*.drystone.example"]).serves(host, local) is served


def test_a_name_of_others_gets_nothing() -> None:
    """S150."""
    reached: list[str] = []

    async def application(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = HostGuard(application, hosts=Hosts([]), request_id=request_ids())

    def ask(path: str, *hosts: str) -> Answer:
        headers = [(b"host", host.encode("latin-1")) for host in hosts]
        answer = asyncio.run(asgi(guard, method="GET", path=path, headers=headers))
        assert answer is not None
        return answer

    for path in ("/console/", "/console/api/login", "/metrics", "/healthz"):
        for hosts in (["evil.example:8080"], ["127.0.0.1", "evil.example"], [""]):
            refused = ask(path, *hosts)
            assert refused.status == 421
            assert b"host_names" in refused.body
    told = ask("/", "evil.example")
    check_envelope(told)
    assert told.code == "InvalidRequest"
    assert reached == []
    # A probe of a load balancer may leave it out; a browser cannot.
    assert ask("/healthz").status == 200
    assert host_name("http://[::1]:80/") == "::1"

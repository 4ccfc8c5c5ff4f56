import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from drystone.api.actions import Fields, Service, chosen_service
from drystone.api.call import QUERY_BYTES_MAX, TC3_BODY_BYTES_MAX, V1_BODY_BYTES_MAX
from drystone.api.cbs.disks import AttachDisks
from drystone.api.dispatch import refusal_of, resources_of
from drystone.api.refusals import WireError
from drystone.api.settings import ApiSettings
from drystone.domain.errors import (
    DrystoneError,
    IntegrityError,
    Refusal,
    RefusalError,
    SnapshotBrokenError,
    SpaceError,
    UnavailableError,
)
from drystone.service.caller import Caller, Identity
from tests.api.asgi import ACCOUNT, Answer, DescribeDisks, Rig, Toy, asgi, check_envelope, send_signed, toy_rig
from tests.api.signing import NOW_S, REGION, SECRET_ID, SECRET_KEY, sdk_request

Sdk = Callable[..., Any]


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Sdk:
    def sign(**options: Any) -> Any:
        return sdk_request(monkeypatch, **options)

    return sign


def call(rig: Rig, request: Any, **headers: str) -> Answer:
    return asyncio.run(send_signed(rig.app, request, **headers))


def failing(rig: Rig, error: Exception) -> None:
    async def fail(caller: Caller, parameters: Toy) -> Fields:
        raise error

    rig.behaviour[:] = [fail]


@pytest.mark.parametrize("sign_method", ["TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_each_way_to_sign_reaches_the_use_case(sdk: Sdk, sign_method: str, method: str) -> None:
    rig = toy_rig()
    seen: list[tuple[Caller, Toy]] = []

    async def behave(caller: Caller, parameters: Toy) -> Fields:
        seen.append((caller, parameters))
        return {"Text": "中文", "Nothing": None}

    rig.behaviour[:] = [behave]
    ids = ["disk-00000001", "a b&c=d%", "中文"]
    answer = call(rig, sdk(params={"DiskIds": ids, "Count": 3}, sign_method=sign_method, method=method))
    assert answer.code == "OK"
    assert answer.response["Text"] == "中文"
    assert answer.response["Nothing"] is None
    caller, parameters = seen[0]
    assert parameters == DescribeDisks(disk_ids=tuple(ids), count=3)
    assert caller == Caller(
        account_id=ACCOUNT,
        admin=False,
        secret_id=SECRET_ID,
        request_id=answer.response["RequestId"],
        action="DescribeDisks",
        source="192.0.2.7",
    )


def test_the_second_service_has_its_own_version_and_scope(sdk: Sdk) -> None:
    rig = toy_rig()
    assert call(rig, sdk(service="drystone", version="2026-11-01")).code == "OK"
    assert call(rig, sdk(service="drystone", version="2026-11-01", region="")).code == "OK"
    assert call(rig, sdk(service="cbs", version="2026-11-01")).code == "AuthFailure.SignatureFailure"
    assert call(rig, sdk(service="drystone", version="2017-03-12")).code == "AuthFailure.SignatureFailure"


def test_routing_codes(sdk: Sdk) -> None:
    rig = toy_rig()
    signed = sdk()
    assert call(rig, signed, x_tc_version="2017-03-13").code == "NoSuchVersion"
    assert call(rig, signed, x_tc_version="").code == "MissingParameter"
    assert call(rig, signed, x_tc_action="").code == "MissingParameter"
    assert call(rig, signed, x_tc_action="DescribeEverything").code == "InvalidAction"
    assert call(rig, signed, x_tc_action="CreateRemoteDisks").code == "UnsupportedOperation"
    assert call(rig, signed, x_tc_region="").code == "MissingParameter"
    assert call(rig, signed, x_tc_region="ap-guangzhou").code == "UnsupportedRegion"
    assert call(rig, sdk(params={"Surprise": 1})).code == "UnknownParameter"
    assert call(rig, sdk(params={"Count": "x"})).code == "InvalidParameter"
    no_region = sdk(sign_method="HmacSHA1", region="")
    assert call(rig, no_region).code == "MissingParameter"
    assert call(rig, sdk(sign_method="HmacSHA1", version="2017-03-13")).code == "NoSuchVersion"
    assert call(rig, sdk(sign_method="HmacSHA1", action="Nonsense")).code == "InvalidAction"


def test_authentication_codes(sdk: Sdk) -> None:
    rig = toy_rig()
    signed = sdk()
    failure = "AuthFailure.SignatureFailure"
    assert call(rig, replace(signed, body=b'{"DiskIds": ["disk-x"]}')).code == failure
    assert call(rig, sdk(secret_key="another")).code == failure
    assert call(rig, signed, host="elsewhere").code == failure
    assert call(rig, signed, authorization="SKIP").code == "AuthFailure.InvalidAuthorization"
    unsigned = replace(signed, headers={k: v for k, v in signed.headers.items() if k != "authorization"})
    assert call(rig, unsigned).code == "AuthFailure.InvalidAuthorization"
    assert call(rig, sdk(now_s=NOW_S - 301)).code == "AuthFailure.SignatureExpire"
    for sign_method in ("TC3-HMAC-SHA256", "HmacSHA1"):
        assert call(rig, sdk(token="temporary", sign_method=sign_method)).code == "AuthFailure.TokenFailure"
    assert rig.trail.rows == []
    rig.keys.keys.clear()
    for sign_method in ("TC3-HMAC-SHA256", "HmacSHA1"):
        assert call(rig, sdk(sign_method=sign_method)).code == "AuthFailure.SecretIdNotFound"


def test_nothing_about_the_action_is_told_before_the_signature_holds(sdk: Sdk) -> None:
    rig = toy_rig()
    bad = sdk(secret_key="another", params={"Surprise": 1})
    for action in ("DescribeEverything", "CreateRemoteDisks", "TerminateDisks"):
        assert call(rig, bad, x_tc_action=action).code == "AuthFailure.SignatureFailure"
    assert call(rig, bad, x_tc_region="").code == "AuthFailure.SignatureFailure"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "x" * 300])
def test_other_methods(method: str) -> None:
    answer = asyncio.run(asgi(toy_rig().app, method=method))
    assert answer is not None
    check_envelope(answer)
    assert answer.code == "UnsupportedProtocol"


def test_other_paths_and_content_types(sdk: Sdk) -> None:
    rig = toy_rig()
    answer = asyncio.run(asgi(rig.app, path="/other"))
    assert answer is not None
    check_envelope(answer)
    assert answer.code == "InvalidRequest"
    assert call(rig, sdk(), content_type="multipart/form-data; boundary=x").code == "InvalidRequest"
    form = sdk(sign_method="HmacSHA1")
    assert call(rig, form, content_type="application/json").code == "AuthFailure.InvalidAuthorization"


def test_a_header_that_decides_is_not_taken_twice(sdk: Sdk) -> None:
    rig = toy_rig()
    pairs = [(name.encode(), value.encode()) for name, value in sdk().headers.items()]
    for name in (b"Host", b"x-tc-action", b"authorization"):
        answer = asyncio.run(asgi(rig.app, headers=[*pairs, (name, b"second")], chunks=(b"{}",)))
        assert answer is not None
        assert answer.code == "InvalidRequest"


def test_sizes(sdk: Sdk) -> None:
    rig = toy_rig()
    fits = b'{"DiskIds": ["' + b"x" * (TC3_BODY_BYTES_MAX - 17) + b'"]}'
    assert len(fits) == TC3_BODY_BYTES_MAX
    assert call(rig, replace(sdk(), body=fits)).code == "AuthFailure.SignatureFailure"
    assert call(rig, replace(sdk(), body=fits + b" ")).code == "RequestSizeLimitExceeded"
    form = sdk(sign_method="HmacSHA1")
    assert call(rig, replace(form, body=form.body + b"&x=" + b"y" * V1_BODY_BYTES_MAX)).code == (
        "RequestSizeLimitExceeded"
    )
    get = sdk(method="GET")
    assert call(rig, replace(get, query="x=" + "y" * QUERY_BYTES_MAX)).code == "RequestSizeLimitExceeded"
    many = replace(form, body=b"&".join(b"a%d=1" % index for index in range(501)))
    assert call(rig, many).code == "InvalidParameter"
    assert call(rig, sdk(), content_length=str(TC3_BODY_BYTES_MAX + 1)).code == "RequestSizeLimitExceeded"
    assert call(rig, sdk(), content_length="9" * 5000).code == "RequestSizeLimitExceeded"


def test_a_body_in_pieces_is_bounded_and_whole(sdk: Sdk) -> None:
    rig = toy_rig()
    signed = sdk(params={"DiskIds": ["disk-00000001"] * 100})
    headers = [(name.encode(), value.encode()) for name, value in signed.headers.items()]
    pieces = [signed.body[at : at + 7] for at in range(0, len(signed.body), 7)]
    answer = asyncio.run(asgi(rig.app, headers=headers, chunks=pieces))
    assert answer is not None
    assert answer.code == "OK"
    assert len(answer.response["DiskIds"]) == 100
    piece = b"x" * 1_000_000
    answer = asyncio.run(asgi(rig.app, headers=headers, chunks=[piece] * 11))
    assert answer is not None
    assert answer.code == "RequestSizeLimitExceeded"
    assert rig.app.dispatcher._buffered_bytes == 0


def test_bodies_in_memory_are_bounded_together(sdk: Sdk) -> None:
    rig = toy_rig(ApiSettings(region=REGION, buffered_bytes_max=1_000_000))
    signed = sdk()
    headers = [(name.encode(), value.encode()) for name, value in signed.headers.items()]
    answer = asyncio.run(asgi(rig.app, headers=headers, chunks=[b"x" * 600_000] * 2))
    assert answer is not None
    assert answer.code == "ServiceUnavailable"
    assert rig.app.dispatcher._buffered_bytes == 0
    assert call(rig, signed).code == "OK"


def test_a_slow_body_is_given_up(sdk: Sdk) -> None:
    rig = toy_rig(ApiSettings(region=REGION, body_s_max=0))
    answer = asyncio.run(asgi(rig.app, chunks=(b"{", b"}")))
    assert answer is not None
    assert answer.code == "InvalidRequest"


def test_a_body_that_never_begins_is_given_up() -> None:
    """Whoever signs nothing must not hold a call for ever."""
    rig = toy_rig(ApiSettings(region=REGION, body_s_max=0))
    answer = asyncio.run(asgi(rig.app, chunks=(b"{}",)))
    assert answer is not None
    assert (answer.code, rig.app.dispatcher._calls) == ("InvalidRequest", 0)


def test_a_client_that_goes_away_gets_nothing_and_leaves_nothing() -> None:
    rig = toy_rig()
    assert asyncio.run(asgi(rig.app, chunks=(b"{",), disconnect=True)) is None
    assert asyncio.run(asgi(rig.app, chunks=())) is None
    assert rig.app.dispatcher._calls == 0
    assert rig.app.dispatcher._buffered_bytes == 0


def test_calls_in_progress_are_bounded(sdk: Sdk) -> None:
    rig = toy_rig(ApiSettings(region=REGION, calls_max=3, rate_limits=False))
    signed = sdk()

    async def run() -> list[str]:
        entered, gate = asyncio.Semaphore(0), asyncio.Event()

        async def wait(caller: Caller, parameters: Toy) -> Fields:
            entered.release()
            await gate.wait()
            return {}

        rig.behaviour[:] = [wait]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(send_signed(rig.app, signed)) for _ in range(3)]
            for _ in tasks:
                await entered.acquire()
            codes = [(await send_signed(rig.app, signed)).code]
            gate.set()
        rig.behaviour.clear()
        return [*codes, *(task.result().code for task in tasks), (await send_signed(rig.app, signed)).code]

    assert asyncio.run(run()) == ["ServiceUnavailable", "OK", "OK", "OK", "OK"]


def test_concurrent_calls_get_the_rate_and_no_more(sdk: Sdk) -> None:
    rig = toy_rig(ApiSettings(region=REGION))
    other = "AKIDotherotherotherotherotherother"
    signed, terminate = sdk(), sdk(action="TerminateDisks")

    async def run(request: Any, calls: int) -> int:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(send_signed(rig.app, request)) for _ in range(calls)]
        codes = [task.result().code for task in tasks]
        assert set(codes) <= {"OK", "RequestLimitExceeded"}
        return codes.count("OK")

    assert asyncio.run(run(terminate, 60)) == 20
    assert asyncio.run(run(signed, 150)) == 100
    assert len(rig.trail.rows) == 20
    rig.clock[0] += 0.5
    assert asyncio.run(run(terminate, 60)) == 10
    rig.keys.keys[other] = Identity(account_id=ACCOUNT, admin=False, secret_key=SECRET_KEY)
    rig.keys.keys[SECRET_ID] = rig.keys.keys[other]
    assert asyncio.run(run(terminate, 60)) == 0


def test_a_bad_signature_takes_no_token(sdk: Sdk) -> None:
    rig = toy_rig(ApiSettings(region=REGION))
    for _ in range(50):
        assert call(rig, sdk(secret_key="another", action="TerminateDisks")).code == "AuthFailure.SignatureFailure"
    assert call(rig, sdk(action="TerminateDisks")).code == "OK"


REFUSAL = WireError("InvalidDiskId.NotFound", "The disk `disk-1` does not exist.")
FAILURES: Mapping[str, tuple[Exception, str, str]] = {
    "refusal": (REFUSAL, "InvalidDiskId.NotFound", "InvalidDiskId.NotFound"),
    "in a group": (ExceptionGroup("tasks", [REFUSAL]), "InvalidDiskId.NotFound", "InvalidDiskId.NotFound"),
    "unavailable": (UnavailableError("secret /path"), "InternalError", "ServiceUnavailable"),
    "space": (SpaceError("secret /path"), "ResourceInsufficient", "ResourceInsufficient"),
    "integrity": (IntegrityError("secret /path"), "InternalError", "InternalError"),
    "broken": (SnapshotBrokenError("secret /path"), "InternalError", "InternalError"),
    "other": (DrystoneError("secret /path"), "InternalError", "InternalError"),
    "bug": (AssertionError("secret /path"), "InternalError", "InternalError"),
    "any": (ValueError("secret /path"), "InternalError", "InternalError"),
    "group of two": (ExceptionGroup("t", [REFUSAL, ValueError("secret /path")]), "InternalError", "InternalError"),
}


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_every_failure_has_a_code_and_tells_no_details(sdk: Sdk, name: str) -> None:
    rig = toy_rig()
    error, read, change = FAILURES[name]
    failing(rig, error)
    with capture_logs() as logs:
        answer = call(rig, sdk())
        assert answer.code == read
        changed = call(rig, sdk(action="TerminateDisks", params={"DiskIds": ["disk-1"]}))
    assert changed.code == change
    for text in (answer.message, changed.message):
        assert "secret" not in text
        assert "Traceback" not in text
    assert rig.trail.rows[0][1:] == ("disk-1", change)
    told = [log for log in logs if log["event"] == "api.failed"]
    assert bool(told) == (read != "InvalidDiskId.NotFound")
    assert SECRET_KEY not in str(logs)
    if told:
        assert told[0]["request_id"] == answer.response["RequestId"]


def test_a_refusal_is_told_as_it_is() -> None:
    assert refusal_of(REFUSAL, "DescribeDisks", changes=True) is REFUSAL
    told = refusal_of(RefusalError(Refusal.DISK_UNFIT, "It is."), "TerminateDisks", changes=True)
    assert (told.code, told.message) == ("UnsupportedOperation", "It is.")


def test_cancelling_is_not_swallowed(sdk: Sdk) -> None:
    rig = toy_rig()
    failing(rig, asyncio.CancelledError())  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        call(rig, sdk())
    assert rig.app.dispatcher._calls == 0


def test_a_key_store_that_fails_is_no_permission(sdk: Sdk) -> None:
    rig = toy_rig()
    rig.keys.failure = UnavailableError("database")
    assert call(rig, sdk()).code == "InternalError"


def test_changes_are_audited_and_reads_are_not(sdk: Sdk) -> None:
    rig = toy_rig()
    call(rig, sdk(params={"DiskIds": ["disk-1"]}))
    assert rig.trail.rows == []
    answer = call(rig, sdk(action="TerminateDisks", params={"DiskIds": ["disk-1", "disk-2"]}))
    ((caller, resource, code),) = rig.trail.rows
    assert (caller.action, caller.request_id, resource, code) == (
        "TerminateDisks",
        answer.response["RequestId"],
        "disk-1 disk-2",
        "OK",
    )


def test_a_lost_audit_row_does_not_change_the_answer(sdk: Sdk) -> None:
    rig = toy_rig()
    rig.trail.failure = UnavailableError("database")
    with capture_logs() as logs:
        assert call(rig, sdk(action="TerminateDisks")).code == "OK"
    assert [log["log_level"] for log in logs if log["event"] == "api.audit_lost"] == ["error"]


def test_resources_are_what_was_named_and_made() -> None:
    attach = AttachDisks(instance_id="ins-1", disk_ids=("disk-1", "disk-2", "disk-1"))
    assert resources_of(attach, {"DiskIdSet": ["disk-3"], "SnapshotId": "snap-1"}) == (
        "disk-1 disk-2 ins-1 disk-3 snap-1"
    )
    assert len(resources_of(AttachDisks(instance_id="i" * 5000, disk_ids=()), {})) == 2000


def test_metrics_and_health(sdk: Sdk) -> None:
    rig = toy_rig()
    call(rig, sdk())
    call(rig, sdk(), x_tc_action="made-up-by-a-client")
    failing(rig, REFUSAL)
    call(rig, sdk())
    text = asyncio.run(asgi(rig.app, method="GET", path="/metrics"))
    assert text is not None
    page = text.body.decode()
    assert 'drystone_api_requests_total{action="DescribeDisks",code="OK"} 1.0' in page
    assert 'drystone_api_requests_total{action="DescribeDisks",code="InvalidDiskId.NotFound"} 1.0' in page
    assert 'drystone_api_requests_total{action="unknown",code="InvalidAction"} 1.0' in page
    assert 'drystone_api_request_seconds_count{action="DescribeDisks",code="OK"} 1.0' in page
    assert "made-up" not in page
    health = asyncio.run(asgi(rig.app, method="GET", path="/healthz"))
    assert health is not None
    assert health.status == 200


@settings(deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", ""]) | st.text(max_size=10),
    path=st.sampled_from(["/", "", "//"]),
    query=st.binary(max_size=60),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"authorization",
                    b"host",
                    b"content-type",
                    b"x-tc-action",
                    b"x-tc-version",
                    b"x-tc-timestamp",
                    b"content-length",
                    b"x-tc-requestclient",
                ]
            )
            | st.binary(max_size=10),
            st.sampled_from(
                [
                    b"2017-03-12",
                    b"DescribeDisks",
                    b"application/json",
                    b"application/x-www-form-urlencoded",
                    str(NOW_S).encode(),
                    b"TC3-HMAC-SHA256 Credential=AKIDa/2026-09-21/cbs/tc3_request, "
                    b"SignedHeaders=content-type;host, Signature=" + b"a" * 64,
                ]
            )
            | st.binary(max_size=40),
        ),
        max_size=8,
    ),
    chunks=st.lists(
        st.binary(max_size=40) | st.just(b"Signature=a&Action=b&Version=2017-03-12"), min_size=1, max_size=3
    ),
)
def test_any_bytes_get_an_envelope(
    method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], chunks: list[bytes]
) -> None:
    rig = FUZZED
    answer = asyncio.run(asgi(rig.app, method=method, path=path, query=query, headers=headers, chunks=chunks))
    assert answer is not None
    check_envelope(answer)
    assert answer.code not in {"OK", "InternalError"}
    assert rig.app.dispatcher._calls == 0
    assert rig.app.dispatcher._buffered_bytes == 0


FUZZED = toy_rig()


@settings(deadline=None)
@given(body=st.binary(max_size=60))
def test_any_body_with_a_good_signature_gets_an_envelope(body: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        request = sdk_request(patch, unsigned=True)
    answer = asyncio.run(send_signed(FUZZED.app, replace(request, body=body)))
    assert answer.code in {"OK", "InvalidRequest", "InvalidParameter", "UnknownParameter", "MissingParameter"}


def test_a_parameter_is_not_taken_twice(sdk: Sdk) -> None:
    """Of two values the signature could cover one and the use case see the other."""
    rig = toy_rig()
    for sign_method in ("HmacSHA1", "TC3-HMAC-SHA256"):
        get = sdk(sign_method=sign_method, method="GET", params={"Count": 1})
        assert call(rig, get).code == "OK"
        assert call(rig, replace(get, query=get.query + "&Count=2")).code == "InvalidParameter"


def test_services_of_one_version_are_told_apart_by_name_then_address_then_action() -> None:
    """S364"""

    def named(name: str, version: str, *known: str) -> Service:
        return Service(name=name, version=version, regional=False, not_served=frozenset(known))

    tag, sts = named("tag", "2018-08-13", "TagResources"), named("sts", "2018-08-13", "GetCallerIdentity")
    cbs = named("cbs", "2017-03-12", "DescribeDisks")

    def chosen(*names: str, action: str = "X", version: str = "2018-08-13") -> str:
        return chosen_service((cbs, tag, sts), version=version, names=names, action=action).name

    assert [chosen("tag"), chosen("sts"), chosen("127", "sts"), chosen("sts", "tag")] == ["tag", "sts", "sts", "sts"]
    assert [chosen("127", action="GetCallerIdentity"), chosen(action="TagResources")] == ["sts", "tag"]
    # A version has its services: no name leads out of it.
    assert chosen("tag", version="2017-03-12") == "cbs"
    with pytest.raises(WireError, match="there are 2017-03-12, 2018-08-13") as refused:
        chosen("tag", version="2018-08-14")
    assert refused.value.code == "NoSuchVersion"

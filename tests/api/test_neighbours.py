"""The services beside CBS on the same endpoint: which is meant, the names of resources, and what the trail says."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from drystone.api.app import Application, build_application
from drystone.api.refusals import WireError
from drystone.api.settings import ApiSettings
from drystone.api.tag.fields import pair_of, token_of
from drystone.api.tag.names import name_of, resource_id
from drystone.domain.errors import Refusal, RefusalError
from tests.api.asgi import ACCOUNT, Answer, send_signed
from tests.api.fakes import DISK, FakeUseCases
from tests.api.real_service import REGION, ZONE, RealService, real_service
from tests.api.signing import NOW_S, sdk_request


@pytest.fixture
def fake() -> FakeUseCases:
    return FakeUseCases()


@pytest.fixture
def app(fake: FakeUseCases) -> Application:
    return build_application(
        fake.typed, settings=ApiSettings(region=REGION, rate_limits=False), clock=lambda: float(NOW_S),
        steady=lambda: float(NOW_S), monotonic=lambda: 0.0, request_id=lambda: str(uuid.uuid4()),
        registry=CollectorRegistry(),
    )  # fmt: skip


def sent(app: Application, monkeypatch: pytest.MonkeyPatch, **how: Any) -> Answer:
    return asyncio.run(send_signed(app, sdk_request(monkeypatch, **how)))


@pytest.mark.parametrize(
    ("service", "version", "action"),
    [
        ("cbs", "2017-03-12", "DescribeDisks"),
        ("cvm", "2017-03-12", "DescribeInstances"),
        ("cvm", "2017-03-12", "DescribeZones"),
        ("tag", "2018-08-13", "DescribeTagKeys"),
        ("sts", "2018-08-13", "GetCallerIdentity"),
        ("drystone", "2026-11-01", "DescribeInstances"),
    ],
)
@pytest.mark.parametrize("sign_method", ["TC3-HMAC-SHA256", "HmacSHA1"])
@pytest.mark.parametrize("host", ["{}.drystone.internal:8080", "127.0.0.1:8080"])
def test_a_call_reaches_the_service_that_it_is_for(
    app: Application,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    version: str,
    action: str,
    sign_method: str,
    host: str,
) -> None:
    """S364: where the scope does not say it (v1 has none), the host or the action does."""
    answer = sent(
        app, monkeypatch, service=service, version=version, action=action, sign_method=sign_method,
        endpoint=host.format(service),
    )  # fmt: skip
    assert answer.code == "OK", answer.response
    if action == "DescribeInstances":
        assert ("InternetAccessible" in answer.response["InstanceSet"][0]) == (service == "cvm")


@pytest.mark.parametrize(
    ("service", "version", "action", "code"),
    [
        # The scope says another service than has the action.
        ("cvm", "2017-03-12", "DescribeDisks", "InvalidAction"),
        ("cbs", "2017-03-12", "DescribeZones", "InvalidAction"),
        ("sts", "2018-08-13", "GetResources", "InvalidAction"),
        ("sts", "2018-08-13", "AssumeRole", "UnsupportedOperation"),
        ("cvm", "2017-03-12", "RunInstances", "UnsupportedOperation"),
        # It is none of those of this version.
        ("tag", "2017-03-12", "DescribeDisks", "AuthFailure.SignatureFailure"),
        ("cbs", "2018-08-13", "GetResources", "AuthFailure.SignatureFailure"),
        ("drystone", "2018-08-13", "GetResources", "AuthFailure.SignatureFailure"),
    ],
)
def test_a_signature_for_one_service_does_not_do_for_another(
    app: Application, monkeypatch: pytest.MonkeyPatch, service: str, version: str, action: str, code: str
) -> None:
    """S364"""
    assert sent(app, monkeypatch, service=service, version=version, action=action).code == code


def test_the_caller_is_told_its_account(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = sent(app, monkeypatch, service="sts", version="2018-08-13", action="GetCallerIdentity", region="")
    assert {key: answer.response[key] for key in ("AccountId", "UserId", "PrincipalId", "Type", "Arn")} == {
        "AccountId": ACCOUNT, "UserId": ACCOUNT, "PrincipalId": ACCOUNT, "Type": "CAMUser",
        "Arn": f"qcs::cam:{ACCOUNT}:uin/{ACCOUNT}",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("qcs::cvm:ap-local:uin/:volume/disk-1", "disk-1"),
        ("qcs::cvm:ap-local:uin/100000000001:volume/disk-1", "disk-1"),
        ("qcs::cvm:ap-local:uin/:snapshot/snap-1", "snap-1"),
        ("qcs::cbs:ap-local::instance/disk-1", "disk-1"),
        ("qcs::cbs:ap-local::volume/snap-1", "snap-1"),
        ("qcs:id/0:cbs:ap-local:uin/100000000001:disk/disk-1", "disk-1"),
        ("qcs::cvm::uin/:volume/disk-1", "disk-1"),
        ("qcs::cvm:ap-moon:uin/:volume/disk-1", None),
        ("qcs::cvm:ap-local:uin/100000000002:volume/disk-1", None),
        ("qcs::cos:ap-local:uin/:volume/disk-1", None),
    ],
)
def test_names_of_resources(name: str, found: str | None) -> None:
    """S361: what is elsewhere or another account's is no id, and so is not there."""
    assert resource_id(name, region=REGION, account_id="100000000001") == (found or name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "disk-1",
        "qcs::cvm:ap-local:uin/:volume",
        "qcs::cvm:ap-local:uin/:volume/",
        "qcs::cvm:x:y:z:a/b",
        "arn::cvm:ap-local:uin/:volume/disk-1",
        "qcs::cvm:ap-local:uin/:volume/disk-1/x",
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(WireError, match="is not the name of a resource") as refused:
        resource_id(name, region=REGION, account_id="1")
    assert refused.value.code == "InvalidParameterValue.ResourceDescriptionError"


def test_names_and_tokens_that_are_made_can_be_read() -> None:
    for own_id in ("disk-1", "snap-1"):
        assert resource_id(name_of(own_id, region="r", account_id="1"), region="r", account_id="1") == own_id
    assert pair_of(token_of(("k", "中"))) == ("k", "中")
    assert pair_of("") is pair_of(None) is None
    for token in ("x", "e30=", "WzFd", "é"):
        with pytest.raises(WireError) as refused:
            pair_of(token)
        assert refused.value.code == "InvalidParameter.PaginationTokenInvalid"


def test_the_trail_does_not_name_what_was_refused(
    app: Application, fake: FakeUseCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S363"""
    refused = RefusalError(Refusal.NO_SUCH_DISK, "There is no disk disk-2.")
    fake.tags._answers["change"] = {"disk-2": refused}
    names = [f"qcs::cbs:{REGION}::instance/{own_id}" for own_id in (DISK.id, "disk-2")]
    answer = sent(
        app, monkeypatch, service="tag", version="2018-08-13", action="TagResources",
        params={"ResourceList": names, "Tags": [{"TagKey": "k", "TagValue": "v"}]},
    )  # fmt: skip
    assert answer.response["FailedResources"] == [
        {
            "Resource": names[1],
            "Code": "InvalidParameterValue.ResourceDescriptionError",
            "Message": "There is no disk disk-2.",
        }
    ]
    assert [(row[1], row[2]) for row in fake.audit.rows] == [(DISK.id, "OK")]


async def _one_story(service: RealService) -> None:
    """Tags come by CBS and go by the neighbour; another account sees nothing of them."""
    made = await service.call(
        "CreateDisks", Placement={"Zone": ZONE}, DiskChargeType="POSTPAID_BY_HOUR", DiskType="CLOUD_SSD", DiskSize=20,
        DiskCount=2, Tags=[{"Key": "team", "Value": "blue"}],
    )  # fmt: skip
    disk, second = made["DiskIdSet"]
    name = f"qcs::cvm:{REGION}:uin/:volume/{disk}"
    await service.idle()
    await service.call(
        "ModifyResourceTags", Resource=name, ReplaceTags=[{"TagKey": "team", "TagValue": "red"}]
    )  # fmt: skip
    (shown,) = (await service.call("DescribeDisks", DiskIds=[disk]))["DiskSet"]
    assert shown["Tags"] == [{"Key": "team", "Value": "red"}]
    about: dict[str, Any] = {"ServiceType": "cvm", "ResourcePrefix": "volume", "ResourceRegion": REGION}
    told = await service.call("DescribeResourceTagsByResourceIds", ResourceIds=[disk], Limit=20, **about)
    assert [(one["ResourceId"], one["TagKey"], one["TagValue"]) for one in told["Tags"]] == [(disk, "team", "red")]
    for other in ({"ServiceType": "ccs"}, {"ResourceRegion": "ap-moon"}, {"Category": "System"}):
        nothing = await service.call("DescribeResourceTagsByResourceIds", **{**about, "ResourceIds": [disk], **other})
        assert (nothing["TotalCount"], nothing["Tags"]) == (0, [])
    assert (await service.call("GetResources", ResourceList=[name]))["ResourceTagMappingList"][0]["Resource"] == name
    page = await service.call("GetResources", MaxResults=1)
    rest = await service.call("GetResources", MaxResults=1, PaginationToken=page["PaginationToken"])
    names = [one["Resource"] for one in page["ResourceTagMappingList"] + rest["ResourceTagMappingList"]]
    assert sorted(named.rpartition("/")[2] for named in names) == sorted([disk, second])
    await service.call("CreateTag", TagKey="made", TagValue="1")
    first = await service.call("GetTags", MaxResults=1)
    more = await service.call("GetTags", MaxResults=50, PaginationToken=first["PaginationToken"])
    assert [(one["TagKey"], one["TagValue"]) for one in first["Tags"] + more["Tags"]] == [
        ("made", "1"), ("team", "blue"), ("team", "red"),
    ]  # fmt: skip
    assert more["PaginationToken"] == ""
    other_account = (await service.call("CreateAccount", AccountName="other"))["AccountId"]
    for action, how in (
        ("ModifyResourceTags", {"Resource": name, "DeleteTags": [{"TagKey": "team"}]}),
        ("UnTagResources", {"ResourceList": [name], "TagKeys": ["team"]}),
    ):
        refused = await service.send(action, _body(how), account=other_account)
        assert refused["Error"]["Code"] == "InvalidParameterValue.ResourceDescriptionError"
    assert (await service.call("GetTags", account=other_account))["Tags"] == []
    assert (await service.call("GetResources", account=other_account))["ResourceTagMappingList"] == []
    filters = [{"Name": "resource-id", "Values": [disk]}, {"Name": "outcome", "Values": ["OK"]}]
    trail = (await service.call("DescribeAuditTrail", Filters=filters))["AuditEntrySet"]
    assert "ModifyResourceTags" in [one["Action"] for one in trail]


def _body(parameters: object) -> bytes:
    return json.dumps(parameters).encode()


def test_tags_change_by_whichever_service_is_called(tmp_path: Path) -> None:
    """S360, S361"""

    async def run() -> None:
        async with real_service(tmp_path / "d") as service:
            await _one_story(service)

    asyncio.run(run())

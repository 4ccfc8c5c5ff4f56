"""Each shape of request that real clients were recorded to send is understood, at whatever address."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from drystone.api.app import Application, build_application
from drystone.api.settings import ApiSettings
from tests.api.asgi import send_signed
from tests.api.client_requests import PLAIN, recorded, request_of, tc3
from tests.api.fakes import FakeUseCases
from tests.api.signing import NOW_S, REGION


@pytest.fixture
def application() -> Application:
    return build_application(
        FakeUseCases().typed, settings=ApiSettings(region=REGION, rate_limits=False), clock=lambda: float(NOW_S),
        steady=lambda: float(NOW_S), monotonic=lambda: 0.0, request_id=lambda: str(uuid.uuid4()),
        registry=CollectorRegistry(),
    )  # fmt: skip


def answered(application: Application, row: Mapping[str, Any]) -> str:
    sent = row["parameters"] if isinstance(row["parameters"], Mapping) else PLAIN[row["action"]]
    answer = asyncio.run(send_signed(application, request_of(row, sent)))
    return answer.code if answer.code == "OK" else f"{answer.code}: {answer.message}"


@pytest.mark.parametrize("client", ["terraform", "csi", "custodian", "sdks"])
def test_each_recorded_shape_is_understood(application: Application, client: str) -> None:
    rows = recorded(client)
    assert rows
    for row in rows:
        code = answered(application, row)
        where = (client, row["method"], row["signed"], row["service"], row["action"], code)
        # What it was refused for when it was recorded is not there now: nothing behind the wire refuses.
        assert code == "OK", where


@pytest.mark.parametrize("client", ["SDK_NODEJS_4.1.313", "SDK_JAVA_3.1.667", "SDK_GO_1.3.212"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "cbs.drystone.internal:8080", "192.0.2.7"])
def test_any_address_is_signed_for(application: Application, client: str, method: str, host: str) -> None:
    """These clients call what stands before the first dot of their endpoint the service."""
    kind = "application/json" if method == "POST" else "application/x-www-form-urlencoded"
    row = {"client": client, "method": method, "content_type": kind, "service": host.partition(".")[0],
           "version": "2017-03-12", "action": "DescribeDisks"}  # fmt: skip
    answer = asyncio.run(send_signed(application, tc3(row, PLAIN["DescribeDisks"], host)))
    assert answer.code == "OK", answer.response
    for service in ("128", "drystone", "tag"):
        wrong = asyncio.run(send_signed(application, tc3({**row, "service": service}, {}, host)))
        assert wrong.code == "AuthFailure.SignatureFailure", service

"""Requests as the official Python client signs them, without a network."""

import types
from collections.abc import Mapping
from typing import Any

import pytest
from tencentcloud.common import abstract_client
from tencentcloud.common.credential import Credential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from drystone.api.signature import SignedRequest

SECRET_ID = "AKIDgoldengoldengoldengoldengoldengo"
SECRET_KEY = "goldenkeygoldenkeygoldenkeygoldenkeygold"
NOW_S = 1_790_000_000
REGION = "ap-local"


def sdk_request(
    monkeypatch: pytest.MonkeyPatch,
    *,
    action: str = "DescribeDisks",
    params: Mapping[str, object] | None = None,
    sign_method: str = "TC3-HMAC-SHA256",
    method: str = "POST",
    endpoint: str = "127.0.0.1:8080",
    service: str = "cbs",
    version: str = "2017-03-12",
    now_s: float = NOW_S,
    unsigned: bool = False,
    token: str | None = None,
    secret_key: str = SECRET_KEY,
    region: str = REGION,
) -> SignedRequest:
    """Return the request that the SDK would send, signed at `now_s`."""
    monkeypatch.setattr(abstract_client, "time", types.SimpleNamespace(time=lambda: now_s))
    monkeypatch.setattr(abstract_client.random, "randint", lambda *_: 4711)
    profile = ClientProfile(
        signMethod=sign_method, httpProfile=HttpProfile(protocol="http", endpoint=endpoint, reqMethod=method)
    )
    profile.unsignedPayload = unsigned
    client: Any = abstract_client.AbstractClient(Credential(SECRET_ID, secret_key, token), region, profile)
    client._service, client._apiVersion = service, version
    client.request_client = "SDK_PYTHON_golden"
    request = RequestInternal(endpoint, method, "/")
    client._build_req_inter(action, dict(params or {}), request)
    headers = {name.lower(): str(value) for name, value in request.header.items()}
    headers.setdefault("host", endpoint)
    if sign_method != "TC3-HMAC-SHA256" and method == "GET":
        headers.pop("content-type", None)
    return SignedRequest(
        method=method,
        query=str(request.data) if method == "GET" else "",
        headers=headers,
        body=b"" if method == "GET" else str(request.data).encode(),
    )

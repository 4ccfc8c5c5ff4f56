"""Calls of an ASGI application without a network, and the toy service that most tests of the wire use."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, cast

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from drystone.api.actions import Action, Context, Fields, Service
from drystone.api.agent import LocalAgent
from drystone.api.app import Application
from drystone.api.dispatch import Dispatcher
from drystone.api.parameters import Unsigned
from drystone.api.server import Served
from drystone.api.settings import ApiSettings
from drystone.api.signature import SignedRequest
from drystone.domain.ids import AccountId
from drystone.service.caller import Caller, Identity
from drystone.service.calls.use_cases import UseCases
from tests.api.signing import NOW_S, REGION, SECRET_ID, SECRET_KEY

ACCOUNT = AccountId("100000000001")


class Toy(Action, frozen=True, kw_only=True):
    """The toy actions; the use cases are a list of one behaviour, or of none."""

    disk_ids: tuple[str, ...] = ()
    count: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> Fields:
        for behave in cast("list[Behaviour]", on.calls):
            return await behave(caller, self)
        return {"DiskIds": list(self.disk_ids)}


Behaviour = Callable[[Caller, Toy], Awaitable[Fields]]


class DescribeDisks(Toy, frozen=True, kw_only=True):
    """A read."""


class TerminateDisks(Toy, frozen=True, kw_only=True):
    """A change."""


def toy_service(name: str, version: str, *, regional: bool) -> Service:
    service = Service(name=name, version=version, regional=regional, not_served=frozenset({"CreateRemoteDisks"}))
    service.read(DescribeDisks)
    service.change(TerminateDisks)
    return service


class Keys:
    """One account with one key."""

    def __init__(self) -> None:
        self.keys = {SECRET_ID: Identity(account_id=ACCOUNT, admin=False, secret_key=SECRET_KEY)}
        self.failure: Exception | None = None

    async def __call__(self, secret_id: str, *, sparing: bool = False) -> Identity | None:  # noqa: ARG002 - the protocol's
        if self.failure is not None:
            raise self.failure
        return self.keys.get(secret_id)


class Trail:
    """Keeps audit rows in memory."""

    def __init__(self) -> None:
        self.rows: list[tuple[Caller, str, str]] = []
        self.failure: Exception | None = None

    async def record(self, caller: Caller, resource: str, code: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.rows.append((caller, resource, code))


@dataclass
class Rig:
    """An application and everything around it."""

    app: Application
    keys: Keys
    trail: Trail
    registry: CollectorRegistry
    clock: list[float]
    behaviour: list[Behaviour] = field(default_factory=list)


def request_ids() -> Callable[[], str]:
    counter = itertools.count(1)
    return lambda: f"00000000-0000-4000-a000-{next(counter):012x}"


def toy_rig(settings: ApiSettings | None = None) -> Rig:
    """Return an application with a read `DescribeDisks` and a change `TerminateDisks` of one behaviour."""
    behaviour: list[Behaviour] = []
    keys, trail, registry, clock = Keys(), Trail(), CollectorRegistry(), [float(NOW_S)]
    monotonic = lambda: clock[0]  # noqa: E731 - short
    dispatcher = Dispatcher(
        services=(
            toy_service("cbs", "2017-03-12", regional=True),
            toy_service("drystone", "2026-11-01", regional=False),
        ),
        agent=LocalAgent(Context(calls=cast("UseCases", behaviour), region=REGION, zone=UTC, clock=monotonic)),
        record=trail.record,
        settings=settings or ApiSettings(region=REGION, rate_limits=False), monotonic=monotonic,
        request_id=request_ids(), registry=registry,
    )  # fmt: skip
    app = Application(
        dispatcher=dispatcher, authenticate=keys, clock=lambda: clock[0], steady=lambda: clock[-1],
        monotonic=monotonic, registry=registry,
    )  # fmt: skip
    return Rig(app=app, keys=keys, trail=trail, registry=registry, clock=clock, behaviour=behaviour)


@dataclass
class Answer:
    status: int
    headers: Mapping[bytes, bytes]
    body: bytes

    @property
    def response(self) -> Mapping[str, Any]:
        decoded = json.loads(self.body)
        assert set(decoded) == {"Response"}
        response: Mapping[str, Any] = decoded["Response"]
        return response

    @property
    def code(self) -> str:
        error = self.response.get("Error")
        return "OK" if error is None else str(error["Code"])

    @property
    def message(self) -> str:
        return str(self.response["Error"]["Message"])


def check_envelope(answer: Answer) -> None:
    """Every answer on `/` is HTTP 200, exactly application/json, and names its request."""
    assert answer.status == 200
    assert answer.headers[b"content-type"] == b"application/json"
    assert answer.headers[b"content-length"] == str(len(answer.body)).encode()
    request_id = answer.response["RequestId"]
    assert len(request_id) == 36
    if "Error" in answer.response:
        assert set(answer.response) == {"Error", "RequestId"}
        assert set(answer.response["Error"]) == {"Code", "Message"}
        assert answer.message.endswith(f"({request_id[-12:]})")


async def asgi(
    app: Served,
    *,
    method: str = "POST",
    path: str = "/",
    query: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
    chunks: Iterable[bytes] = (b"",),
    disconnect: bool = False,
    client: str = "192.0.2.7",
) -> Answer | None:
    """Send one request; None when the application gave no answer."""
    pieces = list(chunks)
    messages = [
        {"type": "http.request", "body": piece, "more_body": disconnect or index < len(pieces) - 1}
        for index, piece in enumerate(pieces)
    ]
    messages.append({"type": "http.disconnect"})
    sent: list[dict[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        await asyncio.sleep(0)
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": list(headers),
        "client": (client, 1234),
    }
    await app(scope, receive, send)
    if not sent:
        return None
    start, body = sent
    return Answer(start["status"], dict(start["headers"]), body["body"])


async def send_signed(app: Served, request: SignedRequest, **headers: str) -> Answer:
    """Send a signed request, with headers changed or added after signing (`x_tc_region="..."`)."""
    changed = {**request.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = replace(request, headers=changed)
    answer = await asgi(
        app,
        method=request.method,
        query=request.query.encode("latin-1"),
        headers=[(name.encode(), value.encode("latin-1")) for name, value in request.headers.items()],
        chunks=(request.body,),
    )
    assert answer is not None
    check_envelope(answer)
    return answer

"""The ASGI application of signed calls: reads them, verifies them, and answers with an envelope."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from typing import Any

import msgspec
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from drystone.api.actions import Context, Service, chosen_service
from drystone.api.admission import prove
from drystone.api.agent import LocalAgent
from drystone.api.call import (
    TC3_BODY_BYTES_MAX,
    V1_BODY_BYTES_MAX,
    Call,
    form_secret_id,
    headers_of,
    read_call,
)
from drystone.api.dispatch import DisconnectedError, Dispatcher, Progress, Receive, Verified
from drystone.api.envelope import CONTENT_TYPE
from drystone.api.metrics_page import CONTENT_TYPE as METRICS_TYPE
from drystone.api.metrics_page import MetricsPage
from drystone.api.refusals import WireError
from drystone.api.services import SERVICES
from drystone.api.settings import ApiSettings
from drystone.api.signature import (
    Claim,
    SignedRequest,
    first_label,
    tc3_authorization,
    tc3_claim,
    v1_claim,
)
from drystone.api.tries import SPENT_BODY_BYTES_MAX, Tries, UsedSignatures, too_many
from drystone.service.caller import Caller, Identity
from drystone.service.calls.use_cases import Authenticate, UseCases

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_LOGGED_CHARS_MAX = 200
_HASHED_HERE_BYTES_MAX = 256 << 10
"""A longer body is hashed on a thread: 10 MB take the event loop's time of dozens of calls."""


@dataclass(slots=True, kw_only=True, eq=False)
class Application:
    """Serves the API on `/`, liveness on `/healthz` and Prometheus metrics on `/metrics`.

    Every answer on `/` is HTTP 200 with an envelope, whatever was sent: the clients take any other status for a
    broken network and hide the code.
    """

    dispatcher: Dispatcher
    """Runs the calls; calls that come another way than signed go through it too."""
    authenticate: Authenticate
    clock: Callable[[], float]
    """Seconds since the epoch, UTC, by this machine."""
    steady: Callable[[], float]
    """The same by the steady clock."""
    monotonic: Callable[[], float]
    registry: CollectorRegistry
    """What `/metrics` shows."""
    _tries: Tries = field(init=False)
    _used: UsedSignatures = field(init=False)
    _metrics: MetricsPage = field(init=False)

    def __post_init__(self) -> None:
        self._tries = Tries(monotonic=self.monotonic)
        self._used = UsedSignatures(monotonic=self.monotonic)
        token = self.dispatcher.settings.metrics_token
        self._metrics = MetricsPage(registry=self.registry, token=token, monotonic=self.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        assert scope["type"] == "http", "the server is set up without lifespan and websockets"
        if scope["path"] == "/healthz":
            await _answer(send, b'{"Status":"OK"}', CONTENT_TYPE)
        elif scope["path"] == "/metrics":
            await self._show_metrics(scope, send)
        else:
            await self._serve(scope, receive, send)

    async def _show_metrics(self, scope: Scope, send: Send) -> None:
        if self._metrics.allows(scope):
            await _answer(send, await self._metrics.text(), METRICS_TYPE)
        else:
            text = b"Send DRYSTONE_METRICS_TOKEN of credentials.env: Authorization: Bearer <token>\n"
            await _answer(send, text, b"text/plain; charset=utf-8", status=401)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self.dispatcher.answer(lambda progress: self._verified(scope, receive, progress))
        except DisconnectedError:
            return
        await _answer(send, body, CONTENT_TYPE)

    async def _verified(self, scope: Scope, receive: Receive, progress: Progress) -> Verified:
        method = scope["method"]
        if method not in {"GET", "POST"}:
            raise WireError("UnsupportedProtocol", f"The method {method[:20]} is not supported; use POST or GET.")
        if scope["path"] != "/":
            raise WireError("InvalidRequest", "The API is served on the path `/` only.")
        headers = headers_of(scope["headers"])
        request = SignedRequest(
            method=method, query=scope["query_string"].decode("latin-1"), headers=headers, body=b""
        )  # fmt: skip
        client = scope.get("client")
        address = client[0] if client else ""
        verified = self._tc3 if "authorization" in headers else self._v1
        call, service, sender = await verified(request, receive, progress, address)
        prove(scope, sender.identity.account_id)
        if call.token:
            raise WireError("AuthFailure.TokenFailure", "There are no temporary keys here; send no token.")
        caller = Caller(
            account_id=sender.identity.account_id, admin=sender.identity.admin, secret_id=sender.secret_id,
            request_id=progress.request_id, action=call.action, source=address,
        )  # fmt: skip
        return Verified(
            service=service, action=call.action, caller=caller, region=call.region, parameters=call.parameters
        )

    async def _tc3(
        self, request: SignedRequest, receive: Receive, progress: Progress, address: str
    ) -> tuple[Call, Service, "_Sender"]:
        """Verify a request whose head says all but the parameters: nothing else is taken of one without a key."""
        call = read_call(request)
        sent = tc3_authorization(request.headers)
        service = self._begun(call, progress, sent.service, first_label(request.headers.get("host", "")))
        sender = await self._sender(sent.secret_id, address)
        most = SPENT_BODY_BYTES_MAX if sender.spent else TC3_BODY_BYTES_MAX
        try:
            body = await self.dispatcher.body(
                request.headers, receive, progress, bytes_max=most, known=not sender.spent
            )  # fmt: skip
        except WireError as error:
            raise too_many(address) if sender.spent and error.code == "RequestSizeLimitExceeded" else error from None
        request = replace(request, body=body)
        host_names = self.dispatcher.settings.gateway_host_names

        def claimed() -> Claim:
            return self._dated(
                lambda now_s: tc3_claim(request, sent, service=service.name, now_s=now_s, host_names=host_names)
            )

        claim = claimed() if len(body) <= _HASHED_HERE_BYTES_MAX else await asyncio.to_thread(claimed)
        self._verify(claim, sender, address)
        return replace(call, parameters=body) if request.method == "POST" else call, service, sender

    async def _v1(
        self, request: SignedRequest, receive: Receive, progress: Progress, address: str
    ) -> tuple[Call, Service, "_Sender"]:
        """Verify a request whose query or form says all; the key is looked up before the rest is decoded."""
        body = await self.dispatcher.body(
            request.headers, receive, progress, bytes_max=V1_BODY_BYTES_MAX, known=False
        )  # fmt: skip
        request = replace(request, body=body)
        # Found without decoding; a client that escapes it is known a little later.
        named = form_secret_id(request)
        sender = await self._sender(named, address) if named else None
        if sender is None and not self._tries.take(address):
            raise too_many(address)
        call = read_call(request)
        service = self._begun(call, progress, first_label(request.headers.get("host", "")))
        host_names = self.dispatcher.settings.gateway_host_names
        claim = self._dated(lambda now_s: v1_claim(request, call.form, now_s=now_s, host_names=host_names))
        if sender is None:
            sender = await self._sender(claim.secret_id, address)
            self._tries.give_back(address)
        self._verify(claim, sender, address)
        return call, service, sender

    def _begun(self, call: Call, progress: Progress, *names: str) -> Service:
        """Note what a request says of itself; return the service that it is for, by what may be its name."""
        progress.client = call.client[:_LOGGED_CHARS_MAX]
        progress.trace_id = call.trace_id[:_LOGGED_CHARS_MAX]
        service = chosen_service(self.dispatcher.services, version=call.version, names=names, action=call.action)
        if call.action in service.known:
            progress.action = call.action
        return service

    async def _sender(self, secret_id: str, address: str) -> "_Sender":
        """Return whose key it is, as the request says."""
        taken = self._tries.take(address)
        identity = await self.authenticate(secret_id, sparing=not taken)
        if identity is None:
            if not taken:
                raise too_many(address)
            raise WireError("AuthFailure.SecretIdNotFound", "The SecretId is unknown, deleted or disabled.")
        if taken:
            self._tries.give_back(address)
        return _Sender(secret_id=secret_id, identity=identity, spent=not self._tries.take(address, secret_id))

    def _dated(self, read: Callable[[float], Claim]) -> Claim:
        """Read a signature by this machine's clock, or by the steady one."""
        try:
            return read(self.clock())
        except WireError as error:
            if error.code != "AuthFailure.SignatureExpire":
                raise
        return read(self.steady())

    def _verify(self, claim: Claim, sender: "_Sender", address: str) -> None:
        """Refuse a request unless it was signed by whom it names, and not used from elsewhere."""
        assert claim.secret_id == sender.secret_id, "both read the same field"
        try:
            claim.verify(sender.identity.secret_key)
        except WireError as error:
            raise too_many(address) if sender.spent else error from None
        if not sender.spent:
            self._tries.give_back(address, sender.secret_id)
        # The clock that is behind accepts it longest.
        self._used.admit(claim.signature, address, for_s=claim.until_s - min(self.clock(), self.steady()))


class _Sender(msgspec.Struct, frozen=True, kw_only=True):
    """Whose key a request names, before it is verified; and whether that key has no tries left at this address."""

    secret_id: str
    identity: Identity
    spent: bool


async def _answer(send: Send, body: bytes, content_type: bytes, *, status: int = 200) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def build_application(
    use_cases: UseCases,
    *,
    settings: ApiSettings,
    clock: Callable[[], float],
    steady: Callable[[], float],
    monotonic: Callable[[], float],
    request_id: Callable[[], str],
    registry: CollectorRegistry,
) -> Application:
    """Return the application that serves all services over these use cases.

    Arguments are as for `Dispatcher` and `Application`.
    """
    zone = timezone(timedelta(hours=settings.time_zone_offset_hours))
    dispatcher = Dispatcher(
        services=SERVICES, agent=LocalAgent(Context(calls=use_cases, region=settings.region, zone=zone, clock=clock)),
        record=use_cases.audit.record, settings=settings, monotonic=monotonic, request_id=request_id, registry=registry,
    )  # fmt: skip
    return Application(
        dispatcher=dispatcher, authenticate=use_cases.authenticate, clock=clock, steady=steady, monotonic=monotonic,
        registry=registry,
    )  # fmt: skip

"""The ASGI application of signed calls: reads them, verifies them, and answers with an envelope."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from drystone.api.actions import Service
from drystone.api.call import Call, Scheme, body_bytes_max, headers_of, read_call
from drystone.api.cbs import cbs_service
from drystone.api.dispatch import DisconnectedError, Dispatcher, Progress, Receive, Verified
from drystone.api.drystone import drystone_service
from drystone.api.envelope import CONTENT_TYPE
from drystone.api.ports import Audit, Authenticate, UseCases
from drystone.api.render import CbsRenderer
from drystone.api.settings import ApiSettings
from drystone.api.signature import SignedRequest, tc3_claim, v1_claim
from drystone.domain.errors import RefusalError
from drystone.service.caller import Caller

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_LOGGED_CHARS_MAX = 200


class Application:
    """Serves the API on `/`, liveness on `/healthz` and Prometheus metrics on `/metrics`.

    Every answer on `/` is HTTP 200 with an envelope, whatever was sent: the clients take any other status for a
    broken network and hide the code.

    Args:
        services: The services by version.
        authenticate: Looks keys up.
        audit: Where calls that change something are recorded.
        settings: Limits and names.
        clock: Seconds since the epoch, UTC.
        monotonic: A clock in seconds that never goes back.
        request_id: Makes the id of a request, a UUID.
        registry: Where the metrics are registered.

    Attributes:
        dispatcher: Runs the calls; calls that come another way than signed go through it too.
    """

    def __init__(
        self,
        *,
        services: Sequence[Service],
        authenticate: Authenticate,
        audit: Audit,
        settings: ApiSettings,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        request_id: Callable[[], str],
        registry: CollectorRegistry,
    ) -> None:
        self.dispatcher = Dispatcher(
            services=services,
            audit=audit,
            settings=settings,
            monotonic=monotonic,
            request_id=request_id,
            registry=registry,
        )
        self._services = {service.version: service for service in services}
        self._authenticate = authenticate
        self._settings = settings
        self._clock = clock
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        assert scope["type"] == "http", "the server is set up without lifespan and websockets"
        if scope["path"] == "/healthz":
            await _answer(send, b'{"Status":"OK"}', CONTENT_TYPE)
        elif scope["path"] == "/metrics":
            await _answer(send, generate_latest(self._registry), CONTENT_TYPE_LATEST.encode())
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self.dispatcher.answer(lambda progress: self._verified(scope, receive, progress))
        except DisconnectedError:
            return
        await _answer(send, body, CONTENT_TYPE)

    async def _verified(self, scope: Scope, receive: Receive, progress: Progress) -> Verified:
        method = scope["method"]
        if method not in {"GET", "POST"}:
            raise RefusalError("UnsupportedProtocol", f"The method {method[:20]} is not supported; use POST or GET.")
        if scope["path"] != "/":
            raise RefusalError("InvalidRequest", "The API is served on the path `/` only.")
        headers = headers_of(scope["headers"])
        request = SignedRequest(
            method=method,
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=await self.dispatcher.body(headers, receive, progress, bytes_max=body_bytes_max(headers)),
        )
        call = read_call(request)
        progress.client = call.client[:_LOGGED_CHARS_MAX]
        progress.trace_id = call.trace_id[:_LOGGED_CHARS_MAX]
        service = self._services.get(call.version)
        if service is None:
            raise RefusalError(
                "NoSuchVersion",
                f"The version `{call.version[:50]}` does not exist; there are {', '.join(self._services)}.",
            )
        if call.action in service.known:
            progress.action = call.action
        caller = await self._caller(call, service, progress.request_id, scope)
        return Verified(
            service=service, action=call.action, caller=caller, region=call.region, parameters=call.parameters
        )

    async def _caller(self, call: Call, service: Service, request_id: str, scope: Scope) -> Caller:
        """Return who sent the call, once its signature holds."""
        now_s = self._clock()
        host_names = self._settings.gateway_host_names
        if call.scheme is Scheme.TC3:
            claim = tc3_claim(call.request, service=service.name, now_s=now_s, host_names=host_names)
        else:
            claim = v1_claim(call.request, call.form, now_s=now_s, host_names=host_names)
        identity = await self._authenticate(claim.secret_id)
        if identity is None:
            raise RefusalError("AuthFailure.SecretIdNotFound", "The SecretId is unknown, deleted or disabled.")
        claim.verify(identity.secret_key)
        if call.token:
            raise RefusalError("AuthFailure.TokenFailure", "There are no temporary keys here; send no token.")
        client = scope.get("client")
        return Caller(
            account_id=identity.account_id,
            admin=identity.admin,
            secret_id=claim.secret_id,
            request_id=request_id,
            action=call.action,
            source=client[0] if client else "",
        )


async def _answer(send: Send, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def build_application(
    use_cases: UseCases,
    *,
    settings: ApiSettings,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    request_id: Callable[[], str],
    registry: CollectorRegistry,
) -> Application:
    """Return the application that serves both services over these use cases; arguments as for `Application`."""
    renderer = CbsRenderer(time_zone_offset_hours=settings.time_zone_offset_hours)
    return Application(
        services=(cbs_service(use_cases, renderer=renderer, clock=clock), drystone_service(use_cases)),
        authenticate=use_cases.authenticate,
        audit=use_cases.audit,
        settings=settings,
        clock=clock,
        monotonic=monotonic,
        request_id=request_id,
        registry=registry,
    )

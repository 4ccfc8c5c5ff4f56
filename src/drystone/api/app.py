"""The ASGI application: one endpoint that verifies, decodes, limits, calls a use case and renders its result."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

from drystone.api.actions import Action, Fields, Service
from drystone.api.call import Call, Scheme, body_bytes_max, headers_of, read_call
from drystone.api.cbs import cbs_service
from drystone.api.drystone import drystone_service
from drystone.api.envelope import CONTENT_TYPE, failure, success
from drystone.api.limits import RateLimiter
from drystone.api.parameters import Parameters
from drystone.api.ports import Audit, Authenticate, UseCases
from drystone.api.render import CbsRenderer
from drystone.api.settings import ApiSettings
from drystone.api.signature import SignedRequest, tc3_claim, v1_claim
from drystone.domain.errors import RefusalError, SpaceError, UnavailableError
from drystone.service.caller import Caller

Scope = Mapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_log = structlog.get_logger(__name__)
_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LOGGED_CHARS_MAX = 200
_RESOURCE_CHARS_MAX = 1000
_UNKNOWN = "unknown"
_ID_PARAMETERS = ("disk_ids", "disk_id", "snapshot_ids", "snapshot_id", "instance_id", "account_id", "secret_id")
_ID_FIELDS = ("DiskIdSet", "SnapshotId", "InstanceId", "AccountId", "SecretId")


class _DisconnectedError(Exception):
    """The client went away before it had sent its request."""


@dataclass(slots=True)
class _Progress:
    """What is known of a request so far, for the log and the metrics."""

    action: str = _UNKNOWN
    account_id: str = ""
    client: str = ""
    trace_id: str = ""
    changes: bool = False
    buffered_bytes: int = 0


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
        self._services = {service.version: service for service in services}
        self._authenticate = authenticate
        self._audit = audit
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._request_id = request_id
        self._registry = registry
        self._limiter = RateLimiter(
            rate_per_s=settings.rate_per_action,
            rates_per_s=settings.rates_per_action,
            monotonic=monotonic,
        )
        self._calls = 0
        self._buffered_bytes = 0
        self._requests = Counter(
            "drystone_api_requests", "Requests by action and outcome.", ("action", "code"), registry=registry
        )
        self._latency = Histogram(
            "drystone_api_request_seconds",
            "Time from the first byte to the answer.",
            ("action", "code"),
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )

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
        request_id = self._request_id()
        progress = _Progress()
        started_s = self._monotonic()
        self._calls += 1
        try:
            code, body = await self._outcome(scope, receive, request_id, progress)
        except _DisconnectedError:
            return
        finally:
            self._calls -= 1
            self._buffered_bytes -= progress.buffered_bytes
        latency_s = self._monotonic() - started_s
        self._requests.labels(progress.action, code).inc()
        self._latency.labels(progress.action, code).observe(latency_s)
        log = _log.info if progress.changes else _log.debug
        log(
            "api.request",
            request_id=request_id,
            action=progress.action,
            code=code,
            account_id=progress.account_id,
            client=progress.client,
            trace_id=progress.trace_id,
            latency_ms=round(latency_s * 1000, 3),
        )
        await _answer(send, body, CONTENT_TYPE)

    async def _outcome(self, scope: Scope, receive: Receive, request_id: str, progress: _Progress) -> tuple[str, bytes]:
        """Return the code (`OK` or a refusal's) and the body of the answer."""
        try:
            return "OK", success(await self._call(scope, receive, request_id, progress), request_id)
        except _DisconnectedError:
            raise
        # The top of the task: whatever goes wrong, the client gets an envelope and the log gets the rest.
        except Exception as error:  # noqa: BLE001 - every failure becomes an envelope, and is logged here
            refusal = refusal_of(error, changes=progress.changes)
            if refusal is not _cause(error):
                level = _log.warning if isinstance(_cause(error), UnavailableError) else _log.error
                level("api.failed", request_id=request_id, action=progress.action, exc_info=error)
            return refusal.code, failure(refusal.code, refusal.message, request_id)

    async def _call(self, scope: Scope, receive: Receive, request_id: str, progress: _Progress) -> Fields:
        if self._calls > self._settings.calls_max:
            raise RefusalError(
                "ServiceUnavailable", f"{self._settings.calls_max} calls are in progress; try again shortly."
            )
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
            body=await self._body(headers, receive, progress),
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
        caller = await self._caller(call, service, request_id, scope)
        progress.account_id = caller.account_id
        action = self._action(call, service)
        if self._settings.rate_limits:
            self._limiter.admit(caller.account_id, action.name)
        progress.changes = action.changes
        parameters = action.decode(call.parameters)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            return await self._run(action, caller, parameters)

    async def _body(self, headers: Mapping[str, str], receive: Receive, progress: _Progress) -> bytes:
        bytes_max = body_bytes_max(headers)
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > bytes_max:
            raise _too_large(bytes_max)
        message = await receive()
        if not message.get("more_body"):
            return _chunk(message, bytes_max)
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.body_s_max):
                while True:
                    chunk = _chunk(message, bytes_max - len(body))
                    if self._buffered_bytes + len(chunk) > self._settings.buffered_bytes_max:
                        raise RefusalError("ServiceUnavailable", "Too many large requests are in progress; try again.")
                    # Given back when the call ends, however it ends.
                    self._buffered_bytes += len(chunk)
                    progress.buffered_bytes += len(chunk)
                    body += chunk
                    if not message.get("more_body"):
                        return bytes(body)
                    message = await receive()
        except TimeoutError:
            raise RefusalError(
                "InvalidRequest", f"The body did not arrive within {self._settings.body_s_max:g} s."
            ) from None

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

    def _action(self, call: Call, service: Service) -> Action:
        action = service.actions.get(call.action)
        if action is None and call.action in service.known:
            raise RefusalError("UnsupportedOperation", f"{call.action} is an action of CBS that is not served here.")
        if action is None:
            raise RefusalError(
                "InvalidAction", f"The action `{call.action[:100]}` does not exist in version {service.version}."
            )
        if not call.region and service.regional:
            raise RefusalError("MissingParameter", "The parameter `Region` is missing.")
        if call.region and call.region != self._settings.region:
            raise RefusalError(
                "UnsupportedRegion",
                f"The region `{call.region[:100]}` is not served here; `{self._settings.region}` is.",
            )
        return action

    async def _run(self, action: Action, caller: Caller, parameters: Parameters) -> Fields:
        if not action.changes:
            return await action.run(caller, parameters)
        try:
            fields = await action.run(caller, parameters)
        except Exception as error:
            await self._record(caller, resources_of(parameters, {}), refusal_of(error, changes=True).code)
            raise
        await self._record(caller, resources_of(parameters, fields), "OK")
        return fields

    async def _record(self, caller: Caller, resource: str, code: str) -> None:
        # The change is made or refused already: its answer must not depend on whether the trail could be written.
        try:
            await self._audit.record(caller, resource, code)
        except Exception:  # noqa: BLE001 - logged as an error; see above
            _log.exception("api.audit_lost", action=caller.action, resource=resource, code=code)


def refusal_of(error: Exception, *, changes: bool) -> RefusalError:
    """Return what a client is told of a failure: a refusal as it is, anything else without its details.

    Args:
        error: What was raised, possibly inside an exception group of one.
        changes: Whether the action changes something. A failed read is an InternalError, which clients try again by
            themselves; a failed change is not, since its outcome may be unknown.
    """
    cause = _cause(error)
    if isinstance(cause, RefusalError):
        return cause
    if isinstance(cause, SpaceError):
        return RefusalError("ResourceInsufficient", "There is not enough free space on this host for the call.")
    if isinstance(cause, UnavailableError) and changes:
        return RefusalError(
            "ServiceUnavailable", "A part of the service does not answer; look at the resource, then try again."
        )
    if isinstance(cause, UnavailableError):
        return RefusalError("InternalError", "A part of the service does not answer; try again.")
    return RefusalError("InternalError", "The service failed on this call; its log tells more under the request id.")


def resources_of(parameters: Parameters, fields: Fields) -> str:
    """Return the ids that a call named or made, separated by spaces, for the audit trail."""
    named = (getattr(parameters, name, None) for name in _ID_PARAMETERS)
    made = (fields.get(name) for name in _ID_FIELDS)
    ids: dict[str, None] = {}
    for value in (*named, *made):
        ids.update(dict.fromkeys(_texts(value)))
    return " ".join(ids)[:_RESOURCE_CHARS_MAX]


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return (text for text in value if isinstance(text, str))
    return ()


def _cause(error: BaseException) -> BaseException:
    """Return what a group of one was made of: a TaskGroup wraps even a single refusal."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _too_large(bytes_max: int) -> RefusalError:
    return RefusalError("RequestSizeLimitExceeded", f"The body is longer than {bytes_max} bytes.")


def _chunk(message: Message, bytes_max: int) -> bytes:
    if message["type"] == "http.disconnect":
        raise _DisconnectedError
    chunk: bytes = message.get("body", b"")
    if len(chunk) > bytes_max:
        raise _too_large(bytes_max)
    return chunk


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

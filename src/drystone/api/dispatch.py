"""The one way of every call, whoever sent it: limits, decoding, the use case, the trail, the log and the metrics.

What comes before it differs (a signature, or a browser's session) and ends in a `Verified` call; what follows does not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from drystone.api.actions import Action, Fields, Record, Service
from drystone.api.agent import NOTHING, Agent
from drystone.api.envelope import failure, success
from drystone.api.limits import CallsInProgress, RateLimiter
from drystone.api.parameters import Parameters, from_flat, from_json
from drystone.api.refusals import WireError, code_of, ends
from drystone.api.settings import ApiSettings
from drystone.domain.errors import RefusalError, SpaceError, UnavailableError, expected
from drystone.service.caller import Caller

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_log = structlog.get_logger(__name__)
_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RESOURCE_CHARS_MAX = 2000
"""Room for the hundred ids that one call may name, and more."""
UNKNOWN_S_MAX = 15.0
UNKNOWN_SHARE = 4
"""Of the time and the room for bodies, for those whose sender cannot be looked up before."""
_UNKNOWN = "unknown"
_ID_PARAMETERS = (
    "disk_ids",
    "disk_id",
    "snapshot_ids",
    "snapshot_id",
    "snapshot_group_ids",
    "snapshot_group_id",
    "auto_snapshot_policy_ids",
    "auto_snapshot_policy_id",
    "policy_id",
    "apply_disks",
    "resource_id",
    "resource_ids",
    "instance_id",
    "account_id",
    "account_ids",
    "disk_backup_id",
    "disk_backup_ids",
    "account_name",
    "secret_id",
    "operation_id",
    "event_ids",
    "path",
)
_ID_FIELDS = (
    "DiskIdSet",
    "DiskId",
    "SnapshotId",
    "SnapshotGroupId",
    "DiskBackupId",
    "AutoSnapshotPolicyIds",
    "AutoSnapshotPolicyId",
    "InstanceId",
    "AccountId",
    "SecretId",
    "OperationId",
)


class DisconnectedError(Exception):
    """The client went away before it had sent its request."""


@dataclass(slots=True)
class Progress:
    """What is known of a request so far, for the log and the metrics."""

    request_id: str
    service: str = ""
    action: str = _UNKNOWN
    account_id: str = ""
    client: str = ""
    trace_id: str = ""
    changes: bool = False
    buffered_bytes: int = 0
    unknown_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A call whose sender is known."""

    service: Service
    action: str
    caller: Caller
    region: str
    """The region that it names, or an empty string."""
    parameters: bytes | Mapping[str, str]
    """The JSON body, or flattened parameters without the common ones."""


@dataclass(slots=True, kw_only=True, eq=False)
class Dispatcher:
    """Runs verified calls and renders what became of them."""

    services: tuple[Service, ...]
    agent: Agent
    """Performs the calls."""
    record: Record
    """Records calls that change something."""
    settings: ApiSettings
    monotonic: Callable[[], float]
    request_id: Callable[[], str]
    """Makes the id of a request, a UUID."""
    registry: CollectorRegistry
    """Where the metrics are registered."""
    _limiter: RateLimiter = field(init=False)
    _in_progress: CallsInProgress = field(init=False)
    _calls: int = field(init=False, default=0)
    _buffered_bytes: int = field(init=False, default=0)
    _unknown_bytes: int = field(init=False, default=0)
    _requests: Counter = field(init=False)
    _latency: Histogram = field(init=False)

    def __post_init__(self) -> None:
        self._limiter = RateLimiter(
            rate_per_s=self.settings.rate_per_action, rates_per_s=self.settings.rates_per_action,
            rate_per_account_s=self.settings.rate_per_account, monotonic=self.monotonic,
        )  # fmt: skip
        self._in_progress = CallsInProgress(calls_max=self.settings.calls_per_account_max)
        labels = ("action", "code")
        self._requests = Counter(
            "drystone_api_requests", "Requests by action and outcome.", labels, registry=self.registry
        )
        self._latency = Histogram(
            "drystone_api_request_seconds", "Time from the first byte to the answer.", labels,
            buckets=_LATENCY_BUCKETS_S, registry=self.registry,
        )  # fmt: skip

    async def answer(self, verify: Callable[[Progress], Awaitable[Verified]]) -> bytes:
        """Return the body of the answer to one request: an envelope, whatever happens.

        Args:
            verify: Reads the request and finds out who sent it; it may refuse. It notes what it learns.

        Raises:
            DisconnectedError: There is nobody to answer.
        """
        progress = Progress(request_id=self.request_id())
        started_s = self.monotonic()
        try:
            code, body = await self._outcome(verify, progress)
        finally:
            self._buffered_bytes -= progress.buffered_bytes
            self._unknown_bytes -= progress.unknown_bytes
        latency_s = self.monotonic() - started_s
        self._requests.labels(progress.action, code).inc()
        self._latency.labels(progress.action, code).observe(latency_s)
        log = _log.info if progress.changes else _log.debug
        log(
            "api.request",
            request_id=progress.request_id,
            action=progress.action,
            code=code,
            account_id=progress.account_id,
            client=progress.client,
            trace_id=progress.trace_id,
            latency_ms=round(latency_s * 1000, 3),
        )
        return body

    async def body(
        self, headers: Mapping[str, str], receive: Receive, progress: Progress, *, bytes_max: int, known: bool = True
    ) -> bytes:
        """Return the body of a request; what all bodies together may take is bounded.

        Args:
            headers: The request's.
            receive: Gives the body's parts.
            progress: Notes what the body takes, until the call has ended.
            bytes_max: How long it may be.
            known: Whether the request names a key that there is. Bodies of others have less room and time, of their
                own: half-sent ones must not take those of who has a key.

        Raises:
            WireError: `RequestSizeLimitExceeded`, `ServiceUnavailable`, or `InvalidRequest` for one that is slow.
            DisconnectedError: The client went away.
        """
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > bytes_max:
            raise _too_large(bytes_max)
        body = bytearray()
        seconds = self.settings.body_s_max if known else min(UNKNOWN_S_MAX, self.settings.body_s_max)
        try:
            async with asyncio.timeout(seconds):
                message = await receive()
                if not message.get("more_body"):
                    return _chunk(message, bytes_max)
                while True:
                    chunk = _chunk(message, bytes_max - len(body))
                    self._hold(len(chunk), progress, known=known)
                    body += chunk
                    if not message.get("more_body"):
                        return bytes(body)
                    message = await receive()
        except TimeoutError:
            raise WireError("InvalidRequest", f"The body did not arrive within {seconds:g} s.") from None

    def _hold(self, count: int, progress: Progress, *, known: bool) -> None:
        """Take room for a part of a body; it is given back when the call ends, however it ends.

        Raises:
            WireError: `ServiceUnavailable`: there is none.
        """
        held, most = (
            (self._buffered_bytes, self.settings.buffered_bytes_max)
            if known
            else (self._unknown_bytes, self.settings.buffered_bytes_max // UNKNOWN_SHARE)
        )
        if held + count > most:
            raise WireError("ServiceUnavailable", "Too many large requests are in progress; try again.")
        if known:
            self._buffered_bytes += count
            progress.buffered_bytes += count
        else:
            self._unknown_bytes += count
            progress.unknown_bytes += count

    async def _outcome(
        self, verify: Callable[[Progress], Awaitable[Verified]], progress: Progress
    ) -> tuple[str, bytes]:
        """Return the code (`OK` or a refusal's) and the body of the answer."""
        request_id = progress.request_id
        try:
            return "OK", success(await self._call(verify, progress), request_id)
        except DisconnectedError:
            raise
        # The top of the task: whatever goes wrong, the client gets an envelope and the log gets the rest.
        except Exception as error:  # noqa: BLE001 - every failure becomes an envelope, and is logged here
            refusal, cause = refusal_of(error, progress.action, changes=progress.changes), expected(error)
            if not isinstance(cause, RefusalError | WireError):
                level = _log.warning if isinstance(cause, UnavailableError) else _log.error
                level("api.failed", request_id=request_id, action=progress.action, exc_info=error)
            if progress.service and ends(progress.service, progress.action, refusal.code) is None:
                _log.error("api.refusal_not_in_table", action=progress.action, code=refusal.code)
            return refusal.code, failure(refusal.code, refusal.message, request_id)

    async def _call(self, verify: Callable[[Progress], Awaitable[Verified]], progress: Progress) -> Fields:
        call = await verify(progress)
        progress.service = call.service.name
        # Counted from here: who has sent half a request takes nobody's turn.
        if self._calls >= self.settings.calls_max:
            raise WireError(
                "ServiceUnavailable", f"{self.settings.calls_max} calls are in progress; try again shortly."
            )
        self._calls += 1
        try:
            return await self._verified(call, progress)
        finally:
            self._calls -= 1

    async def _verified(self, call: Verified, progress: Progress) -> Fields:
        progress.account_id = call.caller.account_id
        action = self._action(call)
        if self.settings.rate_limits:
            self._limiter.admit(call.caller.account_id, action.__name__)
        progress.changes = action.changes
        sent = call.parameters
        parameters = from_json(sent, action) if isinstance(sent, bytes) else from_flat(sent, action)
        with self._in_progress.hold(call.caller.account_id):
            bound = structlog.contextvars.bind_contextvars(request_id=progress.request_id)
            try:
                return await self._run(parameters, call.caller)
            finally:
                structlog.contextvars.reset_contextvars(**bound)

    def _action(self, call: Verified) -> type[Action]:
        service = call.service
        action = service.actions.get(call.action)
        if action is None and call.action in service.known:
            raise WireError("UnsupportedOperation", f"{call.action} of {service.name} is not served here.")
        if action is None:
            raise WireError(
                "InvalidAction",
                f"The action `{call.action[:100]}` does not exist in {service.name} {service.version}.",
            )
        if not call.region and service.regional:
            raise WireError("MissingParameter", "The parameter `Region` is missing.")
        if call.region and call.region != self.settings.region:
            raise WireError(
                "UnsupportedRegion",
                f"The region `{call.region[:100]}` is not served here; `{self.settings.region}` is.",
            )
        return action

    async def _run(self, action: Action, caller: Caller) -> Fields:
        if not action.changes:
            return await self.agent.perform(action, caller)
        try:
            fields = await self.agent.perform(action, caller)
        except Exception as error:
            code = refusal_of(error, caller.action, changes=True).code
            await self._record(caller, resources_of(action, NOTHING), code)
            raise
        await self._record(caller, resources_of(action, fields), "OK")
        return fields

    async def _record(self, caller: Caller, resource: str, code: str) -> None:
        # The change is made or refused already: its answer must not depend on whether the trail could be written.
        try:
            await self.record(caller, resource, code)
        except Exception:  # noqa: BLE001 - logged as an error; see above
            _log.exception("api.audit_lost", action=caller.action, resource=resource, code=code)


def refusal_of(error: Exception, action: str, *, changes: bool) -> WireError:
    """Return what a client is told of a failure: a refusal as it is, anything else without its details.

    Args:
        error: What was raised, possibly inside an exception group of one.
        action: Which action raised it.
        changes: Whether the action changes something. A failed read is an InternalError, which clients try again by
            themselves; a failed change is not, since its outcome may be unknown.
    """
    cause = expected(error)
    if isinstance(cause, WireError):
        return cause
    if isinstance(cause, RefusalError):
        return WireError(code_of(cause.kind, action), cause.message)
    if isinstance(cause, SpaceError):
        return WireError(
            "ResourceInsufficient",
            "This host has no free space, or no free inodes, for the call; delete what is not needed, then try again.",
        )
    if isinstance(cause, UnavailableError) and changes:
        text = cause.shown or "A part of the service does not answer; look at the resource, then try again."
        return WireError("ServiceUnavailable", text)
    if isinstance(cause, UnavailableError):
        return WireError("InternalError", cause.shown or "A part of the service does not answer; try again.")
    return WireError("InternalError", "The service failed on this call; its log tells more under the request id.")


def resources_of(parameters: Parameters, fields: Fields) -> str:
    """Return the ids and paths that a call named or made, separated by spaces, for the audit trail.

    What is among several and was refused was not touched (S363).
    """
    made = (text for name in _ID_FIELDS for text in _texts(fields.get(name)))
    failed: Any = fields.get("FailedResources", ())
    refused = {one["Resource"].rpartition("/")[2] for one in failed}
    ids = dict.fromkeys(text for text in (*_texts(parameters), *made) if text not in refused)
    return " ".join(ids)[:_RESOURCE_CHARS_MAX]


def _texts(value: object) -> Iterator[str]:
    """Yield the ids that a value is, holds or names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, Parameters):
        for name in _ID_PARAMETERS:
            yield from _texts(getattr(value, name, None))


def _too_large(bytes_max: int) -> WireError:
    return WireError("RequestSizeLimitExceeded", f"The body is longer than {bytes_max} bytes.")


def _chunk(message: Message, bytes_max: int) -> bytes:
    if message["type"] == "http.disconnect":
        raise DisconnectedError
    chunk: bytes = message.get("body", b"")
    if len(chunk) > bytes_max:
        raise _too_large(bytes_max)
    return chunk

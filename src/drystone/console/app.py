"""The ASGI application of everything: the console on `/console/`, the API behind it.

A browser has a session instead of a signature; from there on its calls go the way of every other call (S73).
"""

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import msgspec
import structlog

from drystone.api.actions import Record, Service
from drystone.api.admission import prove
from drystone.api.app import Application, Scope, Send
from drystone.api.call import headers_of
from drystone.api.dispatch import DisconnectedError, Progress, Receive, Verified
from drystone.api.parameters import P, Parameters, Text, from_json
from drystone.api.refusals import WireError, code_of
from drystone.console.files import NOT_BUILT, Files
from drystone.console.limits import LoginLimits
from drystone.console.replies import Answer, RefusedError, redirect, send_file, send_whole, too_often
from drystone.console.requests import (
    JSON,
    Request,
    accepts_gzip,
    check_csrf,
    check_post,
    session_cookie,
    session_token,
    small_body,
    wants_console,
)
from drystone.domain.errors import RefusalError, UnavailableError
from drystone.domain.ids import AccountId
from drystone.service.caller import Caller
from drystone.service.calls.browser_sessions import BrowserSessions, OpenSession
from drystone.service.calls.passwords import Passwords

PAGES: Final = "/console/"
CALLS: Final = "/console/api/"
CALL_BYTES_MAX: Final = 1_000_000
CONFIRMED_S: Final = 60.0
CONFIRMED_MAX: Final = 1000
_STATUS: Final[Mapping[str, HTTPStatus]] = {
    "RequestLimitExceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "RequestSizeLimitExceeded": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}
_log = structlog.get_logger(__name__)


class Login(Parameters, frozen=True, kw_only=True):
    """What the log-in page sends."""

    account: Text
    password: Text


class Again(Parameters, frozen=True, kw_only=True):
    """What a page sends before a call that outlives the session."""

    password: Text


class End(Parameters, frozen=True, kw_only=True):
    """What may be sent with a log-out."""

    revoke_keys: bool | None = None


class NewPassword(Parameters, frozen=True, kw_only=True):
    """What the settings page sends."""

    old: Text
    new: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """What the console tells its pages, and how long a browser keeps its cookie."""

    zones: tuple[str, ...]
    version: str
    session_age_s: float
    """When a session ends however much it is used."""
    proofs: bool
    """Whether the configuration allows proofs that snapshots open."""


@dataclass(slots=True, kw_only=True, eq=False)
class Console:
    """Serves the console, and hands everything else to the API."""

    api: Application
    """Serves what is not the console's; the console's calls go through its dispatcher."""
    files: Files
    passwords: Passwords
    sessions: BrowserSessions
    record: Record
    """Records log-ins."""
    settings: ConsoleSettings
    monotonic: Callable[[], float]
    request_id: Callable[[], str]
    _limits: LoginLimits = field(init=False)
    # Until when a session's next `password_again` may go on; forgotten with the process, and asked anew.
    _confirmed: OrderedDict[str, float] = field(init=False, default_factory=OrderedDict)
    _services: Mapping[str, Service] = field(init=False)
    _routes: Mapping[tuple[str, str], Callable[[Request], Awaitable[Answer]]] = field(init=False)

    def __post_init__(self) -> None:
        self._limits = LoginLimits(monotonic=self.monotonic)
        self._services = {service.name: service for service in self.api.dispatcher.services}
        self._routes = {
            ("POST", "login"): self._login,
            ("POST", "logout"): self._logout,
            ("POST", "password"): self._password,
            ("POST", "confirm"): self._confirm,
            ("GET", "session"): self._session,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        path: str = scope["path"]
        if path == "/" and scope["method"] != "POST":
            await self._root(scope, receive, send)
        elif path == PAGES.rstrip("/"):
            await redirect(send, PAGES)
        elif path.startswith(CALLS):
            await self._serve_call(scope, receive, send, path.removeprefix(CALLS))
        elif path.startswith(PAGES):
            await self._serve_file(scope, send, path.removeprefix(PAGES))
        else:
            await self.api(scope, receive, send)

    async def _root(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = headers_of(scope["headers"])
        except WireError:
            headers = {}
        if wants_console(scope["method"], scope["query_string"], headers):
            await redirect(send, PAGES)
        else:
            await self.api(scope, receive, send)

    # --- files --------------------------------------------------------------------------------------------------------

    async def _serve_file(self, scope: Scope, send: Send, path: str) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await send_whole(send, HTTPStatus.METHOD_NOT_ALLOWED, b"", ((b"allow", b"GET, HEAD"),))
            return
        if not self.files.built:
            await send_file(send, NOT_BUILT, HTTPStatus.SERVICE_UNAVAILABLE, gzip=False)
            return
        found = self.files.find(path)
        if found is None:
            await send_whole(
                send, HTTPStatus.NOT_FOUND, b"There is no such file.\n", ((b"content-type", b"text/plain"),)
            )
            return
        gzip = accepts_gzip(
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        )
        await send_file(send, found, HTTPStatus.OK, gzip=gzip)

    # --- calls --------------------------------------------------------------------------------------------------------

    async def _serve_call(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        try:
            answer = await self._answer(scope, receive, path)
        except DisconnectedError:
            return
        headers = ((b"content-type", JSON), (b"cache-control", b"no-store"), *answer.headers)
        await send_whole(send, answer.status, answer.body, headers)

    async def _answer(self, scope: Scope, receive: Receive, path: str) -> Answer:
        try:
            request = Request(scope=scope, headers=headers_of(scope["headers"]), receive=receive)
            return await self._routed(request, path)
        except RefusedError as refused:
            return refused.answer
        except WireError as error:
            return _refused(error)
        except RefusalError as error:
            return _refused(WireError(code_of(error.kind), error.message))
        except DisconnectedError:
            raise
        except UnavailableError as error:
            _log.warning("console.unavailable", error=str(error))
            return RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", "A part of the service does not answer."
            ).answer
        # The top of the task: the browser gets an answer and the log gets the rest.
        except Exception:  # noqa: BLE001 - every failure becomes an answer, and is logged here
            _log.exception("console.failed", path=path[:200])
            return RefusedError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", "The service failed; its log tells more."
            ).answer

    async def _routed(self, request: Request, path: str) -> Answer:
        method = request.scope["method"]
        name, *rest = path.split("/")
        if name == "call" and len(rest) == 2:
            handler: Callable[[Request], Awaitable[Answer]] | None = None
            allowed = ["POST"]
        else:
            handler = self._routes.get((method, path))
            allowed = [known for known, at in self._routes if at == path]
        if not allowed:
            raise RefusedError(HTTPStatus.NOT_FOUND, "InvalidRequest", f"There is nothing at {path[:100]}.")
        if method not in allowed:
            raise RefusedError(
                HTTPStatus.METHOD_NOT_ALLOWED, "UnsupportedProtocol", f"Use {', '.join(allowed)}.",
                (b"allow", ", ".join(allowed).encode()),
            )  # fmt: skip
        if method == "POST":
            check_post(request.headers)
        if handler is None:
            return await self._call(request, rest[0], rest[1])
        return await handler(request)

    async def _login(self, request: Request) -> Answer:
        sent = from_json(await small_body(request.receive), Login)
        address = request.address
        wait_s = self._limits.begin(sent.account, address)
        if wait_s:
            # No row of the trail: each is a durable write, and who is not known may not have as many as they like.
            tries = self._limits.refused()
            if tries:
                _log.warning("console.logins_limited", address=address, tries=tries)
            raise too_often(wait_s)
        opened = await self._begun(sent, session_token(request.headers))
        if opened is None:
            _log.warning("console.login_refused", address=address)
            await self._record(
                AccountId(""), "ConsoleLogin", "", address, sent.account[:60], "AuthFailure.PasswordWrong"
            )
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED, "AuthFailure.PasswordWrong", "The account or its password is wrong."
            )
        self._limits.succeeded(sent.account, address)
        account_id = opened.account.id
        await self._record(account_id, "ConsoleLogin", opened.public_id, address, account_id, "OK")
        cookie = session_cookie(opened.token, age_s=self.settings.session_age_s, secure=request.secure)
        return Answer(body=self._told(opened), headers=((b"set-cookie", cookie.encode()),))

    async def _begun(self, sent: Login, instead_of: str | None) -> OpenSession | None:
        verified = await self.passwords.verify(sent.account, sent.password)
        if verified is None:
            return None
        account, password = verified
        return await self.sessions.begin(account, verified=password, instead_of=instead_of)

    async def _session(self, request: Request) -> Answer:
        return Answer(body=self._told(await self._opened(request)))

    async def _logout(self, request: Request) -> Answer:
        token = session_token(request.headers)
        opened = None if token is None else await self.sessions.find(token)
        if opened is not None:
            check_csrf(request, opened)
            body = await small_body(request.receive)
            ending = from_json(body, End) if body else End()
            await self.sessions.end(opened.session, with_keys=bool(ending.revoke_keys))
            self._confirmed.pop(opened.session.token_hash, None)
            await self._record(
                opened.account.id, "ConsoleLogout", opened.public_id, request.address, opened.account.id, "OK"
            )
        gone = session_cookie("", age_s=0, secure=request.secure)
        return Answer(headers=((b"set-cookie", gone.encode()),))

    async def _password(self, request: Request) -> Answer:
        opened, sent = await self._again(request, NewPassword)
        account = opened.account
        code = "OK"
        try:
            await self.passwords.change(account, sent.old, sent.new, session=opened.session.token_hash)
        except RefusalError as error:
            code = code_of(error.kind)
            raise
        finally:
            if code != "AuthFailure.PasswordWrong":
                self._limits.succeeded_again(opened.session.token_hash)
            await self._record(account.id, "ConsolePassword", opened.public_id, request.address, account.id, code)
        return Answer()

    async def _confirm(self, request: Request) -> Answer:
        """Take the password again, for the one call that follows (S153)."""
        opened, sent = await self._again(request, Again)
        account = opened.account
        verified = await self.passwords.verify(account.name, sent.password)
        code = "OK" if verified is not None else "AuthFailure.PasswordWrong"
        await self._record(account.id, "ConsoleConfirm", opened.public_id, request.address, account.id, code)
        if verified is None:
            raise WireError(code, "The password is wrong.")
        self._limits.succeeded_again(opened.session.token_hash)
        self._confirmed[opened.session.token_hash] = self.monotonic() + CONFIRMED_S
        if len(self._confirmed) > CONFIRMED_MAX:
            self._confirmed.popitem(last=False)
        return Answer()

    async def _again(self, request: Request, kind: type[P]) -> tuple[OpenSession, P]:
        """Read what a page sends with the session's password; how often that may be tried is limited."""
        opened = await self._opened(request)
        check_csrf(request, opened)
        sent = from_json(await small_body(request.receive), kind)
        wait_s = self._limits.begin_again(opened.session.token_hash)
        if wait_s:
            raise too_often(wait_s)
        return opened, sent

    async def _call(self, request: Request, service_name: str, action: str) -> Answer:
        service = self._services.get(service_name)
        if service is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "InvalidRequest", f"There is no service {service_name[:40]}.")
        opened = await self._opened(request)
        check_csrf(request, opened)
        dispatcher = self.api.dispatcher
        built = service.actions.get(action)
        confirmed = (
            built is not None
            and built.password_again
            and self._confirmed.pop(opened.session.token_hash, -math.inf) > self.monotonic()
        )

        async def verify(progress: Progress) -> Verified:
            progress.client = "console"
            if action in service.known:
                progress.action = action
            caller = Caller(
                account_id=opened.account.id, admin=opened.account.admin, secret_id=opened.public_id,
                request_id=progress.request_id, action=action, source=request.address, browser=True,
                confirmed=confirmed,
            )  # fmt: skip
            body = await dispatcher.body(request.headers, request.receive, progress, bytes_max=CALL_BYTES_MAX)
            return Verified(
                service=service,
                action=action,
                caller=caller,
                region=self.api.dispatcher.settings.region,
                parameters=body,
            )

        return Answer(body=await dispatcher.answer(verify))

    async def _opened(self, request: Request) -> OpenSession:
        token = session_token(request.headers)
        opened = None if token is None else await self.sessions.find(token)
        if opened is None:
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "AuthFailure.SessionExpired", "Log in again.")
        prove(request.scope, opened.account.id)
        return opened

    def _told(self, opened: OpenSession) -> bytes:
        return msgspec.json.encode(
            {
                "AccountId": opened.account.id,
                "Name": opened.account.name,
                "Admin": opened.account.admin,
                "CsrfToken": opened.csrf_token,
                "Region": self.api.dispatcher.settings.region,
                "Zones": self.settings.zones,
                "TimeZoneOffsetHours": self.api.dispatcher.settings.time_zone_offset_hours,
                "Version": self.settings.version,
                "Languages": ["en", "zh"],
                "Proofs": self.settings.proofs,
            }
        )

    async def _record(
        self, account_id: AccountId, action: str, session: str, address: str, resource: str, code: str
    ) -> None:
        caller = Caller(
            account_id=account_id, admin=False, secret_id=session, request_id=self.request_id(), action=action,
            source=address, browser=True,
        )  # fmt: skip
        await self.record(caller, resource, code)


def _refused(error: WireError) -> Answer:
    return RefusedError(_STATUS.get(error.code, HTTPStatus.BAD_REQUEST), error.code, error.message).answer

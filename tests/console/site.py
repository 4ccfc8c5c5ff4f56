"""The console over a real catalog and a toy service, and a browser of it, without a network."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drystone.api.settings import ApiSettings
from drystone.catalog import accounts as account_rows
from drystone.console.app import Console, ConsoleSettings
from drystone.console.files import File, Files
from drystone.domain.account import Account
from drystone.domain.login import SessionLimits
from drystone.service.calls.browser_sessions import BrowserSessions
from drystone.service.calls.password_hashing import PasswordHashing
from drystone.service.calls.passwords import Passwords
from tests.api.asgi import Answer, Rig, asgi, request_ids, toy_rig
from tests.api.signing import REGION
from tests.service.records_world import NOW, OTHER, OWNER, World

Headers = Mapping[str, str | None]
IDLE_S, AGE_S = 3600.0, 86_400.0
PASSWORD = "correct horse battery"
HOST = "console.example:8080"
PAGE = File(body=b"<!doctype html>", gzipped=None, content_type="text/html; charset=utf-8", cache_control="no-store")


class PlainHashing(PasswordHashing):
    """Costs nothing, and keeps what was verified against what."""

    def __init__(self) -> None:
        super().__init__()
        self.verified: list[str | None] = []

    async def hash(self, password: str) -> str:
        return f"plain:{password}"

    async def verify(self, hashed: str | None, password: str) -> bool:
        self.verified.append(hashed)
        return hashed == f"plain:{password}"


@dataclass
class Site:
    """A console, and everything around it."""

    world: World
    settings: ApiSettings = field(default_factory=lambda: ApiSettings(region=REGION, rate_limits=False))
    files: Files = field(default_factory=lambda: Files({"index.html": PAGE}))

    def __post_init__(self) -> None:
        self.rig: Rig = toy_rig(self.settings)
        self.rig.clock[0] = NOW
        self.hashing = PlainHashing()
        self.changes = self.revoked = 0
        clock = lambda: self.world.now  # noqa: E731 - short
        self.passwords = Passwords(
            db=self.world.db, clock=clock, ids=self.world.ids, hashing=self.hashing, changed=self._changed
        )
        self.restart()

    async def _changed(self) -> None:
        self.changes += 1

    def _keys_revoked(self) -> None:
        self.revoked += 1

    def restart(self) -> None:
        """Make everything anew that is not in the catalog."""
        limits = SessionLimits(idle_s=IDLE_S, age_s=AGE_S)
        self.sessions = BrowserSessions(
            db=self.world.db, clock=lambda: self.world.now, ids=self.world.ids, limits=limits,
            keys_revoked=self._keys_revoked,
        )  # fmt: skip
        self.app = Console(
            api=self.rig.app, files=self.files, passwords=self.passwords, sessions=self.sessions,
            record=self.rig.trail.record,
            settings=ConsoleSettings(zones=("z-1",), version="1.2", session_age_s=AGE_S, proofs=True),
            monotonic=lambda: self.rig.clock[0], request_id=request_ids(),
        )  # fmt: skip

    def add_account(self, name: str, *, admin: bool = False) -> Account:
        """Make an account with the password of all accounts here."""
        account = Account(id=OWNER if admin else OTHER, name=name, admin=admin, created_at=float(not admin))
        self.world.db.write_sync(lambda conn: account_rows.insert(conn, account))
        asyncio.run(self.passwords._put(account.id, PASSWORD, but_session=""))
        return account

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.world.now += seconds
        self.rig.clock[0] += seconds


class Browser:
    """Keeps the cookie and the token that it was given."""

    def __init__(self, site: Site, address: str = "192.0.2.7") -> None:
        self.site = site
        self.address = address
        self.cookie: str | None = None
        self.csrf = ""

    def send(
        self, method: str, path: str, body: bytes = b"", *, query: bytes = b"", headers: Headers | None = None
    ) -> Answer:
        """Send a request as a page would; headers may be changed, or left out with None."""
        sent: dict[str, str | None] = {"host": HOST, "x-csrf-token": self.csrf or None}
        if method == "POST":
            sent |= {"content-type": "application/json", "origin": f"http://{HOST}"}
        if self.cookie is not None:
            sent["cookie"] = f"other=1; drystone_session={self.cookie}"
        sent |= {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        answer = asyncio.run(
            asgi(
                self.site.app, method=method, path=path, query=query, client=self.address,
                headers=[(name.encode(), value.encode("latin-1")) for name, value in sent.items() if value is not None],
                chunks=(body,),
            )
        )  # fmt: skip
        assert answer is not None
        given = answer.headers.get(b"set-cookie", b"").decode()
        if given:
            self.cookie = given.partition(";")[0].partition("=")[2] or None
        return answer

    def post(self, path: str, body: object = None, **headers: str | None) -> Answer:
        """POST to `/console/api/`."""
        sent = json.dumps({} if body is None else body).encode()
        return self.send("POST", f"/console/api/{path}", sent, headers=headers)

    def get(self, path: str, *, query: bytes = b"", **headers: str | None) -> Answer:
        """GET."""
        return self.send("GET", path, query=query, headers=headers)

    def log_in(self, account: str = "admin", password: str = PASSWORD, **headers: str | None) -> Answer:
        """Log in."""
        answer = self.post("login", {"Account": account, "Password": password}, **headers)
        if answer.status == 200:
            self.csrf = told(answer)["CsrfToken"]
        return answer

    def call(self, action: str = "TerminateDisks", service: str = "cbs", **parameters: object) -> Answer:
        """Call an action."""
        return self.post(f"call/{service}/{action}", parameters)


def told(answer: Answer) -> Mapping[str, Any]:
    value: Mapping[str, Any] = json.loads(answer.body)
    return value


def refused(answer: Answer) -> tuple[int, str]:
    """Return status and code of a refusal."""
    return answer.status, str(told(answer)["Error"]["Code"])

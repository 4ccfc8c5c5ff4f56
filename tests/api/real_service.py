"""The whole service in this process, over a real catalog, store and storage daemons, without a port and signatures.

Calls and answers cross a relay, as between machines."""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from drystone.api.actions import Service
from drystone.api.app import Application, build_application
from drystone.api.dispatch import Dispatcher, Progress, Verified
from drystone.api.settings import ApiSettings
from drystone.catalog import accounts as account_rows
from drystone.config import Config
from drystone.domain.ids import AccountId
from drystone.engine.throwaway import remove_clones
from drystone.server.assembly import jobs, use_cases_of
from drystone.server.loops import schedules_of
from drystone.server.parts import Parts, assembled
from drystone.service.caller import Caller
from drystone.service.calls.accounts import Accounts
from drystone.service.calls.password_hashing import PasswordHashing
from drystone.service.calls.passwords import Passwords
from drystone.service.upkeep.schedules import Schedules
from tests.api.relay import Relay
from tests.catalogs import settings_of

REGION = "ap-local"
ZONE = "ap-local-1"


def by_action(services: Iterable[Service]) -> Mapping[str, Service]:
    """Return the service of each action; one of a name that an earlier service has is `service name`."""
    found: dict[str, Service] = {}
    for service in services:
        taken = found.keys() & service.actions
        found |= {f"{service.name} {name}" if name in taken else name: service for name in service.actions}
    return found


@dataclass(kw_only=True)
class RealService:
    """Calls actions by name, as one account or another."""

    dispatcher: Dispatcher
    app: Application
    """What is asked with signatures."""
    parts: Parts
    actions: Mapping[str, Service]
    """The service of each action, as `by_action` names them."""
    admin: AccountId
    schedules: Schedules
    """Does nothing by itself here."""

    async def send(self, action: str, body: bytes, *, account: AccountId | None = None) -> Mapping[str, Any]:
        """Send a body; return what `Response` holds."""
        service, action = self.actions[action], action.rpartition(" ")[2]
        caller = Caller(
            account_id=account or self.admin, admin=account in {None, self.admin}, secret_id="AKIDtest",
            request_id=str(uuid.uuid4()), action=action, source="192.0.2.1",
        )  # fmt: skip

        async def verify(progress: Progress) -> Verified:
            progress.action = action
            return Verified(service=service, action=action, caller=caller, region=REGION, parameters=body)

        response: Mapping[str, Any] = json.loads(await self.dispatcher.answer(verify))["Response"]
        return response

    async def call(self, action: str, *, account: AccountId | None = None, **parameters: object) -> Mapping[str, Any]:
        """Call an action that must be done."""
        response = await self.send(action, json.dumps(parameters).encode(), account=account)
        assert "Error" not in response, (action, parameters, response)
        return response

    async def idle(self) -> None:
        """Wait until no operation of the administrator's account runs."""
        running = [{"Name": "state", "Values": ["RUNNING"]}]
        while (await self.call("DescribeOperations", Filters=running))["TotalCount"]:
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def real_service(data: Path, **settings: Any) -> AsyncIterator[RealService]:
    """Run it; nothing of it is left at the end but the directory."""
    config = Config(data=data, **({"rate_limits": False, "throttle": False} | settings_of(data) | settings))
    # As the program does before it looks at what is there.
    data.mkdir(mode=0o700, exist_ok=True)
    async with assembled(config) as parts:
        watch = parts.watch
        accounts = Accounts(db=parts.db, clock=time.time, ids=parts.ids)

        async def changed() -> None:
            """There is no file of credentials."""

        passwords = Passwords(db=parts.db, clock=time.time, ids=parts.ids, hashing=PasswordHashing(), changed=changed)
        parts.operations.serve(jobs(config, parts))
        use_cases = use_cases_of(config, parts, accounts, passwords, "10.0.0")
        app = build_application(
            use_cases, settings=ApiSettings(region=REGION, rate_limits=config.rate_limits), clock=time.time,
            steady=parts.clock.now,
            monotonic=time.monotonic, request_id=lambda: str(uuid.uuid4()), registry=CollectorRegistry(),
        )  # fmt: skip
        app.dispatcher.agent = Relay(app.dispatcher.agent)
        await accounts.first("admin")
        admin = await parts.db.read(lambda conn: account_rows.by_name(conn, "admin"))
        assert admin is not None
        # What an earlier run left attached is served again.
        await watch.take_over()
        await watch.revive_all()
        services = by_action(app.dispatcher.services)
        made = RealService(
            dispatcher=app.dispatcher,
            app=app,
            parts=parts,
            actions=services,
            admin=admin.id,
            schedules=schedules_of(parts, use_cases),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(parts.operations.run())
                try:
                    yield made
                    await made.idle()
                finally:
                    running.cancel()
        finally:
            # As `host stop` does, also when what ran here failed: a proof may be under way.
            await remove_clones(parts.layout)
            await watch.stop()

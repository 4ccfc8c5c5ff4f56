"""An agent that hands calls on as bytes: what crosses between machines must be plain data."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from drystone.api.actions import Action, Fields
from drystone.api.agent import Agent
from drystone.api.parameters import from_json
from drystone.api.services import SERVICES
from drystone.domain.errors import PassingError, Refusal, RefusalError
from drystone.service.caller import Caller

REFUSALS = {kind.__name__: kind for kind in (RefusalError, PassingError)}


@dataclass(frozen=True)
class Relay:
    """Sends each call to an agent, and its answer back, through JSON."""

    agent: Agent

    async def perform(self, action: Action, caller: Caller) -> Fields:
        """Perform it there; a refusal is raised here as it was there, what else is raised is not carried over."""
        sent = msgspec.json.encode({"action": type(action).__name__, "parameters": action, "caller": asdict(caller)})
        answer: Mapping[str, Any] = json.loads(await self._there(sent))
        if "refusal" in answer:
            raise REFUSALS[answer["refusal"]](Refusal(answer["kind"]), answer["message"])
        fields: Fields = answer["fields"]
        return fields

    async def _there(self, sent: bytes) -> bytes:
        call = json.loads(sent)
        name = call["action"]
        # Looked up for each call: the fuzzer plants faults into the services' tables.
        kind = next(service.actions[name] for service in SERVICES if name in service.actions)
        action = from_json(json.dumps(call["parameters"]).encode(), kind)
        try:
            fields = await self.agent.perform(action, Caller(**call["caller"]))
        except RefusalError as error:
            refused = {"refusal": type(error).__name__, "kind": error.kind, "message": error.message}
            return json.dumps(refused).encode()
        return msgspec.json.encode({"fields": fields})

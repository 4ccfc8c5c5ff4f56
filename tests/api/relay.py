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
        # Two services may have an action of one name.
        service = next(one.name for one in SERVICES if one.actions.get(type(action).__name__) is type(action))
        call = {"service": service, "action": type(action).__name__, "parameters": action, "caller": asdict(caller)}
        sent = msgspec.json.encode(call)
        answer: Mapping[str, Any] = json.loads(await self._there(sent))
        if "refusal" in answer:
            raise REFUSALS[answer["refusal"]](Refusal(answer["kind"]), answer["message"])
        fields: Fields = answer["fields"]
        return fields

    async def _there(self, sent: bytes) -> bytes:
        call = json.loads(sent)
        # Looked up for each call: the fuzzer plants faults into the services' tables.
        kind = next(one.actions[call["action"]] for one in SERVICES if one.name == call["service"])
        action = from_json(json.dumps(call["parameters"]).encode(), kind)
        try:
            fields = await self.agent.perform(action, Caller(**call["caller"]))
        except RefusalError as error:
            refused = {"refusal": type(error).__name__, "kind": error.kind, "message": error.message}
            return json.dumps(refused).encode()
        return msgspec.json.encode({"fields": fields})

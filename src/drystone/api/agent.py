"""Who performs a verified call: the joint between what answers calls and the machine that owns a disk.

A call crosses it whole: the action with its parameters and who calls, nothing else, and fields or a refusal come back.
All of that is plain data. So where there are several machines, an agent may hand the call to the one that owns the
disk, and what performs it there is the code of today.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from drystone.api.actions import Action, Context, Fields
from drystone.service.caller import Caller

NOTHING: Final[Fields] = {}


class Agent(Protocol):
    """Performs calls that are verified."""

    async def perform(self, action: Action, caller: Caller) -> Fields:
        """Perform a call, and return the fields of its answer.

        Raises:
            DrystoneError: It was refused, or it could not be performed.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalAgent:
    """Performs calls in this process."""

    context: Context

    async def perform(self, action: Action, caller: Caller) -> Fields:
        """Perform it with this process's use cases."""
        return await action(self.context, caller) or NOTHING

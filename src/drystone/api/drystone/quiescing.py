"""What is held still around snapshots."""

from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import OneOf, iso_time
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import MANY, Arguments, Hours, Id, Parameters, PathText, Seconds, Text, Word
from drystone.domain import quiesce
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.quiesce import FREEZE_SECONDS_DEFAULT, STEP_SECONDS_DEFAULT, QuiesceMode, Step, StepKind
from drystone.service.caller import Caller


class QuiesceStep(Parameters, frozen=True, kw_only=True):
    """One step of a profile; which fields it needs is said by its kind."""

    kind: Word
    seconds_max: Seconds | None = None
    mount: PathText | None = None
    freeze: Arguments | None = None
    thaw: Arguments | None = None
    option_file: PathText | None = None
    connection: Text | None = None
    socket: PathText | None = None
    domain: Text | None = None


@DRYSTONE.change
class SetQuiesceProfile(Action, frozen=True, kw_only=True):
    """Set the profile of a disk or an instance."""

    resource_id: Id
    steps: Annotated[tuple[QuiesceStep, ...], MANY]
    mode: Word | None = None
    freeze_seconds_max: Seconds | None = None
    prove_every_h: Hours | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        limit = FREEZE_SECONDS_DEFAULT if self.freeze_seconds_max is None else self.freeze_seconds_max
        steps = tuple(_step(step) for step in self.steps)
        await on.calls.quiescing.set(caller, self.resource_id, self.mode or "require", limit, steps, self.prove_every_h)


def _step(given: QuiesceStep) -> Step:
    if given.kind not in set(StepKind):
        raise RefusalError(
            Refusal.BAD_VALUE, f"Kind is `{given.kind[:40]}`; allowed are {', '.join(sorted(StepKind))}."
        )
    return Step(
        kind=StepKind(given.kind),
        seconds_max=STEP_SECONDS_DEFAULT if given.seconds_max is None else given.seconds_max,
        mount=given.mount,
        freeze=given.freeze or (),
        thaw=given.thaw or (),
        option_file=given.option_file,
        connection=given.connection,
        socket=given.socket,
        domain=given.domain,
    )


@DRYSTONE.change
class DeleteQuiesceProfile(Action, frozen=True, kw_only=True):
    """Remove a profile."""

    resource_id: Id

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.quiescing.remove(caller, self.resource_id)


class QuiesceStepRecord(TypedDict):
    """One step of a profile."""

    Kind: Annotated[str, OneOf(tuple(StepKind))]
    SecondsMax: float
    Mount: str | None
    Freeze: list[str]
    Thaw: list[str]
    OptionFile: str | None
    Connection: str | None
    Socket: str | None
    Domain: str | None


class QuiesceProfile(TypedDict):
    """What is held still around snapshots of a disk, or of an instance's disks that have no profile of their own."""

    ResourceId: str
    Mode: Annotated[str, OneOf(tuple(QuiesceMode))]
    FreezeSecondsMax: float
    Steps: list[QuiesceStepRecord]
    ModifyTime: str
    ProveEveryH: float | None


class _QuiesceProfiles(TypedDict):
    TotalCount: int
    QuiesceProfileSet: list[QuiesceProfile]


@DRYSTONE.read
class DescribeQuiesceProfiles(Paged, frozen=True, kw_only=True):
    """List profiles."""

    async def __call__(self, on: Context, caller: Caller) -> _QuiesceProfiles:
        page = await on.calls.quiescing.describe(caller, *self.page)
        return {"TotalCount": page.total, "QuiesceProfileSet": [_profile(profile) for profile in page.items]}


def _profile(profile: quiesce.QuiesceProfile) -> QuiesceProfile:
    return {
        "ResourceId": profile.resource_id,
        "Mode": profile.mode.value,
        "FreezeSecondsMax": profile.freeze_seconds_max,
        "Steps": [
            {
                "Kind": step.kind.value,
                "SecondsMax": step.seconds_max,
                "Mount": step.mount,
                "Freeze": list(step.freeze),
                "Thaw": list(step.thaw),
                "OptionFile": step.option_file,
                "Connection": step.connection,
                "Socket": step.socket,
                "Domain": step.domain,
            }
            for step in profile.steps
        ],
        "ModifyTime": iso_time(profile.modified_at),
        "ProveEveryH": profile.prove_every_h,
    }

"""Long jobs: what they do, and how to end them or have them done again."""

from typing import Annotated, TypedDict

import msgspec

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import OneOf, OperationIdAnswer, iso_time
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Filters, Id, Ids, conditions
from drystone.api.refusals import code_of
from drystone.domain import operation
from drystone.domain.operation import OperationKind, OperationState, allows, check_cancellable, check_retriable
from drystone.domain.payloads import CompactPayload, Payload, ProvePayload, SnapshotPayload
from drystone.domain.settling import Phase
from drystone.service.caller import Caller
from drystone.service.requests import OperationQuery


class Operation(TypedDict):
    """A long job."""

    OperationId: str
    Kind: Annotated[str, OneOf(tuple(OperationKind))]
    DiskId: str | None
    SnapshotId: str | None
    InstanceId: str | None
    State: Annotated[str, OneOf(tuple(OperationState))]
    Phase: str
    Percent: int
    Attempts: int
    ErrorCode: str
    ErrorMessage: str
    ToSendBytes: int | None
    SentBytes: int | None
    Result: object  # its shape is told by the kind
    CreateTime: str
    UpdateTime: str
    Cancellable: bool
    Retriable: bool


class _Operations(TypedDict):
    TotalCount: int
    OperationSet: list[Operation]


@DRYSTONE.read
class DescribeOperations(Paged, frozen=True, kw_only=True):
    """List operations; filters are resource-id, state and kind."""

    operation_ids: Ids | None = None
    filters: Filters | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Operations:
        ids, (offset, limit) = self.operation_ids or (), self.page
        query = OperationQuery(operation_ids=ids, filters=conditions(self.filters), offset=offset, limit=limit)
        page = await on.calls.operations.describe(caller, query)
        return {"TotalCount": page.total, "OperationSet": [operation_answer(one) for one in page.items]}


def operation_answer(one: operation.Operation) -> Operation:
    """Return an operation as the wire has it."""
    # Of a snapshot whose frozen disk was let go, while its content goes from this machine into the store.
    spooled = one.payload.spooled if isinstance(one.payload, SnapshotPayload) and one.phase == Phase.SPOOLED else None
    return {
        "OperationId": one.id,
        "Kind": one.kind.value,
        "DiskId": one.disk_id,
        "SnapshotId": one.snapshot_id,
        "InstanceId": one.instance_id,
        "State": one.state.value,
        "Phase": one.phase,
        "Percent": one.percent,
        "Attempts": one.attempts,
        "ErrorCode": code_of(one.error_code),
        "ErrorMessage": one.error,
        "ToSendBytes": None if spooled is None else spooled.bytes,
        "SentBytes": None if spooled is None else spooled.sent_bytes,
        "Result": _result(one.payload),
        "CreateTime": iso_time(one.created_at),
        "UpdateTime": iso_time(one.updated_at),
        "Cancellable": allows(check_cancellable, one) and not one.is_cancelled,
        "Retriable": allows(check_retriable, one),
    }


def _result(payload: Payload) -> object:
    """Return what an operation found, for those that find something."""
    result = payload.result if isinstance(payload, (CompactPayload, ProvePayload)) else None
    return None if result is None else msgspec.to_builtins(result)


class OperationStep(TypedDict):
    """What an operation was from a moment on."""

    At: str
    Phase: str
    State: Annotated[str, OneOf(tuple(OperationState))]
    Attempts: int
    ErrorMessage: str


class OperationPhase(TypedDict):
    """A phase of an operation; it goes on while it has not ended."""

    Phase: str
    BeginTime: str
    Seconds: float
    Ended: bool


class _History(TypedDict):
    StepSet: list[OperationStep]
    PhaseSet: list[OperationPhase]


@DRYSTONE.read
class DescribeOperationHistory(Action, frozen=True, kw_only=True):
    """Tell what an operation did, the newest hundred steps, and how long each phase took."""

    operation_id: Id

    async def __call__(self, on: Context, caller: Caller) -> _History:
        found = await on.calls.operations.history(caller, self.operation_id)
        return {
            "StepSet": [
                {
                    "At": iso_time(step.at),
                    "Phase": step.phase,
                    "State": step.state.value,
                    "Attempts": step.attempts,
                    "ErrorMessage": step.error,
                }
                for step in found.steps
            ],
            "PhaseSet": [
                {
                    "Phase": span.phase,
                    "BeginTime": iso_time(span.began_at),
                    "Seconds": span.seconds,
                    "Ended": span.ended,
                }
                for span in found.phases
            ],
        }


@DRYSTONE.change
class CancelOperation(Action, frozen=True, kw_only=True):
    """Cancel an operation that runs: it ends FAILED with the code FailedOperation.Cancelled, and is undone."""

    operation_id: Id

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.operation_control.cancel(caller, self.operation_id)


@DRYSTONE.change
class RetryOperation(Action, frozen=True, kw_only=True):
    """Do again what an operation failed of; the answer names the new operation."""

    operation_id: Id

    async def __call__(self, on: Context, caller: Caller) -> OperationIdAnswer:
        return {"OperationId": await on.calls.operation_control.retry(caller, self.operation_id)}

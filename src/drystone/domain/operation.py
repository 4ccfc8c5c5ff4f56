"""Long jobs: a row that survives a restart and is picked up again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from drystone.domain.clock import age_s
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, DiskId, InstanceId, OperationId, SnapshotId
from drystone.domain.payloads import (
    CompactPayload,
    CreateDiskPayload,
    DeletionPayload,
    ExportPayload,
    GroupPayload,
    ImportPayload,
    InitializePayload,
    Payload,
    ProvePayload,
    ResizePayload,
    RollbackPayload,
    SessionPayload,
    SnapshotPayload,
)

P = TypeVar("P", bound=Payload)


class OperationKind(StrEnum):
    """What a job does."""

    CREATE_DISK = "create_disk"
    SNAPSHOT = "snapshot"
    SNAPSHOT_GROUP = "snapshot_group"
    DELETE_SNAPSHOT = "delete_snapshot"
    ROLLBACK = "rollback"
    HYDRATE = "hydrate"
    COMPARE = "compare"
    RESIZE = "resize"
    ATTACH = "attach"
    DETACH = "detach"
    TERMINATE = "terminate"
    INITIALIZE = "initialize"
    EXPORT = "export"
    IMPORT = "import"
    COMPACT = "compact"
    PROVE = "prove"
    REWRITE = "rewrite"


class OperationState(StrEnum):
    """RUNNING until it is DONE or FAILED, and then for ever that."""

    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the operation table; `phase` and `payload` are what resuming needs."""

    id: OperationId
    kind: OperationKind
    account_id: AccountId
    disk_id: DiskId | None = None
    snapshot_id: SnapshotId | None = None
    instance_id: InstanceId | None = None
    state: OperationState = OperationState.RUNNING
    phase: str = ""
    percent: int = 0
    payload: Payload = Payload()  # noqa: RUF009 - it is frozen
    """What the phases need to know after a restart; which type it is, `PAYLOADS` says."""
    attempts: int = 0
    error_code: str = ""
    error: str = ""
    request_id: str = ""
    created_at: float
    updated_at: float

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled it; while it is RUNNING, what it did is being undone."""
        return self.error_code == Refusal.CANCELLED

    @property
    def failure(self) -> str:
        """Why it fails or has failed; empty where nothing has: without a code `error` is what it waits for."""
        return self.error if self.error_code else ""

    @property
    def on_disk(self) -> DiskId:
        """The disk that it works on, of kinds that have one."""
        assert self.disk_id is not None, self.kind
        return self.disk_id

    @property
    def of_snapshot(self) -> SnapshotId:
        """The snapshot that it is of, of kinds that have one."""
        assert self.snapshot_id is not None, self.kind
        return self.snapshot_id

    def payload_as(self, kind: type[P]) -> P:
        """Return the payload, which is of this type."""
        assert isinstance(self.payload, kind), f"{self.kind} has a {type(self.payload).__name__}"
        return self.payload


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationStep:
    """What an operation was from a moment on: its row changed in one of these."""

    at: float
    phase: str
    state: OperationState
    attempts: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSpan:
    """A phase of an operation, and how long it took."""

    phase: str
    began_at: float
    seconds: float
    ended: bool


def phase_spans(steps: Sequence[OperationStep], now: float) -> tuple[PhaseSpan, ...]:
    """Return the phases in their order, each with its time; the last ends with the operation, or goes on until `now`.

    One that is entered anew is there again.
    """
    spans: list[PhaseSpan] = []
    for index, step in enumerate(steps):
        if step.state is not OperationState.RUNNING or (spans and step.phase == spans[-1].phase):
            continue
        ends = (other.at for other in steps[index + 1 :] if other.phase != step.phase or other.state is not step.state)
        end = next(ends, None)
        seconds = round(age_s(step.at, now if end is None else end), 3)
        spans.append(PhaseSpan(phase=step.phase, began_at=step.at, seconds=seconds, ended=end is not None))
    return tuple(spans)


PAYLOADS: Mapping[OperationKind, type[Payload]] = MappingProxyType(
    {
        OperationKind.CREATE_DISK: CreateDiskPayload,
        OperationKind.SNAPSHOT: SnapshotPayload,
        OperationKind.SNAPSHOT_GROUP: GroupPayload,
        OperationKind.DELETE_SNAPSHOT: DeletionPayload,
        OperationKind.ROLLBACK: RollbackPayload,
        OperationKind.HYDRATE: SessionPayload,
        OperationKind.COMPARE: SessionPayload,
        OperationKind.RESIZE: ResizePayload,
        OperationKind.ATTACH: Payload,
        OperationKind.DETACH: Payload,
        OperationKind.TERMINATE: Payload,
        OperationKind.INITIALIZE: InitializePayload,
        OperationKind.EXPORT: ExportPayload,
        OperationKind.IMPORT: ImportPayload,
        OperationKind.COMPACT: CompactPayload,
        OperationKind.PROVE: ProvePayload,
        OperationKind.REWRITE: Payload,
    }
)
"""What an operation of each kind remembers."""

_IN_FLIGHT = frozenset({"FREEZING", "FROZEN", "SPOOLED"})
CANCELLABLE: Mapping[OperationKind, frozenset[str] | None] = MappingProxyType(
    {
        OperationKind.SNAPSHOT: _IN_FLIGHT,
        OperationKind.SNAPSHOT_GROUP: _IN_FLIGHT,
        OperationKind.ROLLBACK: frozenset({"PLANNING"}),
        OperationKind.COMPARE: None,
        OperationKind.EXPORT: frozenset({"COPYING"}),
        OperationKind.IMPORT: None,
        OperationKind.COMPACT: None,
        OperationKind.PROVE: None,
        OperationKind.REWRITE: frozenset({"", "COPYING", "COMPARING"}),
    }
)
"""The kinds that can be cancelled, and in which phases; None: as long as it runs."""
_NEVER: Mapping[OperationKind, str] = MappingProxyType(
    {
        OperationKind.HYDRATE: "The disk reads what is missing from its source, so filling it cannot stop half way. "
        "Delete the disk to end it.",
        OperationKind.DELETE_SNAPSHOT: "A deletion that has begun is not taken back.",
        OperationKind.TERMINATE: "A deletion that has begun is not taken back.",
        OperationKind.CREATE_DISK: "It takes a moment; delete the disk afterwards.",
    }
)
_TOO_LATE: Mapping[OperationKind, str] = MappingProxyType(
    {
        OperationKind.SNAPSHOT: "The snapshot is complete or has failed already; delete it if it is not wanted.",
        OperationKind.SNAPSHOT_GROUP: "The group is complete or has failed already; delete it if it is not wanted.",
        OperationKind.ROLLBACK: "A part of the disk is written already. It can be used when all of it is; then roll it "
        "back to another snapshot.",
        OperationKind.EXPORT: "The file is complete and gets its name.",
        OperationKind.REWRITE: "The new image takes the place of the old one.",
    }
)


def check_cancellable(operation: Operation, leader: OperationId | None = None) -> None:
    """Refuse to cancel what cannot be taken back.

    Args:
        operation: What is to be cancelled.
        leader: Of a group's member, the operation of the group.

    Raises:
        RefusalError: `NOT_OFFERED` for kinds that nobody can cancel, `TOO_LATE` for what has ended or gone too far.
    """
    what = f"Operation {operation.id} ({operation.kind.value})"
    if operation.state is not OperationState.RUNNING:
        raise RefusalError(Refusal.TOO_LATE, f"{what} has ended: {operation.state.value}.")
    if isinstance(operation.payload, SnapshotPayload) and operation.payload.group is not None:
        raise RefusalError(Refusal.NOT_OFFERED, f"{what} is a part of its group's; cancel {leader or 'that'}.")
    if operation.kind not in CANCELLABLE:
        why = _NEVER.get(operation.kind, "It takes a moment.")
        raise RefusalError(Refusal.NOT_OFFERED, f"{what} cannot be cancelled. {why}")
    phases = CANCELLABLE[operation.kind]
    if phases is not None and operation.phase not in phases:
        raise RefusalError(Refusal.TOO_LATE, f"{what} cannot be cancelled any more. {_TOO_LATE[operation.kind]}")


RETRIED = frozenset(
    {
        OperationKind.ROLLBACK, OperationKind.DELETE_SNAPSHOT, OperationKind.RESIZE, OperationKind.ATTACH,
        OperationKind.DETACH, OperationKind.INITIALIZE, OperationKind.EXPORT, OperationKind.COMPACT,
        OperationKind.PROVE, OperationKind.REWRITE,
    }
)  # fmt: skip
"""The kinds whose row remembers all that the call was given, of things that are there still when it has failed."""
_ANEW: Mapping[OperationKind, str] = MappingProxyType(
    {
        OperationKind.SNAPSHOT: "Its instant is past; take another snapshot.",
        OperationKind.SNAPSHOT_GROUP: "Its instant is past; take another group.",
        OperationKind.CREATE_DISK: "The disk is gone; create another.",
        OperationKind.IMPORT: "The disk is gone; import the file again.",
    }
)


def check_retriable(operation: Operation) -> None:
    """Refuse to do again what has not failed, or cannot be done again as it was.

    Raises:
        RefusalError: `TOO_LATE` or `NOT_OFFERED`.
    """
    what = f"Operation {operation.id} ({operation.kind.value})"
    if operation.state is not OperationState.FAILED:
        raise RefusalError(Refusal.TOO_LATE, f"{what} has not failed: it is {operation.state.value}.")
    if operation.kind not in RETRIED or not isinstance(operation.payload, PAYLOADS[operation.kind]):
        why = _ANEW.get(operation.kind, "The server does it again by itself when it is needed.")
        raise RefusalError(Refusal.NOT_OFFERED, f"{what} cannot be tried again. {why}")


def allows(check: Callable[[Operation], None], operation: Operation) -> bool:
    """Return whether a check lets an operation through."""
    try:
        check(operation)
    except RefusalError:
        return False
    return True

"""Long jobs: a row that survives a restart and is picked up again."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

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

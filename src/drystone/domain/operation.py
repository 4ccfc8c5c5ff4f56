"""Long jobs: a row that survives a restart and is picked up again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from drystone.domain.ids import AccountId, DiskId, InstanceId, OperationId, SnapshotId


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
    payload: Mapping[str, object] = field(default_factory=dict)
    """JSON object: what the phases need to know after a restart."""
    attempts: int = 0
    error_code: str = ""
    error: str = ""
    request_id: str = ""
    created_at: float
    updated_at: float

"""Where two snapshots differ, for a picture of the disk."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from drystone.domain.errors import Refusal, RefusalError, UnavailableError
from drystone.domain.snapshot import SnapshotState
from drystone.objects.contract import NotFoundError
from drystone.service.caller import Caller
from drystone.service.calls.snapshot_records import owned_snapshot
from drystone.service.kept_store import KeptStore
from drystone.service.transactions import Transactions
from drystone.service.views import DifferenceView
from drystone.transfer.jobs import DifferenceJob, DifferenceResult
from drystone.transfer.pool import WAITING_MAX, WorkerPool

BUCKETS_MAX: Final = 1024
ATTEMPTS_MAX: Final = 3
"""A snapshot may be deleted while its maps are read: then the rows are looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDifferences:
    """Tells differences, by maps, in a worker."""

    transactions: Transactions
    kept: KeptStore
    background: WorkerPool

    async def describe(self, caller: Caller, older: str | None, newer: str) -> DifferenceView:
        """Return where two NORMAL snapshots differ; without `older`, what `newer` holds.

        They may be of different disks. A block that was written again with the same bytes may count as different.

        Raises:
            RefusalError: `NO_SUCH_SNAPSHOT` or `SNAPSHOT_CREATING`.
            DrystoneError: The store cannot be read.
        """
        for attempt in range(1, ATTEMPTS_MAX + 1):
            manifests = await self.transactions.read_in_turn(
                caller.account_id,
                lambda conn: (
                    None if older is None else _manifest(conn, caller, older),
                    _manifest(conn, caller, newer),
                ),
            )
            job = DifferenceJob(
                store=self.kept.address(), older=manifests[0], newer=manifests[1], buckets_max=BUCKETS_MAX
            )
            try:
                found = await self.background.run(
                    job, DifferenceResult, account=caller.account_id, waiting_max=WAITING_MAX
                )
            except (NotFoundError, UnavailableError):
                if attempt == ATTEMPTS_MAX:
                    raise
                continue
            return DifferenceView(
                size_bytes=found.size_bytes, changed_bytes=sum(found.buckets), bucket_bytes=found.bucket_bytes,
                buckets=found.buckets,
            )  # fmt: skip
        raise AssertionError("the last attempt returns or raises")


def _manifest(conn: Connection, caller: Caller, snapshot_id: str) -> str:
    snapshot = owned_snapshot(conn, caller.account_id, snapshot_id)
    if snapshot.state is not SnapshotState.NORMAL or snapshot.manifest is None:
        raise RefusalError(Refusal.SNAPSHOT_CREATING, f"Snapshot {snapshot.id} is {snapshot.state}.")
    return snapshot.manifest

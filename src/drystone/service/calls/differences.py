"""Where two snapshots differ, for a picture of the disk."""

from typing import Final

from sqlalchemy import Connection

from drystone.domain.errors import RefusalError, UnavailableError
from drystone.domain.snapshot import SnapshotState
from drystone.objects.contract import NotFoundError
from drystone.service.caller import Caller
from drystone.service.calls.snapshot_records import owned_snapshot
from drystone.service.installation import WAITING_MAX, Installation
from drystone.service.views import DifferenceView
from drystone.transfer.jobs import DifferenceJob, DifferenceResult

BUCKETS_MAX: Final = 1024
ATTEMPTS_MAX: Final = 3
"""A snapshot may be deleted while its maps are read: then the rows are looked at again."""


class SnapshotDifferences:
    """Tells differences, by maps, in a worker."""

    def __init__(self, installation: Installation) -> None:
        self._in = installation

    async def describe(self, caller: Caller, older: str | None, newer: str) -> DifferenceView:
        """Return where two NORMAL snapshots differ; without `older`, what `newer` holds.

        They may be of different disks. A block that was written again with the same bytes may count as different.

        Raises:
            RefusalError: `InvalidSnapshotId.NotFound` or `ResourceUnavailable.SnapshotCreating`.
            DrystoneError: The store cannot be read.
        """
        for attempt in range(1, ATTEMPTS_MAX + 1):
            manifests = await self._in.read_in_turn(
                caller.account_id,
                lambda conn: (
                    None if older is None else _manifest(conn, caller, older),
                    _manifest(conn, caller, newer),
                ),
            )
            job = DifferenceJob(
                store=self._in.store_address(), older=manifests[0], newer=manifests[1], buckets_max=BUCKETS_MAX
            )
            try:
                found = await self._in.background.run(
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
        raise RefusalError("ResourceUnavailable.SnapshotCreating", f"Snapshot {snapshot.id} is {snapshot.state}.")
    return snapshot.manifest

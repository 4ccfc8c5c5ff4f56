"""Which disks are protected by a good snapshot, and which are not."""

from typing import Annotated, TypedDict

from drystone.api.actions import Context, Paged
from drystone.api.answers import OneOf, iso_time, iso_time_if
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Filters, Ids, conditions
from drystone.domain.proof import Finding
from drystone.service import views
from drystone.service.caller import Caller
from drystone.service.requests import ProtectionQuery


class DiskProtection(TypedDict):
    """What there would be of a disk if it were lost now; null where there is nothing."""

    DiskId: str
    DiskName: str
    SizeBytes: int
    Protected: bool  # there is a good snapshot, and the newest did not fail
    LastSnapshotId: str | None  # the newest that is neither damaged nor suspect
    LastSnapshotTime: str | None
    Consistency: str | None
    ConsistencyAsked: str | None
    VerifiedTime: str | None  # when its index was last read whole in the store
    ProofSnapshotId: str | None  # of the newest restore test of any of the disk's snapshots
    ProofFinding: Annotated[str, OneOf(tuple(Finding))] | None
    ProofReason: str | None
    ProofTime: str | None
    FailedSince: str | None  # the first that failed after it
    FailedCount: int
    FailedReason: str | None  # of the newest of these
    NextRunTime: str | None  # null: nothing takes snapshots of it by itself
    PolicyIds: list[str]  # that are switched on; empty: no policy covers it
    Behind: bool  # its last good snapshot is older than one of them promises
    SnapshotCount: int
    StoredBytes: int


class _Protection(TypedDict):
    TotalCount: int
    DiskProtectionSet: list[DiskProtection]


@DRYSTONE.read
class DescribeProtection(Paged, frozen=True, kw_only=True):
    """List the account's disks with their last good snapshots; filters are protected, covered, behind (true, false)."""

    disk_ids: Ids | None = None
    filters: Filters | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Protection:
        offset, limit = self.page
        query = ProtectionQuery(
            disk_ids=self.disk_ids or (), filters=conditions(self.filters), offset=offset, limit=limit
        )
        page = await on.calls.protection.describe(caller, query)
        return {"TotalCount": page.total, "DiskProtectionSet": [_protection(one) for one in page.items]}


def _protection(one: views.ProtectionView) -> DiskProtection:
    last, proof, failed = one.last, one.proof, one.failed
    return {
        "DiskId": one.disk.id,
        "DiskName": one.disk.name,
        "SizeBytes": one.disk.size_gib << 30,
        "Protected": one.protected,
        "LastSnapshotId": None if last is None else last.id,
        "LastSnapshotTime": None if last is None else iso_time(last.record.taken_at or last.created_at),
        "Consistency": None if last is None else last.record.consistency,
        "ConsistencyAsked": None if last is None else last.record.consistency_asked,
        "VerifiedTime": None if last is None else iso_time_if(last.proven_at),
        "ProofSnapshotId": None if proof is None else proof.snapshot_id,
        "ProofFinding": None if proof is None else proof.finding.value,
        "ProofReason": None if proof is None else proof.reason,
        "ProofTime": None if proof is None else iso_time(proof.ended_at),
        "FailedSince": iso_time(failed[0].created_at) if failed else None,
        "FailedCount": len(failed),
        "FailedReason": failed[-1].error if failed else None,
        "NextRunTime": iso_time_if(one.promise.next_at),
        "PolicyIds": [*one.promise.policy_ids],
        "Behind": one.promise.behind,
        "SnapshotCount": one.snapshot_count,
        "StoredBytes": one.stored_bytes,
    }

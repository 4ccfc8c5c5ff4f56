"""The snapshot store; for administrators."""

from typing import Annotated, TypedDict, get_args

from drystone.api.actions import Action, Context
from drystone.api.answers import OneOf, iso_time, iso_time_if
from drystone.api.drystone.events import message
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Unsigned
from drystone.service.caller import Caller
from drystone.service.views import StorePlace, StoreState


class _StoreSpace(TypedDict):
    StoredBytes: int  # of all objects; a bucket is listed for it every 15 minutes at most
    MapBytes: int
    SnapshotBytes: int  # manifests, and what is kept beside them
    CacheBytes: int  # on the server's own disk, of what was read of a bucket
    PackCount: int
    PackBytes: int
    LiveBytes: int
    DeadBytes: int
    ReclaimableBytes: int
    ReclaimedBytes: int
    WaitingBytes: int
    Threshold: int  # percent of a pack that must be dead before it is written again
    Held: str  # why nothing expires and nothing is collected until an administrator confirms; normally empty


@DRYSTONE.read
class DescribeStore(Action, frozen=True, kw_only=True):
    """Sum up the store."""

    async def __call__(self, on: Context, caller: Caller) -> _StoreSpace:
        view = await on.calls.space.store(caller)
        return {
            "StoredBytes": view.stored_bytes,
            "MapBytes": view.map_bytes,
            "SnapshotBytes": view.snapshot_bytes,
            "CacheBytes": view.cache_bytes,
            "PackCount": view.pack_count,
            "PackBytes": view.pack_bytes,
            "LiveBytes": view.live_bytes,
            "DeadBytes": view.dead_bytes,
            "ReclaimableBytes": view.reclaimable_bytes,
            "ReclaimedBytes": view.reclaimed_bytes,
            "WaitingBytes": view.waiting_bytes,
            "Threshold": view.dead_percent,
            "Held": view.held,
        }


class StoreDay(TypedDict):
    """What was asked of a bucket on one day."""

    Day: str  # UTC
    WriteRequests: int
    ReadRequests: int
    ListRequests: int
    DeleteRequests: int
    SentBytes: int
    ReceivedBytes: int
    Errors: int


class SpaceDay(TypedDict):
    """How much there was at the end of one day."""

    Day: str
    StoredBytes: int
    FreeBytes: int  # above the floor that belongs to the disks


class _StoreStatus(TypedDict):
    StoreId: str
    Place: str  # a directory, or the URL of a bucket
    PlaceKind: Annotated[str, OneOf(get_args(StorePlace))]
    State: Annotated[str, OneOf(get_args(StoreState))]
    Fault: str  # why it is of no use now
    FaultSince: str | None
    ReachedTime: str | None  # when it was last seen to answer, since the server started
    LastFault: str | None  # the newest trouble that is over
    LastFaultTime: str | None
    LastFaultEndTime: str | None
    Epoch: int
    Held: str
    DaySet: list[StoreDay]
    SpaceDaySet: list[SpaceDay]
    DaysUntilFull: float | None  # of the disks' file system, if it goes on as in these days


@DRYSTONE.read
class DescribeStoreStatus(Action, frozen=True, kw_only=True):
    """Say where the store is, whether it answers, whose it is, and what was asked of it in the last 30 days."""

    async def __call__(self, on: Context, caller: Caller) -> _StoreStatus:
        view = await on.calls.store_status.describe(caller)
        last = view.last_fault
        return {
            "StoreId": view.store_id,
            "Place": view.place,
            "PlaceKind": view.place_kind,
            "State": view.state,
            "Fault": view.fault,
            "FaultSince": iso_time_if(view.fault_since),
            "ReachedTime": iso_time_if(view.reached_at),
            "LastFault": None if last is None else message(last),
            "LastFaultTime": None if last is None else iso_time(last.first_seen_at),
            "LastFaultEndTime": None if last is None else iso_time_if(last.resolved_at),
            "Epoch": view.epoch,
            "Held": view.held,
            "DaySet": [
                {
                    "Day": one.day,
                    "WriteRequests": one.writes,
                    "ReadRequests": one.reads,
                    "ListRequests": one.lists,
                    "DeleteRequests": one.deletes,
                    "SentBytes": one.sent_bytes,
                    "ReceivedBytes": one.received_bytes,
                    "Errors": one.errors,
                }
                for one in view.days
            ],
            "SpaceDaySet": [
                {"Day": one.day, "StoredBytes": one.stored_bytes, "FreeBytes": one.free_bytes} for one in view.space
            ],
            "DaysUntilFull": None if view.days_left is None else round(view.days_left, 1),
        }


class _Collection(TypedDict):
    OperationId: str | None
    Threshold: int
    PackCount: int
    PackBytes: int
    DeadBytes: int


@DRYSTONE.change
class CollectGarbage(Action, frozen=True, kw_only=True):
    """Get dead bytes back, or only think of it; the threshold is in percent of a pack's bytes."""

    dry_run: bool | None = None
    threshold: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Collection:
        view = await on.calls.space.collect(caller, dry_run=bool(self.dry_run), dead_percent=self.threshold)
        return {
            "OperationId": view.operation_id,
            "Threshold": view.dead_percent,
            "PackCount": view.packs,
            "PackBytes": view.pack_bytes,
            "DeadBytes": view.dead_bytes,
        }


class _Confirmed(TypedDict):
    WasHeld: str | None


@DRYSTONE.change
class ConfirmStore(Action, frozen=True, kw_only=True):
    """Let expiry and collection begin again after a recovery; say why they were held."""

    async def __call__(self, on: Context, caller: Caller) -> _Confirmed:
        return {"WasHeld": await on.calls.confirmation.confirm(caller)}


class _Requested(TypedDict):
    RequestedAt: str


@DRYSTONE.change
class ScrubStore(Action, frozen=True, kw_only=True):
    """Have everything proven anew."""

    async def __call__(self, on: Context, caller: Caller) -> _Requested:
        return {"RequestedAt": iso_time(await on.calls.store_health.request(caller))}


class Damage(TypedDict):
    """What a damaged object hides of a snapshot."""

    SnapshotId: str
    Object: str
    Kind: str
    Reason: str
    FoundAt: str
    BlockCount: int
    BlockRanges: list[list[int]]


class _StoreHealth(TypedDict):
    PackCount: int
    PacksDue: int
    OldestProofTime: str | None
    SnapshotCount: int
    SnapshotsDue: int
    RequestedAt: str | None
    DamagedSnapshotCount: int
    SuspectSnapshotCount: int
    SuspectSnapshotIds: list[str]
    DamageSet: list[Damage]


@DRYSTONE.read
class DescribeStoreHealth(Action, frozen=True, kw_only=True):
    """Say how far the scrub is, and what is damaged or suspect."""

    async def __call__(self, on: Context, caller: Caller) -> _StoreHealth:
        health = await on.calls.store_health.health(caller)
        return {
            "PackCount": health.packs,
            "PacksDue": health.packs_due,
            "OldestProofTime": iso_time_if(health.oldest_proof_at),
            "SnapshotCount": health.snapshots,
            "SnapshotsDue": health.snapshots_due,
            "RequestedAt": iso_time_if(health.requested_at),
            "DamagedSnapshotCount": health.damaged_snapshots,
            "SuspectSnapshotCount": health.suspect_snapshots,
            "SuspectSnapshotIds": list(health.suspect),
            "DamageSet": [
                {
                    "SnapshotId": damage.snapshot_id,
                    "Object": damage.object,
                    "Kind": damage.kind,
                    "Reason": damage.reason,
                    "FoundAt": iso_time(damage.found_at),
                    "BlockCount": damage.blocks,
                    "BlockRanges": [list(pair) for pair in damage.ranges],
                }
                for damage in health.damages
            ],
        }

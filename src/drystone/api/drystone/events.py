"""Events: what went wrong, since when, and whether somebody has seen it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import OneOf, iso_time, iso_time_if
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Filters, Ids, Unsigned, conditions
from drystone.domain import event
from drystone.domain.event import EventKind, Severity
from drystone.service.caller import Caller
from drystone.service.requests import EventQuery

MESSAGES: Mapping[EventKind, str] = MappingProxyType({
    EventKind.SNAPSHOT_FAILED: "A snapshot of disk {subject} failed",
    EventKind.CONSISTENCY_REDUCED: "The snapshot {snapshot} of disk {subject} is {given}-consistent, "
    "not {asked}-consistent as its profile asks for",
    EventKind.OPERATION_FAILED: "The operation {operation} on {subject} failed",
    EventKind.OPERATION_STUCK: "The operation {subject} cannot go on, and is tried again",
    EventKind.DISK_UNFIT: "Disk {subject} could not be brought in order",
    EventKind.TRACKING_LOST: "Change tracking of disk {subject} is lost: the next snapshot compares the whole disk",
    EventKind.TRACKING_WRONG: "Change tracking of disk {subject} had missed changes, as an audit found",
    EventKind.SNAPSHOT_DAMAGED: "Some of snapshot {subject} can no longer be read",
    EventKind.SNAPSHOT_SUSPECT: "Snapshot {subject} may lack changes that tracking missed",
    EventKind.PROOF_FAILED: "The restore test of snapshot {snapshot} ended with: {given}",
    EventKind.RUN_FAILED: "A scheduled snapshot of disk {subject} was not taken",
    EventKind.RUN_SKIPPED: "A scheduled snapshot of disk {subject} was left out",
    EventKind.RUNS_MISSED: "Times of the snapshot policy {subject} have passed without a run",
    EventKind.OBJECT_DAMAGED: "The stored object {subject} is damaged",
    EventKind.DAMAGE_MENDED: "A damaged object of the store was written again from a disk; its drive may be failing",
    EventKind.SPACE_LOW: "Free space is low in the {subject} directory: {free_bytes} bytes are left for snapshots",
    EventKind.STORE_UNREACHABLE: "The snapshot store does not answer",
    EventKind.STORE_REFUSED: "The snapshot store refuses the keys",
    EventKind.STORE_FOREIGN: "The snapshot store is another catalog's, or a newer state of this one has used it",
    EventKind.STORE_HELD: "Nothing expires and no space is freed until an administrator confirms",
    EventKind.BACKUP_FAILED: "The catalog was not copied",
    EventKind.CLOCK_DOUBTED: "The clock leapt by {seconds} s: nothing expires until it is set right or confirmed",
    EventKind.DAEMON_DIED: "The storage daemon {subject} died and was replaced; {disks} disks were hit",
})  # fmt: skip
"""What happened, in a sentence without its full stop: the reason may follow."""


class EventFacts(TypedDict):
    """What is known of it; null where it does not matter."""

    Reason: str
    DiskId: str | None
    SnapshotId: str | None
    OperationId: str | None
    OperationKind: str | None
    Asked: str | None
    Given: str | None
    Object: str | None
    Blocks: int | None
    Snapshots: int | None
    Disks: int | None
    FreeBytes: int | None
    Seconds: int | None
    At: str | None


class Event(TypedDict):
    """A trouble: one event as long as it lasts, however often it happens."""

    EventId: str
    Kind: Annotated[str, OneOf(tuple(EventKind))]
    Severity: Annotated[str, OneOf(tuple(Severity))]
    OfInstallation: bool
    SubjectId: str  # empty where it stands for many of its kind
    Message: str
    Facts: EventFacts
    FirstSeenTime: str
    LastSeenTime: str
    Count: int
    ResolvedTime: str | None
    AcknowledgedTime: str | None
    AcknowledgedBy: str  # id of an account; empty until somebody has


class _Events(TypedDict):
    TotalCount: int
    EventSet: list[Event]
    Cursor: int  # what to give as After, to be told what changes from here on


@DRYSTONE.read
class DescribeEvents(Paged, frozen=True, kw_only=True):
    """List events, the newest first; filters are kind, severity, subject-id, resolved and acknowledged (true, false).

    With `After`, the cursor of an answer before, only what has changed since, in the order of the changes.
    """

    event_ids: Ids | None = None
    filters: Filters | None = None
    after: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> _Events:
        offset, limit = self.page
        query = EventQuery(
            event_ids=self.event_ids or (),
            filters=conditions(self.filters),
            after=self.after,
            offset=offset,
            limit=limit,
        )
        page = await on.calls.events.describe(caller, query)
        return {"TotalCount": page.total, "EventSet": [_event(one) for one in page.items], "Cursor": page.cursor}


@DRYSTONE.change
class AcknowledgeEvents(Action, frozen=True, kw_only=True):
    """Note that somebody has seen events: they need no attention any more."""

    event_ids: Ids

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.events.acknowledge(caller, self.event_ids)


def message(one: event.Event) -> str:
    """Return what happened, in a sentence."""
    facts = one.facts
    if not one.subject_id and one.count > 1:
        text = f"{one.count} times: {one.kind.value.replace('_', ' ')}"
    else:
        text = MESSAGES[one.kind].format(
            subject=one.subject_id, snapshot=facts.snapshot_id, given=facts.given, asked=facts.asked,
            operation=facts.operation_kind, free_bytes=facts.free_bytes, seconds=facts.seconds, disks=facts.disks,
        )  # fmt: skip
    return f"{text}: {facts.reason}" if facts.reason else f"{text}."


def _event(one: event.Event) -> Event:
    facts = one.facts
    return {
        "EventId": one.id,
        "Kind": one.kind.value,
        "Severity": one.kind.severity.value,
        "OfInstallation": one.account_id == event.INSTALLATION,
        "SubjectId": one.subject_id,
        "Message": message(one),
        "Facts": {
            "Reason": facts.reason,
            "DiskId": facts.disk_id,
            "SnapshotId": facts.snapshot_id,
            "OperationId": facts.operation_id,
            "OperationKind": facts.operation_kind,
            "Asked": facts.asked,
            "Given": facts.given,
            "Object": facts.object,
            "Blocks": facts.blocks,
            "Snapshots": facts.snapshots,
            "Disks": facts.disks,
            "FreeBytes": facts.free_bytes,
            "Seconds": facts.seconds,
            "At": iso_time_if(facts.at),
        },
        "FirstSeenTime": iso_time(one.first_seen_at),
        "LastSeenTime": iso_time(one.last_seen_at),
        "Count": one.count,
        "ResolvedTime": iso_time_if(one.resolved_at),
        "AcknowledgedTime": iso_time_if(one.acknowledged_at),
        "AcknowledgedBy": one.acknowledged_by,
    }

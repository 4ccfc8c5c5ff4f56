"""What answers of several actions are made of.

What an action answers is checked against a type, and clients' types are made of those types.

Every field is always there. Names and meanings of CBS's are those of its description; `None` is null. Clients written
in Go dereference most fields without looking, so a field is null only where the description of the API allows it, and a
value that does not exist here is the documented empty one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypedDict

from drystone.domain.times import moment


@dataclass(frozen=True, slots=True)
class OneOf:
    """Says which texts a field may have."""

    values: tuple[str, ...]


SnapshotStateText = Annotated[str, OneOf(("NORMAL", "CREATING", "ROLLBACKING"))]


class Tag(TypedDict):
    """A key and a value of the user's own."""

    Key: str
    Value: str


def tags(pairs: Sequence[tuple[str, str]]) -> list[Tag]:
    """Return a list of `Tag`."""
    return [{"Key": key, "Value": value} for key, value in pairs]


class Image(TypedDict):
    """An image that is bound to a snapshot; there are none here."""

    ImageId: str
    ImageName: str


class DiskPlacement(TypedDict):
    """Where a disk or a snapshot is."""

    Zone: str
    ProjectId: int
    ProjectName: str
    CageId: str
    CdcId: str
    CdcName: str
    DedicatedClusterId: str


def placement(zone: str, project_id: int) -> DiskPlacement:
    """Return a `Placement`; there are no cages and no dedicated clusters here."""
    return {
        "Zone": zone,
        "ProjectId": project_id,
        "ProjectName": "",
        "CageId": "",
        "CdcId": "",
        "CdcName": "",
        "DedicatedClusterId": "",
    }


class SnapshotIdAnswer(TypedDict):
    """A snapshot that was taken."""

    SnapshotId: str


class OperationIdAnswer(TypedDict):
    """An operation that was begun."""

    OperationId: str


def iso_time(at_s: float) -> str:
    """Return `2022-04-02T17:44:55+00:00`."""
    return moment(at_s).isoformat(timespec="seconds")


def iso_time_if(at_s: float | None) -> str | None:
    """Return the same, or None for no time."""
    return None if at_s is None else iso_time(at_s)

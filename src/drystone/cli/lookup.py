"""Finding things: by id or by name, and joining what the two services say about them."""

import re
from collections.abc import Callable, Sequence

from drystone.cli.failure import CliError, Exit
from drystone.cli.gateway import PAGE, Wire
from drystone.cli.output import Record
from drystone.cli.records import (
    disk_record,
    instance_record,
    operation_record,
    snapshot_group_record,
    snapshot_record,
)
from drystone.cli.session import Session

_ID = re.compile(r"(disk|snap|csnap|ins|op)-[a-z0-9]{8}")
SPACE_IDS_MAX = 1000
"""Snapshots whose space is asked for at once."""
NAMED_MAX = 5
"""Ids in a sentence."""
SAME_NAME_MAX = 1000
"""Rows looked through for a name; the service may answer a name filter with near misses."""


def filters(**named: object) -> list[Wire] | None:
    """Return the wire's filters for those that are given; `disk_id="x"` becomes `disk-id`."""
    found = [
        {"Name": name.replace("_", "-"), "Values": [str(value)]} for name, value in named.items() if value is not None
    ]
    return found or None


def disk_id(session: Session, text: str) -> str:
    """Return the id of the disk with this id or, if exactly one has it, this name.

    Raises:
        CliError: No disk has this name, or several have.
    """
    if _ID.fullmatch(text):
        return text
    rows = session.service.cbs_rows(
        f"look for disk {text}", "DescribeDisks", "DiskSet", "DiskId",
        limit=SAME_NAME_MAX, Filters=filters(disk_name=text),
    )  # fmt: skip
    return _only("disk", text, [row["DiskId"] for row in rows if row["DiskName"] == text])


def disk_ids(session: Session, texts: Sequence[str]) -> list[str]:
    """Return the ids of several disks; as `disk_id`."""
    return [disk_id(session, text) for text in texts]


def snapshot_id(session: Session, text: str) -> str:
    """Return the id of the snapshot with this id or, if exactly one has it, this name.

    Raises:
        CliError: No snapshot has this name, or several have.
    """
    if _ID.fullmatch(text):
        return text
    rows = session.service.cbs_rows(
        f"look for snapshot {text}", "DescribeSnapshots", "SnapshotSet", "SnapshotId",
        limit=SAME_NAME_MAX, Filters=filters(snapshot_name=text),
    )  # fmt: skip
    return _only("snapshot", text, [row["SnapshotId"] for row in rows if row["SnapshotName"] == text])


def snapshot_group_id(session: Session, text: str) -> str:
    """Return the id of the snapshot group with this id or, if exactly one has it, this name.

    Raises:
        CliError: No group has this name, or several have.
    """
    if _ID.fullmatch(text):
        return text
    rows = session.service.cbs_rows(
        f"look for snapshot group {text}", "DescribeSnapshotGroups", "SnapshotGroupSet", "SnapshotGroupId",
        limit=SAME_NAME_MAX, Filters=filters(snapshot_group_name=text),
    )  # fmt: skip
    return _only("snapshot-group", text, [row["SnapshotGroupId"] for row in rows if row["SnapshotGroupName"] == text])


def instance_id(session: Session, text: str) -> str:
    """Return the id of an instance: `host` and `nbd` stand for the two that the server made at its start.

    Raises:
        CliError: No instance has this name, or several have.
    """
    ready = {"host": session.settings.host_instance_id, "nbd": session.settings.nbd_instance_id}.get(text)
    if ready is not None:
        return ready
    if _ID.fullmatch(text):
        return text
    rows = instances(session, [], limit=SAME_NAME_MAX)
    return _only("instance", text, [str(row["instance_id"]) for row in rows if row["name"] == text])


def disks(
    session: Session, wanted: Sequence[str], *, limit: int, wire_filters: list[Wire] | None = None
) -> list[Record]:
    """Return the records of these disks, or of all that the filters let through, at most `limit`."""
    rows = session.service.cbs_rows(
        "list disks", "DescribeDisks", "DiskSet", "DiskId",
        limit=limit, DiskIds=list(wanted) or None, Filters=wire_filters,
    )  # fmt: skip
    details: dict[str, Wire] = {}
    for chunk in _chunks([row["DiskId"] for row in rows]):
        found = session.service.drystone_rows(
            "read the details of disks", "DescribeDiskDetails", "DiskDetailSet", "DiskId",
            limit=PAGE, DiskIds=chunk,
        )  # fmt: skip
        details.update((detail["DiskId"], detail) for detail in found)
    return [disk_record(row, details.get(row["DiskId"], {})) for row in rows]


def disk(session: Session, wanted: str) -> Record:
    """Return the record of one disk.

    Raises:
        CliError: There is no such disk.
    """
    found = disks(session, [wanted], limit=1)
    if not found:
        raise CliError(Exit.NOT_FOUND, f"there is no disk {wanted}; `drystone disk list` shows them")
    return found[0]


def snapshots(
    session: Session, wanted: Sequence[str], *, limit: int, wire_filters: list[Wire] | None = None
) -> list[Record]:
    """Return the records of these snapshots, or of all that the filters let through, at most `limit`."""
    rows = session.service.cbs_rows(
        "list snapshots", "DescribeSnapshots", "SnapshotSet", "SnapshotId",
        limit=limit, SnapshotIds=list(wanted) or None, Filters=wire_filters,
    )  # fmt: skip
    taken: dict[str, Wire] = {}
    for chunk in _chunks([row["SnapshotId"] for row in rows]):
        found = session.service.drystone_rows(
            "read how snapshots were taken", "DescribeSnapshotRecords", "SnapshotRecordSet", "SnapshotId",
            limit=PAGE, SnapshotIds=chunk,
        )  # fmt: skip
        taken.update((record["SnapshotId"], record) for record in found)
    return [snapshot_record(row, taken.get(row["SnapshotId"], {})) for row in rows]


def snapshot(session: Session, wanted: str) -> Record:
    """Return the record of one snapshot.

    Raises:
        CliError: There is no such snapshot.
    """
    found = snapshots(session, [wanted], limit=1)
    if not found:
        raise CliError(Exit.NOT_FOUND, f"there is no snapshot {wanted}; `drystone snapshot list` shows them")
    return found[0]


def snapshot_groups(session: Session, *, limit: int, wire_filters: list[Wire] | None = None) -> list[Record]:
    """Return the records of all snapshot groups that the filters let through, at most `limit`."""
    rows = session.service.cbs_rows(
        "list snapshot groups", "DescribeSnapshotGroups", "SnapshotGroupSet", "SnapshotGroupId",
        limit=limit, Filters=wire_filters,
    )  # fmt: skip
    taken: dict[str, Wire] = {}
    for chunk in _chunks([row["SnapshotGroupId"] for row in rows]):
        found = session.service.drystone_rows(
            "read how groups were taken", "DescribeSnapshotGroupRecords", "SnapshotGroupRecordSet", "SnapshotGroupId",
            limit=PAGE, SnapshotGroupIds=chunk,
        )  # fmt: skip
        taken.update((record["SnapshotGroupId"], record) for record in found)
    return [snapshot_group_record(row, taken.get(row["SnapshotGroupId"], {})) for row in rows]


def snapshot_group(session: Session, wanted: str) -> Record:
    """Return the record of one snapshot group.

    Raises:
        CliError: There is no such group.
    """
    found = snapshot_groups(session, limit=1, wire_filters=filters(snapshot_group_id=wanted))
    if not found:
        raise CliError(
            Exit.NOT_FOUND, f"there is no snapshot group {wanted}; `drystone snapshot-group list` shows them"
        )
    return found[0]


def snapshot_space(session: Session, snapshot: Record) -> Record:
    """Return the space that a snapshot holds; without numbers while it is being made, or if they cannot be had."""
    unknown: Record = {"unique_bytes": None, "shared_bytes": None}
    if snapshot["state"] == "CREATING":
        return unknown
    try:
        answer = session.service.drystone(
            "read its space", "DescribeSnapshotSpace", SnapshotIds=[snapshot["snapshot_id"]]
        )
    except CliError as error:
        session.out.say(f"its space is not known: {error.message}")
        return unknown
    (space,) = answer["SnapshotSpaceSet"]
    return {"unique_bytes": space["UniqueBytes"], "shared_bytes": space["SharedBytes"]}


def with_unique_bytes(session: Session, snapshots: Sequence[Record]) -> list[Record]:
    """Return the records with `unique_bytes`, None where that is not known."""
    made = [one["snapshot_id"] for one in snapshots if one["state"] != "CREATING"]
    unique: dict[str, int] = {}
    try:
        for at in range(0, len(made), SPACE_IDS_MAX):
            ids = made[at : at + SPACE_IDS_MAX]
            answer = session.service.drystone("read their space", "DescribeSnapshotSpace", SnapshotIds=ids)
            unique.update((one["SnapshotId"], one["UniqueBytes"]) for one in answer["SnapshotSpaceSet"])
    except CliError as error:
        session.out.say(f"unique_bytes is not known: {error.message}")
    return [{**one, "unique_bytes": unique.get(str(one["snapshot_id"]))} for one in snapshots]


def instances(session: Session, wanted: Sequence[str], *, limit: int) -> list[Record]:
    """Return the records of these instances, or of all, at most `limit`."""
    rows = session.service.drystone_rows(
        "list instances", "DescribeInstances", "InstanceSet", "InstanceId",
        limit=limit, InstanceIds=list(wanted) or None,
    )  # fmt: skip
    return [instance_record(row) for row in rows]


def operations(
    session: Session, wanted: Sequence[str], *, limit: int, wire_filters: list[Wire] | None = None
) -> list[Record]:
    """Return the records of these operations, or of all that the filters let through, at most `limit`."""
    rows = session.service.drystone_rows(
        "list operations", "DescribeOperations", "OperationSet", "OperationId",
        limit=limit, OperationIds=list(wanted) or None, Filters=wire_filters,
    )  # fmt: skip
    return [operation_record(row) for row in rows]


def known_operations(session: Session, resource_ids: Sequence[str], kind: str) -> frozenset[str]:
    """Return the ids of the operations of this kind on these resources.

    Taken before an act, it tells that act's failure from an older one.
    """
    wire_filters = [
        {"Name": "resource-id", "Values": list(resource_ids)},
        {"Name": "kind", "Values": [kind]},
    ]
    found = operations(session, [], limit=SAME_NAME_MAX, wire_filters=wire_filters)
    return frozenset(str(record["operation_id"]) for record in found)


def new_operations(session: Session, resource_id: str, kind: str, known: frozenset[str] = frozenset()) -> list[Record]:
    """Return the operations of this kind on a resource that are not among `known`."""
    found = operations(session, [], limit=SAME_NAME_MAX, wire_filters=filters(resource_id=resource_id, kind=kind))
    return [record for record in found if record["operation_id"] not in known]


def raise_if_failed(session: Session, resource_id: str, kind: str, known: frozenset[str] = frozenset()) -> None:
    """Raise what went wrong if an operation of this kind, not among `known`, has failed.

    Raises:
        CliError: It has.
    """
    for operation in new_operations(session, resource_id, kind, known):
        if operation["state"] == "FAILED":
            raise failed(operation, resource_id)


def failed(operation: Record, resource_id: str) -> CliError:
    """Return the error that tells why an operation failed."""
    return CliError(
        Exit.REFUSED,
        f"{operation['kind']} of {resource_id} failed: {operation['error_message'] or 'no reason was given'} "
        f"[{operation['error_code'] or 'InternalError'}]; see `drystone operation show "
        f"{operation['operation_id']}`",
    )


def named(ids: Sequence[str]) -> str:
    """Return ids for a sentence: the first few, and how many more."""
    if len(ids) <= NAMED_MAX:
        return ", ".join(ids)
    return f"{', '.join(ids[:NAMED_MAX])} and {len(ids) - NAMED_MAX} more"


def in_parts(ids: Sequence[str], act: Callable[[list[str]], object]) -> None:
    """Do something with as many ids at once as a call takes.

    Raises:
        CliError: A part failed; the message says for how many it was done before.
    """
    parts = _chunks(list(ids))
    for number, part in enumerate(parts):
        try:
            act(part)
        except CliError as error:
            if number == 0:
                raise
            done = f"it was done for the first {number * PAGE} of {len(ids)}"
            raise CliError(error.code, f"{error.message}; {done}") from None


def _only(what: str, name: str, ids: Sequence[str]) -> str:
    if len(ids) == 1:
        return ids[0]
    if not ids:
        raise CliError(Exit.NOT_FOUND, f"there is no {what} {name}; `drystone {what} list` shows them")
    raise CliError(Exit.USAGE, f"{len(ids)} {what}s have the name {name} ({named(ids)}): give the id")


def _chunks(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]

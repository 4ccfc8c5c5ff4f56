"""Finding things: by id, by name or as `DISK@SNAPSHOT`, and joining what the two services say about them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from drystone.cli.failure import CliError, Exit
from drystone.cli.gateway import PAGE, Wire
from drystone.cli.lists import Record
from drystone.cli.records import (
    IN_VAIN,
    account_record,
    disk_record,
    instance_record,
    operation_record,
    policy_record,
    snapshot_group_record,
    snapshot_record,
)
from drystone.cli.session import Session

_ID = re.compile(r"(disk|snap|csnap|asp|ins|op)-[a-z0-9]{8}")
_ACCOUNT_ID = re.compile(r"[0-9]{12}")
SPACE_IDS_MAX = 1000
"""Snapshots whose space is asked for at once."""
NAMED_MAX = 5
"""Ids in a sentence."""
SAME_NAME_MAX = 1000
"""Rows looked through for a name."""
LATEST = "latest"
"""`DISK@latest` is the newest snapshot of a disk that is complete."""


def filters(**named: object) -> list[Wire] | None:
    """Return the wire's filters for those that are given: `disk_id="x"` becomes `disk-id`; a list is several values."""
    found = [
        _filter(name.replace("_", "-"), value if isinstance(value, list) else [value])
        for name, value in named.items()
        if value is not None
    ]
    return found or None


def _filter(name: str, values: Sequence[object]) -> Wire:
    return {"Name": name, "Values": [str(value) for value in values]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of thing that the service lists. Its actions and fields have regular names, made of `wire`."""

    wire: str
    """`Disk` has the action `DescribeDisks` and the fields `DiskSet`, `DiskIds`, `DiskId`, `DiskName`."""
    noun: str
    """For messages; with a hyphen, the command."""
    record: Callable[..., Record]
    """Makes a record of a row; of kinds of CBS, with what Drystone's own service tells beside it."""
    beside: str | None = None
    """`DiskDetail` has the action `DescribeDiskDetails` and the field `DiskDetailSet`; None: a kind of Drystone's own
    service.
    """
    about: str = ""
    """What is told beside it."""
    by_filter: bool = False
    """Ids are a filter, since there is no parameter for them."""
    ids: re.Pattern[str] = _ID
    """What has this form is an id, and never taken for a name."""

    rows: str = ""
    """What its rows are called, where that is not `wire`: `PolicyDetail` has the action `DescribePolicyDetails`."""

    @property
    def plural(self) -> str:
        """The noun for several."""
        return f"{self.noun[:-1]}ies" if self.noun.endswith("y") else f"{self.noun}s"

    @property
    def id(self) -> str:
        """The field with the id."""
        return f"{self.wire}Id"

    @property
    def command(self) -> str:
        """The command, and what the names of filters begin with."""
        return self.noun.replace(" ", "-")


DISK = Kind(
    wire="Disk", noun="disk", record=disk_record, beside="DiskDetail", about="the details of disks"
)  # fmt: skip
SNAPSHOT = Kind(
    wire="Snapshot", noun="snapshot", record=snapshot_record, beside="SnapshotRecord", about="how snapshots were taken"
)
SNAPSHOT_GROUP = Kind(
    wire="SnapshotGroup", noun="snapshot group", record=snapshot_group_record, beside="SnapshotGroupRecord",
    about="how groups were taken", by_filter=True,
)  # fmt: skip
INSTANCE = Kind(wire="Instance", noun="instance", record=instance_record)
OPERATION = Kind(wire="Operation", noun="operation", record=operation_record)
POLICY = Kind(wire="Policy", noun="policy", record=policy_record, rows="PolicyDetail")
ACCOUNT = Kind(wire="Account", noun="account", record=account_record, ids=_ACCOUNT_ID)


def id_of(session: Session, kind: Kind, text: str, *, disk: str | None = None) -> str:
    """Return the id of the one thing that is meant: by its id, else by its name, or as `DISK@NAME` or `DISK@latest`.

    `host` and `nbd` stand for the two instances that the server made at its start.

    Args:
        session: Where to ask.
        kind: Of what.
        text: What was written.
        disk: Of snapshots: only this disk's count, by its id.

    Raises:
        CliError: Nothing is meant, or several things may be; the message lists their ids.
    """
    if kind is INSTANCE and (ready := _ready(session, text)) is not None:
        return ready
    if kind.ids.fullmatch(text):
        return text
    ids = _named(session, kind, text, disk)
    if kind is SNAPSHOT and "@" in text:
        # A disk's name may have an @ in it, and so may a snapshot's: what may be meant both ways is refused.
        ids += [one for one in _of_disk(session, *text.rsplit("@", 1)) if one not in ids]
    if not ids:
        raise _unknown(kind, text) if kind is not SNAPSHOT else _unknown_snapshot(session, text, disk)
    if len(ids) > 1:
        way = ", or DISK@NAME" if kind is SNAPSHOT and disk is None and "@" not in text else ""
        raise CliError(Exit.USAGE, f"{len(ids)} {kind.plural} have the name {text} ({named(ids)}): give the id{way}")
    return ids[0]


def warn_of_same_name(session: Session, kind: Kind, name: str | None, *, disk: str | None = None) -> None:
    """Say in one line that a name is taken, since it stands for nothing when two have it; of snapshots, on one disk."""
    same = [] if name is None else _named(session, kind, name, disk)
    if same:
        which = kind.noun if disk is None else f"{kind.noun} of {disk}"
        session.out.say(f"warning: a {which} has the name {name} already ({named(same)}): give ids from now on")


def _ready(session: Session, text: str) -> str | None:
    settings = session.settings
    return {"host": settings.host_instance_id, "nbd": settings.nbd_instance_id}.get(text)


def _named(session: Session, kind: Kind, text: str, disk: str | None) -> list[str]:
    """Return the ids of what has this name."""
    wanted = None
    if kind.beside is not None:
        wanted = [_filter(f"{kind.command}-name", [text]), *(filters(disk_id=disk) or ())]
    rows = _rows(session, kind, f"look for {kind.noun} {text}", limit=SAME_NAME_MAX, Filters=wanted)
    # Kinds of Drystone's own service are not filtered by name, and others may answer with near misses.
    return [str(row[kind.id]) for row in rows if row.get(f"{kind.wire}Name") == text]


def _of_disk(session: Session, disk: str, name: str) -> list[str]:
    """Return the ids of the snapshots of a disk that have a name; its newest complete one too, for `latest`."""
    try:
        identity = id_of(session, DISK, disk)
    except CliError as error:
        if error.code is not Exit.NOT_FOUND:
            raise
        return []
    found = _named(session, SNAPSHOT, name, identity)
    if name == LATEST:
        newest = _rows(
            session, SNAPSHOT, f"look for the newest snapshot of {disk}", limit=1,
            Filters=filters(disk_id=identity, snapshot_state=["NORMAL", "ROLLBACKING"]), Order="DESC",
            OrderField="CREATE_TIME",
        )  # fmt: skip
        found += [str(row["SnapshotId"]) for row in newest if row["SnapshotId"] not in found]
    return found


def resource_of(session: Session, text: str, *kinds: Kind) -> str:
    """Return the id of the one thing of any of these kinds that is meant; as `id_of`.

    Raises:
        CliError: Nothing is meant, or several things may be.
    """
    if _ID.fullmatch(text):
        return text
    if INSTANCE in kinds and (ready := _ready(session, text)) is not None:
        return ready
    found: list[str] = []
    for kind in kinds:
        try:
            found.append(id_of(session, kind, text))
        except CliError as error:
            if error.code is not Exit.NOT_FOUND:
                raise
    if not found:
        lists = " and ".join(f"`drystone {kind.command} list`" for kind in kinds)
        nouns = " and ".join(f"no {kind.noun}" for kind in kinds)
        raise CliError(Exit.NOT_FOUND, f"there is {nouns} {text}; {lists} show them")
    if len(found) > 1:
        raise CliError(Exit.USAGE, f"{len(found)} things have the name {text} ({named(found)}): give the id")
    return found[0]


def ids_of(session: Session, kind: Kind, texts: Sequence[str]) -> list[str]:
    """Return the ids of several things; as `id_of`.

    Raises:
        CliError: None are given.
    """
    if not texts:
        raise CliError(Exit.USAGE, f"give the id or the name of at least one {kind.noun}")
    return [id_of(session, kind, text) for text in texts]


def matching(
    session: Session, kind: Kind, /, *, limit: int, search: str | None = None, **named: object
) -> list[Record]:
    """Return the records of what the filters let through, at most `limit`.

    Args:
        session: Where to ask.
        kind: Of what.
        limit: Most records.
        search: Words that are all parts of the name, the id, a tag or what it belongs to; the server looks.
        **named: As `filters`.
    """
    if search is not None:
        return _searched(session, kind, limit, filters(search=search, **named))
    return _records(session, kind, limit=limit, Filters=filters(**named))


def some(session: Session, kind: Kind, ids: Sequence[str]) -> list[Record]:
    """Return the records of those of these things that there are."""
    if kind.by_filter:
        return _records(session, kind, limit=len(ids), Filters=[_filter(f"{kind.command}-id", ids)])
    return _records(session, kind, limit=len(ids), **{f"{kind.wire}Ids": list(ids)})


def one(session: Session, kind: Kind, wanted: str) -> Record:
    """Return the record of one thing.

    Raises:
        CliError: It is not there.
    """
    found = some(session, kind, [wanted])
    if not found:
        raise _unknown(kind, wanted)
    return found[0]


def check_detached(session: Session, disks: Sequence[str]) -> None:
    """Say how to go on where a disk must be detached first; the service has the last word.

    Raises:
        CliError: One is attached.
    """
    for record in some(session, DISK, disks):
        if record["instance_id"] is not None:
            raise attached(record)


def check_unattached(session: Session, disks: Sequence[str]) -> None:
    """Say of disks that cannot be attached where they are attached already.

    Raises:
        CliError: One is.
    """
    for record in some(session, DISK, disks):
        if record["state"] == "ATTACHED":
            place = record["device"] or record["nbd_uri"]
            text = f"{record['disk_id']} is attached to {record['instance_id']} already"
            raise CliError(Exit.BUSY, text + (f", as {place}" if place else ""))


def attached(record: Record, otherwise: str = "") -> CliError:
    """Return the error of a disk that must be detached first."""
    disk = record["disk_id"]
    text = f"{disk} is attached to {record['instance_id']}: detach it first with `drystone disk detach {disk}`"
    return CliError(Exit.BUSY, f"{text}{otherwise and ', '}{otherwise}")


def _unknown(kind: Kind, text: str) -> CliError:
    return CliError(Exit.NOT_FOUND, f"there is no {kind.noun} {text}; `drystone {kind.command} list` shows them")


def _unknown_snapshot(session: Session, text: str, disk: str | None) -> CliError:
    """Return the error of a name that no snapshot has, or none of this disk: what it may have been meant for."""
    of, name = text.rsplit("@", 1) if "@" in text else (disk, text)
    if disk is not None and of == disk and name == text:
        others = _records(session, SNAPSHOT, limit=PAGE, Filters=filters(snapshot_name=name))
        whose = named([f"{one['snapshot_id']} of {one['disk_id']}" for one in others if one["name"] == name])
        if whose:
            return CliError(Exit.NOT_FOUND, f"{disk} has no snapshot {name}; that is the name of {whose}")
    known = of is not None and (
        of == disk or bool(_named(session, DISK, of, None) or (_ID.fullmatch(of) and some(session, DISK, [of])))
    )
    if not known:
        return _unknown(SNAPSHOT, text)
    what = "complete snapshot" if name == LATEST else f"snapshot {name}"
    return CliError(
        Exit.NOT_FOUND, f"disk {of} has no {what}; `drystone snapshot list --disk {of}` shows those that it has"
    )


def _rows(session: Session, kind: Kind, doing: str, *, limit: int, **parameters: Any) -> list[Wire]:  # noqa: ANN401
    read = session.service.drystone_rows if kind.beside is None else session.service.cbs_rows
    rows = kind.rows or kind.wire
    return read(doing, f"Describe{rows}s", f"{rows}Set", kind.id, limit=limit, **parameters)


def _records(session: Session, kind: Kind, *, limit: int, **parameters: Any) -> list[Record]:  # noqa: ANN401
    rows = _rows(session, kind, f"list {kind.plural}", limit=limit, **parameters)
    if kind.beside is None:
        return [kind.record(row) for row in rows]
    beside: dict[str, Wire] = {}
    for chunk in _chunks([row[kind.id] for row in rows]):
        found = session.service.drystone_rows(
            f"read {kind.about}", f"Describe{kind.beside}s", f"{kind.beside}Set", kind.id,
            limit=PAGE, **{f"{kind.wire}Ids": chunk},
        )  # fmt: skip
        beside.update((row[kind.id], row) for row in found)
    return [kind.record(row, beside.get(row[kind.id], {})) for row in rows]


def _searched(session: Session, kind: Kind, limit: int, wanted: list[Wire] | None) -> list[Record]:
    """Return the records that Drystone's own service finds, in its order: CBS knows no parts of names."""
    assert kind.beside is not None
    beside = session.service.drystone_rows(
        f"search {kind.plural}", f"Describe{kind.beside}s", f"{kind.beside}Set", kind.id, limit=limit, Filters=wanted
    )
    rows: dict[str, Wire] = {}
    for chunk in _chunks([str(row[kind.id]) for row in beside]):
        found = _rows(session, kind, f"list {kind.plural}", limit=PAGE, **{f"{kind.wire}Ids": chunk})
        rows.update((str(row[kind.id]), row) for row in found)
    # One that went meanwhile is none of them.
    return [kind.record(rows[row[kind.id]], row) for row in beside if row[kind.id] in rows]


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


def known_operations(session: Session, resource_ids: Sequence[str], kind: str) -> frozenset[str]:
    """Return the ids of the operations of this kind on these resources.

    Taken before an act, it tells that act's failure from an older one.
    """
    found = matching(session, OPERATION, limit=SAME_NAME_MAX, resource_id=list(resource_ids), kind=kind)
    return frozenset(str(record["operation_id"]) for record in found)


def new_operations(session: Session, resource_id: str, kind: str, known: frozenset[str] = frozenset()) -> list[Record]:
    """Return the operations of this kind on a resource that are not among `known`."""
    found = matching(session, OPERATION, limit=SAME_NAME_MAX, resource_id=resource_id, kind=kind)
    return [record for record in found if record["operation_id"] not in known]


def raise_if_failed(session: Session, resource_id: str, kind: str, known: frozenset[str] = frozenset()) -> None:
    """Raise what went wrong if an operation of this kind, not among `known`, has failed.

    Raises:
        CliError: It has.
    """
    for operation in new_operations(session, resource_id, kind, known):
        if operation["state"] in IN_VAIN:
            raise failed(operation, resource_id)


def failed(operation: Record, resource_id: str) -> CliError:
    """Return the error that tells why an operation has no result."""
    what = f"{operation['kind']} of {resource_id}"
    if operation["state"] == "CANCELLED":
        told = f"{what} was cancelled"
    else:
        reason = operation["error_message"] or "no reason was given"
        told = f"{what} failed: {reason} [{operation['error_code'] or 'InternalError'}]"
    return CliError(Exit.REFUSED, f"{told}; see `drystone operation show {operation['operation_id']}`")


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


def _chunks(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]

"""What commands are given by name or id: the types of their arguments, which a shell completes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.completion import CompletionContext

from drystone.cli import lookup
from drystone.cli.failure import CliError
from drystone.cli.gateway import PAGE
from drystone.cli.lists import Record
from drystone.cli.lookup import ACCOUNT, DISK, INSTANCE, OPERATION, POLICY, SNAPSHOT, SNAPSHOT_GROUP, Kind
from drystone.cli.records import event_record
from drystone.cli.session import Common, Outside, Session
from drystone.domain.disk import UNNAMED

ANSWER_SECONDS: Final = 2
"""How long a shell that completes waits for each answer of the server: somebody sits before it."""
Candidates = Iterator[tuple[str, str]]
Completer = Callable[[CompletionContext], Sequence[tuple[str, str]]]


def _completer(find: Callable[[Session, str], Candidates]) -> Completer:
    """Return a completer that asks the server, and is silent if that does not answer."""

    def complete(context: CompletionContext) -> Sequence[tuple[str, str]]:
        data = context.get("data")
        place = None if data is None or data.raw is None else Path(data.raw)
        outside = Outside(
            clock=lambda: 0.0, monotonic=lambda: 0.0, sleep=lambda _seconds: None, answer_seconds=ANSWER_SECONDS
        )
        try:
            return list(find(outside.session(Common(data=place)), context.incomplete))
        except CliError:
            return []

    return complete


def _things(*kinds: Kind) -> Completer:
    """Complete names of things, or their ids: the id where that is being typed, or no name tells the thing."""

    def find(session: Session, begun: str) -> Candidates:
        for kind in kinds:
            searched = begun if kind in {DISK, SNAPSHOT} and "@" not in begun else ""
            records = lookup.matching(session, kind, limit=PAGE, search=searched or None)
            names = Counter(record.get("name") for record in records)
            for record in records:
                yield _candidate(record, begun, unique=names[record.get("name")] == 1)
            if kind is SNAPSHOT and "@" in begun:
                yield from _of_disk(session, begun.rsplit("@", 1)[0])

    return _completer(find)


def _candidate(record: Record, begun: str, *, unique: bool) -> tuple[str, str]:
    identity, name = str(next(iter(record.values()))), record.get("name")
    told = " ".join(str(record[field]) for field in ("kind", "state") if record.get(field))
    if name is None or name == UNNAMED:
        return identity, told
    if not unique or (identity.startswith(begun) and not str(name).startswith(begun)):
        return identity, f"{name} {told}".strip()
    return str(name), f"{identity} {told}".strip()


def _of_disk(session: Session, disk: str) -> Candidates:
    identity = lookup.id_of(session, DISK, disk)
    yield f"{disk}@{lookup.LATEST}", "the newest that is complete"
    for record in lookup.matching(session, SNAPSHOT, limit=PAGE, disk_id=identity):
        if record["name"] not in {None, UNNAMED}:
            yield f"{disk}@{record['name']}", str(record["snapshot_id"])


def _events(session: Session, _begun: str) -> Candidates:
    answer = session.service.drystone("list events", "DescribeEvents", Limit=PAGE)
    for event in map(event_record, answer["EventSet"]):
        yield str(event["event_id"]), str(event["message"])


DiskName = Annotated[str, Parameter(completer=_things(DISK))]
SnapshotName = Annotated[str, Parameter(completer=_things(SNAPSHOT))]
GroupName = Annotated[str, Parameter(completer=_things(SNAPSHOT_GROUP))]
PolicyName = Annotated[str, Parameter(completer=_things(POLICY))]
InstanceName = Annotated[str, Parameter(completer=_things(INSTANCE))]
AccountName = Annotated[str, Parameter(completer=_things(ACCOUNT))]
OperationId = Annotated[str, Parameter(completer=_things(OPERATION))]
HeldName = Annotated[str, Parameter(completer=_things(DISK, INSTANCE))]
ResourceName = Annotated[str, Parameter(completer=_things(DISK, SNAPSHOT, INSTANCE))]
EventId = Annotated[str, Parameter(completer=_completer(_events))]

"""The commands on events: what went wrong, and who has seen it."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from drystone.cli import lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.gateway import PAGE
from drystone.cli.lists import Record
from drystone.cli.naming import EventId
from drystone.cli.options import Limit, add_command
from drystone.cli.records import EVENT_COLUMNS, event_record
from drystone.cli.session import NO_LIST_OPTIONS, NO_OPTIONS, Commands, CommonOptions, ListOptions, Outside, Session

EVENTS = 100
FOLLOW_SECONDS = 2.0

Switch = Annotated[bool, Parameter(negative="")]


def events_app(outside: Outside) -> App:
    """Return the commands `drystone events ...`."""
    app = App(
        name="events",
        help_epilogue="Example:\n  drystone events --unresolved\n  drystone events --follow --json",
    )
    commands = EventCommands(outside)
    add_command(
        app,
        commands.acknowledge,
        "acknowledge",
        "drystone events acknowledge evt-1a2b3c4d",
        "drystone events acknowledge --all",
    )
    app.default(commands.events)
    return app


class EventCommands(Commands):
    """See `Commands`."""

    def events(
        self,
        *,
        unresolved: Switch = False,
        unacknowledged: Switch = False,
        kind: str | None = None,
        severity: Literal["warning", "error"] | None = None,
        subject: str | None = None,
        follow: Switch = False,
        limit: Limit = EVENTS,
        common: ListOptions = NO_LIST_OPTIONS,
    ) -> None:
        """List events, the newest first; one trouble is one event as long as it lasts, and `count` says how often.

        They are those of your account; an administrator also sees those of the installation.

        Args:
            unresolved: Only what is not over.
            unacknowledged: Only what nobody has acknowledged.
            kind: Only those of this kind, for example snapshot_failed.
            severity: Only warnings, or only errors.
            subject: Only those about the disk, snapshot, operation or object with this id.
            follow: Then go on and print each change, until interrupted; a line each, with --json an object.
            limit: Maximum number of events to list.
            common: Options that every list takes.
        """
        if follow and common.watch:
            raise CliError(Exit.USAGE, "give --follow or --watch, not both: --follow prints each change as it comes")
        session = self._outside.session(common)
        # The cursor first: what changes while the list is read is told twice rather than not at all.
        cursor = int(session.service.drystone("read events", "DescribeEvents", Limit=1)["Cursor"]) if follow else 0
        wanted = lookup.filters(
            kind=kind, severity=severity, subject_id=subject, resolved="false" if unresolved else None,
            acknowledged="false" if unacknowledged else None,
        )  # fmt: skip
        rows = session.service.drystone_rows(
            "list events", "DescribeEvents", "EventSet", "EventId", limit=limit, Filters=wanted
        )
        if not follow:
            session.out.records([event_record(row) for row in rows], EVENT_COLUMNS, key="event_id")
            return
        for row in reversed(rows):
            _tell(session, event_record(row))
        # What is over now is told, too: it was told that it had begun.
        wanted = lookup.filters(kind=kind, severity=severity, subject_id=subject)
        while True:
            answer = session.service.drystone(
                "read events", "DescribeEvents", After=cursor, Limit=PAGE, Filters=wanted
            )  # fmt: skip
            cursor = int(answer["Cursor"])
            for row in answer["EventSet"]:
                _tell(session, event_record(row))
            if len(answer["EventSet"]) == int(answer["TotalCount"]):
                session.sleep(FOLLOW_SECONDS)

    def acknowledge(
        self,
        *event: EventId,
        all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Say that you have seen events: they need no attention any more.

        What failed once is over then. What lasts, as low space, stays in the list until it ends.

        Args:
            event: Ids.
            all_: All that need attention now.
            common: Options that every command takes.
        """
        if bool(event) == all_:
            raise CliError(Exit.USAGE, "give ids of events, or --all")
        session = self._outside.session(common)
        ids = list(event)
        if all_:
            rows = session.service.drystone_rows(
                "list events", "DescribeEvents", "EventSet", "EventId", limit=1_000_000,
                Filters=lookup.filters(resolved="false", acknowledged="false"),
            )  # fmt: skip
            ids = [str(row["EventId"]) for row in rows]
        lookup.in_parts(
            ids, lambda part: session.service.drystone("acknowledge events", "AcknowledgeEvents", EventIds=part)
        )
        session.out.result(ids, {"acknowledged_event_ids": ids})


def _tell(session: Session, record: Record) -> None:
    state = "over" if record["resolved_at"] else "seen" if record["acknowledged_at"] else str(record["severity"])
    times = f" ({record['count']} times)" if record["count"] != 1 else ""
    session.out.line(f"{record['last_seen_at']}  {state:7}  {record['message']}{times}", record)

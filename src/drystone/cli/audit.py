"""The commands on the trail of calls."""

from typing import Literal

from cyclopts import App

from drystone.cli import lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.naming import ResourceName
from drystone.cli.options import Limit, add_command
from drystone.cli.records import AUDIT_COLUMNS, audit_record
from drystone.cli.session import NO_LIST_OPTIONS, ListOptions, Outside, Session

ENTRIES = 100


def _resource(session: Session, text: str) -> str:
    """Return an id for a name; what nothing has as its name may be a path, an account, or what is gone."""
    try:
        return lookup.resource_of(session, text, lookup.DISK, lookup.SNAPSHOT, lookup.INSTANCE)
    except CliError as error:
        if error.code is Exit.NOT_FOUND:
            return text
        raise


def audit_app(outside: Outside) -> App:
    """Return the commands `drystone audit ...`."""
    app = App(name="audit", help="The audit trail: who changed what, or tried to.")

    def list_(
        *,
        account: str | None = None,
        action: str | None = None,
        resource: ResourceName | None = None,
        code: str | None = None,
        outcome: Literal["OK", "REFUSED"] | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: Limit = ENTRIES,
        common: ListOptions = NO_LIST_OPTIONS,
    ) -> None:
        """List calls that changed something or tried to, the newest first.

        They are those of your account; an administrator sees everybody's. Of an account's refused
        calls 60 a minute are listed one by one; the others are counted by action and code, and `calls` is their number.

        Args:
            account: Only those of the account with this id or name; for the administrator.
            action: Only those of this action, for example TerminateDisks.
            resource: Only those that named the disk, snapshot, instance, account or path.
            code: Only those that ended with this code, for example InvalidDiskId.NotFound.
            outcome: Only what was done, or only what was refused.
            since: Only those from this time on, with its zone: 2026-11-01T00:00:00+08:00.
            until: Only those before this time.
            limit: Maximum number of entries to list.
            common: Options that every list takes.
        """
        session = outside.session(common)
        whose = None if account is None else lookup.id_of(session, lookup.ACCOUNT, account)
        on = None if resource is None else _resource(session, resource)
        rows = session.service.drystone_rows(
            "list the audit trail", "DescribeAuditTrail", "AuditEntrySet", "EntryId", limit=limit, BeginTime=since,
            EndTime=until,
            Filters=lookup.filters(account_id=whose, action=action, resource_id=on, code=code, outcome=outcome),
        )  # fmt: skip
        session.out.records([audit_record(row) for row in rows], AUDIT_COLUMNS)

    add_command(
        app,
        list_,
        "list",
        "drystone audit list --outcome REFUSED --since 2026-11-01T00:00:00+08:00",
        "drystone audit list --resource disk-1a2b3c4d --json",
    )
    return app

"""The command that says which disks are protected."""

from typing import Annotated

from cyclopts import App, Parameter

from drystone.cli import lookup
from drystone.cli.options import LIST_LIMIT, Limit
from drystone.cli.records import PROTECTION_COLUMNS, protection_record
from drystone.cli.session import NO_LIST_OPTIONS, ListOptions, Outside


def protection_app(outside: Outside) -> App:
    """Return the command `drystone protection`."""
    app = App(
        name="protection",
        help_epilogue="Example:\n  drystone protection --unprotected\n"
        "  drystone protection --sort last_snapshot_at --json",
    )

    def protection(
        *,
        unprotected: Annotated[bool, Parameter(negative="")] = False,
        uncovered: Annotated[bool, Parameter(negative="")] = False,
        behind: Annotated[bool, Parameter(negative="")] = False,
        limit: Limit = LIST_LIMIT,
        common: ListOptions = NO_LIST_OPTIONS,
    ) -> None:
        """List your disks with their last good snapshot, its consistency and when it was verified.

        A disk is unprotected if it has no snapshot that is whole, or if its newest snapshot failed.

        Args:
            unprotected: Only those that are not protected.
            uncovered: Only those that no snapshot policy covers.
            behind: Only those whose last good snapshot is older than a policy promises.
            limit: Maximum number of disks to list.
            common: Options that every list takes.
        """
        session = outside.session(common)
        rows = session.service.drystone_rows(
            "list what is protected", "DescribeProtection", "DiskProtectionSet", "DiskId", limit=limit,
            Filters=lookup.filters(
                protected="false" if unprotected else None, covered="false" if uncovered else None,
                behind="true" if behind else None,
            ),
        )  # fmt: skip
        session.out.records([protection_record(row) for row in rows], PROTECTION_COLUMNS)

    app.default(protection)
    return app

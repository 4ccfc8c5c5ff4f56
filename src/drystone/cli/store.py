"""The commands on the snapshot store; for the administrator."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from drystone.cli.failure import CliError, Exit
from drystone.cli.lists import Record
from drystone.cli.options import Timeout, Yes, add_command
from drystone.cli.records import collection_record, store_health_record, store_space_record, store_status_record
from drystone.cli.session import NO_OPTIONS, NO_SHOW_OPTIONS, Commands, CommonOptions, Outside, ShowOptions
from drystone.cli.wait import Step, wait_for_operation, wait_until

SCRUB_TIMEOUT_S = 86_400.0
GC_TIMEOUT_S = 86_400.0

Percent = Annotated[int, Parameter(validator=Number(gte=0, lte=100))]


def store_app(outside: Outside) -> App:
    """Return the commands `drystone store ...` that are a client's."""
    app = App(name="store", help="The snapshot store; for the administrator.")
    commands = StoreCommands(outside)
    add_command(app, commands.show, "show", "drystone store show --json")
    add_command(app, commands.status, "status", "drystone store status", "drystone store status --json")
    add_command(app, commands.gc, "gc", "drystone store gc --dry-run", "drystone store gc --threshold 0 --json")
    add_command(app, commands.confirm, "confirm", "drystone store confirm --yes")
    add_command(app, commands.scrub, "scrub", "drystone store scrub", "drystone store scrub --now --wait --json")
    return app


class StoreCommands(Commands):
    """See `Commands`."""

    def show(self, *, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show the store's space: referenced and unreferenced data, what can be freed, what was freed so far.

        Args:
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        session.out.record(store_space_record(session.service.drystone("read the store", "DescribeStore")))

    def status(self, *, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show where the store is, whether it answers, whose it is, and what was asked of it by day.

        Requests are those to a bucket, in the last 30 days. The exit code is 1 if the store does not answer.

        Args:
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        service = session.service
        found = store_status_record(
            service.drystone("read the store's status", "DescribeStoreStatus"),
            service.drystone("read the store's health", "DescribeStoreHealth"),
        )
        session.out.record(found)
        if found["state"] != "answers":
            raise CliError(Exit.REFUSED, f"the store cannot be used: {found['fault']}")

    def gc(
        self,
        *,
        dry_run: Annotated[bool, Parameter(negative="")] = False,
        threshold: Percent | None = None,
        timeout: Timeout = GC_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Compact packs that hold unreferenced data, and show how much space was freed.

        The server does it by itself where the unreferenced share of a pack reaches its own threshold.

        Args:
            dry_run: Change nothing; show which packs would be compacted.
            threshold: Only packs of which at least this share is unreferenced, in percent; 0: all that have any.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        begun = session.service.drystone("collect garbage", "CollectGarbage", DryRun=dry_run, Threshold=threshold)
        if dry_run:
            session.out.record(collection_record(begun, None))
            return
        operation = str(begun["OperationId"])
        result = wait_for_operation(session, operation, title="the store", timeout_s=timeout)["result"]
        session.out.record(collection_record(begun, result if isinstance(result, dict) else None))

    def confirm(self, *, yes: Yes = False, common: CommonOptions = NO_OPTIONS) -> None:
        """Confirm the result of a recovery or a reconciliation: snapshots expire and space is freed again.

        Args:
            yes: Do not ask.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        session.out.confirm("From now on snapshots expire again, and unreferenced data is deleted.", yes=yes)
        answer = session.service.drystone("confirm the store", "ConfirmStore")
        session.out.result([str(answer["WasHeld"] or "nothing was held")], {"was_held": answer["WasHeld"]})

    def scrub(
        self,
        *,
        now: bool = False,
        wait: bool = False,
        timeout: Timeout = SCRUB_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Show when the store was last verified, and what is damaged or suspect.

        The server verifies the store by itself, within the days and the bandwidth of its configuration. The exit code
        is 1 if anything is damaged.

        Args:
            now: Verify everything again, from now on.
            wait: Wait until everything is verified.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        if now:
            session.service.drystone("begin a scrub", "ScrubStore")

        def health() -> Record:
            return store_health_record(session.service.drystone("read the store's health", "DescribeStoreHealth"))

        def look() -> Step:
            found = health()
            due, total = (
                int(str(found[f"pack{end}"])) + int(str(found[f"snapshot{end}"])) for end in ("s_due", "_count")
            )
            return Step(done=due == 0, percent=100.0 * (total - due) / max(1, total))

        if wait:
            wait_until(session, look, title="scrub", timeout_s=timeout)
        found = health()
        session.out.record(found)
        if found["damaged_snapshot_count"]:
            raise CliError(Exit.REFUSED, f"{found['damaged_snapshot_count']} snapshots are damaged")

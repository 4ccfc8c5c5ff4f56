"""The commands on the snapshot store; for the administrator."""

from cyclopts import App

from drystone.cli.failure import CliError, Exit
from drystone.cli.options import Timeout, Yes
from drystone.cli.output import Record
from drystone.cli.records import store_health_record
from drystone.cli.session import NO_OPTIONS, CommonOptions, Outside
from drystone.cli.wait import Step, wait_until

SCRUB_TIMEOUT_S = 86_400.0


def store_app(outside: Outside) -> App:
    """Return the commands `drystone store ...` that are a client's."""
    app = App(name="store", help="The snapshot store; for the administrator.")
    commands = StoreCommands(outside)
    app.command(commands.confirm, name="confirm", help_epilogue="Example:\n  drystone store confirm --yes")
    app.command(
        commands.scrub,
        name="scrub",
        help_epilogue="Example:\n  drystone store scrub\n  drystone store scrub --now --wait --json",
    )
    return app


class StoreCommands:
    """Each public method is one command; its docstring is the help."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def confirm(self, *, yes: Yes = False, common: CommonOptions = NO_OPTIONS) -> None:
        """Confirm what a recovery or a reconciliation found: expiry and collection begin again.

        Args:
            yes: Do not ask.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        session.out.confirm("From now on snapshots expire again, and what no snapshot needs is deleted.", yes=yes)
        answer = session.service.drystone("confirm the store", "ConfirmStore")
        session.out.result([str(answer["WasHeld"]).lower()], {"was_held": answer["WasHeld"]})

    def scrub(
        self,
        *,
        now: bool = False,
        wait: bool = False,
        timeout: Timeout = SCRUB_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Show how much of the store was proven when, and what is damaged or suspect.

        The store is read by itself, within the days and the bandwidth of the server's configuration. The exit code is 1
        if anything is damaged.

        Args:
            now: Have everything proven anew, from now on.
            wait: Wait until nothing waits to be proven.
            timeout: Longest wait in seconds.
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

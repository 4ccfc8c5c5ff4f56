"""The commands on the snapshot store; for the administrator."""

from cyclopts import App

from drystone.cli.options import Yes
from drystone.cli.session import NO_OPTIONS, CommonOptions, Outside


def store_app(outside: Outside) -> App:
    """Return the commands `drystone store ...` that are a client's."""
    app = App(name="store", help="The snapshot store; for the administrator.")
    commands = StoreCommands(outside)
    app.command(commands.confirm, name="confirm", help_epilogue="Example:\n  drystone store confirm --yes")
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

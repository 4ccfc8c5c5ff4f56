"""The commands that install completion in a shell."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from drystone.cli.options import add_command

Shell = Literal["bash", "zsh", "fish"]


def completion_app(root: App) -> App:
    """Return the commands `drystone completion ...` for the shells that complete `root`'s commands."""
    app = App(name="completion", help="Completion of commands in a shell.")

    def install(shell: Annotated[Shell | None, Parameter()] = None, /) -> None:
        """Install completion for a shell of the current user.

        Args:
            shell: bash, zsh or fish; without it, the shell in use.
        """
        print(root.install_completion(shell=shell))

    def show(shell: Shell, /) -> None:
        """Print a shell's completion script.

        Args:
            shell: bash, zsh or fish.
        """
        print(root.generate_completion(prog_name="drystone", shell=shell))

    add_command(app, install, "install", "drystone completion install bash")
    add_command(app, show, "print", "source <(drystone completion print bash)")
    return app

"""Options that several commands share, and how a command is added."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, TypeVar

from cyclopts import App, Parameter, Token
from cyclopts.validators import Number

from drystone.cli.failure import CliError, Exit
from drystone.cli.records import parse_tags

R = TypeVar("R")
LIST_LIMIT = 10_000

Limit = Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))]
Tags = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
Timeout = Annotated[float, Parameter(validator=Number(gte=0))]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
SoldType = Literal["CLOUD_PREMIUM", "CLOUD_BSSD", "CLOUD_SSD", "CLOUD_HSSD", "CLOUD_TSSD"]
"""What a disk may be made, the slowest first."""
Yes = Annotated[bool, Parameter(negative="", name=("--yes", "-y"))]


def tags_on_the_wire(tags: Sequence[str]) -> list[Mapping[str, str]] | None:
    """Return the wire's tags for --tag options; None if there are none.

    Raises:
        CliError: A tag is not of the form `key=value`.
    """
    try:
        return parse_tags(tags)
    except ValueError as error:
        raise CliError(Exit.USAGE, f"--tag {error} must have the form key=value") from None


def converted(read: Callable[[str], R]) -> Callable[[object, Sequence[Token]], R]:
    """Return a converter of an option, from what reads a text and raises ValueError with one line of what to write."""

    def convert(_kind: object, tokens: Sequence[Token]) -> R:
        return read(tokens[0].value)

    return convert


def add_command(app: App, command: Callable[..., object], name: str | tuple[str, ...], *examples: str) -> None:
    """Add a command with examples to a group of commands."""
    app.command(command, name=name, help_epilogue="\n  ".join(("Example:", *examples)))

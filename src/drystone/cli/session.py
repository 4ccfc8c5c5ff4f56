"""What every command works with: its options, the world outside, and the open session."""

import datetime as dt
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from drystone.cli.failure import CliError, Exit
from drystone.cli.gateway import REQUEST_TIMEOUT_S, Gateway
from drystone.cli.lists import Form, Listing
from drystone.cli.output import ALL, Output
from drystone.client_settings import ClientSettings
from drystone.domain.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Options that every command takes.

    Attributes:
        data: The server's data directory; the server's address and a key are read from its credentials.env.
            Without it: the environment, else ./data, else /var/lib/drystone.
        json: Print JSON on standard output.
        utc: Show times in UTC; without it in this machine's zone. Both with their offset; JSON always has one.
    """

    data: Annotated[Path | None, Parameter(group="Common options")] = None
    json: Annotated[bool, Parameter(group="Common options", negative="", show_default=False)] = False
    utc: Annotated[bool, Parameter(group="Common options", negative="", show_default=False)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Common):
    """Options of every command that only shows what is there.

    Attributes:
        watch: Show it anew every two seconds, in its place on the terminal, until Ctrl-C.
    """

    watch: Annotated[bool, Parameter(group="Common options", negative="", show_default=False)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed(Shown):
    """Options that every list takes.

    Attributes:
        output: table (what fits the terminal, ages), wide (all columns, exact times), name (ids alone), csv or json.
        columns: Which columns to show, in this order: --columns disk_id,state. --json shows all names.
        sort: Column to sort by; with a minus in front, the last first: --sort=-size_gib.
    """

    output: Annotated[Form, Parameter(name=("--output", "-o"), group="List options")] = "table"
    columns: Annotated[str, Parameter(group="List options", show_default=False)] = ""
    sort: Annotated[str | None, Parameter(group="List options")] = None

    @property
    def listing(self) -> Listing:
        """How the list is wanted."""
        names = tuple(name.strip() for name in self.columns.split(",") if name.strip())
        return Listing(form=self.output, columns=names, sort=self.sort)


ListOptions = Annotated[Listed, Parameter(name="*")]
ShowOptions = Annotated[Shown, Parameter(name="*")]
CommonOptions = Annotated[Common, Parameter(name="*")]
NO_OPTIONS = Common()
NO_SHOW_OPTIONS = Shown()
NO_LIST_OPTIONS = Listed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open connection to one server, and how to answer.

    Attributes:
        settings: Where the server is and with which key to call it.
        service: Calls it.
        out: Prints.
        monotonic: Seconds that never go back, for waits.
        sleep: Waits for some seconds.
    """

    settings: ClientSettings
    service: Gateway
    out: Output
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The world outside, handed in by the composition root.

    Attributes:
        clock: Seconds since 1970, UTC.
        monotonic: Seconds that never go back.
        sleep: Waits for some seconds.
        load: Finds the server and the key, in a given data directory or by itself.
        answer_seconds: How long each answer of the server is waited for.
    """

    clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    load: Callable[[Path | None], ClientSettings] = ClientSettings.load
    answer_seconds: int = REQUEST_TIMEOUT_S

    def output(self, common: Common) -> Output:
        """Return how a command with these options answers."""
        listing = common.listing if isinstance(common, Listed) else ALL
        return Output(
            json_wanted=common.json, stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr, listing=listing,
            zone=dt.UTC if common.utc else None, clock=self.clock,
        )  # fmt: skip

    def session(self, common: Common) -> Session:
        """Open a session with the server that these options, or the environment, name.

        Raises:
            CliError: No server is known.
        """
        try:
            settings = self.load(common.data)
        except ConfigError as error:
            raise CliError(Exit.USAGE, str(error)) from None
        out = self.output(common)
        if settings.unused:
            out.say(f"warning: {settings.unused}")
        return Session(
            settings=settings,
            service=Gateway(settings, sleep=self.sleep, timeout_s=self.answer_seconds),
            out=out,
            monotonic=self.monotonic,
            sleep=self.sleep,
        )


class Commands:
    """Commands on one kind of thing: each public method is one, and its docstring is the help."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

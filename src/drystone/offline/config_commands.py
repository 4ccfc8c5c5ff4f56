"""`drystone config show`: what is set here, for the client and for the server, and where each value comes from."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from cyclopts import App

from drystone.cli.failure import CliError, Exit
from drystone.cli.lists import Record
from drystone.cli.options import Flag, add_command
from drystone.cli.session import NO_LIST_OPTIONS, ListOptions, Outside
from drystone.client_settings import ClientSettings, data_directory
from drystone.config import SERVER_FILE, Config, keys_in_file
from drystone.domain.errors import ConfigError

COLUMNS = ("setting", "value", "source", "for")
DEFAULT = "default"
HIDDEN = "(hidden)"
_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@|((?:^|[?&\s])password=)[^&\s]*")


def config_app(outside: Outside) -> App:
    """Return the commands `drystone config ...`."""
    app = App(name="config", help="What is set, and where.")

    def show(*, changed: Flag = False, common: ListOptions = NO_LIST_OPTIONS) -> None:
        """Show what is set here: for commands (the server they call, and with which key), and for the server.

        Each value is shown with where it comes from. Secrets are not shown. What drystone.toml says counts from the
        server's next start on. A machine without a server's data directory has the first part alone.

        Args:
            changed: Leave out settings of the server that have their default.
            common: Options that every list takes.
        """
        found, missing = list[Record](), list[str]()
        try:
            found += of_client(outside.load(common.data))
        except ConfigError as error:
            missing.append(str(error))
        directory = common.data or data_directory()
        try:
            if directory.is_dir():
                found += of_server(directory)
        except ConfigError as error:
            # Half an answer would hide that the server does not start with this.
            raise CliError(Exit.REFUSED, str(error)) from None
        output = outside.output(common)
        if not found:
            raise CliError(Exit.USAGE, missing[0])
        output.records([one for one in found if not changed or one["source"] != DEFAULT], COLUMNS, key="setting")
        for line in missing:
            output.say(f"commands that call a server: {line}")

    add_command(app, show, "show", "drystone config show --changed", "drystone config show --json")
    return app


def of_client(settings: ClientSettings) -> Iterator[Record]:
    """Yield what commands call a server with; secrets hidden."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.compare and value is not None:
            yield _record("commands", field.name, HIDDEN if not field.repr else value, str(settings.source))


def of_server(data: Path) -> Iterator[Record]:
    """Yield what a server with this data directory is told; passwords hidden.

    Raises:
        ConfigError: It would not start with that.
    """
    config, in_file = Config.load(data), keys_in_file(data)
    for field in fields(config):
        value = getattr(config, field.name)
        source = str(config.data / SERVER_FILE) if field.name in in_file else DEFAULT
        if field.name == "data":
            source = "--data, or where it was found"
        elif isinstance(value, str):
            value = _PASSWORD.sub(lambda found: f"{found[1]}{HIDDEN}@" if found[1] else f"{found[2]}{HIDDEN}", value)
        yield _record("server", field.name, value, source)


def _record(whom: str, name: str, value: object, source: str) -> Record:
    shown = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
    return {"for": whom, "setting": name, "value": shown, "source": source}
